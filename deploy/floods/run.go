package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

type options struct {
	binary, dir string
	length      time.Duration // of each flood
	steady      time.Duration // until a node under load has as many ended calls to remember as go away; see steadyAfter
	memory      int64         // bytes that the node is told that it has
	phones      int           // of the avalanche
	said        io.Writer
}

const (
	politeRate = 20  // calls a second
	inLoop     = 400 // calls at a time when the peak is measured: with 100 the node waits for the callers
)

// steadyAfter is how long the node is to be loaded before its peak means something: what has ended is remembered for 64*T1 (RFC 3261 §17), and costs memory
// and its collection as long.
const steadyAfter = 35 * time.Second

// row is one flood of the report.
type row struct {
	Flood       string  `json:"flood"`
	What        string  `json:"what"`
	Amount      int64   `json:"amount"` // sent or opened
	Seconds     float64 `json:"seconds"`
	Polite      int     `json:"polite_calls"`
	PoliteOK    int     `json:"polite_completed"`
	PoliteBusy  int     `json:"polite_refused"`
	P50         float64 `json:"polite_answer_p50_ms"`
	P99         float64 `json:"polite_answer_p99_ms"`
	RSS         int64   `json:"rss_max_bytes"`
	Heap        int64   `json:"live_heap_bytes"`
	KernelDrops float64 `json:"kernel_drops"`
}

type report struct {
	Peak       float64 `json:"peak_calls_per_second"` // before the flood
	PeakAfter  float64 `json:"peak_after"`
	Offered    float64 `json:"overload_offered_per_second"`
	Goodput    float64 `json:"overload_completed_per_second"`
	Refused    float64 `json:"overload_refused_per_second"`
	Failed     int     `json:"overload_failed"`
	Lag        float64 `json:"overload_caller_lag_ms"` // how far the caller itself was behind
	Phones     int     `json:"avalanche_phones"`
	Registered int     `json:"avalanche_registered"`
	Busy       int     `json:"avalanche_sent_away"`
	Avalanche  float64 `json:"avalanche_seconds"`
	Rows       []row   `json:"rows"`
}

// Floods of calls and registrations that are as good as any other: who is polite is one among many, and may be turned away.
const (
	twicePeak   = "2 x peak"
	allRegister = "avalanche"
	longOnes    = "long calls"
)

// bench is a run under way.
type bench struct {
	o      options
	l      *lab
	caller *caller
	polite *caller
	r      report
}

func run(ctx context.Context, o options) (*report, error) {
	generous()
	l, err := newLab(ctx, o.binary, o.dir, o.memory)
	if err != nil {
		return nil, err
	}
	defer l.net.Close()
	if err := l.configure(ctx, o.phones); err != nil {
		return nil, err
	}
	b := &bench{o: o, l: l}
	if err := b.peers(ctx); err != nil {
		return nil, err
	}
	defer b.caller.conn.Close()
	defer b.polite.conn.Close()
	if err := b.rounds(ctx); err != nil {
		return nil, err
	}
	return &b.r, l.alive()
}

// peers opens the sockets of gateway and callers and waits until a call goes through.
func (b *bench) peers(ctx context.Context) error {
	gw, err := b.l.udp(gatewayAddr, 5060)
	if err != nil {
		return err
	}
	go gateway(gw) // until the namespace is closed
	context.AfterFunc(ctx, func() { _ = gw.Close() })
	open := func(addr, name string) (*caller, error) {
		conn, err := b.l.udp(addr, 0)
		if err != nil {
			return nil, err
		}
		return newCaller(conn, b.l.vip(5060), name, "100@"+domain), nil
	}
	if b.caller, err = open(callerAddr, "flood"); err != nil {
		return err
	}
	if b.polite, err = open(politeAddr, "polite"); err != nil {
		return err
	}
	return until(ctx, 20*time.Second, func() error {
		if o := b.calls(ctx, 200*time.Millisecond, b.polite, politeRate); o.Completed == 0 {
			return fmt.Errorf("no call goes through the node, its log is in %s: %+v", b.l.dir, o)
		}
		return nil
	})
}

// calls makes calls at a rate for some time, and waits for them.
func (b *bench) calls(ctx context.Context, d time.Duration, c *caller, rate float64) outcome {
	short, cancel := context.WithTimeout(ctx, d)
	c.open(short, rate)
	cancel()
	drain, cancel := context.WithTimeout(ctx, giveUp+time.Second)
	defer cancel()
	c.drain(drain)
	return c.take()
}

func (b *bench) rounds(ctx context.Context) error {
	steps := []func(context.Context) error{
		func(ctx context.Context) error {
			return b.during(ctx, "none", "before", func(ctx context.Context) (int64, error) { <-ctx.Done(); return 0, nil })
		},
		func(ctx context.Context) error { return b.fill(ctx) },
		func(ctx context.Context) error { return b.peak(ctx, &b.r.Peak) },
		b.overload,
		func(ctx context.Context) error { return b.peak(ctx, &b.r.PeakAfter) },
	}
	for _, f := range floods() {
		steps = append(steps, func(ctx context.Context) error {
			return b.during(ctx, f.name, f.what, func(ctx context.Context) (int64, error) { return f.run(ctx, b.l) })
		})
	}
	steps = append(steps, b.avalanche, func(ctx context.Context) error {
		return b.during(ctx, "none", "after", func(ctx context.Context) (int64, error) { <-ctx.Done(); return 0, nil })
	}, func(ctx context.Context) error { // the last: they ring for minutes
		return b.during(ctx, longOnes, "INVITEs of 40 KB from a trusted caller that only ring, 1 000/s", func(ctx context.Context) (int64, error) { return longCalls(ctx, b.l) })
	})
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
		if err := b.l.alive(); err != nil {
			return err
		}
	}
	say(b.o.said, "goodput at 2 x peak: %.0f calls/s of %.0f (%.0f %%), offered %.0f/s, refused %.0f/s, failed %d, caller %.0f ms behind",
		b.r.Goodput, b.r.Peak, 100*b.r.Goodput/b.r.Peak, b.r.Offered, b.r.Refused, b.r.Failed, b.r.Lag)
	return nil
}

// fill loads the node until as much ends as is forgotten.
func (b *bench) fill(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, b.o.steady)
	defer cancel()
	b.caller.closed(short, inLoop)
	b.settle(ctx)
	return ctx.Err()
}

// peak measures what the node can do: calls a second with a fixed number under way.
func (b *bench) peak(ctx context.Context, to *float64) error {
	short, cancel := context.WithTimeout(ctx, b.o.length)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { b.caller.closed(short, inLoop) })
	sleep(short, b.o.length/4) // until it runs evenly
	b.caller.take()
	start := time.Now()
	<-short.Done()
	*to = float64(b.caller.take().Completed) / time.Since(start).Seconds()
	all.Wait()
	b.settle(ctx)
	say(b.o.said, "peak: %.0f calls/s", *to)
	return ctx.Err()
}

// settle waits for the calls under way and forgets what becomes of them.
func (b *bench) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, giveUp+time.Second)
	defer cancel()
	b.caller.drain(ctx)
	b.caller.take()
}

// overload offers twice the peak. What counts is when the node has found its way.
func (b *bench) overload(ctx context.Context) error {
	rate := 2 * b.r.Peak
	var o outcome
	err := b.during(ctx, twicePeak, "calls of a trusted caller, twice as many as the node can serve", func(ctx context.Context) (int64, error) {
		var all sync.WaitGroup
		all.Go(func() { b.caller.open(ctx, rate) })
		sleep(ctx, b.o.length/3)
		first := b.caller.take()
		start := time.Now()
		<-ctx.Done()
		o = b.caller.take()
		s := time.Since(start).Seconds()
		b.r.Offered, b.r.Goodput, b.r.Refused, b.r.Failed = float64(o.Started)/s, float64(o.Completed)/s, float64(o.Refused)/s, o.Failed
		b.r.Lag = ms(o.lag())
		all.Wait()
		return int64(first.Started + o.Started), nil
	})
	b.settle(ctx)
	return err
}

// avalanche lets all phones register at once.
func (b *bench) avalanche(ctx context.Context) error {
	conn, err := b.l.udp(phoneAddr, 0)
	if err != nil {
		return err
	}
	defer conn.Close()
	b.r.Phones = b.o.phones
	return b.during(ctx, allRegister, strconv.Itoa(b.o.phones)+" phones register with digest at once", func(fctx context.Context) (int64, error) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(ctx, 60*time.Second) // those sent away come back within 35 s
		defer cancel()
		b.r.Registered, b.r.Busy = register(ctx, conn, b.l.vip(5060), b.o.phones)
		b.r.Avalanche = time.Since(start).Seconds()
		<-fctx.Done()
		return int64(b.r.Registered), nil
	})
}

// during runs a flood and, all the while, polite calls.
func (b *bench) during(ctx context.Context, name, what string, flood func(context.Context) (int64, error)) error {
	before, err := b.l.metrics(ctx)
	if err != nil {
		return err
	}
	fctx, stop := context.WithTimeout(ctx, b.o.length)
	defer stop()
	x := row{Flood: name, What: what}
	start := time.Now()
	var all sync.WaitGroup
	var ended atomic.Bool
	pctx, enough := context.WithCancel(ctx)
	defer enough()
	var ferr, merr error
	all.Go(func() { x.Amount, ferr = flood(fctx); ended.Store(true); enough() })
	all.Go(func() {
		for !ended.Load() {
			n, err := b.l.rss()
			if err != nil {
				merr = err
				return
			}
			x.RSS = max(x.RSS, n)
			sleep(pctx, 100*time.Millisecond)
		}
	})
	b.polite.open(pctx, politeRate)
	all.Wait()
	drain, cancel := context.WithTimeout(ctx, giveUp+time.Second)
	b.polite.drain(drain)
	cancel()
	x.Seconds = time.Since(start).Seconds()
	o := b.polite.take()
	x.Polite, x.PoliteOK, x.PoliteBusy = o.Started, o.Completed, o.Refused
	x.P50, x.P99 = ms(o.percentile(0.5)), ms(o.percentile(0.99))
	for _, err := range []error{ferr, merr, ctx.Err()} {
		if err != nil {
			return fmt.Errorf("flood %s: %w", name, err)
		}
	}
	after, err := b.l.metrics(ctx)
	if err != nil {
		return err
	}
	x.Heap, x.KernelDrops = int64(after["go_memstats_heap_alloc_bytes"]), after["holdline_sip_udp_kernel_drops_total"]-before["holdline_sip_udp_kernel_drops_total"]
	b.r.Rows = append(b.r.Rows, x)
	say(b.o.said, "%-16s %8d  polite %d/%d, refused %d, answer p50 %.1f p99 %.1f ms, RSS %d MiB, heap %d MiB, kernel drops %.0f",
		name, x.Amount, x.PoliteOK, x.Polite, x.PoliteBusy, x.P50, x.P99, x.RSS>>20, x.Heap>>20, x.KernelDrops)
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
