package vip

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Numbers of RFC 826 and RFC 4861.
const (
	arpRequest = 1
	arpReply   = 2
	ndSolicit  = 135
	ndAdvert   = 136

	etherLen = 14
	arpLen   = 28
	ip6Len   = 40
	ndLen    = 24 // ICMPv6 header, flags, target
	ndOptLen = 8  // link-layer address option
)

type macAddr [6]byte

func broadcastMAC() macAddr { return macAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

func (m macAddr) String() string { return net.HardwareAddr(m[:]).String() }

func appendEther(b []byte, dst, src macAddr, proto uint16) []byte {
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	return binary.BigEndian.AppendUint16(b, proto)
}

// appendARP writes a broadcast ARP frame.
func appendARP(b []byte, op uint16, senderMAC macAddr, sender netip.Addr, targetMAC macAddr, target netip.Addr) []byte {
	b = appendEther(b, broadcastMAC(), senderMAC, unix.ETH_P_ARP)
	b = append(b, 0, 1, unix.ETH_P_IP>>8, unix.ETH_P_IP&0xff, 6, 4)
	b = binary.BigEndian.AppendUint16(b, op)
	s, t := sender.As4(), target.As4()
	b = append(b, senderMAC[:]...)
	b = append(b, s[:]...)
	b = append(b, targetMAC[:]...)
	return append(b, t[:]...)
}

// appendNA writes an unsolicited neighbour advertisement with the override flag to all nodes (RFC 4861 §7.2.6).
func appendNA(b []byte, mac macAddr, target netip.Addr) []byte {
	const override = 0x20
	allNodes := netip.MustParseAddr("ff02::1")
	return appendND(b, ndAdvert, override, mac, target, allNodes, target, true)
}

// appendNS writes the neighbour solicitation of duplicate address detection (RFC 4862 §5.4.2).
func appendNS(b []byte, mac macAddr, target netip.Addr) []byte {
	t := target.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]})
	return appendND(b, ndSolicit, 0, mac, netip.IPv6Unspecified(), group, target, false)
}

func appendND(b []byte, typ, flags byte, mac macAddr, src, dst, target netip.Addr, linkOption bool) []byte {
	d := dst.As16()
	b = appendEther(b, macAddr{0x33, 0x33, d[12], d[13], d[14], d[15]}, mac, unix.ETH_P_IPV6)
	size := ndLen
	if linkOption {
		size += ndOptLen
	}
	b = append(b, 0x60, 0, 0, 0, 0, byte(size), unix.IPPROTO_ICMPV6, 255)
	addrs := len(b)
	s, t := src.As16(), target.As16()
	b = append(b, s[:]...)
	b = append(b, d[:]...)
	body := len(b)
	b = append(b, typ, 0, 0, 0, flags, 0, 0, 0)
	b = append(b, t[:]...)
	if linkOption {
		b = append(b, 2, 1) // target link-layer address, 8 bytes
		b = append(b, mac[:]...)
	}
	// RFC 4443 §2.3: over addresses, length, next header and message.
	sum := uint32(size) + unix.IPPROTO_ICMPV6
	for i := addrs; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[body+2:], ^uint16(sum))
	return b
}

// claim is what a frame says about who has an address.
type claim struct {
	addr   netip.Addr
	mac    macAddr
	probed netip.Addr // ARP probe or DAD solicitation: the sender is about to take this address
}

// parseClaim reads an ARP or neighbour discovery frame. ok is false for everything else.
func parseClaim(f []byte) (c claim, ok bool) {
	if len(f) < etherLen {
		return c, false
	}
	body := f[etherLen:]
	switch binary.BigEndian.Uint16(f[12:]) {
	case unix.ETH_P_ARP:
		if len(body) < arpLen || body[0] != 0 || body[1] != 1 || body[4] != 6 || body[5] != 4 {
			return c, false
		}
		c.mac = macAddr(body[8:14])
		c.addr = netip.AddrFrom4([4]byte(body[14:18]))
		if c.addr.IsUnspecified() {
			c.probed = netip.AddrFrom4([4]byte(body[24:28]))
		}
		return c, true
	case unix.ETH_P_IPV6:
		if len(body) < ip6Len+ndLen || body[6] != unix.IPPROTO_ICMPV6 || body[7] != 255 {
			return c, false // RFC 4861 §7.1: a hop limit below 255 came from another network
		}
		target := netip.AddrFrom16([16]byte(body[ip6Len+8 : ip6Len+24]))
		c.mac = macAddr(f[6:12])
		switch body[ip6Len] {
		case ndAdvert:
			c.addr = target
			return c, true
		case ndSolicit:
			if c.addr = netip.AddrFrom16([16]byte(body[8:24])); c.addr.IsUnspecified() {
				c.probed = target
			}
			return c, true
		}
	}
	return c, false
}
