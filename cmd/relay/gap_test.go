package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// A row that no slot has sent is not "delivered everywhere", so retention is not for it, however old it is.
func TestRetention_LeavesRowsAloneThatNoSlotHasSent(t *testing.T) {
	t.Parallel()
	for name, remake := range map[string]func(*running){
		"relay setup": func(r *running) {
			r.kill() // before the horizon that is known is settled
			r.loseSlot()
			r.Insert("missed", `1`, "")
			r.Start()
		},
		"the SQL of setup --print": func(r *running) {
			r.kill()
			r.loseSlot()
			r.Insert("missed", `1`, "")
			r.runPrinted()
			r.run()
		},
		"SQL while relay runs": func(r *running) {
			r.loseSlot()
			r.Insert("missed", `1`, "")
			r.isReady("does not exist")
			r.exec(r.Conn, `SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, "relay_"+r.Conn.Config().Database)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ep := deliverytest.New(t, nil)
			r := prepareRelay(t, "  only: {url: \""+ep.URL+"\"}\n")
			r.amend("hold: 1s", "hold: 1s, tables: [{name: public.outbox, retention: 10ms}]")
			require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
			require.Zero(t, relayOut(t, "teardown", "--yes", "-c", r.Config).status)
			r.Insert("skipped", `1`, "") // there before the slot, and existing is skip
			r.Start()
			r.Insert("sent", `1`, "")
			ep.Wait(t, 1)
			r.eventually(func() bool { return r.number(rowsLeft) == 1 }, "what was sent goes")
			slow := r.connect() // keeps what is sent now from being settled
			r.exec(slow, `BEGIN`)
			r.exec(slow, `SELECT pg_current_xact_id()`)
			r.Insert("sent", `2`, "")
			ep.Wait(t, 2)
			time.Sleep(time.Second) // so that a horizon is taken
			r.exec(slow, `COMMIT`)

			remake(r)
			r.isReady("ready: streaming")
			time.Sleep(2 * time.Second) // a slot that others made is noticed; what comes meanwhile is kept too
			r.Insert("sent", `3`, "")
			ep.Wait(t, 3)
			r.eventually(func() bool { return r.number(`SELECT count(*) FROM outbox WHERE type = 'sent' AND payload = '3'`) == 0 }, "what was sent after it goes")
			time.Sleep(2 * time.Second) // sweeps
			require.Equal(t, 1, r.number(`SELECT count(*) FROM outbox WHERE type = 'missed'`))
			require.Equal(t, 1, r.number(`SELECT count(*) FROM outbox WHERE type = 'skipped'`))
		})
	}
}

// A condition queues some of the rows; the others are as unsent as with skip.
func TestRetention_LeavesRowsAloneThatAConditionKeepsOut(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareRelay(t, "  only: {url: \""+ep.URL+"\"}\n")
	r.amend("hold: 1s", "hold: 1s, existing: \"type = 'wanted'\", tables: [{name: public.outbox, retention: 10ms}]")
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	require.Zero(t, relayOut(t, "teardown", "--yes", "-c", r.Config).status)
	sent := func(n int) {
		r.Insert("sent", `1`, "")
		ep.Wait(t, n)
		r.eventually(func() bool { return r.number(`SELECT count(*) FROM outbox WHERE type = 'sent'`) == 0 }, "what the slot sent goes")
	}
	r.Insert("kept out", `1`, "")
	r.Insert("wanted", `1`, "")
	r.Start()
	ep.Wait(t, 1)
	sent(2)
	r.kill()
	r.loseSlot()
	r.Insert("missed", `1`, "")
	r.Insert("wanted", `2`, "")
	r.Start()
	ep.Wait(t, 3)
	sent(4)
	time.Sleep(2 * time.Second) // sweeps
	require.Equal(t, 1, r.number(`SELECT count(*) FROM outbox WHERE type = 'kept out'`))
	require.Equal(t, 1, r.number(`SELECT count(*) FROM outbox WHERE type = 'missed'`))
	require.Zero(t, r.number(`SELECT count(*) FROM relay.gap WHERE to_xid IS NULL`))
}

// Where all rows are queued, none is left that nothing has sent.
func TestRetention_DeletesRowsThatWereSentBecauseTheyWereThere(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareExisting(t, "send", "  only: {url: \""+ep.URL+"\"}\n", 3)
	r.amend("hold: 1s", "hold: 1s, tables: [{name: public.outbox, retention: 10ms}]")
	// The setup that made the table left out what was before its slot.
	r.exec(r.Conn, `DELETE FROM relay.gap`)
	r.Start()
	ep.Wait(t, 3)
	r.Insert("sent", `1`, "")
	r.eventually(func() bool { return r.number(rowsLeft) == 0 }, "they go")
}

// Who makes no slot makes no gap: what the script was told to leave to relay setup is queued by that, and goes when it was sent.
func TestSetupPrint_MakesNoGapWhereTheSlotIsLeftToRelay(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareExisting(t, "send", "  only: {url: \""+ep.URL+"\"}\n", 3)
	r.amend("hold: 1s", "hold: 1s, tables: [{name: public.outbox, retention: 10ms}]")
	r.exec(r.Conn, `DELETE FROM relay.gap`)
	r.runPrinted("pg_create_logical_replication_slot")
	require.Zero(t, r.number(`SELECT count(*) FROM relay.gap`))
	r.Start()
	ep.Wait(t, 3)
	r.Insert("sent", `1`, "")
	r.eventually(func() bool { return r.number(rowsLeft) == 0 }, "they go")
}

// What is settled is known of the horizons, in the database, and not of positions: without these everything is only sent again.
func TestRetention_OfAPartitionedTableOutlivesLostPositions(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareRelay(t, "  only: {url: \""+ep.URL+"\", format: raw}\n")
	r.amend("hold: 1s", "hold: 1s, tables: [{name: public.outbox, retention: 10ms}]")
	for _, sql := range []string{
		`CREATE TABLE outbox (id uuid DEFAULT gen_random_uuid(), type text, key text, payload jsonb, headers jsonb, created_at timestamptz DEFAULT now()) PARTITION BY LIST (type)`,
		`CREATE TABLE outbox_a PARTITION OF outbox FOR VALUES IN ('a')`, `CREATE TABLE outbox_b PARTITION OF outbox FOR VALUES IN ('b')`,
	} {
		r.exec(r.Conn, sql)
	}
	insert := func(from, to int) {
		r.exec(r.Conn, `INSERT INTO outbox (type, payload) SELECT (ARRAY['a', 'b'])[1 + n % 2], to_jsonb(n) FROM generate_series($1::int, $2::int) n`, from, to)
	}
	r.Start()
	insert(1, 1000)
	ep.Wait(t, 1000)
	r.eventually(func() bool { return r.number(rowsLeft) == 0 }, "rows of both partitions go")

	insert(1001, 1500)
	r.kill()
	r.exec(r.Conn, `DELETE FROM relay.position`)
	insert(1501, 2000)
	r.Start()
	r.eventually(func() bool { return r.number(rowsLeft) == 0 }, "what was sent goes")
	sent := map[string]bool{}
	for _, receipt := range ep.Receipts() {
		sent[string(receipt.Body)] = true
	}
	require.Len(t, sent, 2000, "nothing went that was not sent")
}
