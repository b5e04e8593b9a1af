package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"holdline/cluster/api"
)

// node is what serve runs: cluster.Node.
type node interface {
	api.Backend
	// Close hands the groups over, stops everything and returns when it is done.
	Close() error
}

// serveOptions are what the command line and the configuration file come to.
type serveOptions struct {
	config
	guardUnit string // $HOLDLINE_GUARD_UNIT
	log       *slog.Logger
}

// guardUnitEnv names the systemd unit that runs the guard. The package's unit of serve sets it: what that may do is not enough for a guard.
const guardUnitEnv = "HOLDLINE_GUARD_UNIT"

func (a *app) serveCmd() *cobra.Command {
	var dataDir, metrics string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Runs the daemon in the foreground; systemd runs it as holdline.service. A new daemon is unconfigured and waits on its socket for
"holdline init" or "holdline join"; later it takes up its place by itself.

It starts the address guard where none runs; where $HOLDLINE_GUARD_UNIT names a unit that does, as in the package, it waits for that one instead.

It logs to stderr. SIGTERM hands this node's VIPs to the others and ends it; a second signal ends it at once.`,
		Args: needs(),
	}
	c.Flags().StringVar(&dataDir, "data-dir", "", "identity, keys, log and snapshots (default: data_dir in the config file, else "+defaultDataDir+")")
	c.Flags().StringVar(&metrics, "metrics", "", "also serve /metrics, /livez and /readyz over TCP on this ADDRESS:PORT (default: metrics in the config file, else only on the admin socket)")
	level := logFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		o := serveOptions{guardUnit: os.Getenv(guardUnitEnv)}
		var err error
		if o.config, err = loadConfig(a.config); err != nil {
			return err
		}
		o.Metrics = cmp.Or(metrics, o.Metrics)
		if o.log, err = newLogger(a.err, cmp.Or(*level, o.LogLevel)); err != nil {
			return err
		}
		if o.Socket, err = a.socketPath(); err != nil {
			return err
		}
		if dataDir != "" {
			o.DataDir = dataDir
		}
		if o.DataDir, err = filepath.Abs(o.DataDir); err != nil {
			return fmt.Errorf("finding the data directory: %w", err)
		}
		if o.Socket, err = filepath.Abs(o.Socket); err != nil {
			return fmt.Errorf("finding the directory of the socket: %w", err)
		}
		restartWithSlack(o.log)
		return whereToWrite(serve(c.Context(), o))
	}
	return c
}

// serve runs the daemon until ctx ends or one of its parts fails.
func serve(ctx context.Context, o serveOptions) (err error) {
	l, err := api.Listen(o.Socket)
	if err != nil {
		return err
	}
	defer l.Close() // api.Serve closes it too; this one is for what fails before
	var metrics net.Listener
	if o.Metrics != "" {
		if metrics, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.Metrics); err != nil {
			return fmt.Errorf("listening for metrics: %w: choose another ADDRESS:PORT, by --metrics or in the config file", err)
		}
		defer metrics.Close()
	}
	limitMemory(o.log)
	n, err := openNode(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	handler, err := metricsOf(n)
	if err != nil {
		return err
	}

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return api.Serve(gctx, l, api.NewHandler(api.ServerOptions{Backend: n, Metrics: handler, Logger: o.log}), o.log)
	})
	if metrics != nil {
		g.Go(func() error { return api.Serve(gctx, metrics, api.NewProbes(n, handler), o.log) })
	}
	g.Go(func() error { return supervise(gctx, n, systemd{log: o.log}, o.log) })
	g.Go(func() error { return keepHeapHuge(gctx, o.log) })
	o.log.Info("serving", "socket", o.Socket, "data_dir", o.DataDir, "version", version)
	err = g.Wait()
	o.log.Info("stopping")
	return err
}

// checkEvery is how often the status line is renewed where systemd sets no watchdog interval.
const checkEvery = 5 * time.Second
