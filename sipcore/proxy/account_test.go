package proxy

import (
	"strings"
	"testing"

	"holdline/sipcore/wire"
)

// TestAuthorize: the example of RFC 2617 §3.5 without its cnonce, and what cannot be answered.
func TestAuthorize(t *testing.T) {
	a := Account{User: "Mufasa", Password: "Circle Of Life"}
	final := func(status string, lines ...string) *wire.Msg {
		var m wire.Msg
		text := "SIP/2.0 " + status + " X\r\nVia: SIP/2.0/UDP 10.0.0.101;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n" +
			strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"
		if err := m.Scan([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return &m
	}
	answer := func(a *Account, m *wire.Msg, method, uri string) (f wire.Field, ok bool) {
		p, _, ok := a.authorize(m, asked{method: method, uri: uri}, mayAnswerInCall)
		if len(p) == 1 {
			f = wire.Field{ID: p[0].id, Value: []byte(p[0].cred.String())}
		}
		return f, ok && len(p) == 1
	}
	const first = `Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`
	f, ok := answer(&a, final("401", "WWW-Authenticate: "+first), "GET", "/dir/index.html")
	if v := string(f.Value); !ok || f.ID != wire.HdrAuthorization || !strings.Contains(v, `response="670fd8c2df070c60b045671b8b24ff02"`) || !strings.Contains(v, `opaque="5ccc`) {
		t.Errorf("%v %s", ok, v)
	}
	// The first of those that we know, with qop; again it is the same, for another request another.
	many := final("407", "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA3-256", `Proxy-Authenticate: Digest realm="r", nonce="n1", qop="auth,auth-int", algorithm=SHA-256`, "Proxy-Authenticate: "+first)
	f, ok = answer(&a, many, "INVITE", "sip:1@c")
	v := string(f.Value)
	if !ok || f.ID != wire.HdrProxyAuthorization || !strings.Contains(v, `algorithm=SHA-256`) || !strings.Contains(v, "qop=auth,") || !strings.Contains(v, "nc=00000001") {
		t.Errorf("%v %s", ok, v)
	}
	if again, _ := answer(&a, many, "INVITE", "sip:1@c"); string(again.Value) != v {
		t.Errorf("%s, then %s", v, again.Value)
	}
	// What the gateway writes stays within a line.
	if f, _ := answer(&a, final("401", "WWW-Authenticate: Digest realm=\"a\r\n X-Evil: 1\", nonce=\"n\""), "INVITE", "sip:1@c"); strings.ContainsAny(string(f.Value), "\r\n") {
		t.Errorf("%q", f.Value)
	}
	odd := final("401", "WWW-Authenticate: DIGEST Realm=\"r\",\r\n\tNONCE=\"n,=\\\"N\",\tQop=\"auth-int, auth\", Algorithm=MD5")
	if f, ok := answer(&a, odd, "INVITE", "sip:1@c"); !ok || !strings.Contains(string(f.Value), "qop=auth,") || !strings.Contains(string(f.Value), `realm="r"`) || !strings.Contains(string(f.Value), `N"`) {
		t.Errorf("folded, in capitals: %v %s", ok, f.Value)
	}
	ours := Account{User: "u", Password: "p", Realm: "testrealm@host.com"}
	if f, ok := answer(&ours, final("407", `Proxy-Authenticate: Digest realm="r", nonce="n"`, "Proxy-Authenticate: "+first), "INVITE", "sip:1@c"); !ok || !strings.Contains(string(f.Value), `realm="testrealm@host.com"`) {
		t.Errorf("of two realms: %s", f.Value)
	}
	if f, ok := answer(&ours, final("407", `Proxy-Authenticate: Digest realm="r", nonce="n"`), "INVITE", "sip:1@c"); ok {
		t.Errorf("another's realm: %s", f.Value)
	}
	for name, m := range map[string]*wire.Msg{
		"none":          final("407"),
		"in the wrong":  final("407", "WWW-Authenticate: "+first),
		"basic":         final("401", `WWW-Authenticate: Basic realm="r"`),
		"auth-int only": final("401", `WWW-Authenticate: Digest realm="r", nonce="n", qop="auth-int"`),
		"broken":        final("401", `WWW-Authenticate: Digest realm=`),
	} {
		if f, ok := answer(&a, m, "INVITE", "sip:1@c"); ok {
			t.Errorf("%s: %s", name, f.Value)
		}
	}
}
