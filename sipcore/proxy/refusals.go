package proxy

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

const (
	maxRefusals     = 1000 // kept
	refusalsASecond = 100  // written down; what comes beyond that is counted
	maxUntold       = 10   // requests with wrong credentials that wait to be told of
	maxShown        = 128  // bytes of a text
)

// Refusal is a request that this node has refused. Its texts are fit for a terminal and bounded: what could not be shown is written as %XX, and
// what was cut off is "…".
type Refusal struct {
	At                            int64 // in the time given to shards
	Source                        netip.AddrPort
	Proto                         pb.Transport
	Method, URI, From, To, CallID string
	Status                        int
	Reason                        string // as sent
	Why                           string // what the sender is not told, "" when there is nothing to add
	User                          string // in credentials that are wrong
}

// HasCallID reports whether id, as messages or the refusal itself show it, is its Call-ID.
func (x *Refusal) HasCallID(id string) bool { return x.CallID == id || x.CallID == shown([]byte(id)) }

// Refusals keeps what a node has refused last. Safe for concurrent use: shards meet in it for the time of a copy, and those whose refusals are not
// written down not at all.
type Refusals struct {
	pace    Pace
	leftOut atomic.Uint64 // not written down: too many in a second
	full    atomic.Bool   // no more is told of before the next UntoldWrong
	more    atomic.Uint64 // failed credentials that are not told of for that

	mu     sync.Mutex // guards what follows
	ring   []Refusal
	next   int // where the oldest is, once the ring is full
	untold []Refusal
}

// Note writes down that m, which came by from, is answered with r: a refusal, and no ordinary challenge. now is in the time of shards.
func (r *Refusals) Note(now int64, m *wire.Msg, from transport.Flow, resp *wire.Response) {
	keep := r.pace.Admits(now, refusalsASecond)
	if !keep {
		r.leftOut.Add(1)
	}
	tell := challenges(resp)
	if tell && r.full.Load() {
		r.more.Add(1)
		tell = false
	}
	if !keep && !tell {
		return
	}
	x := refusalOf(now, m, from, resp)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !keep:
	case len(r.ring) < maxRefusals:
		r.ring = append(r.ring, x)
	default:
		r.ring[r.next] = x
		r.next = (r.next + 1) % maxRefusals
	}
	switch {
	case !tell:
	case len(r.untold) < maxUntold:
		r.untold = append(r.untold, x)
		r.full.Store(len(r.untold) == maxUntold)
	default:
		r.more.Add(1)
	}
}

// All returns what is kept, the newest last, and how many more there were that were not written down.
func (r *Refusals) All() (all []Refusal, leftOut uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.ring[r.next:], r.ring[:r.next]), r.leftOut.Load()
}

// UntoldWrong returns the requests with wrong credentials since the last time, ten at most, and how many more there were.
func (r *Refusals) UntoldWrong() (wrong []Refusal, more uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wrong, r.untold = r.untold, nil
	r.full.Store(false)
	return wrong, r.more.Swap(0)
}

func refusalOf(now int64, m *wire.Msg, from transport.Flow, resp *wire.Response) Refusal {
	x := Refusal{
		At: now, Source: from.Remote, Proto: from.Proto,
		Method: shown(m.Bytes(m.MethodName)), URI: shown(m.Bytes(m.URI)), From: shown(m.Bytes(m.From.URI)), To: shown(m.Bytes(m.To.URI)),
		CallID: shown(m.Bytes(m.CallID)), Status: resp.Status, Reason: shown([]byte(resp.Reason)), Why: shown([]byte(resp.Note)), // copies: resp and what it holds stay on their stack
	}
	if x.Reason == "" {
		x.Reason = wire.StatusText(resp.Status)
	}
	if challenges(resp) {
		x.User = shown(userOf(m, resp))
	}
	return x
}

// challenges reports whether a response asks for credentials.
func challenges(r *wire.Response) bool { return r.Status == 401 || r.Status == 407 }

// userOf is whose the credentials in m are said to be that resp refuses: those of the realm that it asks for again.
func userOf(m *wire.Msg, resp *wire.Response) []byte {
	id := wire.HdrAuthorization
	if resp.Status == 407 {
		id = wire.HdrProxyAuthorization
	}
	var d wire.Digest
	for i := m.First(id); i >= 0 && len(resp.Fields) > 0; i = m.Next(i) {
		if d.Parse(m.Bytes(m.Header(i).Value)) != nil {
			continue
		}
		rest, ok := bytes.CutPrefix(resp.Fields[0].Value, []byte(`Digest realm="`))
		if ok && len(d.Realm) > 0 && bytes.HasPrefix(rest, append(slices.Clone(d.Realm), '"')) {
			return d.Username
		}
	}
	return nil
}

// shown makes a text from the network fit to be shown, and to be kept: nothing in it steers a terminal, and it is short.
func shown(b []byte) string {
	const cut, hex = "…", "0123456789ABCDEF"
	out := make([]byte, 0, min(len(b), maxShown)+len(cut))
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		plain := strconv.IsPrint(c) && (c != utf8.RuneError || n > 1)
		size := n
		if !plain {
			size = 3 * n
		}
		if len(out)+size > maxShown {
			return string(append(out, cut...))
		}
		if plain {
			out = append(out, b[:n]...)
		} else {
			for _, x := range b[:n] {
				out = append(out, '%', hex[x>>4], hex[x&15])
			}
		}
		b = b[n:]
	}
	return string(out)
}

// refused counts and writes down an answer of ours that is no success. What everybody's first request meets, a challenge to one without
// credentials or with such as are merely old, is no refusal.
func (s *Shard) refused(m *wire.Msg, from transport.Flow, r *wire.Response) {
	switch {
	case r.Status < 300:
		return
	case challenges(r) && r.Note == "":
		s.opt.Stats.Challenged.Add(1)
		return
	case challenges(r):
		s.opt.Stats.WrongCredentials.Add(1)
	}
	s.opt.Stats.Refused.Add(1)
	s.opt.Refusals.Note(s.now, m, from, r)
}
