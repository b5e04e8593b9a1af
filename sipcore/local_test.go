package sipcore

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
)

// localLog is a Log of one node: what is submitted is applied at once.
type localLog struct {
	mu    sync.Mutex
	m     *fsm.Machine
	index uint64
	ms    int64
}

func (l *localLog) Submit(cmd *pb.Command, _ time.Duration, done func(*pb.Result, error)) {
	done(l.apply(cmd), nil)
}

func (l *localLog) SubmitUntilDecided(cmd *pb.Command, patience time.Duration, done, _ func(*pb.Result, error)) {
	l.Submit(cmd, patience, done)
}

func (l *localLog) apply(cmd *pb.Command) *pb.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	l.ms++
	b, err := proto.Marshal(&pb.Entry{TimeMs: l.ms, Batches: []*pb.Batch{{Commands: []*pb.Command{cmd}}}})
	if err != nil {
		panic(err)
	}
	return l.m.Apply(l.index, b)[0]
}

// owners says which node owns which group; a core asks through its own node's eyes.
type owners struct {
	mu    sync.Mutex
	owner map[uint32]uint32
	epoch map[uint32]uint64
	since int64
}

type ownersOf struct {
	*owners
	node uint32
}

func (o ownersOf) Lease(group uint32) (uint64, int64, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epoch[group], o.since, o.owner[group] == o.node
}

func (o ownersOf) Owner(group uint32) (uint32, uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.owner[group], o.epoch[group]
}

// links carries frames between the cores of a test, in order, from a goroutine per receiver.
type links struct {
	*owners
	mu    sync.Mutex
	nodes map[uint32]chan linked
	tap   atomic.Pointer[func(frame []byte)] // sees each frame as it is handed over
}

type linked struct {
	from, group uint32
	epoch       uint64
	frame       []byte
}

type linkOf struct {
	*links
	node uint32
}

func (l linkOf) Send(group uint32, _ uint64, frame []byte) {
	if tap := l.links.tap.Load(); tap != nil {
		(*tap)(frame)
	}
	node, epoch := ownersOf{owners: l.owners}.Owner(group)
	l.links.mu.Lock()
	defer l.links.mu.Unlock()
	if ch := l.nodes[node]; ch != nil {
		select {
		case ch <- linked{l.node, group, epoch, frame}:
		default: // a full queue drops, as the real link does
		}
	}
}

// lab is a cluster of cores over one machine, on loopback addresses.
type lab struct {
	t      testing.TB
	log    *localLog
	owners *owners
	links  *links
	port   uint16
	cores  []*Core
	groups []Group

	certificates *transport.Certificates
	with         []func(*Options)
}

func newLab(t testing.TB, nodes int, with ...func(*Options)) *lab {
	t.Helper()
	l := &lab{
		t: t, log: &localLog{m: fsm.New()}, port: freePort(t), certificates: testCertificates(t), with: with,
		owners: &owners{owner: map[uint32]uint32{}, epoch: map[uint32]uint64{}},
	}
	l.links = &links{owners: l.owners, nodes: map[uint32]chan linked{}}
	node := &pb.Node{Uuid: "11111111-1111-1111-1111-111111111111", Name: "n1", Listen: "127.0.0.1:7700", PublicKey: make([]byte, 32), Voter: true}
	l.ok(&pb.Command{Op: &pb.Command_PutNode{PutNode: &pb.PutNode{Node: node}}})
	var groups []Group
	for i := range nodes {
		addr := netip.AddrFrom4([4]byte{127, 0, 0, byte(101 + i)})
		g := &pb.Group{Name: fmt.Sprintf("g%d", i+1), Vips: []*pb.Vip{{Prefix: addr.String() + "/8"}}, HomeNode: node.Uuid}
		l.ok(&pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: g}}})
		groups = append(groups, Group{Number: uint32(i + 1), VIPs: []VIP{{Addr: addr, Port: l.port}}})
		l.owners.owner[uint32(i+1)], l.owners.epoch[uint32(i+1)] = uint32(i+1), 1
	}
	for _, p := range []string{"branch", "record-route", "nonce"} {
		l.ok(&pb.Command{Op: &pb.Command_PutKey{PutKey: &pb.PutKey{Purpose: p, Id: 1, Secret: []byte("0123456789abcdef0123456789abcdef")}}})
	}
	l.ok(&pb.Command{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: "example.com", Aliases: []string{"127.0.0.101"}}}}})
	l.set(proxy.SettingProbe, "0") // a test's gateway is asked nothing that it does not expect
	l.groups = groups
	for i := range nodes {
		l.start(uint32(i+1), groups)
	}
	return l
}

func (l *lab) start(node uint32, groups []Group) {
	l.t.Helper()
	opt := Options{
		Node: node, Machine: l.log.m, Log: l.log, Owners: ownersOf{l.owners, node}, Link: linkOf{l.links, node}, Readers: 1, Certificates: l.certificates,
	}
	for _, with := range l.with {
		with(&opt)
	}
	c, err := New(opt)
	if err != nil {
		l.t.Fatal(err)
	}
	// Every node listens on every VIP, as on real boxes; on one machine the kernel would spread datagrams
	// over all of them, so here each opens its own only.
	var own []Group
	for _, g := range groups {
		if g.Number != node {
			g = Group{Number: g.Number}
		}
		own = append(own, g)
	}
	if err := c.setGroups(groups, own); err != nil {
		l.t.Fatal(err)
	}
	ch := make(chan linked, 4096)
	l.links.nodes[node] = ch
	var wg sync.WaitGroup
	wg.Go(func() {
		for f := range ch {
			c.HandleFrame(f.from, f.group, f.epoch, f.frame)
		}
	})
	l.cores = append(l.cores, c)
	l.t.Cleanup(func() {
		l.links.mu.Lock()
		close(ch)
		delete(l.links.nodes, node)
		l.links.mu.Unlock()
		wg.Wait()
		if err := c.Close(); err != nil {
			l.t.Error(err)
		}
	})
}

func (l *lab) ok(cmd *pb.Command) *pb.Result {
	l.t.Helper()
	r := l.log.apply(cmd)
	if r.Code != pb.Code_OK {
		l.t.Fatalf("%v: %v %s", cmd, r.Code, r.Error)
	}
	return r
}

// pool makes a pool of one member and routes all of the domain's numbers to it; calls from source are trusted, calls to it leave
// through group.
func (l *lab) pool(name, member, source string, group uint32) {
	l.t.Helper()
	l.ok(&pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: name, Algorithm: "round-robin"}}}})
	m := &pb.Member{Pool: name, Name: "m1", Address: member, Sources: []string{source}, Group: group}
	l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
	l.ok(&pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: &pb.Route{Domain: "example.com", Pool: name}}}})
}

// freePort finds a port that is free for UDP, with the next three free for streams.
func freePort(t testing.TB) uint16 {
	t.Helper()
	for range 100 {
		c, err := net.ListenPacket("udp", "127.0.0.101:0")
		if err != nil {
			t.Fatal(err)
		}
		port := c.LocalAddr().(*net.UDPAddr).Port
		free := c.Close() == nil
		for i := range 4 {
			l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.101:%d", port+i))
			if free = free && err == nil; err == nil {
				_ = l.Close()
			}
		}
		if free {
			return uint16(port)
		}
	}
	t.Fatal("no four free ports in a row")
	return 0
}

// move hands a group from one node to another, which takes it over under the next epoch.
func (l *lab) move(group, from, to uint32) {
	l.t.Helper()
	l.owners.mu.Lock()
	l.owners.owner[group] = 0
	l.owners.mu.Unlock()
	l.cores[from-1].GroupLost(group)
	own := []Group{}
	for _, g := range l.groups {
		if g.Number != group {
			g = Group{Number: g.Number}
		}
		own = append(own, g)
	}
	if err := l.cores[from-1].setGroups(l.groups, nil); err != nil {
		l.t.Fatal(err)
	}
	own[to-1] = l.groups[to-1]
	if err := l.cores[to-1].setGroups(l.groups, own); err != nil {
		l.t.Fatal(err)
	}
	l.owners.mu.Lock()
	l.owners.owner[group] = to
	l.owners.epoch[group]++
	epoch := l.owners.epoch[group]
	l.owners.mu.Unlock()
	l.cores[to-1].GroupAcquired(group, epoch)
	l.ok(&pb.Command{Op: &pb.Command_Takeover{Takeover: &pb.Takeover{
		Group: group, Epoch: epoch, Node: "11111111-1111-1111-1111-111111111111",
	}}})
}
