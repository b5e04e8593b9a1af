package api

import "time"

// CDR is what remains of a call that is over. The files in a node's cdr directory hold one per line.
type CDR struct {
	Number     uint64    `json:"number" doc:"1, 2, 3… in the order in which calls ended; the same on every node"`
	Call       uint64    `json:"call" doc:"number of the call"`
	CallID     string    `json:"call_id"`
	From       string    `json:"from" doc:"URI of the From header"`
	To         string    `json:"to" doc:"URI of the To header"`
	FromTag    string    `json:"from_tag,omitempty"`
	ToTag      string    `json:"to_tag,omitempty" doc:"of the leg that answered, else of the last one tried"`
	Domain     string    `json:"domain,omitempty"`
	Caller     string    `json:"caller,omitempty" doc:"user@domain that authenticated, or pool/member that the call came from"`
	Callee     string    `json:"callee,omitempty" doc:"user@domain or pool/member of the leg that answered, else of the last one tried"`
	CalleeURI  string    `json:"callee_uri,omitempty" doc:"Request-URI of that leg"`
	Home       string    `json:"home" doc:"name of the VIP group that the call hung off"`
	Created    time.Time `json:"created" doc:"wall clock; steps of it do not show in setup_ms and duration_ms"`
	Answered   time.Time `json:"answered,omitzero"`
	Ended      time.Time `json:"ended"`
	SetupMs    int64     `json:"setup_ms" doc:"until it was answered, or ended unanswered"`
	DurationMs int64     `json:"duration_ms" doc:"from the answer to the end"`
	Status     uint32    `json:"status" doc:"final SIP status that the caller got; 0: none"`
	Cause      string    `json:"cause" doc:"bye-caller, bye-callee, cancelled, rejected, no-answer, timed-out, lost, or what ended it"`
	Legs       uint32    `json:"legs" doc:"phones and gateways tried"`
}

// CDRFilter says which CDRs to list.
type CDRFilter struct {
	Since    uint64 // those after this number
	Latest   bool   // the last Limit ones instead
	Consumer string // those after the consumer's cursor instead
	Limit    int    // at most so many; 0 or more than MaxCDRs: MaxCDRs
	WaitS    int    // when there is none: so many seconds for the next
}

// MaxCDRs is how many CDRs one answer holds at most, and MaxCDRWait for how many seconds it waits for one.
const (
	MaxCDRs    = 10_000
	MaxCDRWait = 5
)

// CDRs is a run of CDRs without a hole.
type CDRs struct {
	Last   uint64 `json:"last" doc:"number of the last CDR made"`
	Next   uint64 `json:"next" doc:"cursor: what to give as since to go on"`
	Missed uint64 `json:"missed,omitempty" doc:"CDRs after since that are not kept in the cluster any more; the nodes' files may have them"`
	CDRs   []CDR  `json:"cdrs"`
}

// CallCount is a number of calls of something.
type CallCount struct {
	Name  string `json:"name"`
	Calls int    `json:"calls"`
}

// CallCounts are the calls going on, counted in the replicated table: the same on every node that has applied as much.
type CallCounts struct {
	Total   int         `json:"total"`
	Domains []CallCount `json:"domains"`
	Members []CallCount `json:"members" doc:"by pool/member"`
	Users   []CallCount `json:"users" doc:"by user@domain: calling, being rung, or talking"`
}
