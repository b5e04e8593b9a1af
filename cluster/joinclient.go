package cluster

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"holdline/cluster/api"
	"holdline/cluster/pki"
	"holdline/cluster/port"
)

const (
	dialMember   = 2 * time.Second
	catchUpLimit = 60 * time.Second
)

// Join implements api.Backend. Run again, it goes on where it stopped.
func (n *Node) Join(ctx context.Context, r api.JoinRequest) (api.JoinAnswer, error) {
	n.change.Lock()
	defer n.change.Unlock()
	token, err := pki.ParseToken(r.Token)
	if err != nil {
		return api.JoinAnswer{}, api.Errorf(api.CodeInvalid, "%w", err)
	}
	if e := n.engine.Load(); e != nil {
		if e.ca.Hash() != token.CA {
			return api.JoinAnswer{}, api.Errorf(api.CodeExists, "this node (%s) is a member of another cluster: run `holdline leave` here first", e.Name)
		}
		if err := e.stillMember(ctx); err != nil {
			return api.JoinAnswer{}, err
		}
		if r.Name != e.Name {
			return api.JoinAnswer{}, api.Errorf(api.CodeExists, "this node is a member of that cluster already, as %s: to have it join as %s, run `holdline leave` here first", e.Name, r.Name)
		}
		return e.joined(ctx, nil, "already a member; ")
	}
	listen, err := parseListen(r.Listen, token.Addresses[0].Port())
	if err != nil {
		return api.JoinAnswer{}, api.Errorf(api.CodeInvalid, "%w", err)
	}
	if err := n.mayGuard(); err != nil {
		return api.JoinAnswer{}, err
	}
	n.forgetGuard() // it may know a membership that ended otherwise than by Leave, or a join that came to nothing
	j := &joiner{node: n, token: token, name: r.Name, listen: listen}
	m, raw, err := j.run(ctx)
	if err != nil {
		return api.JoinAnswer{}, err
	}
	if err := n.dir.write(fileMembers, raw); err != nil {
		return api.JoinAnswer{}, err
	}
	if err := n.start(ctx, m, nil); err != nil {
		return api.JoinAnswer{}, api.Errorf(api.CodeInternal, "the cluster has let this node in, but it did not start: %w: mend that and run the same command again", errors.Join(err, n.dir.wipeLog()))
	}
	e := n.engine.Load()
	if err := n.dir.save(m); err != nil {
		n.engine.Store(nil)
		return api.JoinAnswer{}, errors.Join(err, e.stop())
	}
	return e.joined(ctx, j.checks, "")
}

// joiner is one attempt to become a member.
type joiner struct {
	node   *Node
	token  pki.Token
	name   string
	listen netip.AddrPort
	checks []api.Check

	uuid string
	key  ed25519.PrivateKey
}

// run asks the token's members, one after the other, to let this node in.
func (j *joiner) run(ctx context.Context) (*membership, []byte, error) {
	var err error
	if j.uuid, err = j.node.dir.uuid(); err != nil {
		return nil, nil, err
	}
	if j.key, err = j.node.dir.nodeKey(); err != nil {
		return nil, nil, err
	}
	config, err := pki.JoinClientConfig(j.uuid, j.key, j.token.CA)
	if err != nil {
		return nil, nil, err
	}
	way, err := j.openWayBack()
	if err != nil {
		return nil, nil, err
	}
	defer way.close()
	var unreachable error
	for _, at := range j.token.Addresses {
		dial, cancel := context.WithTimeout(ctx, dialMember)
		conn, err := port.Dial(dial, j.listen.Addr(), at, config)
		cancel()
		switch {
		case errors.Is(err, pki.ErrOtherCluster):
			return nil, nil, api.Errorf(api.CodeRefused, "join through %s: %w", at, pki.ErrOtherCluster)
		case err != nil:
			unreachable = fmt.Errorf("%s: %w", at, err)
			continue
		}
		m, raw, err := j.converse(ctx, conn, way)
		_ = conn.Close()
		return m, raw, err
	}
	return nil, nil, api.Errorf(api.CodeUnavailable, "no member of the cluster can be reached (%w): see that one of them runs and that port %d/tcp is open from here", unreachable, j.token.Addresses[0].Port())
}

// wayBack is what members reach when they try to reach this node: the cluster port and the two UDP ports.
type wayBack struct {
	port  *port.Port
	nonce []byte
	udp   map[string]*net.UDPConn // by what it is for
}

func (j *joiner) openWayBack() (*wayBack, error) {
	cert, err := pki.SelfSigned(j.uuid, j.key)
	if err != nil {
		return nil, err
	}
	w := &wayBack{udp: map[string]*net.UDPConn{}}
	if w.nonce, err = pki.NewSecret(16); err != nil {
		return nil, err
	}
	if w.port, err = port.Listen(j.listen, pki.ProbedConfig(cert, j.key), j.node.logger); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	for name, offset := range map[string]uint16{"memberlist": gossipPortOffset, "heartbeats": guardPortOffset} {
		at := netip.AddrPortFrom(j.listen.Addr(), j.listen.Port()+offset)
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			w.close()
			return nil, api.Errorf(api.CodeRefused, "listen on %s (UDP, %s): %w: stop what uses that port", at, name, err)
		}
		w.udp[name] = c
	}
	return w, nil
}

// heard says whether a member's datagram has come to each UDP port.
func (w *wayBack) heard() error {
	for name, c := range w.udp {
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		b := make([]byte, 64)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return api.Errorf(api.CodeRefused, "no datagram of a member came to UDP port %d (%s): open it on this node and on every firewall between the nodes", c.LocalAddr().(*net.UDPAddr).Port, name)
			}
			if string(b[:n]) == string(w.nonce) && from.IsValid() {
				break
			}
		}
	}
	return nil
}

func (w *wayBack) close() {
	if w.port != nil {
		w.port.Close()
	}
	for _, c := range w.udp {
		_ = c.Close()
	}
}

// converse runs the join protocol on one connection.
func (j *joiner) converse(ctx context.Context, conn *tls.Conn, way *wayBack) (*membership, []byte, error) {
	cert, err := pki.CheckJoinServer(conn.ConnectionState(), j.token.CA)
	if err != nil {
		return nil, nil, err
	}
	c := newJoinConn(conn)
	hello := joinHello{
		Secret: j.token.Secret[:], UUID: j.uuid, Name: j.name, Listen: j.listen.String(), FeatureLevel: j.node.opt.Release.level(),
		Version: j.node.opt.Version, Nonce: way.nonce,
	}
	asked := time.Now()
	if err := c.send(hello); err != nil {
		return nil, nil, lostMember(err)
	}
	var offer joinOffer
	if err := c.receive(&offer); err != nil {
		return nil, nil, lostMember(err)
	}
	if offer.Error != nil {
		return nil, nil, api.Errorf(offer.Error.Code, "%s", offer.Error.Message)
	}
	if j.checks, err = j.node.preflight(ctx, j.listen, offer, asked, way); err != nil {
		return nil, nil, err
	}
	var grant joinGrant
	if err := c.send(joinAccept{Accept: true}); err != nil {
		return nil, nil, lostMember(err)
	}
	if err := c.receive(&grant); err != nil {
		return nil, nil, lostMember(err)
	}
	if grant.Error != nil {
		return nil, nil, api.Errorf(grant.Error.Code, "%s", grant.Error.Message)
	}
	m := &membership{
		identity: identity{UUID: j.uuid, Name: j.name, Listen: j.listen, Cluster: grant.Cluster},
		key:      j.key, cert: grant.Cert, ca: &pki.CA{Cert: cert}, clusterKey: grant.ClusterKey,
	}
	var table memberFile
	if err := json.Unmarshal(grant.Members, &table); err != nil || len(grant.ClusterKey) != pki.SealKeySize {
		return nil, nil, api.Errorf(api.CodeInternal, "the member's answer is incomplete: is it of another release?")
	}
	return m, grant.Members, nil
}

func lostMember(err error) error {
	return api.Errorf(api.CodeUnavailable, "the connection to the member broke off while joining (%w): run the same command again", err)
}

// joined waits until this node has caught up and votes, or waits for a third node.
func (e *engine) joined(ctx context.Context, checks []api.Check, prefix string) (api.JoinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, catchUpLimit)
	defer cancel()
	for {
		if a, ok := e.joinState(prefix); ok {
			a.Checks = checks
			return a, nil
		}
		select {
		case <-ctx.Done():
			return api.JoinAnswer{}, api.Errorf(api.CodeUnavailable, "this node is a member, but has not caught up after %v: look at `holdline status`; it goes on trying", catchUpLimit)
		case <-e.ctx.Done():
			return api.JoinAnswer{}, api.Errorf(api.CodeUnavailable, "the daemon is stopping")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (e *engine) joinState(prefix string) (api.JoinAnswer, bool) {
	cfg := e.machine.Config()
	self := cfg.NodeByUUID(e.UUID)
	if self == nil || e.leader() == 0 {
		return api.JoinAnswer{}, false
	}
	a := api.JoinAnswer{Node: e.nodeRow(self), Voter: self.Voter}
	if self.Voter {
		if lease, _ := parseLeaseVoters(cfg.Setting(settingLeaseVoters, "")); !slices.Contains(lease.voters, self.Number) {
			return a, false // it counts for the log, but not yet for the VIPs
		}
		ha := e.haOf(cfg)
		a.Message = prefix + "voter; HA: " + ha.Summary
		return a, true
	}
	h, ok := e.peers.get(e.leader())
	if !ok || e.machine.Applied()+lagTolerated < h.Applied {
		return a, false
	}
	voters := 0
	for _, n := range cfg.Nodes() {
		if n.Voter {
			voters++
		}
	}
	if voters%2 == 1 && len(cfg.Nodes())-voters < 2 {
		a.Message = fmt.Sprintf("%swaiting for node %d: %d voters and this one protect no better than %d alone; join another node and both get a vote", prefix, voters+2, voters, voters)
		if voters == 1 {
			a.Message = prefix + "waiting for a third node: two protect no better than one; join another and both get a vote"
		}
		return a, true
	}
	return a, false
}
