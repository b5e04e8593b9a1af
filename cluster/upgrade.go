package cluster

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
)

// Release is what a binary knows of the replicated rules.
type Release struct {
	FeatureLevel uint32                   // the highest that it understands; 0: FeatureLevel
	CommandLevel func(*pb.Command) uint32 // from which level on a command may be used; nil: fsm.CommandLevel
}

func (r Release) level() uint32 {
	if r.FeatureLevel != 0 {
		return r.FeatureLevel
	}
	return FeatureLevel
}

// gate keeps commands out of the log that a node of an older release may not know. A cluster that is being made has no level yet.
func (e *engine) gate(cmd *pb.Command) error {
	need := e.node.opt.Release.CommandLevel
	if need == nil {
		need = fsm.CommandLevel
	}
	if have := max(1, e.machine.Config().FeatureLevel); need(cmd) > have {
		return fmt.Errorf("this needs feature level %d, and the cluster runs at %d: upgrade every node, then run `holdline upgrade finish`", need(cmd), have)
	}
	return nil
}

// recordReleases writes into the node table what release a node runs since it was upgraded.
func (s *supervisor) recordReleases(ctx context.Context, cfg *fsm.Config, _ []raft.Server, _ uint64) (bool, error) {
	for _, n := range cfg.Nodes() {
		alive, _ := s.alive(n.Number)
		i, told := s.infoOf(n.Number)
		if !alive || !told || i.FeatureLevel == 0 || i.FeatureLevel == n.FeatureLevel && i.Version == n.Version {
			continue
		}
		set := &pb.SetNodeState{Uuid: n.Uuid, FeatureLevel: &i.FeatureLevel, Version: &i.Version}
		return true, s.commit(ctx, &pb.Command{Op: &pb.Command_SetNodeState{SetNodeState: set}})
	}
	return false, nil
}

// FinishUpgrade implements api.Backend.
func (n *Node) FinishUpgrade(ctx context.Context) (api.Upgrade, error) {
	e, err := n.member()
	if err != nil {
		return api.Upgrade{}, err
	}
	cfg := e.machine.Config()
	level := cfg.FeatureLevel
	for _, row := range cfg.Nodes() {
		level = max(level, row.FeatureLevel)
	}
	a := api.Upgrade{Before: cfg.FeatureLevel, FeatureLevel: level}
	if level == cfg.FeatureLevel {
		return a, nil
	}
	return a, e.write(ctx, &pb.Command{Op: &pb.Command_SetFeatureLevel{SetFeatureLevel: &pb.SetFeatureLevel{Level: level}}})
}
