package lease

// PeerStatus is what a Core knows of another node.
type PeerStatus struct {
	Node     uint32
	Voter    bool
	Alive    bool   // heard within the last heartbeats
	Heard    int64  // when the last packet was accepted, ns; 0: never
	WorstGap int64  // longest silence between two accepted packets since ResetGaps, ns
	EchoAge  int64  // age of the newest packet of ours that it has echoed, ns; -1: none
	Epoch    uint64 // config epoch it has reported; 0: none
	Health   uint32
	Mute     bool
}

// Lease returns the ballot and end of a lease held at now.
func (c *Core) Lease(now int64, group uint32) (ballot uint64, until int64, ok bool) { return 0, 0, false }

// Owner returns who owns a group as far as this node has heard (itself included); 0: nobody known.
func (c *Core) Owner(now int64, group uint32) (node uint32, ballot uint64) { return 0, 0 }

// Peers appends the state of the other nodes to dst, by number.
func (c *Core) Peers(now int64, dst []PeerStatus) []PeerStatus { return dst }

// ResetGaps starts a new measurement of PeerStatus.WorstGap.
func (c *Core) ResetGaps() {}

// Epoch returns the config epoch in force and the one made durable here (higher while a change of voters waits for the others).
func (c *Core) Epoch() (inForce, ready uint64) { return 0, 0 }

// Muted says whether the Core is mute, and until when.
func (c *Core) Muted(now int64) (until int64, mute bool) { return 0, false }
