package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

var anyBlock = regexp.MustCompile("(?s)```(sh|yaml)\n(.*?)```")

// quickStart is somebody who does what the README says, line by line, in a folder of their own, with a Postgres of their own.
// Only ports differ.
type quickStart struct {
	t       *testing.T
	dir     string
	conn    *pgx.Conn
	url     string
	jobs    []*exec.Cmd
	ports   *strings.Replacer
	printed map[string]string // by command
	listen  syncBuffer
}

func TestQuickStart_LeadsFromACloneToEventsOfOnesOwnTable(t *testing.T) {
	t.Parallel()
	text := readDoc(t, "README.md")
	_, text, ok := strings.Cut(text, "\n## Quick start\n")
	require.True(t, ok)
	text, _, _ = strings.Cut(text, "\n## ")
	mine := deliverytest.New(t, nil)
	q := &quickStart{t: t, dir: t.TempDir(), url: pgtest.Cluster(t, pgtemp.Options{}).URL("postgres"), printed: map[string]string{}}
	admin := freePort(t)
	q.ports = strings.NewReplacer(
		"127.0.0.1:4000", "127.0.0.1:"+freePort(t), "http://127.0.0.1:8080", mine.URL,
		"\nendpoints:\n", "\nadmin: {listen: \"127.0.0.1:"+admin+"\"}\nendpoints:\n",
	)
	var err error
	q.conn, err = pgx.Connect(t.Context(), q.url)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, job := range q.jobs {
			_ = job.Process.Kill() // it may have ended
			_ = job.Wait()
		}
		_ = q.conn.Close(t.Context())
	})
	q.exec(`CREATE TABLE shop_events (event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, order_no text,
		body jsonb NOT NULL, happened_at timestamptz NOT NULL DEFAULT now())`)
	q.exec(`INSERT INTO shop_events (kind, order_no, body) VALUES ('order.old', 'o-0', '{}')`)
	for _, block := range anyBlock.FindAllStringSubmatch(text, -1) {
		if block[1] == "yaml" {
			q.write(block[2])
			continue
		}
		for line := range strings.Lines(block[2]) {
			q.line(strings.TrimSpace(line))
		}
	}
	require.Contains(t, q.printed["status"], "is fine: streaming")
	require.Contains(t, q.listen.String(), `"data":{"total": 99.90}`)
	require.Contains(t, q.printed["explain"], "order.old")
	require.Contains(t, q.printed["explain"], "POST "+mine.URL+"/hooks")
	q.wait("own events arrive at the own receiver", func() bool {
		q.exec(`INSERT INTO shop_events (kind, order_no, body) VALUES ('order.paid', 'o-1', '{"total": 1}')`)
		return len(mine.Receipts()) > 0
	})
	got := mine.Receipts()[0]
	require.Equal(t, "/hooks", got.Path)
	require.Contains(t, string(got.Body), `"type":"order.between"`, "what was committed between setup and run comes, and comes first")
}

func (q *quickStart) exec(sql string) {
	q.t.Helper()
	_, err := q.conn.Exec(q.t.Context(), sql)
	require.NoError(q.t, err)
}

func (q *quickStart) write(text string) {
	q.t.Helper()
	require.NoError(q.t, os.WriteFile(filepath.Join(q.dir, "relay.yaml"), []byte(q.ports.Replace(text)), 0o600))
}

// line does what one line of the README says.
func (q *quickStart) line(line string) {
	q.t.Helper()
	background := strings.HasSuffix(line, " &")
	words := strings.Fields(strings.TrimSuffix(line, " &"))
	switch {
	case line == "make build", strings.HasPrefix(line, "export "): // the test has its binary and its database
	case words[0] == "psql":
		sql, ok := strings.CutPrefix(line, `psql "$DATABASE_URL" -c "`)
		require.True(q.t, ok, line)
		q.exec(strings.ReplaceAll(strings.TrimSuffix(sql, `"`), `\"`, `"`))
		q.wait("the event arrives", func() bool { return strings.Contains(q.listen.String(), "order.created") })
	case line == "kill %2":
		require.NoError(q.t, q.jobs[1].Process.Signal(syscall.SIGTERM))
		require.NoError(q.t, q.jobs[1].Wait())
	case words[0] == "relay":
		q.relay(words[1:], background || line == "relay run")
		if line == "relay explain" {
			q.exec(`INSERT INTO shop_events (kind, order_no, body) VALUES ('order.between', 'o-1', '{"total": 1}')`)
		}
	default:
		require.Fail(q.t, "the test does not know what this does", line)
	}
}

func (q *quickStart) relay(args []string, background bool) {
	q.t.Helper()
	said := &syncBuffer{}
	if args[0] == "listen" {
		said = &q.listen
		_, port, _ := strings.Cut(q.ports.Replace("127.0.0.1:4000"), ":")
		args = append(args, "--port", port)
	}
	cmd := relayCommand(q.t, args...)
	cmd.Dir, cmd.Env = q.dir, append(cmd.Env, "DATABASE_URL="+q.url)
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(q.t, cmd.Start())
	if background {
		q.jobs = append(q.jobs, cmd)
		ready := map[string]string{"listen": "listening at", "run": "admin listening"}[args[0]]
		q.wait(args[0]+" is up", func() bool { return strings.Contains(said.String(), ready) })
		return
	}
	err := cmd.Wait()
	q.printed[args[0]] = said.String()
	require.NoError(q.t, err, "relay %s: %s", args, said.String())
	if args[0] == "init" {
		text, err := os.ReadFile(filepath.Join(q.dir, "relay.yaml"))
		require.NoError(q.t, err)
		q.write(string(text))
	}
}

func (q *quickStart) wait(what string, cond func() bool) {
	q.t.Helper()
	require.Eventually(q.t, cond, 30*time.Second, 50*time.Millisecond, what)
}
