package campaign

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

// edit is a way in which relay.yaml changes, or fails to.
type edit struct {
	name    string
	do      func(s *System, text string)
	refused string // what the log says if the file is not to be taken; empty: it is
}

// edits are what a text editor, a deployment tool, an operator and an accident do to a file. Each leaves another text, and
// the next one finds whatever the one before left.
var edits = []edit{
	{name: "renamed over, as editors do", do: (*System).write},
	{name: "written in place, in two halves", do: func(s *System, text string) {
		f, err := os.OpenFile(s.Config(), os.O_WRONLY|os.O_TRUNC, 0o600)
		require.NoError(s.t, err)
		half := strings.Index(text, "defaults:") + 4 // where it is no file yet: nobody can tell a shorter file from a half one
		_, err = f.WriteString(text[:half])
		require.NoError(s.t, err)
		time.Sleep(500 * time.Millisecond) // long enough to be read as it is
		_, err = f.WriteString(text[half:])
		require.NoError(s.t, err)
		require.NoError(s.t, f.Close())
	}},
	{name: "removed", refused: "there is no such file", do: func(s *System, _ string) { require.NoError(s.t, os.Remove(s.Config())) }},
	{name: "a folder in its place", refused: "is a directory", do: func(s *System, _ string) { require.NoError(s.t, os.Mkdir(s.Config(), 0o700)) }},
	{name: "what cannot be read", refused: "cannot be read: too many levels of symbolic links", do: func(s *System, _ string) {
		require.NoError(s.t, os.Remove(s.Config()))
		require.NoError(s.t, os.Symlink(s.Config(), s.Config()))
	}},
	{name: "back again", do: func(s *System, text string) {
		require.NoError(s.t, os.Remove(s.Config()))
		s.write(text)
	}},
	{name: "half of it", refused: "not valid YAML", do: func(s *System, text string) { s.write(text[:strings.LastIndex(text, "concurrency")] + "headers: {X") }},
	{name: "empty", refused: "the file is empty", do: func(s *System, _ string) { s.write("") }},
	{name: "another source", refused: "source.slot cannot change while relay runs", do: func(s *System, text string) {
		s.write(strings.Replace(text, "slot: "+s.Slot, "slot: another", 1))
	}},
	{name: "with SIGHUP", do: func(s *System, text string) {
		s.write(text)
		s.Relay.Signal(syscall.SIGHUP)
	}},
	{name: "with POST /-/reload", do: func(s *System, text string) {
		s.write(text)
		answer, err := client.Post("http://"+s.Admin()+"/-/reload", "", nil)
		require.NoError(s.t, err)
		require.NoError(s.t, answer.Body.Close())
		require.Equal(s.t, http.StatusOK, answer.StatusCode)
	}},
	{name: "a ConfigMap's symlinks", do: (*System).writeConfigMap},
	{name: "a ConfigMap's symlinks, swapped", do: (*System).writeConfigMap},
}

// writeConfigMap writes the file as the kubelet does: relay.yaml is a link into ..data, which is a link to a folder that is
// made anew, and which is swapped by a rename.
func (s *System) writeConfigMap(text string) {
	s.t.Helper()
	name := fmt.Sprintf("..%d", time.Now().UnixNano())
	require.NoError(s.t, os.Mkdir(filepath.Join(s.dir, name), 0o700))
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name, "relay.yaml"), []byte(text), 0o600))
	data := filepath.Join(s.dir, "..data")
	old, oldErr := os.Readlink(data)
	require.NoError(s.t, os.Symlink(name, data+"_tmp"))
	require.NoError(s.t, os.Rename(data+"_tmp", data))
	if link, err := os.Readlink(s.Config()); err != nil || link != "..data/relay.yaml" {
		require.NoError(s.t, os.RemoveAll(s.Config()))
		require.NoError(s.t, os.Symlink("..data/relay.yaml", s.Config()))
	}
	if oldErr == nil {
		require.NoError(s.t, os.RemoveAll(filepath.Join(s.dir, old)))
	}
}

// Connections returns how many connections an endpoint ever accepted.
func (e *Endpoint) Connections() int64 { return e.accepted.Load() }

// The file is edited in every way while events flow. What is edited follows; what is not is untouched, by its connections,
// its queue and its breaker; nobody loses, repeats or reorders anything.
func TestRelay_FollowsEveryEditUnderLoadAndTouchesNothingElse(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	s.Retry = "  timeout: 10s\n  retry: {delays: [100ms, 200ms, 500ms" + strings.Repeat(", 1s", 600) + "]}\n"
	edited := s.Subscribe("edited", "concurrency: 1", nil)
	steady := s.Subscribe("steady", "concurrency: 4", nil)
	strict := s.Subscribe("strict", "order: strict\nevents: [user.created]\nconcurrency: 1", func(r Row) bool { return r.Type == "user.created" })
	broken := s.Subscribe("broken", "breaker: {failures: 1, open: 10m, max_open: 10m}\nconcurrency: 2", nil)
	broken.Delay = time.Millisecond
	s.Setup()
	s.Start()
	stop := s.writers(7, 3, 10*time.Millisecond)
	flowing := func(what string) {
		t.Helper()
		before := []int64{edited.Good(), steady.Good(), strict.Good()}
		s.Await(20*time.Second, "events flow: "+what, func() bool {
			return edited.Good() > before[0]+20 && steady.Good() > before[1]+20 && strict.Good() > before[2]
		})
	}
	require.NoError(t, broken.Set(Failing))
	flowing("at first")
	s.Await(20*time.Second, "the breaker opens", func() bool { return s.breaker("broken") == "open" })
	require.NoError(t, broken.Set(Healthy))
	tried := s.requests(broken)
	connections := steady.Connections()
	log := 0
	for i, e := range edits {
		text := strings.Replace(s.YAML(), "concurrency: 1\n", fmt.Sprintf("concurrency: %d\n    headers: {X-Edit: \"%d\"}\n", 2+i, i), 1)
		want := "endpoint edited changed: headers, concurrency "
		if e.refused != "" {
			want = e.refused
		}
		e.do(s, text)
		s.Await(30*time.Second, e.name+": the log says "+want, func() bool { return strings.Contains(s.Relay.Log()[log:], want) })
		t.Log(time.Now().Format(stamp), e.name)
		log = len(s.Relay.Log())
		flowing(e.name)
		code, why := s.Relay.Get("/readyz")
		require.Equal(t, http.StatusOK, code, "%s: %s", e.name, why)
		_, metrics := s.Relay.Get("/metrics")
		successful := map[bool]string{true: "0", false: "1"}[e.refused != ""]
		require.Contains(t, metrics, "\nrelay_config_last_reload_successful "+successful+"\n", e.name)
	}
	require.NotContains(t, s.Relay.Log(), "endpoint steady changed")
	require.Equal(t, connections, steady.Connections(), "an endpoint that is not edited keeps its connections")
	require.Equal(t, tried, s.requests(broken), "and its breaker")
	require.Equal(t, "open", s.breaker("broken"))
	require.Greater(t, edited.Connections(), int64(1))

	stop()
	s.write(strings.Replace(s.YAML(), "open: 10m, max_open: 10m", "open: 100ms, max_open: 1s", 1))
	s.Drained(2 * time.Minute)
	s.Stop()
	for name, sum := range s.Verdict() {
		require.Zero(t, sum.Duplicates, name)
		require.NotZero(t, sum.Received, name)
	}
}

func (s *System) breaker(endpoint string) string {
	status, err := s.Relay.Status()
	require.NoError(s.t, err)
	for _, e := range status.Endpoints {
		if e.Name == endpoint {
			return e.Breaker
		}
	}
	return ""
}

func (s *System) requests(e *Subscription) int {
	receipts, err := e.Receipts()
	require.NoError(s.t, err)
	return len(receipts)
}
