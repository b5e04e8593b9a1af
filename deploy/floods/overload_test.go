package main

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore"
)

// slowLog commits a fixed number of commands a second, in order: a node of known capacity, whatever else the machine does.
type slowLog struct {
	mu    sync.Mutex
	m     *fsm.Machine
	index uint64
	queue []func()
}

func (l *slowLog) apply(cmd *pb.Command) *pb.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	b, err := proto.Marshal(&pb.Entry{TimeMs: int64(l.index), Batches: []*pb.Batch{{Commands: []*pb.Command{cmd}}}})
	if err != nil {
		panic(err)
	}
	return l.m.Apply(l.index, b)[0]
}

func (l *slowLog) Submit(cmd *pb.Command, _ time.Duration, done func(*pb.Result, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, func() { done(l.apply(cmd), nil) })
}

func (l *slowLog) SubmitUntilDecided(cmd *pb.Command, patience time.Duration, done, _ func(*pb.Result, error)) {
	l.Submit(cmd, patience, done)
}

// run commits what waits, rate commands a second; what could not be done in time while nothing waited is not made up for.
func (l *slowLog) run(ctx context.Context, rate float64) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last, room := time.Now(), 0.0
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			room = min(room+rate*now.Sub(last).Seconds(), rate/5)
			last = now
			n := int(room)
			l.mu.Lock()
			n = min(n, len(l.queue))
			batch := l.queue[:n:n]
			l.queue = l.queue[n:]
			l.mu.Unlock()
			room -= float64(n)
			for _, do := range batch {
				do()
			}
		}
	}
}

type oneOwner struct{}

func (oneOwner) Lease(uint32) (uint64, int64, bool)    { return 1, 0, true }
func (oneOwner) Owner(uint32) (uint32, uint64)         { return 1, 1 }
func (oneOwner) Send(group uint32, _ uint64, _ []byte) { panic("nobody else is there") }

// TestGoodput: under twice the load that a node can commit at least nine tenths as many calls are completed as it can commit (DESIGN §5),
// and whoever is let in is served before the caller has given up; under four times the load, too, from one second to the next.
func TestGoodput(t *testing.T) {
	if testing.Short() {
		t.Skip("takes fifteen seconds")
	}
	for load, least := range map[float64]float64{2: 0.9, 4: 0.9} {
		const capacity = 200 // calls a second, of three commands each
		log := &slowLog{m: fsm.New()}
		to, caller := slowNode(t, log)
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		var all sync.WaitGroup
		all.Go(func() { log.run(ctx, 3*capacity) })
		c := newCaller(caller, to, "flood", "100@"+domain)
		all.Go(func() { c.open(ctx, load*capacity) })
		sleep(ctx, 3*time.Second) // to find its way
		c.take()
		start := time.Now()
		<-ctx.Done()
		o := c.take()
		s := time.Since(start).Seconds()
		cancel()
		all.Wait()
		good, offered := float64(o.Completed)/s, float64(o.Started)/s
		t.Logf("offered %.0f/s of %d: %.0f/s completed, %.0f/s refused, %d failed, answer p50 %v p99 %v", offered, capacity, good,
			float64(o.Refused)/s, o.Failed, o.percentile(0.5), o.percentile(0.99))
		if offered < 0.75*load*capacity {
			t.Skipf("the machine is too busy: only %.0f calls/s could be offered", offered)
		}
		if good < least*capacity || o.percentile(0.99) > giveUp-3*time.Second {
			t.Errorf("load %v: %.0f calls/s of %d completed (must be %.0f), p99 %v", load, good, capacity, least*capacity, o.percentile(0.99))
		}
	}
}

// slowNode starts a core on loopback with a gateway behind it, and returns its address and a trusted caller's socket.
func slowNode(t *testing.T, log *slowLog) (*net.UDPAddr, *net.UDPConn) {
	t.Helper()
	socket := func() *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	gw, caller, free := socket(), socket(), socket()
	go gateway(gw) // until its socket is closed
	port := uint16(free.LocalAddr().(*net.UDPAddr).Port)
	vip := netip.MustParseAddr("127.0.0.101")
	const uuid = "11111111-1111-1111-1111-111111111111"
	secret := []byte("0123456789abcdef0123456789abcdef")
	for _, cmd := range []*pb.Command{
		{Op: &pb.Command_PutNode{PutNode: &pb.PutNode{Node: &pb.Node{Uuid: uuid, Name: "n1", Listen: "127.0.0.1:7700", PublicKey: make([]byte, 32), Voter: true}}}},
		{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: &pb.Group{Name: "g1", Vips: []*pb.Vip{{Prefix: vip.String() + "/8"}}, HomeNode: uuid}}}},
		{Op: &pb.Command_PutKey{PutKey: &pb.PutKey{Purpose: "branch", Id: 1, Secret: secret}}},
		{Op: &pb.Command_PutKey{PutKey: &pb.PutKey{Purpose: "record-route", Id: 1, Secret: secret}}},
		{Op: &pb.Command_PutKey{PutKey: &pb.PutKey{Purpose: "nonce", Id: 1, Secret: secret}}},
		{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: domain, Aliases: []string{vip.String()}}}}},
		{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: "gw", Algorithm: "round-robin"}}}},
		{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{Pool: "gw", Name: "m1", Address: gw.LocalAddr().String(), Sources: []string{"127.0.0.1/32"}}}}},
		{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: &pb.Route{Domain: domain, Pool: "gw"}}}},
	} {
		if r := log.apply(cmd); r.Code != pb.Code_OK {
			t.Fatalf("%v: %v %s", cmd, r.Code, r.Error)
		}
	}
	c, err := sipcore.New(sipcore.Options{Node: 1, Machine: log.m, Log: log, Owners: oneOwner{}, Link: oneOwner{}, Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	none := -1
	if err := c.SetGroups([]sipcore.Group{{Number: 1, VIPs: []sipcore.VIP{{Addr: vip, Port: port, TLSPort: none, WSPort: none, WSSPort: none}}}}); err != nil {
		t.Fatal(err)
	}
	return &net.UDPAddr{IP: net.IP(vip.AsSlice()), Port: int(port)}, caller
}
