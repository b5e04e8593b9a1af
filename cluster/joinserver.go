package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"holdline/cluster/api"
	"holdline/cluster/pki"
	"holdline/cluster/port"
	"holdline/fsm"
	"holdline/fsm/pb"
)

// serveJoin lets one node in. Any member can; the writes go to the leader.
func (e *engine) serveJoin(conn *tls.Conn) {
	c := newJoinConn(conn)
	var hello joinHello
	if err := c.receive(&hello); err != nil {
		e.logger.Debug("join: no hello", "remote", conn.RemoteAddr(), "err", err)
		return
	}
	log := e.logger.With("joiner", hello.Name, "remote", conn.RemoteAddr().String())
	offer, err := e.offerJoin(conn, &hello)
	if err != nil {
		log.Info("join refused", "err", err)
		if err := c.send(joinOffer{Error: asAPIError(err)}); err != nil {
			log.Debug("join: refusal not sent", "err", err)
		}
		return
	}
	var accept joinAccept
	if err := errors.Join(c.send(offer), c.receive(&accept)); err != nil || !accept.Accept {
		log.Info("join given up by the node itself", "err", err)
		return
	}
	grant, err := e.grantJoin(conn, &hello)
	if err != nil {
		log.Info("join refused", "err", err)
		grant = joinGrant{Error: asAPIError(err)}
	}
	if err := c.send(grant); err != nil {
		log.Info("join answer not sent: the same join command again goes on from here", "err", err)
		return
	}
	if grant.Error == nil {
		log.Info("node let in")
	}
}

// offerJoin checks what can be checked before anything is changed.
func (e *engine) offerJoin(conn *tls.Conn, hello *joinHello) (joinOffer, error) {
	listen, err := netip.ParseAddrPort(hello.Listen)
	if err != nil || hello.UUID == "" || hello.Name == "" {
		return joinOffer{}, api.Errorf(api.CodeInvalid, "the joining node sent an incomplete request: is it of another release?")
	}
	ctx, cancel := context.WithTimeout(e.ctx, commitPatience)
	defer cancel()
	if err := e.ReadIndex(ctx); err != nil {
		return joinOffer{}, api.Errorf(api.CodeUnavailable, "the cluster has no leader now, so no node can be added: look at `holdline status` on %s", e.Name)
	}
	cfg := e.machine.Config()
	if len(cfg.Nodes()) >= fsm.MaxNodes && cfg.NodeByUUID(hello.UUID) == nil {
		return joinOffer{}, api.Errorf(api.CodeRefused, "there are %d nodes, the most that a cluster holds: take one out first (holdline leave there, or holdline node remove)", len(cfg.Nodes()))
	}
	for _, n := range cfg.Nodes() {
		switch {
		case n.Uuid == hello.UUID:
		case n.Name == hello.Name:
			return joinOffer{}, api.Errorf(api.CodeExists, "a node named %s exists already: choose another --name, or remove it first if it is gone for good: holdline node remove %s", n.Name, n.Name)
		case n.Listen == hello.Listen:
			return joinOffer{}, api.Errorf(api.CodeExists, "node %s has the address %s already: choose another --listen", n.Name, hello.Listen)
		}
	}
	if g, _, ok := cfg.GroupByVIP(listen.Addr()); ok {
		return joinOffer{}, api.Errorf(api.CodeInvalid, "%s is a VIP of group %s: --listen must be an address of the machine's own", listen.Addr(), g.Name)
	}
	if listen.Port() != e.Listen.Port() {
		return joinOffer{}, api.Errorf(api.CodeInvalid, "this cluster uses port %d: join with --listen %s", e.Listen.Port(), netip.AddrPortFrom(listen.Addr(), e.Listen.Port()))
	}
	if hello.FeatureLevel < cfg.FeatureLevel {
		return joinOffer{}, api.Errorf(api.CodeRefused, "the cluster runs at feature level %d and this node's release %s knows only %d: install the release the others run", cfg.FeatureLevel, hello.Version, hello.FeatureLevel)
	}
	if known, expired := e.machine.Token(pki.SecretHash(hello.Secret), time.Now().UnixMilli()); !known || expired {
		if cfg.NodeByUUID(hello.UUID) == nil {
			return joinOffer{}, tokenError(known)
		}
	}
	offer := joinOffer{}
	for _, g := range cfg.Groups() {
		owner, _ := e.vips.Owner(g.Number)
		for _, v := range g.Vips {
			offer.VIPs = append(offer.VIPs, joinVIP{Prefix: v.Prefix, Owned: owner != 0})
		}
	}
	if err := e.reachBack(ctx, conn, listen, hello); err != nil {
		return offer, err
	}
	offer.WallMs = time.Now().UnixMilli()
	return offer, nil
}

func tokenError(known bool) error {
	if known {
		return api.Errorf(api.CodeRefused, "the join token has expired: make another with `holdline token create`")
	}
	return api.Errorf(api.CodeRefused, "the join token is unknown: make one with `holdline token create`")
}

// reachBack connects to the joiner's cluster port, making sure that it is really the joiner, and sends datagrams to its other
// ports, which the joiner counts.
func (e *engine) reachBack(ctx context.Context, conn *tls.Conn, listen netip.AddrPort, hello *joinHello) error {
	key := pki.HashKey(conn.ConnectionState().PeerCertificates[0])
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	back, err := port.Dial(ctx, e.Listen.Addr(), listen, pki.ProbeConfig(key))
	if err != nil {
		return api.Errorf(api.CodeRefused, "%s cannot reach the joining node at %s (TCP): open ports %d/tcp, %d/tcp+udp and %d/udp between the nodes, and check --listen", e.Name, listen,
			listen.Port(), listen.Port()+gossipPortOffset, listen.Port()+guardPortOffset)
	}
	if err := back.Close(); err != nil {
		e.logger.Debug("join probe: close", "err", err)
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: e.Listen.Addr().AsSlice()})
	if err != nil {
		return fmt.Errorf("open probe socket: %w", err)
	}
	defer func() { _ = udp.Close() }()
	for _, offset := range []uint16{gossipPortOffset, guardPortOffset} {
		to := netip.AddrPortFrom(listen.Addr(), listen.Port()+offset)
		for range 3 {
			if _, err := udp.WriteToUDPAddrPort(hello.Nonce, to); err != nil {
				return api.Errorf(api.CodeRefused, "%s cannot send to the joining node at %s (UDP): %w", e.Name, to, err)
			}
		}
	}
	return nil
}

// grantJoin makes the node a member: the token is used up in the log, bound to this UUID and key, so that the same node may ask
// again, and no other.
func (e *engine) grantJoin(conn *tls.Conn, hello *joinHello) (joinGrant, error) {
	ctx, cancel := context.WithTimeout(e.ctx, commitPatience)
	defer cancel()
	leaf := conn.ConnectionState().PeerCertificates[0]
	key := pki.HashKey(leaf)
	consume := &pb.ConsumeToken{Hash: pki.SecretHash(hello.Secret), Uuid: hello.UUID, PublicKey: key[:], WallMs: time.Now().UnixMilli()}
	if err := e.write(ctx, &pb.Command{Op: &pb.Command_ConsumeToken{ConsumeToken: consume}}); err != nil {
		return joinGrant{}, err
	}
	node := &pb.Node{Uuid: hello.UUID, Name: hello.Name, Listen: hello.Listen, PublicKey: key[:], FeatureLevel: hello.FeatureLevel, Version: hello.Version}
	if old := e.machine.Config().NodeByUUID(hello.UUID); old != nil {
		node.Voter, node.Draining = old.Voter, old.Draining
	}
	if err := e.write(ctx, &pb.Command{Op: &pb.Command_PutNode{PutNode: &pb.PutNode{Node: node}}}); err != nil {
		return joinGrant{}, err
	}
	ca := &pki.CA{Cert: e.ca.Cert}
	keys := e.machine.Config().Keys(purposeCA)
	if len(keys) == 0 {
		return joinGrant{}, api.Errorf(api.CodeUnavailable, "%s has not caught up with the cluster yet: try again in a moment", e.Name)
	}
	if err := pki.UnsealCA(e.clusterKey, keys[0].Secret, ca); err != nil {
		return joinGrant{}, err
	}
	cert, err := ca.Issue(hello.UUID, leaf.PublicKey)
	if err != nil {
		return joinGrant{}, err
	}
	cfg := e.machine.Config()
	e.members.set(cfg.Version, membersOf(cfg.Nodes())) // the new node will connect before followConfig has seen it
	return joinGrant{Cluster: e.Cluster, Cert: cert, ClusterKey: e.clusterKey, Members: e.members.encoded()}, nil
}

func asAPIError(err error) *api.Error {
	var e *api.Error
	if errors.As(err, &e) {
		return e
	}
	return api.Errorf(api.CodeInternal, "%w", err)
}
