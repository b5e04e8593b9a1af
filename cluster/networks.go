package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/vip"
)

// networkChecks tells what of this machine's networks works, but not as it was meant. Nothing to tell: nil.
func (n *Node) networkChecks(listen netip.Addr, vips []netip.Prefix) ([]api.Check, error) {
	if n.opt.WithoutGuard {
		return nil, nil
	}
	out, err := lengthChecks(vips)
	if err != nil {
		return nil, err
	}
	c, apart, err := apartCheck(listen, vips)
	if apart {
		out = append(out, c)
	}
	return out, err
}

// lengthChecks tells of VIPs with another length than the network that they stand in has here. The guard finds the interface by the address all the same, but on a
// box with several networks the length has a say in which it is.
func lengthChecks(vips []netip.Prefix) ([]api.Check, error) {
	var out []api.Check
	for _, v := range vips {
		own, err := vip.Beside(v)
		switch {
		case errors.Is(err, vip.ErrNoInterface): // the guard tells
		case err != nil:
			return nil, err
		case own.Bits() != v.Bits():
			right := netip.PrefixFrom(v.Addr(), own.Bits())
			out = append(out, api.Check{
				Name: "VIP " + v.String(), Result: api.CheckWarn, Detail: fmt.Sprintf("its network has length %d here, by this box's own address there, %s", own.Bits(), own),
				Advice: fmt.Sprintf("it is served all the same; put it right when it carries no calls (holdline vip remove %s, then holdline vip add %s)", v.Addr(), right),
			})
		}
	}
	return out, nil
}

// apartCheck tells whether the cluster's traffic takes another way than all VIPs. Leases go by that traffic: a switch of the VIPs that fails and leaves its ports'
// carriers up is then seen by nobody.
func apartCheck(listen netip.Addr, vips []netip.Prefix) (c api.Check, apart bool, err error) {
	own, err := vip.InterfaceWith(listen)
	if errors.Is(err, vip.ErrNoInterface) {
		return c, false, nil // peers and links tell
	}
	if err != nil {
		return c, false, err
	}
	var of *net.Interface
	for _, v := range vips {
		switch of, err = vip.InterfaceFor(v); {
		case errors.Is(err, vip.ErrNoInterface):
		case err != nil:
			return c, false, err
		case of.Index == own.Index:
			return c, false, nil
		default:
			c = api.Check{
				Name: "listen " + listen.String(), Result: api.CheckWarn,
				Detail: fmt.Sprintf("it is on %s, where no VIP is: a switch of the VIPs that fails without the carrier going would be seen by nobody, and no VIP be moved", own.Name),
				Advice: fmt.Sprintf("give --listen this box's address on a VIP's network, on %s (to change it: holdline leave, then join again)", of.Name),
			}
		}
	}
	return c, c.Name != "", nil
}

// vipsOf lists the addresses of VIP groups.
func vipsOf(groups []*pb.Group) []netip.Prefix {
	var out []netip.Prefix
	for _, g := range groups {
		for _, v := range g.Vips {
			if p, err := netip.ParsePrefix(v.Prefix); err == nil { // as it was when it was written
				out = append(out, p)
			}
		}
	}
	return out
}

// doctorNetworks reports networkChecks of the configuration as it is now.
func (e *engine) doctorNetworks(cfg *fsm.Config) []api.Check {
	checks, err := e.node.networkChecks(e.Listen.Addr(), vipsOf(cfg.Groups()))
	if err != nil {
		checks = append(checks, api.Check{Name: "networks", Result: api.CheckWarn, Detail: err.Error(), Advice: "run holdline doctor again"})
	}
	return checks
}
