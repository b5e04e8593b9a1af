// Package sipcore is the SIP core of a node: it reads datagrams from the VIPs that this node owns,
// runs the transactions of the groups it owns, and hands the rest to the owning node.
// sipcore/DESIGN.md has the invariants.
package sipcore

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"holdline/fsm"
	"holdline/sipcore/proxy"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
)

// Options are what a core is made from. Node, Machine, Log, Owners and Link are required.
type Options struct {
	Node    uint32       // this node's number in the cluster
	Machine *fsm.Machine // this node's replica: configuration, bindings and calls are read from it
	Log     Log
	Owners  Owners
	Link    Link
	Logger  *slog.Logger // nil: silent

	// Certificates are what TLS and WSS show; nil: none, so that handshakes fail.
	Certificates *transport.Certificates
	Accounts     proxy.Accounts         // at gateways; nil: there are none
	Authorities  *x509.CertPool         // sign the certificates of gateways; nil: whom the machine trusts
	Streams      transport.StreamLimits // of connections; zero values stand for the defaults

	Readers int // sockets and reading goroutines per VIP; 0 = number of CPUs
}

const (
	shards          = 64                    // much more than cores: a lock is seldom waited for
	tick            = 20 * time.Millisecond // of the transaction timers, which fire so late at most
	idleTick        = 40 * time.Millisecond // while there are no transactions; the first one's timers may be so much late
	maxTransactions = 1_000_000             // where the runtime knows of no limit to its memory
	transactionSize = 2 << 10               // what one takes on average while it is remembered, with its share of the call's row: bytes
	maxLegs         = 16                    // targets of one request
	maxLookups      = 64                    // name lookups under way
)

// Group is a VIP group as the core serves it: on every node, for every group, whoever owns it.
type Group = proxy.Group

// VIP is one address of a group.
type VIP = proxy.VIP

// Core is a node's SIP core. Its methods are safe for concurrent use.
type Core struct {
	opt      Options
	log      *slog.Logger
	udp      *transport.UDP
	streams  *transport.Streams
	start    time.Time
	seed     maphash.Seed
	fallback []byte // stands in for keys while the configuration has none
	pool     txn.Pool
	stats    proxy.Stats
	drops    drops
	tickles  tickles
	icmp     icmp
	absent   absentees
	alive    keepalives

	admission   proxy.Admission
	health      proxy.Health // of gateways
	trunks      trunks
	heardConns  heardConns
	refusals    proxy.Refusals // what this node has refused last
	room        room           // the first worker's
	kernelDrops uint64         // as the first worker last saw them
	slept       slept
	resolver    *resolve.Resolver

	shards  []*shard
	workers []*worker
	scratch sync.Pool // *scratch

	mu       sync.Mutex // guards groups, the making of views, and the start of goroutines against Close
	groups   []Group
	view     atomic.Pointer[proxy.View]
	acquired atomic.Pointer[map[uint32]acquisition] // by group; copied on change
	moved    atomic.Pointer[map[uint32]int64]       // when a group's latest owner was recorded, in the core's time; copied on change

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New makes a core that serves nothing until SetGroups.
func New(opt Options) (*Core, error) {
	c := &Core{opt: opt, log: opt.Logger, start: time.Now(), seed: maphash.MakeSeed(), fallback: make([]byte, 32)}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if _, err := rand.Read(c.fallback); err != nil {
		return nil, fmt.Errorf("start SIP core: no random numbers from the kernel: %w", err)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.resolver = resolve.New(resolve.Options{Limit: maxLookups})
	c.acquired.Store(&map[uint32]acquisition{})
	c.moved.Store(&map[uint32]int64{})
	udp, err := transport.NewUDP(transport.Options{Readers: opt.Readers, Handler: c.handle, Unreachable: c.unreachable, Logger: c.log})
	if err != nil {
		c.cancel()
		return nil, fmt.Errorf("start SIP core: %w", err)
	}
	c.udp = udp
	if err := c.startStreams(); err != nil {
		c.cancel()
		return nil, errors.Join(fmt.Errorf("start SIP core: %w", err), udp.Close())
	}
	c.scratch.New = func() any { return &scratch{out: c.udp.NewSender()} }
	c.newView(opt.Machine.Config())
	c.makeShards()
	opt.Machine.Watch(c.watch)
	c.wg.Go(c.deadlines)
	c.wg.Go(c.keepAlive)
	c.wg.Go(c.probeGateways)
	c.wg.Go(c.keepRegistered)
	return c, nil
}

func (c *Core) makeShards() {
	memory := debug.SetMemoryLimit(-1)
	c.room = newRoom(memory)
	auth, registrar := c.identities()
	opt := proxy.Options{
		State: c.opt.Machine, Auth: auth, Registrar: registrar, Pool: &c.pool, Stats: &c.stats, Health: &c.health, Admission: &c.admission,
		Accounts: c.opt.Accounts, Refusals: &c.refusals, MaxCells: roomFor(memory)/shards + 1, MaxLegs: maxLegs,
	}
	for range min(runtime.GOMAXPROCS(0), shards) {
		c.workers = append(c.workers, newWorker(c))
	}
	for i := range shards {
		w := c.workers[i%len(c.workers)]
		s := &shard{core: c, worker: w}
		s.proxy = proxy.NewShard(opt, s)
		w.shards = append(w.shards, s)
		c.shards = append(c.shards, s)
	}
	for _, w := range c.workers {
		c.wg.Go(w.run)
	}
}

// now is the core's time: nanoseconds since its start, monotonic, never 0.
func (c *Core) now() int64 {
	t := time.Now()
	now := int64(t.Sub(c.start)) + 1
	c.slept.see(t.UnixNano(), now)
	return now
}

// shardOf is the shard of a Call-ID: all messages of a dialog are in one, so their order is kept.
func (c *Core) shardOf(callID []byte) *shard {
	return c.shards[maphash.Bytes(c.seed, callID)%uint64(len(c.shards))]
}

// Close stops the core: sockets, timers and goroutines. Nothing is sent any more.
func (c *Core) Close() error {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	err := errors.Join(c.streams.Close(), c.udp.Close())
	c.wg.Wait()
	if err != nil {
		return fmt.Errorf("stop SIP core: %w", err)
	}
	return nil
}
