package vip

import (
	"context"
	"errors"
	"fmt"
)

// Forget has the guard of a run directory forget its configuration: this machine is a member of no cluster (any more). The guard then holds no group, sends
// no heartbeats, and leaves their port to others; what it must remember of who votes (guard.json) stays. Only for who serves no SIP any more: it takes the
// place of a core that is connected. Where no guard runs there is nothing to do.
func Forget(ctx context.Context, runDir string) error {
	s, err := dialSession(ctx, runDir, func(Event) {})
	if err != nil {
		return nil // none runs
	}
	defer s.bye()
	if err = s.hello(ctx, true); err == nil {
		_, err = s.call(ctx, request{Op: opForget})
	}
	if err != nil {
		return fmt.Errorf("have the guard forget its configuration: %w", err)
	}
	return nil
}

// forget makes the guard what it is after its start; c is its core no more. The next configuration makes a lease core anew, which is mute at first like any
// other: so what the old one has promised holds.
func (g *guard) forget(c *ipcConn) error {
	if g.peer != c {
		return errors.New("another core is connected")
	}
	if g.stopAt != 0 {
		return errors.New("the guard is shutting down")
	}
	g.detach(c, "this node is a member of no cluster")
	if g.core != nil {
		g.do(g.core.Stop(g.clock.now()))
		g.core = nil
	}
	for _, gr := range g.groups {
		gr.slot.free()
	}
	if g.hb != nil {
		g.hb.close()
		g.hb = nil
	}
	clear(g.unsent)
	g.groups, g.unfit, g.recvErr, g.sysctls, g.sealer, g.cfg = nil, nil, nil, nil, nil, nil
	waiting := g.scanned
	g.scanned = nil
	for _, f := range waiting { // who gave a configuration just before hears that it came to nothing
		f()
	}
	_ = g.net.adopt(nil, false, nil)               // opens nothing, so nothing fails
	g.addresses.then(func() { g.post(g.unfence) }) // until the addresses are off, the fence stands, closed
	g.log.Info("configuration forgotten")
	return nil
}

// unfence takes the fence away, unless there is a configuration again.
func (g *guard) unfence() {
	if g.fence == nil || g.cfg != nil || !g.fenced.Load() {
		return
	}
	g.fenced.Store(false)
	if err := g.fence.remove(); err != nil {
		g.alarm(err.Error())
	}
}
