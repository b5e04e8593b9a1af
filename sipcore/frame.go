package sipcore

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
)

// Frames carry messages between nodes:
//
//	kind 1 | VIP 1 | transport 1 | port 2 | address length 1 | address | its port 2 | group uvarint | connection uvarint | message
const (
	frameInbound  = 1 // a datagram as it came in, for the owner of its transaction
	frameOutbound = 2 // a message to be sent, for the owner of the VIP
	frameFailed   = 3 // a request that could not be sent, for the owner of its transaction
	// frameUnreachable is an ICMP error about a request, for the owner of its transaction: where it was to go, one byte that says
	// whether its host said so, and what the error quotes. Nodes of older releases drop it, and time tells them instead.
	frameUnreachable = 4
)

var errFrame = errors.New("read frame: malformed; the other node runs an incompatible version")

// appendFrame appends a frame to dst.
func appendFrame(dst []byte, kind byte, f transport.Flow, data []byte) []byte {
	addr := f.Remote.Addr().AsSlice()
	dst = append(dst, kind, f.VIP, byte(f.Proto))
	dst = binary.BigEndian.AppendUint16(dst, f.Port)
	dst = append(dst, byte(len(addr)))
	dst = append(dst, addr...)
	dst = binary.BigEndian.AppendUint16(dst, f.Remote.Port())
	dst = binary.AppendUvarint(dst, uint64(f.Group))
	dst = binary.AppendUvarint(dst, f.Conn)
	return append(dst, data...)
}

// parseFrame takes a frame apart; data lies in b.
func parseFrame(b []byte) (kind byte, f transport.Flow, data []byte, err error) {
	const head = 6
	if len(b) < head || len(b) < head+int(b[5])+2 {
		return 0, f, nil, errFrame
	}
	kind, f.VIP, f.Proto, f.Port = b[0], b[1], pb.Transport(b[2]), binary.BigEndian.Uint16(b[3:])
	addr, ok := netip.AddrFromSlice(b[head : head+int(b[5])])
	if !ok || b[2] > byte(pb.Transport_WSS) || kind < frameInbound || kind > frameUnreachable {
		return 0, f, nil, errFrame
	}
	b = b[head+int(b[5]):]
	f.Remote = netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(b))
	b = b[2:]
	group, n := binary.Uvarint(b)
	if n <= 0 || group > 1<<32-1 {
		return 0, f, nil, errFrame
	}
	f.Group = uint32(group)
	b = b[n:]
	if f.Conn, n = binary.Uvarint(b); n <= 0 {
		return 0, f, nil, errFrame
	}
	return kind, f, b[n:], nil
}

// sendToOwner hands a message to the owner of a group, over the link.
func (c *Core) sendToOwner(group uint32, kind byte, f transport.Flow, data []byte) {
	_, epoch := c.opt.Owners.Owner(group)
	c.opt.Link.Send(group, epoch, appendFrame(make([]byte, 0, len(data)+48), kind, f, data))
}

// HandleFrame takes a frame for group that node from sent over the link; this node held the group's lease
// under epoch when it came in. It does not keep frame.
func (c *Core) HandleFrame(from, group uint32, epoch uint64, frame []byte) {
	kind, flow, data, err := parseFrame(frame)
	if err != nil {
		c.drops.frames.Add(1)
		c.log.Warn("dropped a frame", "node", from, "err", err)
		return
	}
	if now, _, ok := c.opt.Owners.Lease(group); !ok || now != epoch {
		c.sendToOwner(group, kind, flow, data) // lost meanwhile: on to the next owner
		return
	}
	sc := c.scratch.Get().(*scratch)
	defer c.scratch.Put(sc)
	switch kind {
	case frameFailed:
		c.undelivered(flow.Conn, data)
		return
	case frameUnreachable:
		if len(data) > 0 {
			c.unreachable(transport.Unreachable{Remote: flow.Remote, Hard: data[0] != 0, Quoted: data[1:]})
		}
		return
	case frameOutbound:
		if flow.Group != group {
			c.drops.frames.Add(1)
			return
		}
		sc.out.Send(flow, data)
	default:
		c.forwarded(sc, group, epoch, flow, data)
	}
	sc.out.Flush()
}

// forwarded handles a message that came in on another node, for a transaction of a group of ours.
func (c *Core) forwarded(sc *scratch, group uint32, epoch uint64, flow transport.Flow, data []byte) {
	v, now := c.currentView(), c.now()
	m, in := &sc.msg, &sc.in
	if m.Scan(data) != nil {
		c.drops.frames.Add(1)
		return
	}
	in.Msg, in.Flow = m, flow
	if !v.Classify(in) || in.Home != group {
		c.drops.frames.Add(1)
		return
	}
	in.Epoch = epoch
	c.receive(v, now, sc.out, in)
}
