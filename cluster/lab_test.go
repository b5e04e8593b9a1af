package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
)

// net127 hands every test addresses of its own in 127/8.
var net127 atomic.Uint32

// lab is a cluster in this process: real disks, real TLS, real raft on loopback addresses. Nodes own no VIPs.
type lab struct {
	t    testing.TB
	net  uint32
	dirs []string

	mu     sync.Mutex // guards what follows where a test's goroutines use it while nodes are restarted
	nodes  []*Node
	refuse map[string]func() error // what the raft log in a directory asks before a write
}

func newLab(t testing.TB, nodes int) *lab {
	t.Helper()
	l := &lab{t: t, refuse: map[string]func() error{}, net: net127.Add(1) + uint32(os.Getpid()%50)*4}
	for range nodes {
		dir := filepath.Join(t.TempDir(), "data")
		l.dirs = append(l.dirs, dir)
		l.nodes = append(l.nodes, l.open(dir))
	}
	t.Cleanup(func() {
		for _, n := range l.nodes {
			if err := n.Kill(); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
	})
	return l
}

func (l *lab) open(dir string) *Node { return l.openAs(dir, "test", Release{}) }

func (l *lab) openAs(dir, version string, r Release) *Node {
	l.t.Helper()
	n, err := Open(l.t.Context(), Options{
		DataDir: dir, RunDir: dir, WithoutGuard: true, Logger: testLogger(l.t), Version: version, Release: r,
		RefuseLog: func() error {
			l.mu.Lock()
			refuse := l.refuse[dir]
			l.mu.Unlock()
			if refuse == nil {
				return nil
			}
			return refuse()
		},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func testLogger(t testing.TB) *slog.Logger {
	if os.Getenv("HOLDLINE_TEST_LOG") != "" { // at once, for a test that hangs
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (l *lab) addr(i int) string { return fmt.Sprintf("127.%d.%d.%d", 10+l.net/200, l.net%200, i+1) }

func (l *lab) init() string {
	l.t.Helper()
	a, err := l.nodes[0].Init(l.t.Context(), api.InitRequest{Name: "n1", Listen: l.addr(0)})
	if err != nil {
		l.t.Fatal(err)
	}
	return a.Token.Token
}

func (l *lab) token() string {
	l.t.Helper()
	t, err := l.nodes[0].CreateToken(l.t.Context(), api.TokenRequest{})
	if err != nil {
		l.t.Fatal(err)
	}
	return t.Token
}

func (l *lab) join(i int, token string) api.JoinAnswer {
	l.t.Helper()
	a, err := l.nodes[i].Join(l.t.Context(), api.JoinRequest{Token: token, Name: fmt.Sprintf("n%d", i+1), Listen: l.addr(i)})
	if err != nil {
		l.t.Fatal(err)
	}
	return a
}

// formed makes a cluster of all nodes and waits until it is highly available.
func (l *lab) formed() *lab {
	l.t.Helper()
	l.join(1, l.init())
	for i := 2; i < len(l.nodes); i++ {
		l.join(i, l.token())
	}
	l.highlyAvailable()
	return l
}

func (l *lab) highlyAvailable() {
	l.t.Helper()
	for i, n := range l.nodes {
		l.until(fmt.Sprintf("node %d says HA: yes", i+1), func() bool { return l.ha(n).Level == api.HAYes })
	}
}

func (l *lab) ha(n *Node) api.HA {
	s, err := n.Status(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return s.HA
}

// until waits for a condition.
func (l *lab) until(what string, ok func() bool) {
	l.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			for i, n := range l.nodes {
				s, _ := n.Status(context.Background())
				l.t.Logf("node %d: %s; raft %+v", i+1, s.HA.Summary, s.Raft)
			}
			l.t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (l *lab) leader() int {
	l.t.Helper()
	found := -1
	l.until("a leader", func() bool {
		for i, n := range l.nodes {
			if e := n.engine.Load(); e != nil && e.lead.Load() != nil && e.raft.State() == raft.Leader { // one that was deposed has yet to notice
				found = i
				return true
			}
		}
		return false
	})
	return found
}

func (l *lab) kill(i int) {
	l.t.Helper()
	if err := l.nodes[i].Kill(); err != nil {
		l.t.Errorf("kill: %v", err)
	}
}

func (l *lab) restart(i int) { l.restartAs(i, "test", Release{}) }

func (l *lab) restartAs(i int, version string, r Release) {
	n := l.openAs(l.dirs[i], version, r)
	l.mu.Lock()
	l.nodes[i] = n
	l.mu.Unlock()
}

func (l *lab) node(i int) *Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes[i]
}

func (l *lab) addDomain(i int, name string) {
	l.t.Helper()
	if err := l.nodes[i].AddDomain(l.t.Context(), api.Domain{Name: name}); err != nil {
		l.t.Fatalf("node %d: add %s: %v", i+1, name, err)
	}
}

// snapshot has the node's raft write its state to the disk.
func (l *lab) snapshot(i int) {
	l.t.Helper()
	if err := l.nodes[i].engine.Load().raft.Snapshot().Error(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) hasDomain(i int, name string) bool {
	e := l.nodes[i].engine.Load()
	return e != nil && e.machine.Config().Domain(name) != nil
}
