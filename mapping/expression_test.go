package mapping_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/cdc"
)

func TestWhere_SelectsEvents(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]bool{
		`payload.total > 100`:                                       true,
		`payload.total > 150`:                                       true,
		`payload.whole == 150 && payload.whole < 150.5`:             true,
		`payload.whole == 150.0`:                                    true,
		`payload.missing > 1 || true`:                               true,
		`has(payload.missing)`:                                      false,
		`has(payload.total) && payload.tags.exists(t, t == "b")`:    true,
		`event.id == "e1" && event.type.startsWith("order.")`:       true,
		`event.key == null`:                                         false,
		`has(event.key) && event.key.endsWith("1")`:                 true,
		`event.time < timestamp("2026-01-03T00:00:00Z")`:            true,
		`event.time.getHours() == 3`:                                true,
		`event.headers.tenant == "acme" && !("x" in event.headers)`: true,
		`event.table == "public.outbox"`:                            true,
		`row.region == "eu" && row.nothing == null`:                 true,
		`int(row.region.size()) == 2`:                               true,
		`payload.name.lowerAscii().matches("^[a-z]+$")`:             true,
		`payload.active`:                                            true,
		`dyn(event).type == "order.created"`:                        true,
		`event == event && type(event) == type(event)`:              true,
	} {
		r, cfg := setup(t, "", "  a:\n    url: http://h\n    where: |\n      "+where+"\n")
		rw := order(`{"total": 150.5, "whole": 150, "tags": ["a", "b"], "name": "ABC", "active": true}`)
		rw.Table.Columns = append(rw.Table.Columns, cdc.Column{Name: "nothing"})
		rw.Values = append(rw.Values, nil)
		ev := event(t, r, rw)
		targets := r.Route(ev)
		require.Len(t, targets, map[bool]int{true: 1}[want], where)
		if want {
			require.NoError(t, targets[0].Err, where)
		}
		ok, err := cfg.Endpoints[0].Match(ev)
		require.NoError(t, err)
		require.Equal(t, want, ok, where)
	}
}

func TestWhere_FailureIsADeadLetterForThatEndpointOnly(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "", `
  a: {url: http://h, where: payload.n > 1}
  b: {url: http://h, where: 'row.nope == "x"'}
  c: {url: http://h}
  d: {url: http://h, events: [other], where: payload.n > 1}
  e: {url: http://h, where: payload.l}
  f: {url: http://h, where: event.id == 'x'}
`)
	targets := r.Route(event(t, r, order(`{"l": 5}`)))
	require.Equal(t, "a! b! c e!", names(targets))
	require.EqualError(t, targets[0].Err, "evaluate where: no such key: n")
	require.EqualError(t, targets[1].Err, "evaluate where: no such key: nope")
	require.EqualError(t, targets[3].Err, "evaluate where: gives something that is neither true nor false")

	targets = r.Route(event(t, r, typed(oidText, `hello`)))
	require.Equal(t, "a! b! c e!", names(targets))
	require.ErrorContains(t, targets[0].Err, "payload is not JSON")
	require.EqualError(t, targets[1].Err, "evaluate where: no such key: nope", "which has nothing to do with the payload")
}

func TestWhere_TakesNothingBehindThePayloadForJSON(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "", "  a: {url: http://h, where: payload.total == 1}")
	for _, rest := range []string{"}", "]", ",", "}}", " {}", " x", "\x00", " \n}"} {
		targets := r.Route(event(t, r, typed(oidText, `{"total":1}`+rest)))
		require.Equal(t, "a!", names(targets), "%q", rest)
		require.EqualError(t, targets[0].Err, "evaluate where: payload is not JSON", "%q", rest)
	}
	require.Equal(t, "a", names(r.Route(event(t, r, typed(oidText, "{\"total\":1} \t\r\n")))))
}

func TestWhere_CannotHang(t *testing.T) {
	t.Parallel()
	r, _ := setup(t, "", `
  a: {url: http://h, where: 'payload.exists(a, payload.exists(b, payload.exists(c, a + b + c == 1)))'}
  b: {url: http://h, where: 'payload.exists(a, a == 1)'}
`)
	began := time.Now()
	targets := r.Route(event(t, r, order("["+strings.Repeat("7,", 9999)+"1]")))
	require.Equal(t, "a! b", names(targets))
	require.EqualError(t, targets[0].Err, "evaluate where: too costly for this event: it takes more steps than one event may")
	require.Less(t, time.Since(began), 5*time.Second)
}
