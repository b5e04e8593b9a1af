package cluster

import (
	"context"
	"slices"
	"strings"
	"time"

	"holdline/cluster/api"
)

// A node that is taken out while it is off hears nothing of that: its own table goes on holding it. The others refuse its connections in the
// handshake, and that is all it can know it by.

const (
	refusedLately = 3 * time.Second // a silent peer is dialled every one and a half at most (link)
	opinionLimit  = 2 * time.Second
)

// refusedBy says whether a peer has answered lately, and has not let this node in.
func (e *engine) refusedBy(node uint32) bool {
	at := e.linkTo(node).Refused
	return !at.IsZero() && time.Since(at) < refusedLately
}

// cutOff says that this node has no leader and reaches no majority of the voters, as haView.cutOff does: it can commit nothing, nor know what the others do.
func (e *engine) cutOff() bool {
	if e.leader() != 0 {
		return false
	}
	voters, alive := 0, 0
	for _, n := range e.nodes(e.machine.Config()) {
		if !n.Voter {
			continue
		}
		voters++
		if heard, _ := e.alive(n.Number); heard || n.Uuid == e.UUID {
			alive++
		}
	}
	return alive < quorum(voters)
}

// opinions waits until each of the others has either let this node in or refused it, from now on, and tells who did which. What is missing after
// opinionLimit is silent.
func (e *engine) opinions(ctx context.Context) (know, refuse []string) {
	asked, others := time.Now(), len(e.members.numbers())-1
	ctx, cancel := context.WithTimeout(ctx, opinionLimit)
	defer cancel()
	for {
		know, refuse = nil, nil
		for _, p := range e.link.Load().Peers() {
			switch {
			case p.Refused.After(asked):
				refuse = append(refuse, e.name(p.Node))
			case p.Heard.After(asked):
				know = append(know, e.name(p.Node))
			}
		}
		slices.Sort(know)
		slices.Sort(refuse)
		if len(know)+len(refuse) >= others {
			return know, refuse
		}
		select {
		case <-ctx.Done():
			return know, refuse
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stillMember is the error of a node that the others have taken out, so that it waits for them in vain.
func (e *engine) stillMember(ctx context.Context) error {
	if !e.cutOff() {
		return nil
	}
	if _, refuse := e.opinions(ctx); len(refuse) > 0 && e.cutOff() {
		return api.Errorf(api.CodeRefused, "%s: run `holdline leave --force` here, then the same command again", e.disowned(refuse))
	}
	return nil
}

func (e *engine) disowned(refuse []string) string {
	return "this node is " + e.Name + " of the cluster by its own data, but no longer by that of " + strings.Join(refuse, ", ") + ": it was removed, it seems"
}

// leaveUnheard lets a node go that reaches no majority: there is nobody who could take it out. If the others have done that already nothing
// is lost with it. While one of them counts on it, it stays: it may be the one that the majority lacks.
func (e *engine) leaveUnheard(ctx context.Context, force bool) ([]string, error) {
	know, refuse := e.opinions(ctx)
	switch {
	case !e.cutOff(): // it has found them
		return nil, e.leaveInOrder(ctx, force)
	case len(refuse) > 0 && !force:
		return nil, api.Errorf(api.CodeRefused, "%s: repeat with --force, and it forgets who it was and what it holds", e.disowned(refuse))
	case len(refuse) > 0:
		return nil, nil
	case len(know) > 0:
		return nil, api.Errorf(api.CodeRefused, "%s cannot be taken out, for there is no majority of the nodes, and %s counts on it: bring the others back first: see `holdline status`", e.Name, strings.Join(know, ", "))
	case !force:
		return nil, api.Errorf(api.CodeRefused, "no other node answers: none can let %s go, and what it holds may be all that is left (then see `holdline recover`): repeat with --force, and it is deleted all the same", e.Name)
	}
	return []string{"no other node answered: as far as they know " + e.Name + " is a member that is dead, until `holdline node remove " + e.Name + "` on one of them"}, nil
}
