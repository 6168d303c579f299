package main

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/delivery/deliverytest"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// version is the server's, as in 15.
func (r *running) version() int {
	r.t.Helper()
	return r.number(`SELECT current_setting('server_version_num')::int / 10000`)
}

func (r *running) logs(text string) {
	r.t.Helper()
	r.eventually(func() bool { return strings.Contains(r.Log(), text) }, "the log says: "+text)
}

func (r *running) isReady(want string) {
	r.t.Helper()
	r.eventually(func() bool { return strings.Contains(r.get("/readyz"), want) }, "/readyz says: "+want)
}

var missingTime = regexp.MustCompile(`come through the publication again.* since=(\S+) until=(\S+) since_lsn=[0-9A-F]+/[0-9A-F]+ until_lsn=[0-9A-F]+/[0-9A-F]+`)

func TestLookout_SaysThatThePublicationWasAlteredAndWhichTimeIsMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		since       int // version
		spoil, mend string
		says        string
	}{
		"table taken out": {14, `ALTER PUBLICATION relay DROP TABLE outbox`, `ALTER PUBLICATION relay ADD TABLE outbox`, "does not contain table public.outbox"},
		"inserts no more": {14, `ALTER PUBLICATION relay SET (publish = 'update')`, `ALTER PUBLICATION relay SET (publish = 'insert')`, "does not publish inserts"},
		"row filter": {
			15, `ALTER PUBLICATION relay SET TABLE outbox WHERE (type = 'other')`, `ALTER PUBLICATION relay SET TABLE outbox`,
			"was altered while relay ran and sends only rows of public.outbox where (type = 'other'::text)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ep := deliverytest.New(t, nil)
			r := startRelay(t, "  only: {url: \""+ep.URL+"\", format: raw}\n")
			if r.version() < c.since {
				t.Skip("not in this version")
			}
			r.Insert("t", `1`, "")
			ep.Wait(t, 1)
			r.isReady("ready: streaming")
			r.eventually(func() bool { return strings.Contains(r.get("/metrics"), "relay_publication_ok 1") }, "the metric says so")

			r.exec(r.Conn, c.spoil)
			r.Insert("t", `2`, "")
			r.isReady(c.says)
			require.Contains(t, r.get("/metrics"), "relay_publication_ok 0")
			r.Insert("t", `3`, "")
			r.exec(r.Conn, c.mend)
			r.isReady("ready: streaming")
			r.Insert("t", `4`, "")
			ep.Wait(t, 2)
			require.Equal(t, 1, strings.Count(r.Log(), "rows do not come through the publication"), "said once")

			missing := missingTime.FindStringSubmatch(r.Log())
			require.NotNil(t, missing, r.Log())
			got := relayOut(t, "replay", "--endpoint", "only", "--since", missing[1], "--until", missing[2], "--yes", "-c", r.Config)
			require.Zero(t, got.status, got.err)
			r.eventually(func() bool {
				sent := map[string]bool{}
				for _, receipt := range ep.Receipts() {
					sent[string(receipt.Body)] = true
				}
				return len(sent) == 4
			}, "all four, with the replay of the time that the log names")
		})
	}
}

func TestLookout_SaysThatThePublicationIsGone(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := startRelay(t, "  only: {url: \""+ep.URL+"\"}\n")
	r.Insert("t", `1`, "")
	ep.Wait(t, 1)
	r.exec(r.Conn, `DROP PUBLICATION relay`)
	r.isReady("publication relay does not exist (remedy: relay setup, or: CREATE PUBLICATION")
	r.Insert("t", `2`, "")
	// Made again it does not serve the WAL from in between: what is to be done is said, and nothing passes for delivered.
	r.exec(r.Conn, `CREATE PUBLICATION relay FOR TABLE outbox WITH (publish = 'insert')`)
	r.isReady("was created, or remade, after slot")
	require.Len(t, ep.IDs(), 1)
}

// fill writes WAL until the slot is as wanted.
func (r *running) fill(until string) {
	r.t.Helper()
	r.eventually(func() bool {
		// Next to nothing of it is sent to relay: a server that waits for a client that is stopped ends no checkpoint.
		r.exec(r.Conn, `SELECT pg_logical_emit_message(false, 'fill', 'x'), pg_switch_wal()`)
		if strings.Contains(until, "lost") {
			r.exec(r.Conn, `CHECKPOINT`)
		}
		return r.number(`SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND `+until) == 1
	}, until)
}

// limited is a relay on a cluster that keeps 96 MB of WAL for a slot, and not more than 32 MB otherwise.
func limited(t *testing.T, endpoints string) *running {
	t.Helper()
	c := pgtest.Cluster(t, pgtemp.Options{Settings: map[string]string{
		"max_slot_wal_keep_size": "96MB", "min_wal_size": "32MB", "max_wal_size": "32MB", "checkpoint_timeout": "1h",
	}})
	url, err := c.CreateDatabase(t.Context(), "app")
	require.NoError(t, err)
	return prepareRelayAt(t, url, endpoints)
}

// lag keeps the slot where it is: a transaction of its own is open from here on.
func (r *running) lag() (commit func()) {
	conn := r.connect()
	r.exec(conn, `BEGIN`)
	r.exec(conn, `INSERT INTO outbox (type, payload) VALUES ('t', '"open"')`)
	return func() { r.exec(conn, `COMMIT`) }
}

func TestLookout_WarnsBeforeTheSlotIsLostAndThenNamesTheLoss(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, deliverytest.Always(503))
	r := limited(t, "  only: {url: \""+ep.URL+"\", retry: {delays: [100ms, 1h]}}\n")
	r.Start()
	r.Insert("t", `1`, "")
	r.eventually(func() bool { return r.number(waitingLong) == 1 }, "parked")
	commit := r.lag()
	r.fill(`wal_status = 'extended'`)
	r.logs("slot keeps more WAL than max_wal_size")
	require.Contains(t, r.get("/metrics"), `relay_slot_wal_status{status="extended"} 1`)
	require.Contains(t, r.get("/metrics"), "relay_slot_limit_bytes 1.00663296e+08")

	r.fill(`safe_wal_size < 20 << 20`)
	r.logs("slot has used up three quarters of the WAL that it may keep")
	report, got := statusOf(t, "-c", r.Config, "--address", strings.TrimPrefix(r.Admin(), "http://"))
	require.Equal(t, exitFailed, got.status)
	require.Contains(t, strings.Join(report.Problems, "\n"), "is about to lose WAL")
	check := relayOut(t, "check", "-c", r.Config)
	require.Contains(t, check.out, "is close to being lost")
	r.fill(`wal_status = 'lost'`) // at a checkpoint, of which so much WAL makes some
	r.isReady("can no longer be read")
	require.Contains(t, r.get("/readyz"), "max_slot_wal_keep_size")
	require.Contains(t, r.get("/readyz"), "remedy: SELECT pg_drop_replication_slot(")
	commit()
	ep.Answer(deliverytest.Always(200))
	require.Zero(t, relayOut(t, "retry", "--all", "--yes", "-c", r.Config).status)
	r.eventually(func() bool { return parkedNow(t, r) == 0 }, "what is parked drains on")
	for _, text := range []string{"more WAL than max_wal_size", "three quarters of the WAL"} {
		require.Equal(t, 1, strings.Count(r.Log(), text), "said once: "+text)
	}

	r.kill()
	r.run()
	r.isReady("can no longer be read") // at start too
}

func TestCheck_SaysWhichSettingsLoseASlotOrFillTheDisk(t *testing.T) {
	t.Parallel()
	r := prepareRelay(t, "  only: {url: \"http://127.0.0.1:1\"}\n")
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	got := relayOut(t, "check", "-c", r.Config)
	require.Regexp(t, `warning +max_slot_wal_keep_size +is not set: .*until the disk is full`, got.out)
	require.Contains(t, got.out, "ALTER SYSTEM SET max_slot_wal_keep_size")
	if r.version() < 18 {
		return
	}
	c := pgtest.Cluster(t, pgtemp.Options{Settings: map[string]string{"idle_replication_slot_timeout": "1d", "max_slot_wal_keep_size": "1GB"}})
	r = prepareRelayAt(t, c.URL("postgres"), "  only: {url: \"http://127.0.0.1:1\"}\n")
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	got = relayOut(t, "check", "-c", r.Config)
	require.Contains(t, got.out, "a relay that is down for longer than 24h0m0s loses its slot")
	require.NotContains(t, got.out, "is not set")
}

func TestLookout_TellsOfARiskWhenItChangesAndOfNothingElse(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newLookout(cdc.Source{}, slog.New(slog.NewTextHandler(&out, nil)))
	for _, c := range []struct {
		wal  cdc.SlotWAL
		says string
	}{
		{cdc.SlotWAL{Status: "reserved", Retained: 1}, ""},
		{cdc.SlotWAL{Status: "extended", Retained: 9}, "slot keeps more WAL than max_wal_size"},
		{cdc.SlotWAL{Status: "extended", Retained: 10}, ""},
		{cdc.SlotWAL{Status: "extended", Retained: 80, Safe: 20, Limited: true}, "three quarters"},
		{cdc.SlotWAL{Status: "extended", Retained: 81, Safe: 19, Limited: true}, ""},
		{cdc.SlotWAL{Status: "unreserved", Retained: 100, Safe: -1, Limited: true}, "slot is about to be lost at the next checkpoint"},
		{cdc.SlotWAL{Status: "extended", Retained: 80, Safe: 20, Limited: true}, "slot is less at risk"},
		{cdc.SlotWAL{Status: "lost", Limited: true}, ""}, // the stream says it
		{cdc.SlotWAL{Status: "reserved", Retained: 1, Safe: 99, Limited: true}, "slot is no longer at risk"},
		{cdc.SlotWAL{Status: "reserved", Idle: 80 * time.Minute, IdleTimeout: 100 * time.Minute}, "idle_replication_slot_timeout=1h40m0s"},
	} {
		out.Reset()
		l.note(&cdc.Sight{WAL: &c.wal})
		require.Equal(t, c.says != "", out.Len() > 0, out.String())
		require.Contains(t, out.String(), c.says)
	}
	require.Equal(t, cdc.RiskLost, (&cdc.SlotWAL{Status: "reserved", Cause: "idle_timeout"}).Risk())
}
