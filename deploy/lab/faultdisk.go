package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/node"
)

// Faults of storage.

const (
	slowSync = 60 * time.Millisecond // a disk at which each fsync takes that long
	// diskLeft is what a full disk has left until it is full: the product may be about to lay out a file.
	diskLeft = 24 << 20
	// advice is what the one line must say in which serve refuses a damaged log.
	advice = "remove this node from the cluster and join it again"
)

// nodesOf is the node, or all of them.
func (c *cluster) nodesOf(n *node.Node, all bool) []*node.Node {
	if all {
		return c.nodes
	}
	return []*node.Node{n}
}

// slowDisk holds up every fsync of the node, or of all.
func slowDisk(all bool) func(*cluster, *node.Node) (blow, error) {
	return func(c *cluster, n *node.Node) (blow, error) {
		victims := c.nodesOf(n, all)
		before := map[*node.Node]uint64{}
		slow := func(d time.Duration) error {
			var errs []error
			for _, x := range victims {
				held, err := x.SlowDisk(d)
				before[x] = held
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		}
		return blow{
			inflict: func() error { return slow(slowSync) },
			mend: func(ctx context.Context) error {
				// The calls may have had nothing more to write: the cluster writes on slow disks in any case.
				_, err := c.others(n)[0].CLI(ctx, "", "token", "create")
				for _, x := range victims {
					err = errors.Join(err, x.Await(ctx, func(context.Context) error {
						if held, err := x.SlowDisk(slowSync); err != nil || held > before[x] {
							return err
						}
						return fmt.Errorf("%s has not synced while its disk was slow", x.Name)
					}))
				}
				return errors.Join(err, slow(0))
			},
		}, nil
	}
}

// fullDisk leaves nothing of the disk of the node, or of all.
func fullDisk(all bool) func(*cluster, *node.Node) (blow, error) {
	return func(c *cluster, n *node.Node) (blow, error) {
		fill := func(leave int64) error {
			var errs []error
			for _, x := range c.nodesOf(n, all) {
				errs = append(errs, x.FillDisk(leave))
			}
			return errors.Join(errs...)
		}
		return blow{
			inflict: func() error { return fill(0) },
			mend: func(context.Context) error {
				var errs []error
				for _, x := range c.nodesOf(n, all) {
					errs = append(errs, x.FreeDisk())
				}
				return errors.Join(errs...)
			},
		}, fill(diskLeft)
	}
}

// fullDiskKill kills a node whose disk is full; it starts again on the full disk, or says in one line what is wrong.
func fullDiskKill(c *cluster, n *node.Node) (blow, error) {
	shot, err := n.Aim(node.Both)
	return blow{
		inflict: func() error { return shot.Fire(unix.SIGKILL) },
		mend: func(ctx context.Context) error {
			err := errors.Join(n.Stop(3*time.Second), n.FillDisk(0))
			if err != nil {
				return err
			}
			said, err := n.StartRefused(ctx)
			if said != "" && !strings.Contains(said, "no space left") {
				err = errors.Join(err, fmt.Errorf("on a full disk serve on %s says %q: want no space left", n.Name, said))
			} else {
				err = nil // it said so, or it runs
			}
			if err := errors.Join(err, n.FreeDisk()); err != nil {
				return err
			}
			return restart(ctx, n)
		},
	}, errors.Join(err, n.FillDisk(diskLeft))
}

// damaged kills a node and overwrites bytes of its log: it must refuse to start and say what to do, and a new box takes its place.
func damaged(pattern string) func(*cluster, *node.Node) (blow, error) {
	return func(c *cluster, n *node.Node) (blow, error) {
		shot, err := n.Aim(node.Both)
		return blow{
			inflict: func() error { return shot.Fire(unix.SIGKILL) },
			mend: func(ctx context.Context) error {
				if err := errors.Join(n.Stop(3*time.Second), n.Damage(pattern)); err != nil {
					return err
				}
				said, err := n.StartRefused(ctx)
				if err == nil && !strings.Contains(said, advice) {
					err = fmt.Errorf("%s damaged: serve on %s says %q: want %q in it", pattern, n.Name, said, advice)
				}
				return errors.Join(err, n.Stop(3*time.Second), c.replace(ctx, n))
			},
		}, err
	}
}

// emptied removes the data of a node, while it runs or after it was killed: it must not become a member of anything by itself, and comes back
// by a new join only.
func emptied(running bool) func(*cluster, *node.Node) (blow, error) {
	return func(c *cluster, n *node.Node) (blow, error) {
		shot, err := n.Aim(node.Both)
		return blow{
			inflict: func() error {
				if running {
					n.ExpectEnd()
					return n.Wipe()
				}
				return shot.Fire(unix.SIGKILL)
			},
			mend: func(ctx context.Context) error {
				err := errors.Join(n.Panicked(), n.Stop(3*time.Second), n.Wipe(), n.Start(ctx))
				if err != nil {
					return err
				}
				if s, err := n.Status(ctx); err == nil && len(s.Nodes) > 0 {
					return fmt.Errorf("%s has lost its data and says that it is a member of %d nodes", n.Name, len(s.Nodes))
				}
				return errors.Join(n.Stop(3*time.Second), c.replace(ctx, n))
			},
		}, err
	}
}
