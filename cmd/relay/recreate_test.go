package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// loseSlot drops the slot under the running relay.
func (r *running) loseSlot() {
	r.t.Helper()
	conn := r.connect()
	r.eventually(func() bool {
		_, err := conn.Exec(r.t.Context(), `DO $$ DECLARE s record; BEGIN
			FOR s IN SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = current_database() LOOP
				PERFORM pg_terminate_backend(s.active_pid);
				FOR i IN 1..200 LOOP
					EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_replication WHERE pid = s.active_pid);
					PERFORM pg_stat_clear_snapshot(), pg_sleep(0.001);
				END LOOP;
				PERFORM pg_drop_replication_slot(s.slot_name);
			END LOOP; END $$`)
		return err == nil
	}, "slot is dropped")
}

// waitingLong counts what has failed so often that it waits for an hour.
const waitingLong = `SELECT count(*) FROM relay.parked WHERE next_attempt_at > now() + interval '30 min'`

const settledHorizons = `SELECT count(*) FROM relay.horizon WHERE settled_at IS NOT NULL`

func TestRecreate_ASlotThatIsLostIsMadeAnewAndNothingOfWhatIsStillThereIsLost(t *testing.T) {
	t.Parallel()
	good, bad := deliverytest.New(t, nil), deliverytest.New(t, deliverytest.Always(503))
	r := prepareRelay(t, "  good: {url: \""+good.URL+"\", format: raw}\n  bad: {url: \""+bad.URL+"\", format: raw, retry: {delays: [100ms, 100ms, 1s, 1h]}}\n")
	r.amend("hold: 1s", "hold: 1s, on_slot_lost: recreate")
	insert := func(from, to int) {
		r.exec(r.Conn, `INSERT INTO outbox (type, key, payload) SELECT 't', 'k', to_jsonb(n) FROM generate_series($1::int, $2::int) n`, from, to)
	}
	require.Zero(t, relayOut(t, "setup", "-c", r.Config).status)
	r.Start()
	insert(1, 5)
	good.Wait(t, 5)
	r.eventually(func() bool { return parkedNow(t, r) == 5 && r.number(waitingLong) == 1 }, "parked for the endpoint that is down")
	r.eventually(func() bool { return r.number(settledHorizons) > 0 }, "a horizon")

	slow := r.connect()
	r.exec(slow, `BEGIN`)
	r.exec(slow, `INSERT INTO outbox (type, key, payload, created_at) VALUES ('t', 'other', '0', '2001-01-01')`)
	r.loseSlot()
	insert(6, 15)
	r.isReady("not ready: the slot is lost, making another") // and nobody else delivers
	r.exec(slow, `COMMIT`)
	r.eventually(func() bool { return strings.Contains(r.Log(), "slot was made anew") }, "the log says so")
	insert(16, 20)
	bad.Answer(deliverytest.Always(200))
	require.Zero(t, relayOut(t, "retry", "--all", "--yes", "-c", r.Config).status)
	r.eventually(func() bool { return parkedNow(t, r) == 0 }, "drained")
	r.eventually(func() bool { return strings.Contains(r.get("/readyz"), "ready: streaming") }, "ready")
	for _, ep := range []*deliverytest.Endpoint{good, bad} {
		want := map[string]bool{}
		for n := range 21 {
			want[fmt.Sprint(n)] = true
		}
		r.eventually(func() bool {
			got := map[string]bool{}
			for _, receipt := range ep.Receipts() {
				got[string(receipt.Body)] = true
			}
			return len(got) == len(want)
		}, "all of them arrived")
	}
	require.Zero(t, r.number(`SELECT count(*) FROM relay.existing WHERE NOT done`))
}

func TestRecreate_WithoutItALostSlotIsNamedAndWhatIsParkedGoesOn(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, deliverytest.Always(503))
	r := startRelay(t, "  only: {url: \""+ep.URL+"\", retry: {delays: [100ms, 1h]}}\n")
	r.Insert("t", `1`, "")
	r.eventually(func() bool { return r.number(waitingLong) == 1 }, "parked")
	r.loseSlot()
	r.eventually(func() bool {
		why := r.get("/readyz")
		return strings.Contains(why, "does not exist") && strings.Contains(why, "remedy: relay setup")
	}, "not ready, with cause and remedy")
	ep.Answer(deliverytest.Always(200))
	require.Zero(t, relayOut(t, "retry", "--all", "--yes", "-c", r.Config).status)
	r.eventually(func() bool { return parkedNow(t, r) == 0 }, "drained")
}
