package cluster

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"

	"holdline/cluster/pki"
	"holdline/fsm/pb"
)

// member is a row of the member table as far as connections need it.
type member struct {
	UUID   string         `json:"uuid"`
	Number uint32         `json:"number"`
	Name   string         `json:"name"`
	Listen netip.AddrPort `json:"listen"`
	Key    []byte         `json:"key"` // SHA-256 of the SubjectPublicKeyInfo
	Voter  bool           `json:"voter"`
}

// memberTable is who may connect and where to find them. It follows the replicated table, but lives on disk beside it: a node
// that starts knows its peers before it has applied its log, and one that was away while others joined learns of them from the
// peers it knows, or no leader among the new ones could ever reach it.
type memberTable struct {
	dir    *dataDir
	logger *slog.Logger

	mu      sync.RWMutex
	version uint64 // fsm.Config.Version that the table is of: the same on every node for the same content
	byUUID  map[string]member
	byNum   map[uint32]member
	byAddr  map[netip.AddrPort]member
	raw     []byte // as gossiped and stored
}

type memberFile struct {
	Version uint64   `json:"version"`
	Members []member `json:"members"`
}

var errNotMember = errors.New("the node is not a member of the cluster (any more)")

func newMemberTable(dir *dataDir, logger *slog.Logger) (*memberTable, error) {
	t := &memberTable{dir: dir, logger: logger}
	raw, err := os.ReadFile(dir.file(fileMembers))
	if errors.Is(err, os.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read member table: %w", err)
	}
	if err := t.adopt(raw, false); err != nil {
		logger.Warn("member table on disk is damaged; the log will bring another", "err", err)
	}
	return t, nil
}

// membersOf takes the table from the replicated configuration.
func membersOf(nodes []*pb.Node) []member {
	out := make([]member, 0, len(nodes))
	for _, n := range nodes {
		listen, err := netip.ParseAddrPort(n.Listen)
		if err != nil {
			continue // Apply has checked it
		}
		out = append(out, member{UUID: n.Uuid, Number: n.Number, Name: n.Name, Listen: listen, Key: n.PublicKey, Voter: n.Voter})
	}
	return out
}

// set takes over the table of a version of the configuration, if it is newer; it tells whether it was.
func (t *memberTable) set(version uint64, members []member) bool {
	raw, err := json.Marshal(memberFile{Version: version, Members: members})
	if err != nil {
		t.logger.Error("encode member table", "err", err)
		return false
	}
	return t.adopt(raw, true) == nil
}

// known is the version of the table that is known, 0 if there is none.
func (t *memberTable) known() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.version
}

// correct takes over the table of a configuration although one of a later version was known, if that still is. It tells whether it did so.
//
// Before a leader's barrier every table is of a log that this leader has applied behind it. One of a later version is of a log that is no more: the node
// had heard of it from a peer when a forced recovery began again with less. As long as it held, nobody could join that the new log lets in.
func (t *memberTable) correct(known, version uint64, members []member) bool {
	if len(members) == 0 || known <= version {
		return false
	}
	raw, err := json.Marshal(memberFile{Version: version, Members: members})
	if err != nil {
		t.logger.Error("encode member table", "err", err)
		return false
	}
	return t.take(raw, true, func(now uint64) bool { return now == known }) == nil
}

var errOlder = errors.New("not newer than the member table that is known")

// adopt takes over an encoded table, from disk, a peer or the log, if it is newer than the one known.
func (t *memberTable) adopt(raw []byte, save bool) error {
	return t.take(raw, save, nil)
}

// take takes over an encoded table if replaces says so of the version known; nil: if it is newer.
func (t *memberTable) take(raw []byte, save bool, replaces func(known uint64) bool) error {
	var f memberFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("read member table: %w", err)
	}
	if len(f.Members) == 0 {
		return errors.New("read member table: it is empty")
	}
	if replaces == nil {
		replaces = func(known uint64) bool { return f.Version > known }
	}
	byUUID, byNum, byAddr := map[string]member{}, map[uint32]member{}, map[netip.AddrPort]member{}
	for _, m := range f.Members {
		byUUID[m.UUID], byNum[m.Number], byAddr[m.Listen] = m, m, m
	}
	t.mu.Lock()
	if t.byUUID != nil && !replaces(t.version) {
		t.mu.Unlock()
		return errOlder
	}
	t.version, t.byUUID, t.byNum, t.byAddr, t.raw = f.Version, byUUID, byNum, byAddr, raw
	t.mu.Unlock()
	if save {
		if err := t.dir.write(fileMembers, raw); err != nil {
			t.logger.Error("member table not saved", "err", err)
		}
	}
	return nil
}

// authorize implements pki.Authorizer.
func (t *memberTable) authorize(uuid string, key pki.KeyHash) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if m, ok := t.byUUID[uuid]; !ok || string(m.Key) != string(key[:]) {
		return errNotMember
	}
	return nil
}

func (t *memberTable) number(uuid string) uint32 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byUUID[uuid].Number
}

func (t *memberTable) byNumber(number uint32) (member, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	m, ok := t.byNum[number]
	return m, ok
}

func (t *memberTable) byAddress(addr netip.AddrPort) (member, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	m, ok := t.byAddr[addr]
	return m, ok
}

func (t *memberTable) numbers() []uint32 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]uint32, 0, len(t.byNum))
	for n := range t.byNum {
		out = append(out, n)
	}
	return out
}

// rows is the table as the state machine would show it, for a node that has not applied its log since it started: there is nothing
// newer to go by without a leader.
func (t *memberTable) rows() []*pb.Node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]*pb.Node, 0, len(t.byUUID))
	for _, m := range t.byUUID {
		out = append(out, &pb.Node{Uuid: m.UUID, Number: m.Number, Name: m.Name, Listen: m.Listen.String(), PublicKey: m.Key, Voter: m.Voter})
	}
	slices.SortFunc(out, func(a, b *pb.Node) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

func (t *memberTable) encoded() []byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.raw
}
