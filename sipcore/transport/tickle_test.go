package transport

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"holdline/deploy/lab/netlab"
)

// tickleLab is two boxes that have an address one after the other, and a phone.
type tickleLab struct {
	t         *testing.T
	old, next *netlab.Box
	phone     *netlab.Box
	vip       netip.Addr
	mask      int
}

func newTickleLab(t *testing.T, vip string, mask int, phone string) *tickleLab {
	t.Helper()
	n, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	l := &tickleLab{t: t, vip: netip.MustParseAddr(vip), mask: mask}
	for i, b := range []**netlab.Box{&l.old, &l.next, &l.phone} {
		if *b, err = n.AddBox([]string{"old", "next", "phone"}[i], byte(i+1)); err != nil {
			t.Fatal(err)
		}
		l.do(*b, func() error { return noDAD() })
		l.await(*b, "a carrier", func(card netlink.Link) bool { return card.Attrs().OperState == netlink.OperUp })
	}
	l.give(l.phone, netip.MustParseAddr(phone))
	l.give(l.old, l.vip)
	return l
}

// noDAD lets IPv6 addresses be used at once.
func noDAD() error {
	return writeSysctl("net/ipv6/conf/"+netlab.Card+"/accept_dad", "0")
}

// give gives a box an address that it can use when give returns.
func (l *tickleLab) give(b *netlab.Box, a netip.Addr) {
	l.t.Helper()
	l.ok(b.AddAddress(netlab.Card, netip.PrefixFrom(a, l.mask)))
	l.await(b, "the use of its address", func(card netlink.Link) bool {
		addrs, err := b.Links().AddrList(card, unix.AF_UNSPEC)
		l.ok(err)
		return !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 })
	})
}

// await waits for the kernel, which does such things beside.
func (l *tickleLab) await(b *netlab.Box, what string, done func(netlink.Link) bool) {
	l.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		card, err := b.Links().LinkByName(netlab.Card)
		l.ok(err)
		if done(card) {
			return
		}
		if time.Now().After(end) {
			l.t.Fatalf("%s does not get %s", b.Name, what)
		}
	}
}

func (l *tickleLab) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *tickleLab) do(b *netlab.Box, fn func() error) {
	l.t.Helper()
	l.ok(b.Do(fn))
}

// listen listens on the VIP in a box, also before it has the address.
func (l *tickleLab) listen(b *netlab.Box) net.Listener {
	l.t.Helper()
	var ln net.Listener
	l.do(b, func() (err error) {
		lc := net.ListenConfig{Control: freebind(l.vip, false)}
		ln, err = lc.Listen(l.t.Context(), tcpNetwork(l.vip), netip.AddrPortFrom(l.vip, DefaultPort).String())
		return err
	})
	l.t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// connect opens a connection from the phone.
func (l *tickleLab) connect(ln net.Listener) (phone, server net.Conn) {
	l.t.Helper()
	l.do(l.phone, func() (err error) {
		phone, err = net.DialTimeout("tcp", ln.Addr().String(), patience)
		return err
	})
	server, err := ln.Accept()
	l.ok(err)
	l.t.Cleanup(func() { _, _ = phone.Close(), server.Close() })
	return phone, server
}

// takeOver cuts the old box off and gives its address to the next one.
func (l *tickleLab) takeOver() {
	l.t.Helper()
	l.ok(l.old.Unplug())
	l.give(l.next, l.vip)
	// As the guard's announcement does.
	l.do(l.phone, func() error { return forgetNeighbour(l.vip) })
}

// TestTickle: a phone that says nothing learns at once that its connection is gone; one that the new owner has is not hurt.
func TestTickle(t *testing.T) {
	for name, c := range map[string]struct {
		vip, phone string
		mask       int
	}{
		"IPv4": {"10.77.0.101", "10.77.0.21", 24},
		"IPv6": {"fd77::101", "fd77::21", 64},
	} {
		t.Run(name, func(t *testing.T) {
			l := newTickleLab(t, c.vip, c.mask, c.phone)
			next := l.listen(l.next)
			gone, _ := l.connect(l.listen(l.old))
			l.takeOver()
			live, server := l.connect(next)
			var tk *Tickler
			l.do(l.next, func() (err error) {
				tk, err = NewTickler(l.vip)
				return err
			})
			defer tk.Close()
			began := time.Now()
			for _, c := range []net.Conn{live, gone} {
				l.ok(tk.Tickle(DefaultPort, c.LocalAddr().(*net.TCPAddr).AddrPort()))
			}
			l.ok(gone.SetReadDeadline(time.Now().Add(patience)))
			if _, err := gone.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("the dead connection: %v", err)
			}
			t.Logf("reset after %v", time.Since(began))
			passes(t, live, server)
			passes(t, server, live)
		})
	}
}

// passes sends from one end of a connection to the other.
func passes(t *testing.T, from, to net.Conn) {
	t.Helper()
	if _, err := io.WriteString(from, "x"); err != nil {
		t.Error("the live connection:", err)
	}
	if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
		t.Error("the live connection:", err)
	}
}

// TestTickleRefuses: ends that no connection can have.
func TestTickleRefuses(t *testing.T) {
	tk, err := NewTickler(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer tk.Close()
	for _, a := range []string{"[::1]:5060", "127.0.0.1:0"} {
		if tk.Tickle(DefaultPort, netip.MustParseAddrPort(a)) == nil {
			t.Errorf("an ACK went to %s", a)
		}
	}
	if tk.Tickle(0, netip.MustParseAddrPort("127.0.0.1:5060")) == nil {
		t.Error("an ACK went from port 0")
	}
}

func writeSysctl(name, value string) error {
	return os.WriteFile("/proc/sys/"+name, []byte(value), 0)
}

// forgetNeighbour removes what this namespace knows of an address's hardware address.
func forgetNeighbour(a netip.Addr) error {
	card, err := netlink.LinkByName(netlab.Card)
	if err != nil {
		return err
	}
	return netlink.NeighDel(&netlink.Neigh{LinkIndex: card.Attrs().Index, IP: a.AsSlice()})
}
