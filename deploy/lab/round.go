package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdline/deploy/lab/capture"
	"holdline/deploy/lab/node"
	"holdline/deploy/lab/phone"
	"holdline/deploy/lab/probe"
	"holdline/deploy/lab/scenario"
)

// How a round runs.
const (
	placeRate   = 150                     // calls that wait for the fault, placed per second
	settle      = 500 * time.Millisecond  // between the last of them being ready and the fault being announced
	announce    = 1200 * time.Millisecond // from then to the fault: some calls act just before it
	leadIn      = time.Second             // of the gap measurement before the fault
	movedEvery  = 2 * time.Millisecond    // OPTIONS to the VIPs that will move
	othersEvery = 20 * time.Millisecond   // and to the others
	spreadTime  = 10 * time.Second        // for planned moves before the round
	rejoinTime  = 30 * time.Second        // until HA is given up on
	slowRejoin  = 3 * time.Second         // after which the drill says what is missing
	afterwards  = time.Second             // short calls go on that long after HA is back
)

// drill is one drill under way.
type drill struct {
	o        Options
	say      func(format string, args ...any)
	cluster  *cluster
	handsets *handsets
	keeper   *scenario.Keeper

	// Of a soak:
	stalls   *stalls
	places   map[string]string // who was last seen to use each VIP
	lookedAt time.Time         // and when
}

// round is one fault under way.
type round struct {
	*drill
	rng     *rand.Rand
	vips    []netip.Addr
	nameOf  func(capture.Sender) string // the box that a frame came from
	trait   trait
	target  target
	stroke  *stroke
	world   *scenario.World
	planner *scenario.Planner
	began   time.Time
	faultAt time.Time
	wholeAt time.Time // when every node said HA: yes again
	out     Round
}

func (d *drill) round(ctx context.Context, number int) (Round, error) {
	seed := d.o.Seed*1_000_003 + uint64(number)
	r := &round{drill: d, rng: rand.New(rand.NewPCG(seed, 1)), vips: d.cluster.vips}
	r.nameOf = func(s capture.Sender) string { return d.cluster.boxAt(s.Port) }
	r.began = time.Now()
	var err error
	if r.trait, err = d.o.faultOf(number); err != nil {
		return r.out, err
	}
	r.out = Round{Number: number, Outcome: Outcome{Fault: Fault(r.trait.name), Verdict: VerdictFail}}
	if d.o.Soak > 0 && number > 1 { // between two rounds nobody looks at frames
		moves, err := d.cluster.elsewhere(ctx, d.places)
		if err != nil {
			return r.out, err
		}
		r.moved(moves, d.lookedAt, time.Now(), "between two rounds")
	}
	if err := d.bounded(ctx, spreadTime, d.cluster.spread); err != nil {
		r.warn("the VIPs could not be spread over the nodes before this round: %v", err)
	}
	patience := max(d.o.Patience, r.trait.patience)
	r.out.PatienceS = patience.Seconds()
	r.world = scenario.New(fmt.Sprintf("r%d", number), d.handsets.phones, d.handsets.gateway, patience)
	r.world.Lossy = r.trait.lossy
	r.planner = scenario.NewPlanner(seed, d.handsets.phones, d.handsets.gateway, r.vipPorts())
	r.planner.Stretch = max(1, r.trait.stretch)
	if err := r.run(ctx); err != nil {
		return r.out, err
	}
	r.out.Seconds = time.Since(r.began).Seconds()
	r.judge()
	return r.out, nil
}

func (r *round) warn(format string, args ...any) {
	r.out.Warnings = append(r.out.Warnings, fmt.Sprintf(format, args...))
}

// bounded gives a step a time of its own.
func (d *drill) bounded(ctx context.Context, most time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return do(ctx)
}

func (r *round) run(ctx context.Context) (err error) {
	// Calls end with the round, whatever ends it.
	ctx, cancel := context.WithCancel(ctx)
	defer r.world.Wait()
	defer cancel()

	wire, err := capture.Start(r.cluster.net.Switch, r.cluster.vips, r.cluster.ports())
	if err != nil {
		return err
	}
	loading := r.load(ctx)
	samples, err := r.throughTheFault(ctx)
	loading()
	frames, dropped, wireErr := wire.Stop()
	if err := errors.Join(err, wireErr, ctx.Err()); err != nil {
		return err
	}
	r.world.Wait()
	r.calls()
	r.crashes()
	r.gaps(samples, frames)
	r.out.Capture = CaptureStats{Frames: len(frames), Dropped: dropped}
	return r.registrations(ctx)
}

// throughTheFault places the calls that wait for it, does it, lets them end, undoes it and waits for HA. It returns what the
// probes found, VIP by VIP.
func (r *round) throughTheFault(ctx context.Context) (samples [][]probe.Sample, err error) {
	if err := r.place(ctx); err != nil {
		return nil, err
	}
	// Only now: on a busy machine a VIP may have moved while the calls were placed.
	anyOwner := r.o.Fault == FaultMixed && r.rng.IntN(2) == 0
	if r.target, err = r.cluster.choose(ctx, r.trait, anyOwner, r.rng); err != nil {
		return nil, err
	}
	b, err := r.trait.prepare(r.cluster, r.target.node)
	if err != nil {
		return nil, err
	}
	r.stroke = &stroke{blow: b}
	r.out.Node, r.out.Leader = r.target.node.Name, r.target.leader
	if !r.trait.leader && !anyOwner && !r.target.leader {
		r.warn("the leader owned no VIP, so the fault befell another owner")
	}
	probes, err := r.probe()
	if err != nil {
		return nil, err
	}
	err = r.fault(ctx)
	samples, probeErr := probes.Stop()
	return samples, errors.Join(err, probeErr)
}

func (r *round) fault(ctx context.Context) error {
	r.world.SetFault(time.Now().Add(announce))
	if err := sleep(ctx, announce); err != nil {
		return err
	}
	r.stroke.fall()
	r.faultAt = r.stroke.fellAt()
	if err := r.stroke.err(); err != nil {
		return err
	}
	if r.trait.all || r.trait.none {
		r.say("round %d: %s", r.out.Number, r.trait.name)
	} else {
		r.say("round %d: %s at %s (%s)", r.out.Number, r.trait.name, r.target.node.Name, r.target.describe())
	}
	told := func() {}
	if !r.trait.brief {
		told = r.statusTells(ctx)
	}
	r.world.WaitHeld()
	told()
	r.say("round %d: calls over the fault: %s", r.out.Number, r.countsLine())
	if r.o.Soak > 0 {
		if err := r.untilRoundEnds(ctx); err != nil {
			return err
		}
	}
	return r.rejoin(ctx)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t target) describe() string {
	text := "owner of no VIP"
	if len(t.vips) > 0 {
		text = "owner of " + join(t.vips)
	}
	if t.leader {
		text += ", raft leader"
	}
	return text
}

// place sets up the calls that wait for the fault, in an order that the seed decides.
func (r *round) place(ctx context.Context) error {
	kinds := slices.Repeat([]scenario.Kind{scenario.Established}, r.o.Calls)
	kinds = append(kinds, slices.Repeat([]scenario.Kind{scenario.Ringing}, max(1, r.o.Calls/2))...)
	kinds = append(kinds, slices.Repeat([]scenario.Kind{scenario.Cancelled}, max(1, r.o.Calls/4))...)
	r.rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	var ready sync.WaitGroup
	tick := time.NewTicker(time.Second / placeRate)
	defer tick.Stop()
	for _, k := range kinds {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		ready.Add(1)
		r.world.Play(ctx, r.planner.Plan(k), ready.Done)
	}
	ready.Wait() // each call is ready or has lost patience
	r.say("round %d: %d calls wait for the fault, %d/s come and go", r.out.Number, len(kinds), max(0, r.o.CPS))
	return sleep(ctx, settle)
}

// load plays short calls until the returned function is called.
func (r *round) load(ctx context.Context) (stop func()) {
	if r.o.CPS < 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	// Its own planner: the order of the short calls depends on time, that of the others must not.
	planner := scenario.NewPlanner(r.rng.Uint64(), r.handsets.phones, r.handsets.gateway, r.vipPorts())
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second / time.Duration(r.o.CPS))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.world.Play(ctx, planner.Plan(scenario.Setup), nil)
			case <-done:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (r *round) vipPorts() []netip.AddrPort {
	var out []netip.AddrPort
	for _, v := range r.vips {
		out = append(out, netip.AddrPortFrom(v, sipPort))
	}
	return out
}

func (r *round) probe() (*probe.Probe, error) {
	conn, err := listen(r.cluster.phones, netip.AddrPortFrom(probeAddr, 0))
	if err != nil {
		return nil, err
	}
	return probe.Start(conn, r.probed()), nil
}

// probed says which VIP is asked how often.
func (r *round) probed() []probe.Target {
	var out []probe.Target
	for _, v := range r.vips {
		every := othersEvery
		if slices.Contains(r.target.vips, v) {
			every = movedEvery
		}
		out = append(out, probe.Target{VIP: netip.AddrPortFrom(v, sipPort), Every: every})
	}
	return out
}

// statusTells looks, a second after the fault, whether the surviving nodes still call all well: they must not.
func (r *round) statusTells(ctx context.Context) (wait func()) {
	done := make(chan struct{})
	var liars []string
	go func() {
		defer close(done)
		if sleep(ctx, time.Until(r.faultAt.Add(time.Second))) != nil {
			return
		}
		for _, n := range r.cluster.others(r.target.node) {
			if n == r.stroke.also {
				continue
			}
			s, err := n.Status(ctx)
			switch {
			case err != nil:
				liars = append(liars, fmt.Sprintf("status on %s, 1 s after the fault: %v", n.Name, err))
			case s.Available(len(r.cluster.nodes), len(r.cluster.vips)) == nil:
				liars = append(liars, fmt.Sprintf("status on %s said %q 1 s after the fault", n.Name, "HA: "+s.HA.Summary))
			}
		}
	}()
	return func() {
		<-done
		r.out.Warnings = append(r.out.Warnings, liars...)
	}
}

// rejoin undoes the fault and measures until every node says HA: yes.
func (r *round) rejoin(ctx context.Context) error {
	slow := time.AfterFunc(slowRejoin, func() {
		if s, err := r.target.node.Status(ctx); err == nil {
			r.say("round %d: still not whole after %v: %s says HA: %s", r.out.Number, slowRejoin, r.target.node.Name, s.HA.Summary)
		}
	})
	defer slow.Stop()
	most := rejoinTime
	if r.stroke.steps != nil {
		most += maintenanceTime
	}
	err := r.bounded(ctx, most, func(ctx context.Context) error {
		if err := r.stroke.undo(ctx); err != nil {
			return err
		}
		// The one that was away last: asking costs CPU that the phones want.
		return errors.Join(r.cluster.awaitHA(ctx, []*node.Node{r.target.node}), r.cluster.awaitHA(ctx, r.cluster.others(r.target.node)))
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.wholeAt = time.Now()
	r.out.RejoinS = r.stroke.rejoined(r.wholeAt).Seconds()
	if err != nil {
		r.out.RejoinS = -1
		r.why("not highly available again %v after the fault was to be undone: %v", most, err)
		return nil
	}
	r.say("round %d: highly available again after %.1f s", r.out.Number, r.out.RejoinS)
	return sleep(ctx, afterwards)
}

func (r *round) why(format string, args ...any) {
	r.out.Why = append(r.out.Why, fmt.Sprintf(format, args...))
}

// registrations compares what phones hold a 200 for with what every node lists, and reaches every phone.
func (r *round) registrations(ctx context.Context) error {
	acknowledged := r.keeper.Acknowledged()
	lost := map[*phone.Phone]string{}
	for _, n := range r.cluster.nodes {
		if r.out.RejoinS < 0 && n == r.target.node {
			continue // it is no surviving node
		}
		missing, err := notListed(ctx, n, acknowledged)
		if err != nil {
			return err
		}
		for _, p := range missing {
			lost[p] = "not listed on " + n.Name
		}
	}
	for p, err := range scenario.Unreachable(ctx, r.handsets.gateway, acknowledged, r.vipPorts(), r.o.Patience) {
		lost[p] = err.Error()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.lostRegistrations(len(acknowledged), lost)
	return nil
}

// lostRegistrations takes what became of the acknowledged registrations into the round.
func (r *round) lostRegistrations(acknowledged int, lost map[*phone.Phone]string) {
	for p, reason := range lost {
		r.out.Losses = append(r.out.Losses, Loss{
			Kind: "registration", ID: p.AoR(), Awaited: "its contact " + p.Addr().String(), By: "lab", SinceMS: r.sinceFault(time.Now()), Detail: reason,
		})
	}
	r.out.Registrations = Registrations{Acknowledged: acknowledged, Lost: len(lost), Unanswered: r.keeper.Unanswered()}
	for reason, n := range r.keeper.Refusals() {
		r.warn("%d phones had their latest REGISTER refused: %s", n, reason)
	}
}

// notListed asks a node for its registrations, twice if some are missing: a follower may be a moment behind.
func notListed(ctx context.Context, n *node.Node, phones []*phone.Phone) ([]*phone.Phone, error) {
	var missing []*phone.Phone
	for range 2 {
		rows, err := n.Registrations(ctx)
		if err != nil {
			return nil, err
		}
		contacts := map[string][]string{}
		for _, row := range rows {
			contacts[row.AoR] = append(contacts[row.AoR], row.Contact)
		}
		missing = missing[:0]
		for _, p := range phones {
			if !slices.ContainsFunc(contacts[p.AoR()], func(c string) bool { return scenario.ContactIs(c, p) }) {
				missing = append(missing, p)
			}
		}
		if len(missing) == 0 {
			break
		}
		if err := sleep(ctx, settle); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

func (r *round) sinceFault(t time.Time) float64 { return milliseconds(t.Sub(r.faultAt)) }
