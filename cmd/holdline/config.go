package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"holdline/cluster/api"
)

const (
	defaultConfig  = "/etc/holdline/holdline.yaml"
	defaultDataDir = "/var/lib/holdline"
)

// config is the local file: what must be known before the cluster can be asked. Everything else is replicated.
type config struct {
	Name     string `yaml:"name"`      // default of --name of init and join
	Listen   string `yaml:"listen"`    // default of --listen of init and join
	DataDir  string `yaml:"data_dir"`  // identity, keys, log and snapshots of this node
	Socket   string `yaml:"socket"`    // admin socket
	Metrics  string `yaml:"metrics"`   // default of --metrics of serve
	LogLevel string `yaml:"log_level"` // default of --log-level of serve, and of a guard that serve has not started
}

// maxConfig bounds what is read of the file.
const maxConfig = 64 << 10

// loadConfig reads the file. That the default file does not exist is no error; nor is that it may not be read by who asks.
func loadConfig(path string) (config, error) {
	c := config{DataDir: defaultDataDir, Socket: api.DefaultSocket}
	f, err := os.Open(path)
	if path == defaultConfig && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	d := yaml.NewDecoder(io.LimitReader(f, maxConfig))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%s: %s", path, plainYAML(err))
	}
	return c, c.check(path)
}

// plainYAML says in one line what is wrong where, for the first mistake.
func plainYAML(err error) string {
	var te *yaml.TypeError
	msg := err.Error()
	if errors.As(err, &te) && len(te.Errors) > 0 {
		msg = te.Errors[0]
	}
	msg = strings.TrimPrefix(msg, "yaml: ")
	if where, rest, ok := strings.Cut(msg, ": field "); ok {
		key, _, _ := strings.Cut(rest, " ")
		if strings.Contains(rest, "not found") {
			return fmt.Sprintf("%s: there is no setting %q: known are name, listen, data_dir, socket, metrics, log_level", where, key)
		}
	}
	return msg + ": mend the file"
}

func (c *config) check(path string) error {
	if c.Listen != "" {
		if _, err := api.ParseListen(c.Listen); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if c.Metrics != "" {
		if _, _, err := net.SplitHostPort(c.Metrics); err != nil {
			return fmt.Errorf("%s: metrics %q is not an address with a port: write it as 127.0.0.1:9700", path, c.Metrics)
		}
	}
	if _, err := newLogger(io.Discard, c.LogLevel); err != nil {
		return fmt.Errorf("%s: %s", path, err) // not wrapped: it is no fault of the command line
	}
	for key, dir := range map[string]string{"data_dir": c.DataDir, "socket": c.Socket} {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("%s: %s %q is not an absolute path: begin it with /", path, key, dir)
		}
	}
	return nil
}
