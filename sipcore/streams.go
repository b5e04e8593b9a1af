package sipcore

import (
	"net/netip"
	"strings"

	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// Settings of the stream transports.
const (
	SettingVerifyTLS = "sip.tls-verify" // no: certificates of gateways are not verified
	SettingOrigins   = "sip.ws-origins" // hosts of the web pages that WebSockets may come from; empty: any
)

// The setting that names emergency numbers, and what they are unless set.
const (
	SettingEmergency = proxy.SettingEmergency
	EmergencyNumbers = proxy.EmergencyNumbers
)

func (c *Core) startStreams() (err error) {
	c.streams, err = transport.NewStreams(transport.StreamOptions{
		UDP: c.udp, Handler: c.handle, Logger: c.log, Certificates: c.opt.Certificates, Limits: c.opt.Streams,
		Lease: func(group uint32) (uint64, bool) {
			epoch, _, ok := c.opt.Owners.Lease(group)
			return epoch, ok
		},
		Undelivered: c.undelivered,
		Fallback: func(response []byte) (netip.AddrPort, bool) {
			var m wire.Msg
			if m.Scan(response) != nil {
				return netip.AddrPort{}, false
			}
			return proxy.FallbackAddr(&m)
		},
		ServerName:   serverName,
		GatewayNames: c.gatewayNames,
		Gateway:      func(addr netip.Addr) bool { return len(c.opt.Machine.Config().Sources(addr)) > 0 },
		VerifyPeers:  func() bool { return c.opt.Machine.Config().Setting(SettingVerifyTLS, "yes") != "no" },
		Authorities:  c.opt.Authorities,
		Origins:      func() []string { return strings.Fields(c.opt.Machine.Config().Setting(SettingOrigins, "")) },
	})
	return err
}

// serverName is the host that a request is sent to, and whether it is one of a dialog. A response names none.
func serverName(request []byte) (name string, dialog bool) {
	var m wire.Msg
	if m.Scan(request) != nil {
		return "", false
	}
	return proxy.NextHopHost(&m), !m.To.Tag.Empty()
}

// gatewayNames are the hosts by which the gateways at an address are called, as far as the configuration and what has been looked up can tell. Locks may be held.
func (c *Core) gatewayNames(addr netip.Addr) []string {
	return c.view.Load().GatewayNames(addr, c.resolver.Leads)
}

// endpoints are what is listened on for groups.
func endpoints(groups []Group) (udp []transport.Endpoint, streams []transport.StreamEndpoint) {
	for _, g := range groups {
		for i := range g.VIPs {
			v := &g.VIPs[i]
			for p := pb.Transport_UDP; p <= pb.Transport_WSS; p++ {
				port := v.PortOf(p)
				ep := transport.Endpoint{Group: g.Number, VIP: uint8(i), Local: netip.AddrPortFrom(v.Addr, port)}
				switch {
				case port == 0:
				case p == pb.Transport_UDP:
					udp = append(udp, ep)
				default:
					streams = append(streams, transport.StreamEndpoint{Endpoint: ep, Proto: p})
				}
			}
		}
	}
	return udp, streams
}

// misframed answers a request after which its stream is out of step.
func (c *Core) misframed(out *transport.Sender, sc *scratch, p *transport.Packet) {
	_ = sc.msg.Scan(p.Data) // the fault is known; what can be read is enough or is not
	if !sc.msg.Answerable() {
		c.drops.garbage.Add(1)
		return
	}
	c.reply(out, sc, p.Flow, &wire.Response{Status: p.Fault, Reason: p.Reason})
}

// reuse lets requests to a gateway go over a connection that it has opened and offers for that (RFC 5923 §5). Gateways are
// known by their address; from others the offer is not taken.
func (c *Core) reuse(v *proxy.View, m *wire.Msg, flow transport.Flow) {
	if flow.Proto != pb.Transport_TCP && flow.Proto != pb.Transport_TLS {
		return
	}
	if _, ok := wire.Param(m.Bytes(m.Via1.Value), "alias"); ok && len(v.Config.Sources(flow.Remote.Addr())) > 0 {
		c.streams.Reuse(flow.Conn, proxy.ViaPort(m))
	}
}

// undelivered takes a request that could not be sent to the owner of its transaction. It may be called with a shard locked.
func (c *Core) undelivered(conn uint64, data []byte) {
	sc := c.scratch.Get().(*scratch)
	defer c.scratch.Put(sc)
	m := &sc.msg
	if m.Scan(data) != nil {
		return
	}
	x, ok := proxy.ParseUndelivered(m)
	if !ok {
		return
	}
	x.Conn = conn
	home := x.Branch.Home
	if _, _, ok := c.opt.Owners.Lease(home); !ok {
		c.sendToOwner(home, frameFailed, transport.Flow{Group: home, Conn: conn, Remote: netip.AddrPortFrom(netip.IPv4Unspecified(), 0)}, data)
		return
	}
	c.shardOf(m.Bytes(m.CallID)).post(posted{undelivered: &x})
}
