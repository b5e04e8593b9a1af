package lab

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSoakJudgesMemory(t *testing.T) {
	steady := []float64{40, 80, 82, 85, 83, 90, 88, 86}
	for _, tt := range []struct {
		name string
		mb   []float64
		want string
	}{
		{"warms up and stays", steady, ""},
		{"one minute", []float64{50}, ""},
		{"grows and grows", []float64{40, 80, 160, 240, 320, 400, 480, 560}, "serve on n1 grew from 200 to 520 MiB"},
		{"grows from little to little", []float64{1, 1, 2, 4, 6, 8, 10, 12}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep := Report{Outcome: Outcome{Verdict: VerdictPass}, Soak: &Soak{Nodes: []NodeMemory{{Node: "n1", ServeMB: tt.mb, GuardMB: steady}}}}
			rep.sumSoak()
			if got := strings.Join(rep.Why, "; "); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") || rep.Passed() != (tt.want == "") {
				t.Errorf("%s, because %q; want %q", rep.Verdict, got, tt.want)
			}
		})
	}
}

// Nothing is to move in a round without a fault.
func TestSpuriousMovesFailASoak(t *testing.T) {
	r := good()
	r.trait.none = true
	r.judge()
	if r.out.Verdict != VerdictPass {
		t.Fatalf("%v", r.out.Why)
	}
	r.out.SpuriousMoves = 1
	r.judge()
	if r.out.Verdict != VerdictFail || !slices.Contains(r.out.Why, "1 VIP moves without need") {
		t.Errorf("%s: %v", r.out.Verdict, r.out.Why)
	}
}

func TestSoakRounds(t *testing.T) {
	for d, want := range map[time.Duration]int{time.Second: 1, time.Minute: 1, 61 * time.Second: 2, time.Hour: 60} {
		if got := soakRounds(d); got != want {
			t.Errorf("%v: %d rounds; want %d", d, got, want)
		}
	}
}
