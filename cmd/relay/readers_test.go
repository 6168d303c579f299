package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

// What an endpoint may be sent, in each format and with each kind of key.
var (
	everyFormat = []mapping.Format{
		mapping.FormatStandard, mapping.FormatRaw, mapping.FormatCloudEvents, mapping.FormatCloudEventsBinary, mapping.FormatCloudEventsBatch,
	}
	everyKey = map[string][]string{ // by name, what of the fresh secrets it signs with
		"hmac": {"hmac"}, "ed25519": {"ed25519"}, "both": {"ed25519", "hmac"}, "rotation": {"old", "hmac"}, "none": nil,
	}
)

// matrix returns the endpoints of every format and key, whose URLs end in /format/key.
func matrix(t *testing.T, url string) (endpoints string, s freshSecrets) {
	t.Helper()
	s, err := newSecrets()
	require.NoError(t, err)
	old, err := newSecrets()
	require.NoError(t, err)
	values := map[string]string{"hmac": s.HMAC, "ed25519": s.Private, "old": old.HMAC}
	var b strings.Builder
	for _, format := range everyFormat {
		for key, names := range everyKey {
			var secrets []string
			for _, name := range names {
				secrets = append(secrets, values[name])
			}
			fmt.Fprintf(&b, "  %s-%s: {url: \"%s/%s/%s\", format: %s, secrets: [%s]", format, key, url, format, key, format, strings.Join(secrets, ", "))
			if format == mapping.FormatCloudEventsBatch {
				b.WriteString(", batch: {events: 10, wait: 200ms}, order: none")
			}
			b.WriteString("}\n")
		}
	}
	return b.String(), s
}

const (
	readPayload = `{"id": 42, "note": "grüße, 50% <b>", "price": 1.10}`
	readHeaders = `{"tenant": "acme", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`
)

// insertToRead writes two events in a transaction.
func (r *running) insertToRead() {
	r.t.Helper()
	_, err := r.Conn.Exec(r.t.Context(), `INSERT INTO outbox (type, key, payload, headers)
		SELECT 'order.created', 'order 42 "ü"', $1::text::jsonb, $2::text::jsonb FROM generate_series(1, 2)`, readPayload, readHeaders)
	require.NoError(r.t, err)
}

// expectedVerdicts are of the readers that can verify what the key signs.
func expectedVerdicts(key string, format mapping.Format) map[string]bool {
	byHMAC := key == "hmac" || key == "both" || key == "rotation"
	v := map[string]bool{"standardwebhooks": byHMAC, "svix": byHMAC, "ed25519": key == "ed25519" || key == "both"}
	if strings.HasPrefix(string(format), "cloudevents") {
		v["cloudevents"] = true
	}
	return v
}

func TestReaders_GoLibrariesAcceptEveryFormatAndKey(t *testing.T) {
	t.Parallel()
	endpoint := deliverytest.New(t, nil)
	endpoints, s := matrix(t, endpoint.URL)
	r := startRelay(t, endpoints)
	r.insertToRead()
	theirs, err := standardwebhooks.NewWebhook(s.HMAC)
	require.NoError(t, err)
	ours, err := newVerifier(s.Public) // no library verifies v1a
	require.NoError(t, err)

	events := map[string]int{} // read at each path
	r.eventually(func() bool {
		clear(events)
		for _, got := range endpoint.Receipts() {
			events[got.Path] += len(readEvents(t, got))
		}
		for _, format := range everyFormat {
			for key := range everyKey {
				if events[fmt.Sprintf("/%s/%s", format, key)] < 2 {
					return false
				}
			}
		}
		return true
	}, "both events at every endpoint")
	for _, got := range endpoint.Receipts() {
		format, key, _ := strings.Cut(strings.TrimPrefix(got.Path, "/"), "/")
		want := expectedVerdicts(key, mapping.Format(format))
		require.Equal(t, want["standardwebhooks"], theirs.Verify(got.Body, got.Header) == nil, got.Path)
		require.Equal(t, want["ed25519"], ours.Verify(got.Header, got.Body, time.Now()) == nil, got.Path)
		if key == "none" {
			require.NotContains(t, got.Header, "Webhook-Signature", got.Path)
		}
		for _, event := range readEvents(t, got) {
			requireRead(t, got, event)
		}
	}
}

// readEvents reads a request with the CloudEvents SDK, as far as it is one of its formats; of another it returns one nil.
func readEvents(t *testing.T, got deliverytest.Receipt) []*ce.Event {
	t.Helper()
	switch {
	case strings.HasPrefix(got.Path, "/cloudevents-batch/"):
		var batch []*ce.Event
		require.NoError(t, json.Unmarshal(got.Body, &batch))
		return batch
	case strings.HasPrefix(got.Path, "/cloudevents"):
		event, err := binding.ToEvent(t.Context(), cehttp.NewMessage(got.Header, io.NopCloser(bytes.NewReader(got.Body))))
		require.NoError(t, err)
		return []*ce.Event{event}
	default:
		return []*ce.Event{nil}
	}
}

func requireRead(t *testing.T, got deliverytest.Receipt, event *ce.Event) {
	t.Helper()
	if event == nil {
		require.Contains(t, string(got.Body), `"note": "grüße, 50% <b>"`)
		return
	}
	require.NoError(t, event.Validate())
	key := `order 42 "ü"`
	if strings.HasPrefix(got.Path, "/cloudevents-binary/") {
		key = "order%2042%20%22%C3%BC%22" // which the SDK does not decode
	}
	require.Equal(t, key, event.Subject())
	require.Equal(t, "order.created", event.Type())
	require.Equal(t, "acme", event.Extensions()["tenant"])
	require.JSONEq(t, readPayload, string(event.Data()))
	if !strings.HasPrefix(got.Path, "/cloudevents-batch/") {
		require.Equal(t, got.ID(), event.ID())
	}
}

// nodeReport is what the node receiver says of a request.
type nodeReport struct {
	Port     int
	Path     string
	Verdicts map[string]string
	Events   []map[string]any
}

func TestReaders_NodePackagesAcceptEveryFormatAndKey(t *testing.T) {
	t.Parallel()
	folder := filepath.Join("testdata", "readers")
	node := needNode(t, folder)
	const later = "http://receiver" // it wants the secrets, and the endpoints want its port
	endpoints, s := matrix(t, later)
	reports, port := runNodeReceiver(t, node, folder, s)
	r := startRelay(t, strings.ReplaceAll(endpoints, later, fmt.Sprintf("http://127.0.0.1:%d", port)))
	r.insertToRead()

	missing := map[string]int{}
	for _, format := range everyFormat {
		for key := range everyKey {
			missing[fmt.Sprintf("/%s/%s", format, key)] = 2
		}
	}
	deadline := time.After(60 * time.Second)
	for len(missing) > 0 {
		select {
		case <-deadline:
			require.Empty(t, missing, "events that did not arrive")
		case report := <-reports:
			requireNodeReport(t, report)
			missing[report.Path] -= max(len(report.Events), 1)
			if missing[report.Path] <= 0 {
				delete(missing, report.Path)
			}
		}
	}
}

func requireNodeReport(t *testing.T, report nodeReport) {
	t.Helper()
	format, key, _ := strings.Cut(strings.TrimPrefix(report.Path, "/"), "/")
	want := expectedVerdicts(key, mapping.Format(format))
	require.Len(t, report.Verdicts, len(want))
	for reader, accepted := range want {
		require.Equal(t, accepted, report.Verdicts[reader] == "accepted", "%s, %s: %s", report.Path, reader, report.Verdicts[reader])
	}
	for _, event := range report.Events {
		require.Equal(t, "order.created", event["type"])
		require.Equal(t, "acme", event["tenant"])
		require.Equal(t, "grüße, 50% <b>", event["data"].(map[string]any)["note"])
	}
}

// needNode returns node, and skips the test if it or the packages of the folder are not there.
func needNode(t *testing.T, folder string) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("skipped: node is not on this machine")
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		t.Skipf("skipped: %s has no node_modules; make test installs them where npm is", folder)
	}
	return node
}

// runNodeReceiver starts the receiver and returns what it reports, and its port.
func runNodeReceiver(t *testing.T, node, folder string, s freshSecrets) (<-chan nodeReport, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), node, "receiver.mjs", s.HMAC, s.Public)
	cmd.Dir, cmd.Stderr = folder, os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	reports := make(chan nodeReport, 1000) // more than there are requests
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var report nodeReport
			if json.Unmarshal(lines.Bytes(), &report) == nil {
				reports <- report
			}
		}
	}()
	t.Cleanup(func() {
		<-ended
		_ = cmd.Wait() // it was killed
	})
	select {
	case report := <-reports:
		return reports, report.Port
	case <-ended:
		require.Fail(t, "the node receiver did not start")
	case <-time.After(30 * time.Second):
		require.Fail(t, "the node receiver does not start")
	}
	return nil, 0
}
