package cluster

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"holdline/cluster/api"
	"holdline/fsm"
)

// Nodes compare their states at one and the same log entry: the one that sets this. Whoever applies it takes a snapshot there,
// which costs next to nothing, adds it up beside everything else, and tells the others.
const (
	settingChecksum = "state.checksum"
	checksumLimit   = 20 * time.Second // a million registrations take a few seconds
)

// stateSum is a node's answer.
type stateSum struct {
	Ask   string `json:"ask"`
	Index uint64 `json:"index"`
	Sum   string `json:"sum"`
}

// checksums is what has been asked and answered last.
type checksums struct {
	jobs chan checksumJob

	mu sync.Mutex
	by map[uint32]stateSum
}

type checksumJob struct {
	ask   string
	state *fsm.Snapshot
}

func (c *checksums) init() { c.jobs, c.by = make(chan checksumJob, 1), map[uint32]stateSum{} }

// put is called on the apply goroutine: it never waits. Only the latest question matters to anybody.
func (c *checksums) put(ask string, state *fsm.Snapshot) {
	select {
	case <-c.jobs:
	default:
	}
	select {
	case c.jobs <- checksumJob{ask, state}:
	default:
	}
}

func (c *checksums) set(node uint32, s stateSum) {
	c.mu.Lock()
	c.by[node] = s
	c.mu.Unlock()
}

func (c *checksums) get(node uint32, ask string) (stateSum, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.by[node]
	return s, ok && s.Ask == ask
}

// answerChecksums adds up what is asked for until the engine stops. An answer is told again each second for as long as it may be
// awaited: gossip goes to whom the link reaches at that moment, and the link to a node that has just come back may not.
func (e *engine) answerChecksums() {
	var answer []byte
	var until time.Time
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		select {
		case job := <-e.checksums.jobs:
			sum, err := sumOf(e.ctx, job.state)
			if err != nil {
				e.logger.Debug("checksum given up", "err", err)
				continue
			}
			own := stateSum{Ask: job.ask, Index: job.state.Applied(), Sum: sum}
			text, err := json.Marshal(own)
			if err != nil {
				e.logger.Error("encode checksum", "err", err)
				continue
			}
			e.checksums.set(e.number.Load(), own)
			answer, until = append([]byte{gossipChecksum}, text...), time.Now().Add(checksumLimit)
		case <-again.C:
			if time.Now().After(until) {
				continue
			}
		case <-e.ctx.Done():
			return
		}
		e.link.Load().Gossip(answer)
	}
}

// sumOf is the beginning of the SHA-256 of a snapshot as it would be stored: two replicas in the same state write the same bytes.
func sumOf(ctx context.Context, s *fsm.Snapshot) (string, error) {
	h := sha256.New()
	if _, err := s.WriteTo(whileRunning{ctx, h}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// whileRunning is a writer that fails once ctx has ended.
type whileRunning struct {
	ctx context.Context
	w   io.Writer
}

func (w whileRunning) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// doctorState compares the replicated state of all nodes that are alive, record for record, at one index.
func (e *engine) doctorState(ctx context.Context) []api.Check {
	c := api.Check{Name: "state", Result: api.CheckWarn, Advice: "see holdline status"}
	ask := make([]byte, 8)
	_, _ = rand.Read(ask) // never fails: crypto/rand
	want := hex.EncodeToString(ask)
	if err := e.write(ctx, putSetting(settingChecksum, want)); err != nil {
		c.Detail = "not compared: " + err.Error()
		return []api.Check{c}
	}
	wait, cancel := context.WithTimeout(ctx, checksumLimit)
	defer cancel()
	for {
		sums, missing := e.stateSums(want)
		switch {
		case len(missing) == 0:
			return []api.Check{compareSums(sums)}
		case wait.Err() != nil:
			c.Detail = fmt.Sprintf("no checksum came from %s within %v", strings.Join(missing, ", "), checksumLimit)
			return []api.Check{c}
		}
		select {
		case <-wait.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stateSums returns the answers by node name, and who of the nodes that are alive owes one.
func (e *engine) stateSums(ask string) (sums map[string]stateSum, missing []string) {
	sums = map[string]stateSum{}
	for _, n := range e.machine.Config().Nodes() {
		if alive, _ := e.alive(n.Number); !alive {
			continue
		}
		if s, ok := e.checksums.get(n.Number, ask); ok {
			sums[n.Name] = s
		} else {
			missing = append(missing, n.Name)
		}
	}
	return sums, missing
}

func compareSums(sums map[string]stateSum) api.Check {
	c := api.Check{Name: "state", Result: api.CheckOK}
	var names, each []string
	equal := map[string]int{}
	var one stateSum
	for name, s := range sums {
		names, one = append(names, name), s
		equal[s.Sum]++
		each = append(each, fmt.Sprintf("%s %s", name, s.Sum))
	}
	slices.Sort(names)
	slices.Sort(each)
	if len(equal) == 1 {
		c.Detail = fmt.Sprintf("equal at index %d on %s: %s", one.Index, strings.Join(names, ", "), one.Sum)
		return c
	}
	c.Result = api.CheckFail
	c.Detail = fmt.Sprintf("different at index %d: %s", one.Index, strings.Join(each, ", "))
	c.Advice = "take a backup on each, then have the one that differs leave (holdline leave) and join again; please report it"
	return c
}
