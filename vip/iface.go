package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// ErrNoInterface means that no interface has an address in the network asked for.
var ErrNoInterface = errors.New("no network interface has an address in that network")

// Local tells whether an address is configured on this machine.
func Local(addr netip.Addr) (bool, error) {
	addrs, err := hostAddrs(&netlink.Handle{})
	if err != nil {
		return false, err
	}
	for _, a := range addrs {
		if a.prefix.Addr() == addr {
			return true, nil
		}
	}
	return false, nil
}

// InterfaceFor finds the interface that has an address in the network of a VIP (10.77.0.101/24): the one on which the
// guard would put it. ErrNoInterface: there is none.
func InterfaceFor(vip netip.Prefix) (*net.Interface, error) {
	addrs, err := hostAddrs(&netlink.Handle{})
	if err != nil {
		return nil, err
	}
	index := ifaceOf(vip, addrs)
	if index == 0 {
		return nil, fmt.Errorf("find the interface for %s: %w", vip, ErrNoInterface)
	}
	ifi, err := net.InterfaceByIndex(index)
	if err != nil {
		return nil, fmt.Errorf("find the interface for %s: %w", vip, err)
	}
	return ifi, nil
}
