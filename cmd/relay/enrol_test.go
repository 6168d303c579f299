package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
)

// positions returns the names of the endpoints that have a saved one.
func (r *running) positions() []string {
	r.t.Helper()
	var names string
	require.NoError(r.t, r.Conn.QueryRow(r.t.Context(), `SELECT coalesce(string_agg(endpoint, ',' ORDER BY endpoint), '') FROM relay.position`).Scan(&names))
	return strings.Split(names, ",")
}

// kill ends the program at once.
func (r *running) kill() {
	r.t.Helper()
	require.NoError(r.t, r.cmd.Process.Kill())
	<-r.done
}

func (r *running) config(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(r.Config)
	require.NoError(t, err)
	return text
}

func TestPositions_OfAnEndpointThatComesBackStartAtNow(t *testing.T) {
	t.Parallel()
	a, b := deliverytest.New(t, nil), deliverytest.New(t, nil)
	lineA, lineB := "  a: {url: \""+a.URL+"\"}\n", "  b: {url: \""+b.URL+"\"}\n"
	r := startRelay(t, lineA+lineB)
	both := r.config(t)
	alone := bytes.Replace(both, []byte(lineB), nil, 1)
	var ofA, ofB []string
	insert := func(toB bool) {
		id := r.Insert("t", "{}", "")
		if ofA = append(ofA, id); toB {
			ofB = append(ofB, id)
			b.Wait(t, len(ofB))
		}
		a.Wait(t, len(ofA))
	}
	has := func(names ...string) {
		r.eventually(func() bool { return slices.Equal(r.positions(), names) }, "positions of "+strings.Join(names, " and "))
	}
	insert(true)
	has("a", "b")

	// Taken out and put back while relay runs.
	r.Write(defaultConfig, alone)
	has("a")
	insert(false)
	r.Write(defaultConfig, both)
	r.eventually(func() bool { return strings.Contains(r.Log(), "endpoint b added") }, "b is back")
	insert(true)
	has("a", "b")

	// Taken out while it does not run, and put back while it does not run.
	r.Stop()
	r.Write(defaultConfig, alone)
	r.Start()
	has("a")
	insert(false)
	r.Stop()
	r.Write(defaultConfig, both)
	r.Start()
	require.Equal(t, []string{"a", "b"}, r.positions(), "where a new one starts is known from the start")
	insert(true)

	// The last one out, killed before anything moved.
	r.Stop()
	r.Write(defaultConfig, bytes.Replace(both, []byte(lineA), nil, 1))
	r.Start()
	has("b")
	r.kill()
	r.Write(defaultConfig, both)
	r.Start()
	insert(true)
	require.Equal(t, ofA, a.IDs())
	require.Equal(t, ofB, b.IDs())
}
