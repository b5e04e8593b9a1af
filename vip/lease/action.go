package lease

import "fmt"

// Kind says what an Action asks of the caller.
type Kind uint8

// The actions.
const (
	Send          Kind = iota + 1 // send Packet to Node
	Acquired                      // this node owns Group with Ballot until Until: open the fence until then, add addresses
	Renewed                       // this node owns Group until Until: renew the fence
	Lost                          // this node no longer owns Group (Reason): close the fence before doing anything else
	OwnerSeen                     // Node owns Group with Ballot, as far as heard; Node 0: nobody is known to
	EpochReported                 // Node has config epoch Epoch in force (the own node too)
	ReleaseFailed                 // the planned move of Group to Node (0: any) has not been accepted; this node goes on
)

// Action is one thing to do. Actions are carried out in the order given, before the next call on the Core: Lost
// comes before the Send that releases the group.
type Action struct {
	Kind   Kind
	Reason Reason
	Group  uint32
	Node   uint32
	Ballot uint64
	Epoch  uint64
	Until  int64   // ns of the caller's clock
	Packet *Packet // valid until the next call on the Core
}

// Reason says why a group was lost.
type Reason uint8

// The reasons.
const (
	Lapsed     Reason = iota + 1 // a majority did not renew in time
	Released                     // planned move, accepted by another node
	Dropped                      // the caller gave it up (Drop, Stop)
	NoCarrier                    // SetCarrier(false)
	NotServing                   // SetServing(false)
	Suspend                      // the machine slept
	Removed                      // the group or this node's candidacy was removed from the configuration
	Superseded                   // another node claims it with a higher ballot; cannot happen while the assumptions hold
)

var reasonNames = [...]string{"", "lapsed", "released", "dropped", "no-carrier", "not-serving", "suspend", "removed", "superseded"}

// String returns the reason's name, for logs.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason-%d", uint8(r))
}

var kindNames = [...]string{"", "send", "acquired", "renewed", "lost", "owner-seen", "epoch-reported", "release-failed"}

// String returns the action's name, for logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}
