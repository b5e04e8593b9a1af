package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// A heap of this size is put into huge pages when the node has started, and what it has grown by from time to time. One page after the other with a
// pause: the kernel copies each, for some milliseconds on a slow machine, and page faults of this process wait meanwhile.
const (
	hugeFrom  = 512 << 20
	hugeEvery = 10 * time.Minute
	hugePause = 5 * time.Millisecond
	hugeHad   = 50 * time.Microsecond // it takes no longer for a page that is huge already: no pause
	hugeTries = 8                     // pages in a row that the kernel doesn't give
)

// keepHeapHuge has a large heap in huge pages until ctx ends. With a million phones the processor misses translations of addresses in nearly all that
// it looks up; on a virtual machine an idle node takes twice as long for the same switches, too (docs/performance-log.md has the figures). A small heap is left alone.
func keepHeapHuge(ctx context.Context, log *slog.Logger) error {
	size, err := hugePageSize()
	if err != nil {
		log.Info("goes on with small pages", "err", err)
		return nil
	}
	next := time.NewTicker(hugeEvery)
	defer next.Stop()
	for failed := false; ; {
		begun := time.Now()
		switch done, err := collapseHeap(ctx, size, hugeFrom); {
		case err != nil && !failed:
			failed = true
			log.Info("a part of the heap goes on in small pages", "err", err)
		case done > 0:
			log.Debug("heap put into huge pages", "bytes", done, "took", time.Since(begun))
		}
		select {
		case <-next.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// hugePageSize is that of the kernel, in bytes.
func hugePageSize() (uintptr, error) {
	text, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || size == 0 {
		return 0, fmt.Errorf("size of huge pages: %q", text)
	}
	return uintptr(size), nil
}

// collapseHeap puts the heap into pages of size where all of the small ones that make one are in memory, if it has at least so many bytes, and
// returns how many bytes are in such pages then. The error is that of the last page that the kernel did not give.
func collapseHeap(ctx context.Context, size, least uintptr) (done uintptr, err error) {
	from, to, err := heapRange()
	if err != nil || to-from < least {
		return 0, err
	}
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return 0, err
	}
	defer pagemap.Close()
	failed := 0
	for at := (from + size - 1) &^ (size - 1); at+size <= to && failed < hugeTries && ctx.Err() == nil; at += size {
		whole, wrong := resident(pagemap, at, size)
		if wrong != nil {
			return done, wrong
		}
		if !whole {
			continue
		}
		begun := time.Now()
		if _, _, e := unix.Syscall(unix.SYS_MADVISE, at, size, unix.MADV_COLLAPSE); e != 0 {
			err = fmt.Errorf("madvise: %w", e)
			failed++
			continue
		}
		failed = 0
		done += size
		if time.Since(begun) > hugeHad {
			time.Sleep(hugePause)
		}
	}
	return done, err
}

// onHeap is an address in it.
var onHeap = new([64]byte)

// heapRange is where the heap is mapped: the runtime lets it grow from one place on.
func heapRange() (from, to uintptr, err error) {
	self, err := procfs.Self()
	if err != nil {
		return 0, 0, err
	}
	maps, err := self.ProcMaps()
	if err != nil {
		return 0, 0, err
	}
	at := uintptr(unsafe.Pointer(onHeap))
	i := slices.IndexFunc(maps, func(m *procfs.ProcMap) bool { return m.StartAddr <= at && at < m.EndAddr })
	if i < 0 {
		return 0, 0, errors.New("the heap is in no mapping")
	}
	from, to = maps[i].StartAddr, maps[i].EndAddr
	for _, m := range maps[i+1:] {
		if m.StartAddr != to || !m.Perms.Write {
			break
		}
		to = m.EndAddr
	}
	for _, m := range slices.Backward(maps[:i]) {
		if m.EndAddr != from || !m.Perms.Write {
			break
		}
		from = m.StartAddr
	}
	return from, to, nil
}

// resident reports whether all small pages of a range are in memory, by /proc/self/pagemap (proc_pid_pagemap(5)). mincore(2) would tell it, too, but is
// none of the calls that systemd lets a service make.
func resident(pagemap *os.File, at, size uintptr) (bool, error) {
	small := uintptr(os.Getpagesize())
	entries := make([]byte, size/small*8)
	if _, err := pagemap.ReadAt(entries, int64(at/small*8)); err != nil {
		return false, err
	}
	for ; len(entries) > 0; entries = entries[8:] {
		if binary.NativeEndian.Uint64(entries)>>63 == 0 {
			return false, nil
		}
	}
	return true, nil
}
