package lease

// Flags of a packet.
const (
	FlagMute   uint8 = 1 << iota // the sender has restarted or resumed: it neither grants nor requests yet
	FlagUnfit                    // the sender can serve no group (carrier or core lost)
	FlagOutage                   // the sender was without a majority lately, and has not seen all groups owned since
)

// Packet is one heartbeat from one node to another. It states all that the sender wants, promises and gives up, so a
// lost packet is made good by the next one.
type Packet struct {
	From, To        uint32
	Incarnation     uint64 // of the sender: differs at each start
	Seq             uint64 // of the sender: rises strictly with each packet to any node
	PeerIncarnation uint64 // of the receiver as the sender knows it; 0: not known
	Echo            uint64 // highest Seq heard from that incarnation of the receiver
	Epoch           uint64 // config epoch in force at the sender
	Ready           uint64 // config epoch the sender has made durable; ≥ Epoch
	Health          uint32 // 0 is healthy; ranks candidates
	Flags           uint8
	Grant           int64 // length of the grants asked for, ns (whole µs on the wire)

	Requests []Request
	Grants   []Grant
	Releases []Release
}

// Request asks for a group, or, if Owned, renews it and claims it.
type Request struct {
	Group  uint32
	Ballot uint64
	Owned  bool
	Prio   uint16 // of two candidates the one with the lower (Prio, node) goes on, the other withdraws
	Offer  uint32 // Owned: the node that the owner would like to take the group; 0: none
}

// Grant is a grantor's word on a group.
type Grant struct {
	Group  uint32
	Ballot uint64 // highest ballot granted; its low byte is the node
	Seq    uint64 // the holder's packet that the running grant counts from; 0: no grant is running
	Owned  bool   // the holder owned the group when it was last heard
}

// Release gives a ballot up: whoever granted it may grant again at once.
type Release struct {
	Group  uint32
	Ballot uint64
	To     uint32 // the node that is to get the group; 0: any
	Owned  bool   // false: the ballot never owned the group (a candidate withdrew)
}

// BallotNode returns the node that made a ballot.
func BallotNode(b uint64) uint32 { return uint32(b & 0xff) }

// BallotAbove returns the lowest ballot of a node that is above b.
func BallotAbove(b uint64, node uint32) uint64 { return (b>>8+1)<<8 | uint64(node&0xff) }
