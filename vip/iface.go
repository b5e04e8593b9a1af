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

// Beside returns the address of this machine's own by which a VIP's interface is found, with its length: the length of that network, as far
// as this machine knows. ErrNoInterface: there is none.
func Beside(vip netip.Prefix) (netip.Prefix, error) {
	addrs, err := hostAddrs(&netlink.Handle{})
	if err != nil {
		return netip.Prefix{}, err
	}
	own := besideOf(vip, addrs)
	if own.index == 0 {
		return netip.Prefix{}, fmt.Errorf("find an address beside %s: %w", vip, ErrNoInterface)
	}
	return own.prefix, nil
}

// InterfaceWith finds the interface that has an address of this machine's own. ErrNoInterface: none has.
func InterfaceWith(addr netip.Addr) (*net.Interface, error) {
	addrs, err := hostAddrs(&netlink.Handle{})
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if a.prefix.Addr() == addr {
			return net.InterfaceByIndex(a.index)
		}
	}
	return nil, fmt.Errorf("find the interface with %s: %w", addr, ErrNoInterface)
}
