package vip

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
)

// rescan has the interfaces of all VIPs found; found goes on.
func (g *guard) rescan() {
	r := scanRequest{links: g.net.links}
	for _, gr := range g.groups {
		for _, v := range gr.vips {
			r.vips = append(r.vips, v.prefix)
		}
	}
	g.scans.ask(r)
}

// found takes over what a scan has found: fence first, then addresses. VIPs that are up without a lease are taken off: a killed
// predecessor left them.
func (g *guard) found(res scanResult) {
	if g.cfg == nil || g.stopped {
		return
	}
	stale := res.links != g.net.links // interfaces have changed since
	for _, gr := range g.groups {
		for _, v := range gr.vips {
			if _, asked := res.index[v.prefix]; !asked {
				g.rescan() // another configuration has come
				return
			}
		}
	}
	for _, gr := range g.groups {
		for i := range gr.vips {
			gr.vips[i].sought = true
		}
	}
	if res.err != nil {
		g.alarm(res.err.Error())
		g.tellUnfit()
	} else {
		g.assign(res, stale)
	}
	if stale {
		g.rescan()
	}
	done := g.scanned
	g.scanned = nil
	for _, f := range done {
		f()
	}
}

func (g *guard) assign(res scanResult, stale bool) {
	v6 := map[int]bool{}
	now := g.clock.now()
	for _, gr := range g.groups {
		for i := range gr.vips {
			v := &gr.vips[i]
			if index := res.index[v.prefix]; index != v.iface {
				v.iface = index
				gr.announced, gr.announceAt = 0, now // if held
			}
			v6[v.iface] = v6[v.iface] || v.addr.Is6()
		}
	}
	errs := []error{g.net.adopt(res.ifaces, stale, v6)}
	g.sysctls = res.failures
	for _, i := range g.net.ifaces {
		errs = append(errs, g.watchClaims(i))
	}
	errs = append(errs, g.coverByFence())
	for _, gr := range g.groups {
		if gr.held {
			for _, v := range gr.vips {
				g.addresses.put(v.addr, v.iface)
			}
		}
	}
	for _, a := range res.present {
		if gr := g.groupOf(a.prefix.Addr()); gr != nil && !gr.held {
			g.addresses.remove(a)
		}
	}
	if err := errors.Join(errs...); err != nil {
		g.alarm(err.Error())
	}
	g.applyCarrier()
}

// watchClaims narrows an interface's ARP socket to the VIPs.
func (g *guard) watchClaims(i *iface) error {
	if i.arp == nil {
		return nil
	}
	var v4 []netip.Addr
	for _, gr := range g.groups {
		for _, v := range gr.vips {
			if v.addr.Is4() && v.iface == i.index && len(v4) < 200 { // a filter's jump is 255 at most
				v4 = append(v4, v.addr)
			}
		}
	}
	return i.arp.watch(v4)
}

// applyCarrier tells the lease core which groups' networks are connected.
func (g *guard) applyCarrier() {
	if g.core == nil {
		return
	}
	for _, gr := range g.groups {
		gr.whyNot = ""
		for _, v := range gr.vips {
			i := g.net.ifaces[v.iface]
			switch {
			case i == nil:
				gr.whyNot = NoInterface + v.prefix.Masked().String()
			case !i.up:
				gr.whyNot = NoCarrier + i.name
			}
		}
		gr.fit = gr.whyNot == ""
		g.do(g.core.SetCarrier(g.clock.now(), gr.number, gr.fit))
	}
	g.tellUnfit()
}

// tellUnfit tells the core which groups do not fit, if that is news. Of one whose interfaces are yet to be found nothing is said.
func (g *guard) tellUnfit() {
	unfit := map[uint32]string{}
	for _, gr := range g.groups {
		if !gr.fit && !slices.ContainsFunc(gr.vips, func(v virtual) bool { return !v.sought }) {
			unfit[gr.number] = gr.whyNot
		}
	}
	if maps.Equal(unfit, g.unfit) {
		return
	}
	g.unfit = unfit
	g.log.Info("groups that this node could not hold", "why", unfit)
	g.tell(Unfit{Groups: unfit})
}
