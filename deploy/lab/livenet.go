package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"holdline/deploy/lab/capture"
	"holdline/deploy/lab/phone"
	"holdline/deploy/lab/probe"
)

// vipAnswer is how long a VIP may take for an answer to the first OPTIONS.
const vipAnswer = 3 * time.Second

// prepare finds out whether the drill can be carried out, and with what.
func (l *live) prepare(ctx context.Context) error {
	var err error
	if l.status, err = l.cluster.Status(ctx); err != nil {
		return err
	}
	l.say("HA: %s", l.status.HA.Summary)
	for _, g := range l.status.VIPs {
		l.say("VIP group %s is with %s", g.Name, g.Owner)
	}
	ours, err := localAddrs()
	if err != nil {
		return err
	}
	var all []netip.Addr
	for v := range ownersOf(l.status) {
		all = append(all, v)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	if err := l.chooseLocal(all, ours); err != nil {
		return err
	}
	for _, v := range all {
		if err := l.answers(v); err != nil {
			l.warn("%v is left out: %v", v, err)
			continue
		}
		l.vips = append(l.vips, v)
	}
	if len(l.vips) == 0 {
		return fmt.Errorf("no VIP of %d answers OPTIONS from %v: is UDP port %d let through? %v", len(all), l.local, sipPort, l.out.Warnings)
	}
	return l.choose(func(a netip.Addr) bool { return slices.Contains(ours, a) })
}

// localAddrs are the IPv4 addresses of this machine.
func localAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			out = append(out, p.Addr())
		}
	}
	return out, nil
}

// chooseLocal picks the address that the phones use: never a VIP, which may be this machine's for the moment.
func (l *live) chooseLocal(vips, ours []netip.Addr) error {
	if l.o.Local.IsValid() {
		if !slices.Contains(ours, l.o.Local) {
			return fmt.Errorf("%v is no address of this machine", l.o.Local)
		}
		l.local = l.o.Local
		return nil
	}
	for _, v := range vips {
		conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(v, sipPort)))
		if err != nil {
			continue // no route to this one
		}
		from := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
		if err := conn.Close(); err != nil {
			return fmt.Errorf("look for the way to %v: %w", v, err)
		}
		if !slices.Contains(vips, from) {
			l.local = from
			return nil
		}
	}
	return fmt.Errorf("this machine has no address for phones that reach the VIPs %s: name one with --local", join(vips))
}

// answers asks a VIP once, as a phone does.
func (l *live) answers(vip netip.Addr) (err error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.local, 0)))
	if err != nil {
		return fmt.Errorf("open a socket on %v: %w", l.local, err)
	}
	asked := probe.Start(conn, []probe.Target{{VIP: netip.AddrPortFrom(vip, sipPort), Every: vipAnswer / 10}})
	defer func() {
		_, stopErr := asked.Stop()
		err = errors.Join(err, stopErr)
	}()
	for end := time.Now().Add(vipAnswer); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if slices.ContainsFunc(asked.Since(0, time.Time{}), func(s probe.Sample) bool { return !s.Answered.IsZero() }) {
			return nil
		}
	}
	return errors.New("it gives no answer to OPTIONS")
}

func (l *live) startProbe() (*probe.Probe, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.local, 0)))
	if err != nil {
		return nil, fmt.Errorf("open the probe's socket on %v: %w", l.local, err)
	}
	return probe.Start(conn, l.probed()), nil
}

// capture looks at what comes in at the interface that has the phones' address.
func (l *live) capture() (*capture.Capture, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list this machine's interfaces: %w", err)
	}
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", i.Name, err)
		}
		if slices.ContainsFunc(addrs, func(a net.Addr) bool {
			p, err := netip.ParsePrefix(a.String())
			return err == nil && p.Addr() == l.local
		}) {
			return capture.StartHere(l.vips, []int{i.Index})
		}
	}
	return nil, fmt.Errorf("no interface has %v any more", l.local)
}

// oneMAC tells whether frames of VIPs with different owners came from one address: then it is a router's.
func (l *live) oneMAC(frames []capture.Frame) bool {
	seen := map[string]map[string]bool{} // MAC, owners before the fault
	for _, f := range frames {
		if mac := string(f.Sender.MAC[:]); f.At.Before(l.faultAt) {
			if seen[mac] == nil {
				seen[mac] = map[string]bool{}
			}
			seen[mac][l.target.owners[f.VIP]] = true
		}
	}
	for _, owners := range seen {
		if len(seen) == 1 && len(owners) > 1 {
			return true
		}
	}
	return false
}

// nameSenders learns which node a MAC address is of, from the VIPs that were whose before the fault.
func (l *live) nameSenders(frames []capture.Frame) {
	names := map[[6]byte]string{}
	for _, f := range frames {
		if f.At.Before(l.faultAt) {
			names[f.Sender.MAC] = l.target.owners[f.VIP]
		}
	}
	l.nameOf = func(s capture.Sender) string {
		if name := names[s.MAC]; name != "" {
			return name
		}
		return net.HardwareAddr(s.MAC[:]).String()
	}
}

func reasons(lost map[*phone.Phone]error) map[*phone.Phone]string {
	out := map[*phone.Phone]string{}
	for p, err := range lost {
		out[p] = err.Error()
	}
	return out
}
