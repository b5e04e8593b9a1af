package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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

// The installation has the UDP buffers set where they are smaller than wanted, leaves larger ones alone, and does not fail where they cannot be
// changed. Of the tools there are stand-ins: what they would change is this machine's.
func TestPostinstSetsBuffers(t *testing.T) {
	for _, x := range []struct{ have, want string }{
		{"212992", "--prefix=/net/core/rmem_max\n--prefix=/net/core/wmem_max\n"},
		{"4194304", ""},
		{"16777216", ""},
	} {
		dir := t.TempDir()
		calls := filepath.Join(dir, "calls")
		for name, text := range map[string]string{
			"cat":                "echo " + x.have, // of /proc/sys
			"systemd-sysctl":     "echo \"$@\" >>" + calls + "; exit 1",
			"systemd-sysusers":   "",
			"deb-systemd-helper": "",
			"deb-systemd-invoke": "",
			"systemctl":          "",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("/bin/sh", "scripts/postinst", "configure")
		cmd.Env = []string{"PATH=" + dir}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("with %s: %v\n%s", x.have, err, out)
		}
		got, err := os.ReadFile(calls)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if string(got) != x.want {
			t.Errorf("with %s systemd-sysctl was called with %q, want %q", x.have, got, x.want)
		}
	}
}
