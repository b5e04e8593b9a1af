package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/node"
)

// Faults of membership and leadership.

const (
	transferLine = "handing leadership over" // of serve's log
	transferTime = 5 * time.Second
	newcomer     = "n9"
	newcomerAddr = 19
)

// brokenTransfer drains the leader and kills it, or another node, while it hands its leadership over.
func brokenTransfer(killLeader bool) func(*cluster, *node.Node) (blow, error) {
	return func(c *cluster, n *node.Node) (blow, error) {
		n, err := c.leader(n)
		if err != nil {
			return blow{}, err
		}
		victim := c.others(n)[0]
		if killLeader {
			victim = n
		}
		shot, err := victim.Aim(node.Both)
		if err != nil {
			return blow{}, err
		}
		log, err := os.Stat(n.Log)
		if err != nil {
			return blow{}, err
		}
		struck := make(chan error, 1)
		return blow{
			also: victim,
			inflict: func() error {
				go func() {
					ctx, cancel := context.WithTimeout(context.Background(), transferTime)
					defer cancel()
					drained := make(chan error, 1)
					go func() {
						_, err := n.CLI(ctx, "", "drain")
						drained <- err
					}()
					err := awaitLine(ctx, n.Log, log.Size(), transferLine)
					err = errors.Join(err, shot.Fire(unix.SIGKILL))
					cancel()
					<-drained // cut short by the kill, or not: what counts is what holds afterwards
					struck <- err
				}()
				return nil
			},
			mend: func(ctx context.Context) error {
				err := errors.Join(<-struck, restart(ctx, victim))
				witness := c.others(n)[1]
				return errors.Join(err, witness.Await(ctx, func(ctx context.Context) error {
					_, err := witness.CLI(ctx, "", "undrain", "--node", n.Name)
					return err
				}))
			},
		}, nil
	}
}

// leader is the node that leads raft by its own account: another one's may be a moment old.
func (c *cluster) leader(asked *node.Node) (*node.Node, error) {
	ctx, cancel := context.WithTimeout(context.Background(), transferTime)
	defer cancel()
	var leader *node.Node
	err := asked.Await(ctx, func(ctx context.Context) error {
		s, err := asked.Status(ctx)
		if err != nil {
			return err
		}
		n := c.node(s.Leader())
		if n == nil {
			return errors.New("no node leads")
		}
		if s, err = n.Status(ctx); err == nil && s.Leader() != n.Name {
			err = fmt.Errorf("%s does not lead", n.Name)
		}
		leader = n
		return err
	})
	return leader, err
}

// awaitLine waits for a text in what is written to a file from an offset on. It looks often: what follows it is to be met.
func awaitLine(ctx context.Context, path string, from int64, text string) error {
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		b, err := readFrom(path, from)
		if err != nil {
			return err
		}
		if bytes.Contains(b, []byte(text)) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %q in %s: %w", text, path, ctx.Err())
		}
	}
}

func readFrom(path string, from int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() <= from {
		return nil, err
	}
	b := make([]byte, st.Size()-from)
	n, err := f.ReadAt(b, from)
	return b[:n], err
}

// joinBesideDead kills a node and joins a new one while it is away. Whatever the join says, the two that are left must be able to commit
// when the new one dies as well: it must not have become one more voter that a majority needs.
func joinBesideDead(c *cluster, n *node.Node) (blow, error) {
	shot, err := n.Aim(node.Both)
	if err != nil {
		return blow{}, err
	}
	guest, err := c.guest()
	if err != nil {
		return blow{}, err
	}
	member := c.others(n)[0]
	joined := make(chan error, 1)
	return blow{
		inflict: func() error {
			err := shot.Fire(unix.SIGKILL)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), rejoinTime)
				defer cancel()
				if err := guest.Start(ctx); err != nil {
					joined <- err
					return
				}
				if err := c.join(ctx, member, guest); err != nil {
					c.note("join beside the dead %s was refused: %v", n.Name, err)
				}
				joined <- nil
			}()
			return err
		},
		mend: func(ctx context.Context) error {
			if err := errors.Join(<-joined, guest.Kill(), guest.Stop(3*time.Second)); err != nil {
				return err
			}
			if _, err := member.CLI(ctx, "", "token", "create"); err != nil {
				return fmt.Errorf("nothing can be written with %s and the newcomer dead: %w", n.Name, err)
			}
			if err := restart(ctx, n); err != nil {
				return err
			}
			s, err := member.Status(ctx)
			if err != nil {
				return err
			}
			if len(s.Nodes) > len(c.nodes) { // it had become a member
				err = c.remove(ctx, member, guest)
			}
			return errors.Join(err, guest.Wipe())
		},
	}, nil
}

// guest is one box more than the cluster has, made when it is first wanted.
func (c *cluster) guest() (*node.Node, error) {
	if c.extra != nil {
		return c.extra, nil
	}
	box, err := c.net.AddBox(newcomer, newcomerAddr, prefixOf(hostAddr(newcomerAddr)))
	if err != nil {
		return nil, err
	}
	n, err := node.New(box, newcomer, hostAddr(newcomerAddr), c.binary, c.dir)
	c.extra = n
	return n, err
}
