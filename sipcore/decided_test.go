package sipcore

import (
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
)

// deafLog is a localLog whose node does not hear of what it submits in time, until it may.
type deafLog struct {
	*localLog
	mu    sync.Mutex
	deaf  bool
	later []func()
}

func (l *deafLog) SubmitUntilDecided(cmd *pb.Command, patience time.Duration, done, decided func(*pb.Result, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.deaf {
		l.Submit(cmd, patience, done)
		return
	}
	r := l.apply(cmd)
	l.later = append(l.later, func() { decided(r, nil) })
	done(nil, ErrUndecided)
}

func (l *deafLog) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.later)
}

// TestHeardOfLate: a node that hears of a call's record only when it has gone makes no second one, and then lets the call go.
func TestHeardOfLate(t *testing.T) {
	var log *deafLog
	l := newLab(t, 1, func(o *Options) {
		log = &deafLog{localLog: o.Log.(*localLog)}
		o.Log = log
	})
	ctx, c := within(t), l.cores[0]
	l.set(proxy.SettingCommit, proxy.CommitAfter)
	eventually(t, ctx, "the setting", func() bool { return c.currentView().RecordsLater() })
	alice, _ := l.newPhone("alice", l.vip(0))
	bob, arrived := l.newPhone("bob", l.vip(0))
	for _, p := range []*phone.Phone{alice, bob} {
		if res := must[*sip.Response](t)(p.Register(ctx, time.Hour)); res.StatusCode != 200 {
			t.Fatal(res)
		}
	}
	log.mu.Lock()
	log.deaf = true
	log.mu.Unlock()
	cancelled(t, ctx, l, alice, bob, arrived)
	c.EnterCalls()
	eventually(t, ctx, "the record", func() bool { return log.waiting() == 1 && len(l.log.m.CDRs(0, 9)) == 1 })
	eventually(t, ctx, "that it is late", func() bool { return c.stats.Behind.Load() == 1 })
	l.log.mu.Lock()
	l.log.ms += 40_000
	l.log.mu.Unlock()
	l.ok(&pb.Command{Op: &pb.Command_Expire{Expire: &pb.Expire{UpToMs: 1 << 60}}})
	log.mu.Lock()
	log.deaf = false
	log.later[0]()
	log.mu.Unlock()
	eventually(t, ctx, "that it is known", func() bool { return c.stats.Behind.Load() == 0 })
	if n := len(l.log.m.CDRs(0, 9)); n != 1 || c.stats.CaughtUp.Load() != 1 {
		t.Errorf("%d records; %d calls caught up, %d not", n, c.stats.CaughtUp.Load(), c.stats.NotCaughtUp.Load())
	}
}
