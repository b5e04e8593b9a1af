package fsm

import (
	"io"
	"net/netip"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"holdline/fsm/pb"
)

// TestReadsBesideApply reads everything while entries are applied and snapshots taken, written and restored: for the race detector.
func TestReadsBesideApply(t *testing.T) {
	defer goleak.VerifyNone(t)
	l := newLoad(t, 50)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	reader := func(fn func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					fn()
				}
			}
		})
	}
	var dst []Binding
	reader(func() {
		dst = l.Bindings(phone(3), dst[:0])
		l.Registered(phone(3), "c", 1, nil)
		c := l.Config()
		c.User(phone(3))
		c.Route("example.com", "49")
		c.Sources(netip.MustParseAddr("10.77.0.21"))
		c.Users(func(*User) bool { return true })
	})
	var arc []Registrant
	reader(func() {
		for from := uint64(0); ; {
			if arc, from = l.Arc(from, 0, 10, arc[:0]); from == 0 {
				break
			}
		}
	})
	reader(func() {
		l.Registrations(func(string, []Binding) bool { return true })
		l.EachBinding(func(b *Binding) {
			if b.Contact == "" {
				t.Error("a binding without a contact")
			}
		})
		l.Calls(func(c *Call) bool { return c.Active() })
		l.CallsOf(1, func(c *Call) bool { return l.Call(c.Number) != nil })
	})
	reader(func() {
		l.Counts()
		l.ExpireDue()
		l.DomainCalls("example.com")
		l.CallByKey([]byte("k"))
		l.Now()
		l.Applied()
	})
	for round := range uint64(20) {
		l.register(50)
		l.establish((round + 1) * 10)
		l.must(user("someone@example.com"), cmd(&pb.RemoveUser{Aor: "someone@example.com"}))
		s := l.Snapshot()
		wg.Go(func() {
			if _, err := s.WriteTo(io.Discard); err != nil {
				t.Error(err)
			}
		})
		if round == 10 {
			r, w := io.Pipe()
			wg.Go(func() {
				_, err := s.WriteTo(w)
				w.CloseWithError(err)
			})
			if err := l.Restore(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}
