package cluster

import (
	"testing"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

// TestListedByAlias: listings take aliases of domains and users, and refuse what does not exist instead of showing nothing.
func TestListedByAlias(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	l.vip()
	n, ctx := l.nodes[0], t.Context()
	for _, err := range []error{
		n.AddDomain(ctx, api.Domain{Name: "example.com", Aliases: []string{"10.77.0.101"}}),
		n.AddUser(ctx, api.UserRequest{AoR: "alice@example.com", Password: "wonderland", Aliases: []string{"+4930123456"}}),
		register(n, "alice@example.com"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for f, want := range map[api.RegistrationFilter]int{
		{}: 1, {AoR: "alice@example.com"}: 1, {AoR: "alice@10.77.0.101"}: 1, {AoR: "+4930123456@10.77.0.101"}: 1, {Domain: "10.77.0.101"}: 1,
		{AoR: "bob@example.com"}: -1, {AoR: "alice@nope.example"}: -1, {Domain: "nope.example"}: -1,
	} {
		got, err := n.ListRegistrations(ctx, f)
		if want < 0 && api.CodeOf(err) != api.CodeNotFound || want >= 0 && (err != nil || got.Total != want) {
			t.Errorf("%+v: %d, %v", f, got.Total, err)
		}
	}
	for f, code := range map[api.CallFilter]string{{Domain: "10.77.0.101"}: "", {Domain: "nope.example"}: string(api.CodeNotFound)} {
		if _, err := n.ListCalls(ctx, f); err == nil && code != "" || err != nil && string(api.CodeOf(err)) != code {
			t.Errorf("calls of %+v: %v", f, err)
		}
	}
}

// TestEndCall: any node has a call ended, as often as it is asked; one that is not there (any more) it refuses. The call is shown as ending until it has ended.
func TestEndCall(t *testing.T) {
	l := newLab(t, 3).formed()
	c := &caller{lab: l}
	c.do(&pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: &pb.Group{Vips: []*pb.Vip{{Prefix: "10.77.0.101/24"}}}}}})
	c.takeOver(0)
	c.create(2)
	c.answer(1)
	for _, n := range l.nodes {
		if err := n.EndCall(t.Context(), 1); err != nil {
			t.Error(err)
		}
		calls, err := n.ListCalls(t.Context(), api.CallFilter{})
		if err != nil || len(calls.Calls) != 2 || calls.Calls[0].State != "ending" || calls.Calls[1].State != "calling" {
			t.Errorf("%+v, %v", calls, err)
		}
	}
	c.do(&pb.Command{Op: &pb.Command_EndCall{EndCall: &pb.EndCall{Call: 1, Home: 1, Epoch: c.epoch, Cause: "operator"}}})
	for number, want := range map[uint64]string{1: "call 1 has ended already", 3: "call 3 does not exist"} {
		if err := l.nodes[2].EndCall(t.Context(), number); api.CodeOf(err) != api.CodeNotFound || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
