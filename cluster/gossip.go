package cluster

import (
	"encoding/json"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"holdline/fsm"
)

const (
	gossipPortOffset = 1
	guardPortOffset  = 2
)

// gossip is memberlist: it tells over another port than the link's whether a node is there. It decides nothing: doctor reads it.
type gossip struct {
	mu   sync.Mutex
	list *memberlist.Memberlist
}

// followGossip starts memberlist when the replicated key is here, and introduces members to each other.
func (e *engine) followGossip(cfg *fsm.Config) {
	g := &e.gossip
	g.mu.Lock()
	defer g.mu.Unlock()
	keys := cfg.Keys(purposeGossip)
	if len(keys) == 0 || e.ctx.Err() != nil {
		return
	}
	if g.list == nil {
		list, err := e.startGossip(keys[0].Secret)
		if err != nil {
			e.logger.Error("memberlist not started: node health comes from the node link alone", "err", err)
			return
		}
		g.list = list
	}
	list := g.list
	known := map[string]bool{}
	for _, m := range list.Members() {
		known[m.Name] = true
	}
	for _, m := range membersOf(cfg.Nodes()) {
		if known[m.UUID] || m.UUID == e.UUID {
			continue
		}
		at := fmt.Sprintf("%s:%d", m.Listen.Addr(), m.Listen.Port()+gossipPortOffset)
		e.wg.Go(func() {
			if _, err := list.Join([]string{at}); err != nil {
				e.logger.Debug("memberlist peer not reached", "peer", m.Name, "err", err)
			}
		})
	}
}

func (e *engine) startGossip(key []byte) (*memberlist.Memberlist, error) {
	c := memberlist.DefaultLANConfig()
	c.Name = e.UUID
	c.BindAddr = e.Listen.Addr().String()
	c.BindPort = int(e.Listen.Port()) + gossipPortOffset
	c.AdvertiseAddr, c.AdvertisePort = c.BindAddr, c.BindPort
	c.SecretKey = key
	c.Label = e.Cluster
	c.SuspicionMult = 3
	c.AwarenessMaxMultiplier = 2
	c.GossipInterval = 500 * time.Millisecond
	c.PushPullInterval = 30 * time.Second
	c.TCPTimeout = time.Second
	c.Delegate = gossipDelegate{e}
	c.Events = gossipDelegate{e}
	c.Logger = log.New(slogWriter{e.logger.With("component", "memberlist")}, "", 0)
	list, err := memberlist.Create(c)
	if err != nil {
		return nil, fmt.Errorf("start memberlist: %w", err)
	}
	return list, nil
}

// stopGossip leaves politely and stops.
func (e *engine) stopGossip() error {
	e.gossip.mu.Lock()
	list := e.gossip.list
	e.gossip.list = nil
	e.gossip.mu.Unlock()
	if list == nil {
		return nil
	}
	return list.Shutdown()
}

// gossipMeta is what memberlist carries of a node: at most 512 bytes.
type gossipMeta struct {
	Version      string `json:"v"`
	FeatureLevel uint32 `json:"f"`
	GuardEpoch   uint64 `json:"e"`
	Applied      uint64 `json:"a"`
}

type gossipDelegate struct{ e *engine }

// NodeMeta implements memberlist.Delegate.
func (d gossipDelegate) NodeMeta(limit int) []byte {
	i := d.e.info()
	b, err := json.Marshal(gossipMeta{Version: i.Version, FeatureLevel: i.FeatureLevel, GuardEpoch: i.GuardEpoch, Applied: i.Applied})
	if err != nil || len(b) > limit {
		return nil
	}
	return b
}

// NotifyMsg implements memberlist.Delegate.
func (gossipDelegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (gossipDelegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (gossipDelegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (gossipDelegate) MergeRemoteState([]byte, bool) {}

// NotifyJoin implements memberlist.EventDelegate.
func (d gossipDelegate) NotifyJoin(n *memberlist.Node) { d.seen(n.Name, false) }

// NotifyLeave implements memberlist.EventDelegate.
func (d gossipDelegate) NotifyLeave(n *memberlist.Node) { d.seen(n.Name, true) }

// NotifyUpdate implements memberlist.EventDelegate.
func (gossipDelegate) NotifyUpdate(*memberlist.Node) {}

// gossips reports whether memberlist hears a node. It takes some seconds to notice that it does not.
func (e *engine) gossips(node uint32) bool {
	m, _ := e.members.byNumber(node)
	e.peers.mu.Lock()
	defer e.peers.mu.Unlock()
	dead, seen := e.peers.gossipDead[m.UUID]
	return seen && !dead
}

func (d gossipDelegate) seen(uuid string, dead bool) {
	d.e.peers.mu.Lock()
	defer d.e.peers.mu.Unlock()
	d.e.peers.gossipDead[uuid] = dead
}
