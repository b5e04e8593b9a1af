package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"holdline/deploy/lab/faults"
	"holdline/deploy/lab/node"
	"holdline/deploy/lab/phone"
)

// act is one case of the suite on the stage: the calls, the node and its fault.
type act struct {
	*suite
	planned
	target *node.Node
	leader bool
	vip    netip.Addr // the target's
	stroke *stroke
	calls  []*faults.Call
	chosen int // whose message the fault comes at

	gate    *gate
	moved   sync.Once
	moveErr error
}

// newAct chooses node and phones.
func (s *suite) newAct(ctx context.Context, p planned, rng *rand.Rand) (*act, error) {
	status, err := s.cluster.atRest(ctx)
	if err != nil {
		return nil, err
	}
	owners, leader := status.Owners(), status.Leader()
	a := &act{suite: s, planned: p}
	var moved, other int
	wantLeader := rng.IntN(2) == 0 || p.trait.leader // half of the cases befall the leader
	for _, i := range rng.Perm(len(s.cluster.vips)) {
		vip := s.cluster.vips[i]
		if n := s.cluster.node(owners[vip]); n != nil && (a.target == nil || (n.Name == leader) == wantLeader) {
			a.target, a.vip, moved = n, vip, i
		}
	}
	if a.target == nil {
		return nil, errors.New("choose the node: no VIP has an owner")
	}
	a.leader = a.target.Name == leader
	other = (moved + 1 + rng.IntN(2)) % 3
	b, err := p.trait.prepare(s.cluster, a.target)
	if err != nil {
		return nil, err
	}
	a.stroke = &stroke{blow: b}
	a.cast(moved, other)
	a.chosen = rng.IntN(len(a.calls))
	a.gate = newGate(len(a.calls))
	for _, t := range s.taps {
		t.Reset()
		t.Arm(false, faults.Message{}, nil)
	}
	return a, nil
}

// cast makes the calls: through the VIP that fails on the caller's side, on the callee's, and on both.
func (a *act) cast(moved, other int) {
	third := 3 - moved - other
	of := func(vip, n int) *phone.Phone { return a.phones[vip+3*n] }
	at := func(vip int) netip.AddrPort { return netip.AddrPortFrom(a.cluster.vips[vip], sipPort) }
	divert := ""
	add := func(caller *phone.Phone, dial string, via int) {
		a.calls = append(a.calls, &faults.Call{
			Divert: divert,
			Script: a.script, ID: fmt.Sprintf("%s-%d-%d", a.name, time.Now().UnixNano(), len(a.calls)), Caller: caller, Dial: dial, Via: at(via),
			Patience: a.trait.patience, Lossy: a.trait.lossy, Arrivals: &a.arrivals, Fault: a.fault, Move: a.move,
		})
	}
	switch a.script.To {
	case faults.ToUser:
		add(of(third, 0), of(moved, 0).User, moved)
		add(of(third, 1), of(other, 0).User, moved)
		add(of(third, 2), of(moved, 1).User, other)
	case faults.ToDiverted:
		divert = of(other, 1).User
		add(of(third, 0), of(moved, 0).User, moved)
		divert = of(moved, 1).User
		add(of(third, 1), of(other, 0).User, moved)
		divert = of(other, 2).User
		add(of(third, 2), of(moved, 2).User, other)
	case faults.ToGateway:
		add(of(third, 0), "5551234", moved)
		add(of(moved, 0), "5551235", moved)
	case faults.ToPair:
		add(of(third, 0), pairPrefix+"123", moved)
	case faults.ToRegistrar:
		for i := range 3 {
			add(of(moved, i), "", moved)
		}
	}
}

// run plays the calls.
func (a *act) run(ctx context.Context, out *Case) {
	errs := make([]error, len(a.calls))
	var all sync.WaitGroup
	for i, c := range a.calls {
		all.Go(func() {
			errs[i] = c.Play(ctx)
			a.gate.leave()
		})
	}
	all.Wait()
	if a.stroke.fellAt().IsZero() {
		out.why("the fault never came: the message it waits for was not seen")
	}
	if err := a.stroke.err(); err != nil {
		out.why("the fault: %v", err)
	}
	for i, c := range a.calls {
		if errs[i] == nil {
			continue
		}
		out.Lost++
		out.why("call %d lost (%s through %v): %v", i+1, c.Caller.User, c.Via.Addr(), errs[i])
		out.Transcript = append(out.Transcript, a.transcript(i)...)
	}
}

// fault is what a call does when it comes to the `fault when` line: it waits for the others, and the last of them arms it.
func (a *act) fault(ctx context.Context, s faults.Step) error {
	return a.gate.pass(ctx, func() {
		for _, p := range a.phonesOf(s.Side) {
			a.taps[p].Arm(s.Send, s.Message, a.stroke.fall)
		}
	})
}

// phonesOf are those at which the chosen call's message may be seen.
func (a *act) phonesOf(side faults.Side) []*phone.Phone {
	c := a.calls[a.chosen]
	switch {
	case side == faults.Caller:
		return []*phone.Phone{c.Caller}
	case a.script.To == faults.ToGateway:
		return []*phone.Phone{a.gateway}
	case a.script.To == faults.ToPair:
		known := c.Phone(faults.Callee)
		if side == faults.Spare && known != nil {
			return slices.DeleteFunc(slices.Clone(a.pair), func(p *phone.Phone) bool { return p == known })
		}
		if known != nil {
			return []*phone.Phone{known}
		}
		return a.pair
	default:
		user := c.Dial
		if side == faults.Spare {
			user = c.Divert
		}
		for _, p := range a.phones {
			if p.User == user {
				return []*phone.Phone{p}
			}
		}
		return nil
	}
}

// stays is how long a VIP is given to move by itself where a fault need not make it move.
const stays = time.Second

// move hands the VIP on, once for all calls: from the node that has taken it over, or from the one that has it after a fault that need not
// move it.
func (a *act) move(ctx context.Context) error {
	a.moved.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, spreadTime)
		defer cancel()
		begun := time.Now()
		for {
			err := a.tryMove(ctx, (a.trait.restless || a.trait.all) && time.Since(begun) > stays)
			if err == nil || ctx.Err() != nil {
				a.moveErr = err
				return
			}
			a.moveErr = err
			if sleep(ctx, 50*time.Millisecond) != nil {
				return
			}
		}
	})
	return a.moveErr
}

// tryMove asks whoever answers to move the VIP to a node that neither has it nor, if there is one, has had it; fromTarget: also if the fault's
// node still has it.
func (a *act) tryMove(ctx context.Context, fromTarget bool) error {
	var asked *node.Node
	var status node.Status
	var err error
	for _, n := range append(a.cluster.others(a.target), a.target) {
		if status, err = n.Status(ctx); err == nil {
			asked = n
			break
		}
	}
	if asked == nil {
		return err
	}
	owner := a.cluster.node(status.Owners()[a.vip])
	if owner == nil || owner == a.target && !fromTarget {
		return fmt.Errorf("%v is still with %q", a.vip, status.Owners()[a.vip])
	}
	for _, to := range append(a.cluster.others(a.target), a.target) {
		if to == owner {
			continue
		}
		if _, err = to.Status(ctx); err == nil {
			_, err = asked.CLI(ctx, "", "vip", "move", a.vip.String(), "--to", to.Name)
			return err
		}
	}
	return err
}

// transcript is a call that failed: its steps, and the messages at its phones.
func (a *act) transcript(i int) []string {
	c, at := a.calls[i], a.stroke.fellAt()
	out := []string{fmt.Sprintf("call %d: %s through %v dials %q; %s at %s, who had %v; milliseconds since the fault", i+1, c.Caller.User, c.Via.Addr(), c.Dial, a.trait.name, a.target.Name, a.vip)}
	out = append(out, strings.Split(strings.TrimRight(c.Transcript(at), "\n"), "\n")...)
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for _, side := range []faults.Side{faults.Caller, faults.Callee, faults.Spare} {
		p := c.Phone(side)
		if p == nil {
			continue
		}
		for _, s := range a.taps[p].Seen() {
			if len(c.CallIDs()) > 0 && !slices.Contains(c.CallIDs(), s.CallID) {
				continue
			}
			arrow := "←"
			if s.Sent {
				arrow = "→"
			}
			lines = append(lines, line{s.At, fmt.Sprintf("%+9.1f ms  %s %s %-18s %v", milliseconds(s.At.Sub(at)), side, arrow, s.What, s.Peer.Addr())})
		}
	}
	slices.SortStableFunc(lines, func(x, y line) int { return x.at.Compare(y.at) })
	out = append(out, "messages:")
	for _, l := range lines {
		out = append(out, l.text)
	}
	return out
}

// gate lets calls through when all of them have come to it, or have ended.
type gate struct {
	mu      sync.Mutex
	missing int
	open    chan struct{}
	arm     func()
}

func newGate(n int) *gate { return &gate{missing: n, open: make(chan struct{})} }

func (g *gate) pass(ctx context.Context, arm func()) error {
	g.mu.Lock()
	g.arm = arm
	g.mu.Unlock()
	g.leave()
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave counts a call that has come, or ended.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.missing--; g.missing == 0 {
		if g.arm != nil {
			g.arm()
		}
		close(g.open)
	}
}
