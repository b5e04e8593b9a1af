package sipcore

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
	"holdline/fsm/pb"
)

// inside is the socket of a phone behind a NAT: what the phone takes for its address is not where its datagrams come from. It notes
// the keep-alives that come; an OPTIONS goes on to the phone.
type inside struct {
	*net.UDPConn
	addr *net.UDPAddr
	kept chan kept
}

type kept struct {
	from netip.AddrPort
	data string
}

func newInside(t *testing.T, addr string) *inside {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if addr == "" {
		addr = conn.LocalAddr().String()
	}
	return &inside{conn, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)), make(chan kept, 1000)}
}

func (c *inside) LocalAddr() net.Addr { return c.addr }

func (c *inside) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.UDPConn.ReadFromUDPAddrPort(b)
	if s := string(b[:n]); err == nil && (s == doubleCRLF || strings.HasPrefix(s, "OPTIONS ")) {
		c.kept <- kept{from, s}
	}
	return n, from, err
}

func (l *lab) set(name, value string) {
	l.t.Helper()
	l.ok(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: name, Value: value}}})
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, ctx context.Context, what string, is func() bool) {
	t.Helper()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatal("in vain:", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestKeepAlives: a phone behind a NAT gets keep-alives from the VIP that it registered over, once an interval; one that is not behind a NAT
// gets none. When the lease is lost they end; when another node takes the group over, it goes on.
func TestKeepAlives(t *testing.T) {
	l := newLab(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // several rounds
	defer cancel()
	l.set(SettingKeepaliveInterval, "1")
	nat, direct := newInside(t, "192.168.1.20:5060"), newInside(t, "")
	alice, asked := l.newPhoneOn(nat, "alice", l.vip(0))
	bob, _ := l.newPhoneOn(direct, "bob", l.vip(0))
	for _, p := range []*phone.Phone{alice, bob} {
		if res := must[*sip.Response](t)(p.Register(ctx, time.Hour)); res.StatusCode != 200 {
			t.Fatalf("REGISTER: %v", res)
		}
	}
	for _, status := range []int{200, 481} {
		if k := receive(t, ctx, nat.kept); k.from != l.vip(0) || !strings.HasPrefix(k.data, "OPTIONS sip:alice@192.168.1.20:5060 SIP/2.0\r\n") {
			t.Errorf("from %v: %s", k.from, k.data)
		}
		receive(t, ctx, asked).Respond(status, "Whatever")
	}
	one, two := &l.cores[0].alive, &l.cores[1].alive
	eventually(t, ctx, "all answers are counted", func() bool { return one.answered.Load() >= 2 })

	l.set(SettingKeepalive, KeepaliveCRLF)
	eventually(t, ctx, "CRLF", func() bool { return receive(t, ctx, nat.kept).data == doubleCRLF })
	eventually(t, ctx, "the other node has skipped her", func() bool { return two.skipped.Load() > 0 })

	l.owners.mu.Lock()
	l.owners.owner[1] = 0
	l.owners.mu.Unlock()
	skipped := one.skipped.Load()
	eventually(t, ctx, "a round without the lease", func() bool { return one.skipped.Load() > skipped })
	sent := one.sent.Load() // what was under way when the lease ended has gone out
	eventually(t, ctx, "another one", func() bool { return one.skipped.Load() > skipped+1 })
	if n := one.sent.Load(); n != sent {
		t.Errorf("%d sent without the lease", n-sent)
	}
	if two.sent.Load() != 0 {
		t.Error("a node without the lease has sent")
	}
	for len(nat.kept) > 0 {
		<-nat.kept
	}
	l.move(1, 1, 2)
	for range 2 {
		if k := receive(t, ctx, nat.kept); k.from != l.vip(0) || k.data != doubleCRLF {
			t.Errorf("from %v: %q", k.from, k.data)
		}
	}
	if n := two.sent.Load(); n < 2 || one.sent.Load() != sent {
		t.Errorf("the new owner has sent %d, the last one %d more", n, one.sent.Load()-sent)
	}

	if len(direct.kept) > 0 {
		t.Errorf("to a phone that is not behind a NAT: %+v", <-direct.kept)
	}
}
