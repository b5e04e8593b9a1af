package main

import (
	"context"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) settingCmd() *cobra.Command {
	return noun("setting", "Settings of the whole cluster", a.settingListCmd(), a.settingGetCmd(), a.settingSetCmd())
}

func (a *app) settingListCmd() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the settings with value, default and meaning", Args: needs()}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			settings, err := cl.ListSettings(ctx)
			if err != nil {
				return err
			}
			return a.print(*asJSON, settings, func() error {
				t := newTable("SETTING", "VALUE", "DEFAULT")
				for _, s := range settings {
					t.row(s.Name, orDash(s.Value), orDash(s.Default))
				}
				if err := t.write(a.out); err != nil {
					return err
				}
				for _, s := range settings { // too long for a table
					if err := a.say("\n%s: %s", s.Name, s.Meaning); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	return c
}

func (a *app) settingGetCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "get SETTING", Short: "Print the value of a setting",
		Args: needs("SETTING"), ValidArgsFunction: a.complete(settingNames),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			settings, err := cl.ListSettings(ctx)
			if err != nil {
				return err
			}
			for _, s := range settings {
				if s.Name == args[0] {
					return a.print(*asJSON, s, func() error { return a.say("%s", s.Value) })
				}
			}
			return api.Errorf(api.CodeNotFound, "setting %s does not exist: see `holdline setting list`", args[0])
		})
	}
	return c
}

func (a *app) settingSetCmd() *cobra.Command {
	return &cobra.Command{
		Use: "set SETTING VALUE", Short: "Change a setting on all nodes; '' is back to the default",
		Example: "  holdline setting set lease.profile standard",
		Args:    needsSetting, ValidArgsFunction: a.complete(settingNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, func(ctx context.Context, cl *api.Client) error {
				if err := cl.SetSetting(ctx, args[0], args[1]); err != nil {
					return err
				}
				if args[1] == "" {
					return a.say("%s is back to its default: see `holdline setting get %s`", args[0], args[0])
				}
				return a.say("%s is %q now", args[0], args[1])
			})
		},
	}
}

// needsSetting lets the value be empty.
func needsSetting(c *cobra.Command, args []string) error {
	if len(args) == 2 && args[0] != "" {
		return nil
	}
	return needs("SETTING", "VALUE")(c, args)
}
