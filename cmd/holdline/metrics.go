package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"holdline/cluster/api"
)

// metricsOf makes the handler of /metrics: the process, what status says, and what the node itself counts.
func metricsOf(n node) (http.Handler, error) {
	r := prometheus.NewRegistry()
	parts := []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newStatusCollector(n),
	}
	if own, ok := n.(prometheus.Collector); ok {
		parts = append(parts, own)
	}
	for _, c := range parts {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("setting up metrics: %w", err)
		}
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{Timeout: scrapeTime, MaxRequestsInFlight: 4}), nil
}

// scrapeTime bounds one scrape.
const scrapeTime = 5 * time.Second

// statusCollector shows what `holdline status` says as metrics. It asks when it is scraped and keeps nothing.
type statusCollector struct {
	b api.Backend

	info, ha, survives, problems               *prometheus.Desc
	nodeUp, groupOwned, groupCalls             *prometheus.Desc
	leader, term, commit, applied              *prometheus.Desc
	domains, users, registrations, calls, fail *prometheus.Desc
}

func newStatusCollector(b api.Backend) *statusCollector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("holdline_"+name, help, labels, nil)
	}
	return &statusCollector{
		b:             b,
		info:          d("build_info", "Version of the daemon; always 1.", "version", "go"),
		ha:            d("ha", "1 when this node says HA: yes.", "level"),
		survives:      d("ha_survives_nodes", "How many more nodes may be lost, any of them."),
		problems:      d("ha_problems", "Problems that status lists."),
		nodeUp:        d("node_up", "1 for a member that this node sees alive.", "node"),
		groupOwned:    d("vip_owned", "1 when somebody is known to own the VIP group, labelled with the owner.", "vip", "owner"),
		groupCalls:    d("vip_calls", "Calls whose home is the VIP group.", "vip"),
		leader:        d("raft_leader", "1 when a raft leader is known, labelled with it.", "node"),
		term:          d("raft_term", "Term of the replicated log."),
		commit:        d("raft_commit_index", "Last entry known to be committed."),
		applied:       d("raft_applied_index", "Last entry applied on this node."),
		domains:       d("domains", "Domains in the replicated state."),
		users:         d("users", "Users in the replicated state."),
		registrations: d("registrations", "Contact bindings in the replicated state."),
		calls:         d("calls", "Calls being set up or established, cluster-wide."),
		fail:          d("status_failed", "1 when the node could not tell its status."),
	}
}

// Describe implements prometheus.Collector. It lists nothing: which labels there are is known when status is asked, and
// registering must not ask the node.
func (s *statusCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *statusCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	put := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	put(s.info, 1, version, runtime.Version())
	st, err := s.b.Status(ctx)
	put(s.fail, one(err != nil))
	if err != nil {
		return
	}
	put(s.ha, one(st.HA.Level == api.HAYes), st.HA.Level)
	put(s.survives, float64(st.HA.Survives))
	put(s.problems, float64(len(st.HA.Problems)))
	for _, n := range st.Nodes {
		put(s.nodeUp, one(n.State == api.NodeAlive), n.Name)
	}
	for _, g := range st.VIPs {
		put(s.groupOwned, one(g.Owner != ""), g.Name, g.Owner)
		put(s.groupCalls, float64(g.Calls), g.Name)
	}
	put(s.leader, one(st.Raft.Leader != ""), st.Raft.Leader)
	put(s.term, float64(st.Raft.Term))
	put(s.commit, float64(st.Raft.CommitIndex))
	put(s.applied, float64(st.Raft.AppliedIndex))
	put(s.domains, float64(st.Counts.Domains))
	put(s.users, float64(st.Counts.Users))
	put(s.registrations, float64(st.Counts.Registrations))
	put(s.calls, float64(st.Counts.Calls))
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
