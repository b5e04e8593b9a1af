package torture

import "strings"

// valid are the well-formed messages of RFC 4475 §3.1.1.
var valid = []message{
	{"wsinv", "3.1.1.1", `INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
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

` + sdp},
	{
		"intmeth", "3.1.1.2", "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\n" +
			"Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\n" +
			"To: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n" +
			"From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\xd1\x80\";tag=_token~1'+`*%!-.\n" +
			"Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\nMax-Forwards: 255\n" +
			"extensionHeader-!.%*+_`'~:\xef\xbb\xbf\xe5\xa4\xa7\n" + empty,
	},
	{
		"esc01", "3.1.1.3", "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0\nTo: sip:%75se%72@example.com\n" +
			"From: <sip:I%20have%20spaces@example.net>;tag=938\nMax-Forwards: 87\ni: esc01\nCSeq: 234234 INVITE\n" +
			"Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw\nC: application/sdp\n" +
			"Contact:\n  <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>\nl: CL\n\n" + sdp,
	},
	{
		"escnull", "3.1.1.4", "REGISTER sip:example.com SIP/2.0\nTo: sip:null-%00-null@example.com\nFrom: sip:null-%00-null@example.com;tag=839923423\n" +
			"Max-Forwards: 70\nCall-ID: escnull\nCSeq: 14398234 REGISTER\nVia: SIP/2.0/UDP host5.example.com;branch=z9hG4bKkdjuw\n" +
			"Contact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>\nL:0\n\n",
	},
	{
		"esc02", "3.1.1.5", "RE%47IST%45R sip:registrar.example.com SIP/2.0\nTo: \"%Z%45\" <sip:resource@example.com>\n" +
			"From: \"%Z%45\" <sip:resource@example.com>;tag=f232jadfj23\nCall-ID: esc02\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK209%fzsnel234\n" +
			"CSeq: 29344 RE%47IST%45R\nMax-Forwards: 70\nContact: <sip:alias1@host1.example.com>\n" +
			"C%6Fntact: <sip:alias2@host2.example.com>\nContact: <sip:alias3@host3.example.com>\nl: 0\n\n",
	},
	{
		"lwsdisp", "3.1.1.6", "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: caller<sip:caller@example.com>;tag=323\n" +
			"Max-Forwards: 70\nCall-ID: lwsdisp\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP funky.example.com;branch=z9hG4bKkdjuw\nl: 0\n\n",
	},
	{"longreq", "3.1.1.7", longreq()},
	{
		"dblreq", "3.1.1.8", "REGISTER sip:example.com SIP/2.0\nTo: sip:j.user@example.com\nFrom: sip:j.user@example.com;tag=43251j3j324\nMax-Forwards: 8\nI: dblreq\n" +
			"Contact: sip:j.user@host.example.com\nCSeq: 8 REGISTER\nVia: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492\nContent-Length: 0\n\n" +
			"\nINVITE sip:joe@example.com SIP/2.0\nt: sip:joe@example.com\nFrom: sip:caller@example.net;tag=141334\nMax-Forwards: 8\nCall-ID: dblreq2\n" +
			"CSeq: 8 INVITE\nVia: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw380234\nContact: sip:caller@host5.example.net\nContent-Length: 0\n\n",
	},
	{
		"semiuri", "3.1.1.9", "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0\nCall-ID: semiuri\n" + strings.Replace(tail, "j.user", "j_user", 1) + via +
			"CSeq: 8 OPTIONS\nAccept: application/sdp, application/pkcs7-mime\nl: 0\n\n",
	},
	{
		"transports", "3.1.1.10", "OPTIONS sip:user@example.com SIP/2.0\n" + tail + "Call-ID: transports\nCSeq: 60 OPTIONS\n" +
			"Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw\nVia: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf\nVia: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj\n" +
			"Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en\nVia: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee\nl: 0\n\n",
	},
	{
		"mpart01", "3.1.1.11", "MESSAGE sip:kumiko@example.org SIP/2.0\n" + via + tail + "Call-ID: mpart01\nCSeq: 1 MESSAGE\nContent-Type: multipart/mixed;boundary=7a9c\n" +
			"Content-Length: CL\n\n--7a9c\nContent-Type: text/plain\nContent-Transfer-Encoding: binary\n\nHello\n--7a9c\n" +
			"Content-Type: application/octet-stream\nContent-Transfer-Encoding: binary\n\n\x30\x82\x00\x01\x00\r\xff\x7f\x80\x1b\n--7a9c--",
	},
	{
		"unreason", "3.1.1.12", "SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe \xd1\x81\xd1\x82\xd0\xbe\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nCall-ID: unreason\nCSeq: 35 INVITE\n" +
			toFor + "Contact: <sip:user@host198.example.com>\n" + empty,
	},
	{
		"noreason", "3.1.1.13", "SIP/2.0 100 \nVia: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe\nCall-ID: noreason\nCSeq: 35 INVITE\n" +
			toFor + "Contact: <sip:user@host105.example.com>\n" + empty,
	},
}

// longreq has long names and values everywhere, and 34 Vias.
func longreq() string {
	var vias strings.Builder
	for i := range 34 {
		host := string([]byte{'0' + byte((34-i)/10), '0' + byte((34-i)%10)})
		vias.WriteString("Via: SIP/2.0/TCP sip" + host + ".example.com;branch=z9hG4bK" + strings.Repeat("long", 1+i/33*50) + "branchvalue\n")
	}
	return "INVITE sip:user@example.com SIP/2.0\n" +
		"To: \"I have a user name of " + strings.Repeat("extreme", 500) + " proportion\"<sip:user@example.com:6000;unknownparam1=very" + strings.Repeat("long", 50) +
		"value;longparam" + strings.Repeat("name", 25) + "=shortvalue;very" + strings.Repeat("long", 25) + "ParameterNameWithNoValue>\n" +
		"F: sip:" + strings.Repeat("amazinglylong", 30) + "callername@example.net;tag=12" + strings.Repeat("982", 50) + "424;unknownheaderparam" +
		strings.Repeat("name", 20) + "=unknowheaderparam" + strings.Repeat("value", 15) + "\n" +
		"Call-ID: longreq.one" + strings.Repeat("really", 20) + "longcallid\nCSeq: 3882340 INVITE\n" +
		strings.Repeat("Unknown-"+strings.Repeat("Long", 20)+"-Name: unknown-"+strings.Repeat("long", 20)+"-value\n", 8) + vias.String() + "Max-Forwards: 70\n" +
		"Contact: <sip:" + strings.Repeat("amazinglylong", 30) + "callername@host5.example.net>\nContent-Type: application/sdp\nl: CL\n\n" + sdp
}
