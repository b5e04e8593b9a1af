package api

import "time"

// Version is what runs.
type Version struct {
	Version      string `json:"version" doc:"version of the daemon's binary"`
	Go           string `json:"go" doc:"Go version it was built with"`
	FeatureLevel uint32 `json:"feature_level" doc:"highest feature level this binary understands"`
}

// VIP is one floating address.
type VIP struct {
	Prefix    string `json:"prefix" doc:"the address and the network it lives on" example:"10.77.0.101/24"`
	Advertise string `json:"advertise,omitempty" doc:"public address that SIP messages name instead, behind 1:1 NAT" example:"203.0.113.9"`
}

// GroupSpec asks for a VIP group: addresses that move as one.
type GroupSpec struct {
	Name     string `json:"name,omitempty" doc:"name of the group; default: its first address"`
	VIPs     []VIP  `json:"vips" doc:"one address per attached network" minItems:"1" maxItems:"4"`
	HomeNode string `json:"home_node,omitempty" doc:"node that is preferred as owner; default: the one with the fewest groups"`
}

// InitRequest makes a new cluster.
type InitRequest struct {
	Name   string      `json:"name" doc:"name of this node, unique in the cluster" example:"n1"`
	Listen string      `json:"listen" doc:"IP address of this node for cluster traffic, with or without port (7700)" example:"10.77.0.11"`
	Groups []GroupSpec `json:"groups,omitempty" doc:"VIP groups, best one per node"`
}

// InitAnswer is a cluster with one node.
type InitAnswer struct {
	Node   Node    `json:"node" doc:"this node, now the first member"`
	Token  Token   `json:"token" doc:"token for the second node; for each further one: holdline token create"`
	Checks []Check `json:"checks,omitempty" doc:"what works, but not as it was meant"`
}

// JoinRequest makes this node a member of an existing cluster.
type JoinRequest struct {
	Token  string `json:"token" doc:"from init or token create on a member"`
	Name   string `json:"name" doc:"name of this node, unique in the cluster" example:"n2"`
	Listen string `json:"listen" doc:"IP address of this node for cluster traffic, with or without port (7700)" example:"10.77.0.12"`
}

// JoinAnswer is sent once the node has caught up.
type JoinAnswer struct {
	Node    Node    `json:"node" doc:"this node"`
	Voter   bool    `json:"voter" doc:"true: counts for majorities; false: the second of two, waits for a third"`
	Message string  `json:"message" doc:"one line for the operator" example:"voter; the cluster survives the loss of any 1 node"`
	Checks  []Check `json:"checks,omitempty" doc:"what was measured on the way in"`
}

// TokenRequest asks for a join token.
type TokenRequest struct {
	ValidSeconds int `json:"valid_seconds,omitempty" doc:"how long the token may be used, in seconds; 0 = one hour" minimum:"0" maximum:"604800"`
}

// Token lets one node join, once.
type Token struct {
	Token   string    `json:"token" doc:"the secret: shown once, stored hashed"`
	Expires time.Time `json:"expires" doc:"it is refused after this"`
}

// Node states, as this node sees them.
const (
	NodeAlive   = "alive"
	NodeSuspect = "suspect" // no gossip from it for a moment
	NodeDead    = "dead"
	NodeUnknown = "unknown" // never heard since this node started
)

// Node is one member.
type Node struct {
	Number       uint32            `json:"number" doc:"never used again after a node has gone"`
	UUID         string            `json:"uuid"`
	Name         string            `json:"name"`
	Listen       string            `json:"listen" doc:"address and port for cluster traffic"`
	State        string            `json:"state" doc:"alive, suspect, dead or unknown, as this node sees it" enum:"alive,suspect,dead,unknown"`
	Self         bool              `json:"self" doc:"the node that answers"`
	Leader       bool              `json:"leader" doc:"the raft leader"`
	Voter        bool              `json:"voter" doc:"counts for majorities"`
	Draining     bool              `json:"draining" doc:"owns nothing and takes nothing"`
	Guard        bool              `json:"guard" doc:"its guard process is known to work"`
	LogFault     string            `json:"log_fault,omitempty" doc:"why it cannot write its raft log; none: it can" example:"its disk is full"`
	SIPFault     string            `json:"sip_fault,omitempty" doc:"which SIP sockets it could not open on the VIPs, and why; none: all are open" example:"5060/udp: address already in use"`
	Unfit        map[string]string `json:"unfit,omitempty" doc:"VIP groups that its guard could not hold, and why, by name"`
	Version      string            `json:"version,omitempty"`
	FeatureLevel uint32            `json:"feature_level,omitempty"`
	LastHeard    time.Time         `json:"last_heard,omitzero" doc:"when this node last heard of it"`
	Groups       []string          `json:"groups,omitempty" doc:"names of the VIP groups it owns"`
	WorstGapUS   int64             `json:"worst_gap_us,omitempty" doc:"longest silence between its lease heartbeats that this node's guard has seen, in microseconds; one of more than a second is an absence and does not count"`
}

// Group is a VIP group and who owns it.
type Group struct {
	Number   uint32    `json:"number"`
	Name     string    `json:"name"`
	VIPs     []VIP     `json:"vips"`
	HomeNode string    `json:"home_node,omitempty" doc:"name of the node preferred as owner"`
	Owner    string    `json:"owner,omitempty" doc:"name of the node that holds the lease; none: nobody does, or see unknown"`
	Unknown  bool      `json:"unknown,omitempty" doc:"this node cannot know who holds the lease, for it reaches no majority of the voters: another one may"`
	Epoch    uint64    `json:"epoch,omitempty" doc:"ballot of the lease"`
	Since    time.Time `json:"since,omitzero" doc:"when the owner took it"`
	Calls    int       `json:"calls" doc:"calls whose home it is"`
	Checks   []Check   `json:"checks,omitempty" doc:"in the answer to an addition: what works, but not as it was meant"`
}

// HA levels.
const (
	HAYes          = "yes"
	HADegraded     = "degraded" // it works, but less is protected than could be
	HANo           = "no"       // it does not work, or the next fault ends it
	HAUnconfigured = "unconfigured"
)

// HA is the answer to the one question.
type HA struct {
	Level    string    `json:"level" doc:"yes, degraded, no or unconfigured" enum:"yes,degraded,no,unconfigured"`
	Survives int       `json:"survives" doc:"how many more nodes may be lost, any of them"`
	Summary  string    `json:"summary" doc:"one line, shown after 'HA: '" example:"yes, survives the loss of any 1 node"`
	Problems []Problem `json:"problems,omitempty" doc:"what is wrong and what to do, worst first"`
}

// Problem is something an operator should mend.
type Problem struct {
	What string `json:"what" doc:"what is lost or at risk" example:"node n3 has been dead for 12 s"`
	Do   string `json:"do,omitempty" doc:"what to do" example:"mend it, or replace it: holdline node remove n3"`
}

// Raft is the replicated log as this node sees it.
type Raft struct {
	State         string `json:"state" doc:"leader, follower, candidate or shutdown"`
	Leader        string `json:"leader,omitempty" doc:"name of the leader, none: there is none"`
	Term          uint64 `json:"term"`
	LastIndex     uint64 `json:"last_index" doc:"last entry in this node's log"`
	CommitIndex   uint64 `json:"commit_index"`
	AppliedIndex  uint64 `json:"applied_index"`
	LastContactMS int64  `json:"last_contact_ms" doc:"milliseconds since the leader was heard; 0 on the leader, -1 never"`
	Voters        int    `json:"voters"`
	FeatureLevel  uint32 `json:"feature_level" doc:"the cluster's"`
	FsyncP99US    int64  `json:"fsync_p99_us" doc:"99th percentile of this node's recent synced log writes, in microseconds; 0: none yet"`
}

// Counts are rows of the replicated tables.
type Counts struct {
	Domains       int `json:"domains"`
	Users         int `json:"users"`
	Registrations int `json:"registrations" doc:"contact bindings"`
	Calls         int `json:"calls" doc:"calls being set up or established"`
	Unrecorded    int `json:"unrecorded_calls" doc:"calls of which something is not in the replicated table yet, for lack of a raft leader"`
}

// Status is the whole picture from one node.
type Status struct {
	HA      HA        `json:"ha"`
	Node    string    `json:"node,omitempty" doc:"name of the node that answers"`
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	Nodes   []Node    `json:"nodes"`
	VIPs    []Group   `json:"vips"`
	Raft    Raft      `json:"raft"`
	Counts  Counts    `json:"counts"`
}

// Check results.
const (
	CheckOK   = "ok"
	CheckWarn = "warn"
	CheckFail = "fail"
)

// Check is one finding of doctor or of the checks of join.
type Check struct {
	Name   string `json:"name" example:"fsync"`
	Result string `json:"result" enum:"ok,warn,fail"`
	Detail string `json:"detail" doc:"what was measured" example:"p99 1.2 ms over 64 writes"`
	Advice string `json:"advice,omitempty" doc:"what to do about it"`
}

// RemoveNodeRequest says how.
type RemoveNodeRequest struct {
	Force bool `json:"force,omitempty" doc:"also a node that is alive"`
}

// RecoverRequest confirms that the majority is lost for good.
type RecoverRequest struct {
	Off []string `json:"off" doc:"names of all other nodes: each is confirmed to be off, and leaves the cluster" minItems:"1" maxItems:"255"`
}

// RestoreRequest says how.
type RestoreRequest struct {
	Force bool `json:"force,omitempty" doc:"also when the cluster has domains or pools: they are replaced"`
}

// RestoreAnswer is what a restored cluster has got.
type RestoreAnswer struct {
	Domains      int      `json:"domains"`
	Users        int      `json:"users"`
	Pools        int      `json:"pools"`
	Routes       int      `json:"routes"`
	Certificates int      `json:"certificates" doc:"those that this cluster's key opens; the notes name the others"`
	Settings     int      `json:"settings" doc:"settings that were changed"`
	Notes        []string `json:"notes,omitempty" doc:"what could not be taken over as it was"`
}

// LeaveRequest says how.
type LeaveRequest struct {
	Force bool `json:"force,omitempty" doc:"also when the cluster is then no longer highly available, or this node reaches no majority of it"`
}

// LeaveAnswer is sent when the node is out of the cluster, or has turned its back on it.
type LeaveAnswer struct {
	Notes []string `json:"notes,omitempty" doc:"what is left to do elsewhere"`
}

// MoveRequest names the next owner.
type MoveRequest struct {
	To string `json:"to,omitempty" doc:"name of the node; default: the best other one"`
}

// Upgrade is what finishing an upgrade came to.
type Upgrade struct {
	Before       uint32 `json:"before" doc:"the cluster's feature level until now"`
	FeatureLevel uint32 `json:"feature_level" doc:"the cluster's feature level: every node runs a release that knows it"`
}

// DrainRequest says whether a node is to be drained.
type DrainRequest struct {
	Draining bool `json:"draining"`
}
