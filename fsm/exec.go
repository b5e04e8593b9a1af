package fsm

import (
	"fmt"

	"holdline/fsm/pb"
)

// exec applies one entry.
type exec struct {
	m     *Machine
	st    *state
	index uint64
	now   int64 // FSM time
	wall  int64 // the leader's wall clock: for people, and for the expiry of join tokens, which people set

	// When what a command records happened: now, but for what could not be committed then (catchUpCall).
	at, atWall int64
	lasted     int64 // how long a call had gone on that ends, by its owner's clock; 0: by FSM time

	events  []Event
	expired []*Call
	cdrs    bool // some were made
}

// run applies one command under the lock.
func (x *exec) run(c *pb.Command) *pb.Result {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	r := x.dispatch(c)
	r.TimeMs = x.now
	return r
}

func (x *exec) dispatch(c *pb.Command) *pb.Result {
	switch op := c.Op.(type) {
	case *pb.Command_OpenSession:
		return x.openSession(op.OpenSession)
	case *pb.Command_Expire:
		return x.expire(op.Expire)
	case *pb.Command_SetFeatureLevel:
		return x.setFeatureLevel(op.SetFeatureLevel)
	case *pb.Command_PutNode:
		return x.putNode(op.PutNode.GetNode())
	case *pb.Command_RemoveNode:
		return x.removeNode(op.RemoveNode)
	case *pb.Command_SetNodeState:
		return x.setNodeState(op.SetNodeState)
	case *pb.Command_PutGroup:
		return x.putGroup(op.PutGroup.GetGroup())
	case *pb.Command_RemoveGroup:
		return x.removeGroup(op.RemoveGroup)
	case *pb.Command_PutToken:
		return x.putToken(op.PutToken)
	case *pb.Command_ConsumeToken:
		return x.consumeToken(op.ConsumeToken)
	case *pb.Command_PutKey:
		return x.putKey(op.PutKey)
	case *pb.Command_PutSetting:
		return x.putSetting(op.PutSetting)
	case *pb.Command_PutDomain:
		return x.putDomain(op.PutDomain)
	case *pb.Command_RemoveDomain:
		return x.removeDomain(op.RemoveDomain)
	case *pb.Command_ChangeAliases:
		return x.changeAliases(op.ChangeAliases)
	case *pb.Command_PutUser:
		return x.putUser(op.PutUser)
	case *pb.Command_ChangeUser:
		return x.changeUser(op.ChangeUser)
	case *pb.Command_RemoveUser:
		return x.removeUser(op.RemoveUser)
	case *pb.Command_PutPool:
		return x.putPool(op.PutPool.GetPool())
	case *pb.Command_RemovePool:
		return x.removePool(op.RemovePool)
	case *pb.Command_PutMember:
		return x.putMember(op.PutMember.GetMember())
	case *pb.Command_RemoveMember:
		return x.removeMember(op.RemoveMember)
	case *pb.Command_PutRoute:
		return x.putRoute(op.PutRoute.GetRoute())
	case *pb.Command_RemoveRoute:
		return x.removeRoute(op.RemoveRoute)
	case *pb.Command_PutCertificate:
		return x.putCertificate(op.PutCertificate.GetCertificate())
	case *pb.Command_RemoveCertificate:
		return x.removeCertificate(op.RemoveCertificate)
	case *pb.Command_Takeover:
		return x.takeover(op.Takeover)
	case *pb.Command_Register:
		return x.register(op.Register)
	case *pb.Command_CreateCall:
		return x.createCall(op.CreateCall)
	case *pb.Command_LegResult:
		return x.legResult(op.LegResult)
	case *pb.Command_AnswerCall:
		return x.answerCall(op.AnswerCall)
	case *pb.Command_CancelCall:
		return x.cancelCall(op.CancelCall)
	case *pb.Command_EndCall:
		return x.endCall(op.EndCall)
	case *pb.Command_AddLegs:
		return x.addLegs(op.AddLegs)
	case *pb.Command_CatchUpCall:
		return x.catchUpCall(op.CatchUpCall)
	case *pb.Command_CutCall:
		return x.cutCall(op.CutCall)
	case *pb.Command_PutCursor:
		return x.putCursor(op.PutCursor)
	default:
		// Generated code knows the command, this switch doesn't: a mistake in this release.
		panic(FailStop{x.index, fmt.Sprintf("no rule for command %T", op)})
	}
}

// publish makes the configuration visible, then the index that promises it, then tells the watchers, with no lock held.
func (x *exec) publish(index uint64) {
	if x.st.conf.dirty {
		c := x.st.view()
		x.m.config.Store(c)
		if x.st.conf.announce {
			x.events = append(x.events, ConfigChanged{c.Version})
		}
		x.st.conf.announce = false
	}
	x.m.applied.Store(index)
	if len(x.expired) > 0 {
		x.events = append(x.events, CallsExpired{x.expired})
	}
	if x.cdrs {
		x.events = append(x.events, CDRsMade{x.st.cdrs.last})
	}
	x.m.tell(x.events)
}

func (m *Machine) tell(events []Event) {
	for _, fn := range *m.watchers.Load() {
		for _, e := range events {
			fn(e)
		}
	}
}

func ok() *pb.Result             { return &pb.Result{} }
func okID(id uint64) *pb.Result  { return &pb.Result{Id: id} }
func again(id uint64) *pb.Result { return &pb.Result{Id: id, Existing: true} }

func fail(code pb.Code, format string, args ...any) *pb.Result {
	return &pb.Result{Code: code, Error: fmt.Sprintf(format, args...)}
}

func rejected(format string, args ...any) *pb.Result {
	return fail(pb.Code_REJECTED, format, args...)
}

func notFound(format string, args ...any) *pb.Result {
	return fail(pb.Code_NOT_FOUND, format, args...)
}

// stale refuses commands of a group's former owner, and those for a group that isn't there.
func (x *exec) stale(group uint32, epoch uint64) *pb.Result {
	g := x.st.conf.Group(group)
	switch {
	case g == nil:
		return rejected("VIP group %d does not exist", group)
	case epoch < g.Epoch:
		return fail(pb.Code_STALE_EPOCH, "VIP group %d was taken over with epoch %d, after %d", group, g.Epoch, epoch)
	}
	return nil
}

func (x *exec) setFeatureLevel(c *pb.SetFeatureLevel) *pb.Result {
	cur := x.st.conf.FeatureLevel
	if c.GetLevel() == cur {
		return again(uint64(cur))
	}
	if c.GetLevel() < cur {
		return rejected("the feature level is %d already and can't be lowered to %d", cur, c.GetLevel())
	}
	for _, n := range x.st.conf.nodes {
		if n.FeatureLevel < c.GetLevel() {
			return rejected("node %s runs a release that knows feature levels up to %d: upgrade it before raising the level to %d", n.Name, n.FeatureLevel, c.GetLevel())
		}
	}
	if x.m.known != 0 && c.GetLevel() > x.m.known { // this node's row says otherwise: an older release was put back
		panic(FailStop{x.index, fmt.Sprintf("the cluster goes over to feature level %d, this release knows only %d", c.GetLevel(), x.m.known)})
	}
	x.st.conf.FeatureLevel = c.GetLevel()
	x.st.conf.changed()
	return okID(uint64(c.GetLevel()))
}
