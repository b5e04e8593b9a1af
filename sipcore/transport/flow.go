package transport

import (
	"errors"
	"fmt"
	"net/netip"

	"holdline/fsm/pb"
)

// Flow is how a peer is reached: through which of a group's addresses and ports, and where it is. Flows compare with ==.
type Flow struct {
	Group  uint32         // VIP group
	VIP    uint8          // index into the group's addresses
	Proto  pb.Transport   // transport protocol
	Port   uint16         // port on the VIP
	Remote netip.AddrPort // the peer; never an IPv4 address mapped into IPv6
	Conn   uint64         // number of the stream connection, 0 for UDP
}

// DefaultPort is the SIP port that a stored flow without one means.
const DefaultPort = 5060

// DefaultTLSPort is the port of SIP over TLS (RFC 3261 §19.1.2).
const DefaultTLSPort = 5061

// PB returns the flow as it is stored and sent between nodes.
func (f Flow) PB() *pb.Flow {
	p := &pb.Flow{
		Group: f.Group, Vip: uint32(f.VIP), Transport: f.Proto, Conn: f.Conn, LocalPort: uint32(f.Port),
	}
	if f.Remote.IsValid() {
		p.Remote, _ = f.Remote.MarshalBinary() // never fails
	}
	return p
}

// FlowFromPB reads a stored flow; nil is the zero Flow.
func FlowFromPB(p *pb.Flow) (Flow, error) {
	if p == nil {
		return Flow{}, nil
	}
	if p.Vip > 255 || p.LocalPort > 65535 {
		return Flow{}, fmt.Errorf("read flow: %w", errFlowRange)
	}
	f := Flow{Group: p.Group, VIP: uint8(p.Vip), Proto: p.Transport, Port: uint16(p.LocalPort), Conn: p.Conn}
	if f.Port == 0 {
		f.Port = DefaultPort
	}
	if len(p.Remote) > 0 {
		if err := f.Remote.UnmarshalBinary(p.Remote); err != nil {
			return Flow{}, fmt.Errorf("read flow: remote address: %w", err)
		}
		f.Remote = netip.AddrPortFrom(f.Remote.Addr().Unmap(), f.Remote.Port())
	}
	return f, nil
}

var errFlowRange = errors.New("VIP index or port out of range; it was written by an incompatible version")
