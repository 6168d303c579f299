package delivery

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

func TestDeniedBy_PublicNamesAReasonForEveryOtherAddress(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"8.8.8.8": "", "1.1.1.1": "", "172.15.255.255": "", "172.32.0.0": "", "100.63.255.255": "", "100.128.0.0": "",
		"192.0.1.0": "", "198.17.255.255": "", "198.20.0.0": "", "223.255.255.255": "", "2606:4700::1111": "",
		"2001:4860:4860::8888": "", "::ffff:8.8.8.8": "", "64:ff9b::8.8.8.8": "",

		"10.0.0.1": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private",
		"127.0.0.1": "loopback", "127.255.0.1": "loopback", "::1": "loopback", "0.0.0.0": "this network", "::": "this network",
		"0.1.2.3": "this network", "169.254.1.1": "link-local", "fe80::1": "link-local", "fe80::1%eth0": "link-local",
		"169.254.169.254": "metadata", "fd00:ec2::254": "metadata", "100.100.100.200": "metadata",
		"168.63.129.16": "metadata", "192.0.0.192": "metadata",
		"100.64.0.1": "CGNAT", "100.127.255.255": "CGNAT", "192.0.0.8": "protocols", "192.0.2.1": "documentation",
		"198.51.100.1": "documentation", "203.0.113.1": "documentation", "198.18.0.1": "benchmarks",
		"198.19.255.255": "benchmarks", "224.0.0.1": "multicast", "239.1.1.1": "multicast", "240.0.0.1": "reserved",
		"255.255.255.255": "broadcast", "192.88.99.1": "6to4",
		"fc00::1": "private", "fdff::1": "private", "fec0::1": "private", "ff02::1": "multicast", "2001:db8::1": "documentation",
		"3fff::1": "documentation", "100::1": "discarding", "2001::1": "Teredo", "2001:2::1": "protocols", "2002:808:808::": "6to4",
		"5f00::1": "segment routing",

		"::ffff:127.0.0.1": "loopback", "::ffff:169.254.169.254": "metadata", "::127.0.0.1": "disguise",
		"::ffff:0:127.0.0.1": "disguise", "64:ff9b::127.0.0.1": "loopback behind NAT64", "64:ff9b::10.0.0.1": "private behind NAT64",
		"64:ff9b:1::8.8.8.8": "NAT64",
	} {
		got := DeniedBy(mapping.Network{Public: true}, netip.MustParseAddr(addr))
		if want == "" {
			require.Empty(t, got, addr)
		} else {
			require.Contains(t, got, want, addr)
		}
	}
}

func TestDeniedBy_PublicIsNeverLaxerThanNetip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var addr netip.Addr
		if rapid.Bool().Draw(t, "v4") {
			addr = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")))
		} else {
			addr = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes")))
		}
		if DeniedBy(mapping.Network{Public: true}, addr) != "" {
			return
		}
		require.True(t, addr.IsGlobalUnicast() && !addr.IsPrivate(), addr)
		// The same address in disguise is judged alike.
		if addr.Is4() {
			require.Empty(t, DeniedBy(mapping.Network{Public: true}, netip.AddrFrom16(addr.As16())))
		}
	})
}

func TestDeniedBy_RangesAreComparedUnmapped(t *testing.T) {
	t.Parallel()
	network := mapping.Network{Allow: []netip.Prefix{
		netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::ffff:10.2.0.0/112"), netip.MustParsePrefix("fd00::/8"),
	}}
	for _, addr := range []string{"10.1.2.3", "::ffff:10.1.2.3", "10.2.255.255", "fd00::1", "fd00::1%eth0"} {
		require.Empty(t, DeniedBy(network, netip.MustParseAddr(addr)), addr)
	}
	for _, addr := range []string{"10.3.0.0", "8.8.8.8", "::1", "2606::1"} {
		require.Equal(t, "in none of its ranges", DeniedBy(network, netip.MustParseAddr(addr)), addr)
	}
	require.Empty(t, DeniedBy(mapping.Network{}, netip.MustParseAddr("127.0.0.1")), "any")
}

func TestClient_DeniesAddressesAfterResolvingThem(t *testing.T) {
	t.Parallel()
	e := deliverytest.New(t, nil)
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		ep := endpointAt("http://" + host + e.URL[len("http://127.0.0.1"):] + "/?token=sesame")
		ep.Network.Public = true
		o := newClient(t, ep).Send(t.Context(), request("msg_1"))
		require.Equal(t, Denied, o.Verdict, "%s: %s", host, o.Err)
		require.Equal(t, ReasonDenied, o.Reason)
		require.Equal(t, EffectNone, o.Effect())
		require.Contains(t, o.Err, "not public")
		require.False(t, o.Attempted())
	}
	require.Zero(t, e.Connections())

	ep := endpointAt(e.URL)
	ep.Network.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	require.Equal(t, Delivered, newClient(t, ep).Send(t.Context(), request("msg_1")).Verdict)
}
