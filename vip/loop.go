package vip

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"holdline/vip/lease"
)

// guard is the state of a guard process. Unless said otherwise a field belongs to the loop's goroutine.
type guard struct {
	opt      Options
	log      *slog.Logger
	realTime bool
	locked   bool
	failures []string // of the start
	started  int64

	clock guardClock
	shm   *sharedMemory
	net   *network
	fence *fence // nil: none, see fenceErr

	fenceErr  error
	fenced    atomic.Bool         // the fence is in place; read by housekeeping
	sysctls   map[string][]string // failures, by interface
	addresses *addresser
	scans     *scanner
	scanned   []func() // wait for the next complete scan
	hb        *heartbeatSock
	unsent    map[uint32]error // why the latest heartbeat to a node could not be sent
	recvErr   error            // why the latest look for heartbeats failed
	sealer    *lease.Sealer
	sealed    []byte
	packet    lease.Packet
	core      *lease.Core // nil: not configured
	coreNode  uint32      // number the core was made for
	cfg       *Config
	groups    []*group
	unfit     map[uint32]string // groups that do not fit and why, as last told
	peer      *ipcConn          // the core's connection
	why       string            // why this node does not serve, while it does not
	health    uint32
	alarms    alarmLog
	worstTurn time.Duration
	worstLate time.Duration
	stopAt    int64 // shutting down: when at the latest
	stopped   bool  // the lease core has been stopped
	ended     bool

	frame [2048]byte
	fds   []unix.PollFd
	turns atomic.Uint64 // read by the watchdog

	state guardState // the IPC server's, under its lock

	wake   int // eventfd
	taskMu sync.Mutex
	tasks  []func() // what others want done on the loop
}

// Times of the guard.
const (
	beatTimeout  = int64(500 * time.Millisecond) // the core's progress
	refreshEvery = 300 * time.Millisecond        // of addresses that live a second
	stopWait     = int64(200 * time.Millisecond) // for others to take the groups over at the end
	idleTurn     = int64(100 * time.Millisecond) // longest sleep
	packetsATurn = 128                           // heartbeats read before the rest gets its turn
)

func newGuard(o Options, state guardState) (*guard, error) {
	g := &guard{opt: o, log: o.Logger, state: state, why: "no core is connected", wake: -1, sysctls: map[string][]string{}, unsent: map[uint32]error{}}
	g.started = g.clock.now()
	tuneRuntime()
	fail := func(err error) bool {
		if err != nil {
			g.failures = append(g.failures, err.Error())
			g.log.Warn("guard goes on without", "err", err)
		}
		return err == nil
	}
	g.realTime = fail(goRealTime(realTimePriority))
	g.locked = fail(lockMemory())
	var err error
	if g.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	g.scans = newScanner(func(r scanResult) { g.post(func() { g.found(r) }) })
	g.addresses, err = newAddresser(g.turns.Load,
		func(a netip.Addr, err error) { g.post(func() { g.addressUp(a, err) }) },
		func(err error) { g.post(func() { g.alarm(err.Error()) }) })
	if err == nil {
		g.net, err = openNetwork()
	}
	if err == nil {
		g.shm, err = createShared(o.RunDir)
	}
	if err != nil {
		g.close()
		return nil, err
	}
	if g.fence, g.fenceErr = openFence(); g.fenceErr != nil {
		g.log.Error("no fence: a frozen guard can keep an address for up to a second", "err", g.fenceErr)
	}
	return g, nil
}

func (g *guard) close() {
	if g.hb != nil {
		g.hb.close()
	}
	if g.fence != nil {
		g.fence.close()
	}
	if g.net != nil {
		g.net.close()
	}
	if g.shm != nil {
		g.shm.close()
	}
	if g.wake >= 0 {
		unix.Close(g.wake)
		g.wake = -1
	}
}

// post has the loop run f. Safe for concurrent use; after the end of the loop f is not run.
func (g *guard) post(f func()) {
	g.taskMu.Lock()
	g.tasks = append(g.tasks, f)
	g.taskMu.Unlock()
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(g.wake, one[:]) // full means that the loop is awake
}

// loop runs until the guard has shut down. One turn: sleep until something is due or comes in, and do it.
func (g *guard) loop() error {
	for now := g.clock.now(); !g.ended; {
		due := g.nextDue(now)
		if err := g.sleep(due - now); err != nil {
			return err
		}
		start := g.clock.now()
		if late := time.Duration(start - max(due, now)); late > g.worstLate && g.turns.Load() > 0 {
			g.worstLate = late
		}
		g.turn()
		g.shm.turns.Store(g.turns.Add(1))
		now = g.clock.now()
		g.worstTurn = max(g.worstTurn, time.Duration(now-start))
	}
	return nil
}

// Positions in the poll set; packet sockets follow.
const (
	pollWake = iota
	pollNet
	pollHeartbeat
	pollCore
	pollFixed
)

func (g *guard) sleep(d int64) error {
	g.fds = append(g.fds[:0],
		unix.PollFd{Fd: int32(g.wake), Events: unix.POLLIN},
		unix.PollFd{Fd: int32(g.net.events), Events: unix.POLLIN},
		unix.PollFd{Fd: -1, Events: unix.POLLIN},
		unix.PollFd{Fd: -1, Events: unix.POLLIN})
	if g.hb != nil {
		g.fds[pollHeartbeat].Fd = int32(g.hb.fd)
	}
	if g.peer != nil {
		g.fds[pollCore].Fd = int32(g.peer.pidfd)
	}
	for _, i := range g.net.ifaces {
		for _, p := range []*packetSock{i.arp, i.nd} {
			if p != nil {
				g.fds = append(g.fds, unix.PollFd{Fd: int32(p.fd), Events: unix.POLLIN})
			}
		}
	}
	return poll(g.fds, d)
}

// turn does all that is due. What has run out comes first: after a pause the packets that waited are worth less than the clock.
func (g *guard) turn() {
	slept := g.clock.suspended()
	if g.core != nil {
		if slept {
			g.alarm("the machine has slept: every group is given up")
			g.do(g.core.Suspended(g.clock.now()))
		}
		g.tick()
	}
	if g.fds[pollCore].Revents != 0 && g.peer != nil {
		g.detach(g.peer, "core exited")
	}
	if g.fds[pollNet].Revents != 0 {
		g.networkChanged(g.net.read())
	}
	if g.fds[pollHeartbeat].Revents != 0 && g.hb != nil {
		g.heartbeats()
	}
	for _, fd := range g.fds[pollFixed:] {
		if fd.Revents != 0 {
			g.claims()
			break
		}
	}
	if g.fds[pollWake].Revents != 0 {
		g.runTasks()
	}
	g.watchCore()
	if g.core != nil {
		g.tick()
		g.keepAnnouncing()
	}
	g.finishShutdown()
}

func (g *guard) tick() {
	for range 16 { // each one moves the deadline on; a bound all the same
		now := g.clock.now()
		if g.core.NextDeadline() > now {
			return
		}
		g.do(g.core.Tick(now))
	}
}

func (g *guard) nextDue(now int64) int64 {
	due := now + idleTurn
	if g.core != nil {
		due = min(due, g.core.NextDeadline())
	}
	for _, gr := range g.groups {
		if gr.held {
			due = min(due, gr.announceAt)
		}
	}
	if g.stopAt != 0 {
		due = min(due, g.stopAt)
	}
	return due
}

func (g *guard) runTasks() {
	var b [8]byte
	_, _ = unix.Read(g.wake, b[:]) // only resets it
	g.taskMu.Lock()
	tasks := g.tasks
	g.tasks = nil
	g.taskMu.Unlock()
	for _, f := range tasks {
		f()
	}
}

// heartbeats takes in what has come, but never so much that a flood keeps the guard from its clock.
func (g *guard) heartbeats() {
	for range packetsATurn {
		b, known, err := g.hb.recv()
		g.recvErr = err
		if err != nil || b == nil {
			return
		}
		if !known || g.core == nil || g.sealer.Open(&g.packet, b) != nil {
			continue // strangers and forgeries are not worth a line in the log each
		}
		g.do(g.core.Receive(g.clock.now(), &g.packet))
	}
}

// networkChanged follows interfaces and addresses.
func (g *guard) networkChanged(c change) {
	if g.cfg == nil {
		return
	}
	if c.rescan {
		g.rescan()
	}
	if c.link {
		g.applyCarrier()
		now := g.clock.now()
		for _, gr := range g.groups {
			gr.announced, gr.announceAt = 0, now // if held: a bond may send from another port now
		}
	}
	for _, a := range c.gone {
		g.addresses.lost(a) // by hand, or because the guard was away for a second
	}
}
