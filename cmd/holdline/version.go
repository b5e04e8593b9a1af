package main

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

// versions is what version --json prints.
type versions struct {
	Command string       `json:"command"`
	Go      string       `json:"go"`
	Daemon  *api.Version `json:"daemon,omitempty"` // absent when none answers
	Why     string       `json:"why_no_daemon,omitempty"`
}

func (a *app) versionCmd() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Version of this command and of the running daemon", Args: needs()}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			v := versions{Command: version, Go: runtime.Version()}
			d, err := cl.Version(ctx)
			if err == nil {
				v.Daemon = &d
			} else {
				v.Why = err.Error() // no daemon is an answer here, not a failure
			}
			return a.print(*asJSON, v, func() error {
				if v.Daemon == nil {
					return a.say("command %s (%s)\ndaemon  none: %s", v.Command, v.Go, v.Why)
				}
				return a.say("command %s (%s)\ndaemon  %s (%s), feature level %d", v.Command, v.Go, d.Version, d.Go, d.FeatureLevel)
			})
		})
	}
	return c
}
