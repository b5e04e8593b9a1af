package main

import (
	"errors"
	"fmt"
	"syscall"
)

// whereToWrite adds what to do to the error of a daemon that found a file system read-only. For the package's units all of it is, but for the
// directories of their own.
func whereToWrite(err error) error {
	if !errors.Is(err, syscall.EROFS) {
		return err
	}
	return fmt.Errorf("%w: the units holdline and holdline-guard write below %s and /run/holdline only: mount the disk there, or give both units a drop-in with ReadWritePaths= for this directory (install.md, \"Another disk\")", err, defaultDataDir)
}
