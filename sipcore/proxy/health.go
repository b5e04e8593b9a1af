package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// Settings of how gateways are changed, in seconds, and what they are when nobody has set them.
const (
	settingGatewayTimeout = "proxy.gateway-timeout"
	settingGatewayDown    = "proxy.gateway-down"

	gatewayTimeout = 4  // three INVITEs unanswered
	gatewayDown    = 30 // seconds
	maxRetryAfter  = 300
)

// Health is what a node has found out about pool members by calling and asking them: which of them are silent. It is this node's
// own view, not replicated. Safe for concurrent use by all shards; the zero Health is ready.
type Health struct {
	down atomic.Int32 // entries in till: none is the usual case and costs one load
	mu   sync.Mutex
	till map[memberName]downTill
	told map[memberName]probeResult // by the probes, and by who registers
}

type memberName struct{ pool, member string }

// downTill is until when a member is taken for down, and whether it has asked for that itself.
type downTill struct {
	at    int64
	asked bool
}

// probeResult is the last answer of a member to a probe, if at is not 0, and whether it has left the last probe unanswered.
type probeResult struct {
	at, took int64
	silent   bool
	register registerResult
}

// mark takes a member for down until till; asked: it has asked for the time.
func (h *Health) mark(pool, member string, now, till int64, asked bool) {
	if member == "" || till <= now {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.till == nil {
		h.till = make(map[memberName]downTill)
	}
	for k, t := range h.till { // members that were removed meanwhile go with their time
		if t.at <= now {
			delete(h.till, k)
		}
	}
	h.till[memberName{pool, member}] = downTill{till, asked}
	h.down.Store(int32(len(h.till)))
}

// clear takes a member for up that has answered a request; one that has merely answered a probe stays down if it has asked for time.
func (h *Health) clear(pool, member string, probe bool) {
	if h.down.Load() == 0 || member == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := (memberName{pool, member}); !probe || !h.till[k].asked {
		delete(h.till, k)
	}
	h.down.Store(int32(len(h.till)))
}

// isDown reports whether a member is taken for down.
func (h *Health) isDown(pool, member string, now int64) bool {
	if h.down.Load() == 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return now < h.till[memberName{pool, member}].at
}

// answered notes that a member has answered a probe that was made at asked.
func (h *Health) answered(pool, member string, asked, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.told[memberName{pool, member}]
	r.at, r.took, r.silent = now, now-asked, false
	h.note(pool, member, r)
}

// silent notes that a member has not answered a probe, and reports whether it has ever answered one.
func (h *Health) silent(pool, member string) (answers bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.told[memberName{pool, member}]
	r.silent = true
	h.note(pool, member, r)
	return r.at != 0
}

func (h *Health) note(pool, member string, r probeResult) {
	if h.told == nil {
		h.told = make(map[memberName]probeResult)
	}
	h.told[memberName{pool, member}] = r
}

// Forget drops what is known of a member: it is another one, or gone.
func (h *Health) Forget(pool, member string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.told, memberName{pool, member})
	delete(h.till, memberName{pool, member})
	h.down.Store(int32(len(h.till)))
}

// Gateway is how a pool member looks from this node.
type Gateway struct {
	Down     bool          // it is tried after the others
	Answered bool          // it has answered a probe
	Silent   bool          // but not the last one
	Took     time.Duration // the last time
	Ago      time.Duration // and when that was

	Registers bool // it has answered no probe, but our REGISTER
}

// Gateway tells what is known of a member at now, in the time that shards are given.
func (h *Health) Gateway(pool, member string, now int64) (g Gateway) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := memberName{pool, member}
	g.Down = now < h.till[k].at
	r := h.told[k]
	if g.Silent = r.silent; r.at != 0 {
		g.Answered, g.Took, g.Ago = true, time.Duration(r.took), time.Duration(now-r.at)
		return g
	}
	g.Registers = r.register.says(now)
	g.Silent = !g.Registers && (r.silent || r.register.silent)
	return g
}

// Down is the number of members that are taken for down.
func (h *Health) Down() int { return int(h.down.Load()) }

// avoid lists a pool's members that are taken for down: Apply puts them last.
func (s *Shard) avoid(pool string) []string {
	if s.opt.Health.Down() == 0 {
		return nil
	}
	p := s.view.Config.Pool(pool)
	if p == nil {
		return nil
	}
	var out []string
	for _, m := range p.Members {
		if s.opt.Health.isDown(m.Pool, m.Name, s.now) {
			out = append(out, m.Name)
		}
	}
	return out
}

// patience is how long the leg of target index may stay silent: a gateway less than Timer B while there is another to try, and a
// flow of a phone while it has another.
func (s *Shard) patience(u *call, index uint8, t *pb.Target) int64 {
	if u.several && t.Aor != "" && s.anotherFlow(u, index) != nil {
		return s.seconds(settingGatewayTimeout, gatewayTimeout)
	}
	if !u.serial || t.Member == "" || !u.moreTargets() {
		return 0
	}
	return s.seconds(settingGatewayTimeout, gatewayTimeout)
}

// moreTargets reports whether there is a target that has not been tried.
func (u *call) moreTargets() bool {
	for _, t := range u.targets[min(u.next, len(u.targets)):] {
		if t != nil {
			return true
		}
	}
	return false
}

// seconds reads a setting in seconds as nanoseconds.
func (s *Shard) seconds(name string, def int64) int64 {
	return s.view.Config.SettingInt(name, def) * int64(time.Second)
}

// memberOf is the target of a leg that is a pool member, nil of others.
func memberOf(u *call, index uint8) *pb.Target {
	if int(index) >= len(u.targets) || u.targets[index] == nil || u.targets[index].Member == "" {
		return nil
	}
	return u.targets[index]
}

// down takes the member behind a leg for down for a while; false: it is none.
func (s *Shard) down(u *call, index uint8) bool {
	t := memberOf(u, index)
	if t != nil {
		s.opt.Health.mark(t.Pool, t.Member, s.now, s.now+s.seconds(settingGatewayDown, gatewayDown), false)
	}
	return t != nil
}

// silent takes the member behind a leg that timed out for down.
func (s *Shard) silent(u *call, index uint8) {
	if s.down(u, index) {
		s.opt.Stats.GatewaysSilent.Add(1)
	}
}

// heard takes the member behind a leg that responded for up; for down if it asks for time (RFC 3261 §21.5.4).
func (s *Shard) heard(u *call, l *txn.Leg, m *wire.Msg) {
	index := l.Index
	if m.Status == 503 && m.Has(wire.HdrRetryAfter) {
		if t := memberOf(u, index); t != nil {
			s.opt.Health.mark(t.Pool, t.Member, s.now, s.now+retryAfter(m), true)
		}
		return
	}
	if s.opt.Health.Down() == 0 {
		return
	}
	if t := memberOf(u, index); t != nil {
		s.opt.Health.clear(t.Pool, t.Member, false)
	}
	s.opt.Health.clear(addrPool, addrText(l.Flow.Remote), false)
}

// retryAfter is for how long a response asks to be left alone, in ns.
func retryAfter(m *wire.Msg) int64 {
	return int64(min(leadingNumber(m.Value(wire.HdrRetryAfter)), maxRetryAfter)) * int64(time.Second)
}
