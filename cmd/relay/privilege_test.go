package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
	"relay/internal/pgtemp/pgtest"
)

const oddTable = `"My.App"."Out Box"`

// prepareRole is prepareRelay with a role that the DBA has not made yet, odd names, and tables of others.
func prepareRole(t *testing.T, endpoints string) (r *running, role string) {
	t.Helper()
	r = prepareRelay(t, endpoints)
	u, err := url.Parse(r.URL)
	require.NoError(t, err)
	role = `re"lay's ` + path.Base(u.Path)
	u.User = url.User(role)
	r.amend(fmt.Sprintf("url: %q", r.URL), fmt.Sprintf(`url: %q, publication: "Pub 'li\"cation", schema: "Relay $relay$ State",
  tables: [{name: public.outbox}, {name: '"My.App".Out Box', retention: 1s}]`, u.String()))
	for _, sql := range []string{
		`CREATE SCHEMA "My.App"`, `CREATE TABLE "My.App".secrets (n int)`, `CREATE TABLE customers (n int)`,
		`CREATE SEQUENCE customer_number`, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`, // as it is from PostgreSQL 15
	} {
		r.exec(r.Conn, sql)
	}
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), r.URL)
		require.NoError(t, err)
		defer conn.Close(context.Background()) //nolint:errcheck // a test's connection
		quoted := pgx.Identifier{role}.Sanitize()
		_, err = conn.Exec(context.Background(), "DROP OWNED BY "+quoted+" CASCADE; DROP ROLE "+quoted, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
	})
	return r, role
}

// runPrinted has the DBA run what relay setup --print prints, but for the statements that hold a text.
func (r *running) runPrinted(without ...string) {
	r.t.Helper()
	printed := relayOut(r.t, "setup", "--print", "-c", r.Config)
	require.Zero(r.t, printed.status, printed.err)
	for _, sql := range pgtest.Statements(printed.out) {
		if slices.ContainsFunc(without, func(text string) bool { return strings.Contains(sql, text+"(") }) {
			continue
		}
		_, err := r.Conn.Exec(r.t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		require.NoError(r.t, err, sql)
	}
}

func (r *running) strings(sql string, args ...any) []string {
	r.t.Helper()
	rows, err := r.Conn.Query(r.t.Context(), sql, args...)
	require.NoError(r.t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(r.t, err)
	return all
}

func TestPrivilege_TheRoleOfThePrintedSQLDoesAllOfRelaysWork(t *testing.T) {
	t.Parallel()
	good, moody := deliverytest.New(t, nil), deliverytest.New(t, deliverytest.Statuses(503, 200))
	picky := deliverytest.New(t, deliverytest.Always(400))
	r, _ := prepareRole(t, "  good: {url: \""+good.URL+"\"}\n  moody: {url: \""+moody.URL+"\", retry: {delays: [100ms, 100ms, 100ms]}}\n"+
		"  picky: {url: \""+picky.URL+"\", events: [invoice.paid], retry: {delays: [100ms], rejected: 1}}\n")
	do := func(args ...string) result {
		got := relayOut(t, append(args, "-c", r.Config)...)
		require.Zero(t, got.status, "%v: %s%s", args, got.out, got.err)
		return got
	}
	r.runPrinted()
	r.runPrinted() // again is no harm
	require.Equal(t, "nothing to do\n", do("setup").out)
	require.NotContains(t, do("check", "--json").out, `"level": "error"`)
	r.Start()

	r.exec(r.Conn, `INSERT INTO `+oddTable+` (type, key, payload) VALUES ('order.created', 'k', '1')`)
	r.Insert("order.created", `2`, "")
	moody.Wait(t, 3)
	do("pause", "moody")
	r.eventually(func() bool { return strings.Contains(r.get("/api/v1/status"), `"paused"`) }, "the running relay knows")
	r.Insert("invoice.paid", `3`, "")
	const parked = `SELECT count(*) FROM "Relay $relay$ State".parked WHERE state = `
	r.eventually(func() bool { return r.number(parked+`'waiting'`) == 1 && r.number(parked+`'dead'`) == 1 }, "parked")
	require.Contains(t, do("parked", "--dead").out, "picky")
	do("resume", "moody")
	moody.Wait(t, 4)
	picky.Answer(deliverytest.Always(200))
	do("retry", "--dead", "--yes")
	picky.Wait(t, 2)
	r.eventually(func() bool { return r.number(parked+`'dead'`) == 0 }, "retried")
	good.Wait(t, 3)
	r.eventually(func() bool { return r.number(`SELECT count(*) FROM `+oddTable) == 0 }, "retention deletes")
	require.Equal(t, 2, r.number(rowsLeft))

	require.Contains(t, do("replay", "--endpoint", "good", "--since", "1h", "--yes").out, "queued 2 deliveries")
	good.Wait(t, 5)
	require.Contains(t, do("explain", "--last", "2").out, "invoice.paid")
	do("status", "--address", strings.TrimPrefix(r.Admin(), "http://"))
	r.Stop()
	r.Start() // from its position
	r.Insert("order.created", `4`, "")
	good.Wait(t, 6)
	r.Stop()
	require.Len(t, good.IDs(), 6)
	require.NotContains(t, r.Log(), "42501", "no right was missing")
}

func TestPrivilege_TheRoleOfThePrintedSQLSendsExistingRowsAndMakesALostSlotAnew(t *testing.T) {
	t.Parallel()
	ep := deliverytest.New(t, nil)
	r, _ := prepareRole(t, "  all: {url: \""+ep.URL+"\", order: strict}\n")
	r.amend("hold: 1s", "hold: 1s, existing: send, on_slot_lost: recreate")
	r.runPrinted("pg_create_logical_replication_slot")
	r.Insert("order.created", `1`, "")
	r.Start() // which sets up first
	ep.Wait(t, 1)
	r.Insert("order.created", `2`, "")
	ep.Wait(t, 2)
	r.eventually(func() bool {
		return r.number(`SELECT count(*) FROM "Relay $relay$ State".horizon WHERE settled_at IS NOT NULL`) > 0
	}, "a horizon")
	r.loseSlot()
	r.Insert("order.created", `3`, "")
	r.eventually(func() bool { return strings.Contains(r.Log(), "slot was made anew") }, "the log says so")
	r.Insert("order.created", `4`, "")
	r.eventually(func() bool {
		return len(slices.Compact(slices.Sorted(slices.Values(ep.IDs())))) == 4
	}, "all arrive, some of them twice")
	r.Stop()

	down := relayOut(t, "teardown", "-c", r.Config, "--yes")
	require.Equal(t, exitFailed, down.status)
	require.Contains(t, down.err, `have a DBA run: DROP PUBLICATION IF EXISTS "Pub 'li""cation"`, "which is the DBA's")
	require.Contains(t, down.err+down.out, "dropped replication slot")
}

func TestPrivilege_TheRoleOfThePrintedSQLMayDoNoMore(t *testing.T) {
	t.Parallel()
	r, role := prepareRole(t, "  good: {url: \"http://127.0.0.1:1/\"}\n")
	r.runPrinted()

	require.Equal(t, []string{oddTable + " DELETE", oddTable + " SELECT", "outbox SELECT"}, r.strings(`SELECT c.oid::regclass || ' ' || p
		FROM pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
		AND pg_get_userbyid(c.relowner) <> $1 AND has_table_privilege($1, c.oid, p) ORDER BY 1`, role), "rights on tables of others")
	require.Equal(t, []string{"Relay $relay$ State"}, r.strings(`SELECT nspname FROM pg_namespace WHERE has_schema_privilege($1, oid, 'CREATE')`, role))
	require.Equal(t, []string{"Relay $relay$ State"}, r.strings(`SELECT DISTINCT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE pg_get_userbyid(relowner) = $1 AND nspname <> 'pg_toast'`, role), "where it owns something")
	require.Empty(t, r.strings(`SELECT rolname FROM pg_roles WHERE rolname = $1 AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls)`, role))
	require.Empty(t, r.strings(`SELECT roleid::regrole::text FROM pg_auth_members WHERE pg_get_userbyid(member) = $1`, role))

	conn, err := pgx.ConnectConfig(t.Context(), as(t, r.URL, role))
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // a test's connection
	for _, sql := range []string{
		`SELECT FROM customers`, `SELECT FROM "My.App".secrets`, `INSERT INTO customers VALUES (1)`, `SELECT nextval('customer_number')`,
		`INSERT INTO outbox (type, payload) VALUES ('t', '1')`, `UPDATE outbox SET type = 't'`, `DELETE FROM outbox`, `TRUNCATE outbox`,
		`INSERT INTO ` + oddTable + ` (type, payload) VALUES ('t', '1')`, `UPDATE ` + oddTable + ` SET type = 't'`, `TRUNCATE ` + oddTable,
		`ALTER TABLE outbox ADD n int`, `DROP TABLE outbox`, `GRANT SELECT ON customers TO PUBLIC`,
		`CREATE TABLE public.mine ()`, `CREATE TABLE "My.App".mine ()`, `CREATE SCHEMA mine`, `CREATE DATABASE mine`, `CREATE ROLE mine`,
		`CREATE PUBLICATION mine`, `DROP PUBLICATION "Pub 'li""cation"`, `ALTER PUBLICATION "Pub 'li""cation" ADD TABLE customers`,
		`ALTER SYSTEM SET fsync = off`, `ALTER ROLE CURRENT_USER SUPERUSER`, `SET ROLE postgres`, `CREATE EXTENSION dblink`,
		`COPY (SELECT 1) TO PROGRAM 'true'`, `SELECT pg_read_file('postgresql.conf')`, `SELECT pg_reload_conf()`, `CHECKPOINT`,
	} {
		_, err := conn.Exec(t.Context(), sql)
		var pg *pgconn.PgError
		require.True(t, errors.As(err, &pg), "%s: %v", sql, err)
		require.Equal(t, "42501", pg.Code, "%s: %v", sql, err) // insufficient_privilege
	}
	_, err = conn.Exec(t.Context(), `CREATE TABLE "Relay $relay$ State".mine ()`)
	require.NoError(t, err, "its own schema is its own")
}

// as is how a role connects.
func as(t *testing.T, database, role string) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(database)
	require.NoError(t, err)
	cfg.User = role
	return cfg
}
