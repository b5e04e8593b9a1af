package proxy

import (
	"strings"
	"testing"

	"holdline/fsm/pb"
)

// TestMinSE: what becomes of the session interval that a caller asks for (RFC 4028 §8.1), with 300 s as our minimum.
func TestMinSE(t *testing.T) {
	for _, c := range []struct {
		say, supported, se, minSE string
		want                      string // Session-Expires and Min-SE as the callee gets them, or our answer
	}{
		{"nothing asked", "timer", "", "", " | "},
		{"long enough", "timer", "300;refresher=uac", "", "300;refresher=uac | "},
		{"too short", "100rel, Timer", "299;refresher=uac", "", "422 Session Interval Too Small 300"},
		{"too short, with a Min-SE", "timer", "120", "120", "422 Session Interval Too Small 300"},
		{"too short, sender knows no timers", "100rel", "120;refresher=uas", "", "300;refresher=uas | 300"},
		{"too short, sender knows no timers, lower Min-SE", "", "120", "100", "300 | 300"},
		{"too short, sender knows no timers, higher Min-SE", "", "120", "400;x=y", "400 | 400;x=y"},
		{"long enough, higher Min-SE", "timer", "600", "1800", "1800 | 1800"},
		{"below what the RFC allows", "", "30", "", "300 | 300"},
		{"unreadable", "timer", "soon", "", "soon | "},
		{"absurd", "timer", "99999999999999999999", "", "99999999999999999999 | "},
	} {
		t.Run(c.say, func(t *testing.T) {
			w := newTestCall(t)
			w.cl.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: settingMinSE, Value: "300"}}})
			v, _ := NewView(w.cl.m.Config(), testGroups, nil)
			w.v = v
			var headers []string
			for _, h := range [][2]string{{"k: ", c.supported}, {"x: ", c.se}, {"Min-SE: ", c.minSE}} {
				if h[1] != "" {
					headers = append(headers, h[0]+h[1])
				}
			}
			w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", headers...))
			out := w.take()
			last := out[len(out)-1].data
			got := strings.Join(append(header(last, "x"), header(last, "Session-Expires")...), ",") + " | " + strings.Join(header(last, "Min-SE"), ",")
			if strings.HasPrefix(last, "SIP/2.0 ") {
				got = strings.TrimPrefix(last[:strings.Index(last, "\r\n")], "SIP/2.0 ") + " " + strings.Join(header(last, "Min-SE"), ",")
				if w.s.Len() != 0 {
					t.Error("refused with state")
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestMinSEOfRefresh: re-INVITE and UPDATE are held to it as well; other requests have no session interval.
func TestMinSEOfRefresh(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.timed("c1", "1800;refresher=uac")
	to, routes := header(ok, "To")[0], routeSet(ok, true)
	for i, c := range []struct{ method, want string }{
		{"INVITE", alice.addr + " 422 Session Interval Too Small"},
		{"UPDATE", alice.addr + " 422 Session Interval Too Small"},
		{"INFO", bob.addr + " INFO sip:bob@" + bob.addr},
	} {
		h := append([]string{"Supported: timer", "Session-Expires: 60"}, routes...)
		w.in(1, alice.addr, alice.request(c.method, "sip:bob@"+bob.addr, "c1", i+2, c.method, to, h...))
		w.want(c.want)
	}
}
