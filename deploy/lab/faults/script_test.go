package faults

import (
	"slices"
	"strings"
	"testing"
)

func TestEveryTranscriptReads(t *testing.T) {
	scripts, err := Scripts()
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) < 30 {
		t.Errorf("%d transcripts; every message boundary has one", len(scripts))
	}
	for _, s := range scripts {
		if s.About == "" || len(s.Steps) < 2 {
			t.Errorf("%s says nothing", s.Name)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"faults: kill\ncaller sends BYE":                                    "`fault when`",
		"faults: kill\nfault when caller shouts BYE":                        "sends or receives",
		"faults: kill\nfault when bystander sends BYE":                      "caller, callee and spare",
		"to: nowhere\nfaults: kill":                                         "registrar",
		"fault when caller sends BYE":                                       "`faults:`",
		"colour: red":                                                       "not known",
		"faults: kill\nfault when caller sends BYE\nfault when x":           "PHONE sends|receives MESSAGE",
		"faults: x\nfault when caller sends BYE\nfault when caller sends A": "one `fault when`",
	} {
		if _, err := Parse("t", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func TestMessagesMatch(t *testing.T) {
	for _, x := range []struct {
		raw, want string
		match     bool
	}{
		{"BYE sip:a@b SIP/2.0\r\nCSeq: 2 BYE\r\ni: x\r\n\r\n", "BYE", true},
		{"SIP/2.0 200 OK\r\nCSeq: 2 BYE\r\n\r\n", "200 to BYE", true},
		{"SIP/2.0 200 OK\r\nCSeq: 2 BYE\r\n\r\n", "200", false}, // without a method: to INVITE
		{"SIP/2.0 200 OK\r\nCSeq: 2 INVITE\r\n\r\n", "200", true},
		{"INVITE sip:a@b SIP/2.0\r\nCSeq: 2 INVITE\r\n\r\n", "INVITE with credentials", false},
		{"INVITE sip:a@b SIP/2.0\r\nProxy-Authorization: Digest\r\nCSeq: 2 INVITE\r\n\r\n", "INVITE with credentials", true},
	} {
		step, err := parseStep("caller receives " + x.want)
		if err != nil {
			t.Fatal(err)
		}
		seen, _, ok := describe([]byte(x.raw))
		if !ok || step.Message.matches(seen) != x.match {
			t.Errorf("%q is %+v (%v); matches %q should be %v", x.raw, seen, ok, x.want, x.match)
		}
	}
}

// What the phones saw decides what the call's detail record must say.
func TestOutcome(t *testing.T) {
	for name, want := range map[string]Outcome{
		"72-bye-answered": {Cause: "bye-callee", Status: 200}, "70-bye-in-flight": {Cause: "bye-caller", Status: 200},
		"40-busy": {Cause: "rejected", Status: 486}, "30-cancel-in-flight": {Cause: "cancelled", Status: 487},
		"46-diverted": {Cause: "rejected", Status: 486, Records: 2},
	} {
		scripts, err := Scripts()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(scripts, func(s Script) bool { return s.Name == name })
		if i < 0 {
			t.Fatalf("no transcript is called %s", name)
		}
		c := Call{callIDs: []string{"x"}}
		if want.Records == 0 {
			want.Records = 1
		} else {
			c.Divert = "u005"
		}
		for _, s := range scripts[i].Steps {
			c.saw(s)
		}
		want.CallID = "x"
		if got, ok := c.Outcome(); !ok || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, ok, want)
		}
	}
	if _, ok := (&Call{callIDs: []string{"x"}}).Outcome(); ok {
		t.Error("a call whose end nobody saw has an outcome")
	}
}
