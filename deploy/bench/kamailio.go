package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"holdline/deploy/lab/netlab"
)

//go:embed kamailio.cfg
var kamailioConfig string

// kamailio is the peer: tm, rr and dialog, alone or with DMQ to a second one that replicates its dialogs.
type kamailio struct {
	name  string
	boxes []*netlab.Box
	addrs []string
	dmq   bool
	dir   string
}

func (k *kamailio) Name() string         { return k.name }
func (k *kamailio) Boxes() []*netlab.Box { return k.boxes }
func (k *kamailio) Target() string       { return k.addrs[0] + ":5060" }

// Start starts one Kamailio in each box and waits until each answers OPTIONS.
func (k *kamailio) Start(ctx context.Context, probe *netlab.Box) error {
	for i, b := range k.boxes {
		cfg := strings.NewReplacer(
			"@LISTEN@", k.addrs[i],
			"@GATEWAY@", gatewayAddr,
			"@DMQ@", map[bool]string{true: "1", false: "0"}[k.dmq],
			"@PEER@", k.addrs[(i+1)%len(k.addrs)],
		).Replace(kamailioConfig)
		if k.dmq {
			cfg = "#!define WITH_DMQ\n" + cfg
		}
		path := filepath.Join(k.dir, fmt.Sprintf("%s-%d.cfg", k.name, i))
		if err := os.WriteFile(path, []byte(cfg), 0o600); err != nil {
			return fmt.Errorf("write Kamailio's configuration: %w", err)
		}
		run := filepath.Join(k.dir, fmt.Sprintf("%s-%d", k.name, i))
		if err := os.MkdirAll(run, 0o755); err != nil {
			return err
		}
		log, err := os.Create(filepath.Join(run, "log"))
		if err != nil {
			return err
		}
		defer log.Close()
		cmd := exec.CommandContext(ctx, "kamailio", "-f", path, "-DD", "-E", "-x", "tlsf", "-m", "1024", "-M", "16", "-Y", run, "-P", filepath.Join(run, "pid"))
		cmd.Stdout, cmd.Stderr = log, log
		if err := b.Start(cmd); err != nil {
			return fmt.Errorf("start kamailio: %w; install Debian's kamailio", err)
		}
		go func() { _ = cmd.Wait() }() // it ends with its box; a crash shows as failed calls
	}
	for _, a := range k.addrs {
		if err := waitForOptions(ctx, probe, a+":5060", 10*time.Second); err != nil {
			return fmt.Errorf("kamailio did not come up, its log is in %s: %w", k.dir, err)
		}
	}
	return nil
}
