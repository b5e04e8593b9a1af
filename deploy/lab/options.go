package lab

import (
	"fmt"
	"time"
)

// Fault names what happens to the chosen node: one of Faults.
type Fault string

// Faults that others are described by.
const (
	FaultCable       Fault = "cable"        // the switch side of the cable down, at the VIP owner that is also raft leader
	FaultLeaderCable Fault = "leader-cable" // the same at the raft leader, whatever VIPs it owns
	FaultKill        Fault = "kill"         // SIGKILL of serve and guard
	FaultFreeze      Fault = "freeze"       // SIGSTOP of serve and guard; they go on when the calls have ended
	FaultRolling     Fault = "rolling"      // all nodes restarted, one after the other, as an operator does it
	FaultReplace     Fault = "replace"      // SIGKILL, removed, and a new box with an empty disk joined in its place
	FaultNone        Fault = "none"         // nothing happens
	FaultMixed       Fault = "mixed"        // each round another one of those that leave a majority, as the seed has it
)

// The two cuts of the fault suite.
const (
	SuiteAll   = "all"   // every transcript with each of its faults: up to an hour
	SuiteShort = "short" // every transcript with one of them: about five minutes
)

// Options says what a drill does. The zero value of each field means its default.
type Options struct {
	Nodes     int    // boxes in the cluster, 3 to 7; default 3
	Calls     int    // established calls held through the fault, at least 2; default 200; half as many ring
	CPS       int    // short calls set up each second throughout; default 50; negative: none
	Phones    int    // registered phones, at least 10; default 200
	Fault     Fault  // one of Faults; default FaultCable
	Transport string // of the phones: one of Transports; default TransportUDP
	Seed      uint64 // fixes which node, which phones and in which order; default 1
	// Soak, if not 0, is how long calls flow without a fault and with every CPU busy. Fault and Repeat follow from it.
	Soak   time.Duration
	Repeat int // fault rounds on the same cluster, each with fresh calls; default 1
	// Suite runs the fault suite instead of rounds: SuiteAll, SuiteShort, or patterns (path.Match), between commas, for the names of
	// cases, which are transcript/fault.
	Suite string
	// AllowClockStep lets the faults clock+1h and clock-1h step this machine's wall clock, for two seconds each; without it the suite
	// leaves them out and says so.
	AllowClockStep bool

	Binary   string        // the holdline binary under test; default: the running executable
	TempDir  string        // data directories and logs go to a new directory below it; default os.TempDir()
	Keep     bool          // keep that directory even when the drill passed
	Patience time.Duration // how long a phone waits for each message it is owed; default 12 s
}

func (o Options) withDefaults() (Options, error) {
	if o.Soak > 0 {
		o.Fault, o.Repeat = FaultNone, soakRounds(o.Soak)
	}
	setDefault(&o.Nodes, 3)
	setDefault(&o.Calls, 200)
	setDefault(&o.CPS, 50)
	setDefault(&o.Phones, 200)
	setDefault(&o.Repeat, 1)
	setDefault(&o.Fault, FaultCable)
	setDefault(&o.Seed, 1)
	setDefault(&o.Transport, TransportUDP)
	setDefault(&o.Patience, 12*time.Second)
	switch {
	case o.Nodes < 3 || o.Nodes > 7:
		return o, fmt.Errorf("nodes: %d: a drill needs 3 to 7, since fewer cannot lose one and go on", o.Nodes)
	case o.Calls < 2 || o.Calls > 5000:
		return o, fmt.Errorf("calls: %d: choose 2 to 5000", o.Calls)
	case o.CPS > 2000:
		return o, fmt.Errorf("cps: %d: choose at most 2000", o.CPS)
	case o.Phones < 10 || o.Phones > 5000:
		return o, fmt.Errorf("phones: %d: choose 10 to 5000", o.Phones)
	case o.Repeat < 1:
		return o, fmt.Errorf("repeat: %d: choose 1 or more", o.Repeat)
	case o.Soak < 0:
		return o, fmt.Errorf("soak: %v: choose how long", o.Soak)
	case o.Patience < time.Second:
		return o, fmt.Errorf("patience: %v: choose 1 s or more", o.Patience)
	}
	if err := checkTransport(o.Transport); err != nil {
		return o, err
	}
	return o, o.Fault.check()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
