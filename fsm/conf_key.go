package fsm

import (
	"bytes"
	"crypto/subtle"
	"strings"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

const (
	maxTokens      = 1024
	tokenKeptMs    = 24 * 3600 * 1000 // an expired token is remembered this long, to say so when it is used
	maxSettings    = 1024
	maxSettingSize = 4096
	maxPurposes    = 64
	keyGenerations = 2 // current and previous
)

func (x *exec) putToken(t *pb.PutToken) *pb.Result {
	c := &x.st.conf
	if len(t.GetHash()) < 16 {
		return rejected("a token's hash has at least 16 bytes")
	}
	if c.tokens[string(t.Hash)] != nil {
		return again(0)
	}
	for h, o := range c.tokens {
		if o.ExpiresWallMs+tokenKeptMs < x.wall {
			delete(c.tokens, h)
		}
	}
	if len(c.tokens) >= maxTokens {
		return fail(pb.Code_LIMIT, "%d join tokens exist: wait for some to expire", len(c.tokens))
	}
	c.tokens[string(t.Hash)] = &pb.Token{Hash: t.Hash, ExpiresWallMs: t.ExpiresWallMs}
	return ok()
}

// consumeToken binds a token to the node and key that use it first; the same pair may repeat it.
func (x *exec) consumeToken(t *pb.ConsumeToken) *pb.Result {
	c := &x.st.conf
	tok := c.tokens[string(t.GetHash())]
	switch {
	case tok == nil:
		return notFound("the join token is unknown: make one with `holdline token create`")
	case t.Uuid == "" || len(t.PublicKey) == 0:
		return rejected("a join token is used by a node with a UUID and a public key")
	case tok.Uuid == t.Uuid && subtle.ConstantTimeCompare(tok.PublicKey, t.PublicKey) == 1:
		return again(0)
	case tok.Uuid != "":
		return rejected("token already used: make another with `holdline token create`")
	case max(t.WallMs, x.wall) >= tok.ExpiresWallMs:
		return rejected("the join token has expired: make another with `holdline token create`")
	}
	tok = proto.Clone(tok).(*pb.Token)
	tok.Uuid, tok.PublicKey = t.Uuid, t.PublicKey
	c.tokens[string(t.Hash)] = tok
	return ok()
}

// putKey adds a key of a purpose. It becomes the current one; the one before stays valid, older ones go.
func (x *exec) putKey(k *pb.PutKey) *pb.Result {
	c := &x.st.conf
	if e := nameError("key purpose", k.GetPurpose()); e != "" {
		return rejected("%s", e)
	}
	have := c.keys[k.Purpose]
	for _, o := range have {
		if o.Id == k.Id && bytes.Equal(o.Secret, k.Secret) {
			return again(uint64(k.Id))
		}
	}
	switch {
	case len(k.Secret) == 0:
		return rejected("key %d for %s is empty", k.Id, k.Purpose)
	case len(have) > 0 && k.Id <= have[0].Id:
		return fail(pb.Code_EXISTS, "key %d for %s is not newer than key %d", k.Id, k.Purpose, have[0].Id)
	case len(have) == 0 && len(c.keys) >= maxPurposes:
		return fail(pb.Code_LIMIT, "keys have %d purposes already", len(c.keys))
	}
	all := append([]*pb.PutKey{proto.Clone(k).(*pb.PutKey)}, have...)
	c.keys = with(c.keys, k.Purpose, all[:min(len(all), keyGenerations)], false)
	c.changed()
	return okID(uint64(k.Id))
}

// putSetting sets a setting; an empty value removes it.
func (x *exec) putSetting(s *pb.PutSetting) *pb.Result {
	c := &x.st.conf
	name := s.GetName()
	switch bad := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_"); {
	case name == "" || len(name) > 64 || bad != "":
		return rejected("%q is not the name of a setting", name)
	case len(s.Value) > maxSettingSize:
		return fail(pb.Code_LIMIT, "setting %s is longer than %d bytes", name, maxSettingSize)
	}
	old, set := c.setting[name]
	if set == (s.Value != "") && old == s.Value {
		return again(0)
	}
	if !set && len(c.setting) >= maxSettings {
		return fail(pb.Code_LIMIT, "there are %d settings already", maxSettings)
	}
	c.setting = with(c.setting, name, s.Value, s.Value == "")
	c.changed()
	return ok()
}
