// Package debian brings a program of a Debian suite, with every library it needs down to libc, into a folder of the
// user's cache: downloaded and checked by apt with a private configuration, unpacked by dpkg-deb, never installed. It
// needs no root and leaves the machine's own packages and apt state alone.
package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Options is what to fetch and from where.
type Options struct {
	Package string // Debian package, such as "sysdig"
	Suite   string // Debian suite, such as "testing"
	Dir     string // folder of the cache; made when missing
	// Mirror is the URL of a Debian archive. Empty: the one of the machine's own apt configuration.
	Mirror   string
	Progress Progress // told how far the work is
}

// Tree is an unpacked package with its dependencies.
type Tree struct {
	Root     string    `json:"-"`        // folder that holds usr/
	Package  string    `json:"package"`  // the package asked for
	Suite    string    `json:"suite"`    // the suite it came from
	Arch     string    `json:"arch"`     // Debian's name of the architecture
	Packages []Package `json:"packages"` // everything unpacked, by name
}

// Package is one Debian package of a Tree.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"` // of the .deb, as apt's signed index names it
}

// Version is the version of one of the tree's packages; empty when it is not in the tree.
func (t Tree) Version(name string) string {
	for _, p := range t.Packages {
		if p.Name == name {
			return p.Version
		}
	}
	return ""
}

// marker is the file that makes a tree complete: written last, before the folder gets its name.
const marker = "manifest.json"

// Fetch gives the package's tree: at once when the cache holds it, else downloaded. What was downloaded before an
// interruption is kept and used the next time. Several processes may call it at once; one works, the others wait.
func Fetch(ctx context.Context, opts Options) (Tree, error) {
	arch, err := architecture()
	if err != nil {
		return Tree{}, err
	}
	root := filepath.Join(opts.Dir, opts.Package+"-"+arch)
	if tree, err := readTree(root); err == nil {
		return tree, nil
	}
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return Tree{}, fmt.Errorf("make the cache folder: %w", err)
	}
	unlock, err := lock(ctx, root+".lock", opts.Progress)
	if err != nil {
		return Tree{}, err
	}
	defer unlock()
	// Another process may have finished while this one waited.
	if tree, err := readTree(root); err == nil {
		return tree, nil
	}

	archive, err := findArchive(opts.Mirror)
	if err != nil {
		return Tree{}, err
	}
	archive.Suite = opts.Suite
	work := root + ".apt"
	apt, err := newApt(work, arch, archive, opts.Progress)
	if err != nil {
		return Tree{}, err
	}
	debs, err := apt.download(ctx, opts.Package)
	if err != nil {
		return Tree{}, fmt.Errorf("download %s from Debian %s (%s): %w", opts.Package, opts.Suite, archive.URI, err)
	}
	tree := Tree{Root: root, Package: opts.Package, Suite: opts.Suite, Arch: arch}
	if err := unpack(ctx, root, debs, &tree, opts.Progress); err != nil {
		return Tree{}, fmt.Errorf("unpack %s: %w", opts.Package, err)
	}
	return tree, os.RemoveAll(work)
}

// architecture is Debian's name of the machine's architecture, where Debian and its tools are at hand.
func architecture() (string, error) {
	if runtime.GOOS != "linux" || (runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64") {
		return "", fmt.Errorf("download from Debian: this machine is %s/%s, and only linux/amd64 and linux/arm64 are served",
			runtime.GOOS, runtime.GOARCH)
	}
	for _, tool := range []string{"apt-get", "apt-config", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("download from Debian: this machine has no %s (it is no Debian or Ubuntu)", tool)
		}
	}
	return runtime.GOARCH, nil // Debian and Go name both the same
}

// readTree reads the marker of a complete tree.
func readTree(root string) (Tree, error) {
	data, err := os.ReadFile(filepath.Join(root, marker))
	if err != nil {
		return Tree{}, err
	}
	tree := Tree{Root: root}
	if err := json.Unmarshal(data, &tree); err != nil {
		return Tree{}, fmt.Errorf("read %s: %w", filepath.Join(root, marker), err)
	}
	return tree, nil
}

// unpack unpacks the debs beside root and renames the folder to root, marker and all.
func unpack(ctx context.Context, root string, debs []deb, tree *Tree, progress Progress) error {
	tmp, err := os.MkdirTemp(filepath.Dir(root), filepath.Base(root)+".tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	progress.Start("unpacking")
	defer progress.Done()
	for i, d := range debs {
		if err := d.verify(); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", d.path, tmp).CombinedOutput()
		if err != nil {
			return fmt.Errorf("dpkg-deb -x %s: %w: %s", d.path, err, strings.TrimSpace(string(out)))
		}
		tree.Packages = append(tree.Packages, Package{Name: d.name, Version: d.version, SHA256: d.sha256})
		progress.Percent(100 * float64(i+1) / float64(len(debs)))
	}
	manifest, err := json.MarshalIndent(tree, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, marker), append(manifest, '\n'), 0o644); err != nil {
		return err
	}
	// A folder without a marker is what an older layout or a broken deletion left.
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	return os.Rename(tmp, root)
}

// verify compares the file with the digest of apt's signed index. A file that differs is removed, so that the next
// download does not find it.
func (d deb) verify() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("read %s: %w", d.path, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != d.sha256 {
		os.Remove(d.path)
		return fmt.Errorf("check %s: its SHA-256 is %s, the signed index says %s; run it again", d.path, got, d.sha256)
	}
	return nil
}

// lock takes the file lock at path and waits while another process holds it. The lock falls with the process.
func lock(ctx context.Context, path string, progress Progress) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the download lock: %w", err)
	}
	for waiting := false; ; waiting = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !waiting {
			progress.Note("waiting for another process that is downloading")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, &fs.PathError{Op: "lock", Path: path, Err: ctx.Err()}
		case <-time.After(200 * time.Millisecond):
		}
	}
}
