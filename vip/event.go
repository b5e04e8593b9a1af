package vip

import (
	"time"

	"holdline/vip/lease"
)

// Event is what a guard tells its core: an Acquired, Lost, Owner, ConfigEpoch, Unfit, Alarm or Connected.
type Event interface{ event() }

// Acquired tells that this node owns a group from now on: its addresses are up and the network is being told.
type Acquired struct {
	Group  uint32 `json:"group"`
	Ballot uint64 `json:"ballot"` // the group's epoch
}

// Lost tells that this node owns a group no longer: its addresses are gone and its stream connections destroyed.
type Lost struct {
	Group  uint32 `json:"group"`
	Ballot uint64 `json:"ballot"`
	Reason string `json:"reason"` // for people: "lease ran out", "carrier lost", "released", …
}

// Owner tells who owns a group, as far as this node has heard.
type Owner struct {
	Group  uint32 `json:"group"`
	Node   uint32 `json:"node"` // 0 = nobody known
	Ballot uint64 `json:"ballot"`
}

// ConfigEpoch tells that a node (this one too) has a config epoch in force. The voters may change again once
// majorities of the old and the new ones have, and one maximal grant (MaxGrant) has passed.
type ConfigEpoch struct {
	Node  uint32 `json:"node"`
	Epoch uint64 `json:"epoch"`
}

// Unfit tells which groups this node could not hold, for lack of an interface or of a carrier: all of them each time, so that what is not
// named fits. It comes before the Connected after which it holds; a guard of an older version sends none.
type Unfit struct {
	Groups map[uint32]string `json:"groups,omitempty"` // group → why, for people
}

// What the reasons of groups that do not fit begin with: an interface or a network follows.
const (
	NoCarrier   = "no carrier on "
	NoInterface = "no interface has an address in "
)

// MaxGrant is the longest time for which a node may have granted a group.
const MaxGrant = time.Duration(lease.MaxGrant)

// Alarm tells of something an operator must know: an address claimed by a stranger, a fence that cannot be had.
type Alarm struct {
	Text string `json:"text"`
}

// Connected tells that the client has (re)connected to a guard and that the guard has taken the configuration, if there is one;
// Disconnected is its opposite. Both come from the client itself. After Disconnected no group is held (a Lost
// event has come for each one that was).
type (
	Connected    struct{}
	Disconnected struct {
		Reason string `json:"reason"`
	}
)

func (Acquired) event()     {}
func (Lost) event()         {}
func (Owner) event()        {}
func (ConfigEpoch) event()  {}
func (Unfit) event()        {}
func (Alarm) event()        {}
func (Connected) event()    {}
func (Disconnected) event() {}
