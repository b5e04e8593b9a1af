package fsm

import "holdline/fsm/pb"

// Event tells a watcher what an entry changed: one of the types below.
type Event interface{ event() }

// SessionResults carries the results of one batch, or why it was refused.
type SessionResults struct {
	Session  uint64
	FirstSeq uint64       // sequence number of Results[0]
	Results  []*pb.Result // in order; read-only; nil when refused
	Refused  pb.Code      // OK, or GAP, NO_SESSION, LIMIT: nothing of the batch was applied by this entry
	Expected uint64       // GAP: send again from here
}

// SessionOpened answers an OpenSession. It is repeated when the command is.
type SessionOpened struct {
	Session uint64
	Node    string
	Nonce   uint64
	NextSeq uint64 // the first sequence number it accepts
}

// ConfigChanged says that Machine.Config returns something new.
type ConfigChanged struct{ Version uint64 }

// TakenOver says that a group's new owner and epoch are recorded; commands of older epochs are refused from here on.
// Machine.Config has changed too; ConfigChanged is not sent for it.
type TakenOver struct {
	Group uint32
	Epoch uint64
	Node  string // UUID
}

// Rebound says that a phone of the AoR has registered over another flow than any of its phones before.
type Rebound struct{ AoR string }

// CallHandedOver says that a former owner of the group has entered a call that is being set up: it is for the present one to take up.
type CallHandedOver struct {
	Group uint32
	Call  uint64
}

// CallsExpired names calls that an Expire entry ended or removed because nobody did before their deadline.
type CallsExpired struct{ Calls []*Call }

// CDRsMade says that calls have ended: CDRs up to Last are there.
type CDRsMade struct{ Last uint64 }

// Restored says that the whole state was replaced: everything known from before must be read again.
type Restored struct{ Applied uint64 }

func (SessionResults) event() {}
func (SessionOpened) event()  {}
func (ConfigChanged) event()  {}
func (TakenOver) event()      {}
func (Rebound) event()        {}
func (CallHandedOver) event() {}
func (CallsExpired) event()   {}
func (CDRsMade) event()       {}
func (Restored) event()       {}
