package cdc_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"relay/cdc"
)

func TestStream_KnowsARenamedTableByItsIdentity(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`ALTER TABLE outbox DROP id`) // the first column, after which places tell nothing of columns
	run := s.stream(nil)
	s.write(1, 1)
	run.wait(t, 1)
	s.exec(`ALTER TABLE outbox RENAME TO events`)
	s.exec(`INSERT INTO events (type, key, payload) VALUES ('t', '2', '{}')`)
	rows := run.wait(t, 2)
	requireOnceInOrder(t, rows, 2)
	require.Equal(t, "public.outbox", rows[1].Table.String(), "under the name that the configuration has")
	run.waitCommits(t, 2) // or the last transaction, of which no end was read, comes again
	require.NoError(t, run.stop())

	// A relay that starts with the old name has nothing to stream from, says so, and loses nothing.
	s.exec(`INSERT INTO events (type, key, payload) VALUES ('t', '3', '{}')`)
	old := s.stream(nil)
	eventually(t, "an error", func() bool { return old.Status().Err != nil })
	require.Contains(t, faultOf(t, old.Status().Err, cdc.FaultPublicationTable).Remedy, "outbox")
	require.NoError(t, old.stop())

	// One that starts with a newer name takes what was written under the names before.
	s.exec(`CREATE SCHEMA app`)
	s.exec(`ALTER TABLE events SET SCHEMA app`)
	s.exec(`ALTER TABLE app.events RENAME TO messages`)
	s.exec(`INSERT INTO app.messages (type, key, payload) VALUES ('t', '4', '{}')`)
	again := s.stream(func(c *cdc.StreamConfig, _ *recorder) { c.Tables = []string{"app.messages"} })
	rows = again.wait(t, 2)
	require.Equal(t, []string{"3", "4"}, column(t, rows, "key"))
	require.Equal(t, "app.messages", rows[0].Table.String())
	require.Same(t, rows[0].Table, rows[1].Table)
}

func TestStream_KnowsARenamedColumnByItsPlaceInOlderRows(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.exec(`INSERT INTO outbox (type, key, payload) VALUES ('t', '1', '{}')`)
	s.exec(`ALTER TABLE outbox RENAME payload TO body`)
	s.exec(`INSERT INTO outbox (type, key, body) VALUES ('t', '2', '{}')`)
	hold := func(_ *cdc.StreamConfig, r *recorder) { r.hold = true }
	run := s.stream(hold)
	rows := run.wait(t, 2)
	require.Equal(t, []string{"{}", "{}"}, column(t, rows, "body"), "as it is called now")
	require.Equal(t, []string{"{}"}, column(t, rows[:1], "payload"), "as it was called when it was written")
	require.Negative(t, rows[1].Table.Column("payload"))

	s.exec(`ALTER TABLE outbox RENAME body TO payload`)
	s.exec(`INSERT INTO outbox (type, key, payload) VALUES ('t', '3', '{}')`)
	rows = run.wait(t, 3)
	require.Negative(t, rows[2].Table.Column("body"), "what happens while it streams is not guessed at")
	require.NoError(t, run.stop())
	run = s.stream(hold)
	require.Equal(t, []string{"{}", "{}", "{}"}, column(t, run.wait(t, 3), "payload"), "renamed back")
	require.NoError(t, run.stop())

	// Where a column was dropped, the place of those after it tells no more.
	s.exec(`ALTER TABLE outbox DROP key`)
	s.exec(`ALTER TABLE outbox RENAME payload TO body`)
	rows = s.stream(nil).wait(t, 3)
	for _, row := range rows {
		require.Equal(t, row.Table.Column("key"), 2)
		require.Equal(t, map[bool]string{true: "body", false: "payload"}[row == rows[1]], row.Table.Columns[3].Name)
		require.Empty(t, row.Table.Columns[3].Now)
	}
}

// Places of a list are not places of the table: taken for these, a column would have got the name of another.
func TestStream_KnowsARenamedColumnByItsPlaceInTheList(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	if s.version() < 15 {
		t.Skip("publications have lists of columns from PostgreSQL 15")
	}
	s.exec(`CREATE TABLE listed (id int, type text, key text, note text, payload jsonb, more text)`)
	s.exec(`ALTER PUBLICATION relay ADD TABLE listed (id, type, note, payload)`)
	s.exec(`INSERT INTO listed VALUES (1, 't', 'key', 'note', '{}', 'more')`)
	s.exec(`ALTER TABLE listed RENAME note TO remark`)
	s.exec(`ALTER TABLE listed RENAME payload TO body`)
	rows := s.stream(func(c *cdc.StreamConfig, _ *recorder) { c.Tables = []string{"public.listed"} }).wait(t, 1)
	require.Negative(t, rows[0].Table.Column("key"), "which is not sent")
	require.Equal(t, []string{"note"}, column(t, rows, "remark"))
	require.Equal(t, []string{"{}"}, column(t, rows, "body"))
}

func TestStream_KnowsARenamedColumnBesideGeneratedOnes(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	for _, publish := range []string{"none", "stored"} {
		if publish == "stored" && s.version() < 18 {
			continue // generated columns are published from PostgreSQL 18
		}
		table := "made_" + publish
		s.exec(`CREATE TABLE ` + table + ` (id int, made text GENERATED ALWAYS AS ('made') STORED, type text, note text, payload jsonb)`)
		s.exec(`ALTER PUBLICATION relay ADD TABLE ` + table)
		if s.version() >= 18 {
			s.exec(`ALTER PUBLICATION relay SET (publish_generated_columns = ` + publish + `)`)
		}
		s.exec(`INSERT INTO ` + table + ` (id, type, note, payload) VALUES (1, 't', 'note', '{}')`)
		s.exec(`ALTER TABLE ` + table + ` RENAME type TO kind`)
		s.exec(`ALTER TABLE ` + table + ` RENAME payload TO body`)
		run := s.stream(func(c *cdc.StreamConfig, _ *recorder) { c.Tables = []string{"public." + table} })
		rows := run.wait(t, 1)
		require.Equal(t, []string{"t"}, column(t, rows, "kind"), publish)
		require.Equal(t, []string{"note"}, column(t, rows, "note"), publish)
		require.Equal(t, []string{"{}"}, column(t, rows, "body"), publish)
		require.Equal(t, publish == "stored", rows[0].Table.Column("made") >= 0)
		run.waitCommits(t, 1)
		require.NoError(t, run.stop())
	}
}

// A column that takes the place of another has its type, perhaps, and is another.
func TestStream_TakesNoAddedOrDroppedColumnForARenamedOne(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		since       int
		table, list string // of the older row
		ddl         []string
	}{
		"dropped, added":  {14, `(id int, type text, payload jsonb, key text)`, ``, []string{`ALTER TABLE t DROP key`, `ALTER TABLE t ADD other text`}},
		"added, dropped":  {14, `(id int, type text, payload jsonb, key text)`, ``, []string{`ALTER TABLE t ADD other text`, `ALTER TABLE t DROP key`}},
		"one before":      {14, `(key text, id int, type text, payload jsonb)`, ``, []string{`ALTER TABLE t DROP key`, `ALTER TABLE t RENAME type TO kind`}},
		"no more made up": {14, `(id int, other text GENERATED ALWAYS AS ('x') STORED, type text, key text, payload jsonb)`, ``, []string{`ALTER TABLE t ALTER other DROP EXPRESSION`, `ALTER TABLE t RENAME type TO kind`}},
		"another list": {15, `(id int, key text, type text, other text, payload jsonb)`, `(id, key, type, payload)`, []string{
			`ALTER PUBLICATION relay SET TABLE t (id, type, other, payload)`, `ALTER TABLE t RENAME key TO aggregate`,
		}},
		"a shorter list": {15, `(id int, key text, type text, other text, payload jsonb)`, ``, []string{
			`ALTER PUBLICATION relay SET TABLE t (id, other, payload)`, `ALTER TABLE t RENAME type TO kind`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			if s.version() < tc.since {
				t.Skip("not in this version")
			}
			s.exec(`CREATE TABLE t ` + tc.table)
			s.exec(`ALTER PUBLICATION relay ADD TABLE t ` + tc.list)
			s.exec(`INSERT INTO t (id, type, key, payload) VALUES (1, 'type', 'key', '{}')`)
			for _, sql := range tc.ddl {
				s.exec(sql)
			}
			rows := s.stream(func(c *cdc.StreamConfig, _ *recorder) { c.Tables = []string{"public.t"} }).wait(t, 1)
			for _, c := range rows[0].Table.Columns {
				require.NotEqual(t, "other", c.Now, "%s", c.Name)
			}
			require.Equal(t, []string{"key"}, column(t, rows, "key"))
		})
	}
}
