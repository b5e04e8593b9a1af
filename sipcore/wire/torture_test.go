package wire

import (
	"bytes"
	"strings"
	"testing"
)

// The torture messages of RFC 4475 that bear on reading, written anew and shortened where length is not the point. What
// a registrar or proxy does with those that scan is tested there.
const (
	tail4475 = "To: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=134161461246\nMax-Forwards: 70\n"
	via4475  = "Via: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw\n"
)

var torture = []struct {
	name  string // as in the RFC
	raw   string // with LF for CRLF; CL in a Content-Length is replaced by the length of the body
	fault ScanError
	parts map[string]string
}{
	{
		"wsinv §3.1.1.1", `INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : CL
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \"\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33

v=0
`, ErrNone, map[string]string{
			"to": "sip:vivekg@chair-dnrc.example.com", "to tag": "1918181833n", "from": "sip:jdrosen@example.com", "from tag": "98asjd8",
			"via1 host": "192.0.2.2", "via1 branch": "390skdjuw", "via2 host": "spindle.example.com", "via2 transport": "TCP",
			"via2 branch": "z9hG4bK9ikj8", "cseq": "INVITE", "s": "", "unknownheaderwithunusualvalue": ";;,,;;,;", "body": "v=0\r\n",
		},
	},
	{
		"intmeth §3.1.1.2", "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\n" +
			"Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\n" +
			"To: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n" +
			"From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\xd1\x80\";tag=_token~1'+`*%!-.\n" +
			"Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\nMax-Forwards: 255\n" +
			"extensionHeader-!.%*+_`'~:\xef\xbb\xbf\xe5\xa4\xa7\n\n", ErrNone, map[string]string{
			"from tag": "_token~1'+`*%!-.", "call-id": "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{", "via1 branch": "z9hG4bK-.!%66*_+`'~",
			"extensionHeader-!.%*+_`'~": "\xef\xbb\xbf\xe5\xa4\xa7",
		},
	},
	{
		"esc01 §3.1.1.3", "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0\nTo: sip:%75se%72@example.com\n" +
			"From: <sip:I%20have%20spaces@example.net>;tag=938\nMax-Forwards: 87\ni: esc01\nCSeq: 234234 INVITE\n" +
			"C: application/sdp\nVia: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw\nl: 0\n\n", ErrNone,
		map[string]string{"uri": "sip:sips%3Auser%40example.com@example.net", "to": "sip:%75se%72@example.com", "from": "sip:I%20have%20spaces@example.net"},
	},
	{
		"escnull §3.1.1.4", "REGISTER sip:example.com SIP/2.0\nTo: sip:null-%00-null@example.com\nFrom: sip:null-%00-null@example.com;tag=839923423\n" +
			"Max-Forwards: 70\nCall-ID: escnull\nCSeq: 14398234 REGISTER\nVia: SIP/2.0/UDP host5.example.com;branch=z9hG4bKkdjuw\n" +
			"Contact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>\nL:0\n\n", ErrNone,
		map[string]string{"to": "sip:null-%00-null@example.com", "from tag": "839923423"},
	},
	{
		"esc02 §3.1.1.5", "RE%47IST%45R sip:registrar.example.com SIP/2.0\nTo: \"%Z%45\" <sip:resource@example.com>\n" +
			"From: \"%Z%45\" <sip:resource@example.com>;tag=f232jadfj23\nCall-ID: esc02\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK209%fzsnel234\n" +
			"CSeq: 29344 RE%47IST%45R\nMax-Forwards: 70\n\n", ErrNone, map[string]string{"method": "RE%47IST%45R", "via1 branch": "z9hG4bK209%fzsnel234"},
	},
	{
		"lwsdisp §3.1.1.6", "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: caller<sip:caller@example.com>;tag=323\n" +
			"Max-Forwards: 70\nCall-ID: lwsdisp\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP funky.example.com;branch=z9hG4bKkdjuw\nl: 0\n\n", ErrNone,
		map[string]string{"from": "sip:caller@example.com"},
	},
	{
		"longreq §3.1.1.7", "INVITE sip:user@example.com SIP/2.0\nTo: \"I have a user name of " + strings.Repeat("extreme", 500) + " proportion\"<sip:user@example.com:6000;" +
			"unknownparam1=very" + strings.Repeat("long", 50) + "value>\nF: sip:" + strings.Repeat("amazinglylong", 60) + "callername@example.net;tag=12" + strings.Repeat("982424", 50) + "\n" +
			"Call-ID: longreq.one" + strings.Repeat("really", 20) + "longcallid\nCSeq: 3882340 INVITE\n" + strings.Repeat("Unknown-"+strings.Repeat("Long", 20)+"-Name: unknown\n", 40) +
			strings.Repeat("Via: SIP/2.0/TCP sip33.example.com\n", 34) + "Max-Forwards: 70\n\n", ErrNone,
		map[string]string{"via1 host": "sip33.example.com", "to": "sip:user@example.com:6000;unknownparam1=very" + strings.Repeat("long", 50) + "value"},
	},
	{
		"dblreq §3.1.1.8", "REGISTER sip:example.com SIP/2.0\nTo: sip:j.user@example.com\nFrom: sip:j.user@example.com;tag=43251j3j324\nMax-Forwards: 8\nI: dblreq\n" +
			"Contact: sip:j.user@host.example.com\nCSeq: 8 REGISTER\nVia: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492\nContent-Length: 0\n\n" +
			"\nINVITE sip:joe@example.com SIP/2.0\nt: sip:joe@example.com\n\n", ErrNone, map[string]string{"method": "REGISTER", "body": ""},
	},
	{
		"semiuri §3.1.1.9", "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0\nCall-ID: semiuri\n" + strings.Replace(tail4475, "j.user", "j_user", 1) + via4475 +
			"CSeq: 8 OPTIONS\nl: 0\n\n", ErrNone, map[string]string{"uri": "sip:user;par=u%40example.net@example.com"},
	},
	{
		"transports §3.1.1.10", "OPTIONS sip:user@example.com SIP/2.0\n" + tail4475 + "Call-ID: transports\nCSeq: 60 OPTIONS\n" +
			"Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw\nVia: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf\nVia: SIP/2.0/TLS t3.example.com\n" +
			"Via: SIP/2.0/UNKNOWN t4.example.com\nl: 0\n\n", ErrNone, map[string]string{"via1 transport": "UDP", "via2 transport": "SCTP"},
	},
	{
		"mpart01 §3.1.1.11", "MESSAGE sip:kumiko@example.org SIP/2.0\n" + via4475 + tail4475 + "Call-ID: mpart01\nCSeq: 1 MESSAGE\nContent-Type: multipart/mixed;boundary=x\n" +
			"Content-Length: CL\n\n--x\nContent-Transfer-Encoding: binary\n\n\x30\x82\x00\x01\r\xff\n--x--", ErrNone,
		map[string]string{"method": "MESSAGE"},
	},
	{
		"unreason §3.1.1.12", "SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nCall-ID: unreason\nCSeq: 35 INVITE\n" + tail4475 + "Content-Length: 0\n\n",
		ErrNone,
		map[string]string{"reason": "= 2**3 * 5**2 \xd0\xbd\xd0\xbe"},
	},
	{
		"noreason §3.1.1.13", "SIP/2.0 100 \nVia: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe\nCall-ID: noreason\nCSeq: 35 INVITE\n" + tail4475 + "Content-Length: 0\n\n",
		ErrNone,
		map[string]string{"reason": ""},
	},
	{"badinv01 §3.1.2.1", "INVITE sip:user@example.com SIP/2.0\n" + tail4475 + "Call-ID: badinv01\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\nContact: \"Joe\" <sip:joe@example.org>;;;;\n\n", ErrBadVia, nil},
	{"clerr §3.1.2.2", "INVITE sip:user@example.com SIP/2.0\n" + via4475 + tail4475 + "Call-ID: clerr\nCSeq: 8 INVITE\nContent-Length: 9999\n\nv=0\n", ErrShortBody, nil},
	{"ncl §3.1.2.3", "INVITE sip:user@example.com SIP/2.0\n" + via4475 + tail4475 + "Call-ID: ncl\nCSeq: 8 INVITE\nContent-Length: -999\n\nv=0\n", ErrBadContentLength, nil},
	{"scalar02 §3.1.2.4", "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/TCP h;branch=z9hG4bK342sdfoi3\n" + strings.Replace(tail4475, "70", "300", 1) + "Call-ID: scalar02\nCSeq: 36893488147419103232 REGISTER\nExpires: 10000000000\n\n", ErrBadMaxForwards, map[string]string{"expires": "10000000000"}},
	{"scalarlg §3.1.2.5", "SIP/2.0 503 Service Unavailable\n" + via4475 + tail4475 + "Call-ID: scalarlg\nCSeq: 9292394834772304023312 OPTIONS\nRetry-After: 949302838503028349304023988\n\n", ErrBadCSeq, nil},
	{"quotbal §3.1.2.6", "INVITE sip:user@example.com SIP/2.0\n" + via4475 + "To: \"Mr. J. User <sip:j.user@example.com>\nFrom: sip:caller@example.net;tag=93334\nCall-ID: quotbal\nCSeq: 8 INVITE\n\n", ErrBadTo, nil},
	{"ltgtruri §3.1.2.7", "INVITE <sip:user@example.com> SIP/2.0\n" + via4475 + tail4475 + "Call-ID: ltgtruri\nCSeq: 1 INVITE\n\n", ErrBadURI, nil},
	{"lwsruri §3.1.2.8", "INVITE sip:user@example.com; lr SIP/2.0\n" + via4475 + tail4475 + "Call-ID: lwsruri\nCSeq: 1 INVITE\n\n", ErrBadURI, nil},
	{"lwsstart §3.1.2.9", "INVITE  sip:user@example.com  SIP/2.0\n" + via4475 + tail4475 + "Call-ID: lwsstart\nCSeq: 1 INVITE\n\n", ErrNone, map[string]string{"uri": "sip:user@example.com"}},
	{"trws §3.1.2.10", "OPTIONS sip:remote-target@example.com SIP/2.0  \n" + via4475 + tail4475 + "Call-ID: trws\nCSeq: 8 OPTIONS\n\n", ErrNone, map[string]string{"uri": "sip:remote-target@example.com"}},
	{"escruri §3.1.2.11", "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0\n" + via4475 + tail4475 + "Call-ID: escruri\nCSeq: 8 INVITE\n\n", ErrNone, nil},
	{"badaspec §3.1.2.14", "OPTIONS sip:user@example.org SIP/2.0\n" + via4475 + "From: \"Bell, Alexander\" <sip:a.g.bell@example.com>;tag=433423\nTo: \"Watson, Thomas\" < sip:t.watson@example.org >\nCall-ID: badaspec\nCSeq: 1 OPTIONS\n\n", ErrNone, map[string]string{"to": "sip:t.watson@example.org"}},
	{"baddn §3.1.2.15", "OPTIONS sip:t.watson@example.org SIP/2.0\n" + via4475 + "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43\nTo: Watson, Thomas <sip:t.watson@example.org>\nCall-ID: baddn\nCSeq: 3 OPTIONS\n\n", ErrNone, map[string]string{"from tag": "43"}},
	{"badvers §3.1.2.16", "OPTIONS sip:t.watson@example.org SIP/7.0\nVia: SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw\n" + tail4475 + "Call-ID: badvers\nCSeq: 1 OPTIONS\n\n", ErrVersion, nil},
	{"mismatch01 §3.1.2.17", "OPTIONS sip:user@example.com SIP/2.0\n" + via4475 + tail4475 + "Call-ID: mismatch01\nCSeq: 8 INVITE\n\n", ErrCSeqMethod, nil},
	{"mismatch02 §3.1.2.18", "NEWMETHOD sip:user@example.com SIP/2.0\n" + via4475 + tail4475 + "Call-ID: mismatch02\nCSeq: 8 INVITE\n\n", ErrCSeqMethod, nil},
	{"bigcode §3.1.2.19", "SIP/2.0 4294967301 better not break the receiver\n" + via4475 + tail4475 + "Call-ID: bigcode\nCSeq: 353494 INVITE\n\n", ErrBadStatus, nil},
	{"badbranch §3.2.1", "OPTIONS sip:user@example.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK\n" + tail4475 + "Call-ID: badbranch\nCSeq: 8 OPTIONS\n\n", ErrNone, map[string]string{"via1 branch": "z9hG4bK"}},
	{"insuf §3.3.1", "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\nContent-Type: application/sdp\nl: CL\n\nv=0\n", ErrMissingFrom, nil},
	{"unkscm §3.3.2", "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0\n" + via4475 + tail4475 + "Call-ID: unkscm\nCSeq: 3 OPTIONS\n\n", ErrNone, map[string]string{"uri": "nobodyKnowsThisScheme:totallyopaquecontent"}},
	{"novelsc §3.3.3", "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0\n" + via4475 + tail4475 + "Call-ID: novelsc\nCSeq: 3 OPTIONS\n\n", ErrNone, nil},
	{"multi01 §3.3.8", "INVITE sip:user@company.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.25;branch=z9hG4bKkdjuw\nMax-Forwards: 70\nMax-Forwards: 5\nMax-Forwards: 10\nCSeq: 5 INVITE\nCSeq: 59 INVITE\n" +
		"From: <sip:a@b>;tag=1\nFrom: <sip:c@d>;tag=2\nTo: <sip:e@f>\nTo: <sip:g@h>\nCall-ID: multi01\nCall-ID: multi02\n\n", ErrDuplicateMaxForwards, nil},
	{"mcl01 §3.3.9", "OPTIONS sip:user@example.com SIP/2.0\n" + via4475 + tail4475 + "Call-ID: mcl01\nCSeq: 3 OPTIONS\nContent-Length: 13\nContent-Length: 5\n\nhello, world!", ErrDuplicateContentLength, nil},
	{"bcast §3.3.10", "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\n" + tail4475 + "Call-ID: bcast\nCSeq: 35 INVITE\n\n", ErrNone, map[string]string{"via2 host": "255.255.255.255"}},
	{"zeromf §3.3.11", "OPTIONS sip:user@example.com SIP/2.0\n" + via4475 + strings.Replace(tail4475, "70", "0", 1) + "Call-ID: zeromf\nCSeq: 39234321 OPTIONS\n\n", ErrNone, nil},
	{"inv2543 §3.4.1", "INVITE sip:UserB@example.com SIP/2.0\nVia: SIP/2.0/UDP iftgw.example.com\nFrom: <sip:+13035551111@ift.client.example.net;user=phone>\nRecord-Route: <sip:UserB@example.com;maddr=ss1.example.com>\n" +
		"To: sip:+16505552222@ss1.example.net;user=phone\nCall-ID: inv2543.1717@ift.client.example.com\nCSeq: 56 INVITE\nContent-Type: application/sdp\n\nv=0\n", ErrNone, map[string]string{"via1 branch": "", "from tag": "", "to": "sip:+16505552222@ss1.example.net"}},
	// RFC 5118: IPv6 references.
	{"ipv6-good RFC 5118 §4.1", "REGISTER sip:[2001:db8::10] SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=81x2\nVia: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\nCall-ID: x\nMax-Forwards: 70\nCSeq: 98176 REGISTER\n\n", ErrNone, map[string]string{"via1 host": "[2001:db8::9:1]"}},
	{"ipv6-bad via RFC 5118 §4.2", "REGISTER sip:[2001:db8::10] SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=81x2\nVia: SIP/2.0/UDP 2001:db8::9:1;branch=z9hG4bKas3-111\nCall-ID: x\nCSeq: 98176 REGISTER\n\n", ErrBadVia, nil},
	{"received with and without brackets, RFC 5118 §4.5", "BYE sip:[2001:db8::10] SIP/2.0\nTo: sip:user@example.com;tag=bd76ya\nFrom: sip:user@example.com;tag=81x2\nVia: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111\nVia: SIP/2.0/UDP h;received=2001:db8::9:255\nCall-ID: x\nCSeq: 9 BYE\n\n", ErrNone, map[string]string{"via1 received": "[2001:db8::9:255]", "via2 received": "2001:db8::9:255"}},
}

// tortureBytes is the message as on the wire.
func tortureBytes(raw string) []byte {
	head, body, _ := strings.Cut(raw, "\n\n")
	b := bytes.ReplaceAll([]byte(body), []byte("\n"), []byte("\r\n"))
	head = strings.Replace(head, ": CL", ": "+itoa(len(b)), 1)
	return append(append(bytes.ReplaceAll([]byte(head), []byte("\n"), []byte("\r\n")), "\r\n\r\n"...), b...)
}

func TestTorture(t *testing.T) {
	for _, c := range torture {
		t.Run(c.name, func(t *testing.T) {
			raw := tortureBytes(c.raw)
			var m Msg
			err := m.Scan(raw)
			if c.fault == ErrNone && err != nil || c.fault != ErrNone && err != c.fault {
				t.Fatalf("%v, want %v", err, c.fault)
			}
			expect(t, &m, c.parts)
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
