package main

import (
	"cmp"
	"path/filepath"

	"github.com/spf13/cobra"

	"holdline/vip"
)

func (a *app) guardCmd() *cobra.Command {
	var runDir, dataDir string
	c := &cobra.Command{
		Use:   "guard",
		Short: "Run the address guard, which holds this node's VIPs",
		Long: `Runs the process that takes, holds and gives up this node's floating addresses, at real-time priority. Packages run it as a
unit of its own; elsewhere "holdline serve" starts one itself. It needs the capabilities CAP_NET_ADMIN, without which it ends at once, and CAP_NET_RAW.`,
		Args: needs(),
	}
	c.Flags().StringVar(&runDir, "run-dir", "", "directory of guard.sock and guard.shm (default: that of the admin socket)")
	c.Flags().StringVar(&dataDir, "data-dir", "", "directory of guard.json (default: data_dir in the config file, else "+defaultDataDir+")")
	level := logFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if runDir == "" {
			socket, err := a.socketPath()
			if err != nil {
				return err
			}
			runDir = filepath.Dir(socket)
		}
		if dataDir == "" { // else serve has started it, and has read the file
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			dataDir, *level = cfg.DataDir, cmp.Or(*level, cfg.LogLevel)
		}
		log, err := newLogger(a.err, *level)
		if err != nil {
			return err
		}
		return whereToWrite(vip.RunGuard(c.Context(), vip.Options{RunDir: runDir, DataDir: dataDir, Logger: log}))
	}
	return c
}
