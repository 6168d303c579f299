package cdctest

import (
	"net"
	"net/url"
	"testing"
)

// BehindSilent returns a postgres:// URL that names another server before its own: one that says nothing to anybody, as a host
// does that has lost its power or its network.
func BehindSilent(t testing.TB, target string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	// It never accepts. The system completes the handshake in its stead, after which nothing comes.
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	u.Host = listener.Addr().String() + "," + u.Host
	return u.String()
}
