package node

import (
	"context"
	"fmt"
	"net/netip"
)

// Status is the part of `holdline status --json` that the lab reads.
type Status struct {
	HA struct {
		Level   string `json:"level"`
		Summary string `json:"summary"`
	} `json:"ha"`
	Nodes []struct {
		Name   string `json:"name"`
		State  string `json:"state"`
		Leader bool   `json:"leader"`
		Voter  bool   `json:"voter"`
		Guard  bool   `json:"guard"`
	} `json:"nodes"`
	VIPs []struct {
		Name string `json:"name"`
		VIPs []struct {
			Prefix string `json:"prefix"`
		} `json:"vips"`
		Owner string `json:"owner"`
	} `json:"vips"`
	Raft struct {
		LastIndex    uint64 `json:"last_index"`
		AppliedIndex uint64 `json:"applied_index"`
	} `json:"raft"`
	Counts struct {
		Domains       int `json:"domains"`
		Users         int `json:"users"`
		Registrations int `json:"registrations"`
		Calls         int `json:"calls"`
		Unrecorded    int `json:"unrecorded_calls"`
	} `json:"counts"`
}

// Status asks the node.
func (n *Node) Status(ctx context.Context) (Status, error) {
	var s Status
	err := n.JSON(ctx, &s, "status")
	return s, err
}

// Leader is the name of the raft leader, "" when none is known.
func (s Status) Leader() string {
	for _, n := range s.Nodes {
		if n.Leader {
			return n.Name
		}
	}
	return ""
}

// Owners maps each VIP to the name of its owner, "" when none is known.
func (s Status) Owners() map[netip.Addr]string {
	owners := map[netip.Addr]string{}
	for _, g := range s.VIPs {
		for _, v := range g.VIPs {
			if p, err := netip.ParsePrefix(v.Prefix); err == nil {
				owners[p.Addr()] = g.Owner
			}
		}
	}
	return owners
}

// Available says whether the node calls the cluster highly available with all its nodes and an owner for each VIP, and if
// not, why.
func (s Status) Available(nodes, vips int) error {
	owners := s.Owners()
	switch {
	case s.HA.Level != "yes":
		return fmt.Errorf("HA: %s", s.HA.Summary)
	case len(s.Nodes) != nodes:
		return fmt.Errorf("%d nodes of %d are members", len(s.Nodes), nodes)
	case len(owners) != vips:
		return fmt.Errorf("%d VIPs of %d are known", len(owners), vips)
	}
	for vip, owner := range owners {
		if owner == "" {
			return fmt.Errorf("VIP %v has no owner", vip)
		}
	}
	return nil
}

// Registration is the part of one row of `holdline registrations --json` that the lab reads.
type Registration struct {
	AoR     string `json:"aor"`
	Contact string `json:"contact"`
}

// Registrations lists the bindings that the node has.
func (n *Node) Registrations(ctx context.Context) ([]Registration, error) {
	var list struct {
		Registrations []Registration `json:"registrations"`
	}
	err := n.JSON(ctx, &list, "registrations")
	return list.Registrations, err
}
