package vip

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// announceAfter are the times after an acquisition at which the network is told where the addresses live: often at first, as
// a frame may be lost and some hosts ignore changes within a second of the last, then forever (see announceEvery).
func announceAfter(n int) (time.Duration, bool) {
	after := [...]time.Duration{
		0, 10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond,
		1100 * time.Millisecond, 2200 * time.Millisecond, 5 * time.Second,
	}
	if n < len(after) {
		return after[n], true
	}
	return 0, false
}

// announceEvery is well below the 300 s after which switches forget an address.
const announceEvery = 30 * time.Second

// keepAnnouncing makes the announcements that are due.
func (g *guard) keepAnnouncing() {
	now := g.clock.now()
	for _, gr := range g.groups {
		if gr.held && now >= gr.announceAt {
			g.announce(gr, now)
		}
	}
}

// announce tells the network where the addresses live, and sets the time of the next announcement.
func (g *guard) announce(gr *group, now int64) {
	if gr.announced == 0 {
		gr.announceAt = now
	}
	this, _ := announceAfter(gr.announced)
	gr.announced++
	if next, more := announceAfter(gr.announced); more {
		gr.announceAt += int64(next - this)
	} else {
		gr.announceAt = now + int64(announceEvery)
	}
	for _, v := range gr.vips {
		i := g.net.ifaces[v.iface]
		if i == nil || !i.ether {
			continue
		}
		var err error
		switch {
		case v.addr.Is4() && i.arp != nil:
			// Both kinds: some hosts heed only requests, others only replies.
			err = errors.Join(
				i.arp.send(appendARP(g.frame[:0], arpRequest, i.mac, v.addr, macAddr{}, v.addr)),
				i.arp.send(appendARP(g.frame[:0], arpReply, i.mac, v.addr, i.mac, v.addr)))
		case v.addr.Is6() && i.nd != nil:
			err = i.nd.send(appendNA(g.frame[:0], i.mac, v.addr))
		}
		// ENOBUFS: the fence has dropped it, or the queue is full; the next one comes.
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			g.alarm("announce " + v.addr.String() + " on " + i.name + ": " + err.Error())
		}
	}
}
