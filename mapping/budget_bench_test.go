package mapping_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/cdc"
	"relay/mapping"
)

// usual is a row such as most are: 300 bytes of payload, no headers, and the default table's columns.
func usual() *cdc.Row {
	table := outbox()
	table.Columns = table.Columns[:6]
	return row(table, "0b9f7c3e-6a52-4c26-9a66-1f6f5b2f8f11", "order.created", "customer-17",
		`{"note": "`+strings.Repeat("x", 288)+`"}`, null, "2026-01-02 03:04:05.678123+00")
}

// tenEndpoints are five that want the usual event and five that do not.
const tenEndpoints = `
  a: {url: http://h}
  b: {url: http://h, events: ["order.*"]}
  c: {url: http://h, events: [order.created]}
  d: {url: http://h, events: ["*.created", invoice.paid]}
  e: {url: http://h, events: ["o*"]}
  f: {url: http://h, events: [order.deleted]}
  g: {url: http://h, events: ["invoice.*"]}
  h: {url: http://h, events: [a, b, c]}
  i: {url: http://h, events: ["*.paid"]}
  j: {url: http://h, events: [invoice.paid]}`

func BenchmarkBudget_Event(b *testing.B) {
	r, _ := setup(b, "", "  a: {url: http://h}")
	rw := usual()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Event(rw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBudget_Route(b *testing.B) {
	r, _ := setup(b, "", tenEndpoints)
	ev := event(b, r, usual())
	b.ReportAllocs()
	for b.Loop() {
		if len(r.Route(ev)) != 5 {
			b.Fatal("not for five endpoints")
		}
	}
}

func BenchmarkBudget_Render(b *testing.B) {
	for _, format := range []string{"standard", "cloudevents", "cloudevents-binary"} {
		b.Run(format, func(b *testing.B) {
			r, cfg := setup(b, "", "  a: {url: http://h, format: "+format+"}")
			rw := usual()
			fresh := make([]*mapping.Event, 1000) // an event is rendered once, and keeps what was rendered
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%len(fresh) == 0 {
					b.StopTimer()
					for k := range fresh {
						fresh[k] = event(b, r, rw)
					}
					b.StartTimer()
				}
				if _, err := cfg.Endpoints[0].Render(fresh[i%len(fresh)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// allocations counts those of an event and of what is then done with it.
func allocations(t *testing.T, endpoints string, do func(*mapping.Router, *mapping.Config, *mapping.Event)) float64 {
	t.Helper()
	r, cfg := setup(t, "", endpoints)
	rw := usual()
	return testing.AllocsPerRun(1000, func() {
		ev, err := r.Event(rw)
		if err != nil {
			t.Fatal(err)
		}
		do(r, cfg, ev)
	})
}

func TestEvent_AllocatesOnce(t *testing.T) { //nolint:paralleltest // counts allocations
	n := allocations(t, "  a: {url: http://h}", func(*mapping.Router, *mapping.Config, *mapping.Event) {})
	require.LessOrEqual(t, n, 1.0)
}

func TestRoute_AllocatesNothing(t *testing.T) { //nolint:paralleltest // counts allocations
	n := allocations(t, tenEndpoints, func(r *mapping.Router, _ *mapping.Config, ev *mapping.Event) {
		if len(r.Route(ev)) != 5 {
			t.Fatal("not for five endpoints")
		}
	})
	require.LessOrEqual(t, n, 1.0, "the event's own")
}

func TestRender_AllocatesForTheBodyAndToShareIt(t *testing.T) { //nolint:paralleltest // counts allocations
	render := func(_ *mapping.Router, cfg *mapping.Config, ev *mapping.Event) {
		if _, err := cfg.Endpoints[0].Render(ev); err != nil {
			t.Fatal(err)
		}
	}
	require.LessOrEqual(t, allocations(t, "  a: {url: http://h, format: raw}", render), 1.0, "the event's own")
	require.LessOrEqual(t, allocations(t, "  a: {url: http://h}", render), 3.0, "the event's own, the body, what shares it")
}
