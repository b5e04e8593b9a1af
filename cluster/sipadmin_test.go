package cluster

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"holdline/cluster/api"
)

// Changes of one domain's aliases on all nodes at once: each that was acknowledged holds.
func TestAliasesAtOnce(t *testing.T) {
	l := newLab(t, 3).formed()
	if err := l.nodes[0].AddDomain(t.Context(), api.Domain{Name: "example.com", Aliases: []string{"old0.example", "old1.example", "old2.example"}}); err != nil {
		t.Fatal(err)
	}
	want := []string{}
	var wg sync.WaitGroup
	for i, n := range l.nodes {
		for k := range 4 {
			alias := fmt.Sprintf("n%d-%d.example", i, k)
			want = append(want, alias)
			wg.Go(func() {
				if err := n.AddAlias(t.Context(), "example.com", alias); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if err := n.RemoveAlias(t.Context(), "example.com", fmt.Sprintf("old%d.example", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, n := range l.nodes {
		e := n.engine.Load()
		if err := e.ReadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(slices.Values(e.machine.Config().Domain("example.com").Aliases)); !slices.Equal(got, want) {
			t.Errorf("n%d: %v, want %v", i+1, got, want)
		}
	}
}

// Of several who add the same domain at once one has, and its aliases stand; the others are told.
func TestDomainAddedTwiceAtOnce(t *testing.T) {
	l := newLab(t, 3).formed()
	var wg sync.WaitGroup
	var added atomic.Pointer[string]
	for i, n := range l.nodes {
		wg.Go(func() {
			alias := fmt.Sprintf("n%d.example", i)
			switch err := n.AddDomain(t.Context(), api.Domain{Name: "example.com", Aliases: []string{alias}}); {
			case err == nil && added.Swap(&alias) != nil:
				t.Error("it was added twice")
			case err != nil && api.CodeOf(err) != api.CodeExists:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	e := l.nodes[0].engine.Load()
	if err := e.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := e.machine.Config().Domain("example.com"); added.Load() == nil || !slices.Equal(d.GetAliases(), []string{*added.Load()}) {
		t.Errorf("%v", d)
	}
}
