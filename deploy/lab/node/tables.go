package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// Tables is what a node has of the replicated state, as far as the CLI shows it.
type Tables struct {
	Registrations []Registration
	Calls         []string // each as JSON
	Domains       int
	Users         int
}

// Tables asks the node for all of it.
func (n *Node) Tables(ctx context.Context) (Tables, error) {
	var t Tables
	var err error
	if t.Registrations, err = n.Registrations(ctx); err != nil {
		return t, err
	}
	slices.SortFunc(t.Registrations, func(a, b Registration) int {
		return cmp.Or(cmp.Compare(a.AoR, b.AoR), cmp.Compare(a.Contact, b.Contact))
	})
	var list struct {
		Calls []json.RawMessage `json:"calls"`
	}
	if err := n.JSON(ctx, &list, "calls"); err != nil {
		return t, err
	}
	for _, c := range list.Calls {
		t.Calls = append(t.Calls, string(c))
	}
	s, err := n.Status(ctx)
	t.Domains, t.Users = s.Counts.Domains, s.Counts.Users
	return t, err
}

// Differs says in what another node's tables differ, "" when in nothing.
func (t Tables) Differs(o Tables) string {
	switch {
	case !slices.Equal(t.Registrations, o.Registrations):
		return fmt.Sprintf("%d and %d registrations, or with other contacts", len(t.Registrations), len(o.Registrations))
	case t.Domains != o.Domains || t.Users != o.Users:
		return fmt.Sprintf("%d and %d domains, %d and %d users", t.Domains, o.Domains, t.Users, o.Users)
	case !slices.Equal(t.Calls, o.Calls):
		return fmt.Sprintf("%d and %d calls, or others", len(t.Calls), len(o.Calls))
	}
	return ""
}
