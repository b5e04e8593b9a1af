// Package proxy is Holdline's stateful, record-routing SIP proxy (RFC 3261 §16). A Shard is pure: messages,
// results of commits and time come in, messages and commands go out through Env. Whoever drives a Shard
// holds its lock.
package proxy

import (
	"net/netip"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// Env is the world of a shard. It is called with the shard's lock held and must not call back into the shard.
type Env interface {
	// Send sends a copy of data, from whichever node owns to.Group.
	Send(to transport.Flow, data []byte)
	// Urgent asks that what has been sent is on the wire before anybody else handles messages of the shard: another's could overtake it.
	Urgent()
	// Submit commits cmd; the result comes back through Shard.Committed with c.
	Submit(cmd *pb.Command, c Commit)
	// Lookup resolves a host name; the result comes back through Shard.Resolved with r.
	Lookup(q resolve.Query, r Lookup)
	// Known is the targets of a host looked up lately.
	Known(q resolve.Query) ([]resolve.Target, bool)
	// Lease reports whether this node holds the group's lease now, and under which epoch.
	Lease(group uint32) (epoch uint64, ok bool)
	// TakenUp reports that the calls of a group that this node acquired have been taken up from their records: what the last owner has
	// committed is known here.
	TakenUp(group uint32) bool
	// Settled reports the same, or that messages have waited long enough for it: without a raft leader nothing is taken up.
	Settled(group uint32) bool
	// KeptAlive says that the phone behind a stream's flow has promised to say something at least each alive: when it does not,
	// its connection is gone (RFC 5626 §4.4).
	KeptAlive(flow transport.Flow, alive time.Duration)
	// AcquiredAt is when this node acquired the group, in the time given to the shard; 0: long ago.
	AcquiredAt(group uint32) int64
	// MovedAt is when the group's latest owner was recorded, whichever node it is; 0: long ago.
	MovedAt(group uint32) int64
	// Await asks for Shard.Rebound whenever a phone of the AoR has registered over another connection; false: too many wait. Awaited
	// ends one Await.
	Await(aor string) bool
	Awaited(aor string)
	// Slept is how long the machine has been suspended since it booted, in ns; the time given to the shard leaves it out.
	Slept() int64
}

// State is what the proxy reads of the replicated state; fsm.Machine is one.
type State interface {
	Bindings(aor string, dst []fsm.Binding) []fsm.Binding
	ByContact(uri, domain string, dst []fsm.Binding) (aor string, with []fsm.Binding)
	Call(number uint64) *fsm.Call
	CallByKey(key []byte) *fsm.Call
	CallsOf(group uint32, fn func(*fsm.Call) bool)
	OverLimit(c *pb.CreateCall) string
	Now() int64
	Lived() int64
}

// Options of a shard.
type Options struct {
	State     State
	Auth      Auth
	Accounts  Accounts // nil: we have none at any gateway
	Registrar Registrar
	Pool      *txn.Pool
	Stats     *Stats
	Health    *Health
	Admission *Admission // nil: all are admitted
	Refusals  *Refusals  // nil: none are kept
	MaxCells  int        // transactions at once; beyond it new requests get a stateless 503
	MaxLegs   int        // targets of one request
}

// Inbound is a message that came in, read and classified, for the owner of Home to handle.
type Inbound struct {
	Msg   *wire.Msg
	Flow  transport.Flow // which VIP it came in on, and from where
	Home  uint32         // VIP group that owns its transaction
	Epoch uint64         // of this node's lease of Home

	// A request of a dialog:
	Token    dialog.Token
	TokenKey dialog.Key
	HasToken bool
	Routes   int  // Route values on top that are ours
	Strict   bool // a strict router put our Route into the Request-URI (§16.4)

	Branch Branch // of a response

	gen   uint8 // id of the branch key that its transaction was made with
	shift uint8 // of a response: of its request's CSeq
}

// CommitKind says which command a Commit is about.
type CommitKind uint8

// Kinds of commits.
const (
	commitCreate CommitKind = iota + 1
	commitLeg
	commitFinal
	commitAnswer
	commitCancel
	commitEnd
	commitRegister
	commitRenew // nothing waits for it
	commitCatchUp
	commitHangup
	commitRedirect
)

// Commit tells what to go on with when a command has been applied.
type Commit struct {
	Kind CommitKind
	Leg  uint8
	Cell txn.Ref
	Call uint64 // as the call's messages name it

	cmd    *pb.Command // what is being committed, and since when
	at     int64
	slept  int64  // by then
	making uint64 // which of the shard's attempts to make a call's record this is; 0: none
	later  bool   // on purpose: nothing was to wait for it
}

func (c Commit) moment() moment { return moment{c.at, c.slept} }

// MakesRecord reports whether the command makes a call's record: if Committed is told ErrUndecided of it, Decided is to be told its outcome.
func (c Commit) MakesRecord() bool { return c.making != 0 }

// How long a command may take. A call then goes on without it. A REGISTER can only be denied, and a phone that is told 503 may try
// again minutes later: it waits for longer, well below the client's 32 s (Timer F, RFC 3261 §17.1.2.2).
const (
	callPatience     = time.Second
	registerPatience = 4 * time.Second
)

// Patience is how long the command may take to be applied before it counts as failed.
func (c Commit) Patience() time.Duration {
	if c.Kind == commitRegister {
		return registerPatience
	}
	return callPatience
}

// Lookup tells which leg waits for an address.
type Lookup struct {
	Cell txn.Ref
	Leg  uint8
}

// Shard is a part of the proxy's transactions: those of the Call-IDs that hash to it.
type Shard struct {
	opt  Options
	env  Env
	view *View
	tab  *txn.Table
	now  int64

	answers map[uint64]txn.Ref // calls whose AnswerCall is not applied yet: their ACKs wait
	resumed map[uint64]txn.Ref // calls taken up from another owner that are not answered
	hanging map[uint64]bool    // calls that we are ending
	behind  map[uint64]*behind
	backlog []uint64 // keys of behind, but for the one that is under way
	flying  bool     // there is one
	later   []uint64 // keys of behind too: calls that are recorded after the fact on purpose, but for those under way
	sooner  []uint64 // room for the next later
	room    float64  // new requests that may be let in at once; see crowded
	roomAt  int64    // as of
	clock   FSMClock
	lived   FSMClock // of fsm.Machine.Lived
	makings uint64   // attempts to make calls' records so far
	free    []*call
	ended   []txn.Ref // transactions for settle
	trimAt  int64     // when it is next seen whether there is too much in free

	waiting  map[string][]waiter       // by AoR: legs whose phone has no connection
	waitLook int64                     // when the first of them has waited long enough
	followed map[wentTo]transport.Flow // where phones are now

	// Scratch, used within one entry.
	edit     wire.Edit
	tmp      wire.Msg
	tmp2     wire.Msg
	heldMsg  wire.Msg // of letGo
	in       Inbound  // of registered
	out      []byte
	key      []byte
	bindings []fsm.Binding
	peers    []fsm.Binding
	targets  []*pb.Target
	ackCell  txn.Cell // an ACK is relayed without state, by the code that makes legs
	ackCall  call
	ackLeg   txn.Leg
}

// NewShard makes a shard.
func NewShard(opt Options, env Env) *Shard {
	if opt.Admission == nil {
		opt.Admission = new(Admission)
	}
	if opt.Refusals == nil {
		opt.Refusals = new(Refusals)
	}
	return &Shard{
		opt: opt, env: env, tab: txn.NewTable(opt.MaxCells), answers: make(map[uint64]txn.Ref), resumed: make(map[uint64]txn.Ref),
		hanging: make(map[uint64]bool), behind: make(map[uint64]*behind),
		waiting: make(map[string][]waiter), waitLook: never, followed: make(map[wentTo]transport.Flow), room: max(float64(opt.MaxCells)/16, 1),
	}
}

// Len is the number of transactions.
func (s *Shard) Len() int { return s.tab.Len() }

// Idle reports whether there is nothing that Advance would do later on.
func (s *Shard) Idle() bool { return s.tab.Len() == 0 && len(s.waiting) == 0 }

// Receive handles a message. v is the configuration to go by, now monotonic nanoseconds. in is not kept.
func (s *Shard) Receive(v *View, now int64, in *Inbound) {
	s.view, s.now = v, now
	s.settle()
	if in.Msg.Request {
		s.request(in)
	} else {
		s.response(in)
	}
}

// Committed goes on with what waited for a command. err means that nothing could be committed.
func (s *Shard) Committed(v *View, now int64, c Commit, r *pb.Result, err error) {
	s.view, s.now = v, now
	s.settle()
	s.committed(c, r, err)
}

// DropGroup forgets all transactions of a group without sending anything.
func (s *Shard) DropGroup(group uint32) {
	s.tab.Each(func(c *txn.Cell) {
		if c.Home == group {
			s.freeCell(c)
			s.opt.Stats.DroppedTransactions.Add(1)
		}
	})
}

// send sends data to a flow.
func (s *Shard) send(to transport.Flow, data []byte) {
	s.env.Send(to, data)
}

// held reports whether the lease under which c was made still holds.
func (s *Shard) held(c *txn.Cell) bool {
	epoch, ok := s.env.Lease(c.Home)
	return ok && epoch == c.Epoch
}

// freeCell ends a cell and gives back what the proxy kept with it.
func (s *Shard) freeCell(c *txn.Cell) {
	u := callOf(c)
	if r, ok := s.answers[u.number]; ok && r.Cell() == c {
		delete(s.answers, u.number)
	}
	if r, ok := s.resumed[u.number]; ok && r.Cell() == c {
		delete(s.resumed, u.number)
	}
	if u.hang != nil {
		delete(s.hanging, u.hang.call)
	}
	s.tab.Free(c)
	s.freeCall(u)
}

// responseAddr is where a response goes by a Via (RFC 3261 §18.2.2, RFC 3581 §4): received, else the sent-by host,
// with the rport, else the sent-by port.
func responseAddr(via *wire.Via, m *wire.Msg, source netip.AddrPort) netip.AddrPort {
	if via.HasRPort {
		return source
	}
	port := via.Port
	if port == 0 {
		port = defaultViaPort(m, via)
	}
	return netip.AddrPortFrom(source.Addr(), port)
}
