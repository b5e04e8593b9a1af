package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
)

// haOf answers the one question from what this node sees now: its own log, who is heard over the link, who holds which VIP.
func (e *engine) haOf(cfg *fsm.Config) api.HA {
	v := e.view(cfg)
	if v.cutOff() {
		v.ownerless, v.unserved = nil, "" // the others may well serve them: this node cannot know
	}
	ha := api.HA{Survives: v.survives()}
	ha.Problems = v.problems()
	switch {
	case len(v.voters) == 1 && len(e.nodes(cfg)) == 1:
		ha.Level, ha.Summary = api.HANo, "no, there is only one node: make a token here (holdline token create) and join two more"
	case len(v.voters) < 3 && len(v.dead) == 0:
		ha.Level, ha.Summary = api.HANo, fmt.Sprintf("no, %d nodes protect no better than one: join a third (holdline token create)", len(e.nodes(cfg)))
	case e.raft.State() == raft.Shutdown:
		ha.Level, ha.Summary = api.HANo, "no, as far as this node can tell: "+v.faulty.summary()
	case v.cutOff():
		ha.Level = api.HANo
		ha.Summary = fmt.Sprintf("no, this node reaches only %d of %d voters and can commit nothing: %s", len(v.aliveVoters), len(v.voters), v.cutOffAdvice())
	case v.writers < quorum(len(v.voters)):
		ha.Level = api.HANo
		ha.Summary = fmt.Sprintf("no, only %d of %d voters can write their log and nothing is committed: %s", v.writers, len(v.voters), v.lostAdvice())
	case v.leader == 0:
		ha.Level, ha.Summary = api.HANo, "no, there is no raft leader at this moment: an election takes a fraction of a second; if this lasts, look at the nodes' logs"
	case v.serveless:
		ha.Level, ha.Summary = api.HANo, "no, there is no VIP group, so that nothing is served: make one (holdline vip add)"
	case len(v.ownerless) > 0 && v.scarce(0) != "":
		ha.Level, ha.Summary = api.HANo, "no, "+v.scarce(0)
	case len(v.ownerless) > 0:
		ha.Level, ha.Summary = api.HANo, fmt.Sprintf("no, nobody serves VIP %s: see that the guard runs on every node (holdline doctor)", strings.Join(v.ownerless, ", "))
	case v.unserved != "":
		ha.Level, ha.Summary = api.HANo, "no, "+v.unserved
	case ha.Survives < 1:
		ha.Level, ha.Summary = api.HANo, "no, the next loss ends service: "+v.lostAdvice()
	case len(ha.Problems) > 0:
		ha.Level, ha.Summary = api.HADegraded, v.yesBut(ha.Survives, ha.Problems[0].What)
	default:
		ha.Level, ha.Summary = api.HAYes, "yes, survives the loss of any "+countNodes(ha.Survives)
	}
	if ha.Level == api.HANo {
		ha.Survives = 0
	}
	return ha
}

// yesBut is the answer where something is wrong, and service survives a loss all the same. So many voters may or may not survive more when that is mended.
func (v *haView) yesBut(survives int, what string) string {
	but := ", but "
	if survives < len(v.voters)-quorum(len(v.voters)) {
		but += "less than it could: "
	}
	return "yes, survives the loss of any " + countNodes(survives) + but + what
}

func countNodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// haView is what the answer is made from.
type haView struct {
	voters, aliveVoters     []uint32
	writers                 int // voters that are alive and can write their log, and have what is before
	leaseVoters, aliveLease []uint32
	guards                  int // nodes that are alive and not drained, whose guard works and is up to date, and whose SIP sockets are open
	groups                  []groupHolders
	serveless               bool // there is no VIP group
	needGuards              bool
	dead, slow, full, mutes []string // names
	refusing                []string // of the dead: they answer, but do not let this node in
	behind                  []string // their guards refuse the configuration, or go by an older set of lease voters
	filling                 []string // they are being sent the whole state
	unreached               []string // they have not taken the log's entries from the leader since they are back
	faulty                  faultyLogs
	deaf                    deafNodes
	unfit                   []unfitNode
	draining                []string
	ownerless               []string
	unserved                string // whose owner is deaf
	leader                  uint32
	alarms                  []string
	later                   bool           // calls are recorded after the fact
	unrecorded              map[string]int // calls, by the name of the node that handles them
}

func (e *engine) view(cfg *fsm.Config) haView {
	v := haView{leader: e.leader(), needGuards: !e.node.opt.WithoutGuard, unrecorded: map[string]int{}, faulty: faultyLogs{}, deaf: deafNodes{}}
	if v.needGuards {
		v.groups = holdersOf(cfg)
		v.serveless = len(v.groups) == 0 && len(cfg.Nodes()) > 0 && e.raft.AppliedIndex() >= e.onDisk // else it has yet to apply them
	}
	lease, ok := parseLeaseVoters(cfg.Setting(settingLeaseVoters, ""))
	for _, n := range e.nodes(cfg) {
		if !ok && n.Voter {
			lease.voters = append(lease.voters, n.Number)
		}
	}
	v.leaseVoters = lease.voters
	leader, _ := e.infoOf(v.leader)
	for _, n := range e.nodes(cfg) {
		alive, _ := e.alive(n.Number)
		info, told := e.infoOf(n.Number)
		if n.Uuid == e.UUID { // it may not know its number yet, but it does answer
			alive, info, told = true, e.info(), true
		}
		if n.Voter {
			v.voters = append(v.voters, n.Number)
		}
		if n.Draining {
			v.draining = append(v.draining, n.Name)
		}
		if !alive {
			v.dead = append(v.dead, n.Name)
			if e.refusedBy(n.Number) {
				v.refusing = append(v.refusing, n.Name)
			}
			continue
		}
		if n.Voter {
			v.aliveVoters = append(v.aliveVoters, n.Number)
		}
		filling := slices.Contains(leader.Filling, n.Uuid)
		if filling {
			v.filling = append(v.filling, n.Name)
		}
		unreached := slices.Contains(leader.Unreached, n.Uuid) && info.LogFault == "" // which tells more
		if unreached {
			v.unreached = append(v.unreached, n.Name)
		}
		if n.Voter && info.LogFault == "" && !filling && !unreached {
			v.writers++
		}
		if info.LogFault != "" {
			v.faulty[n.Name] = info.LogFault
		}
		guard := !v.needGuards || told && info.Guard
		behind := v.needGuards && told && (info.GuardRefuses || e.vips.behind(info.GuardEpoch))
		if slices.Contains(lease.voters, n.Number) && guard && !behind {
			v.aliveLease = append(v.aliveLease, n.Number)
		}
		switch {
		case !guard && !info.GuardRefuses:
			v.mutes = append(v.mutes, n.Name)
		case behind:
			v.behind = append(v.behind, n.Name)
		case info.SIPFault != nil:
			v.deaf[n.Name] = info.SIPFault
		case !n.Draining:
			v.guards++
			v.couldHold(n.Name, info.Unfit)
		}
		v.unfit = append(v.unfit, v.unfitOf(n.Name, info.Unfit)...)
		switch {
		case info.LogFault != "": // tells more
		case info.DiskFull:
			v.full = append(v.full, n.Name)
		case info.DiskSlow:
			v.slow = append(v.slow, n.Name)
		}
		if told && info.Unrecorded > 0 {
			v.unrecorded[n.Name] = info.Unrecorded
		}
	}
	v.later = len(v.voters) > 1 && cfg.Setting(proxy.SettingCommit, proxy.CommitBefore) == proxy.CommitAfter
	if v.needGuards {
		for _, g := range cfg.Groups() {
			owner, _, _ := e.ownerOf(g)
			if owner == 0 {
				v.ownerless = append(v.ownerless, g.Name)
			}
			if name := e.name(owner); v.deaf[name] != nil && v.unserved == "" {
				v.unserved = fmt.Sprintf("VIP %s is not served as it should be: %s", g.Name, v.deaf.summary(name))
			}
		}
		v.alarms = e.vips.recentAlarms()
	}
	return v
}

// survives is how many more nodes may go: the log needs a majority of its voters that can write it, a VIP a majority of the lease voters and somebody
// who can hold it.
func (v *haView) survives() int {
	n := v.spare()
	for _, g := range v.groups {
		n = min(n, len(g.nodes)-1)
	}
	return max(n, 0)
}

// spare is survives where every node could hold every VIP.
func (v *haView) spare() int {
	n := min(v.writers-quorum(len(v.voters)), len(v.aliveLease)-quorum(len(v.leaseVoters)))
	if v.needGuards {
		n = min(n, v.guards-1)
	}
	return n
}

// cutOff says that this node has no leader and reaches no majority of the voters.
func (v *haView) cutOff() bool { return v.leader == 0 && len(v.aliveVoters) < quorum(len(v.voters)) }

// removed says that this node is no member any more, as it seems: others answer, and do not let it in.
func (v *haView) removed() bool { return v.cutOff() && len(v.refusing) > 0 }

func (v *haView) cutOffAdvice() string {
	if v.removed() {
		return fmt.Sprintf("it was removed from the cluster, it seems, for %s answered and did not let it in: leave for good (holdline leave --force), then join again", strings.Join(v.refusing, ", "))
	}
	return v.lostAdvice()
}

// deadAdvice tells of nodes that do not answer. To a node that no other one answers it is its own network that is at fault, as far as can be told, and there it could
// remove nobody.
func (v *haView) deadAdvice() string {
	names := strings.Join(v.dead, ", ")
	switch {
	case v.cutOff() && len(v.aliveVoters) < 2 && len(v.dead) > 1:
		return fmt.Sprintf("%s do not answer: check this node's own cables and its port at the switch first, then theirs", names)
	case len(v.dead) > 1:
		return fmt.Sprintf("%s do not answer: check their power and cables, or replace them (holdline node remove %s, then join another)", names, v.dead[0])
	}
	return fmt.Sprintf("%s does not answer: check its power and cables, or replace it (holdline node remove %s, then join another)", names, v.dead[0])
}

func (v *haView) lostAdvice() string {
	if v.spare() > 0 {
		if scarce := v.scarce(1); scarce != "" {
			return scarce
		}
	}
	switch {
	case len(v.dead) > 0:
		return v.deadAdvice()
	case len(v.faulty) > 0:
		return v.faulty.summary()
	case len(v.filling) > 0:
		return fmt.Sprintf("%s is catching up, by the whole state: it counts again when it has that", strings.Join(v.filling, ", "))
	case len(v.unreached) > 0:
		return fmt.Sprintf("%s is back, and the log has not got through to it yet: it counts again when it has", strings.Join(v.unreached, ", "))
	case len(v.mutes) > 0:
		return fmt.Sprintf("the guard of %s does not work: systemctl restart holdline-guard there", strings.Join(v.mutes, ", "))
	case len(v.behind) > 0:
		return fmt.Sprintf("the guard of %s refuses the configuration: holdline doctor there tells why", strings.Join(v.behind, ", "))
	case len(v.deaf) > 0:
		return v.deaf.summary(v.deaf.names()...)
	case len(v.draining) > 1:
		return fmt.Sprintf("%s are drained: holdline undrain there when its work is done", strings.Join(v.draining, ", "))
	case len(v.draining) > 0:
		return fmt.Sprintf("%s is drained: holdline undrain there when its work is done", strings.Join(v.draining, ", "))
	case len(v.leaseVoters) < len(v.voters):
		return "a node is just being added: look again in a few seconds"
	}
	return "join another node (holdline token create)"
}

func (v *haView) problems() []api.Problem {
	var out []api.Problem
	add := func(names []string, what, do string) {
		for _, n := range names {
			out = append(out, api.Problem{What: fmt.Sprintf(what, n), Do: strings.ReplaceAll(do, "NODE", n)})
		}
	}
	if v.serveless {
		out = append(out, api.Problem{What: "there is no VIP group: the cluster serves nothing", Do: "make one: holdline vip add"})
	}
	add(v.ownerless, "nobody serves VIP group %s", "see that the guard runs on every node: holdline doctor")
	dead := v.dead
	if v.removed() {
		add(v.refusing, "node %s does not take this one for a member", "if it was removed, leave for good: holdline leave --force, then join again")
		dead = slices.DeleteFunc(slices.Clone(dead), func(name string) bool { return slices.Contains(v.refusing, name) })
	}
	replace := ", or replace it: holdline node remove NODE, then join another"
	if v.cutOff() {
		replace = ", and this node's own" // nobody can be removed from here
	}
	add(dead, "node %s does not answer", "check its power and cables"+replace)
	out = append(out, v.faulty.problems()...)
	add(v.filling, "node %s is catching up, by the whole state", "wait until it has that: a minute for a million phones")
	add(v.unreached, "the log has not got through to node %s yet", "wait a moment; if it lasts: holdline doctor on NODE, and see that port 7700/tcp is open to it")
	add(v.mutes, "the guard of node %s does not work: it can hold no VIP", "systemctl restart holdline-guard on NODE")
	add(v.behind, "the guard of node %s refuses the configuration: it counts as lost", "holdline doctor on NODE tells why")
	out = append(out, v.deaf.problems()...)
	for _, u := range v.unfit {
		out = append(out, u.problem())
	}
	add(v.alarms, "the guard of this node reports: %s", "holdline doctor tells more")
	add(v.full, "the disk of node %s is full: its raft log goes on in what it has set aside, for a while", "free some space in the data directory of NODE")
	add(v.slow, "the disk of node %s is too slow", "check the disk of NODE")
	if v.later {
		out = append(out, api.Problem{
			What: "calls are recorded after the fact: a node that fails takes what it did in the last seconds with it",
			Do:   "if that is not wanted: holdline setting set call.commit before",
		})
	}
	for _, name := range slices.Sorted(maps.Keys(v.unrecorded)) {
		p := api.Problem{
			What: fmt.Sprintf("%d calls are not replicated: lost if node %s is", v.unrecorded[name], name),
			Do:   "they are as soon as there is a raft leader again: see RAFT below",
		}
		if v.unrecorded[name] == 1 {
			p = api.Problem{What: "1 call is not replicated: lost if node " + name + " is", Do: "it is as soon as there is a raft leader again: see RAFT below"}
		}
		out = append(out, p)
	}
	add(v.draining, "node %s is drained and takes no VIP", "end it when its work is done: holdline undrain --node NODE")
	return out
}

// ownerOf says who holds a group, as far as this node can tell: from its guard, or from what the holder tells over the link.
func (e *engine) ownerOf(g *pb.Group) (node uint32, epoch uint64, agoMs int64) {
	if epoch, _, held := e.vips.Lease(g.Number); held {
		i := e.info()
		return e.number.Load(), epoch, i.Held[g.Number]
	}
	node, epoch = e.vips.Owner(g.Number)
	if alive, _ := e.alive(node); node != 0 && !alive {
		node, epoch = 0, 0
	}
	for _, m := range e.members.numbers() {
		if i, ok := e.infoOf(m); ok && m != e.number.Load() {
			if at := uint64(i.Epochs[g.Number]); at != 0 && at >= epoch {
				if alive, _ := e.alive(m); alive {
					node, epoch, agoMs = m, at, i.Held[g.Number]
				}
			}
		}
	}
	return node, epoch, agoMs
}
