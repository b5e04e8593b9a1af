package api

import (
	"strings"
	"testing"
)

func TestParseListen(t *testing.T) {
	for in, want := range map[string]string{
		"10.77.0.11": "10.77.0.11:7700", "10.77.0.11:7800": "10.77.0.11:7800",
		"2001:db8::1": "[2001:db8::1]:7700", "[2001:db8::1]": "[2001:db8::1]:7700", "[2001:db8::1]:1": "[2001:db8::1]:1",
		"": "", "box1": "", "0.0.0.0": "", "::": "", "224.0.0.1": "", "10.77.0.11:0": "", "10.77.0.11:99999": "", "10.77.0.11/24": "", "fe80::1%eth0": "",
		"127.0.0.1": "", "127.1.2.3:7700": "", "::1": "", "::ffff:127.0.0.1": "", "fe80::1": "", "169.254.7.1": "169.254.7.1:7700",
	} {
		got, err := ParseListen(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
}

func TestParseVIP(t *testing.T) {
	for in, ok := range map[string]bool{
		"10.77.0.101/24": true, "2001:db8::5/64": true, "10.0.0.0/31": true, "10.0.0.1/32": false, "2001:db8::5/128": false,
		"10.77.0.101": false, "10.77.0.0/24": false, "10.77.0.255/24": false, "127.0.0.1/8": false, "fe80::1/64": false,
		"224.0.0.1/24": false, "0.0.0.0/0": false, "x": false, "10.77.0.101/33": false, "10.1.2.3/0": false,
	} {
		if _, err := ParseVIP(in); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestDomainName(t *testing.T) {
	for in, want := range map[string]string{
		"Example.COM": "example.com", "example.com.": "example.com", "10.77.0.101": "10.77.0.101", "[2001:DB8::1]": "2001:db8::1",
		"a_b.example": "a_b.example", "localhost": "localhost",
		"": "", ".": "", "a..b": "", "-a.b": "", "a-.b": "", "10.77.0": "", "exa mple": "", "a/b": "", strings.Repeat("a", 64): "", "0.0.0.0": "",
	} {
		got, err := domainName("domain", in)
		if (err == nil) != (want != "") || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestParseAoR(t *testing.T) {
	for in, want := range map[string]string{
		"alice@example.com": "alice@example.com", "sip:Alice@EXAMPLE.com": "Alice@example.com", "+49;x@b.c": "+49;x@b.c",
		"alice": "", "@example.com": "", "a b@c.d": "", "a%41@c.d": "", "alice@": "", "a@b@c.d": "", "alice@example.com:5060": "",
	} {
		got, _, _, err := ParseAoR(in)
		if (err == nil) != (want != "") || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestMember(t *testing.T) {
	for addr, ok := range map[string]bool{
		"10.77.0.22:5080": true, "10.77.0.22": true, "gw.example.com": true, "gw.example.com:5060": true, "[2001:db8::1]:5060": true, "2001:db8::1": true,
		"": false, "gw:0": false, "gw:x": false, "gw:99999": false, "http://gw": false, "10.77.0:5060": false,
	} {
		m := Member{Name: "gw1", Address: addr}
		if err := m.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
	m := Member{Name: "gw1", Address: "a.b", Sources: []string{"10.77.0.22", "10.1.2.3/8", "2001:db8::1/32"}}
	if err := m.Validate(); err != nil || strings.Join(m.Sources, " ") != "10.77.0.22/32 10.0.0.0/8 2001:db8::/32" || m.Transport != "udp" {
		t.Errorf("%+v, %v", m, err)
	}
	for _, bad := range []Member{{Name: "g", Address: "a.b", Sources: []string{"0.0.0.0/0"}}, {Name: "g", Address: "a.b", Transport: "sctp"}, {Name: "7", Address: "a.b"}, {Name: "g", Address: "a.b", Weight: 1001}} {
		if bad.Validate() == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
}

// Each of these is refused with one line that names what is wrong.
func TestRefused(t *testing.T) {
	vip := func(p ...string) (g GroupSpec) {
		for _, s := range p {
			g.VIPs = append(g.VIPs, VIP{Prefix: s})
		}
		return g
	}
	for want, r := range map[string]interface{ Validate() error }{
		"given twice: an address":    &InitRequest{Name: "n1", Listen: "10.0.0.1", Groups: []GroupSpec{vip("10.0.0.5/24"), vip("10.0.0.5/24")}},
		"own listen address":         &InitRequest{Name: "n1", Listen: "10.0.0.1", Groups: []GroupSpec{vip("10.0.0.1/24")}},
		"one to four addresses":      &GroupSpec{},
		"same family":                &GroupSpec{VIPs: []VIP{{Prefix: "10.0.0.5/24", Advertise: "2001:db8::1"}}},
		"token is empty":             &JoinRequest{Name: "n2", Listen: "10.0.0.2"},
		"password of a@b.c is empty": &UserRequest{AoR: "a@b.c"},
		"control characters":         &UserRequest{AoR: "a@b.c", Password: "x\ny"},
		"alias a.b of a.b":           &Domain{Name: "a.b", Aliases: []string{"A.b"}},
		"prefix":                     &Route{Domain: "a.b", Prefix: "00 49", Pool: "p"},
		"nothing is to be changed":   &MemberChange{},
		"to be changed: say what":    &UserChange{},
		"alias \"+49@a.b\" has":      &UserChange{AddAliases: []string{"+49@a.b"}},
		"alias \"\" has":             &UserChange{RemoveAliases: []string{""}},
		"alias x is given twice":     &UserRequest{AoR: "a@b.c", Password: "x", Aliases: []string{"x", "y", "x"}},
		"alias \"a b\" has":          &UserRequest{AoR: "a@b.c", Password: "x", Aliases: []string{"a b"}},
		"identity \"+ 49\" has":      &UserChange{Identity: ptr("+ 49")},
		"100001 calls at once":       &UserChange{MaxCalls: ptr(uint32(100_001))},
		"100002 calls at once":       &UserRequest{AoR: "a@b.c", Password: "x", MaxCalls: 100_002},
		"identity \"a b\" has":       &UserRequest{AoR: "a@b.c", Password: "x", Identity: "a b"},
		"transport \"sctp\"":         &MemberChange{Transport: ptr("sctp")},
		"of member g needs a user":   &Member{Name: "g", Address: "a.b", Password: "secret"},
		"with member g needs a user": &Member{Name: "g", Address: "a.b", Register: true},
		"nobody registers with":      &Member{Name: "g", Address: "a.b", User: "u", RegisterS: 600},
		"60 to 86400 seconds":        &MemberChange{RegisterS: ptr(uint32(59))},
		"no account has":             &MemberChange{User: ptr("a\\b")},
		"printable ASCII":            &MemberChange{User: ptr("u"), Password: ptr("geheimß")},
		"the password is empty":      &MemberChange{Password: ptr("")},
		"cannot be put before":       &Route{Domain: "a.b", Pool: "p", Prepend: "0@x"},
		"strip 65":                   &Route{Domain: "a.b", Pool: "p", Strip: 65},
		"7 days":                     &TokenRequest{ValidSeconds: 8 * 24 * 3600},
		"algorithm":                  &Pool{Name: "p", Algorithm: "best"},
	} {
		err := r.Validate()
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsRune(err.Error(), '\n') || CodeOf(err) != CodeInvalid {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func ptr[T any](v T) *T { return &v }
