package sim

import "holdline/vip/lease"

// cluster plays the part of the replicated configuration: versions in order, each pushed to the nodes at its own time, the
// voters changed one at a time and only when the wait that the protocol asks for is over.
type cluster struct {
	versions []version
	changed  [maxNodes]bool // nodes whose vote has been changed
	stale    int            // is given nothing new; -1: none
	waited   int64          // since when majorities of old and new have the latest epoch in force; 0: they have not
}

type version struct {
	epoch   uint64
	voter   [maxNodes]bool
	profile lease.Profile
}

func (c *cluster) reset(w *World) {
	c.versions = append(c.versions[:0], version{epoch: 1, profile: w.setup.Profile})
	for i := range w.setup.Voters {
		c.versions[0].voter[i] = true
	}
	c.waited, c.stale, c.changed = 0, -1, [maxNodes]bool{}
}

func (c *cluster) latest() *version { return &c.versions[len(c.versions)-1] }

// config is a version as a node's guard would hand it to its core.
func (c *cluster) config(w *World, v int) lease.Config {
	ver := &c.versions[v]
	cfg := lease.Config{Epoch: ver.epoch, Profile: ver.profile}
	n := len(w.nodes)
	for i := range n {
		cfg.Nodes = append(cfg.Nodes, lease.Node{Number: uint32(i + 1), Voter: ver.voter[i]})
	}
	for g := range w.setup.Groups {
		group := lease.Group{Number: uint32(g + 1), Floor: w.acquired[g]}
		for i := range n {
			group.Order = append(group.Order, uint32((g+i)%n+1))
		}
		cfg.Groups = append(cfg.Groups, group)
	}
	return cfg
}

// push hands the latest version to a node: made durable, then taken over.
func (w *World) push(i int) {
	nd := &w.nodes[i]
	if !nd.up || nd.asleep || nd.frozen(w.now) {
		return
	}
	nd.version = len(w.cluster.versions) - 1
	acts, err := nd.core.SetConfig(nd.clock.at(w.now), w.cluster.config(w, nd.version))
	if err != nil {
		w.fail("n%d refuses version %d: %v", i+1, nd.version, err)
		return
	}
	w.logf("n%d is given epoch %d, profile %s", i+1, w.cluster.latest().epoch, w.cluster.latest().profile.Name)
	w.carryOut(i, acts)
}

// settled says whether majorities of the last two sets of voters have the latest epoch in force, and have had it for one
// maximal grant.
func (w *World) settled() bool {
	c := &w.cluster
	if len(c.versions) == 1 {
		return true
	}
	last := c.latest()
	for k := len(c.versions) - 1; k >= 0; k-- {
		v := &c.versions[k]
		if v.epoch+1 < last.epoch {
			break
		}
		have, all := 0, 0
		for i := range w.nodes {
			if !v.voter[i] {
				continue
			}
			all++
			if nd := &w.nodes[i]; nd.up {
				if e, _ := nd.core.Epoch(); e >= last.epoch {
					have++
				}
			}
		}
		if have < all/2+1 {
			c.waited = 0
			return false
		}
	}
	if c.waited == 0 {
		c.waited = w.now
	}
	// By the slowest clock.
	return w.now-c.waited > lease.MaxGrant*int64(1e6+w.setup.MaxPPM)/1e6
}

// changeVoter adds or removes one voter, if the wait since the last change is over.
func (w *World) changeVoter(i int) bool {
	if !w.settled() {
		return false
	}
	v := *w.cluster.latest()
	v.epoch++
	v.voter[i] = !v.voter[i]
	n := 0
	for k := range w.nodes {
		if v.voter[k] {
			n++
		}
	}
	if n == 0 {
		return false
	}
	w.cluster.versions = append(w.cluster.versions, v)
	w.cluster.waited = 0
	w.logf("epoch %d: n%d votes: %v", v.epoch, i+1, v.voter[i])
	return true
}

// changeProfile gives the cluster another profile.
func (w *World) changeProfile(p lease.Profile) {
	v := *w.cluster.latest()
	v.profile = p
	w.cluster.versions = append(w.cluster.versions, v)
	w.logf("profile %s", p.Name)
}
