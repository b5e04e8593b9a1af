package fsm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestAgenda: whatever has been put in, moved and taken out, the agenda gives what sorting all rows by time and AoR gives.
func TestAgenda(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAgenda()
		rows := map[string]*regRow{}
		times := rapid.Int64Range(0, 5*slotMs)
		for range rapid.IntRange(0, 200).Draw(t, "changes") {
			aor := fmt.Sprintf("user%d@example.com", rapid.IntRange(0, 40).Draw(t, "user"))
			old := rows[aor]
			if old != nil && rapid.Bool().Draw(t, "remove") {
				a.remove(old.place)
				delete(rows, aor)
				continue
			}
			r := &regRow{aor: aor, goneMs: times.Draw(t, "due"), place: &agendaPlace{}}
			if old != nil {
				r.place = old.place
			}
			a.put(r)
			rows[aor] = r
		}
		var want []*regRow
		for _, r := range rows {
			want = append(want, r)
		}
		slices.SortFunc(want, func(a, b *regRow) int {
			return cmp.Or(cmp.Compare(a.goneMs, b.goneMs), strings.Compare(a.aor, b.aor))
		})
		checkAgenda(t, &a, want)
		if at, any := a.min(); any != (len(want) > 0) || any && at != want[0].goneMs {
			t.Fatalf("first at %d %v", at, any)
		}
		upTo := times.Draw(t, "up to")
		limit := rapid.IntRange(0, 50).Draw(t, "limit")
		want = slices.DeleteFunc(want, func(r *regRow) bool { return r.goneMs > upTo })
		want = want[:min(limit, len(want))]
		if got := a.first(upTo, limit); !slices.Equal(got, want) {
			t.Fatalf("%d rows, want %d", len(got), len(want))
		}
	})
}
