package phone

import (
	"sync"

	"github.com/emiago/sipgo/sip"
)

// callHeader carries the lab's name of a call from caller to callee: a header that no proxy knows and every proxy has to relay
// (RFC 3261 §16.6 step 1), so it finds the callee's side of the call whatever becomes of Call-ID and addresses.
const callHeader = "X-Lab-Call"

// Arrivals hands each new INVITE to the call that it belongs to, and answers other requests outside dialogs. The zero value
// is ready. Safe for concurrent use.
type Arrivals struct {
	mu    sync.Mutex
	calls map[string]chan Arrival
	more  int
}

// Arrival is an INVITE and the phone that it reached.
type Arrival struct {
	At     *Phone
	Server *Server
}

// NameCall marks an INVITE as that of the call id.
func NameCall(invite *sip.Request, id string) { invite.AppendHeader(sip.NewHeader(callHeader, id)) }

// Watch takes a phone's requests outside dialogs. They are handled on the goroutine that reads its socket.
func (a *Arrivals) Watch(p *Phone) {
	p.Handle(func(s *Server) {
		switch s.Request.Method {
		case sip.OPTIONS:
			s.Respond(200, "OK")
			return
		case sip.INVITE:
		default:
			s.Respond(405, "Method Not Allowed")
			return
		}
		a.mu.Lock()
		ch := a.calls[s.Header(callHeader)]
		a.mu.Unlock()
		if ch == nil {
			s.Respond(480, "Temporarily Unavailable")
			return
		}
		select {
		case ch <- Arrival{p, s}:
		default: // the same call by another way (RFC 3261 §8.2.2.2)
			a.mu.Lock()
			a.more++
			a.mu.Unlock()
			s.Respond(482, "Loop Detected")
		}
	})
}

// Open makes room for n INVITEs of a call that nobody has taken yet. Those beyond are answered 482 and counted.
func (a *Arrivals) Open(id string, n int) chan Arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls == nil {
		a.calls = map[string]chan Arrival{}
	}
	ch := make(chan Arrival, n)
	a.calls[id] = ch
	return ch
}

// Shut forgets a call.
func (a *Arrivals) Shut(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.calls, id)
}

// Duplicates counts INVITEs for which there was no room: of one call that reached a callee twice, as two transactions.
func (a *Arrivals) Duplicates() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.more
}
