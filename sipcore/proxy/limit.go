package proxy

import "holdline/sipcore/txn"

// tooManyCalls is what a user is told who makes as many calls at once as he may. It is a 486, as where his phone would be busy, though it is the caller who is: every phone
// shows that, and every gateway that it comes back to, as of a call that went round in a circle, takes it for final. At a 503, 500 or 480 gateways, ours too, try
// another way, so that one circle would become many; a 403 says that it is of no use to call again later (RFC 3261 §21.4.4); and a 6xx would stop the other
// phones of a user of which one has sent the call on.
const (
	statusTooManyCalls = 486
	tooManyCalls       = "Too Many Calls At Once"
)

// overLimit refuses a call of a user who makes as many as he may. why is for the operator.
func (s *Shard) overLimit(c *txn.Cell, u *call, why string) {
	s.opt.Stats.OverLimit.Add(1)
	u.overLimit, u.why = true, why
	s.finish(c, u, statusTooManyCalls, nil)
}

// overLimitLater says why a call is refused that is recorded after the fact (SettingCommit): this node judges it by what has been recorded, "" lets it in. One that goes on because
// it could not be committed is let in, as pools take it however full they are: calls that have ended meanwhile would count until there is a leader again.
func (s *Shard) overLimitLater(cm Commit) string {
	if !cm.later {
		return ""
	}
	return s.opt.State.OverLimit(cm.cmd.GetCreateCall())
}
