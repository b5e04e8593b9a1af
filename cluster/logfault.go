package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
	"holdline/cluster/store"
)

// A node whose raft log takes nothing answers, serves SIP and hears the leader, and yet counts for nothing: what its peers commit is not
// on its disk. Each node tells of itself whether it can write, and why not.

// faultStopped is a fault beside those of the store.
const faultStopped = "raft has stopped there"

// logFault is why this node cannot write its log; "": it can.
func (e *engine) logFault() string {
	if e.raft.State() == raft.Shutdown {
		return faultStopped
	}
	return e.store.Fault()
}

// faultyLogs are nodes that answer and cannot write their log, and why, by name.
type faultyLogs map[string]string

// what is one line: which nodes, and why.
func (f faultyLogs) what() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		out = append(out, fmt.Sprintf("%s cannot write its raft log: %s", name, f[name]))
	}
	return strings.Join(out, "; ")
}

// advice is what to do about one of them.
func (f faultyLogs) advice(name string) string {
	switch f[name] {
	case store.FaultFull:
		return fmt.Sprintf("free some space in the data directory of %s: its log goes on by itself then", name)
	case faultStopped:
		return fmt.Sprintf("systemctl restart holdline on %s, and read its log", name)
	}
	return fmt.Sprintf("check the disk of %s, or replace the node (holdline node remove %s, then join another)", name, name)
}

// summary is both, for the line of HA.
func (f faultyLogs) summary() string {
	return f.what() + ": " + f.advice(slices.Sorted(maps.Keys(f))[0])
}

func (f faultyLogs) problems() []api.Problem {
	var out []api.Problem
	for _, name := range slices.Sorted(maps.Keys(f)) {
		out = append(out, api.Problem{What: fmt.Sprintf("node %s cannot write its raft log: %s", name, f[name]), Do: f.advice(name)})
	}
	return out
}
