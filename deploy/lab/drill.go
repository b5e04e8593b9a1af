package lab

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"holdline/deploy/lab/scenario"
	"holdline/deploy/lab/userns"
)

// Registrations of the drill's phones.
const (
	registerEvery  = 8 * time.Second
	registerFor    = 5 * time.Minute
	registerSpread = time.Second // the first of all phones
)

// Drill builds the lab, runs Options.Repeat rounds of the fault on one cluster, and removes everything again, also when
// ctx ends. Progress lines for a person go to progress. An error means that the drill could not
// be carried out to its end; the Report is then Partial, or empty if nothing was done yet. A drill that was carried out and failed is
// a Report whose Verdict is VerdictFail.
//
// Without root it runs itself again in a user namespace: the same command line, in a child process whose progress and
// report come back here.
func Drill(ctx context.Context, o Options, progress io.Writer) (Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Report{}, err
	}
	if o.Binary == "" {
		if o.Binary, err = os.Executable(); err != nil {
			return Report{}, fmt.Errorf("find the program to test: %w; name it", err)
		}
	}
	if isChild() {
		return asChild(func(progress io.Writer) (Report, error) { return carryOut(ctx, o, progress) })
	}
	if !userns.Inside() && !userns.Capable() {
		return inChild(ctx, progress)
	}
	return carryOut(ctx, o, progress)
}

// carryOut runs the drill in this process.
func carryOut(ctx context.Context, o Options, progress io.Writer) (rep Report, err error) {
	begin := time.Now()
	dir, err := os.MkdirTemp(o.TempDir, "holdline-drill-")
	if err != nil {
		return rep, fmt.Errorf("make a directory for the drill: %w; set TMPDIR to one that you may write to", err)
	}
	rep = Report{Seed: o.Seed, Nodes: o.Nodes, CPS: max(0, o.CPS), Transport: o.Transport, PatienceS: o.Patience.Seconds(), Outcome: Outcome{Fault: o.Fault, Verdict: VerdictFail}}
	d := &drill{o: o, say: sayer(progress, begin)}
	err = d.carryOut(ctx, dir, &rep)
	rep.Seconds = time.Since(begin).Seconds()
	if err == nil && rep.Passed() && !o.Keep {
		return rep, os.RemoveAll(dir)
	}
	failed := rep.failed()
	if err != nil {
		rep.partial()
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("the drill was broken off: %w", ctx.Err())
		if !failed && !o.Keep { // nothing to look into
			return rep, errors.Join(err, os.RemoveAll(dir))
		}
	}
	rep.LogDir = dir
	if err != nil {
		return rep, fmt.Errorf("%w; logs are in %s", err, dir)
	}
	return rep, nil
}

// sayer writes lines with the seconds since the beginning.
func sayer(w io.Writer, begin time.Time) func(format string, args ...any) {
	var saying sync.Mutex
	return func(format string, args ...any) {
		saying.Lock()
		defer saying.Unlock()
		fmt.Fprintf(w, "%6.1f s  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
}

func (d *drill) carryOut(ctx context.Context, dir string, rep *Report) (err error) {
	if rep.Machine, err = thisMachine(d.o, dir); err != nil {
		return err
	}
	if rep.Machine.UserNS {
		d.say("in a user namespace: the guard has no real-time priority here, so a busy machine may move a VIP needlessly")
	}
	if d.cluster, err = buildCluster(d.o, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.cluster.close()) }()
	if d.o.Suite != "" {
		return d.runSuite(ctx, dir, rep)
	}
	d.say("%d boxes on a switch; starting serve on each, then init and join", d.o.Nodes)
	if err := d.cluster.form(ctx); err != nil {
		return err
	}
	people := users(d.o.Phones)
	if err := d.cluster.provision(ctx, people); err != nil {
		return err
	}
	if err := d.bounded(ctx, rejoinTime, func(ctx context.Context) error { return d.cluster.awaitHA(ctx, d.cluster.nodes) }); err != nil {
		return fmt.Errorf("the cluster did not become highly available: %w", err)
	}
	if rep.Machine.GuardPolicy, err = d.cluster.nodes[0].GuardScheduling(); err != nil {
		return err
	}
	d.say("highly available, with %d users; registering their phones", len(people))
	var roots *x509.CertPool
	if d.o.Transport == TransportTLS || d.o.Transport == TransportMixed {
		if roots, err = d.cluster.secure(ctx, dir); err != nil {
			return err
		}
	}
	if d.handsets, err = newHandsets(d.cluster.phones, people, d.cluster.vips, d.o, roots); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.handsets.close()) }()
	stop, err := d.register(ctx)
	defer stop()
	if err != nil {
		return err
	}
	if d.o.Soak > 0 {
		rep.Soak = &Soak{Seconds: d.o.Soak.Seconds()}
		if _, err := d.cluster.nodes[0].CLI(ctx, "", "setting", "set", "cdr.max-rows", soakCDRs); err != nil {
			return err
		}
		var cool func()
		rep.Soak.Burners, cool = burn()
		defer cool()
		if d.stalls, err = startStalls(d.o.Binary, dir); err != nil {
			return err
		}
		defer func() {
			err = errors.Join(err, d.stalls.stop())
		}()
	}
	err = d.rounds(ctx, rep)
	if rep.Soak != nil {
		rep.Soak.Stalls, rep.Soak.Blind = d.stalls.told()
	}
	if len(rep.Rounds) > 0 {
		rep.sum()
	}
	if n := d.handsets.stats.Unparsed.Load(); n > 0 {
		d.say("the phones could not read %d of the messages that came", n)
	}
	return err
}

// rounds runs them, all on one cluster.
func (d *drill) rounds(ctx context.Context, rep *Report) error {
	for n := range d.o.Repeat {
		r, err := d.round(ctx, n+1)
		if err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		rep.Rounds = append(rep.Rounds, r)
		if rep.Soak != nil {
			if err := rep.Soak.weigh(d.cluster.nodes); err != nil {
				return err
			}
		}
		d.say("round %d: %s, VIP gap %.1f ms", r.Number, r.Verdict, r.VIPGapMS)
		for _, why := range r.Why {
			d.say("        %s", why)
		}
		if r.RejoinS < 0 {
			break // there is no cluster to go on with
		}
	}
	return nil
}

// register registers every phone and keeps them registered until stop is called.
func (d *drill) register(ctx context.Context) (stop func(), err error) {
	d.keeper = &scenario.Keeper{Phones: d.handsets.phones, Every: registerEvery, Expires: registerFor, Patience: d.o.Patience}
	keep, cancel := context.WithCancel(ctx)
	first := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { d.keeper.Run(keep, d.o.Seed, registerSpread, first) })
	stop = func() {
		cancel()
		all.Wait()
	}
	<-first
	if err := ctx.Err(); err != nil {
		return stop, err
	}
	if n := len(d.keeper.Acknowledged()); n < len(d.handsets.phones) {
		return stop, fmt.Errorf("only %d of %d phones could register (%d without answer, refusals %v)",
			n, len(d.handsets.phones), d.keeper.Unanswered(), d.keeper.Refusals())
	}
	return stop, nil
}
