package park

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery"
	"relay/internal/pgtemp/pgtest"
	"relay/mapping"
)

// wire returns the columns of a delivery as a server sends them.
func wire(p *delivery.Parked, payload, headers, detail []byte) [][]byte {
	ev := p.Event
	number := func(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }
	return [][]byte{
		number(p.ID), number(p.ID), []byte(p.Endpoint), []byte(ev.Key), []byte(p.State),
		{0, 0, 0, byte(p.Attempts)},
		number(p.Due.UnixMicro() - epoch.UnixMicro()), nil, []byte(p.Err), nil, number(int64(ev.Place.Commit)), number(int64(ev.Place.Ordinal)),
		[]byte(ev.ID), []byte(ev.Type), []byte(ev.Key), []byte(ev.Table),
		{0, byte(ev.Kind)},
		payload, headers, detail,
	}
}

// FuzzRowReader reads a row whose bytes are anything, after one that is well: what comes out is the event, or a dead letter
// that says that its detail is damaged, and nothing of the buffer, which the next row overwrites.
func FuzzRowReader(f *testing.F) {
	whole := item(7, "k")
	whole.Endpoint, whole.State, whole.Due = "a", delivery.Waiting, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	detail := encodeDetail(whole.Event)
	f.Add([]byte(`{"n":1}`), []byte(`{}`), detail)
	f.Add([]byte{}, []byte(nil), detail[:len(detail)/2])
	f.Add([]byte(nil), []byte(nil), []byte{detailVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, payload, headers, damaged []byte) {
		var reader rowReader
		first, err := reader.read(wire(&whole, whole.Event.Payload, whole.Event.Headers, detail))
		require.NoError(t, err)
		buffer := wire(&whole, bytes.Clone(payload), bytes.Clone(headers), bytes.Clone(damaged))
		r, err := reader.read(buffer)
		require.NoError(t, err)
		for _, v := range buffer {
			clear(v)
		}
		require.Equal(t, whole.Event.Values, first.Event.Values)
		require.Equal(t, whole.Event.Columns, first.Event.Columns)
		require.Equal(t, "a", r.Endpoint)
		require.Equal(t, whole.Due, r.Due)
		require.Equal(t, mapping.Place{Commit: whole.Event.Place.Commit, Ordinal: whole.Event.Place.Ordinal}, r.Event.Place)
		if r.Event.Problem != "" {
			return
		}
		again := encodeDetail(r.Event)
		same := &mapping.Event{Payload: r.Event.Payload}
		d := detailReader{rest: again, names: &columnNames{}}
		require.NoError(t, d.complete(same))
		require.Equal(t, r.Event.Columns, same.Columns)
		require.Len(t, same.Values, len(r.Event.Values))
	})
}

func TestRowReader_RefusesWhatIsNotInItsForm(t *testing.T) {
	t.Parallel()
	whole := item(7, "k")
	values := wire(&whole, nil, nil, encodeDetail(whole.Event))
	for i := range values {
		var reader rowReader
		_, err := reader.read(values[:i])
		require.ErrorIs(t, err, errRow)
	}
	values[0] = []byte("7") // as text
	var reader rowReader
	_, err := reader.read(values)
	require.ErrorIs(t, err, errRow)
}

// Whoever asks for the simple protocol would have rows come as text.
func TestRowReader_IsSentItsFormWhateverTheURLAsksFor(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	open(t, url)
	for _, mode := range []string{"simple_protocol", "exec", "cache_describe"} {
		s, err := Open(t.Context(), url+"&default_query_exec_mode="+mode, "relay", nil)
		require.NoError(t, err)
		t.Cleanup(s.Close)
		listed, err := s.List(t.Context(), Filter{})
		require.NoError(t, err, mode)
		park(t, s, item(len(listed)+1, "k"))
		listed, err = s.List(t.Context(), Filter{Limit: 10})
		require.NoError(t, err, mode)
		require.NotEmpty(t, listed, mode)
	}
}
