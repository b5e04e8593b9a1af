package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdline/deploy/lab/phone"
	"holdline/deploy/lab/scenario"
	"holdline/deploy/lab/userns"
)

func TestMain(m *testing.M) {
	userns.ForTests()
	goleak.VerifyTestMain(m)
}

// good is a round in which nothing went wrong.
func good() *round {
	r := &round{drill: &drill{o: Options{Calls: 200}, handsets: &handsets{phones: make([]*phone.Phone, 200)}}}
	r.out = Round{Number: 1, Outcome: Outcome{
		Fault: FaultCable, Node: "n2", VIPGapMS: 81.5, MaxSimultaneousOwners: 1, RejoinS: 1.5,
		Calls:         Calls{Established: Count{Total: 200}, Ringing: Count{Total: 100}, Cancelled: Count{Total: 50}, Setup: Count{Total: 900}},
		Registrations: Registrations{Acknowledged: 200},
	}, VIPs: []VIPRound{{VIP: "10.77.0.102", Hit: true, Moved: true, GapMS: 81.5}, {VIP: "10.77.0.101", GapMS: 20}}}
	return r
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Round)
		want   string
	}{
		{"all is well", func(*Round) {}, VerdictPass},
		{"an established call lost", func(r *Round) { r.Calls.Established.Lost = 1 }, VerdictFail},
		{"a ringing call lost", func(r *Round) { r.Calls.Ringing.Lost = 1 }, VerdictFail},
		{"a cancelled call lost", func(r *Round) { r.Calls.Cancelled.Lost = 1 }, VerdictFail},
		{"a set-up call lost", func(r *Round) { r.Calls.Setup.Lost = 1 }, VerdictFail},
		{"set-up calls lost without a majority", func(r *Round) { r.Calls.Setup.Lost = 2; r.uncounted("setup", 2, noMajority) }, VerdictPass},
		{"and one more", func(r *Round) { r.Calls.Setup.Lost = 3; r.uncounted("setup", 2, noMajority) }, VerdictFail},
		{"a registration lost", func(r *Round) { r.Registrations.Lost = 1 }, VerdictFail},
		{"two owners", func(r *Round) { r.MaxSimultaneousOwners = 2 }, VerdictFail},
		{"capture incomplete", func(r *Round) { r.Capture.Dropped = 1 }, VerdictFail},
		{"nothing seen at all", func(r *Round) { r.MaxSimultaneousOwners = 0 }, VerdictFail},
		{"calls not placed", func(r *Round) { r.Calls.Established.Total = 0 }, VerdictFail},
		{"phones not registered", func(r *Round) { r.Registrations.Acknowledged = 0 }, VerdictFail},
		{"no HA again", func(r *Round) { r.RejoinS = -1; r.Why = []string{"not highly available again"} }, VerdictFail},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			tt.change(&r.out)
			r.judge()
			if r.out.Verdict != tt.want || (tt.want == VerdictFail) != (len(r.out.Why) > 0) {
				t.Errorf("%s, why %v; want %s", r.out.Verdict, r.out.Why, tt.want)
			}
		})
	}
}

func TestSum(t *testing.T) {
	var rep Report
	for i, gap := range []float64{80, 95, 60} {
		r := good()
		r.judge()
		r.out.Number, r.out.VIPGapMS, r.out.VIPs[0].GapMS = i+1, gap, gap
		rep.Rounds = append(rep.Rounds, r.out)
	}
	rep.sum()
	if rep.Verdict != VerdictPass || rep.VIPGapMS != 95 || rep.GapP50MS != 80 || rep.GapP99MS != 95 ||
		rep.Calls.Setup != (Count{2700, 0}) || rep.ByFault != nil || rep.Registrations.Acknowledged != 600 || rep.RejoinS != 1.5 {
		t.Errorf("%+v", rep.Outcome)
	}
	rep.Rounds[1].Verdict, rep.Rounds[1].RejoinS = VerdictFail, -1
	rep.sum()
	if rep.Verdict != VerdictFail || rep.RejoinS != -1 {
		t.Errorf("one round failed: %+v", rep.Outcome)
	}
	var none Report
	none.sum()
	if none.Verdict != VerdictFail {
		t.Error("no round, but a pass")
	}
}

// The object that other programs read.
func TestReportJSON(t *testing.T) {
	r := good()
	r.judge()
	rep := Report{Outcome: Outcome{Fault: FaultCable}, Rounds: []Round{r.out}}
	rep.sum()
	path := filepath.Join(t.TempDir(), "build", "drill.json")
	if err := rep.WriteJSON(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var top, calls map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"verdict": `"pass"`, "fault": `"cable"`, "node": `"n2"`, "vip_gap_ms": "81.5", "max_simultaneous_owners": "1", "rejoin_s": "1.5",
	} {
		if string(top[key]) != want {
			t.Errorf("%s is %s, want %s", key, top[key], want)
		}
	}
	if err := json.Unmarshal(top["calls"], &calls); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]Count{"established": {200, 0}, "ringing": {100, 0}, "cancelled": {50, 0}, "setup": {900, 0}} {
		var got Count
		if err := json.Unmarshal(calls[kind], &got); err != nil || got != want {
			t.Errorf("calls.%s is %s, want %+v", kind, calls[kind], want)
		}
	}
	var rounds []map[string]json.RawMessage
	if err := json.Unmarshal(top["rounds"], &rounds); err != nil || len(rounds) != 1 || string(rounds[0]["vip_gap_ms"]) != "81.5" {
		t.Errorf("rounds is %s", top["rounds"])
	}
	var reg map[string]int
	if err := json.Unmarshal(top["registrations"], &reg); err != nil || reg["acknowledged"] != 200 || reg["lost"] != 0 {
		t.Errorf("registrations is %s", top["registrations"])
	}
	if err := rep.WriteJSON(filepath.Join(path, "below-a-file")); err == nil {
		t.Error("a report that cannot be written is no error")
	}
}

func TestReportText(t *testing.T) {
	r := good()
	r.out.Calls.Established.Lost = 1
	r.out.Losses = []Loss{{Kind: "established", ID: "r1-7", Awaited: "BYE", By: "callee u001", SinceMS: 900}}
	r.judge()
	rep := Report{Rounds: []Round{r.out}, LogDir: "/tmp/x"}
	rep.sum()
	var b strings.Builder
	if err := rep.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if lines[len(lines)-1] != "verdict: fail" {
		t.Errorf("last line %q", lines[len(lines)-1])
	}
	for _, want := range []string{"callee u001 awaited BYE since +900.0 ms", "FAILED: round 1: 1 of 200 established calls were lost", "logs: /tmp/x", "81.5 ms"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestOptions(t *testing.T) {
	o, err := Options{}.withDefaults()
	if err != nil || o.Nodes != 3 || o.Calls != 200 || o.CPS != 50 || o.Phones != 200 || o.Fault != FaultCable || o.Patience != 12*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []Options{{Nodes: 2}, {Nodes: 8}, {Calls: 1}, {CPS: 3000}, {Phones: 9}, {Fault: "earthquake"}, {Repeat: -1}, {Patience: 1}} {
		if _, err := bad.withDefaults(); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// Mixed faults: all of them before one comes again, the same for the same seed, and none that takes the majority.
func TestMixedFaults(t *testing.T) {
	all, err := mixture()
	if err != nil {
		t.Fatal(err)
	}
	order := func(seed uint64) (out []string) {
		for n := range 2 * len(all) {
			f, err := Options{Fault: FaultMixed, Seed: seed}.faultOf(n + 1)
			if err != nil || f.outage != "" || f.prepare == nil {
				t.Fatalf("round %d: %+v, %v", n+1, f, err)
			}
			out = append(out, f.name)
		}
		return out
	}
	one := order(1)
	if !slices.Equal(one, order(1)) || slices.Equal(one, order(2)) {
		t.Error("the seed does not decide the order")
	}
	for _, half := range [][]string{one[:len(all)], one[len(all):]} {
		if once := slices.Compact(slices.Sorted(slices.Values(half))); len(once) != len(all) {
			t.Errorf("%v: want each of %v", half, all)
		}
	}
}

func TestLossesWithoutAMajority(t *testing.T) {
	r := good()
	r.faultAt, r.wholeAt = time.Unix(100, 0), time.Unix(110, 0)
	for _, tt := range []struct {
		outage string
		kind   scenario.Kind
		begun  int64
		want   bool
	}{
		{noMajority, scenario.Setup, 105, true},
		{noMajority, scenario.Setup, 99, false},
		{noMajority, scenario.Setup, 111, false},
		{noMajority, scenario.Established, 105, false},
		{"", scenario.Setup, 105, false},
	} {
		r.trait.outage = tt.outage
		if got := r.excused(scenario.Loss{Kind: tt.kind, Begun: time.Unix(tt.begun, 0)}); got != tt.want {
			t.Errorf("%+v: excused %v", tt, got)
		}
	}
}

func TestSumByFault(t *testing.T) {
	var rep Report
	for i, f := range []Fault{FaultKill, FaultCable, FaultKill} {
		r := good()
		r.out.Fault, r.out.VIPs[0].GapMS = f, float64(60+10*i)
		r.judge()
		rep.Rounds = append(rep.Rounds, r.out)
	}
	rep.sum()
	want := []FaultSum{
		{Fault: FaultCable, Rounds: 1, Moved: 1, GapP50MS: 70, GapMaxMS: 70, Calls: Count{Total: 1250}},
		{Fault: FaultKill, Rounds: 2, Moved: 2, GapP50MS: 60, GapMaxMS: 80, Calls: Count{Total: 2500}},
	}
	if !slices.Equal(rep.ByFault, want) {
		t.Errorf("%+v\nwant %+v", rep.ByFault, want)
	}
}

func TestTokenIn(t *testing.T) {
	for out, want := range map[string]string{
		"holdline join hl1.abc --name NAME --listen ADDRESS\nworks once, until 2026-01-02\n": "hl1.abc", "hl1.abc\n": "hl1.abc", "no token here": "",
	} {
		got, err := tokenIn(out)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", out, got, err, want)
		}
	}
}

func TestPercentile(t *testing.T) {
	if v := []int{1, 2, 3, 4}; percentile(v, 50) != 2 || percentile(v, 99) != 4 || percentile(v[:1], 50) != 1 {
		t.Error("nearest rank")
	}
}
