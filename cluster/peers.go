package cluster

import (
	"encoding/json"
	"sync"
	"time"

	"holdline/cluster/link"
)

const (
	tellInterval = 100 * time.Millisecond
	// silentPeer is how long a peer may be silent before it counts as lost. Status must be true within a second.
	silentPeer = 500 * time.Millisecond
)

// Gossip over the link is a byte that says what follows, and JSON.
const (
	gossipInfo     = 'i'
	gossipMembers  = 'm'
	gossipChecksum = 'c'
	gossipMove     = 'v'
	gossipTrunks   = 't'
	gossipConns    = 'o'
)

// peerInfo is what a node tells the others of itself over the link, ten times a second.
type peerInfo struct {
	Applied      uint64            `json:"applied"`
	LastIndex    uint64            `json:"last"`
	GuardEpoch   uint64            `json:"guard_epoch,omitempty"` // config epoch that its guard has taken
	Guard        bool              `json:"guard,omitempty"`
	GuardRefuses bool              `json:"guard_refuses,omitempty"` // its guard does not take the configuration
	Unfit        map[uint32]string `json:"unfit,omitempty"`         // VIP groups that its guard could not hold, and why; a release that does not tell holds all
	SIPFault     *socketFault      `json:"sip_fault,omitempty"`     // it serves its VIPs not, or not all of their ports
	LogFault     string            `json:"log_fault,omitempty"`     // why it cannot write its raft log; "": it can
	DiskFull     bool              `json:"disk_full,omitempty"`
	DiskSlow     bool              `json:"disk_slow,omitempty"`
	FsyncP99     time.Duration     `json:"fsync_p99,omitempty"`
	Version      string            `json:"version,omitempty"`
	FeatureLevel uint32            `json:"feature,omitempty"`
	Held         map[uint32]int64  `json:"held,omitempty"` // VIP groups it owns: group → milliseconds since it took them
	Epochs       map[uint32]int64  `json:"epochs,omitempty"`
	Leaving      bool              `json:"leaving,omitempty"`
	Filling      []string          `json:"filling,omitempty"`    // UUIDs of nodes that it sends the whole state to, as leader
	Unreached    []string          `json:"unreached,omitempty"`  // UUIDs of nodes that have not taken the log's entries from it yet, as leader
	Unrecorded   int               `json:"unrecorded,omitempty"` // calls that are not in the replicated table as they are
	WallMs       int64             `json:"wall_ms,omitempty"`    // its wall clock as it told this; 0: it is of an older release
}

type heardInfo struct {
	peerInfo
	at time.Time
}

// clockOff is how far this node's wall clock was ahead when it was told, less the time on the way: at most some tenths of a second, or the link would be down.
func (h *heardInfo) clockOff() time.Duration { return h.at.Sub(time.UnixMilli(h.WallMs)) }

// peerInfos is the latest of every peer.
type peerInfos struct {
	mu sync.Mutex
	by map[uint32]heardInfo
}

func (p *peerInfos) init() { p.by = map[uint32]heardInfo{} }

func (p *peerInfos) set(node uint32, info peerInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by[node] = heardInfo{info, time.Now()}
}

func (p *peerInfos) get(node uint32) (heardInfo, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.by[node]
	return i, ok
}

// alive says whether a peer has been heard lately over the link, and when.
func (e *engine) alive(node uint32) (bool, time.Time) {
	if node == e.number.Load() {
		return true, time.Now()
	}
	heard := e.linkTo(node).Heard
	return !heard.IsZero() && time.Since(heard) < silentPeer, heard
}

// linkTo is what the link knows of a peer, nothing of one that is none.
func (e *engine) linkTo(node uint32) link.PeerState {
	if l := e.link.Load(); l != nil {
		for _, p := range l.Peers() {
			if p.Node == node {
				return p
			}
		}
	}
	return link.PeerState{}
}

// info is what this node tells.
func (e *engine) info() peerInfo {
	i := peerInfo{
		Applied: e.machine.Applied(), LastIndex: e.raft.LastIndex(), FsyncP99: e.store.FsyncP99(),
		LogFault: e.logFault(), DiskFull: e.store.NearlyFull(), DiskSlow: e.store.Slow(),
		Filling: e.fillings.uuids(), Unreached: e.unreached.uuids(), WallMs: time.Now().UnixMilli(),
		Version: e.node.opt.Version, FeatureLevel: e.node.opt.Release.level(),
	}
	e.vips.fill(&i)
	if core := e.vips.core.Load(); core != nil {
		i.Unrecorded = core.Unrecorded()
	}
	return i
}

func (e *engine) infoOf(node uint32) (peerInfo, bool) {
	if node == e.number.Load() {
		return e.info(), true
	}
	h, ok := e.peers.get(node)
	return h.peerInfo, ok && time.Since(h.at) < 2*silentPeer
}

// tellPeers gossips this node's state.
func (e *engine) tellPeers() { e.every(tellInterval, e.tellNow) }

func (e *engine) tellNow() {
	text, err := json.Marshal(e.info())
	if err != nil {
		e.logger.Error("encode gossip", "err", err)
		return
	}
	e.link.Load().Gossip(append([]byte{gossipInfo}, text...))
}

// tellMembers sends the member table to one peer, or to all (0).
func (e *engine) tellMembers(node uint32) {
	raw := e.members.encoded()
	if len(raw) == 0 {
		return
	}
	message := append([]byte{gossipMembers}, raw...)
	if l := e.link.Load(); node == 0 {
		l.Gossip(message)
	} else {
		l.GossipTo(node, message)
	}
}

// linkHandler is what the node link calls.
type linkHandler struct{ e *engine }

// Frame implements link.Handler.
func (h linkHandler) Frame(from, group uint32, epoch uint64, frame []byte) {
	h.e.vips.handleFrame(from, group, epoch, frame)
}

// BatchRefused implements link.Handler: the leader has changed, and we have not noticed, or it has not.
func (h linkHandler) BatchRefused(uint32) {
	time.AfterFunc(10*time.Millisecond, h.e.submitter.Resend)
}

// ReadIndex implements link.Handler.
func (h linkHandler) ReadIndex(from uint32, reply func(uint64, bool)) {
	h.e.readIndexHere(func(index uint64, err error) {
		reply(index, err == nil)
		if err == nil {
			h.e.tellCommitted(from) // it waits until it has applied that
		}
	})
}

// Gossip implements link.Handler.
func (h linkHandler) Gossip(from uint32, message []byte) {
	if len(message) == 0 {
		return
	}
	switch message[0] {
	case gossipInfo:
		var i peerInfo
		if err := json.Unmarshal(message[1:], &i); err != nil {
			h.e.logger.Warn("unreadable gossip", "peer", from, "err", err)
			return
		}
		h.e.peers.set(from, i)
	case gossipChecksum:
		var s stateSum
		if err := json.Unmarshal(message[1:], &s); err != nil {
			h.e.logger.Warn("unreadable checksum", "peer", from, "err", err)
			return
		}
		h.e.checksums.set(from, s)
	case gossipTrunks:
		var t []toldTrunk
		if err := json.Unmarshal(message[1:], &t); err != nil {
			h.e.logger.Warn("unreadable gossip", "peer", from, "err", err)
			return
		}
		h.e.trunks.set(from, t)
	case gossipConns:
		h.e.heardConns(from, message[1:])
	case gossipMove:
		var m moveAsk
		if err := json.Unmarshal(message[1:], &m); err != nil {
			h.e.logger.Warn("unreadable gossip", "peer", from, "err", err)
			return
		}
		h.e.moveAsked(m)
	case gossipMembers:
		if err := h.e.members.adopt(message[1:], true); err == nil {
			h.e.logger.Info("member table learned from peer", "peer", from)
			h.e.port.Recheck()
			h.e.changed()
		}
	}
}

// Peer implements link.Handler.
func (h linkHandler) Peer(node uint32, up bool) {
	if up {
		h.e.logger.Info("peer connected", "peer", h.e.name(node))
		h.e.tellMembers(node)
		h.e.tellNow()
	} else {
		h.e.logger.Info("peer disconnected", "peer", h.e.name(node))
	}
	if node == h.e.leader() {
		h.e.submitter.Resend()
	}
	if l := h.e.lead.Load(); l != nil {
		l.kick()
	}
}
