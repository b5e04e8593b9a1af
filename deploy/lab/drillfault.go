package lab

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// drillSets are the sets of the fault suite that a drill can do too.
var drillSets = []string{"parts", "long", "partition", "loss", "flap", "power", "disk", "storage", "member"}

// Faults lists every fault that Options.Fault may name.
func Faults() []Fault {
	out := []Fault{FaultCable, FaultLeaderCable, FaultKill, FaultFreeze}
	for _, set := range drillSets {
		for _, f := range faultSets[set] {
			out = append(out, Fault(f))
		}
	}
	return append(out, FaultRolling, FaultReplace, FaultNone, FaultMixed)
}

// FaultNames are those names, for a person.
func FaultNames() string {
	var names []string
	for _, f := range Faults() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// unmixed are not among mixed faults: no fault at all, what an operator does, what only root can do, as a seed is to mean the same for
// everybody, and what SIP itself does not get through for sure. With 30 %
// of the frames lost each way, all six INVITEs that fit into the patience, or what answers them, are lost once in fifty.
var unmixed = []Fault{FaultMixed, FaultRolling, FaultReplace, FaultNone, "loss-30", outOfMemory}

// mixture lists the faults of FaultMixed: those that leave a majority, but for unmixed.
func mixture() ([]Fault, error) {
	var out []Fault
	for _, f := range Faults() {
		if slices.Contains(unmixed, f) {
			continue
		}
		t, err := traitOf(string(f))
		if err != nil {
			return nil, err
		}
		if t.outage == "" && !t.disk {
			out = append(out, f)
		}
	}
	return out, nil
}

// faultOf is what befalls a round, counted from 1. Mixed faults come in an order that the seed decides, none again before all have come.
func (o Options) faultOf(round int) (trait, error) {
	if o.Fault != FaultMixed {
		return traitOf(string(o.Fault))
	}
	all, err := mixture()
	if err != nil {
		return trait{}, err
	}
	turn := (round - 1) / len(all)
	rng := rand.New(rand.NewPCG(o.Seed, uint64(turn)))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return traitOf(string(all[(round-1)%len(all)]))
}

// check tells whether a fault is known, and can be done here.
func (f Fault) check() error {
	if !slices.Contains(Faults(), f) {
		return fmt.Errorf("fault: %q is not known; choose one of %s", f, FaultNames())
	}
	if t, err := traitOf(string(f)); err == nil && t.memory {
		if _, _, err := memoryControl(); err != nil {
			return fmt.Errorf("fault %s: %w", f, err)
		}
	}
	return nil
}
