package main

import (
	"cmp"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// logFlag adds --log-level.
func logFlag(c *cobra.Command) *string {
	return c.Flags().String("log-level", "", "debug, info, warn or error (default: log_level in the config file, else info)")
}

// newLogger logs to w, one line per event. Without a level it is info.
func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	level = cmp.Or(level, "info")
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, &usageError{"log level " + level + " is not known: choose debug, info, warn or error"}
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
