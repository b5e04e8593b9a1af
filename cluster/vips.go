package cluster

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore"
	"holdline/sipcore/transport"
	"holdline/vip"
)

// vips joins guard, SIP core and replicated state: who owns which VIP group, and what follows when that changes.
type vips struct {
	client atomic.Pointer[vip.Client]
	core   atomic.Pointer[sipcore.Core]

	certificates transport.Certificates // that TLS and WSS show
	shown        [sha256.Size]byte      // what they were made from; of followVIPs
	guard        *vip.Supervisor

	mu        sync.Mutex
	held      map[uint32]heldGroup
	epochs    map[uint32]uint64 // config epoch in force, by node
	connected bool
	alarms    []alarm
	gaps      map[uint32]time.Duration // worst silence of each peer, as the guard told last
	homes     map[uint32]string        // home node of each group, as last seen
	unfit     map[uint32]string        // groups that the guard could not hold, and why: see vip.Unfit
	unopened  *socketFault             // what the SIP core could not open; nil: nothing
	refused   string                   // why the guard does not take the configuration; "": it does
	epoch     uint64                   // config epoch that the guards are to go by
	epochAt   time.Time                // when it came

	// Of followVIPs.
	last  vip.Config  // what the guard was given
	due   bool        // and has not taken
	again *time.Timer // see tryAgain
}

func (v *vips) init() {
	v.held, v.epochs, v.homes = map[uint32]heldGroup{}, map[uint32]uint64{}, map[uint32]string{}
}

type heldGroup struct {
	ballot uint64
	since  time.Time
}

// alarm is something the guard has told an operator through us.
type alarm struct {
	text string
	at   time.Time
}

// recentAlarms returns what the guard has reported within the last minute, each text once, and why it refuses its configuration, as long as it does.
func (v *vips) recentAlarms() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []string
	if v.refused != "" {
		out = append(out, v.refused)
	}
	for _, a := range v.alarms {
		if time.Since(a.at) < alarmShown && !slices.Contains(out, a.text) {
			out = append(out, a.text)
		}
	}
	return out
}

// followGaps asks the guard now and then how long the peers' heartbeats have been silent at worst: status itself asks nobody.
func (e *engine) followGaps() {
	e.every(gapsInterval, func() {
		ctx, cancel := context.WithTimeout(e.ctx, gapsInterval)
		defer cancel()
		s, err := e.vips.client.Load().Status(ctx)
		if err != nil {
			return // status and doctor tell of a guard that does not answer
		}
		gaps := map[uint32]time.Duration{}
		for _, p := range s.Peers {
			gaps[p.Node] = p.WorstGap
		}
		e.vips.mu.Lock()
		e.vips.gaps = gaps
		e.vips.mu.Unlock()
	})
}

func (v *vips) worstGap(node uint32) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.gaps[node]
}

const (
	gapsInterval      = 2 * time.Second
	alarmsKept        = 16
	alarmShown        = time.Minute
	guardStartTimeout = 10 * time.Second
	beatInterval      = 40 * time.Millisecond // the core's progress, for the guard
	ticketInterval    = time.Minute
	takeoverRetry     = 200 * time.Millisecond
	flushLimit        = 500 * time.Millisecond
)

// Lease implements sipcore.Owners and link.Owners.
func (v *vips) Lease(group uint32) (epoch uint64, since int64, ok bool) {
	c := v.client.Load()
	if c == nil {
		return 0, 0, false
	}
	epoch, since, _, ok = c.Lease(group)
	return epoch, since, ok
}

// Owner implements sipcore.Owners and link.Owners.
func (v *vips) Owner(group uint32) (node uint32, epoch uint64) {
	c := v.client.Load()
	if c == nil {
		return 0, 0
	}
	return c.Owner(group)
}

func (v *vips) setHealth(score uint32) {
	if c := v.client.Load(); c != nil {
		c.SetHealth(score)
	}
}

func (v *vips) handleFrame(from, group uint32, epoch uint64, frame []byte) {
	if c := v.core.Load(); c != nil {
		c.HandleFrame(from, group, epoch, frame)
	}
}

// fill adds what the guard knows to this node's gossip.
func (v *vips) fill(i *peerInfo) {
	v.mu.Lock()
	defer v.mu.Unlock()
	client := v.client.Load()
	i.Guard, i.GuardRefuses = v.connected && client != nil && client.Working(), v.refused != ""
	i.Unfit, i.SIPFault = v.unfit, v.unopened // never changed, but replaced
	if client != nil {
		i.GuardEpoch = client.Taken()
	}
	i.Held, i.Epochs = map[uint32]int64{}, map[uint32]int64{}
	for g, h := range v.held {
		i.Held[g], i.Epochs[g] = time.Since(h.since).Milliseconds(), int64(h.ballot)
	}
}

// startVIPs starts the guard, if none runs, connects to it, and starts the SIP core.
func (e *engine) startVIPs(ctx context.Context) error {
	v := &e.vips
	if e.node.opt.WithoutGuard {
		return nil
	}
	if err := raisePriority(); err != nil {
		e.logger.Info("running at ordinary priority: under load raft may elect more often; run as root or with CAP_SYS_NICE", "err", err)
	}
	ctx, cancel := context.WithTimeout(ctx, guardStartTimeout)
	defer cancel()
	guard, err := vip.StartGuard(ctx, vip.StartOptions{
		RunDir: e.node.opt.RunDir, DataDir: e.node.dir.path, Logger: e.logger, Command: e.node.opt.GuardCommand, Unit: e.node.opt.GuardUnit,
	})
	if err != nil {
		return fmt.Errorf("start guard: %w", err)
	}
	v.guard = guard
	e.undo = append(e.undo, guard.Stop)
	client, err := e.dialGuard(ctx)
	if err != nil {
		return fmt.Errorf("connect to guard: %w", err)
	}
	v.client.Store(client)
	e.undo = append(e.undo, client.Close)
	core, err := sipcore.New(sipcore.Options{
		Machine: e.machine, Node: e.number.Load(), Log: e.submitter, Owners: v, Link: e.link.Load(), Logger: e.logger,
		Certificates: &v.certificates, Accounts: &accounts{machine: e.machine, key: e.clusterKey, logger: e.logger},
	})
	if err != nil {
		return fmt.Errorf("start SIP core: %w", err)
	}
	v.core.Store(core)
	e.undo = append(e.undo, func() error { core.Close(); return nil })
	e.wg.Go(func() { e.keepTellingConns(core) })
	e.rotateTickets()
	e.wg.Go(func() { e.every(ticketInterval, e.rotateTickets) })
	e.wg.Go(e.followGuard)
	e.wg.Go(e.followGaps)
	e.wg.Go(func() { e.every(beatInterval, client.Beat) })
	return nil
}

// dialGuard connects to the guard. A member whose guard has a unit of its own, which is away, takes part without one until that comes: it votes
// and keeps its copy of the log, which the others need no less.
func (e *engine) dialGuard(ctx context.Context) (*vip.Client, error) {
	if e.vips.guard.Answered() {
		return vip.Dial(ctx, e.node.opt.RunDir)
	}
	return vip.DialLater(e.node.opt.RunDir), nil
}

// followGuard acts on what the guard tells.
func (e *engine) followGuard() {
	events := e.vips.client.Load().Events()
	for {
		select {
		case ev, ok := <-events:
			if !ok {
				return
			}
			e.guardEvent(ev)
		case <-e.ctx.Done():
			return
		}
	}
}

func (e *engine) guardEvent(ev vip.Event) {
	v, core := &e.vips, e.vips.core.Load()
	switch ev := ev.(type) {
	case vip.Acquired:
		v.mu.Lock()
		again := v.held[ev.Group].ballot == ev.Ballot
		v.held[ev.Group] = heldGroup{ev.Ballot, time.Now()}
		v.mu.Unlock()
		if again {
			return
		}
		e.logger.Info("VIP group acquired", "group", ev.Group, "epoch", ev.Ballot)
		core.GroupAcquired(ev.Group, ev.Ballot)
		e.takeOver(ev.Group, ev.Ballot)
		e.link.Load().OwnerChanged(ev.Group)
		e.tellNow()
	case vip.Lost:
		v.mu.Lock()
		delete(v.held, ev.Group)
		v.mu.Unlock()
		e.logger.Info("VIP group lost", "group", ev.Group, "epoch", ev.Ballot, "reason", ev.Reason)
		core.GroupLost(ev.Group)
		e.link.Load().OwnerChanged(ev.Group)
		e.tellNow()
	case vip.Owner:
		e.link.Load().OwnerChanged(ev.Group)
	case vip.ConfigEpoch:
		e.epochReported(ev.Node, ev.Epoch)
	case vip.Unfit:
		v.mu.Lock()
		v.unfit = ev.Groups
		v.mu.Unlock()
		e.tellNow()
	case vip.Alarm:
		e.logger.Warn("guard alarm", "alarm", ev.Text)
		v.mu.Lock()
		v.alarms = append(v.alarms, alarm{ev.Text, time.Now()})
		v.alarms = v.alarms[max(0, len(v.alarms)-alarmsKept):]
		v.mu.Unlock()
	case vip.Connected, vip.Disconnected:
		_, on := ev.(vip.Connected)
		v.mu.Lock()
		v.connected = on
		if !on {
			v.unfit = nil // the next one tells before it is connected
		}
		v.mu.Unlock()
		if !on {
			v.refuses("") // what it said, it said before
		}
		e.logger.Info("guard", "connected", on)
		e.changed() // one that comes back may refuse its configuration
	}
}

// epochReported notes that a node has a config epoch in force.
func (e *engine) epochReported(node uint32, epoch uint64) {
	e.vips.mu.Lock()
	e.vips.epochs[node] = max(e.vips.epochs[node], epoch)
	e.vips.mu.Unlock()
	if l := e.lead.Load(); l != nil {
		l.kick()
	}
}

// takeOver records the new owner in the log, again and again while the lease lasts: it fences the old epoch.
func (e *engine) takeOver(group uint32, epoch uint64) {
	cmd := &pb.Command{Op: &pb.Command_Takeover{Takeover: &pb.Takeover{Group: group, Epoch: epoch, Node: e.UUID}}}
	e.submitter.Submit(cmd, time.Second, func(r *pb.Result, err error) {
		switch {
		case err == nil && r.Code == pb.Code_OK:
		case err == nil:
			e.logger.Warn("takeover refused", "group", group, "epoch", epoch, "code", r.Code.String(), "err", r.Error)
		default:
			if now, _, held := e.vips.Lease(group); held && now == epoch && e.ctx.Err() == nil {
				time.AfterFunc(takeoverRetry, func() { e.takeOver(group, epoch) })
			}
		}
	})
}

// followVIPs pushes the configuration to guard and SIP core, and moves groups to a home node that was just given to them.
func (e *engine) followVIPs(cfg *fsm.Config) {
	client := e.vips.client.Load()
	if client == nil {
		return
	}
	if config, ok := e.guardConfig(cfg); ok {
		e.vips.expect(config.Epoch)
		fresh := !sameConfig(&config, &e.vips.last)
		if held := e.heldGroups(); fresh && e.standsDown(cfg) && len(held) > 0 {
			e.flush(e.ctx, held...) // the guard gives the groups away as soon as it hears that this node is no candidate
		}
		if fresh || e.vips.due || client.Taken() == 0 {
			e.configureGuard(client, config, fresh)
		}
	}
	e.showCertificates(cfg)
	e.openSockets(cfg)
	e.moveHome(cfg)
}

// standsDown says whether this node is drained or leaving.
func (e *engine) standsDown(cfg *fsm.Config) bool {
	n := cfg.NodeByUUID(e.UUID)
	return n != nil && n.Draining || slices.Contains(leavingNodes(cfg), e.UUID)
}

// flush waits a moment for what is on its way to be committed, before groups are given away: their next owner starts from that.
func (e *engine) flush(ctx context.Context, groups ...uint32) {
	ctx, cancel := context.WithTimeout(ctx, flushLimit)
	defer cancel()
	if core := e.vips.core.Load(); core != nil {
		core.HandOver(groups...)
	}
	if err := e.submitter.Flush(ctx); err != nil {
		e.logger.Info("giving VIP groups away with writes under way", "waiting", e.submitter.Waiting(), "err", err)
	}
}

// enterCalls submits what is to be recorded of calls after the fact.
func (e *engine) enterCalls() {
	if core := e.vips.core.Load(); core != nil {
		core.EnterCalls()
	}
}

// coreGroups is what the SIP core serves.
func coreGroups(cfg *fsm.Config) []sipcore.Group {
	var out []sipcore.Group
	for _, g := range cfg.Groups() {
		group := sipcore.Group{Number: g.Number}
		for _, v := range g.Vips {
			if p, err := netip.ParsePrefix(v.Prefix); err == nil {
				group.VIPs = append(group.VIPs, sipcore.VIP{
					Addr: p.Addr(), Advertise: v.Advertise, WSPort: webPort(cfg, settingWSPort, defaultWSPort), WSSPort: webPort(cfg, settingWSSPort, defaultWSSPort),
				})
			}
		}
		out = append(out, group)
	}
	return out
}

// webPort is the port of WebSockets as the SIP core wants it: -1 for none.
func webPort(cfg *fsm.Config, setting string, def int64) int {
	if port := cfg.SettingInt(setting, def); port > 0 {
		return int(port)
	}
	return -1
}

// moveHome releases groups that this node holds and whose home has just become another node's: the planned move of a join.
func (e *engine) moveHome(cfg *fsm.Config) {
	for _, g := range cfg.Groups() {
		before, known := e.vips.homes[g.Number]
		e.vips.homes[g.Number] = g.HomeNode
		if !known || before == g.HomeNode || g.HomeNode == "" || g.HomeNode == e.UUID {
			continue
		}
		if n := cfg.NodeByUUID(g.HomeNode); n != nil && !n.Draining {
			if _, _, held := e.vips.Lease(g.Number); held {
				e.wg.Go(func() { e.release(e.ctx, g.Number, n.Number) })
			}
		}
	}
}

// release gives a group away after what is on its way has been committed.
func (e *engine) release(ctx context.Context, group, to uint32) {
	e.flush(ctx, group)
	if _, _, held := e.vips.Lease(group); !held {
		return // it has been asked for twice, or the lease is lost
	}
	if err := e.vips.client.Load().Release(group, to); err != nil {
		e.logger.Warn("VIP group not released", "group", group, "to", e.name(to), "err", err)
	}
}

// retireVIPs releases every group and waits, bounded by ctx, until they are gone.
func (e *engine) retireVIPs(ctx context.Context) {
	if e.vips.client.Load() == nil || len(e.members.numbers()) < 2 {
		return
	}
	for _, g := range e.heldGroups() {
		e.release(ctx, g, 0)
	}
	for len(e.heldGroups()) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (e *engine) heldGroups() []uint32 {
	e.vips.mu.Lock()
	defer e.vips.mu.Unlock()
	out := make([]uint32, 0, len(e.vips.held))
	for g := range e.vips.held {
		out = append(out, g)
	}
	return out
}
