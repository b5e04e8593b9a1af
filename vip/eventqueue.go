package vip

import "sync"

// eventQueue carries events from the session to a core that may be slow to read, without holding the session up. It
// is bounded in practice by how often groups move; what a core that reads nothing misses is the older half.
type eventQueue struct {
	out  chan Event
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	wake  chan struct{} // capacity 1
	items []Event
}

const eventQueueMax = 4096

func newEventQueue() *eventQueue {
	q := &eventQueue{
		out: make(chan Event), stop: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	go q.pump()
	return q
}

func (q *eventQueue) put(e Event) {
	q.mu.Lock()
	if len(q.items) >= eventQueueMax {
		q.items = append(q.items[:0], q.items[eventQueueMax/2:]...)
	}
	q.items = append(q.items, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *eventQueue) pump() {
	defer close(q.done)
	defer close(q.out)
	for {
		select {
		case <-q.wake:
		case <-q.stop:
			return
		}
		for {
			q.mu.Lock()
			if len(q.items) == 0 {
				q.mu.Unlock()
				break
			}
			e := q.items[0]
			q.items = q.items[1:]
			q.mu.Unlock()
			select {
			case q.out <- e:
			case <-q.stop:
				return
			}
		}
	}
}

func (q *eventQueue) close() {
	close(q.stop)
	<-q.done
}
