package main

import (
	"os/exec"
	"testing"
)

func TestDebVersion(t *testing.T) {
	for in, want := range map[string]string{
		"v1.2.3":                  "1.2.3",
		"v1.2.3-5-gabcdef0":       "1.2.3+5.gabcdef0",
		"v1.2.3-5-gabcdef0-dirty": "1.2.3+5.gabcdef0+dirty",
		"v1.3.0-rc1":              "1.3.0~rc1",
		"v1.3.0-rc1-2-gabcdef0":   "1.3.0~rc1+2.gabcdef0",
		"fe2941f":                 "0~fe2941f",
		"dev":                     "0~dev",
	} {
		if got := debVersion(in); got != want {
			t.Errorf("%s: want %s, got %s", in, want, got)
		}
	}
}

// dpkg itself says that later commits are later versions.
func TestVersionsAreOrdered(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("no dpkg here")
	}
	order := []string{"fe2941f", "v1.0.0-rc1", "v1.0.0-rc1-2-gabcdef0", "v1.0.0", "v1.0.0-1-gabcdef0", "v1.0.0-1-gabcdef0-dirty", "v1.0.1-rc1", "v1.0.1"}
	for i := 1; i < len(order); i++ {
		a, b := debVersion(order[i-1]), debVersion(order[i])
		if err := exec.Command(dpkg, "--compare-versions", a, "lt", b).Run(); err != nil {
			t.Errorf("%s is not before %s", a, b)
		}
	}
}
