package torture

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestAll: no section of the RFCs is without its message.
func TestAll(t *testing.T) {
	want := map[string]int{}
	sections := func(format string, n int) {
		for i := range n {
			want[fmt.Sprintf(format, i+1)]++
		}
	}
	sections("4475 3.1.1.%d", 13)
	sections("4475 3.1.2.%d", 19)
	sections("4475 3.2.%d", 1)
	sections("4475 3.3.%d", 15)
	sections("4475 3.4.%d", 1)
	sections("5118 4.%d", 10)
	want["5118 4.5"]++
	want["5118 4.10"]++
	names := map[string]bool{}
	for _, m := range All() {
		if names[m.Name] {
			t.Errorf("two messages are %s", m.Name)
		}
		names[m.Name] = true
		want[fmt.Sprintf("%d %s", m.RFC, m.Section)]--
	}
	for section, n := range want {
		if n != 0 {
			t.Errorf("RFC %s: %d messages too few", section, n)
		}
	}
}

// TestOfTestsAlone: nothing that ships depends on the messages.
func TestOfTestsAlone(t *testing.T) {
	const root = "../../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root:
			return filepath.SkipDir
		case d.IsDir(), !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			if i.Path.Value == `"holdline/sipcore/internal/torture"` {
				t.Errorf("%s uses the torture messages", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
