package delivery

import (
	"net/netip"

	"relay/mapping"
)

// DeniedError says that an endpoint's network has no place for an address.
type DeniedError struct {
	Addr   netip.Addr
	Reason string
}

// Error names the address and the reason.
func (e *DeniedError) Error() string {
	return "address " + e.Addr.String() + " is denied by network: " + e.Reason
}

// notPublic lists what network: public denies, special cases before the ranges around them.
var notPublic = []struct {
	prefix netip.Prefix
	reason string
}{
	{netip.MustParsePrefix("169.254.169.254/32"), "a cloud's metadata address"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a cloud's metadata address"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a cloud's metadata address"},
	{netip.MustParsePrefix("192.0.0.192/32"), "a cloud's metadata address"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), "a cloud's metadata address"},
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared with a carrier (CGNAT)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved for protocols"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("::/128"), "this network"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("::/96"), "an IPv4 address in disguise"},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "an IPv4 address in disguise"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64 of a private network"},
	{netip.MustParsePrefix("100::/64"), "for discarding"},
	{netip.MustParsePrefix("2001::/32"), "Teredo"},
	{netip.MustParsePrefix("2001::/23"), "reserved for protocols"},
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation"},
	{netip.MustParsePrefix("2002::/16"), "6to4"},
	{netip.MustParsePrefix("3fff::/20"), "for documentation"},
	{netip.MustParsePrefix("5f00::/16"), "for segment routing"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "private"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// nat64 is the well-known prefix behind which an IPv6-only network reaches IPv4 addresses.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// DeniedBy says why the network denies the address; it is empty if it does not.
func DeniedBy(network mapping.Network, addr netip.Addr) string {
	addr = addr.WithZone("").Unmap()
	if network.Public {
		if reason := whyNotPublic(addr); reason != "" {
			return reason + ", not public"
		}
	}
	if len(network.Allow) == 0 {
		return ""
	}
	for _, p := range network.Allow {
		if unmapPrefix(p).Contains(addr) {
			return ""
		}
	}
	return "in none of its ranges"
}

func whyNotPublic(addr netip.Addr) string {
	if nat64.Contains(addr) {
		// It reaches what its last four bytes say: on such networks public addresses look like this too.
		b := addr.As16()
		if reason := whyNotPublic(netip.AddrFrom4([4]byte(b[12:]))); reason != "" {
			return reason + " behind NAT64"
		}
		return ""
	}
	for i := range notPublic {
		if notPublic[i].prefix.Contains(addr) {
			return notPublic[i].reason
		}
	}
	return ""
}

// unmapPrefix returns the IPv4 prefix that an IPv4-mapped one means, since addresses are compared unmapped.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	const mapped = 96
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p
}
