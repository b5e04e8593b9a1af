package vip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// iface is an interface that carries VIPs.
type iface struct {
	index   int
	name    string
	mac     macAddr
	ether   bool // has a MAC address
	up      bool // administratively up, with carrier
	arp, nd *packetSock
}

// hostAddr is an address on an interface.
type hostAddr struct {
	index  int
	prefix netip.Prefix // address and length
}

// network is what the kernel says of interfaces and addresses. Used by the loop only.
type network struct {
	events int // multicast socket for link and address changes
	buf    []byte
	ifaces map[int]*iface // those that carry VIPs, by index
	links  uint64         // link events seen, of any interface
}

func openNetwork() (*network, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20),
		unix.Bind(fd, &unix.SockaddrNetlink{
			Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR,
		}))
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	return &network{events: fd, buf: make([]byte, 64<<10), ifaces: map[int]*iface{}}, nil
}

func (n *network) close() {
	for _, i := range n.ifaces {
		i.close()
	}
	unix.Close(n.events)
}

func (i *iface) close() {
	for _, p := range []*packetSock{i.arp, i.nd} {
		if p != nil {
			p.close()
		}
	}
	i.arp, i.nd = nil, nil
}

// carrier tells from an interface's flags whether frames can leave.
func carrier(flags uint32) bool {
	const all = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	return flags&all == all
}

// hostAddrs lists the addresses of this machine.
func hostAddrs(nl *netlink.Handle) ([]hostAddr, error) {
	var list []netlink.Addr
	err := retryDump(func() (err error) {
		list, err = nl.AddrList(nil, netlink.FAMILY_ALL)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	out := make([]hostAddr, 0, len(list))
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || a.IPNet == nil {
			continue
		}
		bits, _ := a.Mask.Size()
		out = append(out, hostAddr{a.LinkIndex, netip.PrefixFrom(ip.Unmap(), bits)})
	}
	return out, nil
}

// retryDump repeats a listing that a change in the middle made inconsistent.
func retryDump(list func() error) error {
	var err error
	for range 5 {
		if err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return err
}

// ifaceOf finds the interface in whose network a VIP lives: one with an address of the VIP's own prefix, else of the longest one
// that contains it. Single-host prefixes do not count: they are virtual addresses. 0: none.
func ifaceOf(vip netip.Prefix, addrs []hostAddr) int { return besideOf(vip, addrs).index }

// besideOf is the machine's own address that ifaceOf goes by; its index is 0 if there is none.
func besideOf(vip netip.Prefix, addrs []hostAddr) hostAddr {
	best, bits := hostAddr{}, -1
	for _, a := range addrs {
		p := a.prefix
		if p.IsSingleIP() || !p.Masked().Contains(vip.Addr()) || p.Addr() == vip.Addr() {
			continue
		}
		b := p.Bits()
		if p.Masked() == vip.Masked() {
			b = 1 << 10
		}
		if b > bits || b == bits && a.index < best.index {
			best, bits = a, b
		}
	}
	return best
}

// adopt makes the interfaces found, and no others, the ones that carry VIPs. stale tells that link events have come since: what
// they said of an interface holds. v6 tells which interfaces need neighbour discovery.
func (n *network) adopt(found map[int]iface, stale bool, v6 map[int]bool) error {
	var errs []error
	for index, f := range found {
		i := n.ifaces[index]
		if i == nil {
			i = &iface{index: index, up: f.up, mac: f.mac}
			n.ifaces[index] = i
		} else if !stale {
			i.up, i.mac = f.up, f.mac
		}
		i.name, i.ether = f.name, f.ether
		if !i.ether {
			continue
		}
		var err error
		if i.arp == nil {
			i.arp, err = openPacket(index, true)
			errs = append(errs, err)
		}
		if i.nd == nil && v6[index] {
			i.nd, err = openPacket(index, false)
			errs = append(errs, err)
		}
	}
	for index, i := range n.ifaces {
		if _, used := found[index]; !used {
			go i.close() // waits for the kernel's grace period
			delete(n.ifaces, index)
		}
	}
	return errors.Join(errs...)
}

// change is what a burst of netlink events amounts to.
type change struct {
	link   bool         // carrier or MAC of a used interface
	rescan bool         // addresses came or went, an interface vanished, or events were lost
	gone   []netip.Addr // single addresses removed by somebody
}

// read takes in the waiting events.
func (n *network) read() change {
	var c change
	for {
		size, _, err := unix.Recvfrom(n.events, n.buf, unix.MSG_DONTWAIT)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return c
		default: // ENOBUFS: events were lost
			c.rescan = true
			if err != unix.ENOBUFS {
				return c
			}
			continue
		}
		for b := n.buf[:size]; len(b) >= unix.SizeofNlMsghdr; {
			length := int(binary.NativeEndian.Uint32(b))
			if length < unix.SizeofNlMsghdr || length > len(b) {
				break
			}
			n.event(&c, binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:length])
			b = b[min(len(b), (length+3)&^3):]
		}
	}
}

func (n *network) event(c *change, typ uint16, b []byte) {
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(b) < unix.SizeofIfInfomsg {
			return
		}
		n.links++
		i := n.ifaces[int(int32(binary.NativeEndian.Uint32(b[4:])))]
		if i == nil || b[0] == unix.AF_BRIDGE { // a bridge port's own notices have no carrier of their own
			return
		}
		if typ == unix.RTM_DELLINK {
			i.up, c.link, c.rescan = false, true, true
			return
		}
		if up := carrier(binary.NativeEndian.Uint32(b[8:])); up != i.up {
			i.up, c.link = up, true
		}
		rtAttrs(b[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
			switch {
			case typ == unix.IFLA_ADDRESS && len(v) == 6 && i.ether && macAddr(v) != i.mac:
				i.mac, c.link = macAddr(v), true // a bond has changed its active port
			case typ == unix.IFLA_IFNAME && string(bytes.TrimRight(v, "\x00")) != i.name:
				c.rescan = true
			}
		})
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(b) < unix.SizeofIfAddrmsg {
			return
		}
		bits := int(b[1])
		var addr netip.Addr
		rtAttrs(b[unix.SizeofIfAddrmsg:], func(typ uint16, v []byte) {
			a, ok := netip.AddrFromSlice(v)
			if ok && (typ == unix.IFA_LOCAL || typ == unix.IFA_ADDRESS && !addr.IsValid()) {
				addr = a
			}
		})
		if addr.IsValid() && bits == addr.BitLen() {
			if typ == unix.RTM_DELADDR {
				c.gone = append(c.gone, addr)
			}
			return // a VIP, ours or another's: of no use to find interfaces
		}
		c.rescan = true
	}
}

// rtAttrs walks route attributes.
func rtAttrs(b []byte, f func(typ uint16, v []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:size])
		b = b[min(len(b), (size+3)&^3):]
	}
}

// addressLife is how long the kernel keeps an address that the guard does not refresh, in seconds: the second line behind the fence.
const addressLife = 1

func hostAddress(index int, addr netip.Addr) *netlink.Addr {
	bits := addr.BitLen()
	a := &netlink.Addr{
		IPNet:     &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, bits)},
		LinkIndex: index,
		ValidLft:  addressLife, // preferred_lft 0: never chosen as a source
	}
	if addr.Is6() {
		a.Flags = unix.IFA_F_NODAD // the lease has decided already
	}
	return a
}

// addAddress puts an address on an interface, or renews its life.
func addAddress(nl *netlink.Handle, index int, addr netip.Addr) error {
	if err := nl.AddrReplace(nil, hostAddress(index, addr)); err != nil {
		return fmt.Errorf("add address %s to interface %d: %w", addr, index, err)
	}
	return nil
}

// delAddress takes an address off. One that is gone already is no error.
func delAddress(nl *netlink.Handle, index int, addr netip.Addr) error {
	a := hostAddress(index, addr)
	a.ValidLft = 0
	err := nl.AddrDel(nil, a)
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove address %s from interface %d: %w", addr, index, err)
	}
	return nil
}
