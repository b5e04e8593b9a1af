package wire

import (
	"bytes"
	"strings"
	"testing"

	"holdline/sipcore/internal/torture"
)

// read is what the scanner makes of a torture message.
type read struct {
	fault ScanError
	parts map[string]string
}

// tortured is what it makes of each message of RFC 4475 and RFC 5118, by name; nil: it reads it, and nothing more is asked. What becomes of them, all in
// all, is tested in sipcore.
var tortured = map[string]*read{
	"wsinv": {ErrNone, map[string]string{
		"to": "sip:vivekg@chair-dnrc.example.com", "to tag": "1918181833n", "from": "sip:jdrosen@example.com", "from tag": "98asjd8",
		"via1 host": "192.0.2.2", "via1 branch": "390skdjuw", "via2 host": "spindle.example.com", "via2 transport": "TCP",
		"via2 branch": "z9hG4bK9ikj8", "cseq": "INVITE", "s": "", "unknownheaderwithunusualvalue": ";;,,;;,;",
	}},
	"intmeth": {ErrNone, map[string]string{
		"from tag": "_token~1'+`*%!-.", "call-id": "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{", "via1 branch": "z9hG4bK-.!%66*_+`'~",
		"extensionHeader-!.%*+_`'~": "\xef\xbb\xbf\xe5\xa4\xa7",
	}},
	"esc01":   {ErrNone, map[string]string{"uri": "sip:sips%3Auser%40example.com@example.net", "to": "sip:%75se%72@example.com", "from": "sip:I%20have%20spaces@example.net"}},
	"escnull": {ErrNone, map[string]string{"to": "sip:null-%00-null@example.com", "from tag": "839923423"}},
	"esc02":   {ErrNone, map[string]string{"method": "RE%47IST%45R", "via1 branch": "z9hG4bK209%fzsnel234"}},
	"lwsdisp": {ErrNone, map[string]string{"from": "sip:caller@example.com"}},
	"longreq": {ErrNone, map[string]string{
		"via1 host": "sip34.example.com", "from tag": "12" + strings.Repeat("982", 50) + "424", "call-id": "longreq.one" + strings.Repeat("really", 20) + "longcallid",
	}},
	"dblreq":     {ErrNone, map[string]string{"method": "REGISTER", "body": ""}},
	"semiuri":    {ErrNone, map[string]string{"uri": "sip:user;par=u%40example.net@example.com"}},
	"transports": {ErrNone, map[string]string{"via1 transport": "UDP", "via2 transport": "SCTP"}},
	"mpart01":    {ErrNone, map[string]string{"method": "MESSAGE"}},
	"unreason":   {ErrNone, map[string]string{"reason": "= 2**3 * 5**2 \xd0\xbd\xd0\xbe \xd1\x81\xd1\x82\xd0\xbe"}},
	"noreason":   {ErrNone, map[string]string{"reason": ""}},

	"badinv01":   {ErrBadVia, nil},
	"clerr":      {ErrShortBody, nil},
	"ncl":        {ErrBadContentLength, nil},
	"scalar02":   {ErrBadMaxForwards, map[string]string{"expires": "10000000000"}},
	"scalarlg":   {ErrBadCSeq, nil},
	"quotbal":    {ErrBadTo, nil},
	"ltgtruri":   {ErrBadURI, nil},
	"lwsruri":    {ErrBadURI, nil},
	"lwsstart":   {ErrNone, map[string]string{"uri": "sip:user@example.com"}},
	"trws":       {ErrNone, map[string]string{"uri": "sip:remote-target@example.com"}},
	"escruri":    nil,
	"baddate":    nil,
	"regbadct":   nil,
	"badaspec":   {ErrNone, map[string]string{"to": "sip:t.watson@example.org"}},
	"baddn":      {ErrNone, map[string]string{"from": "sip:a.g.bell@example.net", "from tag": "43"}},
	"badvers":    {ErrVersion, nil},
	"mismatch01": {ErrCSeqMethod, nil},
	"mismatch02": {ErrCSeqUnknown, nil},
	"bigcode":    {ErrBadStatus, nil},

	"badbranch": {ErrNone, map[string]string{"via1 branch": "z9hG4bK"}},
	"insuf":     {ErrMissingFrom, nil},
	"unkscm":    {ErrNone, map[string]string{"uri": "nobodyKnowsThisScheme:totallyopaquecontent"}},
	"novelsc":   nil,
	"unksm2":    {ErrNone, map[string]string{"to": "isbn:2983792873", "from": "http://www.example.com"}},
	"bext01":    nil,
	"invut":     nil,
	"regaut01":  nil,
	"multi01":   {ErrDuplicateMaxForwards, nil},
	"mcl01":     {ErrDuplicateContentLength, nil},
	"bcast":     {ErrNone, map[string]string{"via2 host": "255.255.255.255"}},
	"zeromf":    nil,
	"cparam01":  nil,
	"cparam02":  nil,
	"regescrt":  nil,
	"sdp01":     nil,
	"inv2543":   {ErrNone, map[string]string{"via1 branch": "", "from tag": "", "to": "sip:+16505552222@ss1.example.net"}},

	"ipv6-good":                     {ErrNone, map[string]string{"via1 host": "[2001:db8::9:1]"}},
	"ipv6-bad":                      nil, // for a scanner there is nothing amiss: the Request-URI is not looked into
	"port-ambiguous":                nil,
	"port-unambiguous":              {ErrNone, map[string]string{"uri": "sip:[2001:db8::10]:5070"}},
	"via-received-param-with-delim": {ErrNone, map[string]string{"via1 received": "[2001:db8::9:255]"}},
	"via-received-param-no-delim":   {ErrNone, map[string]string{"via1 received": "2001:db8::9:255"}},
	"ipv6-in-sdp":                   nil,
	"mult-ip-in-header":             {ErrNone, map[string]string{"via1 host": "[2001:db8::9:1]", "via2 host": "192.0.2.1"}},
	"mult-ip-in-sdp":                nil,
	"ipv4-mapped-ipv6":              {ErrNone, map[string]string{"via1 host": "[::ffff:192.0.2.10]", "via2 host": "[::ffff:192.0.2.2]"}},
	"ipv6-bug-abnf-3-colons":        {ErrNone, map[string]string{"uri": "sip:user@[2001:db8:::192.0.2.1]"}},
	"ipv6-correct-abnf-2-colons":    nil,
}

func TestTorture(t *testing.T) {
	for _, c := range torture.All() {
		t.Run(c.String(), func(t *testing.T) {
			want, known := tortured[c.Name]
			if !known {
				t.Fatal("nothing is said of it")
			}
			if want == nil {
				want = &read{}
			}
			var m Msg
			err := m.Scan(c.Bytes)
			if want.fault == ErrNone && err != nil || want.fault != ErrNone && err != want.fault {
				t.Fatalf("%v, want %v", err, want.fault)
			}
			expect(t, &m, want.parts)
			if err != nil {
				return
			}
			relayedAsItWas(t, &m)
		})
	}
}

// relayedAsItWas adds a Via and removes it at the other side: what comes out is what went in.
func relayedAsItWas(t *testing.T, m *Msg) {
	t.Helper()
	var e Edit
	e.Begin(m)
	e.Prepend(HdrVia, relayVia)
	out, err := e.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	far := mustScan(t, out)
	if got := far.Bytes(far.Via1.Value); !bytes.Equal(got, relayVia) {
		t.Errorf("top Via %q", got)
	}
	e.Begin(far)
	e.PopVia()
	back, err := e.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := m.B
	if m.oddStart { // strict writing: only the start line may differ
		want, back = want[m.Start.End:], back[bytes.IndexByte(back, '\n')+1:]
	}
	if !bytes.Equal(back, want) {
		t.Errorf("relayed\n%q\nas\n%q", want, back)
	}
}
