package sipcore

import (
	"net/netip"
	"sync"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
)

// A carrier that calls over TCP or TLS opens a connection for its first call and keeps it for the next ones. Between calls no record names it. When it has gone with the VIP's owner
// the carrier would write the next INVITE into it, and lose that call: over TCP nothing is sent twice. So owners tell the other nodes of these connections, and who takes
// a group over tells the carriers, as it tells phones (tickle.go).

const (
	mostGatewayConns  = 512              // that a node tells of
	gatewayConnsStale = 10 * time.Second // after which what another node has told is not gone by: it tells each second, and of new ones at once
)

// GatewayConn is a connection that a gateway has opened to a VIP.
type GatewayConn struct {
	Group  uint32         `json:"group"`
	VIP    uint8          `json:"vip"`   // index into the group's addresses
	Proto  pb.Transport   `json:"proto"` // no UDP
	Port   uint16         `json:"port"`  // on the VIP
	Remote netip.AddrPort `json:"remote"`
}

// heardConns are the gateways' connections that other nodes have told of. The zero value is ready for use.
type heardConns struct {
	mu sync.Mutex
	by map[uint32]toldConns // by node
}

type toldConns struct {
	at    int64
	conns []GatewayConn
}

// GatewayConns are the connections to this node that gateways have opened, mostGatewayConns at most: of more some are left out, whichever they are.
func (c *Core) GatewayConns() []GatewayConn {
	flows := c.streams.FromGateways()
	out := make([]GatewayConn, 0, min(len(flows), mostGatewayConns))
	for _, f := range flows[:cap(out)] {
		out = append(out, GatewayConn{Group: f.Group, VIP: f.VIP, Proto: f.Proto, Port: f.Port, Remote: f.Remote})
	}
	return out
}

// GatewayConnsChanged gets something when there are more of them since it was last read.
func (c *Core) GatewayConnsChanged() <-chan struct{} { return c.streams.GatewaysChanged() }

// HeardGatewayConns takes what another node has answered GatewayConns with, in place of what it has told before.
func (c *Core) HeardGatewayConns(node uint32, conns []GatewayConn) {
	h := &c.heardConns
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = map[uint32]toldConns{}
	}
	h.by[node] = toldConns{c.now(), conns[:min(len(conns), mostGatewayConns)]}
}

// each calls fn for all that were told of lately. fn must not call back.
func (h *heardConns) each(now int64, fn func(fsm.Flow)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for node, told := range h.by {
		if now-told.at > int64(gatewayConnsStale) {
			delete(h.by, node)
			continue
		}
		for _, x := range told.conns {
			fn(fsm.Flow{Group: x.Group, VIP: x.VIP, Proto: x.Proto, Port: x.Port, Remote: x.Remote, Conn: 1})
		}
	}
}
