package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/node"
)

// What an operator does to boxes while calls flow. Neither is a fault; both are rounds of a drill.

// maintenanceTime is how long all steps of one may take.
const maintenanceTime = 2 * time.Minute

// rolling restarts every node, the chosen one last: drained, ended in order, started, undrained, and the next only when every node
// says HA: yes again.
func rolling(c *cluster, n *node.Node) (blow, error) {
	return inSteps(nil, func(ctx context.Context) error {
		for _, x := range append(c.others(n), n) {
			if err := c.restartPlanned(ctx, x); err != nil {
				return fmt.Errorf("restart %s: %w", x.Name, err)
			}
		}
		return nil
	}), nil
}

func (c *cluster) restartPlanned(ctx context.Context, n *node.Node) error {
	other := c.others(n)[0]
	if _, err := other.CLI(ctx, "", "drain", "--node", n.Name); err != nil {
		return err
	}
	if err := n.Stop(10 * time.Second); err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	// Just after its start the node may not be known to be alive yet.
	err := other.Await(ctx, func(ctx context.Context) error {
		_, err := other.CLI(ctx, "", "undrain", "--node", n.Name)
		return err
	})
	return errors.Join(err, c.awaitHA(ctx, c.nodes))
}

// replacing kills a node, as a box that burns, removes it from the cluster and joins a new box of the same name with an empty disk.
func replacing(c *cluster, n *node.Node) (blow, error) {
	shot, err := n.Aim(node.Both)
	return inSteps(func() error { return shot.Fire(unix.SIGKILL) }, func(ctx context.Context) error {
		if err := n.Stop(3 * time.Second); err != nil {
			return err
		}
		return c.replace(ctx, n)
	}), err
}

// replace puts a new box with an empty disk in the place of a node on which nothing runs any more.
func (c *cluster) replace(ctx context.Context, n *node.Node) error {
	other := c.others(n)[0]
	if err := n.Wipe(); err != nil {
		return err
	}
	if err := c.remove(ctx, other, n); err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	if err := c.join(ctx, other, n); err != nil {
		return err
	}
	return c.awaitHA(ctx, c.nodes)
}

// remove takes a dead node out of the cluster. That is refused while it may be alive.
func (c *cluster) remove(ctx context.Context, member, n *node.Node) error {
	return member.Await(ctx, func(ctx context.Context) error {
		_, err := member.CLI(ctx, "", "node", "remove", n.Name)
		return err
	})
}

// steps is what a blow does after its beginning. The cluster is whole when the last is done.
type steps struct {
	do    func(context.Context) error
	ended chan struct{} // closed when they are done
	err   error
	at    time.Time
}

// inSteps is a blow that goes on by itself; undoing it waits for the last step.
func inSteps(first func() error, rest func(context.Context) error) blow {
	s := &steps{do: rest, ended: make(chan struct{})}
	return blow{
		inflict: func() error {
			if first != nil {
				if err := first(); err != nil {
					return err
				}
			}
			go s.run()
			return nil
		},
		steps: s,
		mend: func(ctx context.Context) error {
			select {
			case <-s.ended:
				return s.err
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
}

func (s *steps) run() {
	defer close(s.ended)
	ctx, cancel := context.WithTimeout(context.Background(), maintenanceTime)
	defer cancel()
	s.err = s.do(ctx)
	s.at = time.Now()
}
