package cluster

import (
	"encoding/json"
	"time"

	"holdline/sipcore"
)

const (
	connsTell  = time.Second           // how often a node tells the others which connections gateways have opened to it
	connsPause = 10 * time.Millisecond // after new ones were told of
)

// keepTellingConns runs until the engine stops.
func (e *engine) keepTellingConns(core *sipcore.Core) {
	again := time.NewTicker(connsTell)
	defer again.Stop()
	for e.ctx.Err() == nil {
		select {
		case <-e.ctx.Done():
		case <-again.C:
			e.tellConns(core)
		case <-core.GatewayConnsChanged():
			e.tellConns(core)
			time.Sleep(connsPause)
		}
	}
}

// tellConns tells the others which connections gateways have to this node.
func (e *engine) tellConns(core *sipcore.Core) {
	conns := core.GatewayConns()
	if len(conns) == 0 { // what it told before is forgotten, and until then it costs a packet or two each
		return
	}
	text, err := json.Marshal(conns)
	if err != nil {
		e.logger.Error("encode gossip", "err", err)
		return
	}
	e.link.Load().Gossip(append([]byte{gossipConns}, text...))
}

// heardConns takes what another node tells of its connections.
func (e *engine) heardConns(from uint32, text []byte) {
	var conns []sipcore.GatewayConn
	if err := json.Unmarshal(text, &conns); err != nil {
		e.logger.Warn("unreadable gossip", "peer", from, "err", err)
		return
	}
	if core := e.vips.core.Load(); core != nil {
		core.HeardGatewayConns(from, conns)
	}
}
