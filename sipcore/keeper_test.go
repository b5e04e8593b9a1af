package sipcore

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
)

// TestKeeperAlone steps a keeper by hand through 20 000 phones behind NATs, half of them each of two groups.
func TestKeeperAlone(t *testing.T) {
	const phones, interval = 20_000, 25 * time.Second
	l := &localLog{m: fsm.New()}
	c := keeperCore(t, l, phones)
	owners := c.opt.Owners.(ownersOf).owners
	k := &keeper{core: c, out: c.udp.NewSender(), held: map[uint32]uint64{}}
	now := int64(time.Hour)
	most, widest := uint64(0), time.Duration(0)
	run := func(d time.Duration) (sent, skipped uint64) {
		t.Helper()
		most, widest = 0, 0
		before, beforeSkipped := c.alive.sent.Load(), c.alive.skipped.Load()
		v := c.currentView()
		for end := now + int64(d); now < end; {
			was := c.alive.sent.Load()
			wait := k.step(v, now+int64(time.Minute), now)
			most, widest = max(most, c.alive.sent.Load()-was), max(widest, wait)
			now += int64(wait)
		}
		return c.alive.sent.Load() - before, c.alive.skipped.Load() - beforeSkipped
	}
	about := func(what string, got uint64, want float64) {
		t.Helper()
		if float64(got) < 0.96*want || float64(got) > 1.04*want {
			t.Errorf("%s: %d, want about %.0f", what, got, want)
		}
	}
	run(interval) // what begins is gone over again a little
	sent, skipped := run(interval)
	about("sent", sent, phones/2)
	about("skipped", skipped, phones/2)
	if most > 4*keepAtOnce || widest != keepAtOnce*interval/phones {
		t.Errorf("%d at once, %v between ticks", most, widest)
	}

	owners.owner[2], owners.epoch[2] = 1, 7 // taken over: all of its phones from here on, and those of the last 5 s
	sent, skipped = run(keepAgainIn)
	about("sent at first", sent, float64(phones)*float64(keepAgainIn)/float64(interval)+phones/2*float64(keepAgain)/float64(interval))
	if most > 4*keepAtOnce || skipped > 0 {
		t.Errorf("%d at once after the takeover; %d skipped", most, skipped)
	}
	sent, _ = run(interval)
	about("sent then", sent, phones)

	now += int64(time.Minute) // the process has stood still
	run(time.Second)
	if most > phones/uint64(interval/time.Second) {
		t.Errorf("%d at once after a minute", most)
	}

	owners.owner[1], owners.owner[2] = 2, 2
	if sent, _ := run(interval); sent > 0 {
		t.Errorf("%d sent without a lease", sent)
	}
	owners.owner[1] = 1
	l.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: SettingKeepalive, Value: KeepaliveOff}}})
	if sent, skipped := run(interval); sent+skipped > 0 {
		t.Errorf("off: %d sent, %d skipped", sent, skipped)
	}
}

// keepAgainIn is more than it takes a new owner to go over the last 5 s again, at twice the pace.
const keepAgainIn = 3 * time.Second

// keeperCore is as much of a core as a keeper needs, of the node that owns the first of two groups, and without sockets.
func keeperCore(t *testing.T, l *localLog, phones int) *Core {
	t.Helper()
	c := &Core{
		opt: Options{Machine: l.m, Owners: ownersOf{&owners{owner: map[uint32]uint32{1: 1, 2: 2}, epoch: map[uint32]uint64{1: 1, 2: 6}}, 1}},
		log: slog.New(slog.DiscardHandler), ctx: t.Context(), fallback: make([]byte, 32),
		groups: []Group{{Number: 1, VIPs: []VIP{{Addr: netip.MustParseAddr("127.0.0.101")}}}, {Number: 2, VIPs: []VIP{{Addr: netip.MustParseAddr("127.0.0.102")}}}},
	}
	var err error
	if c.udp, err = transport.NewUDP(transport.Options{Readers: 1, Handler: func(*transport.Sender, []transport.Packet) {}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.udp.Close() })
	l.apply(&pb.Command{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: "example.com"}}}})
	node := &pb.Node{Uuid: "11111111-1111-1111-1111-111111111111", Name: "n1", Listen: "127.0.0.1:7700", PublicKey: make([]byte, 32), Voter: true}
	l.apply(&pb.Command{Op: &pb.Command_PutNode{PutNode: &pb.PutNode{Node: node}}})
	for _, g := range c.groups {
		vips := []*pb.Vip{{Prefix: g.VIPs[0].Addr.String() + "/8"}}
		l.apply(&pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: &pb.Group{Name: fmt.Sprint("g", g.Number), Vips: vips, HomeNode: node.Uuid}}}})
	}
	for i := range phones {
		aor := fmt.Sprintf("4930%07d@example.com", i)
		l.apply(&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: aor, Ha1Md5: make([]byte, 16)}}}})
		flow := fsm.Flow{Group: uint32(1 + i%2), Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 40000)}
		r := l.apply(&pb.Command{Op: &pb.Command_Register{Register: &pb.Register{
			Aor: aor, CallId: "c", Cseq: 1, Txn: []byte("t"), Group: flow.Group, Epoch: 1,
			Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: &pb.Binding{Contact: "sip:1@192.168.1.20", Q: 1000, Flow: flow.PB()}}},
		}}})
		if r.Code != pb.Code_OK {
			t.Fatal(r)
		}
	}
	c.newView(l.m.Config())
	return c
}
