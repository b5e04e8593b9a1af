package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/node"
)

// outOfMemory is the fault of a serve that gets no memory any more: the kernel kills it when it next asks for some.
const outOfMemory = "out-of-memory"

// starvedLimit is what the starved process may take beyond what it has, in bytes: less than a page table and its page.
const starvedLimit = "4096"

var errNoControlGroups = errors.New("it puts a process into a control group without memory: as root, where /sys/fs/cgroup has the memory controller and can be written")

// memoryControl finds the memory controller: where groups are made, and the name of a group's limit.
func memoryControl() (root, limit string, err error) {
	const mounted = "/sys/fs/cgroup"
	root, limit = filepath.Join(mounted, "memory"), "memory.limit_in_bytes"
	if given, err := os.ReadFile(filepath.Join(mounted, "cgroup.subtree_control")); err == nil { // of version 2
		if !slices.Contains(strings.Fields(string(given)), "memory") {
			return "", "", errNoControlGroups
		}
		root, limit = mounted, "memory.max"
	}
	if unix.Access(filepath.Join(root, "cgroup.procs"), unix.W_OK) != nil {
		return "", "", errNoControlGroups
	}
	return root, limit, nil
}

// starving moves serve into a group with next to no memory. What it has stays with the group that it leaves; the first page more that it
// needs is refused, and it is killed for that, at a moment of its own choice.
func starving(_ *cluster, n *node.Node) (blow, error) {
	root, limit, err := memoryControl()
	if err != nil {
		return blow{}, err
	}
	shot, err := n.Aim(node.Serve)
	if err != nil {
		return blow{}, err
	}
	var group string
	return blow{
		inflict: func() (err error) {
			if group, err = os.MkdirTemp(root, "holdline-drill-"); err != nil {
				return fmt.Errorf("make a control group: %w", err)
			}
			if err := os.WriteFile(filepath.Join(group, limit), []byte(starvedLimit), 0); err != nil {
				return fmt.Errorf("leave a control group no memory: %w", errors.Join(err, os.Remove(group)))
			}
			return shot.MoveTo(filepath.Join(group, "cgroup.procs"))
		},
		mend: func(ctx context.Context) error {
			if err := n.AwaitEnd(ctx); err != nil {
				return err
			}
			if err := os.Remove(group); err != nil {
				return fmt.Errorf("remove the control group: %w", err)
			}
			return n.Start(ctx)
		},
	}, nil
}
