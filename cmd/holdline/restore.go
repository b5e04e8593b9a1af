package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) restoreCmd() *cobra.Command {
	var r api.RestoreRequest
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Take domains, users, pools, routes, certificates and settings from a backup",
		Long: `Puts the domains, users (their digests, so that passwords stay), pools, routes and settings of a backup in the place of the
cluster's own, whole or not at all; "-" is standard input. Nodes, VIP groups and keys of this cluster stay as they are: the backup
may be of another one. Registrations, calls and call detail records of the backup are not taken over; phones register again.

Certificates come back if the backup is of this cluster, unless the one that a domain has is valid for longer. Those of another
cluster are sealed with a key that only its nodes held: a note names the domains, for holdline certificate add.

It is meant for the first node right after init. On a cluster that has domains or pools it needs --force, and replaces them:
users who are in both keep their registrations, calls go on. It must be run on the raft leader (holdline status).`,
		Example: `  holdline init --name n1 --listen 10.77.0.11 --vip 10.77.0.101/24
  holdline restore /root/holdline.backup`,
		Args: needs("FILE"),
	}
	c.Flags().BoolVar(&r.Force, "force", false, "also when there are domains or pools already: they are replaced")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		in := a.in
		if args[0] != "-" {
			f, err := os.Open(args[0])
			var pe *fs.PathError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			if err != nil {
				return fmt.Errorf("reading %s: %w", args[0], err)
			}
			defer f.Close()
			in = io.Reader(f)
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			ans, err := cl.Restore(ctx, in, r)
			if err != nil {
				return err
			}
			return a.print(*asJSON, ans, func() error {
				for _, note := range ans.Notes {
					if err := a.say("note: %s", note); err != nil {
						return err
					}
				}
				return a.say("restored %d domains, %d users, %d pools, %d routes, %d certificates; %d settings changed",
					ans.Domains, ans.Users, ans.Pools, ans.Routes, ans.Certificates, ans.Settings)
			})
		})
	}
	return c
}
