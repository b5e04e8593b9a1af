package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"holdline/cluster/api"
	"holdline/cluster/pki"
	"holdline/cluster/port"
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/vip"
)

// Purposes of replicated keys.
const (
	purposeCA     = "ca"
	purposeGuard  = "guard"
	purposeGossip = "gossip"
)

// keyPurposes are made at init, 32 random bytes each.
var keyPurposes = [...]string{purposeGuard, purposeGossip, "branch", "nonce", "record-route"}

const (
	tokenLife  = time.Hour
	keySize    = 32
	probeLimit = 3 * time.Second
)

// Init implements api.Backend.
func (n *Node) Init(ctx context.Context, r api.InitRequest) (api.InitAnswer, error) {
	n.change.Lock()
	defer n.change.Unlock()
	if e := n.engine.Load(); e != nil {
		return api.InitAnswer{}, api.Errorf(api.CodeExists, "this node is a member already (%s): a second `holdline init` would make another cluster; run `holdline leave` first if that is wanted", e.Name)
	}
	listen, err := parseListen(r.Listen, defaultPort)
	if err != nil {
		return api.InitAnswer{}, api.Errorf(api.CodeInvalid, "%w", err)
	}
	if err := port.CheckLocal(listen.Addr()); err != nil {
		return api.InitAnswer{}, api.Errorf(api.CodeInvalid, "%w", err)
	}
	if len(r.Groups) > fsm.MaxGroups {
		return api.InitAnswer{}, api.Errorf(api.CodeInvalid, "%d VIP groups are more than the %d that a cluster holds: leave some --vip out, or put addresses that move together into one (--vip A,B)", len(r.Groups), fsm.MaxGroups)
	}
	if err := n.mayGuard(); err != nil {
		return api.InitAnswer{}, err
	}
	groups, err := n.checkGroups(ctx, r.Groups)
	if err != nil {
		return api.InitAnswer{}, err
	}
	checks, err := n.networkChecks(listen.Addr(), vipsOf(groups))
	if err != nil {
		return api.InitAnswer{}, fmt.Errorf("init: %w", err)
	}
	m, err := n.newCluster(r.Name, listen)
	if err != nil {
		return api.InitAnswer{}, err
	}
	if err := n.start(ctx, m, func(e *engine) error { return e.populate(ctx, groups) }); err != nil {
		return api.InitAnswer{}, api.Errorf(api.CodeRefused, "init: %w", errors.Join(err, n.dir.wipe()))
	}
	e := n.engine.Load()
	if err := n.dir.save(m); err != nil {
		n.engine.Store(nil)
		return api.InitAnswer{}, errors.Join(err, e.stop(), n.dir.wipe())
	}
	token, err := e.createToken(ctx, tokenLife)
	if err != nil {
		return api.InitAnswer{}, err
	}
	var made []uint32
	for _, g := range e.machine.Config().Groups() {
		made = append(made, g.Number)
	}
	e.waitOwned(ctx, made...)
	return api.InitAnswer{Node: e.nodeRow(e.machine.Config().NodeByUUID(e.UUID)), Token: token, Checks: checks}, nil
}

// newCluster makes the keys of a cluster.
func (n *Node) newCluster(name string, listen netip.AddrPort) (*membership, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("make cluster id: %w", err)
	}
	m := &membership{identity: identity{Name: name, Listen: listen, Cluster: id.String()}}
	if m.UUID, err = n.dir.uuid(); err != nil {
		return nil, err
	}
	if m.key, err = n.dir.nodeKey(); err != nil {
		return nil, err
	}
	if m.ca, err = pki.NewCA(m.Cluster); err != nil {
		return nil, err
	}
	if m.clusterKey, err = pki.NewSecret(pki.SealKeySize); err != nil {
		return nil, err
	}
	m.cert, err = m.ca.Issue(m.UUID, m.key.Public())
	return m, err
}

// populate writes the first rows of a new cluster.
func (e *engine) populate(ctx context.Context, groups []*pb.Group) error {
	hash, err := pki.HashPublic(e.key.Public())
	if err != nil {
		return err
	}
	sealed, err := pki.SealCA(e.clusterKey, e.ca)
	if err != nil {
		return err
	}
	e.ca.Key = nil // from here on it is read from the log
	node := &pb.Node{Uuid: e.UUID, Name: e.Name, Listen: e.Listen.String(), PublicKey: hash[:], Voter: true, FeatureLevel: e.node.opt.Release.level(), Version: e.node.opt.Version}
	commands := []*pb.Command{
		{Op: &pb.Command_PutNode{PutNode: &pb.PutNode{Node: node}}},
		{Op: &pb.Command_SetFeatureLevel{SetFeatureLevel: &pb.SetFeatureLevel{Level: e.node.opt.Release.level()}}},
		{Op: &pb.Command_PutKey{PutKey: &pb.PutKey{Purpose: purposeCA, Id: 1, Secret: sealed}}},
		putSetting(settingLeaseVoters, leaseVoters{epoch: 1, voters: []uint32{1}, old: []uint32{1}}.String()),
	}
	for _, purpose := range keyPurposes {
		secret, err := pki.NewSecret(keySize)
		if err != nil {
			return err
		}
		commands = append(commands, &pb.Command{Op: &pb.Command_PutKey{PutKey: &pb.PutKey{Purpose: purpose, Id: 1, Secret: secret}}})
	}
	for i, g := range groups {
		if i == 0 {
			g.HomeNode = e.UUID // the others get theirs as nodes join
		}
		commands = append(commands, &pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: g}}})
	}
	for _, cmd := range commands {
		if err := e.commit(ctx, cmd); err != nil {
			return err
		}
	}
	cfg := e.machine.Config()
	e.members.set(cfg.Version, membersOf(cfg.Nodes()))
	e.number.Store(cfg.NodeByUUID(e.UUID).Number)
	return nil
}

// checkGroups turns requested VIP groups into rows and makes sure that their addresses can float here: an interface in their
// network, and nobody who uses them.
func (n *Node) checkGroups(ctx context.Context, specs []api.GroupSpec) ([]*pb.Group, error) {
	var out []*pb.Group
	var checks errgroup.Group // asking the network takes a second each
	for _, s := range specs {
		g := &pb.Group{Name: s.Name}
		for _, v := range s.VIPs {
			p, err := netip.ParsePrefix(v.Prefix)
			if err != nil {
				return nil, api.Errorf(api.CodeInvalid, "VIP %q is not an address with its network: as in --vip 10.77.0.101/24", v.Prefix)
			}
			checks.Go(func() error { return n.checkVIP(ctx, p) })
			g.Vips = append(g.Vips, &pb.Vip{Prefix: v.Prefix, Advertise: v.Advertise})
		}
		out = append(out, g)
	}
	return out, checks.Wait()
}

func (n *Node) checkVIP(ctx context.Context, p netip.Prefix) error {
	if n.opt.WithoutGuard {
		return nil
	}
	if _, err := vip.InterfaceFor(p); err != nil {
		return api.Errorf(api.CodeInvalid, "VIP %s: %w: give this machine an address there first, or correct --vip", p, err)
	}
	return untilFree(ctx, func() error { return n.inUse(ctx, p) })
}

// leavesWithin is how long an address in use is waited for before it is refused. A box from which a VIP has just been removed answers for it until its guard has heard.
const leavesWithin = time.Second

// untilFree asks whether an address is in use until it is not, for leavesWithin.
func untilFree(ctx context.Context, inUse func() error) error {
	const between = 50 * time.Millisecond
	for start := time.Now(); ; {
		err := inUse()
		if err == nil || time.Since(start) >= leavesWithin {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(between):
		}
	}
}

// inUse says who has the address of a VIP-to-be. Nil: nobody, or it cannot be found out.
func (n *Node) inUse(ctx context.Context, p netip.Prefix) error {
	if local, err := vip.Local(p.Addr()); err == nil && local {
		return api.Errorf(api.CodeInvalid, "VIP %s is an address of this machine itself: a VIP must be one that nobody has", p.Addr())
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	mac, used, err := vip.InUse(ctx, p)
	if err != nil {
		n.logger.Warn("could not ask the network whether a VIP is in use", "vip", p.String(), "err", err)
		return nil
	}
	if used {
		return api.Errorf(api.CodeRefused, "VIP %s is in use on the network already, by %s: choose another address, or take it from that machine", p.Addr(), mac)
	}
	return nil
}

// CreateToken implements api.Backend.
func (n *Node) CreateToken(ctx context.Context, r api.TokenRequest) (api.Token, error) {
	e, err := n.member()
	if err != nil {
		return api.Token{}, err
	}
	life := time.Duration(r.ValidSeconds) * time.Second
	if life == 0 {
		life = tokenLife
	}
	return e.createToken(ctx, life)
}

func (e *engine) createToken(ctx context.Context, life time.Duration) (api.Token, error) {
	addresses := []netip.AddrPort{e.Listen}
	for _, m := range membersOf(e.machine.Config().Nodes()) {
		if m.UUID != e.UUID {
			addresses = append(addresses, m.Listen)
		}
	}
	token, err := pki.NewToken(e.ca.Hash(), addresses)
	if err != nil {
		return api.Token{}, err
	}
	expires := time.Now().Add(life)
	put := &pb.PutToken{Hash: pki.SecretHash(token.Secret[:]), ExpiresWallMs: expires.UnixMilli()}
	if err := e.write(ctx, &pb.Command{Op: &pb.Command_PutToken{PutToken: put}}); err != nil {
		return api.Token{}, err
	}
	return api.Token{Token: token.String(), Expires: expires}, nil
}
