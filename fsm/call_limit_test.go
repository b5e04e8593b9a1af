package fsm

import (
	"bytes"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdline/fsm/pb"
)

// callOf is a call that a user makes, or a gateway.
func callOf(origin, key string) *pb.Command {
	c := newCall(key)
	c.GetCreateCall().Origin = origin
	return c
}

// perUser is what every user may make at once, unless he has a number of his own; "": any number.
func perUser(n string) *pb.Command {
	return cmd(&pb.PutSetting{Name: SettingMaxPerUser, Value: n})
}

func maxCalls(aor string, n uint32) *pb.Command {
	return cmd(&pb.ChangeUser{Aor: aor, MaxCalls: &n})
}

// TestCallsPerUser: as many calls as the setting says may a user make at once, or as many as he himself is given. It is no matter who calls him, nor what state they
// are in; an emergency call is let in all the same.
func TestCallsPerUser(t *testing.T) {
	const who = "user1@example.com"
	r := cluster(t)
	full := func(key string, n int) {
		t.Helper()
		r.refused(callOf(who, key), pb.Code_CALLER_LIMIT, fmt.Sprintf("more calls at once than the %d that user1@example.com may make", n))
	}
	for i := range 9 { // none is set
		r.must(callOf("user0@example.com", fmt.Sprint("free", i)))
	}
	r.must(perUser("2"))
	first := r.must(callOf(who, "k1")).Id
	r.must(callOf(who, "k2"))
	full("k3", 2)
	if got := r.do(callOf(who, "k1")); got.Code != pb.Code_OK || !got.Existing || got.Id != first { // a retransmission
		t.Errorf("the same call again: %v", got)
	}
	r.refused(callOf("user0@example.com", "k4"), pb.Code_CALLER_LIMIT, "more calls at once than the 2 that user0@example.com may make") // of his nine none is ended
	r.must(callOf("user2@example.com", "k4"), callOf("carriers/gw1", "k5"), callOf("", "k6"))
	toHim := callOf("user3@example.com", "k7")
	toHim.GetCreateCall().Targets[0].Aor = who
	r.must(toHim)
	sos := callOf(who, "k8")
	sos.GetCreateCall().Emergency = true
	r.must(sos)
	full("k9", 2)
	if made, part := r.CallsMade(who), r.UserCalls(who); made != 3 || part != 4 {
		t.Errorf("he makes %d calls and is in %d", made, part)
	}

	r.must(maxCalls(who, 4), callOf(who, "k9"))
	full("k10", 4)
	r.must(maxCalls(who, 1))
	full("k10", 1)
	r.must(maxCalls(who, 0))
	full("k10", 2)
	r.must(perUser(""), callOf(who, "k10"))
	r.must(perUser("5"))
	full("k11", 5)

	r.must(cmd(&pb.AnswerCall{Call: first, Home: 1, Epoch: 5, ToTag: "a"}))
	full("k11", 5)
	r.must(cmd(&pb.EndCall{Call: first, Home: 1, Epoch: 5, ToTag: "a"}), callOf(who, "k11"))
	full("k12", 5)
	r.must(cmd(&pb.Takeover{Group: 1, Epoch: 6, Node: "u2"}))
	late := newReplica(t)
	if err := late.Restore(bytes.NewReader(r.bytes())); err != nil {
		t.Fatal(err)
	}
	after := callOf(who, "k12")
	after.GetCreateCall().Epoch = 6
	for _, m := range []*replica{r, late} {
		m.refused(after, pb.Code_CALLER_LIMIT, "more calls at once than the 5 that user1@example.com may make")
	}
	r.must(cmd(&pb.RemoveUser{Aor: who})) // his calls go on, and count when he comes back
	r.refused(after, pb.Code_CALLER_LIMIT, "more calls at once than the 5 that user1@example.com may make")
	r.must(cmd(&pb.PutUser{User: &pb.User{Aor: who, Ha1Md5: make([]byte, 16), MaxCalls: 6}}), after)
	checkDerived(t, r.Machine)
}

// TestRefusedBeforeATurn: a call that is refused for its caller does not move a pool's turn on.
func TestRefusedBeforeATurn(t *testing.T) {
	r := cluster(t)
	r.must(maxCalls("user1@example.com", 1), callOf("user1@example.com", "k1"))
	c := poolCall("k2", 0)
	c.GetCreateCall().Origin = "user1@example.com"
	if got := r.do(c); got.Code != pb.Code_CALLER_LIMIT {
		t.Fatal(got)
	}
	if n := r.Call(r.must(poolCall("k3", 0)).Id).Legs[0].Target.Member; n != "gw1" {
		t.Errorf("the first turn is %s's", n)
	}
}

// TestLimitOfUserStays: another password leaves a user's limit as it is, other names too; it comes out of a snapshot.
func TestLimitOfUserStays(t *testing.T) {
	r := withUser(t)
	is := func(say string, want uint32) {
		t.Helper()
		late := newReplica(t)
		if err := late.Restore(bytes.NewReader(r.bytes())); err != nil {
			t.Fatal(err)
		}
		for _, m := range []*replica{r, late} {
			if got := m.Config().UserNamed("alice@example.com").MaxCalls; got != want {
				t.Errorf("%s: %d, want %d", say, got, want)
			}
		}
	}
	is("new", 0)
	if got := r.must(maxCalls("101@example.com", 3)); got.Existing {
		t.Error("it is said that nothing is changed")
	}
	if got := r.must(maxCalls("101@example.com", 3)); !got.Existing {
		t.Error("nothing is changed, and that is not said")
	}
	is("changed", 3)
	r.must(cmd(&pb.PutUser{User: &pb.User{Aor: "101@example.com", Ha1Md5: []byte("0123456789abcdef")}}), addAliases("101@example.com", "x"))
	is("another password", 3)
	r.refused(cmd(&pb.PutUser{User: &pb.User{Aor: "101@example.com", Ha1Md5: make([]byte, 16), MaxCalls: 4}}), pb.Code_REJECTED,
		"user 101@example.com exists already: his limit of calls is changed with `holdline user set 101@example.com --max-calls`")
	r.must(maxCalls("101@example.com", 0))
	is("taken away", 0)
	r.must(cmd(&pb.PutUser{User: &pb.User{Aor: "105@example.com", Ha1Md5: make([]byte, 16), MaxCalls: 7}}))
	if got := r.Config().User("105@example.com").MaxCalls; got != 7 {
		t.Errorf("a new one has %d", got)
	}
}

// madeIn counts the calls that users make by the rows alone.
func madeIn(m *Machine) map[string]int {
	out := map[string]int{}
	m.Calls(func(c *Call) bool {
		if c.Active() && strings.Contains(c.Origin, "@") {
			out[c.Origin]++
		}
		return true
	})
	return out
}

// TestCallsMadeAreExact: after every command, whatever comes between, what is counted for a user is what the rows say, and a call is refused for it if and only if
// they say that he makes as many as he may. Now and then a replica goes on from a snapshot.
func TestCallsMadeAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := cluster(t)
		r.must(perUser(rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(t, "limit")))
		for range rapid.IntRange(1, 80).Draw(t, "commands") {
			r.time += rapid.SampledFrom([]int64{0, 1, 1000, 40_000, 200_000}).Draw(t, "ms")
			c := drawCommand(t)
			create := c.GetCreateCall()
			before := madeIn(r.Machine)
			limit := 0
			if create != nil {
				limit, _ = strconv.Atoi(r.Config().Setting(SettingMaxPerUser, "0"))
				if u := r.Config().User(create.Origin); u != nil && u.MaxCalls > 0 {
					limit = int(u.MaxCalls)
				}
			}
			why := ""
			if create != nil {
				why = r.OverLimit(create)
			}
			got := r.do(c)
			over := limit > 0 && before[create.GetOrigin()] >= limit && !create.GetEmergency()
			switch {
			case create == nil:
			case got.Code == pb.Code_CALLER_LIMIT && !over, got.Code == pb.Code_OK && !got.Existing && over:
				t.Fatalf("%v %s: %s makes %d calls and may make %d", got.Code, got.Error, create.Origin, before[create.Origin], limit)
			case got.Code == pb.Code_CALLER_LIMIT && why != got.Error, got.Code == pb.Code_OK && why != "":
				t.Fatalf("before it would have been %q, then it is %v %q", why, got.Code, got.Error)
			}
			counted := map[string]int{}
			for aor, n := range r.st.calls.byUser {
				if n.made != 0 {
					counted[aor] = int(n.made)
				}
				if n.made < 0 || n.part < n.made || n.part == 0 {
					t.Fatalf("%s: %+v", aor, n)
				}
			}
			if want := madeIn(r.Machine); !maps.Equal(counted, want) {
				t.Fatalf("after %v: %v are counted, %v made", c, counted, want)
			}
			if rapid.IntRange(0, 9).Draw(t, "restored") == 0 {
				if err := r.Restore(bytes.NewReader(r.bytes())); err != nil {
					t.Fatal(err)
				}
			}
		}
		checkDerived(t, r.Machine)
	})
}

// TestLimitOfCatchUp: what was let in while nothing could be committed is entered, however many there are, and counts from then on.
func TestLimitOfCatchUp(t *testing.T) {
	const who = "user1@example.com"
	r := cluster(t)
	r.must(perUser("1"))
	for i := range 3 {
		c := callOf(who, fmt.Sprint("k", i)).GetCreateCall()
		r.must(cmd(&pb.CatchUpCall{Call: OwnNumber(c.Key, 1), Home: 1, Epoch: 5, Create: c}))
	}
	if n := r.CallsMade(who); n != 3 {
		t.Errorf("%d are counted", n)
	}
	if got := r.do(callOf(who, "more")); got.Code != pb.Code_CALLER_LIMIT {
		t.Error(got)
	}
	for i := range 3 {
		r.must(cmd(&pb.EndCall{Call: OwnNumber(fmt.Append(nil, "k", i), 1), Home: 1, Epoch: 5}))
	}
	r.must(callOf(who, "more"))
	if n := r.CallsMade(who); n != 1 {
		t.Errorf("%d are counted", n)
	}
}
