package cluster

import (
	"fmt"
	"log"
	"slices"
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

// gossips reports whether memberlist hears a node. It takes some seconds to notice that it does not.
func (e *engine) gossips(node uint32) bool {
	e.gossip.mu.Lock()
	list := e.gossip.list
	e.gossip.mu.Unlock()
	m, known := e.members.byNumber(node)
	return list != nil && known && slices.ContainsFunc(list.Members(), func(n *memberlist.Node) bool { return n.Name == m.UUID })
}
