package wire

import (
	"fmt"
	"testing"
)

func TestParseURI(t *testing.T) {
	for in, want := range map[string]string{
		"sip:alice@example.com":                      "sip user=alice host=example.com",
		"SIPS:alice:pw@Example.com:5061;lr?a=b":      "sips user=alice pw=pw host=Example.com port=5061 params=;lr headers=a=b",
		"sip:example.com":                            "sip host=example.com",
		"sip:[2001:db8::1]:5070;transport=tcp":       "sip host=[2001:db8::1] port=5070 params=;transport=tcp",
		"sip:user;par=u%40example.net@example.com":   "sip user=user;par=u%40example.net host=example.com",
		"sip:a?b/c=d,e$+&@h":                         "sip user=a?b/c=d,e$+& host=h",
		"sip:h?to=a%40b":                             "sip host=h headers=to=a%40b",
		"sip:+15551234;phone-context=x@h;user=phone": "sip user=+15551234;phone-context=x host=h params=;user=phone",
		"tel:+1-201-555-0123;ext=5":                  "tel user=+1-201-555-0123 params=;ext=5",
		"urn:service:sos":                            "urn opaque=service:sos",
		"nobodyKnowsThisScheme:totallyopaquecontent": "nobodyKnowsThisScheme opaque=totallyopaquecontent",
		"sip:a@host:0":                               "sip user=a host=host",
		"sip:null-%00-null@example.com":              "sip user=null-%00-null host=example.com",
		"":                                           "error",
		"sip":                                        "error",
		"sip:":                                       "error",
		":a@b":                                       "error",
		"1sip:a@b":                                   "error",
		"si p:a@b":                                   "error",
		"sip:@host":                                  "error",
		"sip::pw@host":                               "error",
		"sip:a@b@c":                                  "error",
		"sip:a:b@c@d":                                "error",
		"sip:a@":                                     "error",
		"sip:a@host:":                                "error",
		"sip:a@host:70000":                           "error",
		"sip:a@host:50x":                             "error",
		"sip:a@ho st":                                "error",
		"sip:a@ho\"st":                               "error",
		"sip:a@h\r\nVia":                             "error",
		"sip:a@[::1":                                 "error",
		"sip:a@h/path":                               "error",
		"tel:":                                       "error",
		"tel:;ext=1":                                 "error",
	} {
		u, err := ParseURI([]byte(in))
		got := "error"
		if err == nil {
			got = string(u.Name)
			if u.Scheme == SchemeSIPS {
				got = "sips"
			}
			for _, p := range []struct {
				name string
				v    []byte
			}{{"user", u.User}, {"pw", u.Password}, {"host", u.Host}, {"opaque", u.Opaque}} {
				if p.v != nil {
					got += fmt.Sprintf(" %s=%s", p.name, p.v)
				}
			}
			if u.Port != 0 {
				got += fmt.Sprintf(" port=%d", u.Port)
			}
			if u.Params != nil {
				got += fmt.Sprintf(" params=%s", u.Params)
			}
			if u.Headers != nil {
				got += fmt.Sprintf(" headers=%s", u.Headers)
			}
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestAoR(t *testing.T) {
	for in, want := range map[string]string{
		"sip:Alice@EXAMPLE.com:5060;user=phone?x=y": "Alice@example.com",
		"sips:%61lice:pw@example.com":               "alice@example.com",
		"sip:a%zz%4@h":                              "a%zz%4@h",
		"sip:Example.com":                           "example.com",
		"tel:+1201":                                 "+1201",
	} {
		u, err := ParseURI([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(u.AppendAoR(nil)); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

func TestParseHost(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "[2001:DB8::1]": "2001:db8::1", "::1": "::1", "example.com": "invalid IP", "cafe.de": "invalid IP",
		"": "invalid IP", "[": "invalid IP", "[]": "invalid IP", "1.2.3": "invalid IP", "fe80::1%eth0": "invalid IP",
	} {
		if got := ParseHost([]byte(in)).String(); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
	u, _ := ParseURI([]byte("sips:[::1]"))
	if u.Addr().String() != "::1" || u.EffectivePort() != 5061 {
		t.Errorf("%v %d", u.Addr(), u.EffectivePort())
	}
}
