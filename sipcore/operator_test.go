package sipcore

import (
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
	"holdline/fsm/pb"
)

// TestOperatorEndsCalls: an operator ends a call that stands and one that rings: whichever node owns them does it by itself within about a second, one that has just taken
// them over too.
func TestOperatorEndsCalls(t *testing.T) {
	for name, move := range map[string]bool{"by their owner": false, "by the next owner": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 2)
			ctx := within(t)
			alice, _ := l.newPhone("alice", l.vip(0))
			bob, arrived := l.newPhone("bob", l.vip(1))
			for _, p := range []*phone.Phone{alice, bob} {
				must[*sip.Response](t)(p.Register(ctx, time.Hour))
			}
			c, s := ring(t, ctx, alice, bob, arrived)
			db := must[*phone.Dialog](t)(bob.Answer(s))
			defer db.Close()
			da := must[*phone.Dialog](t)(alice.Confirm(c, must[*sip.Response](t)(c.Final(ctx))))
			defer da.Close()
			<-s.Acked()
			rc, rs := ring(t, ctx, alice, bob, arrived)

			for call := uint64(1); call <= 2; call++ {
				l.ok(&pb.Command{Op: &pb.Command_CutCall{CutCall: &pb.CutCall{Call: call}}})
			}
			if move {
				l.move(1, 1, 2)
			}
			for _, d := range []*phone.Dialog{da, db} {
				bye := must[*phone.Server](t)(d.Incoming(ctx))
				if bye.Request.Method != sip.BYE {
					t.Fatal(bye.Request)
				}
				bye.Respond(200, "OK")
			}
			select {
			case <-rs.Cancelled():
			case <-ctx.Done():
				t.Fatal("the callee rings on")
			}
			if res := must[*sip.Response](t)(rc.Final(ctx)); res.StatusCode != 487 {
				t.Errorf("INVITE: %v", res)
			}
			eventually(t, ctx, "no call is left", func() bool { return l.log.m.Counts().Calls == 0 })
			for _, d := range l.log.m.CDRs(0, 9) {
				if d.Cause != "operator" {
					t.Errorf("a record says %s", d.Cause)
				}
			}
		})
	}
}
