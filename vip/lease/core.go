package lease

// Options fix what a Core is for its life.
type Options struct {
	Node        uint32 // this node's number
	Incarnation uint64 // not 0, different at each start (64 random bits)
	Seed        uint64 // of the jitter
	Config      Config
}

// Core is the lease protocol of one node. Not safe for concurrent use. The actions returned by a call, and the packets
// in them, are valid until the next call.
type Core struct{}

// New returns a Core that is mute (it listens, but neither grants nor requests) until it has outlived every grant that
// this node may have given before it started.
func New(opt Options, now int64) (*Core, error) { return nil, ErrConfig }

// Receive takes an authentic packet in. p is not kept.
func (c *Core) Receive(now int64, p *Packet) []Action { return nil }

// Tick does what is due. Call it at NextDeadline; calling it earlier or later is harmless.
func (c *Core) Tick(now int64) []Action { return nil }

// NextDeadline is the time of the next Tick, ns. It may have moved after each call on the Core.
func (c *Core) NextDeadline() int64 { return 0 }

// SetConfig replaces the configuration. The epoch must not go back; the voters of an epoch never change.
func (c *Core) SetConfig(now int64, cfg Config) ([]Action, error) { return nil, nil }

// SetHealth sets this node's health; 0 is healthy. It ranks candidates; an owner yields only to a healthier node that accepts.
func (c *Core) SetHealth(now int64, health uint32) []Action { return nil }

// SetCarrier says whether a group's networks are connected. Group 0: all groups. Without carrier a group is dropped at
// once and not asked for. Initially true.
func (c *Core) SetCarrier(now int64, group uint32, ok bool) []Action { return nil }

// SetServing says whether the core of this node can serve a group. Group 0: all groups. Otherwise as SetCarrier.
// Initially false: the guard says so when the SIP core is there.
func (c *Core) SetServing(now int64, group uint32, ok bool) []Action { return nil }

// Release starts a planned move of a group that this node owns: it is offered to node to (0: the best candidate), and given up
// when that one accepts. Lost{Released} or, after half a second, ReleaseFailed follows.
func (c *Core) Release(now int64, group, to uint32) []Action { return nil }

// Drop gives a group (0: all) up at once, whether or not another node takes it. This node ranks last for it for five seconds.
func (c *Core) Drop(now int64, group uint32) []Action { return nil }

// Stop gives all groups up and asks for none any more (shutdown). It goes on granting until the caller stops calling.
func (c *Core) Stop(now int64) []Action { return nil }

// Suspended says that the machine has slept (BOOTTIME jumped against MONOTONIC): everything is dropped, and the Core is
// mute as after a restart.
func (c *Core) Suspended(now int64) []Action { return nil }
