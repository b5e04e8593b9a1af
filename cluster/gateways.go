package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

var descGateway = prometheus.NewDesc("holdline_member_up", "1 when the pool member has answered this node's last OPTIONS, or REGISTER, 0 when it is down or silent; absent: not known.",
	[]string{"pool", "member"}, nil)

// gatewayState is how a pool member looks from this node: up, down or silent, or "" when that is not known, and in how many ms it answered last.
func (e *engine) gatewayState(pool, member string) (state string, ms float64) {
	core := e.vips.core.Load()
	if core == nil {
		return "", 0
	}
	switch g := core.Gateway(pool, member); {
	case g.Down:
		return api.MemberDown, 0
	case g.Silent:
		return api.MemberSilent, 0
	case g.Answered:
		return api.MemberUp, float64(g.Took.Round(100*time.Microsecond)) / float64(time.Millisecond)
	}
	return "", 0
}

// seenGateway is a pool member and how it looks from this node.
type seenGateway struct {
	*pb.Member
	state string
}

func (e *engine) seenGateways() []seenGateway {
	var out []seenGateway
	for _, p := range e.machine.Config().Pools() {
		for _, m := range p.Members {
			state, _ := e.gatewayState(p.Name, m.Name)
			out = append(out, seenGateway{m, state})
		}
	}
	slices.SortFunc(out, func(a, b seenGateway) int { return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Name, b.Name)) })
	return out
}

// collectGateways shows which pool members answer.
func (collector) collectGateways(e *engine, ch chan<- prometheus.Metric) {
	for _, g := range e.seenGateways() {
		if g.state != "" {
			ch <- prometheus.MustNewConstMetric(descGateway, prometheus.GaugeValue, oneIf(g.state == api.MemberUp), g.Pool, g.Name)
		}
	}
}

// gatewayChecks tells of each pool member that does not answer, and how many do.
func gatewayChecks(all []seenGateway) []api.Check {
	var out []api.Check
	up, silent, unknown := 0, 0, 0
	for _, g := range all {
		switch g.state {
		case api.MemberUp:
			up++
		case api.MemberSilent:
			silent++
		case api.MemberDown:
			out = append(out, api.Check{
				Name: "gateway " + g.Pool + "/" + g.Name, Result: api.CheckWarn, Detail: g.Address + " is silent, closed, or answers 503 to this node: it is tried after the others of its pool",
				Advice: "see that it runs, and that it lets this node's VIPs in",
			})
		default:
			unknown++
		}
	}
	if up+silent+unknown > 0 {
		detail := fmt.Sprintf("%d up", up)
		if silent > 0 {
			detail += fmt.Sprintf(", %d silent (off, or they answer no OPTIONS; they are called all the same)", silent)
		}
		if unknown > 0 {
			detail += fmt.Sprintf(", %d not known (no route leads there, or this node owns no VIP to ask from)", unknown)
		}
		out = append(out, api.Check{Name: "gateways", Result: api.CheckOK, Detail: detail})
	}
	return out
}
