package cdc_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/cdc"
)

// existing asks for the rows that are there, and does something else when all of them were handed over and there is no slot yet.
func (s *system) existing(meanwhile func()) (cdc.Source, *[]string) {
	src, keys := s.src, &[]string{}
	src.Existing = &cdc.Existing{
		Begin: func(context.Context, cdc.LSN) error { return nil },
		Each: func(row *cdc.Row) error {
			*keys = append(*keys, column(s.t, []*cdc.Row{row}, "key")...)
			return nil
		},
		End: func(context.Context) error {
			meanwhile()
			return nil
		},
	}
	return src, keys
}

func (s *system) dropSlot() {
	s.t.Helper()
	s.exec(`SELECT pg_drop_replication_slot($1)`, s.src.Slot)
}

// Somebody makes the slot by hand, or by relay setup, while relay does: what is committed in between is in neither.
func TestRecreate_LosesNothingToASlotThatSomebodyMadeMeanwhile(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.write(1, 3)
	s.dropSlot()
	src, keys := s.existing(func() {
		s.write(4, 4)
		s.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, s.src.Slot)
		s.write(5, 5)
	})
	require.NoError(t, cdc.Recreate(t.Context(), src))
	require.ElementsMatch(t, []string{"1", "2", "3"}, *keys)
	require.Equal(t, []string{"4", "5"}, column(t, s.stream(nil).wait(t, 2), "key"))
}

func TestRecreate_NamesTheSlotThatSomebodyMadeMeanwhileAndUses(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.dropSlot()
	src, _ := s.existing(func() {
		s.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, s.src.Slot)
		s.stream(nil).until(cdc.StateStreaming)
	})
	fault := faultOf(t, cdc.Recreate(t.Context(), src), cdc.FaultSlotTaken)
	require.Contains(t, fault.Problem, "PID")
	require.Contains(t, fault.Problem, "are not streamed")
	require.NotZero(t, s.activePID(), "it is not taken away from who uses it")
}

// The answer to the last step may be lost, and whoever asks again finds what it made.
func TestRecreate_TakesASlotThatBeginsWhereItsOwnWould(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.write(1, 3)
	s.dropSlot()
	src, keys := s.existing(func() {
		s.write(4, 4)
		s.exec(`SELECT pg_copy_logical_replication_slot(slot_name, $1, false) FROM pg_replication_slots
		  WHERE temporary AND slot_name LIKE 'relay\_setup\_%' AND database = current_database()`, s.src.Slot)
	})
	require.NoError(t, cdc.Recreate(t.Context(), src))
	require.ElementsMatch(t, []string{"1", "2", "3"}, *keys)
	require.Equal(t, []string{"4"}, column(t, s.stream(nil).wait(t, 1), "key"))
}

func TestSetup_DoesNotTakeAnothersSlotForTheOneOfItsRows(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.dropSlot()
	src, _ := s.existing(func() {
		s.write(1, 1)
		s.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, s.src.Slot)
	})
	_, err := cdc.Setup(t.Context(), src)
	fault := faultOf(t, err, cdc.FaultSlotTaken)
	require.Contains(t, fault.Remedy, "SELECT pg_drop_replication_slot('"+s.src.Slot+"')")
	require.Contains(t, fault.Remedy, "relay setup")
	require.NotZero(t, s.confirmed(), "setup drops nobody's slot")
}

func TestSetup_NamesWhatIsWrongWithASlotThatSomebodyMadeMeanwhile(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	s.dropSlot()
	src, _ := s.existing(func() {
		s.exec(`SELECT pg_create_logical_replication_slot($1, 'test_decoding')`, s.src.Slot)
	})
	_, err := cdc.Setup(t.Context(), src)
	requireFault(t, err, cdc.FaultSlotPlugin)
	s.dropSlot()
	requireFault(t, cdc.Recreate(t.Context(), src), cdc.FaultSlotPlugin)
}
