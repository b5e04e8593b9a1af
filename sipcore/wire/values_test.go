package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParseNameAddr(t *testing.T) {
	for in, want := range map[string]string{
		`"A. Name, \"x\";" <sip:a@b;p>;q=1`: `"A. Name, \"x\";"|sip:a@b;p|;q=1|true`,
		`Bob <sip:b@c>`:                     `Bob|sip:b@c||true`,
		`<sip:b@c> ; x = "y;z"`:             `|sip:b@c|; x = "y;z"|true`,
		`sip:b@c;tag=1`:                     `|sip:b@c|;tag=1|false`,
		` sip:b@c `:                         `|sip:b@c||false`,
		`"caller"<sip:b@c>`:                 `"caller"|sip:b@c||true`,
		"Folded\r\n Name\r\n <sip:b@c>":     "Folded\r\n Name|sip:b@c||true",
		`< sip:b@c >`:                       `|sip:b@c||true`,
		`"open <sip:b@c>`:                   `error`,
		`<sip:b@c`:                          `error`,
		`<sip:b@c> x`:                       `error`,
		`"name"`:                            `error`,
		``:                                  `error`,
		`<>`:                                `error`,
		`a b`:                               `error`,
	} {
		a, err := ParseNameAddr([]byte(in))
		got := "error"
		if err == nil {
			got = fmt.Sprintf("%s|%s|%s|%v", a.Display, a.URI, a.Params, a.Angle)
		}
		if got != want {
			t.Errorf("%q\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestParams(t *testing.T) {
	list := func(s string) string {
		var out []string
		for it := SplitParams([]byte(s)); ; {
			n, v, ok := it.Next()
			if !ok {
				return strings.Join(out, "|")
			}
			if v == nil {
				out = append(out, string(n))
			} else {
				out = append(out, fmt.Sprintf("%s=%s", n, v))
			}
		}
	}
	for in, want := range map[string]string{
		``: ``, `;;`: ``, `;lr`: `lr`, ` ; a = b ;c= ; d ="x;y\";=" ;e=f=g`: `a=b|c=|d="x;y\";="|e=f=g`, `;x="open;y`: `x="open;y`,
	} {
		if got := list(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
	if v, ok := Param([]byte(";Expires=10;LR"), "expires"); !ok || string(v) != "10" {
		t.Errorf("expires %q %v", v, ok)
	}
	if v, ok := Param([]byte(";Expires=10;LR"), "lr"); !ok || v != nil {
		t.Errorf("lr %q %v", v, ok)
	}
	if _, ok := Param([]byte(";Expires=10;LR"), "tag"); ok {
		t.Error("found what is not there")
	}
}

func TestValues(t *testing.T) {
	for in, want := range map[string]string{
		``: ``, ` , ,`: ``, `a`: `a`, `a,b , c`: `a|b|c`, `<sip:a,b>,"x, y" <sip:c>;p="1,2"`: `<sip:a,b>|"x, y" <sip:c>;p="1,2"`,
		`"open, a`: `"open, a`, `<open, a`: `<open, a`, `a\,b`: `a\|b`,
	} {
		var out []string
		for it := SplitValues([]byte(in)); ; {
			v, ok := it.Next()
			if !ok {
				break
			}
			out = append(out, string(v))
		}
		if got := strings.Join(out, "|"); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestParseContact(t *testing.T) {
	for in, want := range map[string]string{
		`*`:                                `*`,
		`<sip:a@b>`:                        `sip:a@b expires=-1 q=-1 instance= reg=0`,
		`sip:a@b;expires=60;q=0.7`:         `sip:a@b expires=60 q=700 instance= reg=0`,
		`"x"<sip:a@b;expires=5>;EXPIRES=0`: `sip:a@b;expires=5 expires=0 q=-1 instance= reg=0`,
		`<sip:a@b>;q=1.000;reg-id=2;+SIP.instance="<urn:uuid:1>"`:           `sip:a@b expires=-1 q=1000 instance=urn:uuid:1 reg=2`,
		`<sip:a@b>;q=1.001;expires=4294967296;reg-id=x;+sip.instance=<urn>`: `sip:a@b expires=-1 q=-1 instance= reg=0`,
		`<sip:a@b>;q=.5`:     `sip:a@b expires=-1 q=500 instance= reg=0`,
		`<sip:a@b>;q=0.1234`: `sip:a@b expires=-1 q=-1 instance= reg=0`,
		`<sip:a@b>;q=0.`:     `sip:a@b expires=-1 q=0 instance= reg=0`,
		`<sip:a@b>;q=2`:      `sip:a@b expires=-1 q=-1 instance= reg=0`,
		`<sip:a@b`:           `error`,
	} {
		c, err := ParseContact([]byte(in))
		got := fmt.Sprintf("%s expires=%d q=%d instance=%s reg=%d", c.URI, c.Expires, c.Q, c.Instance, c.RegID)
		if c.Star {
			got = "*"
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestDigest(t *testing.T) {
	var d Digest
	err := d.Parse([]byte("dIGEST username=\"bob \\\"b\\\\\", REALM=\"ex,ample\",\r\n nonce = \"n==\", uri=\"sip:x\",response=\"r\" ,algorithm=SHA-256,qop=auth, nc=00000001,cnonce=\"\", opaque=\"o\\\"\",unknown=\"1,2\""))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s|%s|%s|%s|%s|%s|%s|%s|%s|%s", d.Username, d.Realm, d.Nonce, d.URI, d.Response, d.Algorithm, d.QOP, d.NC, d.CNonce, d.Opaque)
	if want := `bob "b\|ex,ample|n==|sip:x|r|SHA-256|auth|00000001||o"`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if d.CNonce == nil {
		t.Error("an empty cnonce is not an absent one")
	}
	if err := d.Parse([]byte("Digest realm=x")); err != nil || d.Username != nil || string(d.Realm) != "x" {
		t.Errorf("parsed again: %v %q %q", err, d.Username, d.Realm)
	}
	for in, want := range map[string]error{
		"":                           ErrNotDigest,
		"Basic dXNlcjpwdw==":         ErrNotDigest,
		"Digestive x=y":              ErrNotDigest,
		"Digest/x=y":                 ErrNotDigest,
		"Digest x":                   ErrParam,
		"Digest =x":                  ErrParam,
		`Digest realm="x`:            ErrParam,
		`Digest realm="x\"`:          ErrParam,
		`Digest realm="x"y`:          ErrParam,
		`Digest realm=x y=z`:         ErrParam,
		`Digest realm=x, realm=x`:    ErrParam,
		`Digest realm="", realm="x"`: ErrParam,
	} {
		if err := d.Parse([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", in, err, want)
		}
	}
}
