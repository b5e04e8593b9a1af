package sipcore

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"holdline/fsm"
	"holdline/sipcore/beat"
	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
)

// Settings of the keep-alives that phones behind NATs get, and what they are unless set.
const (
	SettingKeepalive         = "nat.keepalive" // one of the methods below
	SettingKeepaliveInterval = "nat.keepalive-interval"

	KeepaliveOff      = "off"
	KeepaliveCRLF     = "crlf"    // a datagram of two empty lines, which no phone answers
	KeepaliveOptions  = "options" // its answer renews a NAT's mapping from inside, which all of them go by
	KeepaliveDefault  = KeepaliveOptions
	KeepaliveInterval = 25 // seconds: many NATs forget a UDP mapping after 30
)

const (
	doubleCRLF = "\r\n\r\n" // as RFC 5626 §3.5.1 has it on streams

	keepAtOnce    = 64                     // AoRs that a tick is made for
	keepMostOften = 10 * time.Millisecond  // between ticks
	keepLeast     = 100 * time.Millisecond // between ticks; no more than stallSeen
	keepOff       = time.Second            // until the settings are looked at again
	keepLooked    = 256                    // rows and buckets looked at while Apply waits

	// keepAgain is how far a new owner goes back: nobody may have kept a group's phones alive for some time before, and the
	// clocks of two nodes differ.
	keepAgain = int64(5 * time.Second)
)

// keepalives counts what was sent to phones behind NATs.
type keepalives struct{ sent, skipped, answered atomic.Uint64 }

// keeper sends keep-alives to the phones behind NATs of the groups that this node owns. It remembers none of them: the ring of
// registrations says whose turn it is (rounds.go). One goroutine uses it.
type keeper struct {
	core   *Core
	out    *transport.Sender
	number uint64 // of the last OPTIONS

	view     *proxy.View
	options  bool  // else CRLF
	interval int64 // ns

	on    bool
	last  int64             // when it was stepped, in the core's time
	all   round             // over the phones of all groups
	again []regained        // over those of groups that this node has come to own
	held  map[uint32]uint64 // epochs of the groups that it owns

	found []fsm.Registrant // scratch
	buf   []byte           // scratch
}

// regained is a walk over those phones of a group that its last owner may have left out.
type regained struct {
	round
	group uint32
	until int64
}

// keepAlive runs a keeper until the core is closed.
func (c *Core) keepAlive() {
	k := &keeper{core: c, out: c.udp.NewSender(), number: rand.Uint64(), held: map[uint32]uint64{}}
	alarm := beat.NewAlarm()
	defer alarm.Stop()
	var clock proxy.FSMClock
	for wait := keepLeast; ; {
		alarm.Next(wait)
		select {
		case <-alarm.C:
		case <-c.ctx.Done():
			return
		}
		now := c.now()
		wait = k.step(c.currentView(), clock.See(c.opt.Machine.Now(), now)*int64(time.Millisecond), now)
	}
}

// step sends what is due at FSM time at (ns) and returns when to look again.
func (k *keeper) step(v *proxy.View, at, now int64) time.Duration {
	passed := now - k.last
	k.last = now
	if !k.configure(v) {
		k.on, k.again = false, nil
		clear(k.held)
		return keepOff
	}
	if !k.on {
		k.on, k.all.done = true, at
	}
	k.regain(at)
	from, to := k.all.advance(at, passed, k.interval)
	k.walk(from, to, 0)
	for i := range k.again {
		a := &k.again[i]
		from, to := a.advance(a.until, passed, k.interval)
		k.walk(from, to, a.group)
	}
	k.again = slices.DeleteFunc(k.again, func(a regained) bool { return a.done >= a.until })
	clear(k.found)
	return k.pace()
}

// configure takes over the settings; false: no keep-alives are to be sent.
func (k *keeper) configure(v *proxy.View) bool {
	method := v.Config.Setting(SettingKeepalive, KeepaliveDefault)
	seconds := min(max(v.Config.SettingInt(SettingKeepaliveInterval, KeepaliveInterval), 1), 3600)
	k.view, k.options, k.interval = v, method == KeepaliveOptions, seconds*int64(time.Second)
	return method == KeepaliveOptions || method == KeepaliveCRLF
}

// pace is how long to wait: so that few are due at once, however many are to be kept alive in all.
func (k *keeper) pace() time.Duration {
	each := time.Duration(k.interval) / time.Duration(max(1, k.core.opt.Machine.Counts().KeptAlive))
	return min(max(keepAtOnce*each, keepMostOften), keepLeast)
}

// regain has the groups gone over again a little that this node has come to own.
func (k *keeper) regain(at int64) {
	for _, group := range k.core.groupNumbers() {
		epoch, _, ok := k.core.opt.Owners.Lease(group)
		switch {
		case !ok:
			delete(k.held, group)
		case k.held[group] != epoch:
			k.held[group] = epoch
			k.again = append(k.again, regained{round{at - min(keepAgain, k.interval)}, group, at})
		}
	}
}

// walk sends to the phones that are due from from up to to, of one group or, if that is 0, of all.
func (k *keeper) walk(from, to int64, group uint32) {
	a, b := placeAt(from, k.interval), placeAt(to, k.interval)
	switch {
	case a < b:
		k.arc(a, b, group)
	case a > b: // around the end of the ring
		k.arc(a, 0, group)
		if b > 0 {
			k.arc(0, b, group)
		}
	}
}

func (k *keeper) arc(from, to uint64, group uint32) {
	for more := true; more && k.core.ctx.Err() == nil; more = from != to {
		k.found, from = k.core.opt.Machine.Arc(from, to, keepLooked, k.found[:0])
		for i := range k.found {
			for j := range k.found[i].Bindings {
				k.keep(&k.found[i].Bindings[j], group)
			}
		}
		k.out.Flush()
	}
}

// keep sends a keep-alive to a binding's phone if it needs one and if it is for this node, at this moment, to send it.
func (k *keeper) keep(b *fsm.Binding, group uint32) {
	if group != 0 && b.Flow.Group != group {
		return
	}
	to, ok := proxy.AliveFlow(b)
	if !ok {
		return
	}
	if _, _, ok := k.core.opt.Owners.Lease(to.Group); !ok {
		if group == 0 {
			k.core.alive.skipped.Add(1)
		}
		return
	}
	k.buf = append(k.buf[:0], doubleCRLF...)
	if k.options {
		k.number++
		if k.buf, ok = k.view.AppendOptions(k.buf[:0], b.Contact, to, k.number); !ok {
			return
		}
	}
	k.out.Send(to, k.buf)
	k.core.alive.sent.Add(1)
}
