package cluster

import (
	"flag"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// -kills repeats TestWriteGap: `go test ./cluster -run WriteGap -v -kills 40`.
var kills = flag.Int("kills", 3, "leaders that TestWriteGap kills; from 20 on it judges the 99th percentile")

// writeGapMost is what must hold: writes are back so soon after the raft leader's loss.
const writeGapMost = 300 * time.Millisecond

// TestWriteGap measures for how long nothing can be committed when the raft leader is lost: from the kill until a write submitted on a
// survivor after it has been applied there. Three nodes in this process, raft on disk, synced.
func TestWriteGap(t *testing.T) {
	l := newLab(t, 3).formed()
	var gaps []time.Duration
	for range *kills {
		lost := l.leader()
		survivor := l.nodes[(lost+1)%3].engine.Load()
		killed := make(chan struct{})
		began := time.Now()
		go func() {
			l.kill(lost)
			close(killed)
		}()
		gaps = append(gaps, l.firstWrite(survivor, began))
		<-killed
		l.restart(lost)
		l.highlyAvailable()
	}
	p50, p99 := percentile(gaps, 50), percentile(gaps, 99)
	t.Logf("writes were held after %d kills of the leader: p50 %.0f ms, p99 %.0f ms", *kills, p50, p99)
	if most := float64(writeGapMost.Milliseconds()); p50 > most || *kills >= 20 && p99 > most {
		t.Errorf("p50 %.0f ms, p99 %.0f ms: the latter must be at most %.0f ms", p50, p99, most)
	}
}

// firstWrite writes on a survivor every few milliseconds until a write that began once the leader's term had ended is applied, and
// returns how long after began that was. Writes before that may still have been committed by the lost leader.
func (l *lab) firstWrite(e *engine, began time.Time) time.Duration {
	l.t.Helper()
	term := e.raft.CurrentTerm()
	type outcome struct {
		after time.Duration
		ok    bool
	}
	done := make(chan outcome, 1024)
	for time.Since(began) < 5*time.Second {
		e.submitter.Submit(putSetting("gap", "x"), time.Second, func(r *pb.Result, err error) {
			select {
			case done <- outcome{time.Since(began), err == nil && r.Code == pb.Code_OK && e.raft.CurrentTerm() > term}:
			default:
			}
		})
		select {
		case o := <-done:
			if o.ok {
				return o.after
			}
		case <-time.After(2 * time.Millisecond):
		}
	}
	l.t.Fatal("no write within 5 s of the leader's loss")
	return 0
}
