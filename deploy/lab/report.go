package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Verdicts of a drill.
const (
	VerdictPass = "pass"
	VerdictFail = "fail"
)

// Count is how many calls of a kind there were and how many of them were lost.
type Count struct {
	Total int `json:"total"`
	Lost  int `json:"lost"`
}

// Calls counts the calls by the state they were in when the fault came.
type Calls struct {
	Established Count `json:"established"` // answered before the fault
	Ringing     Count `json:"ringing"`     // 180 before the fault, answered after it
	Cancelled   Count `json:"cancelled"`   // 180 before the fault, cancelled about it or after
	Setup       Count `json:"setup"`       // short calls, set up and ended throughout
}

// Registrations counts those that a phone holds a 200 for, and those of them that were gone afterwards.
type Registrations struct {
	Acknowledged int `json:"acknowledged"`
	Lost         int `json:"lost"`
	Unanswered   int `json:"unanswered"` // REGISTERs without a final answer: not lost, but a phone noticed
}

// Outcome is what one fault did. Times are what was measured in that round.
type Outcome struct {
	Verdict               string        `json:"verdict"`
	Fault                 Fault         `json:"fault"`
	Node                  string        `json:"node"`
	VIPGapMS              float64       `json:"vip_gap_ms"` // of the moved VIP, the longest if several moved
	MaxSimultaneousOwners int           `json:"max_simultaneous_owners"`
	Calls                 Calls         `json:"calls"`
	Registrations         Registrations `json:"registrations"`
	RejoinS               float64       `json:"rejoin_s"` // from undoing the fault until every node says HA: yes; negative: never
}

// Round is one fault and what came of it.
type Round struct {
	Outcome
	Number   int              `json:"round"`
	Why      []string         `json:"why,omitempty"`    // why the verdict is fail
	Leader   bool             `json:"leader"`           // the node was raft leader
	VIPs     []VIPRound       `json:"vips"`             // every VIP, the moved ones first
	Losses   []Loss           `json:"losses,omitempty"` // one per lost call or registration
	Capture  CaptureStats     `json:"capture"`
	Seconds  float64          `json:"seconds"`
	Warnings []string         `json:"warnings,omitempty"`
	Setups   map[string]int64 `json:"setup_answer_us,omitempty"` // p50, p99, max: INVITE to 200 of the short calls
}

// VIPRound is one VIP during one round.
type VIPRound struct {
	VIP           string  `json:"vip"`
	Moved         bool    `json:"moved"`
	From          string  `json:"from,omitempty"`
	To            string  `json:"to,omitempty"`
	GapMS         float64 `json:"gap_ms"`           // longest time between the send times of answered probes
	GapStartMS    float64 `json:"gap_start_ms"`     // its start, relative to the fault
	ProbesSent    int     `json:"probes_sent"`      //
	ProbesLost    int     `json:"probes_lost"`      //
	ProbePauseMS  float64 `json:"probe_pause_ms"`   // longest time in which the probe itself sent nothing
	Owners        int     `json:"owners"`           // simultaneous, counted from frames
	Frames        int     `json:"frames"`           // with the VIP as source, seen on the switch
	LastOldMS     float64 `json:"last_old_ms"`      // last frame of the old owner, relative to the fault; 0 when not moved
	FirstNewMS    float64 `json:"first_new_ms"`     // first frame of the new owner, relative to the fault
	Tenures       int     `json:"tenures"`          // ownership periods seen
	TenuresDetail string  `json:"detail,omitempty"` // who, from, to
}

// Loss is one lost call or registration and the reason.
type Loss struct {
	Kind    string  `json:"kind"`
	ID      string  `json:"id"`
	Awaited string  `json:"awaited"` // the message that did not come
	By      string  `json:"by"`      // who awaited it
	SinceMS float64 `json:"since_ms"`
	Detail  string  `json:"detail,omitempty"`
}

// CaptureStats says how complete the capture on the switch was.
type CaptureStats struct {
	Frames  int `json:"frames"`
	Dropped int `json:"dropped"` // by the kernel for want of room: any makes the owner count worthless
}

// Machine is where the drill ran.
type Machine struct {
	Cores       int     `json:"cores"`
	Kernel      string  `json:"kernel"`
	UserNS      bool    `json:"user_namespace"`
	GuardPolicy string  `json:"guard_scheduling"` // as read from the running guard
	FsyncP50MS  float64 `json:"fsync_p50_ms"`
	FsyncMaxMS  float64 `json:"fsync_max_ms"`
	Load        float64 `json:"load_average_before"` // of the minute before: other work makes every figure worse
	TempDir     string  `json:"temp_dir"`
	Binary      string  `json:"binary"`
}

// Report is a whole drill. Its Outcome sums the rounds up: counts are added, times are the worst.
type Report struct {
	Outcome
	Seed      uint64   `json:"seed"`
	Nodes     int      `json:"nodes"`
	CPS       int      `json:"cps"`
	GapP50MS  float64  `json:"vip_gap_p50_ms"`
	GapP99MS  float64  `json:"vip_gap_p99_ms"`
	Seconds   float64  `json:"seconds"`
	Why       []string `json:"why,omitempty"`
	Machine   Machine  `json:"machine"`
	LogDir    string   `json:"log_dir,omitempty"` // kept on failure
	Rounds    []Round  `json:"runs"`
	PatienceS float64  `json:"patience_s"`
	Cases     []Case   `json:"cases,omitempty"` // of the fault suite
}

// Passed tells whether the verdict is pass.
func (r Report) Passed() bool { return r.Verdict == VerdictPass }

// WriteJSON writes the report to a file, whole or not at all, and makes the directory it is to be in.
func (r Report) WriteJSON(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the report to %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".drill-*")
	if err != nil {
		return fmt.Errorf("write the report to %s: %w; name a file in a directory that you may write to", path, err)
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(append(data, '\n')); err != nil {
		tmp.Close()
		return fmt.Errorf("write the report to %s: %w", path, err)
	}
	if err := tmp.Chmod(0o644); err != nil {
		tmp.Close()
		return fmt.Errorf("write the report to %s: %w", path, err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("write the report to %s: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write the report to %s: %w", path, err)
	}
	return nil
}
