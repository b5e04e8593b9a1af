package api

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestMemberAccount: a new member's user comes with a password, a change may leave what is there, and taking the user away takes all.
func TestMemberAccount(t *testing.T) {
	m := Member{Name: "gw1", Address: "a.b", User: "4930123456"}
	if err := m.ValidateNew(); err == nil || !strings.Contains(err.Error(), "user 4930123456 of member gw1 has no password") {
		t.Errorf("without a password: %v", err)
	}
	m.Password, m.Register, m.RegisterS = `p"\ q`, true, 600
	if err := m.ValidateNew(); err != nil {
		t.Error(err)
	}
	for _, long := range []Member{{User: strings.Repeat("u", 129)}, {User: "u", Password: strings.Repeat("p", 129)}, {User: "a b"}, {User: "u", Password: "p\t"}, {User: "\x7f"}, {User: "u", Realm: `"`}, {Realm: "r"}} {
		long.Name, long.Address = "gw1", "a.b"
		if err := long.Validate(); err == nil || strings.Contains(err.Error(), "ppp") {
			t.Errorf("%+v: %v", long, err)
		}
	}
	for _, c := range []struct {
		change MemberChange
		want   Member
		ok     bool
	}{
		{MemberChange{Weight: ptr(uint32(2))}, Member{User: "u", Register: true, RegisterS: 600}, true},
		{MemberChange{User: ptr("v")}, Member{User: "v", Register: true, RegisterS: 600}, true},
		{MemberChange{Register: ptr(false)}, Member{User: "u"}, true},
		{MemberChange{User: ptr("")}, Member{}, true},
		{MemberChange{Realm: ptr("a b")}, Member{User: "u", Realm: "a b", Register: true, RegisterS: 600}, true},
		{MemberChange{User: ptr(""), Realm: ptr("r")}, Member{Realm: "r"}, false},
		{MemberChange{User: ptr(""), Register: ptr(true)}, Member{Register: true}, false},
		{MemberChange{User: ptr(""), Password: ptr("p")}, Member{Password: "p"}, false},
		{MemberChange{Register: ptr(false), RegisterS: ptr(uint32(60))}, Member{User: "u", RegisterS: 60}, false},
	} {
		got := Member{Name: "gw1", Address: "a.b", User: "u", Register: true, RegisterS: 600}
		c.change.Apply(&got)
		err := got.Validate()
		if got.User != c.want.User || got.Realm != c.want.Realm || got.Password != c.want.Password || got.Register != c.want.Register || got.RegisterS != c.want.RegisterS || (err == nil) != c.ok {
			text, _ := json.Marshal(c.change)
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}
