package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

func TestTables_ARenamedColumnHoldsTheStreamUntilItIsRenamedBackOrTheFileFollows(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := startRelay(t, "  all: {url: \""+ep.URL+"\", format: raw, order: strict}\n")
	r.Insert("order.created", `1`, "")
	ep.Wait(t, 1)
	written := func(body string) {
		r.exec(r.Conn, `ALTER TABLE outbox RENAME payload TO body`)
		r.exec(r.Conn, `INSERT INTO outbox (type, body) VALUES ('order.created', $1::text::jsonb)`, body)
		r.eventually(func() bool { return strings.Contains(r.get("/readyz"), `no column "payload" for the event's payload`) }, "says so")
		require.Contains(t, r.get("/readyz"), "columns: {payload: …}")
		require.Regexp(t, `error .*no column "payload"`, relayOut(t, "check", "-c", r.Config).out)
	}
	written(`2`)
	time.Sleep(300 * time.Millisecond) // for what must not happen
	require.Len(t, ep.IDs(), 1)
	r.exec(r.Conn, `ALTER TABLE outbox RENAME body TO payload`)
	ep.Wait(t, 2)
	r.Insert("order.created", `3`, "")
	ep.Wait(t, 3)

	written(`4`)
	r.Stop()
	r.amend("hold: 1s", "hold: 1s, tables: [{name: public.outbox, columns: {payload: body}}]")
	r.Start()
	r.exec(r.Conn, `INSERT INTO outbox (type, body) VALUES ('order.created', '5')`)
	for i, receipt := range ep.Wait(t, 5) {
		require.Equal(t, []string{"1", "2", "3", "4", "5"}[i], string(receipt.Body))
	}
	r.Stop()
	require.Len(t, ep.IDs(), 5, "once each")
}

func TestTables_ARenamedTableGoesOnUnderItsNewNameInTheFile(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := startRelay(t, "  all: {url: \""+ep.URL+"\", format: raw, order: strict}\n")
	r.Insert("order.created", `1`, "")
	ep.Wait(t, 1)
	r.Stop()
	r.Insert("order.created", `2`, "") // under the old name
	r.exec(r.Conn, `ALTER TABLE outbox RENAME TO events`)
	r.exec(r.Conn, `INSERT INTO events (type, payload) VALUES ('order.created', '3')`)
	r.amend("hold: 1s", "hold: 1s, tables: [{name: public.events}]")
	r.Start()
	for i, receipt := range ep.Wait(t, 3) {
		require.Equal(t, []string{"1", "2", "3"}[i], string(receipt.Body))
	}
	require.Contains(t, r.get("/metrics"), `relay_rows_total{table="public.events"} 2`)
	r.Stop()
}

func TestTables_PayloadsOfEveryTypeArriveByteForByte(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := prepareRelay(t, "  all: {url: \""+ep.URL+"\", format: raw}\n")
	r.amend("hold: 1s", "hold: 1s, tables: [{name: uuids}, {name: bigints}, {name: ints}, {name: texts}]")
	for _, sql := range []string{
		`CREATE TABLE uuids (id uuid, type text, payload jsonb)`,
		`CREATE TABLE bigints (id bigint GENERATED ALWAYS AS IDENTITY (START 9007199254740993), type text, payload json)`,
		`CREATE TABLE ints (id int GENERATED ALWAYS AS IDENTITY, type text, payload text)`,
		`CREATE TABLE texts (id text, type text, payload bytea)`,
	} {
		r.exec(r.Conn, sql)
	}
	r.Start()
	for i, want := range []struct{ sql, id, body, contentType string }{
		{
			`INSERT INTO uuids VALUES ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 't', '{"n": 1.10,   "big": 12345678901234567890}')`,
			"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", `{"n": 1.10, "big": 12345678901234567890}`, "application/json",
		},
		{`INSERT INTO bigints (type, payload) VALUES ('t', '{"n":   1.10, "n": 2}')`, "9007199254740993", `{"n":   1.10, "n": 2}`, "application/json"},
		{`INSERT INTO ints (type, payload) VALUES ('t', E'héllo\nwörld')`, "1", "héllo\nwörld", "text/plain; charset=utf-8"},
		{`INSERT INTO texts VALUES ('any-id', 't', '\x00ff0d0a')`, "any-id", "\x00\xff\r\n", "application/octet-stream"},
	} {
		r.exec(r.Conn, want.sql)
		got := ep.Wait(t, i+1)[i]
		require.Equal(t, []string{want.id, want.body, want.contentType}, []string{got.ID(), string(got.Body), got.Header.Get("Content-Type")})
	}
	r.Stop()
}

func TestTables_APublicationForAllTablesSendsTheOutboxAloneAndFeedsNothingBack(t *testing.T) {
	t.Parallel()
	good, bad := deliverytest.New(t, nil), deliverytest.New(t, deliverytest.Always(500))
	r := prepareRelay(t, "  good: {url: \""+good.URL+"\"}\n  bad: {url: \""+bad.URL+"\", retry: {delays: [1h]}}\n")
	r.exec(r.Conn, `CREATE PUBLICATION relay FOR ALL TABLES`)
	r.exec(r.Conn, `CREATE TABLE customers (id int PRIMARY KEY)`)
	r.Start()
	require.Contains(t, relayOut(t, "check", "-c", r.Config).out, "is for all tables, the relay's own among them")
	for range 5 {
		r.Insert("order.created", `1`, "")
		r.exec(r.Conn, `INSERT INTO customers SELECT count(*) FROM customers`)
	}
	good.Wait(t, 5)
	r.eventually(func() bool { return parkedNow(t, r) == 5 }, "parked, which comes back by the stream")

	const saved = `SELECT coalesce(extract(epoch FROM max(saved_at))::int, 0) FROM relay.position`
	last := 0
	require.Eventually(t, func() bool {
		was := last
		last = r.number(saved)
		return last > 0 && was == last
	}, 30*time.Second, 3*time.Second, "an idle relay writes nothing") // saved once a second while something moves
	require.Len(t, good.IDs(), 5)
	require.NotContains(t, r.get("/metrics"), `relay_rows_total{table="relay.`)
	require.NotContains(t, r.get("/metrics"), `relay_rows_total{table="public.customers"`)
	r.Stop()
}

func TestTables_ARenameOfTheTableIsSaidAndStopsNothing(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r := startRelay(t, "  all: {url: \""+ep.URL+"\", format: raw, order: strict}\n")
	r.Insert("order.created", `1`, "")
	ep.Wait(t, 1)
	r.isReady("ready: streaming")
	r.eventually(func() bool { return strings.Contains(r.get("/metrics"), "relay_publication_ok 1") }, "looked")
	r.exec(r.Conn, `ALTER TABLE outbox RENAME TO events`)
	r.logs("public.outbox is public.events now")
	r.exec(r.Conn, `INSERT INTO events (type, payload) VALUES ('order.created', '2')`)
	ep.Wait(t, 2)
	require.Contains(t, r.get("/readyz"), "ready: streaming")
	r.exec(r.Conn, `ALTER TABLE events RENAME TO outbox`)
	r.logs("tables have the names of source.tables again")
	require.NotContains(t, r.Log(), "relay replay")
	require.Equal(t, 1, strings.Count(r.Log(), "a table was renamed"))
	r.Stop()
}
