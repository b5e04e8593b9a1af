// Package resolve turns the host of a next hop into addresses: literals at once, names by RFC 3263 (NAPTR, SRV, A and
// AAAA) beside the shards, from a cache that is bounded and kept to TTLs.
package resolve

import (
	"net/netip"
	"strings"
)

// Literal reads an IP literal as it stands in a SIP URI: IPv4 dotted, IPv6 with or without brackets. IPv4
// does not allocate.
func Literal(host []byte) (netip.Addr, bool) {
	if a, ok := ipv4(host); ok {
		return a, true
	}
	if len(host) < 2 || (host[0] != '[' && !hasColon(host)) {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(strings.Trim(string(host), "[]"))
	return a.Unmap(), err == nil && a.Zone() == ""
}

func hasColon(b []byte) bool {
	for _, c := range b {
		if c == ':' {
			return true
		}
	}
	return false
}

func ipv4(b []byte) (netip.Addr, bool) {
	var a [4]byte
	part, digits, v := 0, 0, 0
	for i := 0; i <= len(b); i++ {
		if i == len(b) || b[i] == '.' {
			if digits == 0 || part > 3 {
				return netip.Addr{}, false
			}
			a[part] = byte(v)
			part, digits, v = part+1, 0, 0
			continue
		}
		c := b[i]
		if c < '0' || c > '9' {
			return netip.Addr{}, false
		}
		v, digits = v*10+int(c-'0'), digits+1
		if v > 255 || digits > 3 {
			return netip.Addr{}, false
		}
	}
	return netip.AddrFrom4(a), part == 4
}
