package cluster

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"holdline/cluster/pki"
	"holdline/cluster/store"
)

// Files of the data directory.
const (
	fileIdentity   = "identity.json"
	fileKey        = "node.key"
	fileCert       = "node.crt"
	fileCA         = "ca.crt"
	fileClusterKey = "cluster.key"
	fileMembers    = "members.json"
	fileLock       = "lock"
	dirSnapshots   = "snapshots"
)

// identity is who this node is: written once, when it becomes a member.
type identity struct {
	UUID    string         `json:"uuid"`
	Name    string         `json:"name"`
	Listen  netip.AddrPort `json:"listen"`
	Cluster string         `json:"cluster"`
}

// dataDir is the locked directory of one node.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir makes and locks the directory. Secrets live in it: nobody else may read it.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open data directory: %s is not a directory", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("open data directory: %s may be read by others (mode %04o) and holds keys: chmod 700 %s", path, mode, path)
	}
	lock, err := os.OpenFile(filepath.Join(path, fileLock), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("open data directory: this user may not write to %s: run holdline serve as its owner, or choose another --data-dir", path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("lock data directory: %s is in use by another holdline serve: stop it, or choose another --data-dir", path)
	}
	return &dataDir{path: path, lock: lock}, nil
}

func (d *dataDir) close() error { return d.lock.Close() }

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

func (d *dataDir) has(name string) bool {
	_, err := os.Stat(d.file(name))
	return err == nil
}

// write replaces a file as a whole and durably, for the owner's eyes only.
func (d *dataDir) write(name string, content []byte) error {
	tmp := d.file(name + ".new")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", d.file(name), err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, d.file(name))
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", d.file(name), err)
	}
	return nil
}

func (d *dataDir) sync() error {
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// nodeKey returns this node's private key, made at the first call. It outlives a failed join, so that the same join command
// again is the same node to the cluster.
func (d *dataDir) nodeKey() (ed25519.PrivateKey, error) {
	if !d.has(fileKey) {
		key, err := pki.NewKey()
		if err != nil {
			return nil, err
		}
		text, err := pki.EncodeKey(key)
		if err != nil {
			return nil, err
		}
		return key, d.write(fileKey, text)
	}
	text, err := d.secret(fileKey)
	if err != nil {
		return nil, err
	}
	key, err := pki.DecodeKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.file(fileKey), err)
	}
	return key, nil
}

// secret reads a file that only its owner may be able to read.
func (d *dataDir) secret(name string) ([]byte, error) {
	path := d.file(name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read identity: %s is missing or unreadable: restore it, or wipe %s and join again as a new node: %w", name, d.path, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("read identity: %s may be read by others (mode %04o): chmod 600 %s", path, mode, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	return b, nil
}

// uuid returns the UUID this node goes by, made at the first call and kept in a file of its own until it is a member.
func (d *dataDir) uuid() (string, error) {
	const name = "node.uuid"
	if b, err := os.ReadFile(d.file(name)); err == nil {
		if u, err := uuid.Parse(strings.TrimSpace(string(b))); err == nil {
			return u.String(), nil
		}
	}
	u, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("make node UUID: %w", err)
	}
	return u.String(), d.write(name, []byte(u.String()+"\n"))
}

// membership is all that a member keeps besides the log.
type membership struct {
	identity
	key        ed25519.PrivateKey
	cert       []byte // DER
	ca         *pki.CA
	clusterKey []byte
}

func (m *membership) credentials() *pki.Credentials {
	return &pki.Credentials{UUID: m.UUID, Key: m.key, Cert: m.cert, CA: m.ca}
}

// save writes the membership; identity.json last: it is what makes the directory a member's.
func (d *dataDir) save(m *membership) error {
	text, err := json.MarshalIndent(m.identity, "", "  ")
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	return errors.Join(
		d.write(fileCert, pki.EncodeCert(m.cert)),
		d.write(fileCA, pki.EncodeCert(m.ca.Cert.Raw)),
		d.write(fileClusterKey, m.clusterKey),
		d.write(fileIdentity, append(text, '\n')),
	)
}

// load reads the membership; nil: this directory is not a member's. It refuses a directory that has lost a part of what
// makes a member: starting with an old identity and an empty log would forget votes this node has given.
func (d *dataDir) load() (*membership, error) {
	if !d.has(fileIdentity) {
		if d.has(store.FileName) {
			return nil, fmt.Errorf("read identity: %s has a log but no %s: restore the file, or wipe the directory and join again as a new node", d.path, fileIdentity)
		}
		return nil, nil
	}
	text, err := d.secret(fileIdentity)
	if err != nil {
		return nil, err
	}
	m := &membership{}
	if err := json.Unmarshal(text, &m.identity); err != nil || m.UUID == "" || !m.Listen.IsValid() {
		return nil, fmt.Errorf("read identity: %s is damaged: restore it, or wipe %s and join again as a new node", d.file(fileIdentity), d.path)
	}
	if !d.has(store.FileName) {
		return nil, fmt.Errorf("read identity: the data of node %s is lost (%s is missing) but its identity is still here: on a member run `holdline node remove %s`, wipe %s, and join again",
			m.Name, store.FileName, m.Name, d.path)
	}
	if m.key, err = d.nodeKey(); err != nil {
		return nil, err
	}
	certs := map[string][]byte{}
	for _, name := range []string{fileCert, fileCA} {
		text, err := d.secret(name)
		if err != nil {
			return nil, err
		}
		cert, err := pki.DecodeCert(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.file(name), err)
		}
		certs[name] = cert.Raw
		if name == fileCA {
			m.ca = &pki.CA{Cert: cert}
		}
	}
	m.cert = certs[fileCert]
	if m.clusterKey, err = d.secret(fileClusterKey); err != nil {
		return nil, err
	}
	return m, nil
}

// wipe forgets the membership, the log and the snapshots: this node has left, or a join came to nothing.
func (d *dataDir) wipe() error {
	var all error
	for _, name := range []string{fileIdentity, fileCert, fileCA, fileClusterKey, fileMembers, fileKey, "node.uuid", "guard.json"} {
		if err := os.Remove(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	if err := errors.Join(all, store.Remove(d.path), os.RemoveAll(d.file(dirSnapshots)), d.sync()); err != nil {
		return fmt.Errorf("wipe data directory: %w", err)
	}
	return nil
}

// wipeLog forgets what a join that did not come to its end has begun, but not who this node is: the same command again goes on.
func (d *dataDir) wipeLog() error {
	if err := errors.Join(store.Remove(d.path), os.RemoveAll(d.file(dirSnapshots)), d.sync()); err != nil {
		return fmt.Errorf("wipe log: %w", err)
	}
	return nil
}

// parseListen reads what --listen takes: an IP address, with or without port.
func parseListen(text string, defaultPort uint16) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a.Unmap(), defaultPort), nil
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil || ap.Port() == 0 {
		return ap, fmt.Errorf("listen address %q is not an IP address, with or without port: as in --listen 10.77.0.11", text)
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}
