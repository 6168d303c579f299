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
			r.exec(r.Conn, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()`)
			r.Insert("missed", `1`, "")
			r.Start()
		},
		"the SQL of setup --print": func(r *running) {
			r.kill()
			r.exec(r.Conn, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()`)
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
