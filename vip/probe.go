package vip

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// InUse asks the network of a VIP whether somebody uses its address already, and if so, with which hardware
// address: an ARP probe (RFC 5227 §2.1.1) or a neighbour solicitation (RFC 4862 §5.4.2). It takes about a second
// when nobody answers.
func InUse(ctx context.Context, vip netip.Prefix) (net.HardwareAddr, bool, error) {
	return nil, false, errors.ErrUnsupported
}
