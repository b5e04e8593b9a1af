package cluster

import (
	"context"
	"fmt"

	"holdline/cluster/api"
)

// doctorConfig tells what of the configuration works against its purpose: each change by itself was right.
func (n *Node) doctorConfig(ctx context.Context) ([]api.Check, error) {
	domains, err := n.ListDomains(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := n.ListVIPs(ctx)
	if err != nil {
		return nil, err
	}
	var out []api.Check
	domain, bare := api.Unaliased(domains, groups)
	for _, a := range bare {
		out = append(out, api.Check{
			Name: "VIP " + a, Result: api.CheckWarn, Detail: "no domain has it as an alias, as others have: calls to it by address get 404",
			Advice: fmt.Sprintf("holdline domain alias add %s %s", domain, a),
		})
	}
	routes, err := n.routeChecks(ctx)
	return append(out, routes...), err
}

// routeChecks tells of routes that lead to no gateway.
func (n *Node) routeChecks(ctx context.Context) ([]api.Check, error) {
	pools, err := n.ListPools(ctx)
	if err != nil {
		return nil, err
	}
	byName := map[string]*api.Pool{}
	for i := range pools {
		byName[pools[i].Name] = &pools[i]
	}
	routes, err := n.ListRoutes(ctx)
	if err != nil {
		return nil, err
	}
	var out []api.Check
	for _, r := range routes {
		p := byName[r.Pool]
		if p == nil || p.InService() {
			continue
		}
		c := api.Check{Name: fmt.Sprintf("route of %s to '%s…'", r.Domain, r.Prefix), Result: api.CheckWarn}
		if c.Detail, c.Advice = "pool "+r.Pool+" has no members: such calls get 503", "holdline pool member add "+r.Pool; len(p.Members) > 0 {
			c.Detail, c.Advice = "all members of pool "+r.Pool+" are disabled: such calls get 503", "holdline pool member set "+r.Pool+" NAME --disabled=false"
		}
		out = append(out, c)
	}
	return out, nil
}
