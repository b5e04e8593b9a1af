package fsm

import (
	"github.com/tidwall/btree"

	"holdline/fsm/pb"
)

type exec struct {
	m     *Machine
	st    *state
	index uint64
	now   int64
	wall  int64
}

func (x *exec) batch(b *pb.Batch) []*pb.Result { return nil }
func (x *exec) publish()                       {}

type session struct{}
type conf struct{}

func (c *conf) init() {}

type regTable struct {
	rows                 btree.Map[string, *regRow]
	registered, bindings int
}
type regRow struct{ bindings []Binding }

func (t *regTable) init()                  {}
func (t *regTable) get(aor string) *regRow { return nil }
func (r *regRow) repeats(callID string, cseq uint32, txn uint64) bool {
	return false
}
func txnHash(b []byte) uint64 { return 0 }

type memberKey struct{ pool, member string }
type callTable struct {
	rows     btree.Map[uint64, *Call]
	byKey    map[string]*Call
	byMember map[memberKey]int
	byDomain map[string]int
	active   int
}

func (t *callTable) init()                                {}
func (t *callTable) get(n uint64) *Call                   { return nil }
func (t *callTable) ofHome(group uint32, fn func(*Call))  {}
func (s *state) view() *Config                            { return &Config{} }
func (s *state) expireDue() (int64, bool)                 { return 0, false }
