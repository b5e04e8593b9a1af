package proxy

import (
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// probe has gw1 asked, and returns the OPTIONS if it was sent.
func (w *world) probe(id string) string {
	w.t.Helper()
	m := w.cl.m.Config().Pool("gw").Members[0]
	if !w.s.Probe(w.v, w.now, 1, w.epochs[1], m, id) {
		w.t.Fatal("not asked")
	}
	return w.want(gw1.addr + " OPTIONS sip:" + gw1.addr)[0]
}

// TestProbe: what a gateway answers to an OPTIONS, or does not, and what is made of it.
func TestProbe(t *testing.T) {
	w := newTestCall(t)
	state := func(what string, want Gateway) {
		t.Helper()
		g := w.s.opt.Health.Gateway("gw", "gw1", w.now)
		if g.Ago = 0; g != want {
			t.Errorf("%s: %+v, want %+v", what, g, want)
		}
		if n := w.s.Len(); n != 0 {
			t.Errorf("%s: %d transactions are left", what, n)
		}
	}
	w.probe("p1")
	w.pass(4 * time.Second)
	if n := len(w.take()); n != 3 { // after 0.5, 1.5 and 3.5 s
		t.Errorf("repeated %d times", n)
	}
	state("one that has never answered", Gateway{Silent: true})

	req := w.probe("p2")
	if via := header(req, "Via"); len(via) != 1 || !strings.HasPrefix(via[0], "SIP/2.0/UDP 10.0.0.101:5060;branch=z9hG4bKh") || header(req, "From")[0][:24] != "<sip:10.0.0.101:5060>;ta" {
		t.Errorf("asked with\n%s", req)
	}
	w.now += int64(20 * time.Millisecond)
	w.in(1, gw1.addr, gw1.answer(req, 404))
	w.want()
	took := 20 * time.Millisecond
	state("one that answers", Gateway{Answered: true, Took: took})

	w.probe("p3")
	w.pass(4 * time.Second)
	w.take()
	state("silent", Gateway{Down: true, Answered: true, Silent: true, Took: took})
	if gw, _ := w.dial("c1"); gw != gw2.addr {
		t.Errorf("a call goes to %s", gw)
	}
	w.s.DropGroup(1)

	req = w.probe("p4")
	w.in(1, gw1.addr, gw1.answer(req, 200))
	state("back", Gateway{Answered: true})

	req = w.probe("p5")
	w.in(1, gw1.addr, gw1.answer(req, 503))
	state("unable", Gateway{Down: true, Answered: true})
	req = w.probe("p6")
	w.in(1, gw1.addr, gw1.answer(req, 200))
	state("able again", Gateway{Answered: true})

	req = w.probe("p7")
	w.in(1, gw1.addr, gw1.answer(req, 503, "Retry-After: 60"))
	w.probe("p8")
	w.in(1, gw1.addr, gw1.answer(w.probe("p9"), 200))
	if !w.s.opt.Health.isDown("gw", "gw1", w.now+int64(59*time.Second)) || w.s.opt.Health.isDown("gw", "gw1", w.now+int64(time.Minute)) {
		t.Error("it has asked for a minute")
	}
	w.pass(4 * time.Second) // p8
	w.take()
	state("asked for a minute", Gateway{Down: true, Answered: true, Silent: true})
	w.pass(time.Minute)
	state("a minute later", Gateway{Answered: true, Silent: true})

	req = w.probe("pa")
	w.in(1, gw1.addr, gw1.answer(req, 100))
	w.pass(4 * time.Second)
	w.take()
	state("slow", Gateway{Answered: true, Took: 4 * time.Second})

	req = w.probe("pb")
	w.refused(req, gw1.addr, true)
	state("its port is closed", Gateway{Down: true, Answered: true, Silent: true, Took: 4 * time.Second})

	w.s.opt.Health.Forget("gw", "gw1")
	state("forgotten", Gateway{})
}

// TestProbeFrom: a gateway is asked from a VIP of its family, by its transport, and through the group that it is called through.
func TestProbeFrom(t *testing.T) {
	w := newTestCall(t)
	for _, c := range []struct {
		m     *pb.Member
		asked bool
		want  string
	}{
		{&pb.Member{Pool: "gw", Name: "x", Address: "10.9.0.1", Transport: "tcp"}, true, "10.9.0.1:5060 OPTIONS sip:10.9.0.1;transport=tcp"},
		{&pb.Member{Pool: "gw", Name: "x", Address: "10.9.0.1:5070", Group: 2}, true, "10.9.0.1:5070 OPTIONS sip:10.9.0.1:5070"},
		{&pb.Member{Pool: "gw", Name: "x", Address: "[2001:db8::1]:5060"}, false, ""},
		{&pb.Member{Pool: "gw", Name: "x", Address: "2001:db8::1"}, false, ""},
	} {
		if asked := w.s.Probe(w.v, w.now, 1, 1, c.m, c.m.Address); asked != c.asked {
			t.Errorf("%s: asked: %v", c.m.Address, asked)
		}
		if !c.asked {
			w.want()
			continue
		}
		got := w.take()
		if len(got) != 1 || got[0].to.Remote.String()+" "+strings.TrimSuffix(strings.SplitN(got[0].data, "\r\n", 2)[0], " SIP/2.0") != c.want {
			t.Errorf("%s: sent %v", c.m.Address, got)
			continue
		}
		group := max(c.m.Group, 1)
		if to := got[0].to; to.Group != group || (to.Proto == pb.Transport_TCP) != (c.m.Transport == "tcp") {
			t.Errorf("%s: sent by %+v", c.m.Address, to)
		}
	}
	if n := w.s.Len(); n != 2 {
		t.Errorf("%d transactions", n)
	}
}
