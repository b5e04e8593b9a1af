package vip

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// scanRequest asks for the interfaces of VIPs.
type scanRequest struct {
	vips  []netip.Prefix
	links uint64 // link events seen until now
}

// scanResult is what was found, at some instant after the request.
type scanResult struct {
	scanRequest
	err      error
	index    map[netip.Prefix]int // interface of each VIP; 0: none
	ifaces   map[int]iface        // without sockets
	present  []hostAddr           // VIPs that are on an interface
	failures map[string][]string  // sysctls that could not be set, by interface
}

// scanner lists interfaces and addresses beside the loop, for the same reason as addresser: listings may wait for rtnl.
type scanner struct {
	requests chan scanRequest // capacity 1: the latest
	report   func(scanResult)
	done     chan struct{}
}

func newScanner(report func(scanResult)) *scanner {
	return &scanner{requests: make(chan scanRequest, 1), report: report, done: make(chan struct{})}
}

// ask replaces a request that waits. Only the loop calls it.
func (s *scanner) ask(r scanRequest) {
	select {
	case <-s.requests:
	default:
	}
	s.requests <- r
}

func (s *scanner) run(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-s.requests:
			s.report(scan(r))
		}
		select { // a flapping interface is not looked at all the time
		case <-ctx.Done():
			return
		case <-time.After(scanPause):
		}
	}
}

const scanPause = 20 * time.Millisecond

func scan(r scanRequest) scanResult {
	res := scanResult{scanRequest: r, index: map[netip.Prefix]int{}, ifaces: map[int]iface{}, failures: map[string][]string{}}
	nl := &netlink.Handle{}
	addrs, err := hostAddrs(nl)
	if err != nil {
		res.err = err
		return res
	}
	for _, v := range r.vips {
		res.index[v] = ifaceOf(v, addrs)
		for _, a := range addrs {
			if a.prefix.IsSingleIP() && a.prefix.Addr() == v.Addr() {
				res.present = append(res.present, a)
			}
		}
	}
	var links []netlink.Link
	if err := retryDump(func() (err error) {
		links, err = nl.LinkList()
		return err
	}); err != nil {
		res.err = fmt.Errorf("list interfaces: %w", err)
		return res
	}
	for _, l := range links {
		a := l.Attrs()
		used := slices.ContainsFunc(r.vips, func(v netip.Prefix) bool { return res.index[v] == a.Index })
		if !used {
			continue
		}
		i := iface{index: a.Index, name: a.Name, up: carrier(a.RawFlags)}
		i.mac, i.ether = toMAC(a.HardwareAddr)
		i.ether = i.ether && a.RawFlags&unix.IFF_LOOPBACK == 0
		res.ifaces[a.Index] = i
		if f := setSysctls(a.Name); f != nil {
			res.failures[a.Name] = f
		}
	}
	return res
}
