package cluster

import (
	"github.com/prometheus/client_golang/prometheus"

	"holdline/sipcore"
)

// What `holdline status` shows as well is told by the daemon's status collector; here is what only the node itself counts.
// Names and meanings are listed in docs/metrics.md.

var _ prometheus.Collector = (*Node)(nil)

// collector shows what has a file of its own.
type collector struct{}

var (
	descOfDomain = prometheus.NewDesc("holdline_domain_calls", "Calls of the domain, in the whole cluster.", []string{"domain"}, nil)
	descOfMember = prometheus.NewDesc("holdline_member_calls", "Calls on the pool member, in the whole cluster.", []string{"pool", "member"}, nil)
	descCDRs     = prometheus.NewDesc("holdline_cdrs_total", "Call detail records made, in the whole cluster: calls that have ended.", nil, nil)
	descCDRKept  = prometheus.NewDesc("holdline_cdrs_kept", "Call detail records kept in the replicated state.", nil, nil)
	descCDRFile  = prometheus.NewDesc("holdline_cdr_written", "Number of the last call detail record in this node's files.", nil, nil)
	descCDRGone  = prometheus.NewDesc("holdline_cdrs_missed_total", "Call detail records that had gone before this node could write them.", nil, nil)
	descCDRFails = prometheus.NewDesc("holdline_cdr_write_failures_total", "Writes of call detail records that the disk refused.", nil, nil)
)

// Describe implements prometheus.Collector. It lists nothing: an unconfigured node has no metrics, and which labels there are
// is known when they are collected.
func (n *Node) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. Values are read when asked for; nothing is counted twice.
func (n *Node) Collect(ch chan<- prometheus.Metric) {
	e := n.engine.Load()
	if e == nil {
		return
	}
	out := metrics{ch}
	out.gauge("fsync_p99_seconds", "99th percentile of recent writes to the raft log.", e.store.FsyncP99().Seconds(), nil)
	out.gauge("writes_waiting", "Writes of this node that have no result yet.", float64(e.submitter.Waiting()), nil)
	c := e.machine.Counts()
	out.gauge("registered_users", "Users with at least one contact binding.", float64(c.Registrations), nil)
	out.gauge("call_records", "Records of calls, with those kept for retransmissions.", float64(c.CallRows), nil)
	out.gauge("write_sessions", "Sessions in which nodes write.", float64(c.Sessions), nil)
	unfit := e.vips.unfitGroups()
	for _, g := range e.machine.Config().Groups() {
		_, _, held := e.vips.Lease(g.Number)
		out.gauge("vip_lease_held", "1 when this node holds the VIP group's lease.", oneIf(held), []string{"vip"}, g.Name)
		out.gauge("vip_fits", "1 when this node could hold the VIP group: interfaces and carrier are there, as far as its guard has told.", oneIf(unfit[g.Number] == ""), []string{"vip"}, g.Name)
	}
	if l := e.link.Load(); l != nil {
		for _, p := range l.Peers() {
			alive, _ := e.alive(p.Node)
			out.gauge("peer_alive", "1 when this node has heard of the peer lately.", oneIf(alive), []string{"peer"}, e.name(p.Node))
		}
		s := l.Stats()
		const help = "SIP frames on the node link that were not simply delivered."
		out.counter("link_frames_total", help, s.Dropped, []string{"what"}, "dropped")
		out.counter("link_frames_total", help, s.Resent, []string{"what"}, "resent")
		out.counter("link_frames_total", help, s.Refused, []string{"what"}, "refused")
	}
	collector{}.collectCalls(e, ch)
	collector{}.collectCertificates(e, ch)
	collector{}.collectGateways(e, ch)
	collector{}.collectTrunks(e, ch)
	if core := e.vips.core.Load(); core != nil {
		out.core(core)
		out.gauge("sip_sockets_missing", "Addresses and ports of VIPs that this node could not open for SIP: another program has them, most likely.", float64(e.vips.socketFault().missing()), nil)
	}
}

// metrics writes metrics under the product's name.
type metrics struct{ ch chan<- prometheus.Metric }

func (m metrics) gauge(name, help string, v float64, labels []string, values ...string) {
	m.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("holdline_"+name, help, labels, nil), prometheus.GaugeValue, v, values...)
}

func (m metrics) counter(name, help string, v uint64, labels []string, values ...string) {
	m.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("holdline_"+name, help, labels, nil), prometheus.CounterValue, float64(v), values...)
}

// core writes what the SIP core counts.
func (m metrics) core(c *sipcore.Core) {
	m.gauge("sip_transactions", "SIP transactions under way or kept for retransmissions.", float64(c.Transactions()), nil)
	m.gauge("sip_unrecorded_calls", "Calls of which something is not in the replicated table yet, for lack of a raft leader.", float64(c.Unrecorded()), nil)
	m.gauge("sip_pressure", "Share of new requests that is refused now for overload; what exceeds 1 is the share left unanswered.", c.Pressure(), nil)
	c.Counters(func(name, help string, v uint64) { m.counter("sip_"+name+"_total", help, v, nil) })
}

func oneIf(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
