package vip

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// box is one node of a test cluster: a guard process in a namespace, and the test as its core.
type box struct {
	t      testing.TB
	number uint32
	name   string
	space  *space
	dir    string
	guard  *exec.Cmd
	client *Client

	mu     sync.Mutex
	events []stamped
	more   chan struct{} // closed and renewed at each event
	beats  bool
	stop   chan struct{}
	wg     sync.WaitGroup
}

// String is for failures.
func (s stamped) String() string { return fmt.Sprintf("%T%+v", s.Event, s.Event) }

type stamped struct {
	Event
	at time.Time
}

// testCluster is nodes on a switch, and a phone that watches.
type testCluster struct {
	*lan
	nodes []*box
	cfg   Config
}

func vip4() netip.Addr { return netip.MustParseAddr("10.77.0.101") }
func vip6() netip.Addr { return netip.MustParseAddr("fd77::101") }

// newCluster starts n guards and their cores with one group of two addresses, IPv4 and IPv6.
func newCluster(t testing.TB, n int) *testCluster {
	t.Helper()
	names := []string{"n1", "n2", "n3"}[:n]
	c := &testCluster{lan: newLAN(t, append(names, "phone")...)}
	c.cfg = Config{
		Cluster: "test", Epoch: 1, Keys: []Key{{ID: 1, Secret: []byte("0123456789abcdef")}},
		Groups: []Group{{Number: 7, Name: "g", VIPs: []netip.Prefix{
			netip.PrefixFrom(vip4(), 24), netip.PrefixFrom(vip6(), 64),
		}}},
	}
	for i, name := range names {
		addr := netip.AddrFrom4([4]byte{10, 77, 0, byte(11 + i)})
		c.cfg.Nodes = append(c.cfg.Nodes, Node{Number: uint32(i + 1), Name: name, Addr: addr, Voter: true})
	}
	for i, name := range names {
		b := &box{
			t: t, number: uint32(i + 1), name: name, space: c.boxes[name], dir: t.TempDir(),
			more: make(chan struct{}), stop: make(chan struct{}), beats: true,
		}
		b.startGuard()
		c.nodes = append(c.nodes, b)
	}
	for _, b := range c.nodes {
		b.connect(c.config(b))
	}
	return c
}

func (c *testCluster) config(b *box) Config {
	cfg := c.cfg
	cfg.Self = b.number
	return cfg
}

func (b *box) startGuard() {
	b.t.Helper()
	b.guard = startProcess(b.t, b.space, "guard", envRunDir+"="+b.dir, envDataDir+"="+filepath.Join(b.dir, "data"))
}

// restartGuard starts a guard again after the old one has ended.
func (b *box) restartGuard() {
	b.t.Helper()
	_ = b.guard.Wait() // an error is how it was killed
	b.startGuard()
}

// connect makes the test the box's core.
func (b *box) connect(cfg Config) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := Dial(ctx, b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	b.client = client
	b.wg.Go(func() {
		for e := range client.Events() {
			b.mu.Lock()
			b.events = append(b.events, stamped{e, time.Now()})
			close(b.more)
			b.more = make(chan struct{})
			b.mu.Unlock()
		}
	})
	b.wg.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-b.stop:
				return
			case <-tick.C:
				b.mu.Lock()
				if b.beats {
					client.Beat()
				}
				b.mu.Unlock()
			}
		}
	})
	b.t.Cleanup(b.disconnect)
	if err := client.Configure(cfg); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) disconnect() {
	if b.client == nil {
		return
	}
	close(b.stop)
	_ = b.client.Close() // never fails
	b.wg.Wait()
	b.client = nil
}

func (b *box) beat(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beats = on
}

// mark is the present end of the box's events.
func (b *box) mark() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.events)
}

// await waits for an event after mark.
func await[E Event](b *box, mark int, ok func(E) bool) (E, time.Time) {
	b.t.Helper()
	e, at, err := awaitErr(b, mark, ok)
	if err != nil {
		b.t.Fatal(err)
	}
	return e, at
}

// has reports whether an event has come after mark.
func has[E Event](b *box, mark int, ok func(E) bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _, found := among(b.events[mark:], ok)
	return found
}

func among[E Event](events []stamped, ok func(E) bool) (e E, at time.Time, found bool) {
	for _, s := range events {
		if e, is := s.Event.(E); is && (ok == nil || ok(e)) {
			return e, s.at, true
		}
	}
	return e, at, false
}

func awaitErr[E Event](b *box, mark int, ok func(E) bool) (E, time.Time, error) {
	late := time.After(5 * time.Second)
	for {
		b.mu.Lock()
		e, at, found := among(b.events[mark:], ok)
		more := b.more
		mark = len(b.events)
		b.mu.Unlock()
		if found {
			return e, at, nil
		}
		select {
		case <-more:
		case <-late:
			var zero E
			return zero, time.Time{}, fmt.Errorf("%s: no %T came; events: %v", b.name, zero, b.events)
		}
	}
}

// owner waits until one node holds the group, and it alone.
func (c *testCluster) owner(t testing.TB) *box {
	t.Helper()
	var owner *box
	eventually(t, "one node owns the group", func() bool {
		owner = nil
		for _, b := range c.nodes {
			if b.client == nil {
				continue
			}
			if _, _, _, ok := b.client.Lease(7); ok {
				if owner != nil {
					t.Fatalf("%s and %s hold the group", owner.name, b.name)
				}
				owner = b
			}
		}
		return owner != nil
	})
	return owner
}

// others are the nodes but one.
func (c *testCluster) others(b *box) []*box {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(o *box) bool { return o == b })
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not so within 5 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// has tells whether an address is on the box.
func (b *box) has(a netip.Addr) bool {
	b.t.Helper()
	var found bool
	b.space.do(b.t, func() error {
		addrs, err := hostAddrs(&netlink.Handle{})
		for _, x := range addrs {
			found = found || x.prefix.Addr() == a
		}
		return err
	})
	return found
}

func (b *box) signal(sig syscall.Signal) {
	b.t.Helper()
	if err := b.guard.Process.Signal(sig); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) status() Status {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := QueryStatus(ctx, b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}
