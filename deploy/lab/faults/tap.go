package faults

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"holdline/deploy/lab/phone"
)

// Seen is one message at a phone's socket.
type Seen struct {
	At     time.Time
	Sent   bool
	Peer   netip.AddrPort
	CallID string
	Message
}

// Tap is a phone's socket that notes every message and fires the fault at the one that it is armed for. Safe for
// concurrent use.
type Tap struct {
	phone.Conn

	mu   sync.Mutex
	seen []Seen
	arm  *arm
}

// arm is what a tap waits for.
type arm struct {
	sent    bool
	message Message
	fire    func()
}

// NewTap listens in on a socket.
func NewTap(conn phone.Conn) *Tap { return &Tap{Conn: conn} }

// LocalAddr is the socket's.
func (t *Tap) LocalAddr() net.Addr { return t.Conn.LocalAddr() }

// ReadFromUDPAddrPort fires the fault before the phone gets the message.
func (t *Tap) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := t.Conn.ReadFromUDPAddrPort(b)
	if err == nil {
		t.note(b[:n], from, false)
	}
	return n, from, err
}

// WriteToUDPAddrPort fires the fault when the message is on its way.
func (t *Tap) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	n, err := t.Conn.WriteToUDPAddrPort(b, to)
	t.note(b, to, true)
	return n, err
}

// Arm has fire called, once, at the next message of that kind. It replaces what was armed; a nil fire disarms.
func (t *Tap) Arm(sent bool, m Message, fire func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arm = nil
	if fire != nil {
		t.arm = &arm{sent: sent, message: m, fire: fire}
	}
}

// Reset forgets what was seen.
func (t *Tap) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = nil
}

// Seen is what passed since Reset.
func (t *Tap) Seen() []Seen {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Seen(nil), t.seen...)
}

func (t *Tap) note(raw []byte, peer netip.AddrPort, sent bool) {
	s := Seen{At: time.Now(), Sent: sent, Peer: peer}
	var ok bool
	if s.Message, s.CallID, ok = describe(raw); !ok {
		return
	}
	t.mu.Lock()
	t.seen = append(t.seen, s)
	var fire func()
	if a := t.arm; a != nil && a.sent == sent && a.message.matches(s.Message) {
		fire, t.arm = a.fire, nil
	}
	t.mu.Unlock()
	if fire != nil {
		fire()
	}
}

// describe reads as much of a message as a transcript speaks of.
func describe(raw []byte) (m Message, callID string, ok bool) {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	first := strings.Fields(lines[0])
	if len(first) < 3 {
		return m, "", false
	}
	method := ""
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "cseq":
			if f := strings.Fields(value); len(f) == 2 {
				method = f[1]
			}
		case "call-id", "i":
			callID = strings.TrimSpace(value)
		case "authorization", "proxy-authorization":
			m.Credentials = true
		}
	}
	m.What = first[0]
	if first[0] == "SIP/2.0" {
		m.What = first[1] + " to " + method
	}
	return m, callID, true
}
