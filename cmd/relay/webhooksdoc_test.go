package main

import (
	"bufio"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery"
	"relay/delivery/deliverytest"
	"relay/mapping"
)

const webhooksDoc = "docs/webhooks.md"

var (
	httpBlock = regexp.MustCompile("(?s)```http\n(.*?)\n```")
	testName  = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
)

// exampleEvents are what the examples of the docs show.
func exampleEvents() []*mapping.Event {
	first := &mapping.Event{
		ID: "6d1c7f0e-5f0a-4a5e-9a53-3c1a5d6b7e01", Type: "order.created", Key: "order-42", Keyed: true, Table: "public.outbox",
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC), Payload: []byte(`{"id": 42, "total": 99.90}`),
		Headers: []byte(`{"tenant": "acme", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`),
		Place:   mapping.Place{Commit: 0x16B3748, Ordinal: 2},
	}
	second := &mapping.Event{
		ID: "6d1c7f0e-5f0a-4a5e-9a53-3c1a5d6b7e02", Type: "order.paid", Key: "order-42", Keyed: true, Table: "public.outbox",
		Time: first.Time.Add(time.Second), Payload: []byte(`{"id": 42}`), Place: mapping.Place{Commit: 0x16B3748, Ordinal: 3},
	}
	return []*mapping.Event{first, second}
}

// exampleRequest sends the example in a format, and returns it as the docs write it, signed at a fixed time.
func exampleRequest(t *testing.T, format mapping.Format, documented http.Header) (text string, body []byte) {
	t.Helper()
	endpoint := deliverytest.New(t, nil)
	cfg, err := mapping.Parse("relay.yaml", []byte("endpoints: {billing: {url: \""+endpoint.URL+"/webhooks\", format: "+string(format)+
		", secrets: ["+vectorSecret+", "+vectorKey+"]}}"), func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	client, err := delivery.NewClient(cfg.Endpoints[0], "1.0.0")
	require.NoError(t, err)
	defer client.Close()
	events := exampleEvents()
	r := delivery.Request{ID: events[0].ID}
	if format == mapping.FormatCloudEventsBatch {
		r.Body, r.ID, err = cfg.Endpoints[0].RenderBatch(events)
	} else {
		r.Body, err = cfg.Endpoints[0].Render(events[0])
		r.Traceparent, r.Tracestate = events[0].Traceparent()
	}
	require.NoError(t, err)
	require.Equal(t, delivery.Delivered, client.Send(t.Context(), &r).Verdict)
	got := endpoint.Receipts()[0]
	for _, name := range []string{"Webhook-Timestamp", "Webhook-Signature"} { // of each attempt; the docs' are verified on their own
		if documented.Get(name) != "" {
			got.Header.Set(name, documented.Get(name))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\nhost: billing.example.com\n", got.Method, got.Path)
	for _, name := range slices.Sorted(maps.Keys(got.Header)) {
		fmt.Fprintf(&b, "%s: %s\n", strings.ToLower(name), got.Header.Get(name))
	}
	return b.String() + "\n" + string(got.Body), got.Body
}

func TestTheWebhooksDocShowsWhatIsSent(t *testing.T) {
	t.Parallel()
	blocks := httpBlock.FindAllStringSubmatch(readDoc(t, webhooksDoc), -1)
	for i, format := range everyFormat {
		var block string
		documented := http.Header{}
		if i < len(blocks) {
			block = blocks[i][1]
			req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(block, "\n", "\r\n"))))
			require.NoError(t, err, format)
			documented = req.Header
		}
		want, body := exampleRequest(t, format, documented)
		require.Equal(t, want, block, "%s: write this into %s", format, webhooksDoc)
		seconds, err := strconv.ParseInt(documented.Get("Webhook-Timestamp"), 10, 64)
		require.NoError(t, err)
		for _, secret := range []string{vectorSecret, vectorKey} {
			verifier, err := newVerifier(secret)
			require.NoError(t, err)
			require.NoError(t, verifier.Verify(documented, body, time.Unix(seconds, 0)), format)
		}
	}
}

func TestTheWebhooksDocNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	require.NoError(t, filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			text, err := os.ReadFile(path)
			code.Write(text)
			return err
		}
		return nil
	}))
	named := testName.FindAllStringSubmatch(readDoc(t, webhooksDoc), -1)
	require.Greater(t, len(named), 30)
	for _, name := range named {
		require.Contains(t, code.String(), "func "+name[1]+"(", webhooksDoc)
	}
}
