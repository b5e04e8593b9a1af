package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestDebVersion(t *testing.T) {
	for in, want := range map[string]string{
		"v1.2.3":                          "1.2.3",
		"v1.2.3-5-gabcdef0":               "1.2.3+5.gabcdef0",
		"v1.2.3-5-gabcdef0-dirty":         "1.2.3+5.gabcdef0+dirty",
		"v1.3.0-rc1":                      "1.3.0~rc1",
		"v1.3.0-rc1-2-gabcdef0":           "1.3.0~rc1+2.gabcdef0",
		"0-20261128020639-gfe2941f":       "0~20261128020639.gfe2941f",
		"0-20261128020639-gfe2941f-dirty": "0~20261128020639.gfe2941f+dirty",
		"fe2941f":                         "0~fe2941f",
		"dev":                             "0~dev",
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
	order := []string{"0-20261128020639-gfe2941f", "0-20261128020639-gfe2941f-dirty", "0-20261128020640-g0e2941f", "v0.0.1-rc1", "v1.0.0-rc1", "v1.0.0-rc1-2-gabcdef0", "v1.0.0", "v1.0.0-1-gabcdef0", "v1.0.0-1-gabcdef0-dirty", "v1.0.1-rc1", "v1.0.1"}
	for i := 1; i < len(order); i++ {
		a, b := debVersion(order[i-1]), debVersion(order[i])
		if err := exec.Command(dpkg, "--compare-versions", a, "lt", b).Run(); err != nil {
			t.Errorf("%s is not before %s", a, b)
		}
	}
}

// The Makefile itself gives commits without a tag versions that dpkg orders as the commits are.
func TestUntaggedCommitsAreOrdered(t *testing.T) {
	for _, tool := range []string{"git", "make", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	dir, date := t.TempDir(), ""
	do := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		for _, e := range os.Environ() { // a make that runs this test would hand its VERSION on
			if !strings.HasPrefix(e, "MAKE") && !strings.HasPrefix(e, "MFLAGS=") && !strings.HasPrefix(e, "VERSION=") && !strings.HasPrefix(e, "GIT_") {
				cmd.Env = append(cmd.Env, e)
			}
		}
		cmd.Env = append(cmd.Env, "TZ=Asia/Tokyo", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_DATE="+date,
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %v: %v", name, args, err)
		}
		return strings.TrimSpace(string(out))
	}
	makefile, err := filepath.Abs("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	do("git", "init", "-q")
	var versions []string
	for _, date = range []string{"2026-11-28T09:59:59Z", "2026-11-28T10:00:00Z", "2026-11-28T23:00:00Z"} {
		do("git", "commit", "-q", "--allow-empty", "-m", "at "+date)
		versions = append(versions, debVersion(do("make", "-s", "-f", makefile, "--eval", "show: ; @echo '$(VERSION)'", "show")))
	}
	if !strings.HasPrefix(versions[0], "0~20261128095959.g") {
		t.Errorf("version of the first commit: %s", versions[0])
	}
	for i := 1; i < len(versions); i++ {
		do("dpkg", "--compare-versions", versions[i-1], "lt", versions[i])
	}
	do("git", "tag", "v0.1")
	if v := do("make", "-s", "-f", makefile, "--eval", "show: ; @echo '$(VERSION)'", "show"); v != "v0.1" {
		t.Errorf("version of a release: %s", v)
	}
}

// What dpkg says of a package. The binary is a stand-in that writes a man page and completions.
func TestPackage(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	o := options{version: "v1.2.3", arch: "amd64", root: "../..", binary: filepath.Join(dir, "holdline"), out: dir}
	if err := os.WriteFile(o.binary, []byte("#!/bin/sh\nif [ $1 = man ]; then mkdir -p $2 && echo >$2/holdline.8; fi\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	deb, err := build(o)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("dpkg-deb", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got := ask("--field", deb, "Recommends"); got != "ca-certificates\n" {
		t.Errorf("it recommends %s", got)
	}
	files := ask("--contents", deb)
	for _, want := range []string{"systemd/system/holdline.service", "systemd/system/holdline-guard.service", "sysusers.d/holdline.conf", "sysctl.d/30-holdline.conf"} {
		if !strings.Contains(files, " ./usr/lib/"+want+"\n") {
			t.Errorf("it has no %s:\n%s", want, files)
		}
	}
	if strings.Contains(files, "growth.json") {
		t.Error("it has the figures that a drawing was made of")
	}
	followLinks(t, files)
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

// followLinks checks that what the pages in the package refer to is in it too, but for what is about the source: that is outside of docs.
func followLinks(t *testing.T, contents string) {
	t.Helper()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../docs/cli/README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to, err := filepath.Rel("../../docs", filepath.Join(filepath.Dir(page), m[1]))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(to, "../") {
				continue
			}
			found++
			if !strings.Contains(contents, " ."+filepath.Join(docDir, to)+"\n") {
				t.Errorf("%s refers to %s, which is not in the package", page, to)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d links found: is their form still what this test reads?", found)
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
