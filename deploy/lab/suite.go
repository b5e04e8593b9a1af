package lab

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdline/deploy/lab/capture"
	"holdline/deploy/lab/faults"
	"holdline/deploy/lab/phone"
)

// What the suite's world is made of.
const (
	suitePhones  = 12 // four for each of three VIPs
	pairPrefix   = "9"
	leastFault   = 500 * time.Millisecond
	renewEvery   = 60               // cases; own disks are small, and each end of the log that a new leader replaces takes a segment of them
	agreeTime    = 5 * time.Second  // in which replicas must be equal once the cluster is whole
	checksumTime = 10 * time.Second // in which they must have added up their states
)

// pairAddrs are the gateways of the pool of two.
var pairAddrs = []netip.AddrPort{netip.AddrPortFrom(hostAddr(22), 5081), netip.AddrPortFrom(hostAddr(22), 5082)}

// suite is the fault suite under way: one cluster for all its cases, a new one only when a case leaves none to go on with.
type suite struct {
	*drill
	arrivals phone.Arrivals
	taps     map[*phone.Phone]*faults.Tap
	phones   []*phone.Phone // by number; phone i is registered through VIP i mod 3
	gateway  *phone.Phone
	pair     []*phone.Phone
	stats    phone.Stats
	crashes  int
	cdrs     uint64          // number of the last detail record that has been looked at
	known    map[string]bool // Call-IDs of all calls so far
}

// Case is one transcript with one fault, and what came of it.
type Case struct {
	Name       string   `json:"name"` // transcript/fault
	Verdict    string   `json:"verdict"`
	Node       string   `json:"node"`
	Leader     bool     `json:"leader"`
	VIP        string   `json:"vip"`
	Calls      int      `json:"calls"`
	Lost       int      `json:"lost"`
	Owners     int      `json:"max_simultaneous_owners"`
	RejoinS    float64  `json:"rejoin_s"`
	Seconds    float64  `json:"seconds"`
	Why        []string `json:"why,omitempty"`
	Transcript []string `json:"transcript,omitempty"` // of the calls that failed
}

func (c *Case) why(format string, args ...any) { c.Why = append(c.Why, fmt.Sprintf(format, args...)) }

// planned is a case to come.
type planned struct {
	name   string
	script faults.Script
	trait  trait
}

// plan lists the cases that a choice names.
func plan(choice string) ([]planned, error) {
	scripts, err := faults.Scripts()
	if err != nil {
		return nil, err
	}
	var out []planned
	for i, s := range scripts {
		names, err := expand(s.Faults)
		if err != nil {
			return nil, fmt.Errorf("transcript %s: %w", s.Name, err)
		}
		if choice == SuiteShort {
			names = []string{names[2*i%len(names)], names[(2*i+1)%len(names)]}
		}
		for _, f := range names {
			p := planned{name: s.Name + "/" + f, script: s}
			if p.trait, err = traitOf(f); err != nil {
				return nil, err
			}
			if p.trait.alone && slices.ContainsFunc(s.Steps, func(s faults.Step) bool { return s.Move }) {
				continue
			}
			if ok, err := chosen(choice, p.name); err != nil || !ok {
				if err != nil {
					return nil, err
				}
				continue
			}
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("suite: no case is called %q; choose all, short, or a pattern of transcript/fault", choice)
	}
	return out, nil
}

// chosen says whether a choice, other than of a cut, names a case: by one of its patterns, between commas.
func chosen(choice, name string) (bool, error) {
	if choice == SuiteAll || choice == SuiteShort {
		return true, nil
	}
	for _, pattern := range strings.Split(choice, ",") {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return false, fmt.Errorf("suite: pattern %q: %w", pattern, err)
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

// allowed leaves out what this drill may not do, and says so.
func (o Options) allowed(cases []planned, say func(string, ...any)) ([]planned, error) {
	var why error
	without := func(cases []planned, needs func(trait) bool, reason error) []planned {
		out := slices.DeleteFunc(slices.Clone(cases), func(p planned) bool { return needs(p.trait) })
		if n := len(cases) - len(out); n > 0 {
			say("LEFT OUT: %d cases: %v", n, reason)
			why = reason
		}
		return out
	}
	if !o.mayStep() {
		cases = without(cases, func(t trait) bool { return t.clock }, errNoClockStep)
	}
	if _, _, err := memoryControl(); err != nil {
		cases = without(cases, func(t trait) bool { return t.memory }, err)
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("suite: every case of %q was left out: %w", o.Suite, why)
	}
	return cases, nil
}

// ownDisks says whether a fault of this drill needs nodes with disks of their own.
func (o Options) ownDisks() bool {
	if o.Suite == "" {
		t, err := traitOf(string(o.Fault))
		return err == nil && t.disk
	}
	cases, err := plan(o.Suite)
	return err == nil && slices.ContainsFunc(cases, func(p planned) bool { return p.trait.disk })
}

// runSuite plays every case that was chosen.
func (d *drill) runSuite(ctx context.Context, dir string, rep *Report) (err error) {
	cases, err := plan(d.o.Suite)
	if err != nil {
		return err
	}
	if cases, err = d.o.allowed(cases, d.say); err != nil {
		return err
	}
	s := &suite{drill: d, known: map[string]bool{}}
	s.cluster.note = s.say
	if err := s.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	rep.Cases = []Case{}
	rep.Verdict = VerdictPass
	for i, p := range cases {
		c, err := s.play(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		rep.Cases = append(rep.Cases, c)
		s.say("%d/%d  %-44s %s at %s, %.1f s", i+1, len(cases), c.Name, c.Verdict, c.Node, c.Seconds)
		if c.Verdict != VerdictPass {
			rep.Verdict = VerdictFail
			for _, w := range c.Why {
				s.say("        %s", w)
			}
			for _, line := range c.Transcript {
				s.say("    %s", line)
			}
		}
		worn := s.o.ownDisks() && (i+1)%renewEvery == 0
		if (c.RejoinS < 0 || worn) && i+1 < len(cases) {
			if err := s.renew(ctx, filepath.Join(dir, fmt.Sprintf("after-%d", i+1))); err != nil {
				return fmt.Errorf("a new cluster after %s: %w", p.name, err)
			}
		}
	}
	return nil
}

// renew puts a new cluster in the place of one that a case has ruined; its logs stay.
func (s *suite) renew(ctx context.Context, dir string) error {
	if err := errors.Join(s.close(), s.cluster.close()); err != nil {
		return err
	}
	var err error
	if s.cluster, err = buildCluster(s.o, dir); err != nil {
		return err
	}
	s.cluster.note = s.say
	s.phones, s.pair, s.crashes, s.cdrs = nil, nil, 0, 0
	return s.open(ctx)
}

// open forms the cluster and registers the phones.
func (s *suite) open(ctx context.Context) error {
	s.say("%d boxes on a switch; starting serve on each, then init and join", s.o.Nodes)
	if err := s.cluster.form(ctx); err != nil {
		return err
	}
	people := users(suitePhones)
	if err := s.cluster.provision(ctx, people); err != nil {
		return err
	}
	first := s.cluster.nodes[0]
	for _, args := range [][]string{
		{"pool", "add", "pair"},
		{"pool", "member", "add", "pair", "gw2", "--address", pairAddrs[0].String()},
		{"pool", "member", "add", "pair", "gw3", "--address", pairAddrs[1].String()},
		{"route", "add", domain, "--prefix", pairPrefix, "--pool", "pair"},
	} {
		if _, err := first.CLI(ctx, "", args...); err != nil {
			return err
		}
	}
	if err := s.bounded(ctx, rejoinTime, func(ctx context.Context) error { return s.cluster.awaitHA(ctx, s.cluster.nodes) }); err != nil {
		return fmt.Errorf("the cluster did not become highly available: %w", err)
	}
	if err := s.plugInPhones(people); err != nil {
		return err
	}
	for _, p := range s.phones {
		limited, cancel := context.WithTimeout(ctx, suitePatience)
		res, err := p.Register(limited, time.Hour)
		cancel()
		if err != nil || res.StatusCode != 200 {
			return fmt.Errorf("register %s: %v, %v", p.AoR(), res, err)
		}
	}
	s.say("highly available, %d phones registered", len(s.phones))
	return nil
}

func (s *suite) plugInPhones(people []user) error {
	s.taps = map[*phone.Phone]*faults.Tap{}
	hosts := phoneHosts()
	for i, u := range people {
		vip := netip.AddrPortFrom(s.cluster.vips[i%3], sipPort)
		p, err := s.phone(u, netip.AddrPortFrom(hosts[i%len(hosts)], uint16(firstPort+i)), vip)
		if err != nil {
			return err
		}
		s.phones = append(s.phones, p)
	}
	vip := netip.AddrPortFrom(s.cluster.vips[0], sipPort)
	var err error
	if s.gateway, err = s.phone(user{name: "gw"}, gatewayAddr, vip); err != nil {
		return err
	}
	for i, addr := range pairAddrs {
		p, err := s.phone(user{name: fmt.Sprintf("gw%d", i+2)}, addr, vip)
		if err != nil {
			return err
		}
		s.pair = append(s.pair, p)
	}
	return nil
}

func (s *suite) phone(u user, addr, proxy netip.AddrPort) (*phone.Phone, error) {
	conn, err := listen(s.cluster.phones, addr)
	if err != nil {
		return nil, err
	}
	tap := faults.NewTap(conn)
	p := phone.NewPhone(phone.NewEndpoint(tap, &s.stats), u.name, domain, u.password, proxy)
	s.taps[p] = tap
	s.arrivals.Watch(p)
	return p, nil
}

func (s *suite) close() error {
	var errs []error
	for p := range s.taps {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// play is one case from a whole cluster to a whole cluster.
func (s *suite) play(ctx context.Context, p planned) (out Case, err error) {
	out = Case{Name: p.name, Verdict: VerdictFail}
	begin := time.Now()
	if err := s.bounded(ctx, spreadTime, s.spreadAgain); err != nil {
		out.why("the VIPs could not be spread over the nodes before: %v", err)
	}
	h := fnv.New64a()
	fmt.Fprint(h, p.name)
	rng := rand.New(rand.NewPCG(s.o.Seed, h.Sum64()))
	a, err := s.newAct(ctx, p, rng)
	if err != nil {
		return out, err
	}
	if p.trait.clock { // however the case ends
		defer func() { err = errors.Join(err, a.stroke.undo(context.Background())) }()
	}
	out.Node, out.Leader, out.VIP, out.Calls = a.target.Name, a.leader, a.vip.String(), len(a.calls)
	wire, err := capture.Start(s.cluster.net.Switch, s.cluster.vips, s.cluster.ports())
	if err != nil {
		return out, err
	}
	a.run(ctx, &out)
	s.whole(ctx, a, &out)
	frames, dropped, err := wire.Stop()
	if err := errors.Join(err, ctx.Err()); err != nil {
		return out, err
	}
	for _, o := range capture.Owners(frames) {
		out.Owners = max(out.Owners, o.Max)
		if o.Max > 1 {
			out.why("%v had %d owners at one time", o.VIP, o.Max)
			for _, t := range o.Tenures {
				out.why("  %s %+.1f…%+.1f ms, %d frames", s.cluster.boxAt(t.Sender.Port), milliseconds(t.First.Sub(a.stroke.fellAt())), milliseconds(t.Last.Sub(a.stroke.fellAt())), t.Frames)
			}
		}
	}
	if dropped > 0 {
		out.why("the capture is incomplete: %d frames dropped, so owners are not proven", dropped)
	}
	if out.RejoinS >= 0 {
		s.agree(ctx, a, &out)
	}
	s.crashed(&out)
	out.Seconds = time.Since(begin).Seconds()
	if len(out.Why) == 0 {
		out.Verdict = VerdictPass
	}
	return out, ctx.Err()
}

// spreadAgain asks for the planned moves until they are done: just after a fault a node may refuse to take an address.
func (s *suite) spreadAgain(ctx context.Context) error {
	return s.cluster.nodes[0].Await(ctx, func(ctx context.Context) error { return s.bounded(ctx, spreadTime/3, s.cluster.spread) })
}

// whole waits until every node says HA: yes again.
func (s *suite) whole(ctx context.Context, a *act, out *Case) {
	// Calls that end at once do not make the fault any shorter: a VIP is to move in every case.
	if err := sleep(ctx, time.Until(a.stroke.fellAt().Add(leastFault))); err != nil {
		return
	}
	start := time.Now()
	err := s.bounded(ctx, rejoinTime, func(ctx context.Context) error {
		return errors.Join(a.stroke.undo(ctx), s.cluster.awaitHA(ctx, s.cluster.nodes))
	})
	out.RejoinS = time.Since(start).Seconds()
	if err != nil {
		out.RejoinS = -1
		out.why("not highly available again %v after the fault was undone: %v", rejoinTime, err)
	}
}

func (s *suite) crashed(out *Case) {
	var all []string
	for _, n := range s.cluster.nodes {
		all = append(all, n.Crashes()...)
	}
	for _, c := range all[min(s.crashes, len(all)):] {
		out.why("%s", c)
	}
	s.crashes = len(all)
}
