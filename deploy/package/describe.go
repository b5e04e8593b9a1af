package main

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/files"
)

// describe is the package's control information.
func describe(o options, contents files.Contents) *nfpm.Info {
	script := func(name string) string { return filepath.Join(o.root, "deploy/package/scripts", name) }
	return &nfpm.Info{
		Name:          "holdline",
		Arch:          o.arch,
		Platform:      "linux",
		Version:       debVersion(o.version),
		VersionSchema: "none",
		Section:       "comm",
		Priority:      "optional",
		Maintainer:    "Holdline contributors <holdline@example.invalid>",
		Description: "SIP proxy, registrar and session border that holds the line\n" +
			"Three, five or seven boxes form one active-active SIP system: pull the network cable of\n" +
			"any one of them, and calls and registrations go on. Consensus is built in: it needs no\n" +
			"external database, no VRRP daemon and no shared disk.",
		License:         "Apache-2.0",
		DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Contents: contents,
			// systemd: units, sysusers. init-system-helpers: the scripts use them.
			Depends: []string{"systemd", "init-system-helpers"},
			// The authorities that certificates of gateways must be signed by, where those are called over TLS.
			Recommends: []string{"ca-certificates"},
			Scripts:    nfpm.Scripts{PostInstall: script("postinst"), PreRemove: script("prerm"), PostRemove: script("postrm")},
			Deb:        nfpm.Deb{Compression: "xz"},
		},
	}
}

var (
	described = regexp.MustCompile(`^(.*)-([0-9]+)-g([0-9a-f]+)$`)
	untagged  = regexp.MustCompile(`^0-([0-9]{14})-g([0-9a-f]+)$`) // by the Makefile
)

// debVersion turns the Makefile's version into one that dpkg orders rightly: v1.2 < v1.2-3-gabc (three commits later), and commits
// before the first tag by their dates, below every release.
func debVersion(v string) string {
	v, dirty := strings.CutSuffix(v, "-dirty")
	v = strings.TrimPrefix(v, "v")
	if m := untagged.FindStringSubmatch(v); m != nil {
		v = "0~" + m[1] + ".g" + m[2]
	} else if m := described.FindStringSubmatch(v); m != nil {
		v = m[1] + "+" + m[2] + ".g" + m[3]
	} else if !strings.Contains(v, ".") { // a bare commit, or "dev"
		v = "0~" + v
	}
	v = strings.ReplaceAll(v, "-", "~") // 1.0-rc1 comes before 1.0
	if dirty {
		v += "+dirty"
	}
	return v
}
