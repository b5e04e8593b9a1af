package cluster

import (
	"net/http"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// collector reads the node's state when it is asked; nothing is counted twice.
type collector struct{ node *Node }

var (
	descLeader   = prometheus.NewDesc("holdline_raft_leader", "1 when this node is the raft leader.", nil, nil)
	descTerm     = prometheus.NewDesc("holdline_raft_term", "Raft term.", nil, nil)
	descCommit   = prometheus.NewDesc("holdline_raft_commit_index", "Last committed entry this node knows of.", nil, nil)
	descApplied  = prometheus.NewDesc("holdline_raft_applied_index", "Last entry applied here.", nil, nil)
	descFsync    = prometheus.NewDesc("holdline_fsync_p99_seconds", "99th percentile of recent log writes.", nil, nil)
	descSurvives = prometheus.NewDesc("holdline_ha_survives", "How many more nodes may be lost, any of them.", nil, nil)
	descWaiting  = prometheus.NewDesc("holdline_writes_waiting", "Writes of this node without a result yet.", nil, nil)
	descCalls    = prometheus.NewDesc("holdline_calls", "Calls being set up or established, in the whole cluster.", nil, nil)
	descBindings = prometheus.NewDesc("holdline_registrations", "Contact bindings, in the whole cluster.", nil, nil)
	descPeer     = prometheus.NewDesc("holdline_peer_alive", "1 when the peer has been heard lately.", []string{"peer"}, nil)
	descHeld     = prometheus.NewDesc("holdline_vip_groups_held", "VIP groups this node owns.", nil, nil)
	descOfDomain = prometheus.NewDesc("holdline_domain_calls", "Calls of the domain, in the whole cluster.", []string{"domain"}, nil)
	descOfMember = prometheus.NewDesc("holdline_member_calls", "Calls on the pool member, in the whole cluster.", []string{"pool", "member"}, nil)
	descCDRs     = prometheus.NewDesc("holdline_cdrs_total", "Call detail records made, in the whole cluster: calls that have ended.", nil, nil)
	descCDRKept  = prometheus.NewDesc("holdline_cdrs_kept", "Call detail records kept in the replicated state.", nil, nil)
	descCDRFile  = prometheus.NewDesc("holdline_cdr_written", "Number of the last call detail record in this node's files.", nil, nil)
	descCDRGone  = prometheus.NewDesc("holdline_cdrs_missed_total", "Call detail records that had gone before this node could write them.", nil, nil)
	descCDRFails = prometheus.NewDesc("holdline_cdr_write_failures_total", "Writes of call detail records that the disk refused.", nil, nil)
	descFrames   = prometheus.NewDesc("holdline_link_frames_total", "SIP frames on the node link that were not simply delivered.", []string{"what"}, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	e := c.node.engine.Load()
	if e == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	flag := func(on bool) float64 {
		if on {
			return 1
		}
		return 0
	}
	counts := e.machine.Counts()
	gauge(descLeader, flag(e.raft.State() == raft.Leader))
	gauge(descTerm, float64(e.raft.CurrentTerm()))
	gauge(descCommit, float64(e.raft.CommitIndex()))
	gauge(descApplied, float64(e.raft.AppliedIndex()))
	gauge(descFsync, e.store.FsyncP99().Seconds())
	gauge(descSurvives, float64(e.haOf(e.machine.Config()).Survives))
	gauge(descWaiting, float64(e.submitter.Waiting()))
	gauge(descCalls, float64(counts.Calls))
	gauge(descBindings, float64(counts.Bindings))
	gauge(descHeld, float64(len(e.heldGroups())))
	c.collectCalls(e, ch)
	l := e.link.Load()
	for _, p := range l.Peers() {
		alive, _ := e.alive(p.Node)
		gauge(descPeer, flag(alive), e.name(p.Node))
	}
	s := l.Stats()
	for what, n := range map[string]uint64{"dropped": s.Dropped, "resent": s.Resent, "refused": s.Refused} {
		ch <- prometheus.MustNewConstMetric(descFrames, prometheus.CounterValue, float64(n), what)
	}
}

// Metrics serves the node's metrics in the Prometheus format.
func (n *Node) Metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{n}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
