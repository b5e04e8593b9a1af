package registrar

import (
	"strconv"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
	"holdline/sipcore/wire"
)

// tagOutbound is the option tag of RFC 5626.
const tagOutbound = "outbound"

// outbound is how far RFC 5626 applies to a REGISTER.
type outbound struct {
	asked    bool // the phone names it in Supported, or in Require
	firstHop bool // we are the first hop that the phone's request came to
	applies  bool // its first hop keeps the flow: we do, or an edge proxy that says so
}

// outboundOf looks at who keeps the phone's flow (RFC 5626 §6): we if there is one Via only, else the edge proxy, which has
// put ob into its Path. That is the last value: each proxy puts its own above those that are there (RFC 3327 §5.2).
func outboundOf(m *wire.Msg) outbound {
	o := outbound{firstHop: m.Via2.Value.Empty()}
	o.asked = m.Lists(wire.HdrSupported, tagOutbound) || m.Lists(wire.HdrRequire, tagOutbound)
	o.applies = o.firstHop || edgeHasOB(m)
	return o
}

func edgeHasOB(m *wire.Msg) bool {
	if !m.Has(wire.HdrPath) {
		return false
	}
	var edge []byte
	for it := m.Values(wire.HdrPath); ; {
		_, v, ok := it.Next()
		if !ok {
			break
		}
		edge = m.Bytes(v)
	}
	na, err := wire.ParseNameAddr(edge)
	if err != nil {
		return false
	}
	u, err := wire.ParseURI(na.URI)
	if err != nil {
		return false
	}
	_, ob := u.Param("ob")
	return ob
}

// regID is the reg-id under which a contact is bound, 0 for none. It needs an instance (RFC 5626 §6); where the first hop
// does not keep flows it counts for nothing, and a phone that relies on it is told so.
func (o outbound) regID(c *wire.Contact) (uint32, error) {
	switch {
	case c.RegID == 0 || len(c.Instance) == 0:
		return 0, nil
	case o.applies:
		return c.RegID, nil
	case o.asked:
		return 0, refuse(439, "")
	}
	return 0, nil
}

// keepsFlow reports whether a phone that is bound under this reg-id keeps its flow alive itself: the answer tells it to (Require: outbound,
// RFC 5626 §4.4). One that has a reg-id and does not say that it knows the extension is not told, and does not.
func (o outbound) keepsFlow(regID uint32) bool { return o.asked && o.applies && regID != 0 }

// checkFlows refuses what RFC 5626 §6 calls malformed: a flow that is registered together with another contact.
func (o outbound) checkFlows(changes []*pb.BindingChange) error {
	bound, flows := 0, 0
	for _, c := range changes {
		if c.ExpiresS == 0 {
			continue
		}
		if bound++; c.Binding.RegId != 0 {
			flows++
		}
	}
	if o.asked && flows > 0 && bound > 1 {
		return refuse(400, "A Flow Is Registered Alone")
	}
	return nil
}

// inForce reports whether the answer to a REGISTER says Require: outbound: the phone knows the extension and has registered, or
// removed, a flow.
func inForce(m *wire.Msg) bool {
	o := outboundOf(m)
	if !o.asked || !o.applies || !m.Has(wire.HdrContact) {
		return false
	}
	for it := m.Values(wire.HdrContact); ; {
		_, v, ok := it.Next()
		if !ok {
			return false
		}
		c, err := wire.ParseContact(m.Bytes(v))
		if err != nil {
			return false
		}
		if id, err := o.regID(&c); err == nil && o.keepsFlow(id) {
			return true
		}
	}
}

// Flow-Timer, in seconds. WebSockets have keep-alives of their own, which browsers do not let a phone send (RFC 7118 §6), and
// over UDP a phone left to itself asks twice a minute, as NATs need (RFC 5626 §4.4.2): neither gets one.
const (
	settingFlowTimer = "register.flow-timer"
	flowTimer        = 120
	maxFlowTimer     = 3600
)

// addOutbound adds to a 200 what the phone is to know of its flow, and returns within which time it will be heard of, 0 if that
// is left to it.
func addOutbound(cfg *fsm.Config, in *proxy.Inbound, resp *wire.Response) time.Duration {
	if !inForce(in.Msg) {
		return 0
	}
	resp.Fields = append(resp.Fields, wire.Field{ID: wire.HdrRequire, Value: []byte(tagOutbound)})
	every := min(cfg.SettingInt(settingFlowTimer, flowTimer), maxFlowTimer)
	stream := in.Flow.Proto == pb.Transport_TCP || in.Flow.Proto == pb.Transport_TLS
	if !stream || every <= 0 || !outboundOf(in.Msg).firstHop {
		return 0
	}
	resp.Fields = append(resp.Fields, wire.Field{ID: wire.HdrFlowTimer, Value: strconv.AppendInt(nil, every, 10)})
	return time.Duration(every) * time.Second
}
