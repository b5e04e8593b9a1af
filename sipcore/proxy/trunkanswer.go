package proxy

import (
	"strconv"
	"time"

	"github.com/dchest/siphash"

	"holdline/fsm/pb"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

const (
	// A carrier that refuses is left alone for a minute at first: some lock an account, or an address, that tries too often.
	refusedFirst = int64(time.Minute)
	refusedMost  = int64(10 * time.Minute)

	unheardFirst = int64(5 * time.Second)
	unheardMost  = int64(25 * time.Second) // and a fifth of that as jitter

	maxRegisterAfter = 3600       // seconds that a carrier may ask us to wait (Retry-After)
	maxMinExpires    = 7 * 86_400 // or to register for, at least
	leastUnsure      = 60         // seconds that a time counts for which may be another's
	mostLonger       = 2
)

// registerDone goes on with a trunk whose REGISTER has got its final, or none.
func (s *Shard) registerDone(c *txn.Cell, u *call, l *txn.Leg) {
	t := u.trunk
	again := false
	switch {
	case s.readFinal(l):
		again = t.answered(&s.tmp, s.now, s.view.face(l.Flow), l.Flow.Proto)
		if !again && (l.Status == 401 || l.Status == 407) {
			s.opt.Stats.WrongAccount.Add(1)
		}
	case l.Status == 408, l.Status == 100:
		t.fail(s.now, "not answered", t.unheardWait(), true)
	default: // the name leads nowhere, the port is closed, or there is no connection to be had
		t.fail(s.now, "not reached", t.unheardWait(), true)
	}
	if !t.ending {
		s.registerHealth(u, l, t.State().Next)
	}
	s.freeCell(c)
	t.cell = txn.Ref{}
	if again {
		s.sendRegister(t)
	}
}

// registerHealth counts a REGISTER as probed counts a probe.
func (s *Shard) registerHealth(u *call, l *txn.Leg, next int64) {
	t, h := u.targets[0], s.opt.Health
	if l.Response == nil && l.Status != 100 {
		if answers, there := h.silentRegister(t.Pool, t.Member, u.asked); !there && (answers || l.Status != 408) {
			s.down(u, 0)
		}
		return
	}
	h.answeredRegister(t.Pool, t.Member, s.now, next+2*trunkPatience)
	switch {
	case l.Status != 503:
		h.clear(t.Pool, t.Member, true)
		h.clear(addrPool, addrText(l.Flow.Remote), true)
	case s.tmp.Has(wire.HdrRetryAfter):
		h.mark(t.Pool, t.Member, s.now, s.now+retryAfter(&s.tmp), true)
	default:
		s.down(u, 0)
	}
}

// answered takes a final in; again: the REGISTER is to be sent anew, at once.
func (t *Trunk) answered(m *wire.Msg, now int64, f *face, p pb.Transport) (again bool) {
	switch {
	case m.Status/100 == 2:
		t.granted(m, now, f, p)
		return false
	case m.Status == 401 || m.Status == 407:
		switch t.answerChallenge(m) {
		case challengeAnswered:
			return true
		case challengeRepeated:
			t.refuse(m, now, ": wrong user or password")
		case challengeTooMany:
			t.refuse(m, now, ": it asks for passwords in too many realms")
		default:
			t.refuse(m, now, ": its challenge is none that can be answered")
		}
		return false
	case m.Status == 423 && t.lengthen(m):
		return true
	case m.Status >= 500 && m.Status < 600:
		t.fail(now, finalText(m), max(t.unheardWait(), registerAfter(m)), false)
		return false
	}
	t.refuse(m, now, "")
	return false
}

// granted takes in the 200: for how long we are registered by our own Contact, which may be one of many (RFC 3261 §10.2.4).
func (t *Trunk) granted(m *wire.Msg, now int64, f *face, p pb.Transport) {
	if t.ending {
		t.set(Registration{Ended: true})
		return
	}
	seconds := int64(t.asked)
	if m.Expires >= 0 {
		seconds = m.Expires
	}
	if f != nil {
		if n, ok := contactExpires(m, t.contact(f, p)); ok {
			seconds = n
		}
	}
	if seconds <= 0 {
		t.fail(now, finalText(m)+", but not for any time", refusedWait(t), false)
		return
	}
	t.refused, t.unheard = 0, 0
	life := min(seconds, maxMinExpires) * int64(time.Second)
	t.set(Registration{Until: now + life, Next: now + t.refreshAfter(life)})
}

// refreshAfter is a bit more than half of the time granted: of all that last for more than a minute or so it leaves half a minute, for repetitions.
func (t *Trunk) refreshAfter(life int64) int64 { return life*52/100 + t.jitter(life*6/100) }

// contactExpires is the time that a 200 gives to a contact; false: it says nothing of that. A registrar that writes ours otherwise, as behind a NAT, means one of those
// that it has: the one that ends first, to be on the safe side, though not sooner than leastUnsure.
func contactExpires(m *wire.Msg, ours string) (seconds int64, ok bool) {
	own, err := wire.ParseURI([]byte(ours))
	if err != nil {
		return 0, false
	}
	want := string(own.AppendAoR(nil))
	for it := m.Values(wire.HdrContact); ; {
		_, v, more := it.Next()
		if !more {
			return max(seconds, leastUnsure), ok
		}
		c, err := wire.ParseContact(m.Bytes(v))
		if err != nil || c.Expires < 0 { // one that cannot be read is as good as none (RFC 3261 §10.3)
			continue
		}
		u, err := wire.ParseURI(c.URI)
		if err != nil {
			continue
		}
		if c.Expires > 0 && (!ok || c.Expires < seconds) {
			seconds, ok = c.Expires, true
		}
		if string(u.AppendAoR(nil)) == want && u.EffectivePort() == own.EffectivePort() {
			return c.Expires, true
		}
	}
}

type challengeResult uint8

const (
	challengeUnknown challengeResult = iota
	challengeAnswered
	challengeRepeated // the account is not taken
	challengeTooMany
)

// answerChallenge makes the credentials that a 401 or 407 asks for, beside those that it has. A second challenge of the same realm is answered too if it says that the first nonce was
// stale, or has another one (RFC 7616 §3.3).
func (t *Trunk) answerChallenge(m *wire.Msg) challengeResult {
	q := asked{"REGISTER", registrarURI(t.member), t.proofs, t.answers}
	tooMany := false
	p, refused, ok := t.account.authorize(m, q, func(have proofs, c challenge) bool {
		i := have.find(c.id, c.Realm)
		if i < 0 {
			tooMany = !have.mayAdd()
			return !tooMany
		}
		return c.Stale || c.Nonce != have[i].cred.Nonce
	})
	switch {
	case ok:
	case tooMany:
		return challengeTooMany
	case refused:
		return challengeRepeated
	default:
		return challengeUnknown
	}
	t.answers++
	t.proofs = p
	return challengeAnswered
}

// lengthen asks for as long as a 423 wants it at least (RFC 3261 §10.2.8), in this REGISTER and the next ones. Its challenge is another one then.
func (t *Trunk) lengthen(m *wire.Msg) bool {
	n := leadingNumber(m.Value(wire.HdrMinExpires))
	if t.ending || n <= t.asked || n > maxMinExpires || t.longer >= mostLonger {
		return false
	}
	t.longer++
	t.asked, t.minimum = n, n
	t.proofs, t.answers = nil, 0
	return true
}

// refuse notes that the carrier does not want us.
func (t *Trunk) refuse(m *wire.Msg, now int64, why string) {
	t.fail(now, finalText(m)+why, max(refusedWait(t), registerAfter(m)), false)
}

// fail notes that a REGISTER was of no use: it is tried again after wait. What an earlier one has got lasts as long as it was to.
func (t *Trunk) fail(now int64, why string, wait int64, silent bool) {
	r := t.State()
	if r.Until <= now {
		r.Until = 0
	}
	t.set(Registration{Until: r.Until, Next: now + wait, Failure: why, Silent: silent, Ended: t.ending})
}

// refusedWait is for how long a carrier that refuses is left alone: a minute, then twice as long each time, up to ten.
func refusedWait(t *Trunk) int64 {
	wait := min(refusedFirst<<min(t.refused, 8), refusedMost)
	t.refused++
	return wait + t.jitter(wait/10)
}

// unheardWait is for how long one is left alone that is not heard of, or out of order: 5 seconds, then twice as long each time, up to 30.
func (t *Trunk) unheardWait() int64 {
	wait := min(unheardFirst<<min(t.unheard, 8), unheardMost)
	t.unheard++
	return wait + t.jitter(wait/5)
}

// registerAfter is for how long a final asks to be left alone (§20.33), in ns.
func registerAfter(m *wire.Msg) int64 {
	return int64(min(leadingNumber(m.Value(wire.HdrRetryAfter)), maxRegisterAfter)) * int64(time.Second)
}

// jitter is between 0 and most, another one for each REGISTER: trunks that were registered at once are not refreshed at once.
func (t *Trunk) jitter(most int64) int64 {
	return int64(siphash.Hash(uint64(t.cseq), 2, []byte(t.callID)) >> 1 % uint64(most+1))
}

// finalText is a final's status and reason, as far as it can be shown.
func finalText(m *wire.Msg) string {
	reason := m.Bytes(m.Reason)
	out := strconv.AppendUint(nil, uint64(m.Status), 10)
	if len(reason) == 0 || len(reason) > 64 {
		reason = []byte(wire.StatusText(int(m.Status)))
	}
	out = append(out, ' ')
	for _, c := range reason {
		if c < ' ' || c > '~' {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}
