package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// amend changes the configuration file before the start.
func (r *running) amend(old, replacement string) {
	r.t.Helper()
	data, err := os.ReadFile(r.Config)
	require.NoError(r.t, err)
	require.Contains(r.t, string(data), old)
	r.Write(defaultConfig, []byte(strings.Replace(string(data), old, replacement, 1)))
}

func (r *running) connect() *pgx.Conn {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.URL)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (r *running) exec(conn *pgx.Conn, sql string, args ...any) {
	r.t.Helper()
	_, err := conn.Exec(context.Background(), sql, args...)
	require.NoError(r.t, err)
}

func (r *running) number(sql string) (n int) {
	r.t.Helper()
	require.NoError(r.t, r.Conn.QueryRow(r.t.Context(), sql).Scan(&n))
	return n
}

const rowsLeft = `SELECT count(*) FROM outbox`

func TestRetention_DeletesRowsOnceTheyAreDeliveredEverywhereAndNotTheParkedOnes(t *testing.T) {
	t.Parallel()
	good, bad := deliverytest.New(t, nil), deliverytest.New(t, deliverytest.Always(500))
	r := prepareRelay(t, "  good: {url: \""+good.URL+"\"}\n  bad: {url: \""+bad.URL+"\", events: [\"invoice.*\"], retry: {delays: [1h]}}\n")
	r.amend("hold: 1s", "hold: 1s, tables: [{name: public.outbox, retention: 1s}]")
	r.Start()

	slow := r.connect()
	r.exec(slow, `BEGIN`)
	r.exec(slow, `INSERT INTO outbox (type, payload, created_at) VALUES ('slow', '1', '2001-01-01')`)
	for range 20 {
		r.Insert("order.created", `1`, "")
	}
	id := r.Insert("invoice.paid", `1`, "")
	good.Wait(t, 21)
	time.Sleep(3 * time.Second)
	require.Equal(t, 21, r.number(rowsLeft), "a transaction older than all of them is open: not known to be settled")
	r.exec(slow, `COMMIT`)
	good.Wait(t, 22)
	r.eventually(func() bool { return r.number(rowsLeft) == 1 }, "all but the parked one go")
	require.Equal(t, 1, r.number(`SELECT count(*) FROM outbox WHERE id = '`+id+`'`))

	got := relayOut(t, "discard", "--all", "--yes", "-c", r.Config)
	require.Zero(t, got.status, got.err)
	r.eventually(func() bool { return r.number(rowsLeft) == 0 }, "what was discarded goes too")
	require.Len(t, good.IDs(), 22)
}

func TestRetention_NeverDeletesARowThatWasNotDeliveredUnderConcurrentWritersAndKills(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareRelay(t, "  only: {url: \""+ep.URL+"\"}\n")
	r.amend("hold: 1s", "hold: 1s, tables: [{name: public.outbox, retention: 1ms}]")
	r.Start()

	var mu sync.Mutex
	committed := map[string]bool{}
	stop := time.Now().Add(8 * time.Second)
	var writers sync.WaitGroup
	for w := range 4 {
		conn := r.connect()
		writers.Go(func() {
			for n := 0; time.Now().Before(stop); n++ {
				id := fmt.Sprintf("00000000-0000-0000-%04d-%012d", w, n)
				r.exec(conn, `BEGIN`)
				r.exec(conn, `INSERT INTO outbox (id, type, payload, created_at) VALUES ($1, 't', '1', now() - interval '1 day')`, id)
				time.Sleep(time.Duration(n%7) * time.Duration(w) * 20 * time.Millisecond)
				if n%5 == 4 {
					r.exec(conn, `ROLLBACK`)
					continue
				}
				r.exec(conn, `COMMIT`)
				mu.Lock()
				committed[id] = true
				mu.Unlock()
			}
		})
	}
	for range 2 {
		time.Sleep(3 * time.Second)
		require.NoError(t, r.cmd.Process.Kill())
		<-r.done
		r.Start()
	}
	writers.Wait()
	delivered := func() map[string]bool {
		got := map[string]bool{}
		for _, id := range ep.IDs() {
			got[id] = true
		}
		return got
	}
	r.eventually(func() bool { return r.number(rowsLeft) == 0 }, "everything is delivered and deleted in the end")
	require.Equal(t, committed, delivered())
}

func TestRetention_SaysWhichGrantIsMissingAndGoesOnDelivering(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareRelay(t, "  only: {url: \""+ep.URL+"\"}\n")
	r.amend("hold: 1s", "hold: 1s, tables: [{name: public.outbox, retention: 10ms}]")
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	r.exec(r.Conn, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE insufficient_privilege; END $$`)
	r.exec(r.Conn, `CREATE TRIGGER refuse BEFORE DELETE ON outbox EXECUTE FUNCTION refuse()`)
	r.Start()
	r.Insert("t", `1`, "")
	r.eventually(func() bool { return strings.Contains(r.Log(), "GRANT SELECT, DELETE ON") }, "the log names the grant")
	r.Insert("t", `2`, "")
	ep.Wait(t, 2)
	require.Equal(t, 2, r.number(rowsLeft))
}
