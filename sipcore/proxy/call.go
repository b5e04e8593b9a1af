package proxy

import (
	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
)

// kind is what a cell's transaction is to the proxy.
type kind uint8

const (
	kindCall     kind = iota // INVITE that makes a call: replicated
	kindReinvite             // INVITE within a dialog
	kindBye                  // BYE of a call: its final waits for EndCall
	kindOther                // any other request
	kindRegister             // REGISTER for the registrar
	kindHangup               // BYE of our own: no server transaction, its final ends the cell
	kindProbe                // so is the OPTIONS that asks whether a gateway is there, and the REGISTER of a trunk
)

// phase is how far a command has got.
type phase uint8

const (
	phaseNone phase = iota
	phaseWanted
	phaseCommitting
	phaseDone
)

// maxHeld bounds what waits for one answer's commit: ACKs, one per retransmission until then, and what follows them.
const maxHeld = 8

// call is what the proxy keeps with a cell.
type call struct {
	kind     kind
	gen      uint8  // id of the branch key that the transaction was made with
	number   uint64 // of the call's record; 0: none, nothing is committed for it
	lineEnd  int    // end of the request line in Cell.Request
	noLength noLength
	loop     uint32 // loop hash of the request
	tagHash  uint32 // of the caller's From tag
	source   transport.Flow
	pinned   bool   // the caller is behind NAT
	near     bool   // who sent the request is trusted (RFC 3325): a gateway
	far      bool   // so is who gets it
	respTag  uint32 // To tag of our own responses
	targets  []*pb.Target
	several  bool           // a phone among the targets has more than one flow
	flows    []phoneFlow    // of those that were tried after their first flow had failed
	attempts []laterAttempt // of a call that was taken up
	next     int            // first target without a leg
	pool     string         // of a call through a gateway, and the user part towards it
	user     string
	serial   bool
	noMore   bool // 6xx, CANCEL, or answered: no further targets
	answered bool
	decided  bool // the final to the caller has been chosen
	creating bool
	renewed  int64 // when the record's deadline was last set by what is heard of the legs, at first when its command was submitted
	cancel   phase
	reason   string // why legs are cancelled, "" when nobody says so

	trying    *txn.Buf // 100, until the record is committed
	cancelOK  *message // 200 to the CANCEL, until it is committed
	final     *txn.Buf // final to the caller, until it is committed
	finalCode uint16
	overLimit bool   // who calls makes as many calls as he may
	why       string // there is no record of the call, which a final of ours does not say

	hasToken  bool   // the request belongs to a dialog, and this was in its token:
	tokenCall uint64 // the number of the dialog's call
	tokenHash uint32 // of the caller's From tag in it
	toCaller  bool   // of that dialog
	bars      dialog.Bars

	gone       []uint64 // connections of phones that turned out to be gone
	waitsSince int64    // when that was first found; 0: not yet

	session     uint32 // interval of the session that the sender of an INVITE is told to refresh, seconds; 0: it is not told
	credentials string // header line that answers the challenge of a gateway to a request of a dialog

	toTags  [4]uint64 // dialogs answered so far
	answers int       // AnswerCalls under way
	held    []message // what waits for that: the ACK, and the requests that came after it

	calleeTag string // in a dialog: the To tag under which it is recorded
	byCallee  bool   // and who sent the request

	hang  *hangup
	asked int64 // when a probe was made
	trunk *Trunk
}

// message is one that waits, and where it goes or came from.
type message struct {
	buf  *txn.Buf
	flow transport.Flow
}

func (u *call) release() {
	u.trying.Release()
	if u.cancelOK != nil {
		u.cancelOK.buf.Release()
	}
	u.final.Release()
	for i := range u.held {
		u.held[i].buf.Release()
	}
	targets, flows, held := u.targets[:0], u.flows[:0], u.held[:0]
	clear(u.targets)
	clear(u.flows)
	clear(u.held)
	*u = call{targets: targets, flows: flows, held: held}
}

// ours reports whether the request is our own: its responses are meant for nobody else.
func (k kind) ours() bool { return k == kindHangup || k == kindProbe }

func callOf(c *txn.Cell) *call { return c.User.(*call) }

// newCell makes the cell of a request that is to be handled with state; nil when there is no room.
func (s *Shard) newCell(in *Inbound, key txn.Key, k kind) (*txn.Cell, *call) {
	m := in.Msg
	c := s.tab.New(key, m.Method)
	if c == nil {
		return nil, nil
	}
	u := s.newCall()
	c.User = u
	c.Home, c.Epoch = in.Home, in.Epoch
	c.Caller = in.Flow
	c.Caller.Remote = responseAddr(&m.Via1, m, in.Flow.Remote)
	u.gen = in.gen
	u.kind, u.source, u.respTag = k, in.Flow, uint32(key.Hi)
	if k == kindOther || k == kindBye {
		s.tab.Watch(c, s.now)
	}
	if in.HasToken {
		u.hasToken, u.tokenCall, u.tokenHash = true, in.Token.Call, in.Token.TagHash
	}
	return c, u
}

func (s *Shard) newCall() *call {
	n := len(s.free)
	if n == 0 {
		return new(call)
	}
	u := s.free[n-1]
	s.free = s.free[:n-1]
	return u
}

// over stands for what the proxy kept with a transaction that needs nothing of that any more. It is only read.
var over = &call{kind: kindOther, answered: true, decided: true, noMore: true}

// settle lets go of what transactions that have ended since the last message need no more: for another half minute (Timer J) they
// repeat their final, and that is all.
func (s *Shard) settle() {
	for _, r := range s.ended {
		c := r.Cell()
		if c == nil || c.State != txn.ServerCompleted || anyOpen(c) {
			continue
		}
		if u := callOf(c); u != over {
			c.User = over
			s.tab.FreeLegs(c)
			s.freeCall(u)
		}
	}
	s.ended = s.ended[:0]
}

func (s *Shard) freeCall(u *call) {
	if u != over {
		u.release()
		s.free = append(s.free, u)
	}
}
