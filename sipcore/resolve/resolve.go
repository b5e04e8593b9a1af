// Package resolve turns the host of a next hop into an address: literals at once, names off the shard.
package resolve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
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

// lookupTime bounds one lookup; a caller retransmits meanwhile, so longer waits help nobody.
const lookupTime = 3 * time.Second

// Resolver looks names up, each in a goroutine of its own, at most Limit at a time.
type Resolver struct {
	dns   *net.Resolver
	slots chan struct{}
}

// New makes a resolver that runs at most limit lookups at once.
func New(dns *net.Resolver, limit int) *Resolver {
	return &Resolver{dns: dns, slots: make(chan struct{}, limit)}
}

// Lookup finds an address of host and calls done with it, from another goroutine. When too many lookups
// are under way, done gets an error at once, from the caller's goroutine.
func (r *Resolver) Lookup(ctx context.Context, host string, done func(netip.Addr, error)) {
	select {
	case r.slots <- struct{}{}:
	default:
		done(netip.Addr{}, fmt.Errorf("look up %s: %d lookups are under way already; check this node's name servers", host, cap(r.slots)))
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, lookupTime)
		defer cancel()
		addrs, err := r.dns.LookupNetIP(ctx, "ip", host)
		<-r.slots
		if err != nil {
			done(netip.Addr{}, fmt.Errorf("look up %s: %w", host, err))
			return
		}
		for _, a := range addrs {
			if a.Unmap().Is4() {
				done(a.Unmap(), nil)
				return
			}
		}
		done(addrs[0], nil)
	}()
}
