// Package sipcore is the SIP core of a node: it reads datagrams from the VIPs that this node owns,
// runs the transactions of the groups it owns, and hands the rest to the owning node.
// sipcore/DESIGN.md has the invariants.
package sipcore

import (
	"log/slog"
	"net/netip"

	"holdline/fsm"
)

// Options are what a core is made from. All fields but Logger are required.
type Options struct {
	Node    uint32       // this node's number in the cluster
	Machine *fsm.Machine // this node's replica: configuration, bindings and calls are read from it
	Log     Log
	Owners  Owners
	Link    Link
	Logger  *slog.Logger
}

// Group is a VIP group as the core serves it: on every node, for every group, whoever owns it.
type Group struct {
	Number uint32
	VIPs   []VIP
}

// VIP is one address of a group.
type VIP struct {
	Addr      netip.Addr
	Advertise string // host that messages name instead of Addr (1:1 NAT); "" = Addr
	Port      uint16 // SIP port; 0 = 5060
}

// Core is a node's SIP core. Its methods are safe for concurrent use.
type Core struct {
	opt Options
}

// New makes a core that serves nothing until SetGroups.
func New(opt Options) *Core { return &Core{opt: opt} }

// SetGroups opens sockets on the VIPs of groups that are new and closes those of groups that are gone.
func (c *Core) SetGroups(groups []Group) error { return nil }

// GroupAcquired tells that this node has become the owner of group under epoch. The caller submits
// Takeover(group, epoch); the core serves the group at once.
func (c *Core) GroupAcquired(group uint32, epoch uint64) {}

// GroupLost drops all transactions of group without sending anything.
func (c *Core) GroupLost(group uint32) {}

// HandleFrame takes a frame for group that node from sent over the link; this node held the group's lease
// under epoch when it came in. It does not keep frame.
func (c *Core) HandleFrame(from, group uint32, epoch uint64, frame []byte) {}

// Close stops the core: sockets, timers and goroutines.
func (c *Core) Close() {}
