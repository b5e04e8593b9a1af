package lab

import (
	"strings"
	"testing"

	"holdline/deploy/lab/faults"
)

func TestSuitePlan(t *testing.T) {
	scripts, err := faults.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	all, err := plan(SuiteAll)
	if err != nil {
		t.Fatal(err)
	}
	short, err := plan(SuiteShort)
	if err != nil {
		t.Fatal(err)
	}
	if len(short) != len(scripts) || len(all) < 3*len(scripts) {
		t.Errorf("%d transcripts, %d cases in all, %d in short", len(scripts), len(all), len(short))
	}
	one, err := plan("70-*/kill")
	if err != nil || len(one) != 1 || !strings.HasSuffix(one[0].name, "/kill") {
		t.Errorf("a pattern chose %+v, %v", one, err)
	}
	if _, err := plan("nothing/like-it"); err == nil || !strings.Contains(err.Error(), "no case is called") {
		t.Errorf("an unknown case: %v", err)
	}
}
