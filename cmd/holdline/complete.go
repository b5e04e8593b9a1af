package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

// complete offers names from the running daemon for the first argument. A daemon that does not answer offers nothing.
func (a *app) complete(names func(context.Context, *api.Client) ([]string, error)) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cl, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), 2*time.Second)
		defer cancel()
		offers, err := names(ctx, cl)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}

func namesOf[T any](list []T, err error, name func(T) string) ([]string, error) {
	names := make([]string, len(list))
	for i, v := range list {
		names[i] = name(v)
	}
	return names, err
}

func nodeNames(ctx context.Context, cl *api.Client) ([]string, error) {
	l, err := cl.ListNodes(ctx)
	return namesOf(l, err, func(n api.Node) string { return n.Name })
}

func groupNames(ctx context.Context, cl *api.Client) ([]string, error) {
	l, err := cl.ListVIPs(ctx)
	return namesOf(l, err, func(g api.Group) string { return g.Name })
}

func domainNames(ctx context.Context, cl *api.Client) ([]string, error) {
	l, err := cl.ListDomains(ctx)
	return namesOf(l, err, func(d api.Domain) string { return d.Name })
}

func poolNames(ctx context.Context, cl *api.Client) ([]string, error) {
	l, err := cl.ListPools(ctx)
	return namesOf(l, err, func(p api.Pool) string { return p.Name })
}

func settingNames(ctx context.Context, cl *api.Client) ([]string, error) {
	l, err := cl.ListSettings(ctx)
	return namesOf(l, err, func(s api.Setting) string { return s.Name })
}
