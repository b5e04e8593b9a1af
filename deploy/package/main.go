// Command package makes the Debian package out of a built binary: binary, units, kernel settings, sample configuration, man
// pages, shell completion. `make deb` runs it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
)

// options are the command line.
type options struct {
	version string
	arch    string // Go's name of it
	root    string // of the source tree
	binary  string
	out     string // directory of the package
}

func main() {
	var o options
	flag.StringVar(&o.version, "version", "dev", "version, as the Makefile gives it")
	flag.StringVar(&o.arch, "arch", runtime.GOARCH, "architecture of the binary, in Go's words")
	flag.StringVar(&o.root, "root", "../..", "root of the source tree")
	flag.StringVar(&o.binary, "binary", "../../bin/holdline", "the binary; it must run on this machine, to write its own man pages")
	flag.StringVar(&o.out, "out", "../../build", "directory for the package")
	flag.Parse()
	file, err := build(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
	fmt.Println(file)
}

// build writes the package and returns its path.
func build(o options) (path string, err error) {
	work, err := os.MkdirTemp("", "holdline-deb-")
	if err != nil {
		return "", fmt.Errorf("making a work directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	contents, err := stage(o, work)
	if err != nil {
		return "", err
	}
	info := nfpm.WithDefaults(describe(o, contents))
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return "", fmt.Errorf("laying out the package: %w", err)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return "", fmt.Errorf("making the output directory: %w", err)
	}
	path = filepath.Join(o.out, deb.Default.ConventionalFileName(info))
	f, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("writing the package: %w", err)
	}
	if err := deb.Default.Package(info, f); err != nil {
		return "", errors.Join(fmt.Errorf("writing the package: %w", err), f.Close(), os.Remove(path))
	}
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("writing the package: %w", err)
	}
	return path, nil
}
