package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) drainCmd() *cobra.Command {
	return a.drainingCmd(true, "drain", "Move a node's VIP groups away and keep it from owning any",
		`Hands every VIP group of the node to other nodes, calls and registrations with them, and keeps it from owning any until
"holdline undrain". Use it before maintenance. The node stays a member and a voter.

A group that no other node takes stays where it is: the command then fails, names it, and the node is not drained. It warns when
only one node is left that may own VIPs: the loss of that one would end service.`, "%s owns nothing now: work on it, then `holdline undrain`")
}

func (a *app) undrainCmd() *cobra.Command {
	return a.drainingCmd(false, "undrain", "Let a drained node own VIP groups again",
		"Lets a drained node own VIP groups again. They do not move back by themselves: see holdline vip move.", "%s may own VIP groups again")
}

func (a *app) drainingCmd(draining bool, use, short, long, told string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: needs()}
	node := c.Flags().String("node", "", "name of the node (default: this one)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := cl.SetDraining(ctx, *node, draining); err != nil {
				return err
			}
			who := "this node"
			if *node != "" {
				who = "node " + *node
			}
			if err := a.say(told, who); err != nil || !draining {
				return err
			}
			return a.sayCost(ctx, cl)
		})
	}
	return c
}

// sayCost warns when the next loss ends service, now that a node is drained.
func (a *app) sayCost(ctx context.Context, cl *api.Client) error {
	st, err := cl.Status(ctx)
	if err != nil {
		return fmt.Errorf("it is drained; what that costs is not known: %w", err)
	}
	if st.HA.Level == api.HANo {
		fmt.Fprintf(a.err, "holdline: HA: %s\n", st.HA.Summary)
	}
	return nil
}

func (a *app) leaveCmd() *cobra.Command {
	var r api.LeaveRequest
	c := &cobra.Command{
		Use:   "leave",
		Short: "Take this node out of the cluster",
		Long: `Hands this node's VIP groups to the others, removes it from the cluster, and forgets its identity. The daemon goes on
running, unconfigured, and may join again.

A node that reaches no majority cannot be taken out by the others. If they have removed it already ("holdline status" then says
so), --force has it forget its identity and what it holds, and it may join anew. It does the same if no other node answers:
take care, for what this node holds may then be all that is left of the cluster, and "holdline recover" what is wanted.`,
		Args: needs(),
	}
	c.Flags().BoolVar(&r.Force, "force", false, "also when the cluster is no longer highly available without it, or this node reaches no majority")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			ans, err := cl.Leave(ctx, r)
			if err != nil {
				return err
			}
			for _, note := range ans.Notes {
				if err := a.say("note: %s", note); err != nil {
					return err
				}
			}
			return a.say("this node has left the cluster")
		})
	}
	return c
}
