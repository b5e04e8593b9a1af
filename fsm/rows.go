package fsm

import (
	"net/netip"
	"unique"

	"holdline/fsm/pb"
)

// Flow is how a peer is reached: through which group's VIP and which remote address. It is comparable.
// Its fields are those of transport.Flow, so the two convert into each other.
type Flow struct {
	Group  uint32 // VIP group
	VIP    uint8  // index into the group's addresses
	Proto  pb.Transport
	Port   uint16 // port on the VIP; 0 = 5060
	Remote netip.AddrPort
	Conn   uint64 // connection number of stream transports, 0 for UDP
}

// Binding is one registered contact of an AoR. Values come from the table and must not be modified.
type Binding struct {
	Contact   string // addr-spec, as registered
	Params    string // contact parameters other than expires, with leading ';'
	Instance  string // +sip.instance, without quotes and brackets
	CallID    string
	Path      []string
	Flow      Flow
	ExpiresMs int64 // absolute FSM time
	CSeq      uint32
	RegID     uint32
	Q         uint16 // 0…1000
	KeepsFlow bool   // the phone keeps its flow alive itself: it was told that outbound is in force (RFC 5626 §4.4)

	agent unique.Handle[string] // user agents repeat: a million phones have a few hundred
	txn   uint64                // hash of the server transaction that last changed it
}

// KeptAlive reports whether the binding's phone needs keep-alives from us to be reached: it registers over UDP, straight from behind a NAT. A phone
// for which RFC 5626 is in force asks by itself (§4.4.2), which a reg-id alone does not say; one behind an edge proxy is the edge's, and connections
// have TCP's own keep-alives.
func (b *Binding) KeptAlive() bool {
	return b.Flow.Proto == pb.Transport_UDP && !b.KeepsFlow && len(b.Path) == 0 && b.Flow.Remote.IsValid() && !namesAddr(b.Contact, b.Flow.Remote)
}

// UserAgent returns the User-Agent of the REGISTER that made the binding, or "".
func (b *Binding) UserAgent() string {
	if b.agent == (unique.Handle[string]{}) {
		return ""
	}
	return b.agent.Value()
}

// Target is where a leg goes.
type Target struct {
	URI    string // becomes the Request-URI
	AoR    string // registered AoR when it is a phone
	Phone  uint64 // InstanceHash of the phone's +sip.instance, 0 when it names none
	Pool   string // pool and member when it is a gateway
	Member string
	Routes []string // Path of the binding
	Flow   Flow     // Remote is not valid when the host of URI is still to be resolved
	Q      uint16

	CSeqShift   uint8  // CSeq numbers are higher by this there
	Credentials string // header line that answers the gateway's challenge
}

// Leg is one branch of a call.
type Leg struct {
	Index   uint32
	Attempt uint32
	State   pb.LegState
	Status  uint32 // last final status, 0 before
	ToTag   string
	Contact string // the callee's, once answered
	Routes  string // its route set beyond us, as a Route header has it
	Target  *Target
}

// Call is the record of one call. Rows are immutable: a change makes a new row with a higher Version.
type Call struct {
	Number  uint64
	Key     string // what CreateCall is deduplicated by
	Home    uint32 // VIP group
	HomeVIP uint32
	Epoch   uint64 // of the command that last changed it
	Version uint64
	State   pb.CallState

	Domain  string
	CallID  string
	FromTag string
	FromURI string
	ToURI   string
	Pool    string
	Caller  Flow
	Origin  string // who calls: the AoR that the digest proved, or pool/member of a trusted source
	Phone   uint64 // InstanceHash of the calling phone's +sip.instance, 0 when it names none

	Invite      []byte // nil once no leg is open
	Legs        []Leg
	FinalStatus uint32
	Final       []byte   // the final ≥ 300 as sent to the caller, until the row goes
	Dialogs     []string // To-tags of confirmed dialogs

	CallerContact string // once answered
	CallerRoutes  string // its route set beyond us, as a Route header has it

	CreatedMs      int64 // FSM time
	CreatedWallMs  int64 // wall clock, for people
	AnsweredWallMs int64
	AnsweredMs     int64 // FSM time: the maximum duration counts from here
	DeadlineMs     int64 // FSM time: ring timeout, session timer, maximum duration, or when an ended row goes

	odd *odd // nil for most
}

// odd is what few calls have. Like a row it is never changed, but replaced.
type odd struct {
	number uint64   // that its messages carry, made by its owner
	gone   []string // To-tags of dialogs that have ended, while others go on or before the answer was recorded
	cause  string   // of the latest of these ends, as EndCall named it
	outage int64    // ms that the deadline leaves out
	cut    int64    // FSM time at which an operator asked for its end
}

// TokenNumber is the number by which the messages of the call name it: that of the row, unless the call was set up while
// nothing could be committed. Machine.Call finds it by either.
func (c *Call) TokenNumber() uint64 {
	if c.odd != nil && c.odd.number != 0 {
		return c.odd.number
	}
	return c.Number
}

// oddly returns a copy of odd, for changing.
func (c *Call) oddly() *odd {
	if c.odd == nil {
		return &odd{}
	}
	o := *c.odd
	return &o
}

// Active reports whether the call counts: it has neither failed nor ended.
func (c *Call) Active() bool {
	return c.State != pb.CallState_CALL_FAILED && c.State != pb.CallState_CALL_ENDED
}

// Counts are totals over the tables, exact at the moment of reading.
type Counts struct {
	Registrations int // AoRs with at least one binding
	Bindings      int
	KeptAlive     int // AoRs that Machine.Arc goes through
	Calls         int // active ones
	CallRows      int // with the ended ones that linger for retransmissions
	Sessions      int
}
