package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"holdline/cluster/api"
	"holdline/deploy/lab/capture"
	"holdline/deploy/lab/probe"
	"holdline/deploy/lab/scenario"
)

// LiveCluster is what a live drill asks the real cluster, through the daemon of one of its nodes. api.Client is one.
type LiveCluster interface {
	Status(ctx context.Context) (api.Status, error)
	ListDomains(ctx context.Context) ([]api.Domain, error)
	AddDomain(ctx context.Context, d api.Domain) error
	RemoveDomain(ctx context.Context, name string) error
	AddUser(ctx context.Context, r api.UserRequest) error
	RemoveUser(ctx context.Context, aor string) error
	ListRegistrations(ctx context.Context, f api.RegistrationFilter) (api.Registrations, error)
}

// LiveOptions says what a live drill does. The zero value of each field means its default.
type LiveOptions struct {
	Node     string        // whose cable is pulled; default: the raft leader if it owns a VIP and is not this machine, else another owner
	Phones   int           // test phones, 4 to 500; default 20; not with Accounts
	Accounts []Account     // who the phones are; default: users of a domain that is made for the drill and removed after it
	Calls    int           // established calls held through the fault, 2 to 500; default 20; half as many ring
	CPS      int           // short calls set up each second throughout; default 5; negative: none
	Local    netip.Addr    // of this machine, that the phones use; default: the one that the route to the VIPs has
	Wait     time.Duration // how long the operator may take for each thing asked of them; default 10 minutes
	Seed     uint64        // fixes which phones call which; default 1
	Patience time.Duration // of the phones; default 12 s
}

// Account is a user that exists.
type Account struct{ User, Domain, Password string }

func (o LiveOptions) withDefaults() (LiveOptions, error) {
	setDefault(&o.Phones, 20)
	setDefault(&o.Calls, 20)
	setDefault(&o.CPS, 5)
	setDefault(&o.Wait, 10*time.Minute)
	setDefault(&o.Seed, 1)
	setDefault(&o.Patience, 12*time.Second)
	if len(o.Accounts) > 0 {
		o.Phones = len(o.Accounts)
	}
	switch {
	case o.Phones < 4 || o.Phones > 500:
		return o, fmt.Errorf("phones: %d: a live drill takes 4 to 500", o.Phones)
	case o.Calls < 2 || o.Calls > 500:
		return o, fmt.Errorf("calls: %d: a live drill takes 2 to 500", o.Calls)
	case o.CPS > 200:
		return o, fmt.Errorf("cps: %d: a live drill takes at most 200", o.CPS)
	case o.Wait < time.Second:
		return o, fmt.Errorf("wait: %v: choose 1 s or more", o.Wait)
	}
	return o, nil
}

// How a live drill goes about things.
const (
	liveRenew   = 15 * time.Second       // how long a call rings in wait for the operator
	liveAsk     = 200 * time.Millisecond // between looks at the status
	liveTidy    = 30 * time.Second       // to take everything back at the end, also without a raft leader for a moment
	liveNotice  = 15 * time.Second       // for the status to say that a node has gone
	liveSlack   = 5 * time.Second        // before the cluster noticed: how far back the gap is looked for
	faultByHand = Fault("live-cable")
)

// live is a live drill under way.
type live struct {
	*round
	o       LiveOptions
	cluster LiveCluster
	status  api.Status // as it was before
	victim  string
	local   netip.Addr
	guests  guests
	probes  *probe.Probe
}

// Live guides an operator through a failure of real boxes and reports what it cost, in the form of Drill. Lines for the operator go to
// progress. Whatever it made in the cluster is removed when it returns, also when ctx ends. An error means that the drill could not
// be carried out.
func Live(ctx context.Context, o LiveOptions, cluster LiveCluster, progress io.Writer) (Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Report{}, err
	}
	begin := time.Now()
	rep := Report{
		Seed: o.Seed, CPS: max(0, o.CPS), Transport: TransportUDP, PatienceS: o.Patience.Seconds(),
		Outcome: Outcome{Fault: faultByHand, Verdict: VerdictFail},
	}
	if rep.Machine, err = phonesMachine(); err != nil {
		return rep, err
	}
	d := &drill{o: Options{Calls: o.Calls, CPS: o.CPS, Phones: o.Phones, Seed: o.Seed, Patience: o.Patience}, say: sayer(progress, begin), handsets: &handsets{}}
	l := &live{o: o, cluster: cluster, round: &round{drill: d, rng: rand.New(rand.NewPCG(o.Seed, 2))}}
	l.out = Round{Number: 1, PatienceS: o.Patience.Seconds(), Outcome: Outcome{Fault: faultByHand, Verdict: VerdictFail}}
	err = l.carryOut(ctx)
	if err != nil && ctx.Err() != nil {
		return rep, fmt.Errorf("the drill was broken off: %w", err)
	}
	if err != nil {
		return rep, err
	}
	l.judge()
	rep.Nodes, rep.Rounds, rep.Seconds = len(l.status.Nodes), []Round{l.out}, time.Since(begin).Seconds()
	rep.sum()
	return rep, nil
}

// carryOut is everything from the first question to the last thing tidied up.
func (l *live) carryOut(ctx context.Context) (err error) {
	if err := l.prepare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.tidy(ctx)) }()
	if err := l.invite(ctx); err != nil {
		return err
	}
	stop, err := l.register(ctx)
	defer func() {
		stop()
		l.unregister(ctx)
	}()
	if err != nil {
		return err
	}
	return l.play(ctx)
}

// play is the round: calls, the operator's fault, what came of it.
func (l *live) play(ctx context.Context) (err error) {
	begin := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	l.world = scenario.New("live", l.handsets.phones, nil, l.o.Patience)
	l.world.Renew, l.world.Polite = liveRenew, true
	l.planner = scenario.NewPlanner(l.o.Seed, l.handsets.phones, nil, l.vipPorts())
	defer l.world.Wait()
	defer cancel()

	wire, err := l.capture()
	if err != nil {
		l.out.Capture.Missing = err.Error()
		l.warn("owners were not counted: %v", err)
	}
	loading := l.load(ctx)
	samples, err := l.byHand(ctx)
	loading()
	var frames []capture.Frame
	if wire != nil {
		var wireErr error
		frames, l.out.Capture.Dropped, wireErr = wire.Stop()
		l.out.Capture.Frames = len(frames)
		err = errors.Join(err, wireErr)
	}
	if err := errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	l.world.Wait()
	l.calls()
	if l.oneMAC(frames) {
		l.out.Capture.Missing = "every VIP's frames come from one MAC address: there is a router in between"
		l.warn("owners were not counted: %s", l.out.Capture.Missing)
		frames = nil
	}
	l.nameSenders(frames)
	l.gaps(samples, frames)
	l.out.Seconds = time.Since(begin).Seconds()
	return l.checkRegistrations(ctx)
}

// byHand is the operator's part.
func (l *live) byHand(ctx context.Context) (samples [][]probe.Sample, err error) {
	if err := l.place(ctx); err != nil {
		return nil, err
	}
	if l.probes, err = l.startProbe(); err != nil {
		return nil, err
	}
	if err = sleep(ctx, leadIn+settle); err == nil {
		err = l.ask(ctx)
	}
	samples, probeErr := l.probes.Stop()
	return samples, errors.Join(err, probeErr)
}

// ask asks for the cable to be pulled, and to be plugged in again, and waits for both.
func (l *live) ask(ctx context.Context) error {
	l.say("PULL the cable of %s now (%s); I wait for %v", l.victim, l.target.describe(), l.o.Wait)
	if err := l.awaitPull(ctx); err != nil {
		return err
	}
	if err := l.awaitGone(ctx); err != nil {
		return err
	}
	l.world.WaitHeld()
	l.say("calls over the fault: %s", l.countsLine())
	l.say("PLUG the cable of %s in again now; I wait for %v", l.victim, l.o.Wait)
	return l.awaitPlug(ctx)
}

// checkRegistrations compares what the phones hold a 200 for with what the node lists, and reaches every phone.
func (l *live) checkRegistrations(ctx context.Context) error {
	acknowledged := l.keeper.Acknowledged()
	lost := scenario.Unreachable(ctx, l.handsets.phones[0], acknowledged, l.vipPorts(), l.o.Patience)
	var listed []string
	for _, domain := range l.guests.domains() {
		list, err := l.cluster.ListRegistrations(ctx, api.RegistrationFilter{Domain: domain})
		if err != nil {
			return err
		}
		for _, r := range list.Registrations {
			listed = append(listed, r.AoR+" "+r.Contact)
		}
	}
	for _, p := range acknowledged {
		if !slices.ContainsFunc(listed, func(s string) bool { return scenario.ContactIs(s, p) }) {
			lost[p] = fmt.Errorf("not listed on %s", l.status.Node)
		}
	}
	l.lostRegistrations(len(acknowledged), reasons(lost))
	return ctx.Err()
}
