package vip

import (
	"errors"
	"net"
	"net/netip"
)

// ErrNoInterface means that no interface has an address in the network asked for.
var ErrNoInterface = errors.New("no network interface has an address in that network")

// Local tells whether an address is configured on this machine.
func Local(addr netip.Addr) (bool, error) { return false, errors.ErrUnsupported }

// InterfaceFor finds the interface that has an address in the network of a VIP (10.77.0.101/24).
func InterfaceFor(vip netip.Prefix) (*net.Interface, error) { return nil, ErrNoInterface }
