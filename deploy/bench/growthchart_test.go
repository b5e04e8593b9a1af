package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestGrowthChartIsCurrent draws the published figures again.
func TestGrowthChartIsCurrent(t *testing.T) {
	figures, err := os.ReadFile("../../docs/growth.json")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "growth.json")
	if err := os.WriteFile(copied, figures, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := drawGrowth(copied); err != nil {
		t.Fatal(err)
	}
	drawn, err := os.ReadFile(filepath.Join(filepath.Dir(copied), "growth.svg"))
	if err != nil {
		t.Fatal(err)
	}
	published, err := os.ReadFile("../../docs/growth.svg")
	if err != nil {
		t.Fatal(err)
	}
	if string(drawn) != string(published) {
		t.Error("docs/growth.svg is not drawn from docs/growth.json: go run ./deploy/bench -draw docs/growth.json")
	}
}
