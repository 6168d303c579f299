package campaign

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// complains waits until a running relay is not ready and says each of the texts, in /readyz and on stderr, and makes sure
// that it goes on running.
func (s *System) complains(texts ...string) {
	s.t.Helper()
	said := func(where string) bool {
		for _, text := range texts {
			if !strings.Contains(where, text) {
				return false
			}
		}
		return true
	}
	var code int
	var text string
	s.Await(20*time.Second, fmt.Sprintf("not ready because of %q", texts), func() bool {
		code, text = s.Relay.Get("/readyz")
		return code == http.StatusServiceUnavailable && said(text)
	})
	s.Await(5*time.Second, fmt.Sprintf("the log says %q", texts), func() bool {
		return said(strings.ReplaceAll(s.Relay.Log(), `\"`, `"`))
	})
	require.False(s.t, s.Relay.Ended())
	code, _ = s.Relay.Get("/healthz")
	require.Equal(s.t, http.StatusOK, code, "the process lives")
	s.t.Log(strings.TrimSpace(text))
}

// delivers checks that all is well again: a relay that is ready within a back-off, and an event that arrives.
func (s *System) delivers(writer int) {
	s.t.Helper()
	s.Ready(s.Relay)
	s.Bulk(writer, 10, 0)
	s.Drained(time.Minute)
}

func execute(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func TestBadInput_DatabaseAwayOrNotSetUp(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Cluster(t, pgtemp.Options{Settings: map[string]string{"wal_level": "replica"}})
	s := NewSystem(t, cluster.URL("postgres"))
	s.Subscribe("all", "", nil)
	s.Write()
	s.Relay = s.Spawn()
	s.complains("wal_level", "ALTER SYSTEM SET wal_level = 'logical'")

	conn, err := pgx.Connect(t.Context(), s.URL)
	require.NoError(t, err)
	execute(t, conn, "ALTER SYSTEM SET wal_level = 'logical'")
	require.NoError(t, cluster.Shutdown(pgtemp.Fast))
	s.complains("connect", "source.url")
	require.NoError(t, cluster.Launch(t.Context()))
	s.complains("publication", "relay setup")
	out, code := s.Command("setup")
	require.Zero(t, code, out)
	s.delivers(1)
	s.Stop()
	s.Verdict()
}

func TestBadInput_MissingPrivileges(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	s.Subscribe("all", "", nil)
	s.Setup()
	conn := s.Connect()
	role := s.Slot + "_role"
	execute(t, conn, "DROP SCHEMA relay CASCADE")
	execute(t, conn, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() {
		_, _ = conn.Exec(context.Background(), "DROP OWNED BY "+role)
		_, _ = conn.Exec(context.Background(), "DROP ROLE "+role)
	})
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	u.User = url.User(role)
	s.Via = u.String()
	s.Write()
	s.Relay = s.Spawn()
	s.complains("REPLICATION", "ALTER ROLE")
	execute(t, conn, fmt.Sprintf("ALTER ROLE %s REPLICATION", role))
	s.complains("lacks a privilege", "GRANT CREATE ON DATABASE")
	execute(t, conn, fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s", strings.TrimPrefix(u.Path, "/"), role))
	execute(t, conn, fmt.Sprintf("GRANT SELECT ON outbox TO %s", role))
	s.delivers(1)
	s.Stop()
	s.Verdict()
}

func TestBadInput_MissingTableAndPublicationWithoutIt(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	s.Subscribe("all", "", nil)
	s.Setup()
	conn := s.Connect()
	execute(t, conn, "ALTER PUBLICATION relay DROP TABLE outbox")
	s.Relay = s.Spawn()
	s.complains("outbox", `ALTER PUBLICATION "relay" ADD TABLE`)
	execute(t, conn, "DROP TABLE outbox")
	s.complains("outbox")
	s.Setup()
	out, _ := s.Command("check")
	if strings.Contains(out, "ADD TABLE") {
		execute(t, conn, "ALTER PUBLICATION relay ADD TABLE outbox")
	}
	s.delivers(1)
	s.Stop()
	s.Verdict()
}

func TestBadInput_MissingColumn(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	e := s.Subscribe("all", "", nil)
	s.Setup()
	conn := s.Connect()
	execute(t, conn, "ALTER TABLE outbox RENAME payload TO body")
	s.Relay = s.Spawn()
	execute(t, conn, `INSERT INTO outbox (id, type, key, body) VALUES ($1, 't', 'k', '{}')`, NewID(1, 1).String())
	s.complains("payload", "public.outbox")
	require.Zero(t, e.Good())
	s.More = "  tables: [{name: public.outbox, columns: {payload: body}}]\n"
	s.Write()
	s.Stop() // a change of source needs a restart
	s.Start()
	s.Drained(time.Minute)
	s.Stop()
	require.Equal(t, 1, s.Verdict()["all"].Received, "nothing was lost")
}

func TestBadInput_SlotOfAnotherPlugin(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	s.Subscribe("all", "", nil)
	s.Setup()
	conn := s.Connect()
	execute(t, conn, "SELECT pg_drop_replication_slot($1)", s.Slot)
	execute(t, conn, "SELECT pg_create_logical_replication_slot($1, 'test_decoding')", s.Slot)
	s.Relay = s.Spawn()
	s.complains("test_decoding", "source.slot")
	execute(t, conn, "SELECT pg_drop_replication_slot($1)", s.Slot)
	s.complains(s.Slot, "slot")
	s.Setup()
	s.delivers(1)
	s.Stop()
	s.Verdict()
}

func TestBadInput_ConfigurationEndsWithStatusTwo(t *testing.T) {
	t.Parallel()
	good := "source: {url: postgres://127.0.0.1:1/x}\nendpoints:\n  a:\n    url: http://127.0.0.1:1/\n"
	cases := map[string]struct{ text, want string }{
		"not YAML":         {"source: {url: [\n", "relay.yaml:"},
		"unknown key":      {good + "    colour: red\n", "relay.yaml:5"},
		"bad CEL":          {good + "    where: payload.total >\n", "relay.yaml:5"},
		"CEL of no bool":   {good + "    where: '1 + 1'\n", "bool"},
		"unknown column":   {good + "    where: row.a.b == 1 && evnt.id == ''\n", "evnt"},
		"bad URL":          {strings.ReplaceAll(good, "http://127.0.0.1:1/", "ftp://x"), "relay.yaml:4"},
		"no endpoint":      {"source: {url: postgres://127.0.0.1:1/x}\n", "endpoint"},
		"bad secret":       {good + "    secrets: [whsec_short]\n", "relay.yaml:5"},
		"secret not shown": {good + "    secrets: [whsec_aGVsbG8hhh]\n    timeout: -1s\n", "relay.yaml:6"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewSystem(t, "postgres://127.0.0.1:1/x")
			s.write(c.text)
			out, code := s.Command("run")
			require.Equal(t, 2, code, out)
			require.Contains(t, out, c.want)
			require.NotContains(t, out, "aGVsbG8hhh")
			require.NotContains(t, out, "goroutine ", "no panic")
		})
	}
}

// peak is the most memory a process ever had, in MiB; 0 where the system does not tell.
func (p *Process) peak() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib >> 10
		}
	}
	return 0
}

func TestBadInput_EndpointsThatAnswerGarbageOrTenGigabytes(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	good := s.Subscribe("good", "", nil)
	garbage := s.Subscribe("garbage", "", nil)
	endless := s.Subscribe("endless", "", nil)
	s.Setup()
	s.Start()
	before := s.Relay.peak()
	require.NoError(t, garbage.Set(Garbage))
	require.NoError(t, endless.Set(Endless))
	s.Bulk(1, 2000, 0)
	s.Await(20*time.Second, "the good endpoint has everything", func() bool { return good.Good() == 2000 })
	time.Sleep(2 * time.Second) // of garbage
	after := s.Relay.peak()
	t.Logf("memory %d MiB before, at most %d MiB; %d MiB of endless answers written", before, after, endless.written.Load()>>20)
	require.Less(t, after, before+400, "memory is bounded") // of gigabytes; the race detector multiplies what is used
	require.Less(t, endless.written.Load()/max(1, endless.Good()), int64(64<<20), "of each it reads little, besides what sockets hold")
	require.NoError(t, garbage.Set(Healthy))
	require.NoError(t, endless.Set(Healthy))
	s.Drained(time.Minute)
	s.Stop()
	require.NotContains(t, s.Relay.Log(), "panic")
	s.Verdict()
}
