package proxy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strconv"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// Group is a VIP group as the core serves it.
type Group struct {
	Number uint32
	VIPs   []VIP
}

// VIP is one address of a group.
type VIP struct {
	Addr      netip.Addr
	Advertise string // host that messages name instead of Addr (1:1 NAT); "" = Addr
	Port      uint16 // SIP port of UDP and TCP; 0 = 5060
	TLSPort   int    // 0 = Port + 1, negative: not served; likewise below
	WSPort    int    // 0 = Port + 2
	WSSPort   int    // 0 = Port + 3
}

// PortOf is the port that a transport is served on, 0 when it is not.
func (v *VIP) PortOf(p pb.Transport) uint16 {
	base := int(v.Port)
	if base == 0 {
		base = transport.DefaultPort
	}
	port := base
	switch p {
	case pb.Transport_TLS:
		port = cmp.Or(v.TLSPort, base+1)
	case pb.Transport_WS:
		port = cmp.Or(v.WSPort, base+2)
	case pb.Transport_WSS:
		port = cmp.Or(v.WSSPort, base+3)
	}
	if port < 0 || port > 65535 {
		return 0
	}
	return uint16(port)
}

// View is what processing a message needs to know of the configuration: immutable, replaced as a whole.
type View struct {
	Config    *fsm.Config
	later     bool         // calls are recorded after the fact (SettingCommit)
	only      *pb.Domain   // the only domain there is, if there is one
	closed    bool         // strangers reach nobody (SettingStrangers)
	session   uint32       // SettingSession
	assert    bool         // who calls is what this cluster knows (SettingIdentity)
	divert    []dialog.Key // of diversions, current first
	redirects string       // SettingRedirects
	branch    []branchKey  // current first
	route     []dialog.Key // current first
	alive     []branchKey  // of keep-alives, current first
	faces     map[faceKey]*face
	own       map[string][]*face // by host as URIs name it
	addrs     map[netip.Addr]bool
	ports     map[uint16]bool // served on any VIP
}

type faceKey struct {
	group uint32
	vip   uint8
}

// face is how one VIP shows itself in messages.
type face struct {
	group uint32
	vip   uint8
	addr  netip.Addr
	six   bool      // it is an IPv6 address
	ports [5]uint16 // by transport; 0: not served
	at    [5]string // "host:port" by transport
	via   [5]string // "Via: SIP/2.0/UDP host:port;branch="
	rr    [5]string // "Record-Route: <sip:host:port;lr;hl="
	rrs   [5]string // the same with sips, where that is secure (RFC 3261 §16.6 step 4)
}

var protoNames = [5]string{"UDP", "TCP", "TLS", "WS", "WSS"}

// NewView derives a view. Without keys in the configuration fallback, which should be random, takes their place:
// calls then work, but not beyond this process; ok is false.
func NewView(cfg *fsm.Config, groups []Group, fallback []byte) (v *View, ok bool) {
	v = &View{Config: cfg, faces: make(map[faceKey]*face), own: make(map[string][]*face), addrs: make(map[netip.Addr]bool), ports: make(map[uint16]bool)}
	ok = true
	v.later = cfg.Setting(SettingCommit, CommitBefore) == CommitAfter
	n := 0
	cfg.Domains(func(d *pb.Domain) bool {
		v.only = d
		n++
		return n < 2
	})
	if n > 1 {
		v.only = nil
	}
	v.closed = cfg.Setting(SettingStrangers, StrangersUsers) == StrangersRefuse
	v.session = uint32(min(max(cfg.SettingInt(SettingSession, 0), 0), 1<<24))
	v.redirects = cfg.Setting(SettingRedirects, RedirectsFollow)
	v.assert = cfg.Setting(SettingIdentity, IdentityAsserted) == IdentityAsserted
	for _, k := range cfg.Keys("branch") {
		v.branch = append(v.branch, branchKey{uint8(k.Id), secret("branch", k.Secret)})
		v.alive = append(v.alive, branchKey{uint8(k.Id), secret("keep-alive", k.Secret)})
		v.divert = append(v.divert, dialog.Key{ID: uint8(k.Id), Secret: secret("divert", k.Secret)})
	}
	for _, k := range cfg.Keys("record-route") {
		v.route = append(v.route, dialog.Key{ID: uint8(k.Id), Secret: secret("record-route", k.Secret)})
	}
	if len(v.branch) == 0 {
		v.branch, ok = []branchKey{{0, secret("branch", fallback)}}, false
		v.alive = []branchKey{{0, secret("keep-alive", fallback)}}
		v.divert = []dialog.Key{{ID: 0, Secret: secret("divert", fallback)}}
	}
	if len(v.route) == 0 {
		v.route, ok = []dialog.Key{{ID: 0, Secret: secret("record-route", fallback)}}, false
	}
	for _, g := range groups {
		for i, vip := range g.VIPs {
			v.addFace(g.Number, uint8(i), vip)
		}
	}
	return v, ok
}

func secret(purpose string, key []byte) txn.Secret {
	h := sha256.New()
	h.Write([]byte("holdline sip " + purpose + "\x00"))
	h.Write(key)
	sum := h.Sum(nil)
	return txn.Secret{K0: binary.BigEndian.Uint64(sum), K1: binary.BigEndian.Uint64(sum[8:])}
}

// RecordsLater says whether calls are recorded after the fact.
func (v *View) RecordsLater() bool { return v.later }

func (v *View) addFace(group uint32, index uint8, vip VIP) {
	addr := uriHost(vip.Addr)
	host := addr
	if vip.Advertise != "" {
		host = vip.Advertise
		if a, err := netip.ParseAddr(host); err == nil {
			host = uriHost(a)
		}
	}
	f := &face{group: group, vip: index, addr: vip.Addr.Unmap(), six: vip.Addr.Is6() && !vip.Addr.Is4In6()}
	for p, name := range protoNames {
		f.ports[p] = vip.PortOf(pb.Transport(p))
		v.ports[f.ports[p]] = true
		f.at[p] = host + ":" + strconv.Itoa(int(f.ports[p]))
		f.via[p] = "Via: SIP/2.0/" + name + " " + f.at[p] + ";branch="
		params := ";lr;" + dialog.Param + "="
		if p != int(pb.Transport_UDP) {
			params = ";transport=" + lowerString(name) + params
		}
		f.rr[p] = "Record-Route: <sip:" + f.at[p] + params
		f.rrs[p] = f.rr[p]
		if secure(pb.Transport(p)) {
			f.rrs[p] = "Record-Route: <sips:" + f.at[p] + params
		}
	}
	v.faces[faceKey{group, index}] = f
	v.addrs[vip.Addr.Unmap()] = true
	v.own[host] = append(v.own[host], f)
	if host != addr {
		v.own[addr] = append(v.own[addr], f)
	}
}

// secure reports whether a transport may carry what sips asks for.
func secure(p pb.Transport) bool { return p == pb.Transport_TLS || p == pb.Transport_WSS }

func uriHost(a netip.Addr) string {
	if a.Is6() && !a.Is4In6() {
		return "[" + a.String() + "]"
	}
	return a.Unmap().String()
}

func lowerString(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// isOwn reports whether host:port is one of our VIPs; port 0 stands for 5060.
func (v *View) isOwn(host []byte, port uint16) bool {
	if port == 0 {
		port = transport.DefaultPort
	}
	for _, f := range v.facesAt(host) {
		for _, p := range f.ports {
			if p == port {
				return true
			}
		}
	}
	return false
}

// facesAt are the VIPs that a host names, as URIs and Vias write it. Two IPv6 references are the same if their addresses are (RFC 5954 §4.2).
func (v *View) facesAt(host []byte) []*face {
	f, ok := v.own[string(host)]
	if !ok && len(host) > 0 && host[0] == '[' {
		f = v.own[uriHost(wire.ParseHost(host))]
	}
	return f
}

// isUs reports whether a URI names this proxy (§16.4): one of its VIPs, or a domain that it serves, by whose name phones know it (their
// outbound proxy), at a port that it serves.
func (v *View) isUs(u *wire.URI) bool {
	return v.isOwn(u.Host, u.Port) || v.domain(u.Host) != nil && (u.Port == 0 || v.ports[u.Port])
}

// domain returns the domain with this name or alias, as a URI names it.
func (v *View) domain(host []byte) *pb.Domain {
	var buf [128]byte
	b := wire.AppendLower(buf[:0], host)
	if len(b) > 0 && b[0] == '[' {
		if a := wire.ParseHost(host); a.IsValid() {
			b = a.Unmap().AppendTo(buf[:0]) // however it is written, as fsm.CanonicalHost has it
		}
	}
	return v.Config.Domain(string(b))
}

// namesGateway reports whether a host is the name of a gateway that is known by its sources.
func (v *View) namesGateway(host []byte) bool {
	var buf [128]byte
	return v.Config.MemberNamed(string(bytes.TrimSuffix(wire.AppendLower(buf[:0], host), []byte("."))))
}

// sources are the pool members whose requests may come from addr. What comes from one of our VIPs we have sent ourselves, for whomever: that it lies in a
// member's network does not make it trusted.
func (v *View) sources(addr netip.Addr) []*pb.Member {
	members := v.Config.Sources(addr)
	if len(members) > 0 && v.addrs[addr.Unmap()] && !v.Config.MemberAt(addr) {
		return nil
	}
	return members
}

// face returns the VIP that a flow uses, nil when it is gone.
func (v *View) face(f transport.Flow) *face { return v.faces[faceKey{f.Group, f.VIP}] }
