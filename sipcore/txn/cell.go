package txn

import (
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// ServerState is the state of a cell's server transaction (RFC 3261 §17.2, RFC 6026 §7.1).
type ServerState uint8

// Server transaction states.
const (
	ServerTrying     ServerState = iota // nothing sent yet that would end the client's retransmissions
	ServerProceeding                    // a provisional response was sent
	ServerCompleted                     // a final response was sent that is not a 2xx to an INVITE
	ServerConfirmed                     // its ACK came
	ServerAccepted                      // a 2xx to an INVITE was passed on
)

// LegState is the state of a leg's client transaction (RFC 3261 §17.1, RFC 6026 §7.2).
type LegState uint8

// Client transaction states.
const (
	LegIdle       LegState = iota // not sent yet
	LegCalling                    // sent, nothing heard (Calling, Trying)
	LegProceeding                 // a provisional response came
	LegCompleted                  // a final response came that is not a 2xx to an INVITE
	LegAccepted                   // a 2xx to an INVITE came
	LegTerminated                 // given up: timeout or transport error
)

// CancelState is how far the CANCEL of a leg has got (RFC 3261 §9.1).
type CancelState uint8

// Cancel states of a leg.
const (
	CancelNone   CancelState = iota
	CancelWanted             // waits for the first provisional response
	CancelSent               // sent, retransmitted until answered
	CancelDone               // answered: the leg's final is awaited
)

// Leg is one client transaction of a cell: the request as forwarded to one target.
type Leg struct {
	Index   uint8
	Attempt uint8
	State   LegState
	Cancel  CancelState
	Acked   bool  // an ACK was sent for the non-2xx final
	Taken   bool  // its final was committed under an earlier owner of the call
	Shift   uint8 // its CSeq number is higher by this than that of the server transaction
	Open    bool  // the user of the table counts it as not yet finally answered

	Status   uint16           // its final response, 0 while there is none
	Flow     transport.Flow   // where it goes
	Breadth  uint32           // its share of the request's Max-Breadth when that is split, else 0
	Others   []transport.Flow // further targets of its host
	Patience int64            // how long it may stay silent; 0: Timer B or F
	Unsure   int64            // when an ICMP error about it came that was not believed on its own; 0: none
	Request  *Buf             // as sent; kept till the final for retransmission, CANCEL and ACK
	CancelRq *Buf             // the CANCEL, while it may have to be sent again
	Ack      *Buf             // the ACK to a non-2xx final, sent again when the final comes again
	Response *Buf             // the final, our Via removed, while it may be chosen as the best

	interval            int64
	retransmit, expires timer
}

// Cell is one proxied transaction: the server transaction and the client transactions that it was
// forwarded as. A cell belongs to one Table and is guarded by the table's owner.
type Cell struct {
	Key    Key
	Home   uint32 // VIP group that owns the transaction
	Epoch  uint64 // the group's epoch when the cell was made
	Method wire.Method
	State  ServerState
	Status uint16 // of the last response sent

	Caller   transport.Flow // where responses go
	Request  *Buf           // what each leg's request is made from; released with the final
	Response *Buf           // last response sent, repeated on retransmissions
	Legs     []*Leg
	User     any // what the user of the table keeps with it; a pointer, so that storing it does not allocate

	gen                 uint32
	interval            int64
	retransmit, expires timer
	nextFree            *Cell
	legs                [2]*Leg // backing of Legs
}

// Invite reports whether the cell is an INVITE transaction.
func (c *Cell) Invite() bool { return c.Method == wire.Invite }

// Ref names a cell across time: it turns invalid when the cell is freed.
type Ref struct {
	cell *Cell
	gen  uint32
}

// Ref returns a reference to c that Table.Resolve turns back into c as long as c lives.
func (c *Cell) Ref() Ref { return Ref{c, c.gen} }

// Cell is the referenced cell, nil once it has been freed. Same guard as the table.
func (r Ref) Cell() *Cell {
	if r.cell == nil || r.cell.gen != r.gen {
		return nil
	}
	return r.cell
}

// reliable reports whether a flow's transport retransmits by itself.
func reliable(f transport.Flow) bool { return f.Proto != pb.Transport_UDP }
