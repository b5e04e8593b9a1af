package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdline/deploy/lab/capture"
	"holdline/deploy/lab/probe"
	"holdline/deploy/lab/scenario"
)

// calls takes the world's account into the round.
func (r *round) calls() {
	l := r.world.Ledger
	r.out.Calls = Calls{
		Established: Count(l.Count(scenario.Established)), Ringing: Count(l.Count(scenario.Ringing)),
		Cancelled: Count(l.Count(scenario.Cancelled)), Setup: Count(l.Count(scenario.Setup)),
		SetupOnBroken: Count(l.Count(scenario.SetupOnBroken)),
	}
	for _, loss := range l.Losses() {
		out := Loss{Kind: string(loss.Kind), ID: loss.ID, Awaited: loss.Awaited, By: loss.By, SinceMS: r.sinceFault(loss.Since), Detail: loss.Route}
		if loss.Got != "" {
			out.Detail += ": got " + loss.Got
		}
		if r.excused(loss) {
			out.Uncounted = r.trait.outage
			r.out.uncounted(out.Kind, 1, out.Uncounted)
		}
		r.out.Losses = append(r.out.Losses, out)
	}
	r.breaks()
	answers := l.Answers()
	if len(answers) > 0 {
		slices.Sort(answers)
		r.out.Setups = map[string]int64{
			"p50": percentile(answers, 50).Microseconds(), "p99": percentile(answers, 99).Microseconds(), "max": answers[len(answers)-1].Microseconds(),
		}
	}
	if n := r.world.Arrivals.Duplicates(); n > 0 {
		r.warn("%d INVITEs reached a callee twice, as two transactions", n)
	}
}

// breaks takes into the round when phones noticed that their connections were gone.
func (r *round) breaks() {
	var after []float64
	for _, at := range r.handsets.stats.Breaks() {
		if at.After(r.faultAt) && (r.wholeAt.IsZero() || at.Before(r.wholeAt)) {
			after = append(after, r.sinceFault(at))
		}
	}
	if len(after) > 0 {
		slices.Sort(after)
		r.out.Breaks = &Breaks{Connections: len(after), P50MS: percentile(after, 50), MaxMS: after[len(after)-1]}
	}
}

// crashes takes processes that ended without the lab's doing into the round.
func (r *round) crashes() {
	for _, n := range r.cluster.nodes {
		for _, c := range n.Crashes() {
			if !slices.Contains(r.out.Warnings, c) {
				r.warn("%s", c)
			}
		}
	}
}

// excused tells whether a loss is no fault of the cluster's: a call that began while nobody could own an address. Calls that had begun
// before, and registrations, are on disk and count whatever happens.
func (r *round) excused(l scenario.Loss) bool {
	return r.trait.outage != "" && l.Kind == scenario.Setup && l.Begun.After(r.faultAt) && l.Begun.Before(r.wholeAt)
}

// percentile of sorted values, by nearest rank.
func percentile[T any](sorted []T, p int) T {
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// gaps takes probes and frames into the round.
func (r *round) gaps(samples [][]probe.Sample, frames []capture.Frame) {
	owners := map[netip.Addr]capture.VIPOwners{}
	for _, o := range capture.Owners(frames) {
		owners[o.VIP] = o
	}
	from := r.faultAt.Add(-leadIn)
	for i, vip := range r.vips {
		to := from
		if n := len(samples[i]); n > 0 {
			to = samples[i][n-1].Sent
		}
		g := probe.Measure(samples[i], from, to)
		o := owners[vip]
		v := VIPRound{
			VIP: vip.String(), Hit: slices.Contains(r.target.vips, vip), From: r.target.owners[vip],
			GapMS: milliseconds(g.Longest), GapStartMS: r.sinceFault(g.Start), ProbesSent: g.Sent, ProbesLost: g.Lost,
			ProbePauseMS: milliseconds(g.Pause), Owners: o.Max, Frames: o.Frames, Tenures: len(o.Tenures),
		}
		r.tenures(&v, o.Tenures)
		r.out.VIPs = append(r.out.VIPs, v)
		r.out.MaxSimultaneousOwners = max(r.out.MaxSimultaneousOwners, o.Max)
		if v.Hit || r.trait.none {
			r.out.VIPGapMS = max(r.out.VIPGapMS, v.GapMS)
		}
	}
	slices.SortStableFunc(r.out.VIPs, func(a, b VIPRound) int {
		switch {
		case a.Hit == b.Hit:
			return 0
		case a.Hit:
			return -1
		default:
			return 1
		}
	})
}

// tenures says who used the VIP when, relative to the fault.
func (r *round) tenures(v *VIPRound, all []capture.Tenure) {
	since := func(t time.Time) float64 { return milliseconds(t.Sub(r.faultAt.Round(0))) }
	var text []string
	if r.places == nil {
		r.places = map[string]string{}
	}
	for i, t := range all {
		name, first, last := r.nameOf(t.Sender), since(t.First), since(t.Last)
		text = append(text, fmt.Sprintf("%s %.1f…%.1f ms (%d frames)", name, first, last, t.Frames))
		switch {
		case v.Hit && name == v.From && first < 0:
			v.LastOldMS = last
		case v.Hit && v.To == "" && first > 0 && name != v.From:
			v.To, v.FirstNewMS = name, first
		case i > 0 && !r.trait.restless:
			r.moved(1, t.First, t.First, fmt.Sprintf("%s to %s at %+.1f ms", v.VIP, name, first))
		}
		r.places[v.VIP] = name
	}
	r.lookedAt = time.Now()
	v.Moved = v.To != ""
	v.TenuresDetail = strings.Join(text, "; ")
}

// moved takes moves into the round that no fault called for, at some time between two moments.
func (r *round) moved(n int, from, to time.Time, what string) {
	if n == 0 {
		return
	}
	if s, ok := r.stalls.explain(from, to); ok {
		r.out.MachineMoves += n
		r.warn("%d VIPs moved (%s) after this machine had stood still: %s, %.0f ms", n, what, s.What, s.MS)
		return
	}
	r.out.SpuriousMoves += n
	r.warn("%d VIPs moved (%s) without need", n, what)
}

func (r *round) countsLine() string {
	l := r.world.Ledger
	var parts []string
	for _, k := range []scenario.Kind{scenario.Established, scenario.Ringing, scenario.Cancelled, scenario.Setup} {
		c := l.Count(k)
		parts = append(parts, fmt.Sprintf("%s %d lost of %d", k, c.Lost, c.Total))
	}
	return strings.Join(parts, ", ")
}

// judge decides the verdict: no call and no acknowledged registration lost that could be held, no VIP with two owners, all of it
// measured without holes, and the cluster whole again.
func (r *round) judge() {
	o := &r.out
	for _, k := range o.Calls.kinds() {
		if lost := k.count.Lost - o.uncountedOf(k.name); lost > 0 {
			r.why("%d of %d %s calls were lost", lost, k.count.Total, k.name)
		}
	}
	if n := o.Registrations; n.Lost > 0 {
		r.why("%d of %d acknowledged registrations were lost", n.Lost, n.Acknowledged)
	}
	if o.Calls.Established.Total < r.o.Calls {
		r.why("only %d of %d calls could be placed", o.Calls.Established.Total, r.o.Calls)
	}
	if o.Registrations.Acknowledged < len(r.handsets.phones) {
		r.why("only %d of %d phones hold a registration", o.Registrations.Acknowledged, len(r.handsets.phones))
	}
	if r.trait.none && o.SpuriousMoves > 0 {
		r.why("%d VIP moves without need", o.SpuriousMoves)
	}
	if o.MaxSimultaneousOwners > 1 {
		r.why("a VIP had %d owners at one time", o.MaxSimultaneousOwners)
	}
	if o.MaxSimultaneousOwners == 0 && o.Capture.Missing == "" {
		r.why("no frame from any VIP was seen: nothing was measured")
	}
	if o.Capture.Dropped > 0 {
		r.why("the capture is incomplete: %d frames dropped, so owners are not proven", o.Capture.Dropped)
	}
	o.Verdict = VerdictPass
	if len(o.Why) > 0 {
		o.Verdict = VerdictFail
	}
}

// sum makes the drill's outcome of its rounds: counts added, times the worst.
func (rep *Report) sum() {
	rep.Verdict = VerdictPass
	var gaps []float64
	for i, r := range rep.Rounds {
		if r.Verdict != VerdictPass {
			rep.Verdict = VerdictFail
		}
		for _, w := range r.Why {
			rep.Why = append(rep.Why, fmt.Sprintf("round %d: %s", r.Number, w))
		}
		if i == 0 || r.VIPGapMS > rep.VIPGapMS {
			rep.VIPGapMS, rep.Node = r.VIPGapMS, r.Node
		}
		for _, u := range r.Uncounted {
			rep.uncounted(u.Kind, u.Lost, u.Why)
		}
		rep.MaxSimultaneousOwners = max(rep.MaxSimultaneousOwners, r.MaxSimultaneousOwners)
		rep.Calls.Established.add(r.Calls.Established)
		rep.Calls.Ringing.add(r.Calls.Ringing)
		rep.Calls.Cancelled.add(r.Calls.Cancelled)
		rep.Calls.Setup.add(r.Calls.Setup)
		rep.Calls.SetupOnBroken.add(r.Calls.SetupOnBroken)
		rep.Registrations.Acknowledged += r.Registrations.Acknowledged
		rep.Registrations.Lost += r.Registrations.Lost
		rep.Registrations.Unanswered += r.Registrations.Unanswered
		if r.RejoinS < 0 || rep.RejoinS < 0 {
			rep.RejoinS = -1
		} else {
			rep.RejoinS = max(rep.RejoinS, r.RejoinS)
		}
		for _, v := range r.VIPs {
			if v.Hit {
				gaps = append(gaps, v.GapMS)
			}
		}
	}
	if len(rep.Rounds) == 0 {
		rep.Verdict = VerdictFail
		rep.Why = append(rep.Why, "no round was run")
	}
	rep.byFault()
	rep.sumSoak()
	if len(gaps) > 0 {
		slices.Sort(gaps)
		rep.GapP50MS, rep.GapP99MS = percentile(gaps, 50), percentile(gaps, 99)
	}
}

func (c *Count) add(o Count) {
	c.Total += o.Total
	c.Lost += o.Lost
}

func join[T fmt.Stringer](items []T) string {
	var out []string
	for _, i := range items {
		out = append(out, i.String())
	}
	return strings.Join(out, ", ")
}
