// Package cache keeps results of work in a folder under the key of what they were made from. The folder is bounded: what was used
// least recently goes. Several processes may share it.
package cache

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Dir is a folder of results.
type Dir struct {
	path     string
	maxBytes int64
}

// Open makes the folder where it is missing.
func Open(path string, maxBytes int64) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open the cache: %w", err)
	}
	return &Dir{path, maxBytes}, nil
}

// An entry is a file named by its key that holds the SHA-256 of the result, 32 bytes, and the result.
const suffix = ".entry"

// abandoned is how old a file that is still being written must be to be one that nobody writes any more.
const abandoned = time.Hour

// Get is the result that was kept under a key, a word that can be a file's name. One that is not as it was written is
// none.
func (d *Dir) Get(key string) ([]byte, bool) {
	path := d.file(key)
	data, err := os.ReadFile(path)
	if err != nil || len(data) < sha256.Size {
		return nil, false
	}
	sum, data := data[:sha256.Size], data[sha256.Size:]
	if got := sha256.Sum256(data); !bytes.Equal(sum, got[:]) {
		return nil, false
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // used now; where that cannot be noted, it goes earlier
	return data, true
}

// Put keeps a result under a key, in place of one that is there.
func (d *Dir) Put(key string, data []byte) error {
	f, err := os.CreateTemp(d.path, "*.tmp")
	if err != nil {
		return fmt.Errorf("write to the cache: %w", err)
	}
	sum := sha256.Sum256(data)
	_, err = f.Write(append(sum[:], data...))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), d.file(key))
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write to the cache: %w", err)
	}
	return nil
}

// Trim removes what was used least recently until the rest is within the folder's bound.
func (d *Dir) Trim() error {
	list, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("trim the cache: %w", err)
	}
	var entries []fs.FileInfo
	var numBytes int64
	for _, item := range list {
		info, err := item.Info()
		switch {
		case err != nil: // another process has removed it
		case strings.HasSuffix(item.Name(), suffix):
			entries = append(entries, info)
			numBytes += info.Size()
		case time.Since(info.ModTime()) > abandoned:
			os.Remove(filepath.Join(d.path, item.Name()))
		}
	}
	slices.SortFunc(entries, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	for _, e := range entries {
		if numBytes <= d.maxBytes {
			break
		}
		os.Remove(filepath.Join(d.path, e.Name()))
		numBytes -= e.Size()
	}
	return nil
}

func (d *Dir) file(key string) string { return filepath.Join(d.path, key+suffix) }
