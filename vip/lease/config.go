package lease

import (
	"errors"
	"fmt"
	"time"
)

// Limits of the protocol. What exceeds them is refused, so that memory stays bounded.
const (
	MaxNode   = 255 // node numbers are 1…MaxNode: a ballot carries its node in eight bits
	MaxNodes  = 32  // nodes of one cluster, voters or not
	MaxVoters = 9   // voters of one cluster
	MaxGroups = 64  // VIP groups of one cluster
)

// MaxGrant is the longest grant any profile asks for. A restarted node stays mute for longer than it, and grantors
// refuse longer requests.
const MaxGrant = int64(300 * time.Millisecond)

// Profile is a set of times. All nodes should use the same one; while they differ the protocol stays safe, because
// requests carry the grant's length.
type Profile struct {
	Name      string
	Grant     int64 // length of a grant, ns; at most MaxGrant
	Heartbeat int64 // interval between packets to each peer, ns
}

// Fast is for ordinary switches: an owner's death is mended in about 70 ms.
func Fast() Profile {
	return Profile{Name: "fast", Grant: int64(72 * time.Millisecond), Heartbeat: int64(10 * time.Millisecond)}
}

// Standard is for networks with slow bonds or switches.
func Standard() Profile {
	return Profile{Name: "standard", Grant: int64(300 * time.Millisecond), Heartbeat: int64(10 * time.Millisecond)}
}

// ProfileNamed returns the profile of that name.
func ProfileNamed(name string) (Profile, error) {
	switch name {
	case "fast", "":
		return Fast(), nil
	case "standard":
		return Standard(), nil
	}
	return Profile{}, fmt.Errorf("lease: find profile %q: no such profile; use fast or standard", name)
}

// Node is a member of the cluster.
type Node struct {
	Number uint32 // 1…MaxNode
	Voter  bool   // grants leases; a node that does not vote may still own groups
}

// Group is a VIP group that is to have one owner.
type Group struct {
	Number uint32 // 1…, never used again for another group
	// Order lists the candidates, the home node first. Nodes that are not in it never own the group. Empty: all
	// nodes, by number.
	Order []uint32
	// Floor is the highest epoch recorded for the group: new ballots are above it.
	Floor uint64
}

// Config is what the cluster has decided. Nodes, groups, orders, floors and the profile take effect at once; a new set
// of voters takes effect when the nodes concerned have it too (see DESIGN.md, config epoch).
type Config struct {
	// Epoch numbers the set of voters. It rises by one with each change of that set, which adds or removes one voter.
	// The caller has made the epoch and its voters durable before it calls New or SetConfig with them.
	Epoch   uint64
	Nodes   []Node
	Groups  []Group
	Profile Profile
	// Forced activates Epoch without waiting for anyone: forced recovery, after the operator has confirmed that the
	// other nodes are off.
	Forced bool
}

// Errors of New and SetConfig.
var (
	ErrConfig   = errors.New("lease configuration is not valid")
	ErrOldEpoch = errors.New("lease configuration is older than the one in force")
)
