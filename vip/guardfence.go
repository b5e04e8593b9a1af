package vip

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// fenceSlack is given up at the end of an element's life for the time between reading the clock and the kernel's.
const fenceSlack = time.Millisecond

// openFence lets the group's addresses through for what is left of the lease. If that took longer than the slack
// (the guard was held up in between) the element would outlast the lease: it is set again.
func (g *guard) openFence(gr *group) {
	if g.fence == nil {
		return
	}
	for range 3 {
		start := g.clock.now()
		err := g.fence.w.set(gr.addrs, time.Duration(gr.until-start)-fenceSlack)
		if err != nil {
			g.fenceFailed(err)
			return
		}
		if time.Duration(g.clock.now()-start) <= fenceSlack {
			return
		}
	}
}

func (g *guard) closeFence(gr *group) {
	if g.fence == nil {
		return
	}
	if err := g.fence.w.del(gr.addrs); err != nil {
		g.fenceFailed(err)
	}
}

// fenceFailed puts the fence back when somebody has flushed it, and lives without when it cannot be had.
func (g *guard) fenceFailed(err error) {
	if errors.Is(err, unix.ENOENT) {
		g.fenceGone()
		return
	}
	g.alarm(err.Error())
}

func (g *guard) fenceGone() {
	if g.fence == nil || g.cfg == nil {
		return
	}
	g.alarm("the nftables table \"" + fenceTable + "\" was removed by somebody else (a firewall reload?) and has been put back: " +
		"reload with rules that leave it alone")
	if err := g.installFence(); err != nil {
		g.alarm(err.Error())
	}
}

// coverByFence installs the fence if addresses or interfaces have changed.
func (g *guard) coverByFence() error {
	if g.fence == nil {
		return nil
	}
	var vips []netip.Addr
	for _, gr := range g.groups {
		vips = append(vips, gr.addrs...)
	}
	slices.SortFunc(vips, netip.Addr.Compare)
	var devs []string
	for _, i := range g.net.ifaces {
		devs = append(devs, i.name)
	}
	slices.Sort(devs)
	if g.fenced.Load() && slices.Equal(devs, g.fence.devs) && g.fence.change(vips) == nil {
		return nil
	}
	g.fence.vips, g.fence.devs = vips, devs
	return g.installFence()
}

// installFence replaces the table; what is held stays open for what is left of its lease.
func (g *guard) installFence() error {
	held := map[netip.Addr]time.Duration{}
	now := g.clock.now()
	for _, gr := range g.groups {
		if gr.held {
			for _, a := range gr.addrs {
				held[a] = time.Duration(gr.until-now) - fenceSlack
			}
		}
	}
	err := g.fence.install(held)
	g.fenced.Store(err == nil)
	g.fenceErr = err
	for _, gr := range g.groups {
		if err == nil && gr.held {
			g.openFence(gr) // installing took a while: correct what is left
		}
	}
	return err
}
