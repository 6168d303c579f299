package cdc_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"relay/cdc"
)

func TestStream_KnowsARenamedTableByItsIdentity(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	run := s.stream(nil)
	s.write(1, 1)
	run.wait(t, 1)
	s.exec(`ALTER TABLE outbox RENAME TO events`)
	s.exec(`INSERT INTO events (type, key, payload) VALUES ('t', '2', '{}')`)
	rows := run.wait(t, 2)
	requireOnceInOrder(t, rows, 2)
	require.Equal(t, "public.outbox", rows[1].Table.String(), "under the name that the configuration has")
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
