// Package netlab builds a switch with boxes on cables out of network namespaces, by netlink alone.
package netlab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Interface names: every box calls its own network card Card; the switch calls the port as the box.
const (
	Card   = "eth0"
	Bridge = "sw0"
)

// Network is a switch (a namespace with a Linux bridge) and the boxes plugged into it.
type Network struct {
	Switch *Space
	boxes  []*Box
}

// Box is a namespace with one network card on a cable to the switch.
type Box struct {
	*Space
	MAC  net.HardwareAddr
	port netlink.Link // the switch side of the cable
	sw   *Space
}

// New makes a switch without boxes. Close removes all of it.
func New() (*Network, error) {
	sw, err := NewSpace("switch")
	if err != nil {
		return nil, err
	}
	n := &Network{Switch: sw}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = Bridge
	off := false
	// Snooping would hold multicast back until a querier is heard; there is none here, as on a plain switch.
	bridge := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}
	if err := sw.links.LinkAdd(bridge); err != nil {
		n.Close()
		return nil, fmt.Errorf("make the switch: %w; the kernel needs the bridge module", err)
	}
	if err := sw.links.LinkSetUp(bridge); err != nil {
		n.Close()
		return nil, fmt.Errorf("set the switch up: %w", err)
	}
	return n, nil
}

// AddBox makes a namespace and plugs it into the switch. number gives it a MAC address that is easy to recognise.
func (n *Network) AddBox(name string, number byte, addrs ...netip.Prefix) (*Box, error) {
	space, err := NewSpace(name)
	if err != nil {
		return nil, err
	}
	b := &Box{Space: space, sw: n.Switch, MAC: net.HardwareAddr{0x02, 0x77, 0, 0, 0, number}}
	if err := n.plugIn(b, number, addrs); err != nil {
		space.Close()
		return nil, fmt.Errorf("plug %s into the switch: %w", name, err)
	}
	n.boxes = append(n.boxes, b)
	return b, nil
}

func (n *Network) plugIn(b *Box, number byte, addrs []netip.Prefix) error {
	links := n.Switch.links
	attrs := netlink.NewLinkAttrs()
	attrs.Name = b.Name
	attrs.HardwareAddr = net.HardwareAddr{0x02, 0x77, 0, 0, 1, number}
	cable := &netlink.Veth{LinkAttrs: attrs, PeerName: Card, PeerHardwareAddr: b.MAC, PeerNamespace: netlink.NsFd(b.fd)}
	if err := links.LinkAdd(cable); err != nil {
		return fmt.Errorf("make the cable: %w", err)
	}
	bridge, err := links.LinkByName(Bridge)
	if err != nil {
		return fmt.Errorf("find the switch: %w", err)
	}
	if b.port, err = links.LinkByName(b.Name); err != nil {
		return fmt.Errorf("find the port: %w", err)
	}
	if err := links.LinkSetMaster(b.port, bridge); err != nil {
		return fmt.Errorf("join the port to the switch: %w", err)
	}
	card, err := b.links.LinkByName(Card)
	if err != nil {
		return fmt.Errorf("find the card: %w", err)
	}
	if err := b.links.LinkSetUp(card); err != nil {
		return fmt.Errorf("set the card up: %w", err)
	}
	for _, a := range addrs {
		if err := b.AddAddress(Card, a); err != nil {
			return err
		}
	}
	return b.Plug()
}

// Plug sets the switch side of the box's cable up.
func (b *Box) Plug() error {
	if err := b.sw.links.LinkSetUp(b.port); err != nil {
		return fmt.Errorf("plug the cable of %s: %w", b.Name, err)
	}
	return nil
}

// Unplug sets the switch side of the box's cable down: the box loses its carrier, as when a cable is pulled.
func (b *Box) Unplug() error {
	if err := b.sw.links.LinkSetDown(b.port); err != nil {
		return fmt.Errorf("pull the cable of %s: %w", b.Name, err)
	}
	return nil
}

// Port is the interface index of the box's port in the switch's namespace.
func (b *Box) Port() int { return b.port.Attrs().Index }

// Close removes every box and the switch, and kills what still runs in them.
func (n *Network) Close() {
	for _, b := range n.boxes {
		b.Close()
	}
	n.Switch.Close()
}
