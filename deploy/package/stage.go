package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/goreleaser/nfpm/v2/files"
)

const docDir = "/usr/share/doc/holdline"

// stage writes what is generated into work and lists everything that the package holds.
func stage(o options, work string) (files.Contents, error) {
	in := func(path string) string { return filepath.Join(o.root, path) }
	c := files.Contents{
		file(o.binary, "/usr/bin/holdline", 0o755),
		file(in("deploy/systemd/holdline.service"), "/usr/lib/systemd/system/holdline.service", 0o644),
		file(in("deploy/systemd/holdline-guard.service"), "/usr/lib/systemd/system/holdline-guard.service", 0o644),
		file(in("deploy/systemd/holdline.sysusers"), "/usr/lib/sysusers.d/holdline.conf", 0o644),
		file(in("deploy/systemd/holdline.sysctl"), "/usr/lib/sysctl.d/30-holdline.conf", 0o644), // an administrator's, from 60 on, goes before
		config(in("deploy/package/holdline.yaml"), "/etc/holdline/holdline.yaml"),
		file(in("LICENSE"), docDir+"/LICENSE", 0o644),
		file(in("deploy/package/copyright"), docDir+"/copyright", 0o644),
	}
	for _, step := range []func(options, string) (files.Contents, error){docs, manPages, completions, changelog} {
		more, err := step(o, work)
		if err != nil {
			return nil, err
		}
		c = append(c, more...)
	}
	return c, nil
}

func file(src, dst string, mode os.FileMode) *files.Content {
	return &files.Content{Source: src, Destination: dst, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode}}
}

// config is a file that an upgrade leaves as the operator changed it.
func config(src, dst string) *files.Content {
	c := file(src, dst, 0o644)
	c.Type = files.TypeConfigNoReplace
	return c
}

// docs are the whole manual as it is in the source, for its pages refer to each other: text, figures, the API's description.
func docs(o options, _ string) (c files.Contents, err error) {
	root := filepath.Join(o.root, "docs")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if ext := filepath.Ext(name); ext == ".md" || ext == ".svg" || name == "openapi.json" {
			c = append(c, file(path, filepath.Join(docDir, name), 0o644))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the documentation: %w", err)
	}
	return c, nil
}

// manPages lets the binary write its pages and compresses them.
func manPages(o options, work string) (files.Contents, error) {
	dir := filepath.Join(work, "man")
	if _, err := holdline(o, "man", dir); err != nil {
		return nil, err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.8"))
	if err != nil || len(pages) == 0 {
		return nil, fmt.Errorf("the binary wrote no man pages into %s: %w", dir, err)
	}
	var c files.Contents
	for _, p := range pages {
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("reading a man page: %w", err)
		}
		if err := gzipTo(p+".gz", text); err != nil {
			return nil, err
		}
		c = append(c, file(p+".gz", "/usr/share/man/man8/"+filepath.Base(p)+".gz", 0o644))
	}
	return c, nil
}

// completions are what the binary says to each shell.
func completions(o options, work string) (files.Contents, error) {
	var c files.Contents
	for shell, dst := range map[string]string{
		"bash": "/usr/share/bash-completion/completions/holdline",
		"zsh":  "/usr/share/zsh/vendor-completions/_holdline",
		"fish": "/usr/share/fish/vendor_completions.d/holdline.fish",
	} {
		text, err := holdline(o, "completion", shell)
		if err != nil {
			return nil, err
		}
		src := filepath.Join(work, "completion."+shell)
		if err := os.WriteFile(src, text, 0o644); err != nil {
			return nil, fmt.Errorf("writing completion: %w", err)
		}
		c = append(c, file(src, dst, 0o644))
	}
	return c, nil
}

// changelog is the one entry that Debian's policy asks for; what changed is in the source's history.
func changelog(o options, work string) (files.Contents, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "holdline (%s) unstable; urgency=medium\n\n  * Built from %s.\n\n -- Holdline contributors <holdline@example.invalid>  %s\n",
		debVersion(o.version), o.version, time.Now().UTC().Format(time.RFC1123Z))
	path := filepath.Join(work, "changelog.gz")
	if err := gzipTo(path, b.Bytes()); err != nil {
		return nil, err
	}
	return files.Contents{file(path, docDir+"/changelog.gz", 0o644)}, nil
}

// holdline runs the binary that is being packaged.
func holdline(o options, args ...string) ([]byte, error) {
	bin, err := filepath.Abs(o.binary)
	if err != nil {
		return nil, fmt.Errorf("finding the binary: %w", err)
	}
	c := exec.Command(bin, args...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("running %s %v: %w: build it first (make build), for this machine", o.binary, args, err)
	}
	return out, nil
}

func gzipTo(path string, text []byte) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("compressing %s: %w", path, err)
	}
	if _, err := z.Write(text); err != nil {
		return fmt.Errorf("compressing %s: %w", path, err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compressing %s: %w", path, err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("compressing %s: %w", path, err)
	}
	return nil
}
