package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdline/cluster/api"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1 // the operation did not happen, or a check failed
	exitUsage    = 2 // the command line itself is wrong
	exitDegraded = 3 // status: HA is not "yes"
)

// exitCode is an error that has been told already and only carries the exit code.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a command line that cannot be carried out.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

// app is what every command has: the streams and which daemon to talk to.
type app struct {
	in       io.Reader
	out, err io.Writer
	socket   string
	config   string
}

// run carries out one command line and returns its exit code. Errors are one line on stderr.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{in: in, out: out, err: errs}
	root := a.rootCmd()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	var code exitCode
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(errs, "holdline:", strings.Join(strings.Fields(err.Error()), " "))
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func (a *app) rootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "holdline",
		Short: "A SIP proxy, registrar and session border that holds the line",
		Long: `Holdline makes one SIP proxy, registrar and session border out of three (or five, or seven) boxes: pull the
network cable of any one of them, and calls and registrations go on.

"holdline serve" is the daemon. "holdline drill" rehearses a failure on this machine. All other commands talk to the
daemon on this box through its Unix socket; a change made on any node holds for the whole cluster.`,
		Example: `  holdline init --name n1 --listen 10.77.0.11 --vip 10.77.0.101/24 --vip 10.77.0.102/24 --vip 10.77.0.103/24
  holdline join TOKEN --name n2 --listen 10.77.0.12
  holdline status`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		Args:              cobra.ArbitraryArgs,
		RunE:              helpOrUnknown,
		PersistentPreRun: func(c *cobra.Command, _ []string) {
			if c.Name() != "serve" { // see restartWithSlack; the guard's loop costs more on a thread of its own
				runtime.UnlockOSThread()
			}
		},
	}
	root.PersistentFlags().StringVar(&a.socket, "socket", "", "admin socket of the daemon (default $HOLDLINE_SOCKET, else what the config file says, else "+api.DefaultSocket+")")
	root.PersistentFlags().StringVar(&a.config, "config", defaultConfig, "local configuration file")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{fmt.Sprintf("%s: see `%s --help`", flagFault(err), c.CommandPath())}
	})
	root.AddGroup(
		&cobra.Group{ID: "cluster", Title: "Cluster:"},
		&cobra.Group{ID: "sip", Title: "SIP:"},
		&cobra.Group{ID: "process", Title: "Processes and rehearsal:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("cluster", a.initCmd(), a.joinCmd(), a.tokenCmd(), a.statusCmd(), a.nodeCmd(), a.vipCmd(), a.drainCmd(), a.undrainCmd(),
		a.leaveCmd(), a.upgradeCmd(), a.settingCmd(), a.doctorCmd(), a.backupCmd(), a.restoreCmd(), a.recoverCmd())
	add("sip", a.domainCmd(), a.certificateCmd(), a.userCmd(), a.poolCmd(), a.routeCmd(), a.callsCmd(), a.registrationsCmd(), a.cdrCmd(), a.refusedCmd())
	add("process", a.serveCmd(), a.guardCmd(), a.drillCmd(), a.versionCmd())
	root.AddCommand(a.manCmd(), a.stallsCmd())
	return root
}

// noun makes a command that only holds others.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: helpOrUnknown}
	c.AddCommand(verbs...)
	return c
}

func helpOrUnknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	return &usageError{fmt.Sprintf("%s has no command %q: see `%s --help`", c.CommandPath(), args[0], c.CommandPath())}
}

// needs checks that exactly the named arguments are there and none is empty.
func needs(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		for i, n := range names {
			if i >= len(args) || args[i] == "" {
				return &usageError{fmt.Sprintf("%s needs %s: see `%s --help`", c.CommandPath(), n, c.CommandPath())}
			}
		}
		if len(args) > len(names) {
			return &usageError{fmt.Sprintf("%s does not take %q: see `%s --help`", c.CommandPath(), args[len(names)], c.CommandPath())}
		}
		return nil
	}
}

// oneOrMore is needs for a last argument that may be repeated.
func oneOrMore(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		all := slices.Clone(names)
		for len(all) < len(args) {
			all = append(all, names[len(names)-1])
		}
		return needs(all...)(c, args)
	}
}

// atMost is needs for arguments that may be left out.
func atMost(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		return needs(names[:min(len(args), len(names))]...)(c, args)
	}
}

// required checks that the flags were given a value.
func required(c *cobra.Command, flags ...string) error {
	for _, f := range flags {
		if v := c.Flags().Lookup(f); v == nil || v.Value.String() == "" {
			return &usageError{fmt.Sprintf("%s needs --%s: see `%s --help`", c.CommandPath(), f, c.CommandPath())}
		}
	}
	return nil
}

// client connects to the daemon when it is used.
func (a *app) client() (*api.Client, error) {
	socket, err := a.socketPath()
	if err != nil {
		return nil, err
	}
	return api.NewClient(socket), nil
}

func (a *app) socketPath() (string, error) {
	if a.socket != "" {
		return a.socket, nil
	}
	if s := os.Getenv("HOLDLINE_SOCKET"); s != "" {
		return s, nil
	}
	c, err := loadConfig(a.config)
	if err != nil {
		return "", err
	}
	return c.Socket, nil
}

// with runs f with a client of the daemon.
func (a *app) with(c *cobra.Command, f func(context.Context, *api.Client) error) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	return f(c.Context(), cl)
}

// say prints a line for people.
func (a *app) say(format string, args ...any) error {
	if _, err := fmt.Fprintf(a.out, format+"\n", args...); err != nil {
		return fmt.Errorf("writing to stdout: %w", err)
	}
	return nil
}

// flagFault says what is wrong with a flag: where a number was wanted, in words of our own.
func flagFault(err error) string {
	var bad *pflag.InvalidValueError
	var num *strconv.NumError
	if !errors.As(err, &bad) || !errors.As(err, &num) {
		return err.Error()
	}
	kind := "a whole number"
	switch t := bad.GetFlag().Value.Type(); {
	case t == "bool":
		kind = "true or false"
	case strings.HasPrefix(t, "float"):
		kind = "a number"
	case strings.HasPrefix(t, "uint"):
		kind += " from 0 up"
	}
	if errors.Is(num.Err, strconv.ErrRange) {
		kind = "no number as large as that"
	}
	return fmt.Sprintf("--%s takes %s: %q", bad.GetFlag().Name, kind, bad.GetValue())
}
