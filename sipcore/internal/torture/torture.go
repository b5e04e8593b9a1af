// Package torture has the messages of RFC 4475 and RFC 5118 (IPv6) for the tests of who reads and who answers them; nothing else may use it. They are
// written anew, each with what the RFC's message of that name is about, and shortened where length is not that.
package torture

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Message is one of them.
type Message struct {
	Name    string // as in the RFC
	RFC     int
	Section string
	Bytes   []byte // as on the wire
}

// String names a message for people.
func (m *Message) String() string { return fmt.Sprintf("%s RFC %d §%s", m.Name, m.RFC, m.Section) }

// All returns every message of both RFCs, in their order. They are the caller's to change.
func All() (all []Message) {
	for _, part := range [...][]message{valid, invalid, meaning, six} {
		for _, m := range part {
			rfc := 4475
			if strings.HasPrefix(m.section, "4.") {
				rfc = 5118
			}
			all = append(all, Message{m.name, rfc, m.section, onWire(m.text)})
		}
	}
	return all
}

// message is one as it is written here: lines end with LF, and CL is the length of the body.
type message struct{ name, section, text string }

func onWire(text string) []byte {
	head, body, _ := strings.Cut(text, "\n\n")
	b := bytes.ReplaceAll([]byte(body), []byte("\n"), []byte("\r\n"))
	head = strings.Replace(head, ": CL", ": "+strconv.Itoa(len(b)), 1)
	return append([]byte(strings.ReplaceAll(head+"\n\n", "\n", "\r\n")), b...)
}

// Header lines that say nothing of their own in most messages.
const (
	via   = "Via: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw\n"
	toFor = "To: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=134161461246\n"
	tail  = toFor + "Max-Forwards: 70\n"
	empty = "Content-Length: 0\n\n"
	sdp   = "v=0\no=mhandley 29739 7272939 IN IP4 192.0.2.15\ns=-\nc=IN IP4 192.0.2.15\nt=0 0\nm=audio 49217 RTP/AVP 0\n"
	offer = "Contact: <sip:caller@host5.example.net>\nContent-Type: application/sdp\nContent-Length: CL\n\n" + sdp
)
