// Package capture sees on the switch which box sends with a VIP as source, and counts a VIP's owners from that.
package capture

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Sender is a network card behind a port of the switch. Both count: a shared virtual MAC would hide a second owner, and
// so would a second box behind one port.
type Sender struct {
	Port int     // interface index in the switch's namespace
	MAC  [6]byte // source address of the frame
}

func (s Sender) String() string {
	return fmt.Sprintf("%v@%d", net.HardwareAddr(s.MAC[:]), s.Port)
}

// Frame is what matters of a frame that had a VIP as source.
type Frame struct {
	At       time.Time // kernel's time stamp
	Sender   Sender
	VIP      netip.Addr
	ARP      bool
	Announce bool // gratuitous ARP: sender and target address are the VIP (RFC 5227 §3)
}

// Offsets in Ethernet, IPv4 and ARP.
const (
	offType    = 12
	offIPSrc   = 14 + 12
	offARPSend = 14 + 14
	offARPTarg = 14 + 24
	minIP      = 14 + 20
	minARP     = 14 + 28

	typeIPv4 = 0x0800
	typeARP  = 0x0806

	// snap is how much of each frame the capture keeps: enough for ARP.
	snap = 64
)

// parse reads the start of an Ethernet frame. ok is false when it names no IPv4 source.
func parse(b []byte) (f Frame, ok bool) {
	if len(b) < offType+2 {
		return f, false
	}
	copy(f.Sender.MAC[:], b[6:12])
	switch binary.BigEndian.Uint16(b[offType:]) {
	case typeIPv4:
		if len(b) < minIP {
			return f, false
		}
		f.VIP = addr(b[offIPSrc:])
	case typeARP:
		if len(b) < minARP {
			return f, false
		}
		f.ARP = true
		f.VIP = addr(b[offARPSend:])
		f.Announce = f.VIP == addr(b[offARPTarg:])
	default:
		return f, false
	}
	return f, true
}

func addr(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b[:4])) }
