package fsm

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"holdline/fsm/pb"
)

// drawLog draws a log: entries of batches of a few sessions and of the leader's own, over few names so that commands meet.
func drawLog(t *rapid.T) [][]byte {
	var log [][]byte
	add := func(e *pb.Entry) {
		b, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, b)
	}
	r := cluster(t) // its log first, so that there is something to work on
	for _, c := range r.log {
		add(c)
	}
	now := r.time
	next := map[uint64]uint64{}
	for range rapid.IntRange(1, 40).Draw(t, "entries") {
		now += rapid.SampledFrom([]int64{-50, 0, 1, 1000, 40_000, 200_000}).Draw(t, "ms")
		e := &pb.Entry{TimeMs: now, WallMs: 1_700_000_000_000 + now, OutageMs: rapid.SampledFrom([]int64{0, 0, 0, -1, 10_000, 1 << 62}).Draw(t, "outage")}
		for range rapid.IntRange(1, 3).Draw(t, "batches") {
			session := rapid.Uint64Range(0, 2).Draw(t, "session")
			first := next[session] + rapid.SampledFrom([]uint64{0, 0, 0, 0, 1}).Draw(t, "hole") + 1
			b := &pb.Batch{Session: session, FirstSeq: first, Acked: rapid.Uint64Range(0, first).Draw(t, "acked")}
			for range rapid.IntRange(1, 4).Draw(t, "commands") {
				b.Commands = append(b.Commands, drawCommand(t))
			}
			if first == next[session]+1 {
				next[session] += uint64(len(b.Commands))
			}
			e.Batches = append(e.Batches, b)
		}
		add(e)
	}
	return log
}

func drawCommand(t *rapid.T) *pb.Command {
	n := func(upTo int) int { return rapid.IntRange(0, upTo).Draw(t, "n") }
	pick := func(from ...string) string { return rapid.SampledFrom(from).Draw(t, "pick") }
	domain := func() string { return pick("example.com", "example.org", "10.77.0.101") }
	aor := func() string { return fmt.Sprintf("user%d@%s", n(3), domain()) }
	pool := func() string { return pick("carriers", "trunks", "none") }
	home, call := rapid.SampledFrom([]uint32{1, 1, 1, 1, 2, 3}).Draw(t, "home"), uint64(n(9))
	epoch := rapid.SampledFrom([]uint64{4, 6, 7, 7, 7, 7}).Draw(t, "epoch")
	tag := func() string { return pick("a", "b", "") }
	which := n(24)
	if n(1) == 0 { // half of them about calls and registrations
		which = 18 + n(6)
	}
	switch which {
	case 0:
		return cmd(&pb.OpenSession{Node: pick("u1", "u2"), Nonce: uint64(n(2))})
	case 1, 2:
		return cmd(&pb.Expire{UpToMs: 1 << 60, MaxRows: uint32(n(3))})
	case 3:
		return cmd(&pb.PutNode{Node: &pb.Node{Uuid: fmt.Sprint("u", n(4)), Name: fmt.Sprint("n", n(4)), Listen: fmt.Sprintf("10.77.0.1%d:7700", n(4)), FeatureLevel: 1}})
	case 4:
		return cmd(&pb.RemoveNode{Uuid: fmt.Sprint("u", n(4))})
	case 5:
		return cmd(&pb.PutGroup{Group: &pb.Group{Number: uint32(n(3)), Vips: []*pb.Vip{{Prefix: fmt.Sprintf("10.77.0.10%d/24", n(5))}}}})
	case 6:
		return cmd(&pb.RemoveGroup{Number: uint32(n(4))})
	case 7:
		return cmd(&pb.Takeover{Group: home, Epoch: min(epoch, 6), Node: pick("u1", "u2")})
	case 8:
		return rapid.SampledFrom([]*pb.Command{
			cmd(&pb.PutToken{Hash: []byte("0123456789abcdef"), ExpiresWallMs: 1_700_000_000_000 + 2_000_000}),
			cmd(&pb.ConsumeToken{Hash: []byte("0123456789abcdef"), Uuid: "u9", PublicKey: []byte("k")}),
			cmd(&pb.PutKey{Purpose: "nonce", Id: uint32(epoch), Secret: []byte("s")}),
			cmd(&pb.PutSetting{Name: "call.max-duration", Value: "100"}),
			cmd(&pb.PutSetting{Name: "call.max-duration"}),
			cmd(&pb.PutSetting{Name: SettingCDRMaxRows, Value: fmt.Sprint(n(3))}),
			cmd(&pb.PutSetting{Name: SettingCDRMaxRows}),
			perUser(fmt.Sprint(n(2))),
			perUser(""),
			cmd(&pb.PutCursor{Name: pick("billing", "node/u1", "node/u2"), UpTo: uint64(n(5)), Remove: n(4) == 0}),
			cmd(&pb.SetFeatureLevel{Level: 1}),
			cmd(&pb.SetNodeState{Uuid: "u1", Voter: proto.Bool(true)}),
			cmd(&pb.PutCertificate{Certificate: &pb.Certificate{Domain: "example.com", Chain: []byte("c"), SealedKey: []byte("k")}}),
			cmd(&pb.PutCertificate{Certificate: &pb.Certificate{Domain: "example.org", Chain: []byte("d"), SealedKey: []byte("k")}}),
			cmd(&pb.RemoveCertificate{Domain: "example.com"}),
		}).Draw(t, "misc")
	case 9:
		return rapid.SampledFrom([]*pb.Command{
			cmd(&pb.PutDomain{Domain: &pb.Domain{Name: pick("example.com", "example.org"), Aliases: []string{pick("10.77.0.101", "other.net")}}, CreateOnly: n(3) == 0}),
			cmd(&pb.ChangeAliases{Domain: domain(), Add: []string{pick("10.77.0.101", "other.net")}}),
			cmd(&pb.ChangeAliases{Domain: domain(), Remove: []string{pick("10.77.0.101", "other.net")}}),
		}).Draw(t, "domain")
	case 10:
		return cmd(&pb.RemoveDomain{Name: domain()})
	case 11:
		return drawUser(t, aor())
	case 12:
		return cmd(&pb.RemoveUser{Aor: aor()})
	case 13:
		return cmd(&pb.PutPool{Pool: &pb.Pool{Name: pool(), Algorithm: pick(RoundRobin, LeastCalls, Weighted, ByHash)}})
	case 14:
		return cmd(&pb.PutMember{Member: &pb.Member{Pool: pool(), Name: fmt.Sprint("gw", n(4)), Address: "192.0.2.1:5060", Weight: uint32(n(3)), MaxCalls: uint32(n(2)), Group: uint32(n(2))}})
	case 15:
		return cmd(&pb.RemoveMember{Pool: pool(), Name: fmt.Sprint("gw", n(4))})
	case 16:
		return cmd(&pb.PutRoute{Route: &pb.Route{Domain: domain(), Prefix: pick("", "49"), Pool: pool()}})
	case 17:
		return rapid.SampledFrom([]*pb.Command{cmd(&pb.RemoveRoute{Domain: domain()}), cmd(&pb.RemovePool{Name: pool()})}).Draw(t, "remove")
	case 18, 19:
		c := register(aor(), pick("c1", "c2"), uint32(n(9)), pick("t1", "t2"), contact("sip:"+tag()+"@192.0.2.1", uint32(60*n(2))), contact("sip:x@192.0.2.1", 90))
		c.GetRegister().Group, c.GetRegister().Epoch, c.GetRegister().RemoveAll = home, epoch, n(9) == 0
		b := c.GetRegister().Changes[0].Binding
		if b.KeepsFlow = n(1) == 0; n(1) == 0 { // a phone that connects anew
			b.Contact, b.Flow.Transport, b.Instance = fmt.Sprint(b.Contact, ":", 1+n(5)), pb.Transport_TCP, pick("", "i")
		}
		return c
	case 20:
		c := poolCall(fmt.Sprint("key", n(9)), uint32(n(2)))
		c.GetCreateCall().Home, c.GetCreateCall().Epoch, c.GetCreateCall().Pool = home, epoch, pick("carriers", "carriers", "trunks")
		drawCaller(t, c.GetCreateCall())
		return c
	case 21:
		c := forked("sip:a", "sip:b")
		c.GetCreateCall().Key, c.GetCreateCall().Home, c.GetCreateCall().Epoch = fmt.Append(nil, "key", n(9)), home, epoch
		drawCaller(t, c.GetCreateCall())
		return c
	case 22:
		r := &pb.LegResult{Call: call, Home: home, Epoch: epoch, Leg: uint32(n(2)), Status: uint32(100 * (1 + n(5))), CallFailed: n(2) == 0, Final: []byte("SIP/2.0 486 B")}
		if n(4) == 0 {
			r.Redirect, r.Attempt = &pb.Target{Uri: "sip:elsewhere", Credentials: "Authorization: x", CseqShift: uint32(n(2))}, uint32(n(2))
		}
		return cmd(r)
	case 23:
		if n(1) == 0 {
			return drawCatchUp(t, home, epoch, call)
		}
		return cmd(&pb.AnswerCall{Call: call, Home: home, Epoch: epoch, Leg: uint32(n(2)), ToTag: tag(), SessionExpires: uint32(90 * n(1))})
	default:
		return rapid.SampledFrom([]*pb.Command{
			cmd(&pb.CancelCall{Call: call, Home: home, Epoch: epoch}),
			cmd(&pb.EndCall{Call: call, Home: home, Epoch: epoch, ToTag: tag(), Cause: pick("caller", "", CauseLost)}),
			cutCall(call),
			cmd(&pb.PutCursor{Name: pick("billing", "archive", "node/u1", "node/u2"), UpTo: uint64(n(5))}),
			cmd(&pb.AddLegs{Call: call, Home: home, Epoch: epoch, Targets: []*pb.Target{{Uri: "sip:c"}}}),
		}).Draw(t, "change")
	}
}

// drawUser draws a user who comes, or who gets a password or other names. Names of users are among the aliases: they get into each other's way.
func drawUser(t *rapid.T, aor string) *pb.Command {
	names := func() []string {
		return rapid.SliceOfN(rapid.SampledFrom([]string{"user0", "user1", "user2", "+491", "+492", "x@y"}), 0, 2).Draw(t, "names")
	}
	identity := rapid.SampledFrom([]string{"", "", "user1", "+491", "+492"}).Draw(t, "identity")
	if rapid.Bool().Draw(t, "new") {
		u := &pb.User{Aor: aor, Ha1Md5: []byte(rapid.SampledFrom([]string{"0123456789abcdef", "fedcba9876543210"}).Draw(t, "password"))}
		if rapid.Bool().Draw(t, "named") {
			u.Aliases, u.Identity, u.MaxCalls = names(), identity, rapid.Uint32Range(0, 2).Draw(t, "max")
		}
		return cmd(&pb.PutUser{User: u, CreateOnly: rapid.Bool().Draw(t, "create")})
	}
	change := &pb.ChangeUser{Aor: aor, AddAliases: names(), RemoveAliases: names()}
	if rapid.Bool().Draw(t, "other identity") {
		change.Identity = &identity
	}
	if rapid.Bool().Draw(t, "other limit") {
		change.AddAliases, change.RemoveAliases, change.MaxCalls = nil, nil, proto.Uint32(rapid.Uint32Range(0, 2).Draw(t, "max"))
	}
	return cmd(change)
}

// drawCaller draws who calls: a user, whom the call may ring too, a gateway or a stranger.
func drawCaller(t *rapid.T, c *pb.CreateCall) {
	c.Origin = rapid.SampledFrom([]string{"user0@example.com", "user0@example.com", "user1@example.com", "carriers/gw1", ""}).Draw(t, "caller")
	c.Emergency = rapid.IntRange(0, 4).Draw(t, "emergency") == 0
	if len(c.Targets) > 0 && rapid.Bool().Draw(t, "rings a user") {
		c.Targets[0].Aor = "user0@example.com"
	}
}

// drawCatchUp draws what an owner did without a leader: of a call in the table, of one that is not, of one that got there late.
func drawCatchUp(t *rapid.T, home uint32, epoch, call uint64) *pb.Command {
	n := func(upTo int) int { return rapid.IntRange(0, upTo).Draw(t, "n") }
	tag := func() string { return rapid.SampledFrom([]string{"a", "b"}).Draw(t, "tag") }
	up := &pb.CatchUpCall{Call: call, Home: home, Epoch: epoch, Entered: n(3) == 0}
	up.MadeMs = rapid.SampledFrom([]int64{0, 1, 1_500_000, 1 << 60}).Draw(t, "made")
	if n(2) > 0 {
		key := fmt.Append(nil, "key", n(9))
		c := forked("sip:a", "sip:b").GetCreateCall()
		if c.Key, c.Home, c.Epoch = key, home, epoch; n(1) == 0 {
			c.Pool, c.Targets[0].Pool, c.Targets[0].Member = "carriers", "carriers", "gw1"
		}
		drawCaller(t, c)
		up.Call, up.Create, up.CreatedAgoMs = OwnNumber(key, home), c, int64(n(9000))
	}
	for range n(3) {
		s := &pb.CallStep{AgoMs: int64(n(9000)), LastedMs: int64(n(1))}
		switch n(3) {
		case 0:
			s.Step = &pb.CallStep_LegResult{LegResult: &pb.LegResult{Epoch: epoch, Leg: uint32(n(2)), Status: uint32(100 * (1 + n(5))), CallFailed: n(2) == 0}}
		case 1:
			s.Step = &pb.CallStep_AnswerCall{AnswerCall: &pb.AnswerCall{Epoch: epoch, Leg: uint32(n(2)), ToTag: tag()}}
		case 2:
			s.Step = &pb.CallStep_CancelCall{CancelCall: &pb.CancelCall{Epoch: epoch}}
		default:
			s.Step = &pb.CallStep_EndCall{EndCall: &pb.EndCall{Epoch: epoch, ToTag: tag(), Cause: "caller"}}
		}
		up.Steps = append(up.Steps, s)
	}
	return cmd(up)
}
