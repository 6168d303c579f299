package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// exampleRelay is a relay that runs an example's relay.yaml on a cluster of its own, in which slots have the names that the
// example gives them. What its text asks of the environment is replaced, as is the address of its admin server.
func exampleRelay(t *testing.T, file string, replace ...string) *running {
	t.Helper()
	url, err := pgtest.Cluster(t, pgtemp.Options{}).CreateDatabase(t.Context(), "shop")
	require.NoError(t, err)
	text := strings.NewReplacer(append(replace, "${DATABASE_URL}", url)...).Replace(readDoc(t, file))
	require.NotContains(t, text, "${")
	r := &running{t: t, URL: url, Config: configFile(t, text+"\nadmin: {listen: \"127.0.0.1:0\"}\n")}
	r.Conn, err = pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Conn.Close(t.Context()) })
	return r
}

// Exec runs SQL, which may be several statements.
func (r *running) Exec(sql string) {
	r.t.Helper()
	_, err := r.Conn.PgConn().Exec(r.t.Context(), sql).ReadAll()
	require.NoError(r.t, err)
}

func TestADebeziumOutboxMovesToRelayWithoutAGap(t *testing.T) {
	t.Parallel()
	s, err := newSecrets()
	require.NoError(t, err)
	orders, audit := deliverytest.New(t, nil), deliverytest.New(t, nil)
	r := exampleRelay(t, "examples/debezium/relay.yaml", "${ORDERS_URL}", orders.URL, "${AUDIT_URL}", audit.URL, "${ORDERS_SECRET}", s.HMAC)
	r.Exec(readDoc(t, "examples/debezium/schema.sql"))
	r.Exec(`CREATE PUBLICATION dbz_publication FOR TABLE outboxevent`)
	r.Exec(`SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')`)
	const order = `INSERT INTO outboxevent (id, aggregatetype, aggregateid, type, payload, tracingspancontext) VALUES `

	r.Exec(order + `('00000000-0000-0000-0000-000000000001', 'order', '42', 'OrderCreated', '{"n": 1}', NULL)`)
	r.debezium()
	setup := relayOut(t, "setup", "-c", r.Config)
	require.Zero(t, setup.status, setup.err)
	handover := readDoc(t, "examples/debezium/handover.sql")
	_, err = r.Conn.Exec(t.Context(), handover)
	require.ErrorContains(t, err, "cannot advance", "the connector has confirmed nothing since, so it may not have sent all before")
	r.Exec(order + `('00000000-0000-0000-0000-000000000002', 'order', '42', 'OrderPaid', '{"n": 2}', NULL)`) // in both slots
	r.debezium()                                                                                             // the last of it
	r.Exec(`BEGIN; ` + order + `('00000000-0000-0000-0000-000000000003', 'order', '42', 'OrderPacked', '{"n": 3}', NULL);
		DELETE FROM outboxevent WHERE type = 'OrderPacked'; COMMIT`)
	r.Exec(readDoc(t, "examples/debezium/adapt.sql"))
	r.Exec(order + `('00000000-0000-0000-0000-000000000004', 'order', '42', 'OrderSent', '{"n": 4}',
		E'#Mon Jan 05 10:00:00 UTC 2026\ntraceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\ntracestate=a=1\n'),
		('00000000-0000-0000-0000-000000000005', 'customer', '42', 'CustomerGone', NULL, NULL)`)
	rows, err := r.Conn.Query(t.Context(), handover)
	require.NoError(t, err)
	moved, err := pgx.CollectRows(rows, pgx.RowTo[any])
	require.NoError(t, err)
	require.Len(t, moved, 1)

	r.Start()
	r.eventually(func() bool { return len(orders.Receipts()) == 2 && len(audit.Receipts()) == 3 }, "what Debezium has not sent")
	requireMoved(t, orders, s.HMAC)
	require.Equal(t, "null", string(receipt(t, audit, "05").Body))
	require.JSONEq(t, `{"n": 3}`, string(receipt(t, audit, "03").Body))

	replay := relayOut(t, "replay", "-c", r.Config, "--endpoint", "orders", "--since", "1h", "--type", "OrderPaid")
	require.Zero(t, replay.status, replay.err)
	r.eventually(func() bool { return len(orders.Receipts()) == 3 }, "the replayed row")
	require.JSONEq(t, `{"n": 2}`, data(t, receipt(t, orders, "02")))
	r.Stop()
}

// debezium reads its slot as the connector does, and confirms.
func (r *running) debezium() {
	r.t.Helper()
	r.Exec(`SELECT count(*) FROM pg_logical_slot_get_binary_changes('debezium', NULL, NULL,
		'proto_version', '1', 'publication_names', 'dbz_publication')`)
}

// requireMoved is that the endpoint got what was committed after the connector's last confirmation, in order.
func requireMoved(t *testing.T, orders *deliverytest.Endpoint, secret string) {
	t.Helper()
	verifier, err := newVerifier(secret)
	require.NoError(t, err)
	var types []string
	for _, got := range orders.Receipts() {
		require.NoError(t, verifier.Verify(got.Header, got.Body, time.Now()))
		require.Equal(t, "outbox.event.order", got.Header.Get("X-Topic"))
		var body struct{ Type string }
		require.NoError(t, json.Unmarshal(got.Body, &body))
		types = append(types, body.Type)
	}
	require.Equal(t, []string{"OrderPacked", "OrderSent"}, types)
	sent := receipt(t, orders, "04")
	require.Equal(t, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", sent.Header.Get("Traceparent"))
	require.Equal(t, "a=1", sent.Header.Get("Tracestate"))
	require.JSONEq(t, `{"n": 4}`, data(t, sent))
}

// receipt is what arrived under the webhook-id that ends so.
func receipt(t *testing.T, endpoint *deliverytest.Endpoint, id string) deliverytest.Receipt {
	t.Helper()
	for _, got := range endpoint.Receipts() {
		if strings.HasSuffix(got.ID(), id) {
			return got
		}
	}
	require.Fail(t, "nothing arrived under "+id)
	return deliverytest.Receipt{}
}

// data is the payload in a body of the standard format.
func data(t *testing.T, got deliverytest.Receipt) string {
	t.Helper()
	var body struct{ Data json.RawMessage }
	require.NoError(t, json.Unmarshal(got.Body, &body))
	return string(body.Data)
}
