package vip

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// guardFile is what a guard must remember over a restart: who votes. Otherwise a guard that comes back with an old
// configuration could help an old majority to a lease.
const guardFile = "guard.json"

// ErrOldEpoch means that a configuration is older than one this guard has taken before.
var ErrOldEpoch = errors.New("config epoch is older than the one this guard knows")

type guardState struct {
	Cluster string   `json:"cluster"`
	Epoch   uint64   `json:"epoch"`
	Self    uint32   `json:"self"`
	Voters  []uint32 `json:"voters"`
}

func loadState(dir string) (guardState, error) {
	var s guardState
	path := filepath.Join(dir, guardFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		// Going on without it could break the promise of one owner.
		return s, fmt.Errorf("read %s: %w (if this node has left its cluster for good, remove the file)", path, err)
	}
	return s, nil
}

// admit tells whether cfg may follow what is remembered, and whether that must be written.
func (s guardState) admit(cfg *Config) (next guardState, changed bool, err error) {
	next = guardState{Cluster: cfg.Cluster, Epoch: cfg.Epoch, Self: cfg.Self, Voters: cfg.voters()}
	if s.Epoch == 0 || s.Cluster != cfg.Cluster {
		return next, true, nil
	}
	if cfg.Epoch < s.Epoch {
		return s, false, fmt.Errorf("take configuration of epoch %d: %w (%d)", cfg.Epoch, ErrOldEpoch, s.Epoch)
	}
	if cfg.Epoch == s.Epoch {
		if !slices.Equal(next.Voters, s.Voters) {
			return s, false, fmt.Errorf("take configuration of epoch %d: its voters %v are not the %v known for that epoch",
				cfg.Epoch, next.Voters, s.Voters)
		}
		return next, next.Self != s.Self, nil
	}
	return next, true, nil
}

// save writes the state so that a power cut leaves the old one or the new one.
func (s guardState) save(dir string) error {
	path := filepath.Join(dir, guardFile)
	b, err := json.Marshal(s)
	if err == nil {
		err = writeSynced(dir, path, b)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeSynced(dir, path string, b []byte) error {
	tmp, err := os.CreateTemp(dir, guardFile+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // without effect after the rename
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
