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
