package proxy

import (
	"bytes"
	"strconv"
	"sync"
	"time"

	"github.com/dchest/siphash"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// A carrier that knows us by an account learns by a REGISTER (RFC 3261 §10.2) where to call us. The owner of the member's VIP group keeps it registered. The
// Contact is the same on every node, so that the carrier takes a new owner's REGISTER for a refresh; nothing of it is replicated but the configuration.

const (
	registerFor   = 3600                    // seconds that we ask for when the operator has not said
	trunkPatience = int64(10 * time.Second) // for an answer; registrars that look far for theirs are slow
)

// Trunk keeps one pool member registered. It belongs to the shard of its Call-ID, whose lock guards it; State may be asked at any time. Call-ID and From tag last as
// long as the Trunk, and CSeq rises (§10.2).
type Trunk struct {
	callID string
	tag    uint32

	member  *pb.Member
	account Account
	epoch   uint64 // of the lease of the member's group
	cseq    uint32
	cell    txn.Ref // its transaction, if there is one
	ending  bool    // it is to be registered no more

	// Of the REGISTER that is under way, over all its attempts:
	proofs  proofs // what answers its challenges
	answers int    // challenges answered
	longer  int    // times that we have asked for longer, as it wants
	asked   uint32 // seconds asked for; 0 ends it
	minimum uint32 // what it takes at least

	refused, unheard int // REGISTERs in a row

	mu    sync.Mutex
	state Registration
}

// Registration is how a trunk stands. Times are those that the shard is given.
type Registration struct {
	Until   int64  // it is registered; 0: it is not, as far as we know
	Next    int64  // when it is to be registered again
	Failure string // why the last REGISTER was of no use; "": it was, or there was none
	Silent  bool   // for it was not answered
	Ended   bool   // it is unregistered, or that was not to be had
}

// NewTrunk makes a trunk that is not registered. callID must be used by nobody else, on other nodes neither.
func NewTrunk(callID string) *Trunk {
	return &Trunk{callID: callID, tag: uint32(siphash.Hash(0, 1, []byte(callID)))}
}

// CallID is the Call-ID of the trunk's requests, by which its shard is chosen.
func (t *Trunk) CallID() string { return t.callID }

// State tells how the trunk stands. Safe for concurrent use.
func (t *Trunk) State() Registration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

func (t *Trunk) set(r Registration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = r
}

// Begin forgets how the trunk stood, because this node has got its group or its configuration is another: it is to be registered at next.
func (s *Shard) Begin(t *Trunk, next int64) {
	s.dropRegister(t)
	t.refused, t.unheard, t.minimum = 0, 0, 0
	t.set(Registration{Next: next})
}

// Register registers a member, or refreshes that, from its group, which this node owns under epoch. State tells what comes of it, and when it is to be done again.
func (s *Shard) Register(v *View, now int64, t *Trunk, m *pb.Member, epoch uint64) {
	s.begin(v, now, t, m, epoch)
	var ok bool
	if s.opt.Accounts != nil {
		t.account, ok = s.opt.Accounts.Account(m.Pool, m.Name)
	}
	if !ok {
		t.fail(now, "no password", refusedWait(t), false)
		return
	}
	t.asked = registerFor
	if m.RegisterS != 0 {
		t.asked = m.RegisterS
	}
	t.asked = max(t.asked, t.minimum)
	s.sendRegister(t)
}

// Unregister takes back what Register has told the carrier, as the account that was used for it: it may be gone from the configuration.
func (s *Shard) Unregister(v *View, now int64, t *Trunk, m *pb.Member, epoch uint64) {
	s.begin(v, now, t, m, epoch)
	t.ending, t.asked = true, 0
	if t.account.User == "" { // it was another node that has registered it
		t.fail(now, "no password", 0, false)
		return
	}
	s.sendRegister(t)
}

func (s *Shard) begin(v *View, now int64, t *Trunk, m *pb.Member, epoch uint64) {
	s.view, s.now = v, now
	s.settle()
	s.dropRegister(t)
	t.member, t.epoch = m, epoch
	t.proofs, t.answers, t.longer = nil, 0, 0
}

// dropRegister forgets a REGISTER that is under way: a late answer to it says nothing any more.
func (s *Shard) dropRegister(t *Trunk) {
	if c := t.cell.Cell(); c != nil {
		s.freeCell(c)
	}
	t.cell = txn.Ref{}
}

// sendRegister sends the trunk's next REGISTER: another transaction, with another CSeq.
func (s *Shard) sendRegister(t *Trunk) {
	m := t.member
	t.cseq++
	seed := append(append(s.key[:0], "register\x00"...), t.callID...)
	uri := registrarURI(m)
	c, f := s.askGateway(m, m.Group, t.epoch, wire.Register, uri, strconv.AppendUint(append(seed, 0), uint64(t.cseq), 10))
	if c == nil {
		t.fail(s.now, "cannot be sent by this VIP", t.unheardWait(), true)
		return
	}
	u, l := callOf(c), c.Legs[0]
	u.trunk, t.cell = t, c.Ref()
	l.Patience = trunkPatience
	c.Request = s.opt.Pool.Get(1024)
	c.Request.B = t.appendRegister(c.Request.B, uri, t.contact(f, l.Flow.Proto))
	u.lineEnd = len("REGISTER ") + len(uri) + len(" SIP/2.0\r\n")
	r := t.State()
	r.Next = s.now + int64(2*time.Minute) // unless it is told otherwise before
	t.set(r)
	s.opt.Stats.Registers.Add(1)
	s.resolveLeg(c, u, l, []byte(memberURI(m, "")))
}

// registrarURI is the Request-URI of a REGISTER: the member as it was configured, no user, no parameters (§10.2).
func registrarURI(m *pb.Member) string {
	bare := &pb.Member{Address: m.Address}
	return memberURI(bare, "")
}

// address is the account's address-of-record, with the host alone.
func (t *Trunk) address() string {
	host, at := fsm.MemberHost(t.member)
	if at.IsValid() {
		host = uriHost(at.Addr())
	}
	return "sip:" + escapedUser(t.account.User) + "@" + host
}

// contact is where the carrier is to call us: the account at the VIP, as that writes itself.
func (t *Trunk) contact(f *face, p pb.Transport) string {
	uri := "sip:" + escapedUser(t.account.User) + "@" + f.at[p]
	if p != pb.Transport_UDP {
		uri += ";transport=" + lowerString(protoNames[p])
	}
	return uri
}

// appendRegister writes the REGISTER but for its Via.
func (t *Trunk) appendRegister(b []byte, uri, contact string) []byte {
	for _, x := range [...]string{"REGISTER ", uri, " SIP/2.0\r\nMax-Forwards: 70\r\nFrom: <", t.address(), ">;tag="} {
		b = append(b, x...)
	}
	b = appendTag(b, t.tag)
	expires := strconv.FormatUint(uint64(t.asked), 10)
	for _, x := range [...]string{
		"\r\nTo: <", t.address(), ">\r\nCall-ID: ", t.callID, "\r\nCSeq: ", strconv.FormatUint(uint64(t.cseq), 10), " REGISTER\r\nContact: <", contact, ">;expires=", expires,
		"\r\nExpires: ", expires, "\r\n",
	} {
		b = append(b, x...)
	}
	if lines := t.proofs.lines(); lines != "" {
		b = append(append(b, lines...), "\r\n"...)
	}
	return append(b, "Content-Length: 0\r\n\r\n"...)
}

// escapedUser writes a user so that it can be the user part of a URI (§19.1.2, §25.1).
func escapedUser(s string) string {
	const unreserved, hex = "-_.!~*'()&=+$,", "0123456789ABCDEF" // and neither ; ? / nor what would need quotes elsewhere
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c|0x20 && c|0x20 <= 'z', bytes.IndexByte([]byte(unreserved), c) >= 0:
			out = append(out, c)
		default:
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}
