package node

import (
	"context"
	"fmt"
	"strconv"
)

// CDR is the part of one call detail record that the lab reads.
type CDR struct {
	Number uint64 `json:"number"`
	CallID string `json:"call_id"`
	Cause  string `json:"cause"`
	Status int    `json:"status"`
}

// CDRs lists the records after a number, as the node has them.
func (n *Node) CDRs(ctx context.Context, since uint64) ([]CDR, error) {
	var list struct {
		CDRs []CDR `json:"cdrs"`
	}
	err := n.JSON(ctx, &list, "cdr", "--since", strconv.FormatUint(since, 10))
	return list.CDRs, err
}

// SameState has every node add up its replicated state at one log entry, and returns an error unless all have the same.
func (n *Node) SameState(ctx context.Context) error {
	var checks []struct {
		Name   string `json:"name"`
		Result string `json:"result"`
		Detail string `json:"detail"`
	}
	if err := n.JSON(ctx, &checks, "doctor"); err != nil {
		return err
	}
	for _, c := range checks {
		if c.Name == "state" {
			if c.Result != "ok" {
				return fmt.Errorf("the state of the nodes: %s", c.Detail)
			}
			return nil
		}
	}
	return fmt.Errorf("holdline doctor on %s did not compare the nodes' state", n.Name)
}
