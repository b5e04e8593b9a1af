package store

import (
	"cmp"
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// What Fault says of the two faults that an operator knows what to do about. Others are told as the error reads.
const (
	FaultFull = "its disk is full"
	FaultHung = "its disk does not answer"
)

// faults are the last refusals of the disk that nothing has disproved since. Raft tries again whatever was refused, so a fault ends
// by the next write that succeeds.
type faults struct {
	mu         sync.Mutex
	log, votes error
}

// noteLog hears how a write of entries ended, and returns that.
func (f *faults) noteLog(err error) error { return f.note(&f.log, err) }

// noteCut hears how a cut of the log's end ended: entries are written after one that succeeds, so only those end the fault.
func (f *faults) noteCut(err error) error {
	if err == nil {
		return nil
	}
	return f.note(&f.log, err)
}

// noteVotes hears how a write of a vote or term ended.
func (f *faults) noteVotes(err error) error { return f.note(&f.votes, err) }

func (f *faults) note(kind *error, err error) error {
	f.mu.Lock()
	*kind = err
	f.mu.Unlock()
	return err
}

func (f *faults) text() string {
	f.mu.Lock()
	err := cmp.Or(f.log, f.votes)
	f.mu.Unlock()
	switch {
	case err == nil:
		return ""
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return FaultFull
	}
	return err.Error()
}
