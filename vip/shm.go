package vip

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Files in the run directory.
const (
	sockFile = "guard.sock"
	shmFile  = "guard.shm"
	lockFile = "guard.lock"
)

const shmMagic = 0x686f6c646c6e0001 // "holdln", layout 1

// shmLayout is the content of guard.shm, mapped by guard and core. The guard is the only writer of turns and groups, the core
// the only writer of beat and health. Everything is accessed atomically.
type shmLayout struct {
	magic  atomic.Uint64
	turns  atomic.Uint64 // of the guard's loop, ten a second at least; 0: a guard of an older version, which does not count them here
	_      [6]uint64
	beat   atomic.Uint64 // progress of the core
	health atomic.Uint64 // the core's health score
	_      [6]uint64     // the core writes often: a cache line of its own
	groups [MaxGroups]shmGroup
}

// shmGroup is one group under a sequence lock: odd while the guard writes.
type shmGroup struct {
	seq         atomic.Uint64
	number      atomic.Uint64 // 0: free
	ballot      atomic.Uint64 // 0: not held
	since       atomic.Int64  // CLOCK_MONOTONIC
	until       atomic.Int64
	owner       atomic.Uint64 // node
	ownerBallot atomic.Uint64
	_           uint64
}

// groupView is a consistent copy of a shmGroup.
type groupView struct {
	ballot       uint64
	since, until int64
	owner        uint32
	ownerBallot  uint64
}

// write is for the guard only.
func (g *shmGroup) write(v groupView) {
	g.seq.Add(1)
	g.ballot.Store(v.ballot)
	g.since.Store(v.since)
	g.until.Store(v.until)
	g.owner.Store(uint64(v.owner))
	g.ownerBallot.Store(v.ownerBallot)
	g.seq.Add(1)
}

// read fails when the guard stopped in the middle of a write: the group then counts as not held. It never waits for the
// guard longer than the tries take.
func (g *shmGroup) read() (v groupView, ok bool) {
	for range 64 {
		seq := g.seq.Load()
		if seq&1 != 0 {
			continue
		}
		v = groupView{
			ballot: g.ballot.Load(), since: g.since.Load(), until: g.until.Load(),
			owner: uint32(g.owner.Load()), ownerBallot: g.ownerBallot.Load(),
		}
		if g.seq.Load() == seq {
			return v, true
		}
	}
	return groupView{}, false
}

// slot finds the slot of a group: usually the first one looked at.
func (l *shmLayout) slot(number uint32) *shmGroup {
	for i := range uint32(MaxGroups) {
		if s := &l.groups[(number+i)%MaxGroups]; s.number.Load() == uint64(number) {
			return s
		}
	}
	return nil
}

// claim gives a group a slot. nil: all are taken.
func (l *shmLayout) claim(number uint32) *shmGroup {
	if s := l.slot(number); s != nil {
		return s
	}
	for i := range uint32(MaxGroups) {
		if s := &l.groups[(number+i)%MaxGroups]; s.number.Load() == 0 {
			s.write(groupView{})
			s.number.Store(uint64(number))
			return s
		}
	}
	return nil
}

func (g *shmGroup) free() {
	g.number.Store(0)
	g.write(groupView{})
}

// sharedMemory is a mapping of guard.shm.
type sharedMemory struct {
	*shmLayout
	mem   []byte
	inode uint64
}

// createShared opens the guard's file, or makes it, and clears the groups of a predecessor. The file is kept, so that a
// core's mapping outlives a restart of the guard.
func createShared(dir string) (*sharedMemory, error) {
	return mapShared(filepath.Join(dir, shmFile), os.O_RDWR|os.O_CREATE, func(m *sharedMemory) error {
		for i := range m.groups {
			g := &m.groups[i]
			if g.seq.Load()&1 != 0 {
				g.seq.Add(1) // the predecessor died in the middle of a write
			}
			g.free()
		}
		m.magic.Store(shmMagic)
		return nil
	})
}

// openShared maps the file of a guard.
func openShared(dir string) (*sharedMemory, error) {
	return mapShared(filepath.Join(dir, shmFile), os.O_RDWR, func(m *sharedMemory) error {
		if m.magic.Load() != shmMagic {
			return fmt.Errorf("layout %#x: guard and core are of different versions, restart both", m.magic.Load())
		}
		return nil
	})
}

func mapShared(path string, flags int, prepare func(*sharedMemory) error) (*sharedMemory, error) {
	const size = int(unsafe.Sizeof(shmLayout{}))
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open shared memory: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open shared memory: %w", err)
	}
	if st.Size() < int64(size) {
		if flags&os.O_CREATE == 0 {
			return nil, fmt.Errorf("open shared memory %s: it is too short: guard and core are of different versions, restart both", path)
		}
		if err := f.Truncate(int64(size)); err != nil {
			return nil, fmt.Errorf("make shared memory: %w", err)
		}
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map shared memory %s: %w", path, err)
	}
	m := &sharedMemory{shmLayout: (*shmLayout)(unsafe.Pointer(unsafe.SliceData(mem))), mem: mem}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		m.inode = sys.Ino
	}
	if err := prepare(m); err != nil {
		m.close()
		return nil, fmt.Errorf("shared memory %s: %w", path, err)
	}
	return m, nil
}

// close unmaps: nobody may be reading.
func (m *sharedMemory) close() { _ = unix.Munmap(m.mem) } // fails only for memory that is not mapped
