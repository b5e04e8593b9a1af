package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCmd writes the man pages; the package build runs it.
func (a *app) manCmd() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the man pages into a directory", Hidden: true,
		Args: needs("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("writing man pages: %w", err)
			}
			// A fixed date: the same source gives the same pages.
			date := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			h := &doc.GenManHeader{Section: "8", Source: "Holdline " + version, Manual: "Holdline", Date: &date}
			if err := doc.GenManTree(c.Root(), h, args[0]); err != nil {
				return fmt.Errorf("writing man pages: %w", err)
			}
			return nil
		},
	}
}
