package cluster

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"holdline/fsm/pb"
)

// grow puts registrations and answered calls into the cluster's state at once, as a restore does: the present state goes on
// aside, by the state machine's own commands, and raft puts it in place. Nothing may be writing. It returns the leader.
func (l *lab) grow(registrations, calls int) (leader int) {
	l.t.Helper()
	state := l.grown(l.nodes[l.leader()].engine.Load(), registrations, calls)
	l.t.Logf("a state of %d MB", len(state)>>20)
	l.wait(5*time.Minute, "the state is in place", func() bool { // making it has kept the machine busy: leadership may be moving
		for i, n := range l.nodes {
			e := n.engine.Load()
			if e == nil {
				continue
			}
			lead := e.lead.Swap(nil)
			if lead == nil {
				continue
			}
			lead.stop()
			err := e.raft.Restore(&raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Size: int64(len(state))}, bytes.NewReader(state), time.Minute)
			if e.raft.State() == raft.Leader {
				e.lead.Store(e.startLeadership())
			}
			if leader = i; err == nil {
				return true
			}
			l.t.Log("restore: ", err)
		}
		return false
	})
	return leader
}

func (l *lab) grown(e *engine, registrations, calls int) []byte {
	l.t.Helper()
	var now bytes.Buffer
	if err := e.snapshot(l.t.Context(), &now); err != nil {
		l.t.Fatal(err)
	}
	w, err := newRewrite(&now)
	if err != nil {
		l.t.Fatal(err)
	}
	const batch = 500
	for from := 0; from < registrations; from += batch {
		var rows []*pb.Command
		for i := from; i < min(from+batch, registrations); i++ {
			rows = append(rows, putUserRow(loadUser(i)), registerCommand(loadUser(i), 1))
		}
		w.apply(rows...)
	}
	next := w.machine.Counts().CallRows
	for from := 0; from < calls; from += batch {
		var create, answer []*pb.Command
		for i := from; i < min(from+batch, calls); i++ {
			next++
			create = append(create, createCall(fmt.Sprintf("held-%d", i)))
			answer = append(answer, answerCall(uint64(next)))
		}
		w.apply(create...)
		w.apply(answer...)
	}
	state, err := w.snapshot()
	if err != nil {
		l.t.Fatal(err)
	}
	return state
}

func loadUser(i int) string { return fmt.Sprintf("u%07d@example.com", i) }

func putUserRow(aor string) *pb.Command {
	return &pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: aor, Ha1Md5: make([]byte, 16)}}}}
}

func createCall(key string) *pb.Command {
	return &pb.Command{Op: &pb.Command_CreateCall{CreateCall: &pb.CreateCall{
		Key: []byte(key), Home: 1, Domain: "example.com", CallId: key + "@192.0.2.9", FromTag: "from", FromUri: "sip:a@example.com", ToUri: "sip:b@example.com",
		Invite: make([]byte, 600), Targets: []*pb.Target{{Uri: "sip:b@192.0.2.10", Aor: loadUser(0)}},
	}}}
}

func answerCall(number uint64) *pb.Command {
	return &pb.Command{Op: &pb.Command_AnswerCall{AnswerCall: &pb.AnswerCall{Call: number, Home: 1, ToTag: "to", CalleeContact: "sip:b@192.0.2.10"}}}
}

func endCall(number uint64) *pb.Command {
	return &pb.Command{Op: &pb.Command_EndCall{EndCall: &pb.EndCall{Call: number, Home: 1, ToTag: "to"}}}
}

// writers keep some nodes busy as their phones would: refreshes all over the table, and calls.
type writers struct {
	stop   context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex // guards what follows
	delays []time.Duration
	failed []string
}

// write starts writers on the nodes: that many at a time on each, each with its own phones.
// Rounds don't meet: each has a name, and the CSeq that its REGISTERs begin after.
func (l *lab) write(round string, cseq uint32, nodes []int, each, registrations int) *writers {
	ctx, stop := context.WithCancel(l.t.Context())
	w := &writers{stop: stop}
	all := each * len(nodes)
	for j, n := range nodes {
		log := l.nodes[n].engine.Load().submitter
		for k := range each {
			own := j*each + k // the phones whose number leaves this when divided by all are this writer's
			w.wg.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(own)))
				do := func(c *pb.Command) *pb.Result {
					at := time.Now()
					res, err := log.SubmitWait(ctx, c)
					if ctx.Err() != nil {
						return nil
					}
					w.mu.Lock()
					defer w.mu.Unlock()
					w.delays = append(w.delays, time.Since(at))
					if err != nil || res.Code != pb.Code_OK {
						w.failed = append(w.failed, fmt.Sprintf("%v %v", res, err))
						return nil
					}
					return res
				}
				for i := 0; ctx.Err() == nil; i++ {
					do(registerCommand(loadUser(r.IntN(registrations/all)*all+own), cseq+uint32(i)))
					if res := do(createCall(fmt.Sprintf("%s-%d-%d", round, own, i))); res != nil {
						do(answerCall(res.Id))
						do(endCall(res.Id))
					}
				}
			})
		}
	}
	return w
}

// end stops the writers and returns how long their writes took, sorted, and what was refused.
func (w *writers) end() ([]time.Duration, []string) {
	w.stop()
	w.wg.Wait()
	slices.Sort(w.delays)
	return w.delays, w.failed
}
