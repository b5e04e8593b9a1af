package vip

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fenceLab is a box whose fence covers 10.77.0.101 and fd77::101, and a second one that listens on the same wire.
func fenceLab(t testing.TB) (box *space, f *fence, out, in *wire) {
	t.Helper()
	l := newLAN(t, "a", "b")
	l.boxes["a"].do(t, func() (err error) {
		if f, err = openFence(); err != nil {
			return err
		}
		out, err = openWire("eth0")
		if err != nil {
			return err
		}
		return f.guard(fencedAddrs(), []string{"eth0"}, nil)
	})
	l.boxes["b"].do(t, func() (err error) {
		in, err = openWire("eth0")
		return err
	})
	t.Cleanup(func() {
		f.close()
		out.close()
		in.close()
	})
	return l.boxes["a"], f, out, in
}

func fencedAddrs() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("10.77.0.101"), netip.MustParseAddr("fd77::101")}
}

// The frames a fence must hold back, and those it must not.
func TestFenceDropsWhatIsNotHeld(t *testing.T) {
	_, f, out, in := fenceLab(t)
	vip4, vip6 := fencedAddrs()[0], fencedAddrs()[1]
	other4, other6 := netip.MustParseAddr("10.77.0.11"), netip.MustParseAddr("fd77::11")
	peer4, peer6 := netip.MustParseAddr("10.77.0.12"), netip.MustParseAddr("fd77::12")
	frames := map[string]struct {
		frame []byte
		free  bool // never fenced
	}{
		"IPv4 from the VIP":         {frame: udpFrame(out.mac, vip4, peer4, 1)},
		"IPv6 from the VIP":         {frame: udpFrame(out.mac, vip6, peer6, 2)},
		"gratuitous ARP request":    {frame: appendARP(nil, arpRequest, out.mac, vip4, macAddr{}, vip4)},
		"ARP reply":                 {frame: appendARP(nil, arpReply, out.mac, vip4, macAddr{2}, peer4)},
		"NA from the VIP":           {frame: appendNA(nil, out.mac, vip6)},
		"NA for the VIP from other": {frame: appendND(nil, ndAdvert, 0, out.mac, other6, peer6, vip6, true)},
		"IPv4 from another address": {frame: udpFrame(out.mac, other4, peer4, 3), free: true},
		"IPv6 from another address": {frame: udpFrame(out.mac, other6, peer6, 4), free: true},
		"ARP asking for the VIP":    {frame: appendARP(nil, arpRequest, out.mac, other4, macAddr{}, vip4), free: true},
		"NA for another address":    {frame: appendNA(nil, out.mac, other6), free: true},
	}
	check := func(t *testing.T, open bool) {
		for name, c := range frames {
			passed := out.crosses(t, in, c.frame)
			if want := open || c.free; passed != want {
				t.Errorf("%s: passed = %v, want %v", name, passed, want)
			}
		}
	}
	t.Run("closed", func(t *testing.T) { check(t, false) })
	if err := f.w.set(fencedAddrs(), time.Minute); err != nil {
		t.Fatal(err)
	}
	t.Run("held", func(t *testing.T) { check(t, true) })
	if err := f.w.del(fencedAddrs()); err != nil {
		t.Fatal(err)
	}
	t.Run("closed again", func(t *testing.T) { check(t, false) })
	if err := f.w.del(fencedAddrs()); err != nil {
		t.Errorf("closing a closed fence: %v", err)
	}
}

// The last frame leaves no later than the remaining lease after the renewal, and no more than three kernel ticks earlier:
// on both ways in which kernels take a new timeout.
func TestFenceEndsWithTheLease(t *testing.T) {
	for _, replace := range []bool{false, true} {
		name := map[bool]string{false: "update", true: "replace"}[replace]
		t.Run(name, func(t *testing.T) {
			_, f, out, in := fenceLab(t)
			if !replace && f.w.replace {
				t.Skip("this kernel does not update timeouts")
			}
			f.w.replace = replace
			vip := fencedAddrs()[:1]
			frame := udpFrame(out.mac, vip[0], netip.MustParseAddr("10.77.0.12"), 7)
			const lease = 60 * time.Millisecond
			var took, worst time.Duration
			var last, end time.Time
			const rounds = 20
			for range rounds {
				start := time.Now()
				if err := f.w.set(vip, lease); err != nil {
					t.Fatal(err)
				}
				d := time.Since(start)
				took += d
				worst = max(worst, d)
				end = start.Add(lease + d)
				for until := start.Add(10 * time.Millisecond); time.Now().Before(until); {
					passed := out.crosses(t, in, frame)
					if !passed && time.Since(start) < lease-3*tick {
						t.Fatalf("a live owner's frame was dropped %s after the renewal", time.Since(start))
					}
				}
			}
			for {
				sent := time.Now()
				if !out.crosses(t, in, frame) {
					break
				}
				if last = sent; last.After(end.Add(time.Second)) {
					t.Fatal("the fence does not close")
				}
			}
			early := end.Sub(last)
			t.Logf("renewal of %s: mean %s, worst %s; last frame %s before the end", lease, took/rounds, worst, early)
			if early < 0 {
				t.Errorf("a frame was sent %s after the lease, and left", -early)
			}
		})
	}
}

// tick is the coarsest kernel tick (100 Hz).
const tick = 10 * time.Millisecond

// Another configuration: what is fenced changes without a new table, and what is held stays open.
func TestFenceChange(t *testing.T) {
	_, f, out, in := fenceLab(t)
	peer := netip.MustParseAddr("10.77.0.12")
	first, second := fencedAddrs()[0], netip.MustParseAddr("10.77.0.102")
	if err := f.w.set([]netip.Addr{first}, time.Minute); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		vips          []netip.Addr
		first, second bool
	}{
		{[]netip.Addr{first}, true, true}, // the second is no VIP yet
		{[]netip.Addr{first, second}, true, false},
		{[]netip.Addr{second}, true, false}, // the first is no VIP any more
		{[]netip.Addr{}, true, true},
	} {
		if err := f.change(step.vips); err != nil {
			t.Fatal(err)
		}
		if got := out.crosses(t, in, udpFrame(out.mac, first, peer, byte(i))); got != step.first {
			t.Errorf("step %d: frame from %s passed: %v", i, first, got)
		}
		if got := out.crosses(t, in, udpFrame(out.mac, second, peer, byte(i))); got != step.second {
			t.Errorf("step %d: frame from %s passed: %v", i, second, got)
		}
	}
}

// A firewall reload ("nft flush ruleset") takes the table away: renewals say so, and a new table is as good.
func TestFenceFlushed(t *testing.T) {
	box, f, out, in := fenceLab(t)
	vip := fencedAddrs()[:1]
	frame := udpFrame(out.mac, vip[0], netip.MustParseAddr("10.77.0.12"), 7)
	box.do(t, f.remove)
	if err := f.w.set(vip, time.Second); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("renewal without a table: %v, want ENOENT", err)
	}
	if !out.crosses(t, in, frame) {
		t.Fatal("no fence, but the frame did not pass")
	}
	box.do(t, func() error { return f.install(nil) })
	if out.crosses(t, in, frame) {
		t.Fatal("the frame passed the new fence")
	}
}

func BenchmarkFenceRenew(b *testing.B) {
	_, f, _, _ := fenceLab(b)
	for _, replace := range []bool{false, true} {
		f.w.replace = replace
		b.Run(map[bool]string{false: "update", true: "replace"}[replace], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f.w.set(fencedAddrs()[:1], 60*time.Millisecond); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
