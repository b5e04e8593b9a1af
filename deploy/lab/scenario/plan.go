package scenario

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
)

// Plan is one call, decided beforehand from the seed.
type Plan struct {
	Kind   Kind
	Caller *phone.Phone
	Callee *phone.Phone
	Dial   string         // user part of the Request-URI
	Via    netip.AddrPort // VIP that the caller uses

	Ring   time.Duration // from 180 to 200 (setup), or of the answer after the fault (ringing)
	Hold   time.Duration // from answer to BYE
	Middle []Step        // requests inside the dialog
	Hangup Step          // BYE, or CANCEL
}

// Step is a request inside a dialog, some time after the fault (before it when negative).
type Step struct {
	At     time.Duration
	Method sip.RequestMethod
	Callee bool // sent by the callee
}

// Planner makes plans. The same seed, phones and order of calls give the same plans.
type Planner struct {
	rng     *rand.Rand
	phones  []*phone.Phone
	gateway *phone.Phone
	vips    []netip.AddrPort
	dialled int

	Stretch int // the calls that wait for the fault last so many times as long after it; 0: once
}

// NewPlanner makes a planner whose calls are spread over the VIPs. Without a gateway (nil) all of them go from phone to phone.
func NewPlanner(seed uint64, phones []*phone.Phone, gateway *phone.Phone, vips []netip.AddrPort) *Planner {
	return &Planner{rng: rand.New(rand.NewPCG(seed, 0x686f6c64)), phones: phones, gateway: gateway, vips: vips}
}

// within is a time in [from, to).
func (p *Planner) within(from, to time.Duration) time.Duration {
	return from + time.Duration(p.rng.Int64N(int64(to-from)))
}

// Plan decides the next call of a kind. Half of the calls go from phone to phone, four in ten to the gateway, one in ten comes from it.
func (p *Planner) Plan(kind Kind) Plan {
	pl := Plan{Kind: kind}
	a := p.rng.IntN(len(p.phones))
	b := (a + 1 + p.rng.IntN(len(p.phones)-1)) % len(p.phones)
	switch way := p.rng.IntN(10); {
	case way < 5 || p.gateway == nil:
		pl.Caller, pl.Callee, pl.Dial = p.phones[a], p.phones[b], p.phones[b].User
	case way < 9:
		p.dialled++
		pl.Caller, pl.Callee, pl.Dial = p.phones[a], p.gateway, fmt.Sprintf("0049%07d", p.dialled)
	default:
		pl.Caller, pl.Callee, pl.Dial = p.gateway, p.phones[b], p.phones[b].User
	}
	pl.Via = pl.Caller.Proxy
	if pl.Caller == p.gateway {
		pl.Via = p.vips[p.rng.IntN(len(p.vips))]
	}
	ms := time.Millisecond
	pl.Hangup = Step{Method: sip.BYE, Callee: p.rng.IntN(2) == 0}
	switch kind {
	case Setup:
		pl.Ring, pl.Hold = p.within(20*ms, 200*ms), p.within(50*ms, 400*ms)
	case Ringing:
		pl.Ring, pl.Hold = p.within(20*ms, 3000*ms), p.within(50*ms, 500*ms)
	case Cancelled:
		pl.Hangup = Step{At: p.within(-100*ms, 3000*ms), Method: sip.CANCEL}
	case Established:
		methods := []sip.RequestMethod{sip.INFO, sip.OPTIONS, sip.INVITE}
		first := p.rng.IntN(2) == 0
		pl.Middle = []Step{
			{p.within(-300*ms, 1500*ms), methods[p.rng.IntN(len(methods))], first},
			{p.within(500*ms, 3000*ms), methods[p.rng.IntN(len(methods))], !first},
		}
		pl.Hangup.At = p.within(3000*ms, 5000*ms)
	}
	pl.stretch(time.Duration(max(1, p.Stretch)))
	return pl
}

// stretch makes what comes after the fault come later.
func (pl *Plan) stretch(by time.Duration) {
	if pl.Kind == Setup {
		return
	}
	later := func(d time.Duration) time.Duration {
		if d > 0 {
			return d * by
		}
		return d
	}
	pl.Hangup.At = later(pl.Hangup.At)
	if pl.Kind == Ringing {
		pl.Ring = later(pl.Ring)
	}
	for i := range pl.Middle {
		pl.Middle[i].At = later(pl.Middle[i].At)
	}
}
