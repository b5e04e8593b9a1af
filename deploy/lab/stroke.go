package lab

import (
	"context"
	"sync"
	"time"
)

// stroke is a blow that falls once, and is undone once: after its own time if it has one, else when undo is called. Safe for
// concurrent use.
type stroke struct {
	blow
	once sync.Once

	mu     sync.Mutex
	at     time.Time
	failed error
	mended chan error // when the blow holds for a fixed time
	undone time.Time
}

// fall does the fault, the first time it is called.
func (s *stroke) fall() {
	s.once.Do(func() {
		at := time.Now()
		err := s.blow.inflict()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.at, s.failed = at, err
		if s.hold > 0 {
			s.mended = make(chan error, 1)
			time.AfterFunc(s.hold-time.Since(at), func() {
				err := s.mend(context.Background())
				s.note(time.Now())
				s.mended <- err
			})
		}
	})
}

// undo mends what has not been mended by itself. It is for one goroutine, after fall.
func (s *stroke) undo(ctx context.Context) error {
	s.mu.Lock()
	mended, came := s.mended, !s.at.IsZero()
	s.mu.Unlock()
	switch {
	case !came:
		return nil
	case mended != nil:
		err := <-mended
		mended <- err // for whoever asks again
		return err
	}
	s.note(time.Now())
	return s.mend(ctx)
}

func (s *stroke) note(undone time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undone = undone
}

// fellAt is when the blow fell, zero if it has not; undoneAt is when its mending began.
func (s *stroke) fellAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *stroke) undoneAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.undone
}

// rejoined is how long the cluster took to be whole at that time: since the mending began, or for a blow of several steps, all of them.
func (s *stroke) rejoined(whole time.Time) time.Duration {
	if s.steps == nil {
		return whole.Sub(s.undoneAt())
	}
	<-s.steps.ended
	return s.steps.at.Sub(s.fellAt())
}

// err is what hindered the blow.
func (s *stroke) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}
