// Package location reads and writes baseline files where they lie: on local disk or in object storage.
//
// A location is a path, or a URL: file:///path, s3://bucket/key, gs://bucket/key or azblob://container/key. What follows
// a ? in a URL are options of the storage, such as s3://bucket/key?region=eu-west-1, as gocloud.dev/blob documents them.
// Credentials come from where the storage's own tools take them.
package location

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/bmatcuk/doublestar/v4"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/s3blob"    // s3://
	"gocloud.dev/gcerrors"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// maxSize is the largest file that is read, in bytes: ten thousand nodes of a hundred workloads each.
const maxSize = 2 << 30

// Files reads and writes files of all kinds of location. Safe for use from several goroutines.
type Files struct {
	mux *blob.URLMux

	mu      sync.Mutex
	buckets map[string]*blob.Bucket // by URL
}

// New returns Files of the storages that the mux knows; blob.DefaultURLMux knows S3, GCS and Azure.
func New(mux *blob.URLMux) *Files { return &Files{mux: mux, buckets: map[string]*blob.Bucket{}} }

// Close ends the connections.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, b := range f.buckets {
		errs = append(errs, b.Close())
	}
	clear(f.buckets)
	return errors.Join(errs...)
}

// place is a location taken apart.
type place struct {
	url *url.URL // nil for a local file
	key string   // of the object in its bucket, or the local path
}

func (f *Files) parse(location string) (place, error) {
	if !strings.Contains(location, "://") {
		return place{key: location}, nil
	}
	u, err := url.Parse(location)
	switch {
	case err != nil:
		return place{}, fmt.Errorf("%w; a %% is written %%25 in a URL", err)
	case u.Scheme == "file" && u.Path != "" && (u.Host == "" || u.Host == "localhost"):
		return place{key: u.Path}, nil
	case u.Scheme == "file":
		return place{}, errors.New("want file:///path, with three slashes")
	case !f.mux.ValidBucketScheme(u.Scheme):
		return place{}, fmt.Errorf("no storage is called %s; want a path, or a URL that begins with file://, %s://",
			u.Scheme, strings.Join(f.mux.BucketSchemes(), "://, "))
	case u.Host == "":
		return place{}, fmt.Errorf("want %s://bucket/key", u.Scheme)
	}
	return place{url: u, key: strings.TrimPrefix(u.Path, "/")}, nil
}

// at returns the location of another file on the same disk or in the same bucket.
func (p place) at(key string) string {
	if p.url == nil {
		return key
	}
	u := *p.url
	u.Path = "/" + key
	return u.String()
}

// bucket opens a location's bucket once.
func (f *Files) bucket(ctx context.Context, p place) (*blob.Bucket, error) {
	u := *p.url
	u.Path = ""
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, ok := f.buckets[u.String()]; ok {
		return b, nil
	}
	b, err := f.mux.OpenBucketURL(ctx, &u)
	if err != nil {
		return nil, err
	}
	f.buckets[u.String()] = b
	return b, nil
}

// Read reads a baseline file and returns its size in bytes, too.
func (f *Files) Read(ctx context.Context, location string) (file *baseline.File, numBytes int, err error) {
	content, err := f.content(ctx, location)
	if err != nil {
		return nil, 0, fmt.Errorf("read baseline %s: %w", location, err)
	}
	file, err = baseline.Decode(content)
	if err != nil {
		return nil, len(content), fmt.Errorf("read baseline %s: %w", location, err)
	}
	return file, len(content), nil
}

func (f *Files) content(ctx context.Context, location string) ([]byte, error) {
	p, err := f.parse(location)
	if err != nil {
		return nil, err
	}
	open := f.openObject
	if p.url == nil {
		open = openLocal
	}
	r, err := open(ctx, p)
	if err != nil {
		return nil, reason(err)
	}
	defer func() { _ = r.Close() }() // nothing was written
	content, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(content) > maxSize {
		return nil, fmt.Errorf("it is larger than %d MiB, which no baseline is", maxSize>>20)
	}
	return content, nil
}

// reason is an error without the name of the file, which the caller gives.
func reason(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

func openLocal(_ context.Context, p place) (io.ReadCloser, error) { return os.Open(p.key) }

func (f *Files) openObject(ctx context.Context, p place) (io.ReadCloser, error) {
	if p.key == "" || strings.HasSuffix(p.key, "/") {
		return nil, errors.New("want the name of an object, not of all below it")
	}
	b, err := f.bucket(ctx, p)
	if err != nil {
		return nil, err
	}
	r, err := b.NewReader(ctx, p.key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("there is no such object; for all below it write %s", p.at(p.key+"/"))
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Write puts a baseline file at a location, whole or not at all. On local disk the generation before is kept beside it;
// in object storage that is what versions of a bucket are for.
func (f *Files) Write(ctx context.Context, location string, file *baseline.File) error {
	p, err := f.parse(location)
	if err == nil {
		switch {
		case p.key == "" || strings.HasSuffix(p.key, "/"):
			err = errors.New("want the name of a file")
		case p.url == nil:
			return baseline.WriteFile(p.key, file)
		default:
			err = f.writeObject(ctx, p, file)
		}
	}
	if err != nil {
		return fmt.Errorf("save baseline %s: %w", location, err)
	}
	return nil
}

func (f *Files) writeObject(ctx context.Context, p place, file *baseline.File) error {
	b, err := f.bucket(ctx, p)
	if err != nil {
		return err
	}
	return b.WriteAll(ctx, p.key, file.Encode(), &blob.WriterOptions{ContentType: "application/octet-stream"})
}

// Expand returns the locations of the files that others name, sorted, each once. A folder, or a URL that ends with a /,
// names all files below it; a * stands for a part of a name, ** for any parts, [a-c] and {a,b} for one of several. Of
// what was not named alone, hidden files are left out, what a save leaves beside a baseline (.prev, .tmp, .damaged-1),
// and the location except. One that names no file at all is an error.
func (f *Files) Expand(ctx context.Context, locations []string, except string) ([]string, error) {
	out := []string{}
	for _, l := range locations {
		found, err := f.expand(ctx, l, except)
		if err != nil {
			return nil, fmt.Errorf("find baselines %s: %w", l, err)
		}
		out = append(out, found...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (f *Files) expand(ctx context.Context, location, except string) ([]string, error) {
	p, err := f.parse(location)
	if err != nil {
		return nil, err
	}
	list := f.files
	if p.url != nil {
		list = f.objects
	}
	keys, several, err := list(ctx, p)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, key := range keys {
		l := p.at(key)
		if !several || !beside(path.Base(key)) && !f.same(l, except) {
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("there is none")
	}
	return found, nil
}

// objects returns the keys that a URL names, and whether it may name several.
func (f *Files) objects(ctx context.Context, p place) (keys []string, several bool, err error) {
	prefix, pattern := p.key, "**"
	if i := strings.IndexAny(p.key, meta); i >= 0 {
		prefix, pattern = p.key[:i], p.key
	} else if p.key != "" && !strings.HasSuffix(p.key, "/") {
		return []string{p.key}, false, nil
	}
	if !doublestar.ValidatePattern(pattern) {
		return nil, true, doublestar.ErrBadPattern
	}
	b, err := f.bucket(ctx, p)
	if err != nil {
		return nil, true, err
	}
	for list := b.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return keys, true, nil
		}
		if err != nil {
			return nil, true, err
		}
		if doublestar.MatchUnvalidated(pattern, o.Key) && !strings.HasSuffix(o.Key, "/") {
			keys = append(keys, o.Key)
		}
	}
}

// files returns the files that a path names, and whether it may name several.
func (*Files) files(_ context.Context, p place) (paths []string, several bool, err error) {
	info, err := os.Stat(p.key)
	switch {
	case err == nil && info.IsDir():
		return filesBelow(p.key)
	case err != nil && strings.ContainsAny(p.key, meta):
		paths, err = doublestar.FilepathGlob(p.key, doublestar.WithFilesOnly(), doublestar.WithFailOnIOErrors())
		return paths, true, err
	}
	return []string{p.key}, false, nil
}

// filesBelow follows links to files, as in a mounted ConfigMap, and none to folders.
func filesBelow(dir string) (paths []string, several bool, err error) {
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != dir && beside(d.Name()):
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		info, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() {
			paths = append(paths, file)
		}
		return err
	})
	return paths, true, err
}

// meta are the characters that make a pattern.
const meta = "*[{"

// beside reports whether a file of this name is not for others.
func beside(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".prev") || strings.HasSuffix(name, ".tmp") ||
		strings.Contains(name, ".damaged-")
}

// same reports whether two locations are one.
func (f *Files) same(a, b string) bool {
	if b == "" {
		return false
	}
	p, err := f.parse(a)
	q, errOther := f.parse(b)
	if err != nil || errOther != nil || (p.url == nil) != (q.url == nil) {
		return false
	}
	if p.url != nil {
		return p.url.Scheme == q.url.Scheme && p.url.Host == q.url.Host && p.key == q.key
	}
	x, err := filepath.Abs(p.key)
	y, errOther := filepath.Abs(q.key)
	return err == nil && errOther == nil && x == y
}
