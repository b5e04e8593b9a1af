package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdline/deploy/lab/netlab"
	"holdline/deploy/lab/probe"
)

const (
	nodes    = 3
	sipPort  = 5060
	askEvery = 10 * time.Millisecond // each VIP

	healthy = 30 * time.Second       // in which a cluster must be highly available again
	served  = 300 * time.Millisecond // the longest that a VIP may be silent
	frozen  = time.Second            // the same where a core stands still, which is noticed after half a second
)

// world is three boxes and a phone that asks their VIPs all the time.
type world struct {
	boxes []*box
	vips  []netip.AddrPort
	asked *probe.Probe
}

func boxAddr(n int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("10.77.0.1%d/24", n)) }
func vip(n int) netip.Prefix     { return netip.MustParsePrefix(fmt.Sprintf("10.77.0.10%d/24", n)) }

func run(ctx context.Context, deb, base, dir string) (err error) {
	lab, err := netlab.New()
	if err != nil {
		return err
	}
	w := &world{}
	defer func() { err = errors.Join(err, w.end(lab)) }()
	for n := 1; n <= nodes; n++ {
		b, err := newBox(ctx, lab, byte(n), boxAddr(n), base, deb, dir)
		if err != nil {
			return err
		}
		w.boxes, w.vips = append(w.boxes, b), append(w.vips, netip.AddrPortFrom(vip(n).Addr(), sipPort))
	}
	if err := w.steps(ctx, installation); err != nil {
		return err
	}
	if err := w.ask(ctx, lab); err != nil {
		return err
	}
	err = w.steps(ctx, drill)
	if _, stopErr := w.asked.Stop(); err != nil || stopErr != nil {
		return errors.Join(err, stopErr)
	}
	w.asked = nil
	return w.steps(ctx, removal)
}

func (w *world) steps(ctx context.Context, all []step) error {
	for _, s := range all {
		if err := w.step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// end ends the systems and takes the boxes away.
func (w *world) end(lab *netlab.Network) error {
	var errs []error
	for _, b := range w.boxes {
		if b.init != 0 {
			errs = append(errs, b.kill(), b.gone(context.Background()))
		}
	}
	lab.Close()
	return errors.Join(errs...)
}

// ask begins to ask every VIP, from a machine of its own, and returns when each has answered.
func (w *world) ask(ctx context.Context, lab *netlab.Network) error {
	phone, err := lab.AddBox("phone", 9, netip.MustParsePrefix("10.77.0.2/24"))
	if err != nil {
		return err
	}
	var conn *net.UDPConn
	err = phone.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 77, 0, 2)})
		return err
	})
	if err != nil {
		return err
	}
	var targets []probe.Target
	for _, v := range w.vips {
		targets = append(targets, probe.Target{VIP: v, Every: askEvery})
	}
	w.asked = probe.Start(conn, targets)
	return until(ctx, healthy, "an answer of each VIP", func() error {
		for i, v := range w.vips {
			if !slices.ContainsFunc(w.asked.Since(i, time.Time{}), func(s probe.Sample) bool { return !s.Answered.IsZero() }) {
				return fmt.Errorf("%v is silent", v)
			}
		}
		return nil
	})
}

// step does one thing, waits until all is well again, and says what it cost.
func (w *world) step(ctx context.Context, s step) error {
	start := time.Now()
	if err := s.do(ctx, w); err != nil {
		return fmt.Errorf("%s: %w", s.what, err)
	}
	if w.asked == nil {
		fmt.Printf("%-58s ok, %.1f s\n", s.what, time.Since(start).Seconds())
		return nil
	}
	if err := w.highlyAvailable(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.what, err)
	}
	time.Sleep(probe.Patience) // so that whatever is still silent counts
	var worst probe.Gap
	var of netip.Addr
	for i, v := range w.vips {
		if gap := probe.Measure(w.asked.Since(i, start), start, time.Now().Add(-probe.Patience)); gap.Longest > worst.Longest {
			worst, of = gap, v.Addr()
		}
	}
	fmt.Printf("%-58s ok, %.1f s; VIPs silent for %d ms at most (%v, after %.1f s; asked every %d ms or sooner)\n",
		s.what, time.Since(start).Seconds(), worst.Longest.Milliseconds(), of, worst.Start.Sub(start).Seconds(), worst.Pause.Milliseconds())
	if worst.Longest > s.silence {
		return fmt.Errorf("%s: %v was silent for %v, allowed are %v", s.what, of, worst.Longest, s.silence)
	}
	return nil
}

// highlyAvailable waits until each box that is a member says that the cluster survives the next fault, and no unit of any has failed.
func (w *world) highlyAvailable(ctx context.Context) error {
	for _, b := range w.boxes {
		err := until(ctx, healthy, b.name+" to say that all is well", func() error {
			if out, err := b.run(ctx, "holdline", "status"); err != nil {
				first, _, _ := strings.Cut(out, "\n")
				return errors.Join(err, errors.New(first))
			}
			return nil
		})
		if err != nil {
			return err
		}
		if out, err := b.run(ctx, "systemctl", "--failed", "--no-legend", "--plain"); err != nil || out != "" {
			return errors.Join(err, fmt.Errorf("%s: failed units: %s", b.name, out))
		}
	}
	return nil
}

// owner is the box that has a VIP on its card.
func (w *world) owner(ctx context.Context, n int) (*box, error) {
	for _, b := range w.boxes {
		out, err := b.run(ctx, "ip", "-4", "-o", "addr", "show", "to", vip(n).Addr().String())
		if err != nil {
			return nil, err
		}
		if out != "" {
			return b, nil
		}
	}
	return nil, fmt.Errorf("nobody has %v", vip(n))
}
