package proxy

import (
	"fmt"
	"strings"
	"testing"

	"holdline/fsm/pb"
)

// TestToContact: a phone that is sent to another's Contact, as by the Refer-To of an attended transfer, reaches that phone and none of the user's others. Strangers, and whoever
// makes up a Contact, reach nobody.
func TestToContact(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@192.168.1.5:5062;ob", bob.addr, 1, 1000)
	cl.register("bob@example.com", "sip:bob@"+bob2.addr, bob2.addr, 1, 1000)
	cl.register("carol@example.com", "sip:8xk2@a7.invalid;transport=ws", carol.addr, 1, 1000)
	for name, c := range map[string]struct{ uri, want string }{
		"named":        {"sip:bob@192.168.1.5:5062", bob.addr + " INVITE sip:bob@192.168.1.5:5062;ob"},
		"by chance":    {"sip:8xk2@a7.invalid;transport=ws", carol.addr + " INVITE sip:8xk2@a7.invalid;transport=ws"},
		"another port": {"sip:bob@192.168.1.5:5063", alice.addr + " 404 Domain Not Served Here"},
		"nobody":       {"sip:zoe@192.168.1.5:5062", alice.addr + " 404 Domain Not Served Here"},
		"no user":      {"sip:192.168.1.5:5062", alice.addr + " 404 Domain Not Served Here"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cl)
			id := strings.ReplaceAll(name, " ", "-")
			w.in(1, alice.addr, alice.request("INVITE", c.uri, id, 1, id, "", "Replaces: c9;to-tag=1;from-tag=2"))
			got := w.takeBut100()
			w.sent = got
			m := w.want(c.want)[0]
			if strings.HasPrefix(m, "INVITE") && len(header(m, "Replaces")) != 1 {
				t.Errorf("Replaces is gone:\n%s", m)
			}
		})
	}
	w := newWorld(t, cl)
	w.in(1, stranger.addr, stranger.foreign(stranger.request("INVITE", "sip:bob@192.168.1.5:5062", "c2", 1, "c2", "")))
	w.want(stranger.addr + " 404 Domain Not Served Here")
	cl.putGateway("gw3", "192.0.2.7:5060", "192.0.2.0/24") // and a carrier, which has it from a dialog as well
	w.reconfigured()
	gw := phone{"gw3", "192.0.2.7:5060"}
	w.in(1, gw.addr, gw.foreign(gw.request("INVITE", "sip:8xk2@a7.invalid", "c3", 1, "c3", "")))
	w.want(gw.addr+" 100 Trying", carol.addr+" INVITE sip:8xk2@a7.invalid;transport=ws")
}

// TestToContactOfAnotherDomain: a gateway, which is of no domain, finds phones of all of them.
func TestToContactOfAnotherDomain(t *testing.T) {
	cl := newCluster(t)
	for _, d := range []string{"a.example", "other.example", "z.example"} {
		cl.apply(&pb.Command{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: d}}}})
	}
	cl.apply(&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: "zoe@other.example", Ha1Md5: make([]byte, 16)}}}})
	cl.putGateway("gw3", "192.0.2.7:5060")
	cl.register("zoe@other.example", "sip:zoe@192.168.1.5:5062", bob.addr, 1, 1000)
	w := newWorld(t, cl)
	for i, p := range []phone{{"gw3", "192.0.2.7:5060"}, alice} {
		req := p.request("INVITE", "sip:zoe@192.168.1.5:5062", fmt.Sprint("c", i), 1, fmt.Sprint("c", i), "")
		if i == 0 {
			req = p.foreign(req)
		}
		w.in(1, p.addr, req)
		w.want(p.addr+" 100 Trying", bob.addr+" INVITE sip:zoe@192.168.1.5:5062")
	}
}

// TestNumberOfAnotherDomain: a domain's gateways are called by its own users; who is with another one pays for none of theirs. Users are reached across.
func TestNumberOfAnotherDomain(t *testing.T) {
	cl := newCluster(t)
	cl.apply(&pb.Command{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: "other.example"}}}})
	cl.apply(&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: "zoe@other.example", Ha1Md5: make([]byte, 16)}}}})
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	w := newWorld(t, cl)
	zoe := phone{"zoe", "10.0.0.39:5060"}
	call := func(uri, id string) {
		w.in(1, zoe.addr, strings.Replace(zoe.request("INVITE", uri, id, 1, id, ""), "sip:zoe@example.com", "sip:zoe@other.example", 1))
	}
	call("sip:0123@example.com", "c1")
	w.want(zoe.addr + " 403 Numbers Are Dialled In One's Own Domain")
	call("sip:bob@example.com", "c2")
	w.want(zoe.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)
}
