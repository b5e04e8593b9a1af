package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
)

// noticed is how soon a phone must know, without saying anything, that its connection went with the node.
const noticed = 900 * time.Millisecond

// standing is an established call between a phone that stays connected and one whose connection breaks.
type standing struct {
	name          string
	stays, breaks *phone.Dialog
	phone         *phone.Phone // that has breaks
	hangUp        *phone.Client
}

// TestStreamPhones: phones on TCP and TLS are in calls, called and calling; the cable of their VIP's owner is pulled. They learn that
// their connections are gone from a reset, in well under a second and without sending anything. Meanwhile the other sides hang up:
// when the phones have registered again, the BYEs reach them. A gateway's connection that no call goes over is reset as well.
func TestStreamPhones(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	c, dir := startCluster(t)
	people := users(4)
	if err := c.provision(t.Context(), people); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 90*time.Second)
	roots, err := c.secure(ctx, dir)
	if err == nil {
		err = c.awaitHA(ctx, c.nodes)
	}
	if err == nil {
		err = c.spread(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	var h handsets
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	phoneOn := func(i, vip int, transport string) *phone.Phone {
		addr := netip.AddrPortFrom(phoneHosts()[i], uint16(firstPort+i))
		proxy := netip.AddrPortFrom(c.vips[vip], port(transport))
		if transport == TransportUDP {
			p, err := h.phone(c.phones, people[i], addr, proxy)
			if err != nil {
				t.Fatal(err)
			}
			h.phones = append(h.phones, p)
			return p
		}
		s := phone.NewStreams(strings.ToUpper(transport), addr, dialer(c.phones, addr.Addr(), transport, roots))
		p := phone.NewPhone(phone.NewEndpoint(s, &h.stats), people[i].name, domain, people[i].password, proxy)
		h.phones = append(h.phones, p)
		return p
	}
	idle := gatewayConn(ctx, t, c)
	other := phoneOn(0, 1, TransportUDP) // on a VIP that stays
	tcp, tls, calls := phoneOn(1, 0, TransportTCP), phoneOn(2, 0, TransportTLS), phoneOn(3, 0, TransportTCP)
	for _, p := range h.phones {
		registered(ctx, t, p)
	}
	all := []*standing{
		establish(ctx, t, "TCP phone, called", other, tcp, false),
		establish(ctx, t, "TLS phone, called", other, tls, false),
		establish(ctx, t, "TCP phone, calling", other, calls, true),
	}
	began := time.Now()
	if err := c.nodes[0].Box.Unplug(); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.hangUp, err = s.stays.Send(sip.BYE); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range all {
		select {
		case <-s.phone.Broke():
		case <-ctx.Done():
			t.Fatalf("%s: its connection is not reset", s.name)
		}
	}
	breaks := h.stats.Breaks()
	if after := slices.MaxFunc(breaks, time.Time.Compare).Sub(began); len(breaks) != len(all) || after > noticed {
		t.Errorf("%d connections were reset, the last after %v", len(breaks), after)
	} else {
		t.Logf("%d connections were reset, the last %v after the cable", len(breaks), after)
	}
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the gateway's connection: %v", err)
	}
	for _, s := range all {
		registered(ctx, t, s.phone)
		in, err := s.breaks.Incoming(ctx)
		if err != nil {
			t.Fatalf("%s: no BYE: %v", s.name, err)
		}
		in.Respond(200, "OK")
		res, err := s.hangUp.Final(ctx)
		if err != nil || res.StatusCode != 200 || in.Request.Method != sip.BYE {
			t.Errorf("%s: %s %v %v", s.name, in.Request.Method, res, err)
		}
	}
	if err := c.nodes[0].Box.Plug(); err != nil {
		t.Fatal(err)
	}
	noCalls(t, c)
}

// gatewayConn is a connection that the gateway has opened to the first VIP, and used, but no call goes over it. It is to be made some time before the cable is pulled, so that the other nodes
// have been told of it.
func gatewayConn(ctx context.Context, t *testing.T, c *cluster) net.Conn {
	t.Helper()
	conn, err := c.phones.DialTCP(ctx, netip.AddrPortFrom(gatewayAddr.Addr(), 0), netip.AddrPortFrom(c.vips[0], sipPort))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("\r\n\r\n")); err != nil { // a ping, RFC 5626 §3.5.1
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func registered(ctx context.Context, t *testing.T, p *phone.Phone) {
	t.Helper()
	res, err := p.Register(ctx, time.Hour)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("REGISTER of %s: %v %v", p.User, res, err)
	}
}

// establish sets up a call between a phone that stays connected and one whose connection will break.
func establish(ctx context.Context, t *testing.T, name string, stays, breaks *phone.Phone, breaksCalls bool) *standing {
	t.Helper()
	s := &standing{name: name, phone: breaks}
	caller, callee := stays, breaks
	if breaksCalls {
		caller, callee = breaks, stays
	}
	arrived := make(chan *phone.Server, 1)
	callee.Handle(func(in *phone.Server) { arrived <- in })
	type answer struct {
		client *phone.Client
		res    *sip.Response
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		client, res, err := caller.Request(ctx, caller.NewRequest(sip.INVITE, callee.User))
		if err == nil && res.StatusCode < 200 {
			res, err = client.Final(ctx)
		}
		answered <- answer{client, res, err}
	}()
	var in *phone.Server
	select {
	case in = <-arrived:
	case <-ctx.Done():
		t.Fatalf("%s: no INVITE", name)
	}
	theirs, err := callee.Answer(in)
	if err != nil {
		t.Fatal(err)
	}
	a := <-answered
	if a.err != nil || a.res.StatusCode != 200 {
		t.Fatalf("%s: %v %v", name, a.res, a.err)
	}
	ours, err := caller.Confirm(a.client, a.res)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-in.Acked():
	case <-ctx.Done():
		t.Fatalf("%s: no ACK", name)
	}
	s.stays, s.breaks = ours, theirs
	if breaksCalls {
		s.stays, s.breaks = theirs, ours
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return s
}
