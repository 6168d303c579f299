package cdc

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// outboxInsert is a row of the default outbox with a payload of 300 bytes, and a decoder that knows its table.
func outboxInsert(tb testing.TB) (*decoder, wire) {
	tb.Helper()
	d := newDecoder(nil, nil)
	for _, m := range []wire{begin(1), relation(1, "id", "type", "key", "payload", "headers", "created_at")} {
		require.NoError(tb, d.decode(m, new(change)))
	}
	return d, wire{'I'}.u32(1).u8('N').u16(6).value("0b9f7c3e-6a52-4c26-9a66-1f6f5b2f8f11").value("order.created").
		value("customer-17").value(string(bytes.Repeat([]byte("x"), 300))).u8('n').value("2026-01-01 00:00:00.123456+00")
}

func BenchmarkBudget_Decode(b *testing.B) {
	d, m := outboxInsert(b)
	c := new(change)
	b.SetBytes(int64(len(m)))
	b.ReportAllocs()
	for b.Loop() {
		d.ordinal = 0
		if err := d.decode(m, c); err != nil {
			b.Fatal(err)
		}
	}
}

// oneRowTransaction is what the watermark has to do for a transaction of one row that is delivered.
func oneRowTransaction(w *Watermark, end LSN) {
	tx := w.Begin()
	tx.Add(1)
	w.Commit(tx, end)
	tx.Settle()
}

func BenchmarkBudget_Watermark(b *testing.B) {
	w, end := NewWatermark(0), LSN(0)
	b.ReportAllocs()
	for b.Loop() {
		end++
		oneRowTransaction(w, end)
	}
}

// BenchmarkBudget_WatermarkRow is one row of a large transaction, settled while others are open.
func BenchmarkBudget_WatermarkRow(b *testing.B) {
	tx := NewWatermark(0).Begin()
	b.ReportAllocs()
	for b.Loop() {
		tx.Add(1)
		tx.Settle()
	}
}

func TestWatermark_AllocatesOnceATransaction(t *testing.T) { //nolint:paralleltest // counts allocations
	w, end := NewWatermark(0), LSN(0)
	n := testing.AllocsPerRun(1000, func() {
		end++
		oneRowTransaction(w, end)
	})
	require.LessOrEqual(t, n, 1.0)
	require.Equal(t, end, w.Durable())
}
