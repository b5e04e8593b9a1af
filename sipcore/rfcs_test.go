package sipcore

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRFCTable: what docs/rfcs.md names as tests, files and packages is there.
func TestRFCTable(t *testing.T) {
	table, err := os.ReadFile("../docs/rfcs.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	decl := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, root := range []string{".", "../domains", "../fsm", "../deploy/lab"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range decl.FindAllSubmatch(text, -1) {
				have[string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[3]+cells[4], -1) {
			name := m[1]
			if strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") {
				if !have[name] {
					t.Errorf("there is no test %s", name)
				}
				continue
			}
			if _, err := os.Stat(name); err != nil {
				if _, err := os.Stat(filepath.Join("..", name)); err != nil {
					t.Errorf("there is no %s", name)
				}
			}
		}
	}
}
