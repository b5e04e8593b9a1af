package sipcore

import (
	"errors"
	"fmt"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
)

// ErrNoLeader is what Log reports when a command could not be committed in time. Calls then go
// on unreplicated, a REGISTER is answered 503 (DESIGN §4, "Without a leader").
var ErrNoLeader = errors.New("nothing could be committed: no raft leader is reachable; look at holdline status")

// ErrUndecided is ErrNoLeader of a command that is on its way and may still be applied.
var ErrUndecided = fmt.Errorf("%w; %w", ErrNoLeader, proxy.ErrUndecided)

// ErrUnknown is part of what Log reports of a command of which nobody will know whether it was applied.
var ErrUnknown = proxy.ErrUnknown

// Log commits commands to the replicated state machine; implemented by cluster.Submitter.
type Log interface {
	// Submit never blocks. done is called exactly once: from the apply goroutine, after this node has
	// applied the command, or with an error (ErrNoLeader when patience is over; the command may still be
	// applied later). It may be called before Submit returns.
	Submit(cmd *pb.Command, patience time.Duration, done func(*pb.Result, error))
	// SubmitUntilDecided is Submit for who must know what became of the command. When patience is over and the command may still be
	// applied, done gets ErrUndecided, and decided is called once later on, however much later: after this node has applied the command, or with
	// an error. Commands are applied in the order in which they were submitted, and their outcomes reported in it. Any other error than ErrUndecided and
	// those that wrap ErrUnknown says that the command is not applied.
	SubmitUntilDecided(cmd *pb.Command, patience time.Duration, done, decided func(*pb.Result, error))
}

// Owners tells who holds which VIP group; implemented by cluster over the guard's shared memory.
// Both methods are called for every message and every timer: they must be lock-free and cheap.
type Owners interface {
	// Lease reports whether this node holds the group now, under which epoch, and since when
	// (CLOCK_MONOTONIC, nanoseconds).
	Lease(group uint32) (epoch uint64, since int64, ok bool)
	// Owner is who owns the group as far as this node has heard; node 0: nobody known.
	Owner(group uint32) (node uint32, epoch uint64)
}

// Link carries frames to the owners of groups; implemented by cluster/link.
type Link interface {
	// Send queues frame for whoever owns group and returns at once; epoch is the owner's as the sender
	// knows it, 0 when it doesn't. The frame belongs to the link from here on. A frame for a group that
	// this node has acquired meanwhile comes back through Core.HandleFrame.
	Send(group uint32, epoch uint64, frame []byte)
}
