package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"holdline/deploy/lab/scenario"
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
	// SetupOnBroken are calls of the other kinds that a broken connection hit before they were established. They may fail, and do not
	// count against the verdict.
	SetupOnBroken Count `json:"setup_on_broken_connection"`
}

type namedCount struct {
	name  string
	count Count
}

// kinds lists the counts by their names, in the report's order.
func (c Calls) kinds() []namedCount {
	return []namedCount{
		{string(scenario.Established), c.Established},
		{string(scenario.Ringing), c.Ringing},
		{string(scenario.Cancelled), c.Cancelled},
		{string(scenario.Setup), c.Setup},
	}
}

// Uncounted are calls that were lost and do not count against the verdict, with the reason.
type Uncounted struct {
	Kind string `json:"kind"`
	Lost int    `json:"lost"`
	Why  string `json:"why"`
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
	Uncounted             []Uncounted   `json:"uncounted,omitempty"`
}

// uncounted adds calls that were lost and do not count.
func (o *Outcome) uncounted(kind string, lost int, why string) {
	for i, u := range o.Uncounted {
		if u.Kind == kind && u.Why == why {
			o.Uncounted[i].Lost += lost
			return
		}
	}
	o.Uncounted = append(o.Uncounted, Uncounted{kind, lost, why})
}

func (o Outcome) uncountedOf(kind string) int {
	n := 0
	for _, u := range o.Uncounted {
		if u.Kind == kind {
			n += u.Lost
		}
	}
	return n
}

// Round is one fault and what came of it.
type Round struct {
	Outcome
	Number        int              `json:"round"`
	Why           []string         `json:"why,omitempty"`    // why the verdict is fail
	Leader        bool             `json:"leader"`           // the node was raft leader
	VIPs          []VIPRound       `json:"vips"`             // every VIP, those that the fault befell first
	PatienceS     float64          `json:"patience_s"`       // of the phones in this round
	Losses        []Loss           `json:"losses,omitempty"` // one per lost call or registration
	Capture       CaptureStats     `json:"capture"`
	Seconds       float64          `json:"seconds"`
	Warnings      []string         `json:"warnings,omitempty"`
	SpuriousMoves int              `json:"spurious_moves"`          // of VIPs, without need
	MachineMoves  int              `json:"machine_moves,omitempty"` // after the machine itself had stood still; soak only
	Breaks        *Breaks          `json:"broken_connections,omitempty"`
	Setups        map[string]int64 `json:"setup_answer_us,omitempty"` // p50, p99, max: INVITE to 200 of the short calls
}

// Breaks says how many connections of phones broke after the fault, and when the phones noticed, relative to it.
type Breaks struct {
	Connections int     `json:"connections"`
	P50MS       float64 `json:"p50_ms"`
	MaxMS       float64 `json:"max_ms"`
}

// VIPRound is one VIP during one round.
type VIPRound struct {
	VIP           string  `json:"vip"`
	Hit           bool    `json:"hit"`   // the fault befell its owner
	Moved         bool    `json:"moved"` // and another node took it over
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
	// Uncounted is why the loss does not count against the verdict.
	Uncounted string `json:"uncounted,omitempty"`
}

// CaptureStats says how complete the capture on the switch was.
type CaptureStats struct {
	Frames  int `json:"frames"`
	Dropped int `json:"dropped"` // by the kernel for want of room: any makes the owner count worthless
	// Missing is why there was none, in a live drill: owners were not counted then.
	Missing string `json:"missing,omitempty"`
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
	Seed      uint64     `json:"seed"`
	Nodes     int        `json:"nodes"`
	CPS       int        `json:"cps"`
	Transport string     `json:"transport"`
	GapP50MS  float64    `json:"vip_gap_p50_ms"`
	GapP99MS  float64    `json:"vip_gap_p99_ms"`
	Seconds   float64    `json:"seconds"`
	Why       []string   `json:"why,omitempty"`
	Machine   Machine    `json:"machine"`
	LogDir    string     `json:"log_dir,omitempty"` // kept on failure
	Rounds    []Round    `json:"rounds"`
	PatienceS float64    `json:"patience_s"`
	ByFault   []FaultSum `json:"by_fault,omitempty"` // when the rounds had several faults
	Soak      *Soak      `json:"soak,omitempty"`
	Cases     []Case     `json:"cases,omitempty"` // of the fault suite
	// Partial says that the drill was broken off, or could not go on: what there is was measured, the rest was not.
	Partial bool `json:"partial,omitempty"`
}

// FaultSum is what the rounds of one fault came to. Gaps are of the VIPs that it befell.
type FaultSum struct {
	Fault    Fault   `json:"fault"`
	Rounds   int     `json:"rounds"`
	Failed   int     `json:"failed"`
	Moved    int     `json:"moved"` // VIPs that another node took over
	GapP50MS float64 `json:"vip_gap_p50_ms"`
	GapMaxMS float64 `json:"vip_gap_max_ms"`
	Calls    Count   `json:"calls"` // of every kind
}

// byFault sums the rounds up by fault, when there are several.
func (rep *Report) byFault() {
	rep.ByFault = nil
	gaps := map[Fault][]float64{}
	for _, r := range rep.Rounds {
		i := slices.IndexFunc(rep.ByFault, func(s FaultSum) bool { return s.Fault == r.Fault })
		if i < 0 {
			i = len(rep.ByFault)
			rep.ByFault = append(rep.ByFault, FaultSum{Fault: r.Fault})
		}
		s := &rep.ByFault[i]
		s.Rounds++
		if r.Verdict != VerdictPass {
			s.Failed++
		}
		for _, k := range r.Calls.kinds() {
			s.Calls.add(k.count)
		}
		for _, v := range r.VIPs {
			if v.Hit {
				gaps[r.Fault] = append(gaps[r.Fault], v.GapMS)
			}
			if v.Moved {
				s.Moved++
			}
		}
	}
	if len(rep.ByFault) < 2 {
		rep.ByFault = nil
	}
	for i := range rep.ByFault {
		s := &rep.ByFault[i]
		if g := gaps[s.Fault]; len(g) > 0 {
			slices.Sort(g)
			s.GapP50MS, s.GapMaxMS = percentile(g, 50), g[len(g)-1]
		}
	}
	slices.SortFunc(rep.ByFault, func(a, b FaultSum) int { return cmp.Compare(a.Fault, b.Fault) })
}

// failed says whether anything that was done has failed.
func (r Report) failed() bool {
	return slices.ContainsFunc(r.Rounds, func(r Round) bool { return r.Verdict != VerdictPass }) ||
		slices.ContainsFunc(r.Cases, func(c Case) bool { return c.Verdict != VerdictPass })
}

// partial makes a report of a drill that did not come to its end, if it has anything to tell. What was not done has not passed.
func (r *Report) partial() {
	done := len(r.Rounds) + len(r.Cases)
	r.Partial = done > 0
	r.Verdict = VerdictFail
	r.Why = append(r.Why, fmt.Sprintf("the drill ended before its last round or case; carried out: %d", done))
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
