package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
)

// register returns when every phone has a 200, and keeps them registered until the test ends.
func register(t *testing.T, k *Keeper) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { k.Run(ctx, 1, 0, first) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	<-first
	if n := len(k.Acknowledged()); n != len(k.Phones) {
		t.Fatalf("%d of %d phones registered: %v", n, len(k.Phones), k.Refusals())
	}
}

// quick brings a plan's times down to what a test has.
func quick(p Plan) Plan {
	p.Ring, p.Hold, p.Hangup.At = p.Ring/20, p.Hold/20, p.Hangup.At/20
	for i := range p.Middle {
		p.Middle[i].At /= 20
	}
	return p
}

func playAll(t *testing.T, w *World, plans []Plan) {
	t.Helper()
	var ready sync.WaitGroup
	for _, p := range plans {
		ready.Add(1)
		w.Play(t.Context(), quick(p), ready.Done)
	}
	ready.Wait()
	w.SetFault(time.Now().Add(20 * time.Millisecond))
	w.Wait()
}

func TestNothingIsLostThroughAHealthyProxy(t *testing.T) {
	w, _, planner, k := town(t, 8, 10*time.Second)
	register(t, k)
	var plans []Plan
	for range 15 {
		for _, kind := range []Kind{Established, Ringing, Cancelled, Setup} {
			plans = append(plans, planner.Plan(kind))
		}
	}
	playAll(t, w, plans)
	for _, kind := range []Kind{Established, Ringing, Cancelled, Setup} {
		if c := w.Ledger.Count(kind); c != (Count{Total: 15}) {
			t.Errorf("%s: %+v; want 15, none lost", kind, c)
		}
	}
	for _, l := range w.Ledger.Losses() {
		t.Errorf("%s %s: %v (%s)", l.Kind, l.ID, &l.Missing, l.Route)
	}
	if n := len(w.Ledger.Answers()); n != 15 {
		t.Errorf("%d answer times; want 15", n)
	}
	if lost := Unreachable(t.Context(), w.Gateway, w.Phones, []netip.AddrPort{w.Gateway.Proxy}, 10*time.Second); len(lost) != 0 {
		t.Errorf("not reached: %v", lost)
	}
}

// Each message that a proxy swallows for good must cost the call, with the right reason.
func TestLossIsSeen(t *testing.T) {
	for _, tt := range []struct {
		kind   Kind
		middle sip.RequestMethod
		lose   string // start of the messages that get lost
		want   string // who awaits what
	}{
		{Setup, "", "INVITE ", "callee awaited INVITE in vain"},
		{Setup, "", "SIP/2.0 180", "caller awaited 180 in vain"},
		{Setup, "", "SIP/2.0 200", "caller awaited 200 to INVITE in vain"},
		{Setup, "", "ACK ", "callee awaited ACK in vain"},
		{Setup, "", "BYE ", "awaited BYE in vain"},
		{Ringing, "", "SIP/2.0 200", "caller awaited 200 to INVITE in vain"},
		{Cancelled, "", "CANCEL ", "in vain"},
		{Cancelled, "", "SIP/2.0 487", "caller awaited 487 to INVITE in vain"},
		{Cancelled, "", "SIP/2.0 200", "caller awaited 200 to CANCEL in vain"},
		{Cancelled, "", "ACK ", "callee awaited ACK to 487 in vain"},
		{Established, sip.INFO, "INFO ", "awaited INFO in vain"},
		{Established, sip.INVITE, "ACK sip:", "awaited ACK to re-INVITE in vain"},
	} {
		t.Run(string(tt.kind)+" without "+tt.lose, func(t *testing.T) {
			t.Parallel()
			w, p, planner, k := town(t, 4, 300*time.Millisecond)
			register(t, k)
			plan := planner.Plan(tt.kind)
			if tt.middle != "" {
				plan.Middle = []Step{{0, tt.middle, false}, {0, tt.middle, true}}
			}
			ready := make(chan struct{})
			if tt.kind == Setup {
				p.losing(func(start string) bool { return strings.HasPrefix(start, tt.lose) })
			}
			w.Play(t.Context(), quick(plan), func() { close(ready) })
			<-ready
			p.losing(func(start string) bool { return strings.HasPrefix(start, tt.lose) })
			w.SetFault(time.Now())
			w.Wait()
			losses := w.Ledger.Losses()
			if c := w.Ledger.Count(tt.kind); c != (Count{1, 1}) || len(losses) != 1 {
				t.Fatalf("%+v, %v; want one call, lost", c, losses)
			}
			got := strings.NewReplacer(" "+plan.Caller.User, "", " "+plan.Callee.User, "").Replace(losses[0].Error())
			if !strings.Contains(got, tt.want) {
				t.Errorf("reason %q; want %q", got, tt.want)
			}
		})
	}
}

func TestRefusalIsTheReason(t *testing.T) {
	w, _, planner, _ := town(t, 2, time.Second)
	plan := planner.Plan(Setup)
	plan.Caller, plan.Callee, plan.Dial = w.Phones[0], w.Phones[1], "u1"
	w.Gateway.Handle(func(s *phone.Server) { s.Respond(503, "Service Unavailable") }) // u1 has not registered: the stand-in asks the gateway
	w.Play(t.Context(), plan, nil)
	w.Wait()
	if l := w.Ledger.Losses(); len(l) != 1 || l[0].Got != "503 Service Unavailable" {
		t.Errorf("losses %+v; want one for 503", l)
	}
}

func TestBrokenOffCallsAreNoLosses(t *testing.T) {
	w, _, planner, k := town(t, 4, 10*time.Second)
	register(t, k)
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	w.Play(ctx, planner.Plan(Established), func() { close(ready) })
	<-ready
	cancel()
	w.Wait()
	if c := w.Ledger.Count(Established); c != (Count{}) {
		t.Errorf("%+v; want none counted", c)
	}
}

// A call that waits for a person rings on and on: one after the other, and only the last of them counts as what it is.
func TestCallsThatWaitAreRenewed(t *testing.T) {
	w, _, planner, k := town(t, 4, 10*time.Second)
	w.Renew = 20 * time.Millisecond
	register(t, k)
	for _, kind := range []Kind{Ringing, Cancelled} {
		w.Play(t.Context(), quick(planner.Plan(kind)), nil)
	}
	for end := time.Now().Add(10 * time.Second); w.Ledger.Count(Setup).Total < 6; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v set-ups of calls that waited; want more", w.Ledger.Count(Setup))
		}
	}
	w.SetFault(time.Now())
	w.Wait()
	for _, kind := range []Kind{Ringing, Cancelled} {
		if c := w.Ledger.Count(kind); c.Total > 1 || c.Lost != 0 {
			t.Errorf("%s: %+v; want the last one", kind, c)
		}
	}
	if c := w.Ledger.Count(Setup); c.Lost != 0 {
		t.Errorf("%+v, %v", c, w.Ledger.Losses())
	}
}

// A call that is broken off politely is ended at both sides, whatever its state.
func TestPoliteCallsAreEnded(t *testing.T) {
	for _, kind := range []Kind{Established, Ringing} {
		t.Run(string(kind), func(t *testing.T) {
			w, p, planner, k := town(t, 4, 10*time.Second)
			w.Polite = true
			register(t, k)
			ended := make(chan struct{}, 10)
			ctx, cancel := context.WithCancel(t.Context())
			ready := make(chan struct{})
			w.Play(ctx, planner.Plan(kind), func() { close(ready) })
			<-ready
			want := map[Kind]string{Established: "BYE ", Ringing: "SIP/2.0 480"}[kind]
			p.losing(func(start string) bool {
				if strings.HasPrefix(start, want) {
					ended <- struct{}{}
				}
				return false
			})
			cancel()
			w.Wait()
			if len(ended) == 0 {
				t.Errorf("no %s", want)
			}
			if c := w.Ledger.Count(kind); c != (Count{}) {
				t.Errorf("%+v; want none counted", c)
			}
		})
	}
}

func TestSeedFixesThePlans(t *testing.T) {
	make := func(seed uint64) []string {
		var phones []*phone.Phone
		for i := range 10 {
			phones = append(phones, &phone.Phone{User: fmt.Sprintf("u%d", i), Proxy: netip.MustParseAddrPort("10.77.0.101:5060")})
		}
		planner := NewPlanner(seed, phones, &phone.Phone{User: "gw"}, []netip.AddrPort{netip.MustParseAddrPort("10.77.0.102:5060")})
		var out []string
		for range 50 {
			p := planner.Plan(Established)
			if p.Caller == p.Callee {
				t.Fatal("a phone calls itself")
			}
			out = append(out, fmt.Sprint(p.Caller.User, p.Callee.User, p.Dial, p.Via, p.Middle, p.Hangup))
		}
		return out
	}
	if !reflect.DeepEqual(make(7), make(7)) {
		t.Error("one seed, two plans")
	}
	if reflect.DeepEqual(make(7), make(8)) {
		t.Error("two seeds, one plan")
	}
}
