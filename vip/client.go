package vip

import (
	"context"
	"errors"
)

// ErrNotConnected means that no guard is reachable just now; the client goes on trying.
var ErrNotConnected = errors.New("the guard is not connected: see that \"holdline guard\" runs on this machine")

// Client is the core's side of the guard. All methods are safe for concurrent use; Lease, Owner, Beat and
// SetHealth are wait-free and make no system call.
type Client struct{}

// Dial connects to the guard of a run directory, maps its shared memory, and from then on reconnects by itself
// (and configures again) until Close. It waits for the first connection as long as ctx lasts.
func Dial(ctx context.Context, runDir string) (*Client, error) {
	return nil, ErrNotConnected
}

// Configure hands a configuration to the guard and waits until it has taken or refused it. The client keeps it
// and hands it over again after a reconnect. With ErrNotConnected it is kept too.
func (c *Client) Configure(cfg Config) error { return ErrNotConnected }

// Events delivers what the guard tells, in order; it must be read. After a reconnect the present state comes
// first: Acquired or Owner for every group. It is closed by Close.
func (c *Client) Events() <-chan Event { return nil }

// Lease tells whether this node holds a group now, with which ballot, and since when and until when by Now.
func (c *Client) Lease(group uint32) (ballot uint64, since, until int64, ok bool) {
	return 0, 0, 0, false
}

// Owner tells who owns a group, as far as this node has heard; 0 = nobody known.
func (c *Client) Owner(group uint32) (node uint32, ballot uint64) { return 0, 0 }

// Release gives a group away in a planned move: to a node, or to = 0: to any. It returns when the guard has
// begun; Lost follows. The caller flushes its commits beforehand.
func (c *Client) Release(group, to uint32) error { return ErrNotConnected }

// SetHealth ranks this node as a candidate: 0 = healthy, higher is worse.
func (c *Client) SetHealth(score uint32) {}

// Beat counts up the core's progress: call it from the core's working loop at least every 100 ms. After 500 ms without
// it the guard drops every group.
func (c *Client) Beat() {}

// Status asks the guard for its account of itself.
func (c *Client) Status(ctx context.Context) (Status, error) { return Status{}, ErrNotConnected }

// Close disconnects, stops reconnecting and closes Events. The guard takes it as the core's end and gives away
// every group still held.
func (c *Client) Close() error { return nil }

// QueryStatus asks the guard of a run directory for its status without becoming its core.
func QueryStatus(ctx context.Context, runDir string) (Status, error) {
	return Status{}, ErrNotConnected
}
