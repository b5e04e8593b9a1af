package phone

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// two phones that call each other directly; the callee's INVITEs and other requests arrive on the channel.
func two(t *testing.T, e *ether) (*Phone, *Phone, chan *Server) {
	t.Helper()
	var stats Stats
	a := NewEndpoint(e.listen("10.0.0.1:5060"), &stats)
	b := NewEndpoint(e.listen("10.0.0.2:5060"), &stats)
	arrived := make(chan *Server, 10)
	b.Handle(func(s *Server) { arrived <- s })
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if n := stats.Unparsed.Load(); n != 0 {
			t.Errorf("%d messages were not understood", n)
		}
	})
	return NewPhone(a, "alice", "example.com", "secret", b.Addr()), NewPhone(b, "bob", "example.com", "", a.Addr()), arrived
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestCallWithLoss(t *testing.T) {
	for name, drop := range map[string]func(string, int) bool{
		"nothing":                  nil,
		"the first of every start": func(_ string, n int) bool { return n == 0 },
		"two of every start":       func(_ string, n int) bool { return n < 2 },
		"ACKs": func(first string, n int) bool {
			return strings.HasPrefix(first, "ACK") && n < 3
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEther()
				e.drop = drop
				call(t, e)
			})
		})
	}
}

func call(t *testing.T, e *ether) {
	a, b, arrived := two(t, e)
	ctx := within(t, 30*time.Second)
	c, err := a.Send(inviteTo(a), a.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	s := <-arrived
	b.Ring(s)
	if res, err := c.Next(ctx); err != nil || res.StatusCode != 180 {
		t.Fatalf("%v, %v; want 180", res, err)
	}
	db, err := b.Answer(s)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Final(ctx)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%v, %v; want 200", res, err)
	}
	da, err := a.Confirm(c, res)
	if err != nil {
		t.Fatal(err)
	}
	<-s.Acked()
	inDialog(t, ctx, da, db, sip.INFO)
	inDialog(t, ctx, db, da, sip.OPTIONS)
	inDialog(t, ctx, db, da, sip.BYE)
	da.Close()
	db.Close()
}

func inviteTo(a *Phone) *sip.Request {
	req := a.NewRequest(sip.INVITE, "bob")
	req.SetBody(nil)
	return req
}

func inDialog(t *testing.T, ctx context.Context, from, to *Dialog, method sip.RequestMethod) {
	t.Helper()
	c, err := from.Send(method)
	if err != nil {
		t.Fatal(err)
	}
	s, err := to.Incoming(ctx)
	if err != nil || s.Request.Method != method {
		t.Fatalf("%v, %v; want %s", s, err, method)
	}
	s.Respond(200, "OK")
	if res, err := c.Final(ctx); err != nil || res.StatusCode != 200 {
		t.Fatalf("%v, %v; want 200 to %s", res, err, method)
	}
}

func TestOrderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, arrived := two(t, newEther())
		for range 50 {
			c, err := a.Send(inviteTo(a), a.Proxy)
			if err != nil {
				t.Fatal(err)
			}
			s := <-arrived
			b.Ring(s)
			if _, err := b.Answer(s); err != nil {
				t.Fatal(err)
			}
			for _, want := range []int{180, 200} {
				res, err := c.Next(within(t, time.Second))
				if err != nil || res.StatusCode != want {
					t.Fatalf("%v, %v; want %d", res, err, want)
				}
				if want == 200 {
					if _, err := a.Confirm(c, res); err != nil {
						t.Fatal(err)
					}
				}
			}
			<-s.Acked()
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEther()
		e.drop = func(_ string, n int) bool { return n == 0 }
		a, b, arrived := two(t, e)
		ctx := within(t, 20*time.Second)
		c, err := a.Send(inviteTo(a), a.Proxy)
		if err != nil {
			t.Fatal(err)
		}
		s := <-arrived
		b.Ring(s)
		if _, err := c.Next(ctx); err != nil {
			t.Fatal(err)
		}
		cancel, err := c.Cancel()
		if err != nil {
			t.Fatal(err)
		}
		<-s.Cancelled()
		if res, err := cancel.Final(ctx); err != nil || res.StatusCode != 200 {
			t.Errorf("%v, %v; want 200 to CANCEL", res, err)
		}
		if res, err := c.Final(ctx); err != nil || res.StatusCode != 487 {
			t.Errorf("%v, %v; want 487", res, err)
		}
		<-s.Acked()
	})
}

func TestGivesUpRetransmitting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEther()
		a, _, _ := two(t, e)
		e.drop = func(string, int) bool { return true }
		c, err := a.Send(inviteTo(a), a.Proxy)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := c.Next(within(t, 5*time.Minute)); err == nil {
			t.Errorf("an answer out of nothing: %v", res)
		}
		if n := e.count("INVITE"); n != 7 { // RFC 3261 §17.1.1.2: seven in 32 s
			t.Errorf("INVITE sent %d times; want 7", n)
		}
	})
}

func TestDigest(t *testing.T) {
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		t.Run(algorithm, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _, arrived := two(t, newEther())
				chal := digest.Challenge{Realm: "example.com", Nonce: "abc", QOP: []string{"auth"}, Algorithm: algorithm}
				done := make(chan error, 1)
				go func() {
					(<-arrived).Respond(401, "Unauthorized", sip.NewHeader("WWW-Authenticate", chal.String()))
					s := <-arrived
					done <- check(s, &chal)
					s.Respond(200, "OK")
				}()
				res, err := a.Register(within(t, 10*time.Second), time.Minute)
				if err != nil || res.StatusCode != 200 {
					t.Fatalf("%v, %v; want 200", res, err)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func check(s *Server, chal *digest.Challenge) error {
	got, err := digest.ParseCredentials(s.Header("Authorization"))
	if err != nil {
		return err
	}
	want, err := digest.Digest(chal, digest.Options{
		Method: "REGISTER", URI: "sip:example.com", Username: "alice", Password: "secret", Count: got.Nc, Cnonce: got.Cnonce,
	})
	if err != nil {
		return err
	}
	if got.Response != want.Response || got.URI != "sip:example.com" {
		return &digestError{got.String()}
	}
	return nil
}

type digestError struct{ got string }

func (e *digestError) Error() string { return "wrong credentials " + e.got }

func TestRouteSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEther()
		a, b, arrived := two(t, e)
		req := a.NewRequest(sip.INVITE, "bob")
		// What a proxy between two networks leaves: the callee's side first (RFC 5658 §5).
		for _, uri := range []string{"<sip:tok2@10.0.0.2:5060;lr;x=y>", "<sip:10.0.0.1:5060;lr>"} {
			var rr sip.Uri
			if err := sip.ParseUri(strings.Trim(uri, "<>"), &rr); err != nil {
				t.Fatal(err)
			}
			req.AppendHeader(&sip.RecordRouteHeader{Address: rr})
		}
		req.SetBody(nil)
		c, err := a.Send(req, a.Proxy)
		if err != nil {
			t.Fatal(err)
		}
		db, err := b.Answer(<-arrived)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Final(within(t, time.Second))
		if err != nil {
			t.Fatal(err)
		}
		da, err := a.Confirm(c, res)
		if err != nil {
			t.Fatal(err)
		}
		if got := []string{da.routes[0].String(), da.routes[1].String()}; got[0] != "sip:10.0.0.1:5060;lr" || got[1] != "sip:tok2@10.0.0.2:5060;lr;x=y" {
			t.Errorf("caller's route set %v", got)
		}
		if got := db.routes[0].String(); got != "sip:tok2@10.0.0.2:5060;lr;x=y" {
			t.Errorf("callee's first route %v", got)
		}
	})
}
