package sipcore

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// relayed: the gateway gets it for a user, and but for what the rules of a proxy change (byRules, and others) byte for byte; the sender gets the
// gateway's answer likewise.
func relayed(user string, others ...string) outcome {
	return func(s *stage, msg []byte) {
		s.t.Helper()
		method, _, _ := strings.Cut(string(msg), " ")
		to := s.gateway.udp.LocalAddr().String()
		if user != "" {
			to = user + "@" + to
		}
		s.relays(msg, method+" sip:"+to+" SIP/2.0", others)
	}
}

// relayedAs: so, with this start line.
func relayedAs(start string, others ...string) outcome {
	return func(s *stage, msg []byte) {
		s.t.Helper()
		s.relays(msg, start, others)
	}
}

func (s *stage) relays(msg []byte, start string, others []string) {
	s.t.Helper()
	s.sender.send(msg)
	got := s.gateway.next()
	if line := firstLine(got); line != start {
		s.t.Errorf("relayed as\n%s\nwant\n%s", line, start)
	}
	if have, want := s.below(got), byRules(s.t, msg, others); have != want {
		s.t.Errorf("below what we put on top it goes on as\n%q\nwant\n%q", have, want)
	}
	invite := strings.HasPrefix(got, "INVITE ")
	status := 299
	if invite {
		status = 486
		s.starts(s.answer(), "SIP/2.0 100 ")
	}
	resp := response(s.t, got, status)
	s.gateway.send(resp)
	if back, want := s.answer(), withoutLine(string(resp), "Via: "); back != want {
		s.t.Errorf("the answer goes on as\n%q\nwant\n%q", back, want)
	}
	if invite {
		s.starts(s.gateway.next(), "ACK ")
	}
	s.quiet()
}

func (s *stage) starts(msg, begin string) {
	s.t.Helper()
	if !strings.HasPrefix(msg, begin) {
		s.t.Fatalf("want %s…, got\n%s", begin, msg)
	}
}

// answered: by us, with a reason phrase that says what is wrong, and these header lines; it goes nowhere. What is refused is counted.
func answered(status int, reason string, lines ...string) outcome {
	return func(s *stage, msg []byte) {
		s.t.Helper()
		s.sender.send(msg)
		s.refusal(s.answer(), status, reason, lines...)
		s.quiet()
		want := uint64(0)
		if status >= 300 {
			want = 1
		}
		if n := s.l.counter("refused"); n != want {
			s.t.Errorf("%d are counted as refused, want %d", n, want)
		}
	}
}

var tagged = regexp.MustCompile(`; *tag *= *\w+`)

func (s *stage) refusal(got string, status int, reason string, lines ...string) {
	s.t.Helper()
	line := firstLine(got)
	if !strings.HasPrefix(line, fmt.Sprintf("SIP/2.0 %d ", status)) || !strings.Contains(line, reason) {
		s.t.Fatalf("answered with %s, want %d …%s…", line, status, reason)
	}
	if via := headerOf(got, "Via"); strings.Count(via, ";received=") != 1 || !strings.Contains(via, ";received="+senderAddr) {
		s.t.Errorf("top Via %s, want received=%s in it", via, senderAddr)
	}
	if to := headerOf(got, "To"); to != "" && reason != "To" && !tagged.MatchString(to) {
		s.t.Errorf("To %s, want a tag", to)
	}
	for _, want := range lines {
		if !strings.Contains(got, "\r\n"+want+"\r\n") {
			s.t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// hungUp: the connection is closed, after an answer if there is a status.
func hungUp(status int, reason string) outcome {
	return func(s *stage, msg []byte) {
		s.t.Helper()
		s.sender.send(msg)
		if status != 0 {
			s.refusal(s.sender.next(), status, reason)
		}
		if got := s.sender.next(); got != "" {
			s.t.Errorf("want the connection closed, got\n%s", got)
		}
	}
}

// dropped: nobody hears of it, but the counter.
func dropped(counter string) outcome {
	return func(s *stage, msg []byte) {
		s.t.Helper()
		s.sender.send(msg)
		s.quiet()
		s.counted(counter)
	}
}

func (s *stage) counted(counter string) {
	s.t.Helper()
	if n := s.l.counter(counter); n != 1 {
		s.t.Errorf("%s is %d, want 1", counter, n)
	}
}

// answersCall: it comes from the gateway as the answer to an INVITE, so with its Via, From, To, Call-ID and CSeq but for those in keep; and goes on to who
// called, byte for byte but for our Via, or is dropped.
func answersCall(goesOn bool, keep ...string) outcome {
	return func(s *stage, msg []byte) {
		s.t.Helper()
		s.sender.send(s.call())
		resp := string(asAnswer(msg, response(s.t, s.gateway.next(), 200), keep))
		s.starts(s.sender.next(), "SIP/2.0 100 ")
		s.gateway.send([]byte(resp))
		if goesOn {
			if back, want := s.sender.next(), withoutLine(resp, "Via: "); back != want {
				s.t.Errorf("it goes on as\n%q\nwant\n%q", back, want)
			}
		}
		s.quiet()
		if !goesOn {
			s.counted("unreadable")
		}
	}
}

// broadcastAnswer: the gateway puts a broadcast address into the Via of who has called. The answer goes to where the INVITE came from all the same.
func broadcastAnswer(s *stage, _ []byte) {
	s.t.Helper()
	s.sender.send(s.call())
	resp := response(s.t, s.gateway.next(), 486)
	s.starts(s.sender.next(), "SIP/2.0 100 ")
	vias := headersOf(string(resp), "Via")
	s.gateway.send(bytes.Replace(resp, []byte(vias[1]), []byte("SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23"), 1))
	s.starts(s.sender.next(), "SIP/2.0 486 ")
	s.starts(s.gateway.next(), "ACK ")
	s.quiet()
}

// call is an INVITE of the sender's.
func (s *stage) call() []byte {
	return []byte("INVITE sip:user@example.com SIP/2.0\r\nVia: SIP/2.0/" + strings.ToUpper(s.name) + " " + senderAddr + ";branch=z9hG4bKcall\r\n" +
		"From: <sip:x@elsewhere.org>;tag=1\r\nTo: <sip:user@example.com>\r\nCall-ID: call\r\nCSeq: 35 INVITE\r\nMax-Forwards: 70\r\n" +
		"Contact: <sip:x@" + senderAddr + ">\r\nContent-Length: 0\r\n\r\n")
}

// asAnswer puts into a response what makes it one to a request of which another response is given.
func asAnswer(msg, of []byte, keep []string) []byte {
	ofRequest := []string{"Via", "From", "To", "Call-ID", "CSeq"}
	ofRequest = slices.DeleteFunc(ofRequest, func(name string) bool { return slices.Contains(keep, name) })
	name := func(line []byte) string {
		n, _, _ := bytes.Cut(line, []byte(":"))
		return string(n)
	}
	var out []byte
	for i, line := range bytes.SplitAfter(msg, []byte("\r\n")) {
		if i > 0 && slices.Contains(ofRequest, name(line)) {
			continue
		}
		out = append(out, line...)
		for _, other := range bytes.SplitAfter(of, []byte("\r\n")) {
			if i == 0 && slices.Contains(ofRequest, name(other)) {
				out = append(out, other...)
			}
		}
	}
	return out
}

// challenged: a REGISTER gets a challenge of ours.
func challenged(user string) outcome {
	return func(s *stage, msg []byte) {
		s.t.Helper()
		s.user(user)
		s.sender.send(msg)
		s.challenge()
		s.quiet()
	}
}

func (s *stage) challenge() (got string) {
	s.t.Helper()
	got = s.answer()
	s.refusal(got, 401, "")
	s.starts(headerOf(got, "WWW-Authenticate"), `Digest realm="example.com", nonce="`)
	return got
}

// registers: a REGISTER of a user's is challenged and then, with credentials, carried out; the 200 has these contacts.
func registers(user string, contacts ...string) outcome {
	return func(s *stage, msg []byte) {
		s.t.Helper()
		s.register(user, msg, contacts)
		s.quiet()
	}
}

func (s *stage) register(user string, msg []byte, contacts []string) {
	s.t.Helper()
	s.user(user)
	s.sender.send(msg)
	s.sender.send(s.authorized(msg, s.challenge(), user))
	got := s.answer()
	s.starts(got, "SIP/2.0 200 ")
	if have := headersOf(got, "Contact"); !slices.Equal(have, contacts) {
		s.t.Errorf("registered\n%q\nwant\n%q", have, contacts)
	}
}

// registersAt: so, and what is for the user comes to where the REGISTER came from, with this Request-URI.
func registersAt(user, uri string, contacts ...string) outcome {
	return func(s *stage, msg []byte) {
		s.t.Helper()
		s.register(user, msg, contacts)
		s.sender.send([]byte("MESSAGE sip:" + user + "@example.com SIP/2.0\r\nVia: SIP/2.0/" + strings.ToUpper(s.name) + " " + senderAddr + ";branch=z9hG4bKmsg\r\n" +
			"From: <sip:x@elsewhere.org>;tag=1\r\nTo: <sip:" + user + "@example.com>\r\nCall-ID: msg\r\nCSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"))
		got := s.sender.next()
		if line, want := firstLine(got), "MESSAGE "+uri+" SIP/2.0"; line != want {
			s.t.Errorf("a request for the contact is\n%s\nwant\n%s", line, want)
		}
		if n := len(headersOf(got, "Route")); n != 0 {
			s.t.Errorf("it has %d Routes", n)
		}
		s.sender.send(response(s.t, got, 299))
		s.starts(s.sender.next(), "SIP/2.0 299 ")
		s.quiet()
	}
}

// bothAnswered: on a stream what follows a REGISTER is another message: an INVITE, which is relayed.
func bothAnswered(s *stage, msg []byte) {
	s.t.Helper()
	s.user("j.user")
	s.sender.send(msg)
	s.challenge()
	s.starts(s.sender.next(), "SIP/2.0 100 ")
	got := s.gateway.next()
	s.starts(got, "INVITE sip:joe@")
	s.gateway.send(response(s.t, got, 486))
	s.starts(s.sender.next(), "SIP/2.0 486 ")
	s.starts(s.gateway.next(), "ACK ")
	s.quiet()
}

// twoTransactions: a second request with another CSeq is no retransmission of the first.
func twoTransactions(s *stage, msg []byte) {
	s.t.Helper()
	for i, m := range [][]byte{msg, bytes.Replace(msg, []byte("CSeq: 8"), []byte("CSeq: 9"), 1)} {
		s.sender.send(m)
		got := s.gateway.next()
		s.starts(got, "OPTIONS ")
		s.gateway.send(response(s.t, got, 299))
		back := s.sender.next()
		s.starts(back, "SIP/2.0 299 ")
		if want := fmt.Sprintf("%d OPTIONS", 8+i); headerOf(back, "CSeq") != want {
			s.t.Errorf("answered as %s, want %s", headerOf(back, "CSeq"), want)
		}
	}
	s.quiet()
}
