package fsm

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"holdline/fsm/pb"
)

// sender is a model of a node's submitter on a network that loses, copies and reorders batches.
type sender struct {
	r        *replica
	session  uint64
	made     int      // commands made so far; command i has sequence number i+1
	answered int      // results seen, in order
	calls    []uint64 // by command
	net      []*pb.Batch
}

func newSender(r *replica) *sender {
	s := &sender{r: r, session: r.must(cmd(&pb.OpenSession{Node: "u1", Nonce: 1})).Id}
	r.Watch(func(e Event) {
		if res, is := e.(SessionResults); is && res.Session == s.session && res.Refused == pb.Code_OK {
			s.take(res)
		}
	})
	return s
}

func (s *sender) take(res SessionResults) {
	for i, one := range res.Results {
		if int(res.FirstSeq)+i == s.answered+1 {
			s.answered++
			s.calls = append(s.calls, one.Id)
		}
	}
}

func (s *sender) step(t *rapid.T, total int) {
	switch rapid.IntRange(0, 4).Draw(t, "step") {
	case 0, 1: // send or send again all that is unanswered and some new
		s.made = min(total, s.made+rapid.IntRange(0, 5).Draw(t, "new"))
		from := s.answered
		b := &pb.Batch{Session: s.session, FirstSeq: uint64(from + 1), Acked: uint64(s.answered + 1)}
		for i := from; i < s.made; i++ {
			b.Commands = append(b.Commands, newCall(fmt.Sprint("key", i)))
		}
		s.net = append(s.net, b)
	case 2, 3: // deliver one, any, and perhaps keep it to come again
		if len(s.net) == 0 {
			return
		}
		i := rapid.IntRange(0, len(s.net)-1).Draw(t, "which")
		b := s.net[i]
		if !rapid.Bool().Draw(t, "copy") {
			s.net = slices.Delete(s.net, i, i+1)
		}
		s.r.entry(b)
	case 4: // lose
		if len(s.net) > 0 {
			s.net = s.net[1:]
		}
	}
}

func newCall(key string) *pb.Command {
	return cmd(&pb.CreateCall{
		Key: []byte(key), Home: 1, Epoch: 5, Domain: "example.com", CallId: "id-" + key, FromTag: "f", Caller: remote("192.0.2.9:5060"),
		FromUri: "sip:user1@example.com", ToUri: "sip:user2@example.com", Invite: []byte("INVITE sip:user2@example.com SIP/2.0\r\n\r\n"),
		Targets: []*pb.Target{{Uri: "sip:user2@192.0.2.2", Flow: remote("192.0.2.2:5060"), Aor: "user2@example.com"}},
	})
}

func poolCall(key string, alternates uint32) *pb.Command {
	c := newCall(key)
	c.GetCreateCall().Targets = nil
	c.GetCreateCall().Pool, c.GetCreateCall().RequestUser, c.GetCreateCall().Alternates = "carriers", "4930", alternates
	return c
}
