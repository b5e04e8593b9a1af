package vip

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// One node alone: what an operator or another machine does to it, one after the other.
func TestGuardAlone(t *testing.T) {
	c := newCluster(t, 1)
	b := c.owner(t)

	t.Run("second guard is refused", func(t *testing.T) {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), envRole+"=guard", envRunDir+"="+b.dir, envDataDir+"="+b.dir)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), ErrRunning.Error()) {
			t.Errorf("second guard: %v, %s", err, out)
		}
	})

	t.Run("status", func(t *testing.T) {
		s := b.status()
		g := s.Groups[0]
		if !g.Held || g.Margin <= 0 || g.Owner != 1 || g.Interfaces[0] != "eth0" || s.Fence != "nftables" || s.CorePID != os.Getpid() {
			t.Errorf("status: %+v", s)
		}
		for _, f := range s.Failures {
			t.Logf("goes on without: %s", f)
		}
		t.Logf("real time %v, memory locked %v, longest turn %s, latest wake-up %s", s.RealTime, s.MemLocked, s.WorstLoop, s.WorstLate)
	})

	t.Run("address is a single one, and never a source", func(t *testing.T) {
		b.space.do(t, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
			for _, a := range addrs {
				ip, _ := netip.AddrFromSlice(a.IP)
				ip = ip.Unmap()
				if ip != vip4() && ip != vip6() {
					continue
				}
				ones, bits := a.Mask.Size()
				if ones != bits || a.ValidLft != addressLife || a.PreferedLft != 0 || a.Flags&unix.IFA_F_DEPRECATED == 0 {
					t.Errorf("address %s: %d bits, valid %d s, preferred %d s, flags %#x", ip, ones, a.ValidLft, a.PreferedLft, a.Flags)
				}
			}
			return err
		})
	})

	t.Run("address taken off by hand comes back", func(t *testing.T) {
		b.space.do(t, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.AddrDel(link, &netlink.Addr{IPNet: netlink.NewIPNet(vip4().AsSlice())})
		})
		eventually(t, "the address is back", func() bool { return b.has(vip4()) })
	})

	t.Run("flushed fence comes back", func(t *testing.T) {
		mark := b.mark()
		b.space.do(t, func() error {
			f, err := newFence(fenceTable)
			if err != nil {
				return err
			}
			defer f.close()
			return f.remove()
		})
		await(b, mark, func(a Alarm) bool { return strings.Contains(a.Text, "nftables table") })
		eventually(t, "the fence is back", func() bool {
			var ok bool
			b.space.do(t, func() (err error) {
				ok, err = fenceIntact()
				return err
			})
			return ok
		})
	})

	t.Run("foreign ARP raises an alarm", func(t *testing.T) {
		mark := b.mark()
		var w *wire
		c.boxes["phone"].do(t, func() (err error) {
			w, err = openWire("eth0")
			return err
		})
		defer w.close()
		frame := appendARP(nil, arpReply, w.mac, vip4(), w.mac, vip4())
		to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ARP), Ifindex: w.index, Halen: 6}
		eventually(t, "the alarm comes", func() bool { // not before the group has been held for a while, anew if the machine has stalled
			if err := unix.Sendto(w.fd, frame, 0, to); err != nil {
				t.Fatal(err)
			}
			return has(b, mark, func(a Alarm) bool { return strings.Contains(a.Text, vip4().String()) })
		})
	})

	t.Run("VIP in use is seen by others", func(t *testing.T) {
		for _, p := range []netip.Prefix{netip.PrefixFrom(vip4(), 24), netip.PrefixFrom(vip6(), 64)} {
			c.boxes["phone"].do(t, func() error {
				mac, used, err := InUse(context.Background(), p)
				if err == nil && (!used || len(mac) != 6) {
					t.Errorf("%s: in use = %v by %s", p, used, mac)
				}
				return err
			})
		}
	})
	t.Run("free address is free", func(t *testing.T) {
		c.boxes["phone"].do(t, func() error {
			_, used, err := InUse(context.Background(), netip.MustParsePrefix("10.77.0.200/24"))
			if used {
				t.Error("10.77.0.200 is in use")
			}
			return err
		})
	})
	t.Run("network without interface", func(t *testing.T) {
		err := c.boxes["phone"].try(func() error {
			_, _, err := InUse(context.Background(), netip.MustParsePrefix("192.0.2.1/24"))
			return err
		})
		if !errors.Is(err, ErrNoInterface) {
			t.Errorf("InUse on an unknown network: %v", err)
		}
	})

	t.Run("older config epoch is refused, after a restart too", func(t *testing.T) {
		cfg := c.config(b)
		cfg.Epoch = 4
		if err := b.client.Configure(cfg); err != nil {
			t.Fatal(err)
		}
		old := c.config(b)
		if err := b.client.Configure(old); err == nil || !strings.Contains(err.Error(), "older") {
			t.Errorf("epoch 1 after 4: %v", err)
		}
		if err := b.client.Configure(cfg); err != nil { // what the client will hand over when it reconnects
			t.Fatal(err)
		}
		mark := b.mark()
		b.signal(syscall.SIGKILL)
		await[Disconnected](b, mark, nil)
		if _, _, err := awaitErr(b, mark, func(l Lost) bool { return l.Group == 7 }); err != nil {
			t.Error(err)
		}
		b.restartGuard()
		await[Connected](b, mark, nil)
		if err := b.client.Configure(old); err == nil || !strings.Contains(err.Error(), "older") {
			t.Errorf("epoch 1 after 4 and a restart: %v", err)
		}
		if err := b.client.Configure(cfg); err != nil {
			t.Fatal(err)
		}
		c.owner(t)
	})

	t.Run("end of core and guard leaves nothing", func(t *testing.T) {
		b.disconnect()
		eventually(t, "addresses are gone", func() bool { return !b.has(vip4()) && !b.has(vip6()) })
		b.signal(syscall.SIGTERM)
		if err := b.guard.Wait(); err != nil {
			t.Errorf("guard ended with %v", err)
		}
		b.space.do(t, func() error {
			ok, err := fenceIntact()
			if ok {
				t.Error("the fence is still there")
			}
			return err
		})
	})
}

// A connection over a VIP ends on the node that loses it; one over the node's own address does not.
func TestConnectionsDestroyed(t *testing.T) {
	c := newCluster(t, 2)
	owner := c.owner(t)
	open := func(addr netip.Addr) (server, client net.Conn) {
		var l net.Listener
		owner.space.do(t, func() (err error) {
			l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 5061).String())
			return err
		})
		defer l.Close()
		c.boxes["phone"].do(t, func() (err error) {
			client, err = net.Dial("tcp", l.Addr().String())
			return err
		})
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			server.Close()
			client.Close()
		})
		return server, client
	}
	over4, _ := open(vip4())
	over6, _ := open(vip6())
	own, peer := open(c.cfg.Nodes[owner.number-1].Addr)
	if err := owner.client.Release(7, 0); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{over4, over6} {
		_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		_, err := conn.Read(make([]byte, 1))
		if !errors.Is(err, unix.ECONNABORTED) && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("connection over %s: %v, want it aborted", conn.LocalAddr(), err)
		}
	}
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(own, make([]byte, 1)); err != nil {
		t.Errorf("connection over the node's own address: %v", err)
	}
	eventually(t, "the status counts them", func() bool { return owner.status().Groups[0].Destroyed == 2 })
}

// What a killed guard left on the interface is removed by the next one, although nobody leases it.
func TestStaleAddressRemoved(t *testing.T) {
	c := newCluster(t, 1)
	b := c.owner(t)
	b.disconnect()
	eventually(t, "addresses are gone", func() bool { return !b.has(vip4()) })
	b.space.do(t, func() error { return address("eth0", vip4().String()+"/32", "10.77.0.150/32") })
	b.stop = make(chan struct{})
	cfg := c.config(b)
	cfg.Groups = append([]Group(nil), cfg.Groups...)
	cfg.Groups[0].Candidates = []uint32{2} // not this node
	cfg.Nodes = append(cfg.Nodes, Node{Number: 2, Name: "n2", Addr: netip.MustParseAddr("10.77.0.77")})
	b.connect(cfg)
	if b.has(vip4()) {
		t.Error("the VIP stayed")
	}
	if !b.has(netip.MustParseAddr("10.77.0.150")) {
		t.Error("an address that is no VIP was removed")
	}
	if g := b.status().Groups[0]; g.Candidate {
		t.Errorf("candidate: %+v", g)
	}
}

// Forget leaves nothing of a configuration but the memory of who votes, and the guard takes the next one.
func TestForget(t *testing.T) {
	ctx := context.Background()
	if err := Forget(ctx, t.TempDir()); err != nil {
		t.Errorf("where no guard runs: %v", err)
	}
	c := newCluster(t, 1)
	b := c.owner(t)
	cfg := c.config(b)
	cfg.Epoch = 4
	if err := b.client.Configure(cfg); err != nil {
		t.Fatal(err)
	}
	b.disconnect()
	if err := Forget(ctx, b.dir); err != nil {
		t.Fatal(err)
	}
	if s := b.status(); s.Configured || len(s.Groups) != 0 || len(s.Peers) != 0 || s.CorePID != 0 {
		t.Errorf("status: %+v", s)
	}
	eventually(t, "the addresses are off and the fence is gone", func() bool {
		var fenced bool
		b.space.do(t, func() (err error) {
			fenced, err = fenceIntact()
			return err
		})
		return !fenced && !b.has(vip4()) && !b.has(vip6())
	})
	b.space.do(t, func() error {
		port, err := net.ListenPacket("udp", netip.AddrPortFrom(cfg.Nodes[0].Addr, DefaultPort).String())
		if err == nil {
			err = port.Close()
		}
		return err
	})

	b.stop = make(chan struct{})
	b.connect(cfg)
	if err := b.client.Configure(c.config(b)); err == nil || !strings.Contains(err.Error(), "older") {
		t.Errorf("epoch 1 after 4: %v", err)
	}
	if err := b.client.Configure(cfg); err != nil { // what the client will hand over when it reconnects
		t.Fatal(err)
	}
	c.owner(t)
	b.space.do(t, func() error {
		ok, err := fenceIntact()
		if !ok {
			t.Error("the group is held without a fence")
		}
		return err
	})
}

// A node that heartbeats cannot be sent to is named in the status as long as they cannot.
func TestUnsentHeartbeats(t *testing.T) {
	c := newCluster(t, 2)
	b := c.nodes[0]
	told := func() bool {
		return slices.ContainsFunc(b.status().Failures, func(f string) bool { return strings.HasPrefix(f, "heartbeats to n2: ") })
	}
	eth0 := func(set func(netlink.Link) error) {
		b.space.do(t, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return set(link)
		})
	}
	eth0(netlink.LinkSetDown)
	eventually(t, "the status tells that heartbeats cannot be sent", told)
	eth0(netlink.LinkSetUp)
	eventually(t, "the status has forgotten it", func() bool { return !told() })
}

// StartGuard runs a guard where none runs, keeps it running, and leaves one alone that is there.
func TestSupervisor(t *testing.T) {
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("needs unshare of util-linux, to give the child a network namespace of its own")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	opt := StartOptions{
		RunDir: dir, DataDir: data,
		Command: []string{unshare, "--net", "env", envRole + "=guard", envRunDir + "=" + dir, envDataDir + "=" + data, exe},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	sup := start(t, ctx, opt)
	first, ok := sup.Child()
	if !ok {
		t.Fatal("the guard is not a child")
	}
	other := start(t, ctx, opt)
	if pid, ok := other.Child(); ok {
		t.Errorf("a second guard runs: %d", pid)
	}
	if err := other.Stop(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another guard runs", func() bool {
		st, err := QueryStatus(ctx, dir)
		return err == nil && st.PID != first
	})
	second, _ := sup.Child()
	if err := sup.Stop(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(second, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the guard is still there after Stop: %v", err)
	}
}

func start(t *testing.T, ctx context.Context, o StartOptions) *Supervisor {
	t.Helper()
	s, err := StartGuard(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// systemd hears that the guard is ready, and that its loop turns.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	guard := startProcess(t, newSpace(t), "guard", envRunDir+"="+dir, envDataDir+"="+dir, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=600000")
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var buf [256]byte
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"} {
		if want == "STOPPING=1" {
			if err := guard.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		n, err := conn.Read(buf[:])
		if got := string(buf[:n]); err != nil || got != want {
			t.Fatalf("systemd hears %q, %v; want %q", got, err, want)
		}
	}
}
