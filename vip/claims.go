package vip

import (
	"fmt"
	"net/netip"
	"time"
)

// claims reads what others say on the VIPs' networks.
func (g *guard) claims() {
	for _, i := range g.net.ifaces {
		for _, p := range []*packetSock{i.arp, i.nd} {
			if p == nil {
				continue
			}
			for range packetsATurn {
				n, err := p.recv(g.frame[:])
				if err != nil || n == 0 { // an error (interface gone) shows in the link events
					break
				}
				if c, ok := parseClaim(g.frame[:n]); ok {
					g.claimed(c, i)
				}
			}
		}
	}
}

// claimed raises an alarm when a stranger says that a VIP held here is his, and says again whose it is.
func (g *guard) claimed(c claim, on *iface) {
	const settle = int64(300 * time.Millisecond) // the last frames of the previous owner may still be about
	gr := g.groupOf(c.addr)
	if gr == nil || !gr.held || g.ownMAC(c.mac) {
		return
	}
	now := g.clock.now()
	if now-gr.heldSince < settle {
		return
	}
	g.alarm(fmt.Sprintf("%s says on %s that it has %s, which this node owns: take the address off that machine", c.mac, on.name, c.addr))
	if now-gr.defendedAt > int64(time.Second) {
		gr.defendedAt = now
		gr.announced, gr.announceAt = 0, now
	}
}

func (g *guard) ownMAC(m macAddr) bool {
	for _, i := range g.net.ifaces {
		if i.mac == m {
			return true
		}
	}
	return false
}

func (g *guard) groupOf(a netip.Addr) *group {
	for _, gr := range g.groups {
		for _, v := range gr.vips {
			if v.addr == a {
				return gr
			}
		}
	}
	return nil
}
