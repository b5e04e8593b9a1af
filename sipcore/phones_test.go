package sipcore

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"

	"holdline/deploy/lab/phone"
	"holdline/domains"
	"holdline/fsm/pb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newPhone makes a phone on sipgo's messages, another SIP stack than ours, with an account in the lab.
func (l *lab) newPhone(user string, proxy netip.AddrPort) (*phone.Phone, chan *phone.Server) {
	l.t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		l.t.Fatal(err)
	}
	return l.newPhoneOn(conn, user, proxy)
}

// newPhoneOn makes one on a socket, which it closes.
func (l *lab) newPhoneOn(conn phone.Conn, user string, proxy netip.AddrPort) (*phone.Phone, chan *phone.Server) {
	l.t.Helper()
	md5, sha := domains.HA1(user, "example.com", "secret-"+user)
	l.ok(&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{
		Aor: user + "@example.com", Ha1Md5: md5[:], Ha1Sha256: sha[:],
	}}}})
	e := phone.NewEndpoint(conn, &phone.Stats{})
	l.t.Cleanup(func() { _ = e.Close() })
	arrived := make(chan *phone.Server, 16)
	e.Handle(func(s *phone.Server) { arrived <- s })
	return phone.NewPhone(e, user, "example.com", "secret-"+user, proxy), arrived
}

func (l *lab) vip(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(101 + i)}), l.port)
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestPhones: two phones register with digest over different VIPs, call, exchange requests both ways and hang up; a
// second call is cancelled.
func TestPhones(t *testing.T) {
	for name, nodes := range map[string]int{"one node": 1, "two nodes": 2} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, nodes)
			ctx := within(t)
			alice, _ := l.newPhone("alice", l.vip(0))
			bob, arrived := l.newPhone("bob", l.vip(nodes-1))
			for _, p := range []*phone.Phone{alice, bob} {
				if res := must[*sip.Response](t)(p.Register(ctx, time.Hour)); res.StatusCode != 200 || res.Contact() == nil {
					t.Fatalf("REGISTER: %v", res)
				}
			}
			talk(t, ctx, l, alice, bob, arrived)
			cancelled(t, ctx, l, alice, bob, arrived)
		})
	}
}

// TestPhoneByAlias: a phone that is called by its user's number, on a node that it has not registered with, rings; and it may call by that number.
func TestPhoneByAlias(t *testing.T) {
	l := newLab(t, 2)
	ctx := within(t)
	alice, calls := l.newPhone("alice", l.vip(0))
	bob, arrived := l.newPhone("bob", l.vip(1))
	for _, p := range []*phone.Phone{alice, bob} {
		must[*sip.Response](t)(p.Register(ctx, time.Hour))
	}
	l.ok(&pb.Command{Op: &pb.Command_ChangeUser{ChangeUser: &pb.ChangeUser{Aor: "bob@example.com", AddAliases: []string{"+4930123456"}}}})
	go func() {
		s := <-arrived
		s.Respond(200, "OK")
	}()
	_, res, err := alice.Request(ctx, alice.NewRequest(sip.MESSAGE, "+4930123456"))
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("MESSAGE to the alias: %v, %v", res, err)
	}
	go func() {
		s := <-calls
		s.Respond(200, "OK")
	}()
	req := bob.NewRequest(sip.MESSAGE, "alice")
	req.From().Address.User = "+4930123456"
	if _, res, err = bob.Request(ctx, req); err != nil || res.StatusCode != 200 {
		t.Fatalf("MESSAGE from the alias: %v, %v", res, err)
	}
}

func talk(t *testing.T, ctx context.Context, l *lab, alice, bob *phone.Phone, arrived chan *phone.Server) {
	t.Helper()
	c, s := ring(t, ctx, alice, bob, arrived)
	db := must[*phone.Dialog](t)(bob.Answer(s))
	defer db.Close()
	res := must[*sip.Response](t)(c.Final(ctx))
	if res.StatusCode != 200 {
		t.Fatalf("INVITE: %v", res)
	}
	da := must[*phone.Dialog](t)(alice.Confirm(c, res))
	defer da.Close()
	select {
	case <-s.Acked():
	case <-ctx.Done():
		t.Fatal("no ACK came")
	}
	if n := l.log.m.Counts().Calls; n != 1 {
		t.Errorf("%d calls in the replicated state", n)
	}
	exchange(t, ctx, da, db, sip.INFO)
	exchange(t, ctx, db, da, sip.UPDATE)
	exchange(t, ctx, db, da, sip.BYE)
	if n := l.log.m.Counts().Calls; n != 0 {
		t.Errorf("%d calls in the replicated state", n)
	}
}

// ring calls bob until he rings.
func ring(t *testing.T, ctx context.Context, alice, bob *phone.Phone, arrived chan *phone.Server) (*phone.Client, *phone.Server) {
	t.Helper()
	rang := make(chan *phone.Client, 1)
	go func() {
		c, _, _ := alice.Request(ctx, alice.NewRequest(sip.INVITE, "bob"))
		rang <- c
	}()
	select {
	case s := <-arrived:
		bob.Ring(s)
		return <-rang, s
	case <-ctx.Done():
		t.Fatal("the INVITE does not arrive")
	}
	return nil, nil
}

// exchange sends a request in a dialog from one side and answers it at the other.
func exchange(t *testing.T, ctx context.Context, from, to *phone.Dialog, method sip.RequestMethod) {
	t.Helper()
	c := must[*phone.Client](t)(from.Send(method))
	s := must[*phone.Server](t)(to.Incoming(ctx))
	s.Respond(200, "OK")
	if res := must[*sip.Response](t)(c.Final(ctx)); res.StatusCode != 200 {
		t.Fatalf("%s: %v", method, res)
	}
}

func cancelled(t *testing.T, ctx context.Context, l *lab, alice, bob *phone.Phone, arrived chan *phone.Server) {
	t.Helper()
	c, s := ring(t, ctx, alice, bob, arrived)
	cc := must[*phone.Client](t)(c.Cancel())
	if res := must[*sip.Response](t)(cc.Final(ctx)); res.StatusCode != 200 {
		t.Fatalf("CANCEL: %v", res)
	}
	select {
	case <-s.Cancelled():
	case <-ctx.Done():
		t.Fatal("the callee rings on")
	}
	if res := must[*sip.Response](t)(c.Final(ctx)); res.StatusCode != 487 {
		t.Fatalf("INVITE: %v", res)
	}
	if n := l.log.m.Counts().Calls; n != 0 {
		t.Errorf("%d calls in the replicated state", n)
	}
}

// TestMovedGroup: alice's VIP moves to the other node in the middle of a call and of another that rings: both go on.
func TestMovedGroup(t *testing.T) {
	l := newLab(t, 2)
	ctx := within(t)
	alice, _ := l.newPhone("alice", l.vip(0))
	bob, arrived := l.newPhone("bob", l.vip(1))
	for _, p := range []*phone.Phone{alice, bob} {
		if res := must[*sip.Response](t)(p.Register(ctx, time.Hour)); res.StatusCode != 200 {
			t.Fatalf("REGISTER: %v", res)
		}
	}
	c, s := ring(t, ctx, alice, bob, arrived)
	db := must[*phone.Dialog](t)(bob.Answer(s))
	defer db.Close()
	da := must[*phone.Dialog](t)(alice.Confirm(c, must[*sip.Response](t)(c.Final(ctx))))
	defer da.Close()
	<-s.Acked()

	rc, rs := ring(t, ctx, alice, bob, arrived)

	l.move(1, 1, 2)
	exchange(t, ctx, da, db, sip.INFO)
	exchange(t, ctx, db, da, sip.BYE)
	rdb := must[*phone.Dialog](t)(bob.Answer(rs))
	defer rdb.Close()
	res := must[*sip.Response](t)(rc.Final(ctx))
	if res.StatusCode != 200 {
		t.Fatalf("INVITE: %v", res)
	}
	rda := must[*phone.Dialog](t)(alice.Confirm(rc, res))
	defer rda.Close()
	<-rs.Acked()
	exchange(t, ctx, rda, rdb, sip.BYE)
	if n := l.log.m.Counts().Calls; n != 0 {
		t.Errorf("%d calls in the replicated state", n)
	}
}

// TestOptionsPing: an OPTIONS to the VIP itself is answered without state.
func TestOptionsPing(t *testing.T) {
	l := newLab(t, 1)
	alice, _ := l.newPhone("alice", l.vip(0))
	req := alice.NewRequest(sip.OPTIONS, "")
	req.Recipient = sip.Uri{Scheme: "sip", Host: "127.0.0.101", Port: int(l.port)}
	_, res, err := alice.Request(within(t), req)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
}
