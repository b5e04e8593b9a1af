package proxy

import (
	"holdline/sipcore/txn"
)

// keyOf is the key of the transaction that a request belongs to, and in.gen the generation of the branch key that it was made
// with. A transaction keeps the key that it began with when a new one is put in force meanwhile, on this node and on
// one that takes its call over.
func (s *Shard) keyOf(in *Inbound) txn.Key {
	keys := s.view.branch
	var key txn.Key
	key, s.key = keys[0].secret.Hash(in.Msg, s.key)
	in.gen = keys[0].id
	if len(keys) == 1 || s.began(key, in.Home) {
		return key
	}
	for _, k := range keys[1:] {
		var old txn.Key
		if old, s.key = k.secret.Hash(in.Msg, s.key); s.began(old, in.Home) {
			in.gen = k.id
			return old
		}
	}
	return key
}

func (s *Shard) began(key txn.Key, home uint32) bool {
	return s.tab.Find(key) != nil || s.opt.State.CallByKey(recordKey(key, home)) != nil
}

// branchKey is the branch key with an id, the current one when it is gone.
func (v *View) branchKey(id uint8) *branchKey {
	for i := range v.branch {
		if v.branch[i].id == id {
			return &v.branch[i]
		}
	}
	return &v.branch[0]
}
