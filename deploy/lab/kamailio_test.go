package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
)

// What the carrier of TestKamailio knows its customer by.
const (
	accountOnce  = "4930111111" // asked for a password once
	accountTwice = "4930222222" // by a proxy in front as well, in another realm
	farNumber    = "0123"       // of the carrier's other subscriber
)

// TestKamailio is a carrier that people use: Kamailio as registrar and proxy, which asks for a password in REGISTERs, calls and what is sent in them, over UDP. It is called
// from a phone, and calls that where Holdline has registered, also when the cable of the VIP's owner is pulled. Then the same over TCP, where it asks twice.
func TestKamailio(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	if _, err := exec.LookPath("kamailio"); err != nil {
		t.Skip("kamailio is not installed: apt-get install kamailio")
	}
	c, dir := startCluster(t)
	people := users(1)
	if err := c.provision(t.Context(), people); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, time.Minute)
	for _, number := range []string{accountOnce, accountTwice} {
		cli(t, c.nodes[0], "", "user", "alias", "add", people[0].name+"@"+domain, number)
	}
	if err := c.awaitHA(ctx, c.nodes); err != nil {
		t.Fatal(err)
	}
	l := newCarrierLab(t, c, dir, people[0])
	registered(ctx, t, l.alice)
	l.registerWith(accountOnce, "udp", "--register", "--vip", l.vip.String())
	l.hangUp(ctx, l.callOut(ctx), true)
	l.hangUp(ctx, l.callOut(ctx), false)
	l.cancelled(ctx)
	l.hangUp(ctx, l.callIn(ctx, accountOnce), true)
	l.hangUp(ctx, l.callIn(ctx, accountOnce), false)
	l.pullCable(ctx, accountOnce)

	l.registerWith(accountTwice, "tcp")
	l.hangUp(ctx, l.callOut(ctx), true)
	l.hangUp(ctx, l.callIn(ctx, accountTwice), true)
	l.pullCable(ctx, accountTwice)
	cli(t, c.nodes[0], "", "pool", "member", "set", "carriers", "gw1", "--register=false")
	l.carrier.await(strings.Replace(l.bound(accountTwice), "=3600", "=0", 1))
	noCalls(t, c)
	for line := range strings.Lines(l.carrier.all()) {
		if strings.Contains(line, "ERROR:") && !strings.Contains(line, "tcp_read") { // its connections were reset
			t.Error("the carrier has met an error: ", line)
		}
	}
}

// carrierLab is a phone of ours, a carrier, and another subscriber of its.
type carrierLab struct {
	t          *testing.T
	c          *cluster
	vip        netip.Addr // that the carrier's calls come in at, and that the phone uses
	carrier    *foreign
	alice, far *phone.Phone
	transport  string // parameter of the Contact that is registered
}

func newCarrierLab(t *testing.T, c *cluster, dir string, u user) *carrierLab {
	t.Helper()
	l := &carrierLab{t: t, c: c, vip: c.vips[0]}
	h := &handsets{}
	on := func(u user, host int, proxy netip.AddrPort) *phone.Phone {
		p, err := h.phone(c.phones, u, netip.AddrPortFrom(phoneHosts()[host], firstPort), proxy)
		if err != nil {
			t.Fatal(err)
		}
		h.phones = append(h.phones, p)
		return p
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	l.far = on(user{name: farNumber}, 0, gatewayAddr)
	l.far.Domain = gatewayAddr.Addr().String()
	l.alice = on(u, 1, netip.AddrPortFrom(l.vip, sipPort))
	l.carrier = startKamailio(t, c, dir, l.far.Addr())
	return l
}

// registerWith gives the pool's member an account and a transport, and returns when the carrier has the account registered and every node says so.
func (l *carrierLab) registerWith(account, transport string, more ...string) {
	l.t.Helper()
	args := []string{"pool", "member", "set", "carriers", "gw1", "--user", account, "--password-stdin", "--transport", transport}
	cli(l.t, l.c.nodes[0], "sesame\n", append(args, more...)...)
	l.transport = ""
	if transport != TransportUDP {
		l.transport = ";transport=" + transport
	}
	l.carrier.await(l.bound(account))
	for _, n := range l.c.nodes {
		l.c.saysRegistered(l.t, n, l.owner())
	}
}

// bound is what the carrier says when it has registered an account.
func (l *carrierLab) bound(account string) string {
	return fmt.Sprintf("registered %s: <sip:%s@%v:%d%s>;expires=3600", account, account, l.vip, sipPort, l.transport)
}

// pullCable pulls the cable of the VIP's owner amid a call: the next one registers, calls come in there, and the call goes on.
func (l *carrierLab) pullCable(ctx context.Context, account string) {
	t := l.t
	t.Helper()
	standing := l.callOut(ctx)
	owner := l.c.node(l.owner())
	pulled := time.Now()
	if err := owner.Box.Unplug(); err != nil {
		t.Fatal(err)
	}
	wanted := []string{l.bound(account)}
	if l.transport != "" { // it has called over a connection that is gone, and would call over that again
		wanted = append(wanted, "Connection reset by peer")
	}
	l.carrier.await(wanted...)
	t.Logf("registered by the next owner %v after the cable", time.Since(pulled).Round(time.Millisecond))
	l.hangUp(ctx, l.callIn(ctx, account), false)
	l.hangUp(ctx, standing, true)
	if err := owner.Box.Plug(); err != nil {
		t.Fatal(err)
	}
	if err := l.c.awaitHA(within(t, 30*time.Second), l.c.nodes); err != nil {
		t.Fatal(err)
	}
}

// owner is the node that has the VIP.
func (l *carrierLab) owner() string {
	l.t.Helper()
	status, err := l.c.nodes[0].Status(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return status.Owners()[l.vip]
}

// talk is an established call.
type talk struct{ alice, far *phone.Dialog }

func (l *carrierLab) callOut(ctx context.Context) *talk {
	l.t.Helper()
	ours, theirs := l.call(ctx, l.alice, l.far, l.alice.NewRequest(sip.INVITE, farNumber))
	return &talk{ours, theirs}
}

func (l *carrierLab) callIn(ctx context.Context, account string) *talk {
	l.t.Helper()
	theirs, ours := l.call(ctx, l.far, l.alice, l.far.NewRequest(sip.INVITE, account))
	return &talk{ours, theirs}
}

// call rings, is answered, and is changed from either side.
func (l *carrierLab) call(ctx context.Context, caller, callee *phone.Phone, invite *sip.Request) (from, to *phone.Dialog) {
	t := l.t
	t.Helper()
	arrived := make(chan *phone.Server, 4)
	callee.Handle(func(in *phone.Server) { arrived <- in })
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		client, res, err := caller.Request(ctx, invite)
		if err == nil && res.StatusCode < 200 {
			res, err = client.Final(ctx)
		}
		if err != nil || res.StatusCode != 200 {
			t.Errorf("INVITE from %s: %v %v", caller.User, res, err)
			return
		}
		if from, err = caller.Confirm(client, res); err != nil {
			t.Error(err)
		}
	}()
	select {
	case in := <-arrived:
		if in.Header("Proxy-Authorization") != "" || in.Header("Authorization") != "" {
			t.Errorf("%s gets credentials:\n%v", callee.User, in.Request)
		}
		callee.Ring(in)
		var err error
		if to, err = callee.Answer(in); err != nil {
			t.Fatal(err)
		}
		<-answered
		if from == nil {
			t.FailNow()
		}
		l.acked(ctx, in)
	case <-answered:
		t.Fatalf("the call from %s does not reach %s", caller.User, callee.User)
	case <-ctx.Done():
		t.Fatalf("no INVITE reaches %s", callee.User)
	}
	t.Cleanup(func() { from.Close(); to.Close() })
	l.within(ctx, from, to, sip.INVITE)
	l.within(ctx, to, from, sip.INVITE)
	if len(arrived) != 0 {
		t.Errorf("%s is called %d times more", callee.User, len(arrived))
	}
	return from, to
}

// cancelled is a call out that rings and is given up.
func (l *carrierLab) cancelled(ctx context.Context) {
	t := l.t
	t.Helper()
	arrived := make(chan *phone.Server, 4)
	l.far.Handle(func(in *phone.Server) { l.far.Ring(in); arrived <- in })
	client, res, err := l.alice.Request(ctx, l.alice.NewRequest(sip.INVITE, farNumber))
	if err != nil || res.StatusCode != 180 {
		t.Fatalf("INVITE: %v %v", res, err)
	}
	if _, err := client.Cancel(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-(<-arrived).Cancelled():
	case <-ctx.Done():
		t.Fatal("the carrier's subscriber gets no CANCEL")
	}
	if res, err := client.Final(ctx); err != nil || res.StatusCode != 487 {
		t.Errorf("cancelled: %v %v", res, err)
	}
}

// hangUp ends a call, from one side.
func (l *carrierLab) hangUp(ctx context.Context, x *talk, byAlice bool) {
	l.t.Helper()
	if byAlice {
		l.within(ctx, x.alice, x.far, sip.BYE)
		return
	}
	l.within(ctx, x.far, x.alice, sip.BYE)
}

// within sends a request in a dialog, which is accepted.
func (l *carrierLab) within(ctx context.Context, from, to *phone.Dialog, method sip.RequestMethod) {
	t := l.t
	t.Helper()
	client, err := from.Send(method)
	if err != nil {
		t.Fatal(err)
	}
	in, err := to.Incoming(ctx)
	if err != nil || in.Request.Method != method {
		t.Fatalf("%s does not arrive: %v %v", method, in, err)
	}
	if method == sip.INVITE {
		own := to.Contact()
		in.Respond(200, "OK", &own)
	} else {
		in.Respond(200, "OK")
	}
	res, err := client.Final(ctx)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s: %v %v", method, res, err)
	}
	if method != sip.INVITE {
		return
	}
	if err := from.Ack(client); err != nil {
		t.Fatal(err)
	}
	l.acked(ctx, in)
}

func (l *carrierLab) acked(ctx context.Context, in *phone.Server) {
	l.t.Helper()
	select {
	case <-in.Acked():
	case <-ctx.Done():
		l.t.Fatalf("no ACK of\n%v", in.Request)
	}
}
