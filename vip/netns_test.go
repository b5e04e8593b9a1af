package vip

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"holdline/deploy/lab/userns"
)

// envRole says what this test binary is when it is run again as another process.
const envRole = "HOLDLINE_VIP_TEST_ROLE"

// TestMain gets the rights to make network namespaces: as an ordinary user the whole binary runs again in a user
// namespace of its own. It is also the entry of the guards and cores that tests start as processes.
func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "guard":
		os.Exit(guardMain())
	case "core":
		os.Exit(coreMain())
	}
	userns.ForTests()
	// The tests measure milliseconds, and are cores that must beat, on machines that are busy with other things. Below the
	// guards; without the right to it the figures are as they are.
	if err := goRealTime(1); err != nil {
		fmt.Fprintln(os.Stderr, "tests run without:", err)
	}
	goleak.VerifyTestMain(m)
}

// space is a network namespace of a test.
type space struct {
	ns netns.NsHandle
	nl *netlink.Handle
}

// newSpace makes a network namespace. TestMain has seen to the right to it.
func newSpace(t testing.TB) *space {
	t.Helper()
	s := &space{}
	err := onThread(func() error {
		ns, err := netns.New()
		if err != nil {
			return err
		}
		s.ns = ns
		if s.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatalf("no network namespace can be made here (run as root or allow user namespaces): %v", err)
	}
	t.Cleanup(func() {
		s.nl.Close()
		s.ns.Close()
	})
	return s
}

// do runs f on a thread in the namespace.
func (s *space) do(t testing.TB, f func() error) {
	t.Helper()
	if err := s.try(f); err != nil {
		t.Fatal(err)
	}
}

func (s *space) try(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(s.ns); err != nil {
			return err
		}
		return f()
	})
}

// onThread runs f on a thread that is thrown away, as its namespace is changed.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// lan is a switch (a bridge in a namespace of its own) with boxes on cables. A cable's switch side is named after
// its box; the box's side is eth0.
type lan struct {
	sw    *space
	boxes map[string]*space
}

func newLAN(t testing.TB, boxes ...string) *lan {
	t.Helper()
	l := &lan{sw: newSpace(t), boxes: map[string]*space{}}
	l.sw.do(t, func() error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		if err := netlink.LinkAdd(br); err != nil {
			return err
		}
		return netlink.LinkSetUp(br)
	})
	for i, name := range boxes {
		l.boxes[name] = newSpace(t)
		l.sw.do(t, func() error { return plug(l.boxes[name], name, "br0") })
		l.boxes[name].do(t, func() error {
			return address("eth0", fmt.Sprintf("10.77.0.%d/24", 11+i), fmt.Sprintf("fd77::%d/64", 11+i))
		})
	}
	return l
}

// plug runs in the switch's namespace.
func plug(box *space, name, bridge string) error {
	br, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: br.Attrs().Index},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(box.ns),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("plug %s: %w", name, err)
	}
	return netlink.LinkSetUp(veth)
}

func address(dev string, prefixes ...string) error {
	link, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	for _, p := range prefixes {
		a, err := netlink.ParseAddr(p)
		if err != nil {
			return err
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}

// cable pulls (up = false) or plugs in the cable of a box, on the switch's side.
func (l *lan) cable(t testing.TB, name string, up bool) {
	t.Helper()
	l.sw.do(t, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	})
}
