package vip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNotConnected means that no guard is reachable just now; the client goes on trying.
var ErrNotConnected = errors.New("the guard is not connected: see that \"holdline guard\" runs on this machine")

// How long the client waits.
const (
	requestTimeout = 10 * time.Second // the guard may have to write guard.json to a slow disk
	redialFirst    = 20 * time.Millisecond
	redialMax      = 500 * time.Millisecond
)

// Client is the core's side of the guard. All methods are safe for concurrent use; Lease, Owner, Beat and
// SetHealth are wait-free and make no system call.
type Client struct {
	runDir string
	clock  Clock
	shm    atomic.Pointer[sharedMemory]
	health atomic.Uint32
	pulse  pulse
	queue  *eventQueue
	cancel context.CancelFunc
	done   chan struct{} // run has returned

	configMu sync.Mutex // one configure at a time, so that the latest one wins

	mu      sync.Mutex
	session *session          // nil: not connected
	cfg     *Config           // as last given to Configure
	greeted bool              // Connected has been told of the session
	taken   uint64            // see Taken
	held    map[uint32]uint64 // ballot of each group told as acquired
}

// Dial connects to the guard of a run directory, maps its shared memory, and from then on reconnects by itself
// (and configures again) until Close. It waits for the first connection as long as ctx lasts.
func Dial(ctx context.Context, runDir string) (*Client, error) {
	c, runCtx := newClient(runDir)
	s, err := c.redial(ctx)
	if err != nil {
		c.cancel()
		c.queue.close()
		return nil, fmt.Errorf("connect to guard: %w", err)
	}
	go c.run(runCtx, s)
	return c, nil
}

// DialLater is Dial without the wait, for a guard that may come late: until then the client holds nothing.
func DialLater(runDir string) *Client {
	c, ctx := newClient(runDir)
	go func() {
		if s, err := c.redial(ctx); err == nil {
			c.run(ctx, s)
		} else {
			close(c.done)
		}
	}()
	return c
}

func newClient(runDir string) (*Client, context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{
		runDir: runDir, clock: NewClock(), queue: newEventQueue(), cancel: cancel,
		done: make(chan struct{}), held: map[uint32]uint64{},
	}
	c.shm.Store(&sharedMemory{shmLayout: new(shmLayout)}) // until there is a guard's: nobody holds anything
	return c, ctx
}

// redial connects as soon as there is a guard, or fails at the end of ctx.
func (c *Client) redial(ctx context.Context) (*session, error) {
	for wait := redialFirst; ; wait = min(2*wait, redialMax) {
		s, err := c.connect(ctx)
		if err == nil {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
}

// connect makes a session in which the guard has taken this process for its core.
func (c *Client) connect(ctx context.Context) (*session, error) {
	s, err := dialSession(ctx, c.runDir, c.event)
	if err != nil {
		return nil, err
	}
	if err := s.hello(ctx, true); err != nil {
		s.close(err)
		return nil, err
	}
	m, err := openShared(c.runDir)
	if err != nil {
		s.close(err)
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.shm.Load(); old.inode == m.inode {
		m.close()
	} else {
		// An old mapping stays, as a reader may be in it: a page or two each time the run directory is made anew.
		m.health.Store(uint64(c.health.Load()))
		c.shm.Store(m)
	}
	c.session = s
	return s, nil
}

// run keeps a session until ctx ends.
func (c *Client) run(ctx context.Context, s *session) {
	defer close(c.done)
	for {
		c.welcome(s)
		select {
		case <-s.done:
		case <-ctx.Done():
			s.bye()
		}
		c.lost(s)
		if ctx.Err() != nil {
			return
		}
		var err error
		if s, err = c.redial(ctx); err != nil {
			return
		}
	}
}

// welcome hands the configuration over, if there is one, and reports the connection.
func (c *Client) welcome(s *session) {
	c.mu.Lock()
	have := c.cfg != nil
	c.mu.Unlock()
	if !have {
		c.greet(s, 0)
	} else if err := c.configure(s); err != nil && s.alive() {
		c.queue.put(Alarm{Text: err.Error()})
	}
}

// greet reports the connection, once, when nothing has to be configured or the guard has taken it, with that epoch.
func (c *Client) greet(s *session, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != s {
		return // it has ended meanwhile
	}
	c.taken = max(c.taken, epoch)
	if !c.greeted {
		c.greeted = true
		c.queue.put(Connected{})
	}
}

// Taken returns the config epoch of what the guard that is connected has taken from this client; 0: nothing yet.
func (c *Client) Taken() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken
}

// lost reports the end of a session: whatever was held is held no longer.
func (c *Client) lost(s *session) {
	c.mu.Lock()
	c.session, c.greeted, c.taken = nil, false, 0
	held := c.held
	c.held = map[uint32]uint64{}
	c.mu.Unlock()
	for group, ballot := range held {
		c.queue.put(Lost{Group: group, Ballot: ballot, Reason: "guard lost"})
	}
	c.queue.put(Disconnected{Reason: s.reason().Error()})
}

// event takes in an event of the guard, on the session's reading goroutine.
func (c *Client) event(e Event) {
	c.mu.Lock()
	switch e := e.(type) {
	case Acquired:
		c.held[e.Group] = e.Ballot
	case Lost:
		delete(c.held, e.Group)
	}
	c.mu.Unlock()
	c.queue.put(e)
}

func (c *Client) current() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return nil, ErrNotConnected
	}
	return c.session, nil
}

// Configure hands a configuration to the guard and waits until it has taken or refused it. The client keeps it
// and hands it over again after a reconnect, with ErrNotConnected too. What was refused is for the caller to try again.
func (c *Client) Configure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	c.mu.Lock()
	c.cfg = cfg.clone()
	c.mu.Unlock()
	s, err := c.current()
	if err != nil {
		return fmt.Errorf("configure guard: %w", err)
	}
	return c.configure(s)
}

func (c *Client) configure(s *session) error {
	c.configMu.Lock()
	defer c.configMu.Unlock()
	c.mu.Lock()
	cfg := c.cfg
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if _, err := s.call(ctx, request{Op: opConfigure, Config: cfg}); err != nil {
		return fmt.Errorf("configure guard: %w", err)
	}
	c.greet(s, cfg.Epoch)
	return nil
}

// Events delivers what the guard tells, in order; it must be read. After a reconnect the present state comes
// first: Acquired or Owner for every group. It is closed by Close.
func (c *Client) Events() <-chan Event { return c.queue.out }

// Lease tells whether this node holds a group now, with which ballot, and since when and until when by Clock.Now.
func (c *Client) Lease(group uint32) (ballot uint64, since, until int64, ok bool) {
	slot := c.shm.Load().slot(group)
	if slot == nil {
		return 0, 0, 0, false
	}
	v, ok := slot.read()
	if !ok || v.ballot == 0 || c.clock.Now() >= v.until {
		return 0, 0, 0, false
	}
	return v.ballot, v.since, v.until, true
}

// Owner tells who owns a group, as far as this node has heard; 0 = nobody known.
func (c *Client) Owner(group uint32) (node uint32, ballot uint64) {
	slot := c.shm.Load().slot(group)
	if slot == nil {
		return 0, 0
	}
	v, _ := slot.read()
	return v.owner, v.ownerBallot
}

// Clock returns the clock in which Lease answers.
func (c *Client) Clock() Clock { return c.clock }

// Release gives a group away in a planned move: to a node, or to = 0: to any. It returns when the guard has
// begun; Lost follows, or an Alarm when nobody takes it within half a second. The caller flushes its commits beforehand.
func (c *Client) Release(group, to uint32) error {
	s, err := c.current()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		_, err = s.call(ctx, request{Op: opRelease, Group: group, To: to})
	}
	if err != nil {
		return fmt.Errorf("release group %d: %w", group, err)
	}
	return nil
}

// SetHealth ranks this node as a candidate: 0 = healthy, higher is worse.
func (c *Client) SetHealth(score uint32) {
	c.health.Store(score)
	c.shm.Load().health.Store(uint64(score))
}

// Beat counts up the core's progress: call it from the core's working loop at least every 100 ms. After 500 ms without
// it the guard drops every group.
func (c *Client) Beat() { c.shm.Load().beat.Add(1) }

// Working reports whether the guard is connected and its loop turns. A process that is stopped keeps its connections: it is noticed half a
// second later, if Working is called several times a second.
func (c *Client) Working() bool {
	if _, err := c.current(); err != nil {
		return false
	}
	return c.pulse.beats(c.shm.Load().turns.Load(), c.clock.Now())
}

// pulse tells from a counter whether what counts goes on.
type pulse struct {
	mu    sync.Mutex
	count uint64
	at    int64 // when it had last changed
}

// beats takes the counter's value at now, in nanoseconds. A counter that is still zero is not in use, and counts as going on.
func (p *pulse) beats(count uint64, now int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if count != p.count || p.at == 0 {
		p.count, p.at = count, now
	}
	return count == 0 || now-p.at < beatTimeout
}

// Status asks the guard for its account of itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	s, err := c.current()
	if err != nil {
		return Status{}, err
	}
	return s.status(ctx)
}

// Close disconnects, stops reconnecting and closes Events. The guard takes it as the core's end and gives away
// every group still held. Lease and Owner may still be called: the mapping stays until the process ends.
func (c *Client) Close() error {
	c.cancel()
	<-c.done
	c.queue.close()
	return nil
}

// QueryStatus asks the guard of a run directory for its status without becoming its core.
func QueryStatus(ctx context.Context, runDir string) (Status, error) {
	s, err := dialSession(ctx, runDir, func(Event) {})
	if err != nil {
		return Status{}, err
	}
	defer s.close(net.ErrClosed)
	if err := s.hello(ctx, false); err != nil {
		return Status{}, err
	}
	return s.status(ctx)
}

func sockPath(runDir string) string { return filepath.Join(runDir, sockFile) }
