package vip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// InUse asks the network of a VIP whether somebody uses its address already, and if so, with which hardware
// address: an ARP probe (RFC 5227 §2.1.1) or a neighbour solicitation (RFC 4862 §5.4.2). It takes about a second
// when nobody answers: three probes, closer together than the RFC has them, as an operator waits. An address of this machine
// itself is in use too.
func InUse(ctx context.Context, vip netip.Prefix) (net.HardwareAddr, bool, error) {
	ifi, err := InterfaceFor(vip)
	if err != nil {
		return nil, false, err
	}
	own, ether := toMAC(ifi.HardwareAddr)
	if local, err := Local(vip.Addr()); err != nil || local {
		return ifi.HardwareAddr, local, err
	}
	if !ether {
		return nil, false, nil // a network without hardware addresses has nobody to ask
	}
	sock, err := openPacket(ifi.Index, vip.Addr().Is4())
	if err != nil {
		return nil, false, fmt.Errorf("ask the network for %s: %w", vip.Addr(), err)
	}
	defer sock.close()
	frame := appendNS(nil, own, vip.Addr())
	if vip.Addr().Is4() {
		frame = appendARP(nil, arpRequest, own, netip.IPv4Unspecified(), macAddr{}, vip.Addr())
	}
	const (
		probes  = 3
		between = 200 * time.Millisecond
		total   = time.Second
	)
	start := time.Now()
	for sent := 0; time.Since(start) < total; {
		if err := ctx.Err(); err != nil {
			return nil, false, fmt.Errorf("ask the network for %s: %w", vip.Addr(), err)
		}
		if sent < probes && time.Since(start) >= time.Duration(sent)*between {
			if err := sock.send(frame); err != nil {
				return nil, false, fmt.Errorf("ask the network for %s on %s: %w", vip.Addr(), ifi.Name, err)
			}
			sent++
		}
		mac, found, err := sock.answer(vip.Addr(), own)
		if err != nil || found {
			return mac, found, err
		}
	}
	return nil, false, nil
}

// answer waits a moment for a frame that claims addr, or probes for it, from another machine.
func (p *packetSock) answer(addr netip.Addr, own macAddr) (net.HardwareAddr, bool, error) {
	const moment = 20 // ms
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, moment); n == 0 || err == unix.EINTR {
		return nil, false, nil
	}
	var buf [2048]byte
	for {
		n, err := p.recv(buf[:])
		if n == 0 || err != nil {
			return nil, false, err
		}
		c, ok := parseClaim(buf[:n])
		if ok && c.mac != own && (c.addr == addr || c.probed == addr) {
			return net.HardwareAddr(c.mac[:]), true, nil
		}
	}
}
