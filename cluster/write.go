package cluster

import (
	"context"
	"errors"

	"holdline/cluster/api"
	"holdline/cluster/submit"
	"holdline/fsm/pb"
)

// write commits an operator's change and turns a refusal into the API's error.
func (e *engine) write(ctx context.Context, cmd *pb.Command) error {
	_, err := e.writeResult(ctx, cmd)
	return err
}

func (e *engine) writeResult(ctx context.Context, cmd *pb.Command) (*pb.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	r, err := e.submitter.SubmitWait(ctx, cmd)
	switch {
	case errors.Is(err, submit.ErrNoLeader), errors.Is(err, context.DeadlineExceeded):
		return nil, api.Errorf(api.CodeUnavailable, "nothing was committed within %v: there is no raft leader, or no majority of the nodes: look at `holdline status`; the change may still come about", commitPatience)
	case err != nil:
		return nil, api.Errorf(api.CodeUnavailable, "%w", err)
	case r.Code != pb.Code_OK:
		return nil, api.Errorf(apiCode(r.Code), "%s", r.Error)
	}
	return r, nil
}

func apiCode(c pb.Code) api.Code {
	switch c {
	case pb.Code_NOT_FOUND:
		return api.CodeNotFound
	case pb.Code_EXISTS:
		return api.CodeExists
	}
	return api.CodeRefused
}

// do writes on a member.
func (n *Node) do(ctx context.Context, cmd *pb.Command) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	return e.write(ctx, cmd)
}
