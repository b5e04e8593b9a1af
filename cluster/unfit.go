package cluster

import (
	"fmt"
	"slices"
	"strings"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/vip"
)

// A node may work in all respects and yet be none that a VIP group could go to: it has no interface in one of its networks, or a cable is out. Its
// guard tells, and it tells the others, for the loss that ends such a group's service is another one than the loss of the majority.

// groupHolders are the nodes that a VIP group could go to, or is on: those that count as haView.guards and fit.
type groupHolders struct {
	number uint32
	name   string
	nodes  []string
}

func holdersOf(cfg *fsm.Config) []groupHolders {
	var out []groupHolders
	for _, g := range cfg.Groups() {
		out = append(out, groupHolders{number: g.Number, name: g.Name})
	}
	return out
}

// couldHold counts a node for the groups that it fits.
func (v *haView) couldHold(node string, unfit map[uint32]string) {
	for i := range v.groups {
		if g := &v.groups[i]; unfit[g.number] == "" {
			g.nodes = append(g.nodes, node)
		}
	}
}

// unfitNode is a node that could not hold some VIP groups, for one reason.
type unfitNode struct {
	node, why string
	groups    []string
}

// unfitOf is what a node has told, by reason.
func (v *haView) unfitOf(node string, unfit map[uint32]string) []unfitNode {
	var out []unfitNode
	for _, g := range v.groups {
		why := unfit[g.number]
		if why == "" {
			continue
		}
		i := slices.IndexFunc(out, func(u unfitNode) bool { return u.why == why })
		if i < 0 {
			i = len(out)
			out = append(out, unfitNode{node: node, why: why})
		}
		out[i].groups = append(out[i].groups, g.name)
	}
	return out
}

func (u *unfitNode) problem() api.Problem {
	return api.Problem{
		What: fmt.Sprintf("node %s cannot hold VIP %s: %s", u.node, strings.Join(u.groups, ", "), u.why),
		Do:   unfitAdvice(u.node, u.why),
	}
}

// unfitAdvice is what to do about it on the node; "": the reason is none of those that guards tell.
func unfitAdvice(node, why string) string {
	if card, ok := strings.CutPrefix(why, vip.NoCarrier); ok {
		return fmt.Sprintf("check the cable of %s on %s, and its port at the switch", card, node)
	}
	if strings.HasPrefix(why, vip.NoInterface) {
		return fmt.Sprintf("give an interface of %s an address in that network", node)
	}
	return ""
}

// scarce says of a VIP group that no more nodes than so many could hold why that is so; "": there is none.
func (v *haView) scarce(nodes int) string {
	for _, g := range v.groups {
		if len(g.nodes) > nodes {
			continue
		}
		var why []string
		for _, u := range v.unfit {
			if slices.Contains(u.groups, g.name) {
				why = append(why, fmt.Sprintf("%s cannot: %s", u.node, u.why))
			}
		}
		if len(why) > 0 {
			who := "nobody"
			if len(g.nodes) == 1 {
				who = "only " + g.nodes[0]
			}
			return fmt.Sprintf("%s can hold VIP %s, for %s", who, g.name, strings.Join(why, "; "))
		}
	}
	return ""
}

// unfitByName is what a node has told, for status.
func unfitByName(cfg *fsm.Config, unfit map[uint32]string) map[string]string {
	var out map[string]string
	for number, why := range unfit {
		if g := cfg.Group(number); g != nil {
			if out == nil {
				out = map[string]string{}
			}
			out[g.Name] = why
		}
	}
	return out
}

// unfitGroups are the groups that this node's guard could not hold, and why.
func (v *vips) unfitGroups() map[uint32]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unfit
}
