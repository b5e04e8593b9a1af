package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"holdline/vip/lease"
)

// DefaultPort is the UDP port of lease heartbeats.
const DefaultPort = 7702

// MaxGroups is how many VIP groups a cluster can have.
const MaxGroups = lease.MaxGroups

// Profile names a set of lease timings, the same on every node of a cluster.
type Profile string

// The profiles. An empty profile is Fast.
const (
	Fast     Profile = "fast"     // 10 ms heartbeats, 72 ms grants
	Standard Profile = "standard" // 300 ms grants, for networks with slow bonds or switches
)

// Config is what the guard must know of the cluster. The core derives it from the replicated state and pushes
// it (Client.Configure) at every change.
type Config struct {
	// Cluster is the cluster's identity. A guard that is told another one forgets the epochs of the former.
	Cluster string  `json:"cluster"`
	Epoch   uint64  `json:"epoch"`             // config epoch: changes with the set of voters, never goes down, starts at 1
	Self    uint32  `json:"self"`              // number of this node
	Nodes   []Node  `json:"nodes"`             // all nodes, this one among them
	Groups  []Group `json:"groups"`            // all groups
	Keys    []Key   `json:"keys"`              // heartbeat keys: the first one signs, every one verifies (two during rotation)
	Profile Profile `json:"profile,omitempty"` // "" = Fast
	// Forced puts Epoch into force without waiting for anyone: forced recovery, after the operator has confirmed that
	// the nodes left out are off.
	Forced bool   `json:"forced,omitempty"`
	Port   uint16 `json:"port,omitempty"` // UDP port of heartbeats; 0 = DefaultPort
}

// Node is a member of the cluster as the guard sees it.
type Node struct {
	Number uint32     `json:"number"` // 1…, never used again
	Name   string     `json:"name"`   // for people
	Addr   netip.Addr `json:"addr"`   // heartbeats go there; its own one is bound
	Voter  bool       `json:"voter"`  // grants leases
}

// Group is a VIP group: addresses that move as one.
type Group struct {
	Number     uint32         `json:"number"`         // 1…, never used again
	Name       string         `json:"name,omitempty"` // for people
	VIPs       []netip.Prefix `json:"vips"`           // 10.77.0.101/24: the address, and the network it lives on
	Candidates []uint32       `json:"candidates"`     // nodes that may own it, the home node first; empty: all. The same list on every node
	Floor      uint64         `json:"floor"`          // epoch recorded in the replicated state: ballots start above it
}

// Key is a heartbeat key.
type Key struct {
	ID     uint32 `json:"id"`
	Secret []byte `json:"secret"` // at least 16 bytes
}

// Validate reports the first thing that is wrong with the configuration.
func (c *Config) Validate() error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("guard configuration: %w", err)
	}
	return nil
}

func (c *Config) validate() error {
	if c.Epoch == 0 {
		return errors.New("config epoch is 0")
	}
	if c.Profile != "" && c.Profile != Fast && c.Profile != Standard {
		return fmt.Errorf("unknown profile %q: use %q or %q", c.Profile, Fast, Standard)
	}
	if len(c.Keys) == 0 {
		return errors.New("no heartbeat key")
	}
	for i, k := range c.Keys {
		if len(k.Secret) < 16 {
			return fmt.Errorf("heartbeat key %d is shorter than 16 bytes", k.ID)
		}
		if slices.ContainsFunc(c.Keys[:i], func(o Key) bool { return o.ID == k.ID }) {
			return fmt.Errorf("heartbeat key %d appears twice", k.ID)
		}
	}
	if err := c.validateNodes(); err != nil {
		return err
	}
	return c.validateGroups()
}

func (c *Config) validateNodes() error {
	if len(c.Nodes) > lease.MaxNodes {
		return fmt.Errorf("%d nodes: at most %d are supported", len(c.Nodes), lease.MaxNodes)
	}
	voters := 0
	for i, n := range c.Nodes {
		if n.Number == 0 || n.Number > lease.MaxNode || !n.Addr.IsValid() || n.Addr.IsUnspecified() {
			return fmt.Errorf("node %d (%s) has no number or no usable address %q", n.Number, n.Name, n.Addr)
		}
		for _, o := range c.Nodes[:i] {
			if o.Number == n.Number || o.Addr == n.Addr {
				return fmt.Errorf("nodes %s and %s have the same number or address", o.Name, n.Name)
			}
		}
		if n.Voter {
			voters++
		}
	}
	if c.node(c.Self) == nil {
		return fmt.Errorf("this node (%d) is not among the nodes", c.Self)
	}
	if voters == 0 || voters > lease.MaxVoters {
		return fmt.Errorf("%d voters: there must be 1 to %d", voters, lease.MaxVoters)
	}
	return nil
}

func (c *Config) validateGroups() error {
	if len(c.Groups) > MaxGroups {
		return fmt.Errorf("%d groups: at most %d are supported", len(c.Groups), MaxGroups)
	}
	seen := map[netip.Addr]uint32{}
	numbers := map[uint32]bool{}
	for _, g := range c.Groups {
		if g.Number == 0 || numbers[g.Number] {
			return fmt.Errorf("group number %d is 0 or appears twice", g.Number)
		}
		numbers[g.Number] = true
		if len(g.VIPs) == 0 {
			return fmt.Errorf("group %d has no address", g.Number)
		}
		for _, p := range g.VIPs {
			if err := usableVIP(p); err != nil {
				return fmt.Errorf("group %d: %w", g.Number, err)
			}
			if o, ok := seen[p.Addr()]; ok {
				return fmt.Errorf("address %s is in group %d and in group %d", p.Addr(), o, g.Number)
			}
			seen[p.Addr()] = g.Number
			for _, n := range c.Nodes {
				if n.Addr == p.Addr() {
					return fmt.Errorf("group %d: %s is the address of node %s itself", g.Number, p.Addr(), n.Name)
				}
			}
		}
		for _, n := range g.Candidates {
			if c.node(n) == nil {
				return fmt.Errorf("group %d: candidate %d is not a node", g.Number, n)
			}
		}
	}
	return nil
}

func usableVIP(p netip.Prefix) error {
	a := p.Addr()
	switch {
	case !p.IsValid():
		return fmt.Errorf("%q is not an address with a prefix length, such as 10.77.0.101/24", p)
	case a.Is4In6() || a.Zone() != "":
		return fmt.Errorf("%s must be a plain IPv4 or IPv6 address", a)
	case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback():
		return fmt.Errorf("%s cannot be a virtual address", a)
	case a.Is6() && a.IsLinkLocalUnicast():
		return fmt.Errorf("%s is link-local: use a routable or unique local address", a)
	}
	return nil
}

func (c *Config) node(number uint32) *Node {
	for i := range c.Nodes {
		if c.Nodes[i].Number == number {
			return &c.Nodes[i]
		}
	}
	return nil
}

func (c *Config) group(number uint32) *Group {
	for i := range c.Groups {
		if c.Groups[i].Number == number {
			return &c.Groups[i]
		}
	}
	return nil
}

// voters returns the numbers of the voters, sorted.
func (c *Config) voters() []uint32 {
	var v []uint32
	for _, n := range c.Nodes {
		if n.Voter {
			v = append(v, n.Number)
		}
	}
	slices.Sort(v)
	return v
}

// clone copies the configuration, so that its giver may go on changing his.
func (c *Config) clone() *Config {
	n := *c
	n.Nodes = slices.Clone(c.Nodes)
	n.Groups = slices.Clone(c.Groups)
	for i := range n.Groups {
		n.Groups[i].VIPs = slices.Clone(n.Groups[i].VIPs)
		n.Groups[i].Candidates = slices.Clone(n.Groups[i].Candidates)
	}
	n.Keys = slices.Clone(c.Keys)
	for i := range n.Keys {
		n.Keys[i].Secret = slices.Clone(n.Keys[i].Secret)
	}
	return &n
}
