package submit

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// loop sends what is due and fails what has waited too long.
func (s *Submitter) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.turn(time.Now()))
		select {
		case <-s.wake:
		case <-timer.C:
		case <-s.done:
			return
		}
	}
}

// turn does what is due at now and returns how long nothing more will be.
func (s *Submitter) turn(now time.Time) time.Duration {
	s.telling.Lock()
	for _, o := range s.overdue(now) {
		o.done(nil, o.err)
	}
	s.telling.Unlock()
	s.sending.Lock()
	s.mu.Lock()
	s.wakes = now.Add(time.Hour) // whatever comes until it is known makes the loop look again
	s.mu.Unlock()
	next, _ := s.send(now)
	s.mu.Lock() // what comes from now on and is due earlier wakes the loop
	s.wakes = now.Add(next)
	s.mu.Unlock()
	s.sending.Unlock()
	return next
}

// send sends what is due. It returns how long nothing more will be, and whether the loop sleeps for longer than that. s.sending is held.
func (s *Submitter) send(now time.Time) (next time.Duration, late bool) {
	next = time.Hour
	for {
		batch, fresh, wait := s.nextBatch(now)
		next = min(next, wait)
		if batch == nil {
			break
		}
		if !s.opt.Send(batch) { // no leader: Resend comes when there is one; this is in case it does not
			s.notSent(now, fresh)
			next = min(next, 50*time.Millisecond)
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return next, s.wakes.After(now.Add(next))
}

// notSent takes back a batch that is certain not to have left, in which fresh commands got their numbers. s.sending is held.
func (s *Submitter) notSent(now time.Time, fresh int) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	gone := s.unnumber(fresh)
	s.rewind(now)
	s.mu.Unlock()
	for _, it := range gone {
		it.end(nil, ErrNoLeader)
	}
}

// overdue takes out what was never sent, and disarms what was, when its deadline has passed. s.telling is held.
func (s *Submitter) overdue(now time.Time) []overdue {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expire.IsZero() || now.Before(s.expire) {
		return nil
	}
	var late []overdue
	s.expire = time.Time{}
	kept := s.queue[:0]
	for i, it := range s.queue {
		switch {
		case it.done != nil && now.Before(it.deadline):
			if s.expire.IsZero() || it.deadline.Before(s.expire) {
				s.expire = it.deadline
			}
		case it.done != nil && i < s.numbered:
			late = append(late, it.disarm())
		case it.done != nil:
			late = append(late, overdue{it.done, ErrNoLeader})
			s.bytes -= len(it.raw)
			continue
		}
		kept = append(kept, it)
	}
	clear(s.queue[len(kept):])
	s.queue = kept
	return late
}

// unnumber takes back the numbers that a batch has given out which is certain not to have left: what is in it is dropped when its time is over, and not
// committed when a leader returns minutes later. What overdue has disarmed meanwhile goes at once, and is returned. s.mu is held.
func (s *Submitter) unnumber(fresh int) (gone []*item) {
	s.numbered = max(0, s.numbered-fresh)
	kept := s.queue[:s.numbered]
	for _, it := range s.queue[s.numbered:] {
		if it.done == nil {
			gone = append(gone, it)
			s.bytes -= len(it.raw)
			continue
		}
		kept = append(kept, it)
	}
	clear(s.queue[len(kept):])
	s.queue = kept
	return gone
}

// nextBatch returns the next encoded batch to send and how many of its commands have got their number by this, or nil and how long to wait.
func (s *Submitter) nextBatch(now time.Time) (batch []byte, fresh int, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = time.Hour
	if !s.expire.IsZero() {
		wait = max(s.expire.Sub(now), time.Millisecond)
	}
	stale := s.session != 0 && now.Sub(s.alive) >= renewAfter // it may be gone soon, or be gone: nothing new is numbered in it
	if stale && s.numbered == 0 {
		s.leave()
	}
	if s.session == 0 {
		batch, wait = s.openBatch(now, wait)
		return batch, 0, wait
	}
	if s.sent > 0 {
		if silent := now.Sub(s.progress); silent >= s.patience {
			s.patience = min(2*s.patience, resendMost)
			s.progress = now
			s.rewind(now)
		} else {
			wait = min(wait, s.patience-silent)
		}
	}
	unsent := s.queue[s.sent:]
	if stale {
		unsent = s.queue[s.sent:s.numbered]
	}
	if len(unsent) == 0 {
		return nil, 0, wait
	}
	n, size := 0, 0
	for n < min(len(unsent), batchCommands) && (n == 0 || size+len(unsent[n].raw) <= batchBytes) {
		size += len(unsent[n].raw)
		n++
	}
	if s.sent > 0 {
		if s.flying+size > inFlightBytes || s.sent+n > inFlightMost {
			return nil, 0, wait // a result will wake us
		}
		if age := now.Sub(unsent[0].since); n == len(unsent) && age < window && s.sent >= s.numbered && s.local() == nil {
			return nil, 0, min(wait, window-age) // gather on
		}
	} else {
		s.progress = now
	}
	batch = appendBatch(make([]byte, 0, size+5*n+32), s.session, s.base+uint64(s.sent), s.base, unsent[:n])
	s.sent += n
	fresh = max(0, s.sent-s.numbered)
	s.numbered += fresh
	s.flying += size
	return batch, fresh, wait
}

// openBatch asks for a session, again and again until there is one. s.mu is held.
func (s *Submitter) openBatch(now time.Time, wait time.Duration) ([]byte, time.Duration) {
	if again := resendFirst - now.Sub(s.opened); !s.opened.IsZero() && again > 0 {
		return nil, min(wait, again)
	}
	s.opened = now
	if s.alive.IsZero() {
		s.alive = now
	}
	open := &pb.Command{Op: &pb.Command_OpenSession{OpenSession: &pb.OpenSession{Node: s.opt.Node, Nonce: s.nonce}}}
	raw, err := proto.Marshal(open)
	if err != nil { // cannot be: a UUID is valid UTF-8
		s.opt.Logger.Error("encode OpenSession", "err", err)
		return nil, wait
	}
	return appendBatch(nil, 0, 0, 0, []*item{{raw: raw}}), wait
}

// appendBatch writes a pb.Batch around commands that are encoded already.
func appendBatch(b []byte, session, first, acked uint64, items []*item) []byte {
	for field, v := range []uint64{1: session, 2: first, 3: acked} {
		if v != 0 {
			b = protowire.AppendTag(b, protowire.Number(field), protowire.VarintType)
			b = protowire.AppendVarint(b, v)
		}
	}
	for _, it := range items {
		b = protowire.AppendTag(b, 4, protowire.BytesType)
		b = protowire.AppendBytes(b, it.raw)
	}
	return b
}
