package cluster

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/link"
	"holdline/cluster/pki"
	"holdline/cluster/port"
	"holdline/cluster/store"
	"holdline/cluster/submit"
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/beat"
)

// engine is everything that runs on a member.
type engine struct {
	*membership
	node   *Node
	logger *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	members   *memberTable
	port      *port.Port
	stream    *port.Raft
	transport *raft.NetworkTransport
	store     *store.Store
	replica   *replica
	machine   *fsm.Machine
	raft      *raft.Raft
	submitter *submit.Submitter
	running   atomic.Bool // raft is there
	onDisk    uint64      // the last entry that was on disk when this process started
	toApply   uint64      // the last one of the log then that the state machine gets: see wholeState

	number  atomic.Uint32 // of this node; 0 until the log has given it
	link    atomic.Pointer[link.Link]
	peers   peerInfos
	lead    atomic.Pointer[leadership]
	verify  verifier
	tuning  sync.Mutex // see tune
	tellers tellers    // of this node as leader
	stuck   stuckTransfer
	gossip  gossip
	vips    vips
	health  health
	cdrs    cdrs
	trunks  trunkInfos

	fillings  fillings
	unreached fillings     // alike: whom it sends the log to, to no avail so far
	handing   atomic.Int32 // transfers of the leadership that are under way

	badSnapshots badSnapshots

	checksums checksums

	configured chan struct{} // the replicated configuration has changed
	restores   chan *restoration
	stopOnce   sync.Once
	stopErr    error
	undo       []func() error // in order of start
}

// startEngine starts a member: what it needs to know is in m and in the data directory. prepare populates a new cluster, of
// which this node is the only voter, before the rest starts.
func startEngine(ctx context.Context, n *Node, m *membership, prepare func(*engine) error) (*engine, error) {
	e := &engine{membership: m, node: n, logger: n.logger.With("node", m.Name), configured: make(chan struct{}, 1), restores: make(chan *restoration)}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.peers.init()
	e.checksums.init()
	e.vips.init() // before raft runs: a leader asks for it at once
	err := e.startLog(prepare != nil)
	if err == nil && prepare != nil {
		err = prepare(e)
	}
	if err == nil {
		err = e.startServices(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, e.stop())
	}
	return e, nil
}

// startLog opens port, log and state machine, and starts raft.
func (e *engine) startLog(bootstrap bool) error {
	var err error
	if e.members, err = newMemberTable(e.node.dir, e.logger); err != nil {
		return err
	}
	if bootstrap { // what is on disk is of another cluster: a join there came to nothing
		e.members = &memberTable{dir: e.node.dir, logger: e.logger}
	}
	creds := e.credentials()
	if e.port, err = port.Listen(e.Listen, creds.ServerConfig(e.members.authorize), e.logger); err != nil {
		return err
	}
	e.undo = append(e.undo, func() error { e.port.Close(); return nil })
	e.stream = port.NewRaft(e.port, func(addr netip.AddrPort) (*tls.Config, error) {
		m, ok := e.members.byAddress(addr)
		if !ok {
			return nil, errNotMember
		}
		return creds.ClientConfig(pki.ProtoRaft, m.UUID, e.members.authorize), nil
	})
	e.undo = append(e.undo, e.stream.Close)
	if e.store, err = store.Open(store.Options{
		Dir: e.node.dir.path, Trouble: e.diskTrouble, Logger: newHCLog(e.logger, "raft-log"), Refuse: e.node.opt.RefuseLog,
	}); err != nil {
		return err
	}
	e.undo = append(e.undo, e.store.Close)
	e.machine = fsm.New()
	e.machine.Know(e.node.opt.Release.level())
	e.replica = &replica{machine: e.machine, ask: e.checksums.put}
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return fmt.Errorf("make session nonce: %w", err)
	}
	// The submitter hears the state machine from the first entry on, but finds no leader before raft runs.
	e.submitter = submit.New(submit.Options{Node: e.UUID, Send: e.sendBatch, Local: e.ownGatherer, Logger: e.logger, Gate: e.gate}, binary.BigEndian.Uint64(nonce[:]))
	e.undo = append(e.undo, func() error { e.submitter.Close(); return nil })
	e.machine.Watch(e.event)
	if err := e.startRaft(bootstrap); err != nil {
		return err
	}
	e.running.Store(true)
	e.submitter.Resend()
	e.number.Store(e.members.number(e.UUID))
	return nil
}

// startServices starts what needs this node's number: link, gossip, guard and SIP core.
func (e *engine) startServices(ctx context.Context) error {
	number := e.number.Load()
	if number == 0 {
		return fmt.Errorf("start member: the member table does not hold this node: run `holdline join` again")
	}
	l := link.New(link.Options{
		Self: number, Owners: &e.vips, Handler: linkHandler{e}, Logger: e.logger,
		Dial: func(ctx context.Context, to uint32) (net.Conn, error) {
			m, ok := e.members.byNumber(to)
			if !ok {
				return nil, errNotMember
			}
			return port.Dial(ctx, e.Listen.Addr(), m.Listen, e.credentials().ClientConfig(pki.ProtoLink, m.UUID, e.members.authorize))
		},
		Refusal: port.Refused,
	})
	e.link.Store(l)
	e.undo = append(e.undo, func() error { l.Close(); return nil })
	e.port.Handle(pki.ProtoLink, func(conn *tls.Conn) {
		if from := e.members.number(pki.PeerUUID(conn.ConnectionState())); from != 0 {
			err := l.Serve(from, conn)
			e.logger.Debug("node link from peer ended", "peer", from, "err", err)
		}
	})
	e.port.Handle(pki.ProtoJoin, e.serveJoin)
	if err := e.startCDRs(); err != nil {
		return err
	}
	if err := e.startVIPs(ctx); err != nil {
		return err
	}
	e.undo = append(e.undo, e.stopGossip)
	e.wg.Go(e.followConfig)
	e.wg.Go(e.tellPeers)
	e.wg.Go(func() { e.every(trunkTell, e.tellTrunks) })
	e.wg.Go(e.keepBounds)
	e.wg.Go(e.watchHealth)
	e.wg.Go(e.watchLeader)
	e.wg.Go(e.answerChecksums)
	e.changed()
	return nil
}

// retire is the polite part of stopping: VIPs go to others after what is on its way has been committed, and leadership too.
func (e *engine) retire(ctx context.Context) {
	e.retireVIPs(ctx)
	e.enterCalls()
	if err := e.submitter.Flush(ctx); err != nil {
		e.logger.Warn("stopping with uncommitted writes", "waiting", e.submitter.Waiting(), "err", err)
	}
	if e.raft.State() == raft.Leader && len(e.members.numbers()) > 1 {
		if err := e.transferLeadership(ctx); err != nil {
			e.logger.Info("leadership not handed over; the others elect", "err", err)
		}
	}
}

// stop ends everything, newest first.
func (e *engine) stop() error {
	e.stopOnce.Do(func() {
		e.cancel()
		for i := len(e.undo) - 1; i >= 0; i-- {
			e.stopErr = errors.Join(e.stopErr, e.undo[i]())
		}
		e.wg.Wait()
	})
	return e.stopErr
}

// event hears the state machine, on the apply goroutine.
func (e *engine) event(ev fsm.Event) {
	switch ev := ev.(type) {
	case fsm.SessionResults:
		e.submitter.Applied(ev)
	case fsm.SessionOpened:
		e.submitter.Opened(ev)
	case fsm.ConfigChanged, fsm.TakenOver:
		e.changed()
	case fsm.CDRsMade:
		e.cdrs.wake()
	case fsm.Restored:
		e.cdrs.wake()
		e.submitter.Resend()
		e.changed()
	}
}

func (e *engine) changed() {
	select {
	case e.configured <- struct{}{}:
	default:
	}
}

// followConfig brings everything in line with the replicated configuration, whenever it has changed.
func (e *engine) followConfig() {
	for {
		select {
		case <-e.configured:
		case <-e.ctx.Done():
			return
		}
		cfg := e.machine.Config()
		if nodes := membersOf(cfg.Nodes()); len(nodes) > 0 {
			if e.memberSetChanged(nodes) && e.members.set(cfg.Version, nodes) {
				e.port.Recheck()
				e.tellMembers(0)
			}
		}
		e.link.Load().SetPeers(e.members.numbers())
		e.followGossip(cfg)
		e.followVIPs(cfg)
		if l := e.lead.Load(); l != nil {
			l.kick()
		}
	}
}

func (e *engine) memberSetChanged(nodes []member) bool {
	if len(nodes) != len(e.members.numbers()) {
		return true
	}
	for _, m := range nodes {
		if have, ok := e.members.byNumber(m.Number); !ok || have.UUID != m.UUID || have.Listen != m.Listen || have.Name != m.Name || have.Voter != m.Voter || string(have.Key) != string(m.Key) {
			return true
		}
	}
	return false
}

// nodes returns the replicated node table, or as much of it as is on disk while the log has not been applied: half of it applied, the table lacks who joined last.
func (e *engine) nodes(cfg *fsm.Config) []*pb.Node {
	rows := cfg.Nodes()
	if len(rows) > 0 && e.machine.Applied() >= e.toApply {
		return rows
	}
	if told := e.members.rows(); len(told) > 0 {
		return told
	}
	return rows
}

func (e *engine) name(number uint32) string {
	if m, ok := e.members.byNumber(number); ok {
		return m.Name
	}
	return ""
}

func makeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}

// every calls fn each interval until the engine stops.
func (e *engine) every(interval time.Duration, fn func()) {
	beat.Every(e.ctx, interval, fn)
}
