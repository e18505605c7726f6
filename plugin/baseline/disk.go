package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Suffixes of the files beside a baseline file.
const (
	prevSuffix    = ".prev"     // the generation before
	tmpSuffix     = ".tmp"      // a save that is not finished
	damagedSuffix = ".damaged-" // and a number: what could not be read
)

// filesystem is what saving asks of the operating system.
type filesystem interface {
	create(path string) (file, error)
	rename(from, to string) error
	remove(path string) error
	syncDir(path string) error
}

type file interface {
	Write([]byte) (int, error)
	Sync() error
	Close() error
}

type osFilesystem struct{}

// A baseline tells where a cluster's data is, so only its owner may read it.
func (osFilesystem) create(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (osFilesystem) rename(from, to string) error { return os.Rename(from, to) }

func (osFilesystem) remove(path string) error { return os.Remove(path) }

func (osFilesystem) syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// write puts a file in place of path and keeps what was there as the previous generation. Whatever happens at whatever
// step, path or else the previous generation is a whole file.
func write(fsys filesystem, path string, content []byte) (err error) {
	tmp := path + tmpSuffix
	defer func() {
		if err != nil {
			err = fmt.Errorf("save baseline %s: %w", path, err)
		}
	}()
	f, err := fsys.create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, fsys.remove(tmp))
	}
	if err := fsys.rename(path, path+prevSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.rename(tmp, path); err != nil {
		return err
	}
	return fsys.syncDir(filepath.Dir(path))
}

// ReadFile reads a baseline file.
func ReadFile(path string) (*File, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read baseline: %w", err)
	}
	f, err := Decode(content)
	if err != nil {
		return nil, fmt.Errorf("read baseline %s: %w", path, err)
	}
	return f, nil
}

// WriteFile writes a baseline file as a Store does: whole or not at all, the previous generation kept beside it.
func WriteFile(path string, f *File) error { return write(osFilesystem{}, path, f.Encode()) }

// Open makes a store of the file at path, an empty one where there is none. With an empty path nothing is kept. The file
// is the store's as long as that is used: it does not notice what others write there.
//
// A damaged file is renamed to path.damaged-1 (2, ...) and the previous generation, path.prev, is used. That is not an
// error: the warnings tell it. A file of another version or schema, or one that cannot be read, is an error, and nothing
// is touched.
func Open(cfg Config, path string) (s *Store, warnings []error, err error) {
	f := &File{}
	if path != "" {
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return nil, nil, fmt.Errorf("open baseline %s: its directory does not exist; make it, on a volume that outlives restarts", path)
		}
		if f, warnings, err = load(path); err != nil {
			return nil, nil, err
		}
	}
	if s, err = newStore(cfg, f); err != nil {
		return nil, nil, fmt.Errorf("open baseline: %w", err)
	}
	s.disk.path, s.disk.fsys = path, osFilesystem{}
	for _, d := range f.digests {
		if d.id == cfg.Node {
			s.disk.generation = d.generation
		} else {
			s.disk.others = append(s.disk.others, d)
		}
	}
	return s, warnings, nil
}

// load reads the file at path, or the previous generation.
func load(path string) (*File, []error, error) {
	f, err := readWhole(path)
	var warnings []error
	switch {
	case err == nil:
		return f, nil, nil
	case errors.Is(err, ErrDamaged):
		aside, moveErr := setAside(path)
		if moveErr != nil {
			return nil, nil, errors.Join(err, moveErr)
		}
		warnings = append(warnings, fmt.Errorf("%w; it is kept as %s", err, aside))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, nil, err
	}
	f, err = readWhole(path + prevSuffix)
	switch {
	case err == nil:
		return f, append(warnings, fmt.Errorf("read baseline: using the previous generation, %s", path+prevSuffix)), nil
	case errors.Is(err, ErrDamaged):
		return &File{}, append(warnings, fmt.Errorf("%w; starting with an empty baseline", err)), nil
	case errors.Is(err, fs.ErrNotExist):
		if len(warnings) > 0 {
			warnings = append(warnings, errors.New("read baseline: there is no previous generation; starting with an empty baseline"))
		}
		return &File{}, warnings, nil
	default:
		return nil, nil, err
	}
}

// readWhole reads a file and checks the records in it too.
func readWhole(path string) (*File, error) {
	f, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	for i := range f.digests {
		if _, err := f.digests[i].records(); err != nil {
			return nil, fmt.Errorf("read baseline %s: %w", path, err)
		}
	}
	return f, nil
}

const maxDamaged = 16 // files kept; the last is replaced

func setAside(path string) (string, error) {
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s%s%d", path, damagedSuffix, n)
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) || n == maxDamaged {
			return aside, os.Rename(path, aside)
		}
	}
}

// keeper saves a store beside its work.
//
// A save is of the moment that it was begun at. Encoding all profiles at once would hold up the events, so each call
// of Observe encodes a few, and one that is about to change is encoded first. What is encoded is handed to a
// goroutine that compresses and writes it.
type keeper struct {
	path       string
	fsys       filesystem
	others     []digest
	generation uint64 // of the last save begun

	pass    uint64     // number of the save that profiles are encoded for; 0 for none yet
	left    []*profile // to be encoded
	encoded []encoded
	chunk   writer // the latest of the buffers that they lie in
	busy    bool   // from the beginning of a save until its file is written
	done    chan error
	changed bool // since the last save began

	lastErr atomic.Pointer[error]
}

// encoded is one encoded record.
type encoded struct {
	workload string
	record   []byte
}

// A step of a save encodes so many profiles, and no more after so many bytes: some 50 µs. The buffers are no larger than
// a few records, for growing a large one takes milliseconds.
const (
	saveStep      = 16
	saveStepBytes = 16 << 10
	chunkSize     = 64 << 10
)

// Save begins to save what is known now; now is the wall clock's time. It reports false when there is nothing to save:
// no path, mode Detect, nothing changed, or the save before is not finished. Errors come from SaveError and from Close.
func (s *Store) Save(now time.Time) bool {
	s.finished()
	if s.disk.busy || !s.disk.changed || s.disk.path == "" || s.cfg.Mode == Detect {
		return false
	}
	s.begin(now)
	s.saveSome()
	return true
}

func (s *Store) begin(now time.Time) {
	k := &s.disk
	k.generation = max(k.generation+1, uint64(max(now.UnixNano(), 0)))
	k.pass++
	k.busy, k.changed = true, false
	k.left = k.left[:0]
	for _, p := range s.profiles {
		k.left = append(k.left, p)
	}
	k.encoded = make([]encoded, 0, len(k.left))
	k.done = make(chan error, 1)
}

// keep encodes a profile that is about to change, if the save that runs needs it.
func (s *Store) keep(p *profile) {
	if k := &s.disk; len(k.left) > 0 && p.saved < k.pass {
		k.encode(p)
	}
}

// encode returns the size of what it encoded.
func (k *keeper) encode(p *profile) int {
	p.saved = k.pass
	if p.own.blank() {
		return 0
	}
	if cap(k.chunk.buf)-len(k.chunk.buf) < saveStepBytes {
		k.chunk.buf = make([]byte, 0, chunkSize)
	}
	from := len(k.chunk.buf)
	p.own.encode(&k.chunk)
	k.encoded = append(k.encoded, encoded{p.own.workload, k.chunk.buf[from:]})
	return len(k.chunk.buf) - from
}

// blank reports whether this node knows nothing of the workload.
func (r *record) blank() bool { return r.windows() == 0 && r.quarantined == [numReasons]uint64{} }

// saveSome does a step of the save that runs.
func (s *Store) saveSome() {
	k := &s.disk
	if len(k.left) == 0 {
		s.finished()
		return
	}
	for n, size := 0, 0; n < saveStep && size < saveStepBytes && len(k.left) > 0; n++ {
		last := len(k.left) - 1
		p := k.left[last]
		k.left[last] = nil
		k.left = k.left[:last]
		if p.saved < k.pass {
			size += k.encode(p)
		}
	}
	if len(k.left) == 0 {
		go s.writeOut(k.encoded, node{s.cfg.Node, k.generation}, k.done)
		k.encoded, k.chunk.buf = nil, nil
	}
}

// writeOut runs beside the owner.
func (s *Store) writeOut(records []encoded, n node, done chan<- error) {
	size, err := s.writeTo(records, n)
	if err != nil {
		s.Stats.SaveErrors.Add(1)
	} else {
		s.Stats.Saves.Add(1)
		s.Stats.SaveBytes.Store(uint64(size))
	}
	s.disk.lastErr.Store(&err)
	done <- err
}

func (s *Store) writeTo(records []encoded, n node) (size int, err error) {
	slices.SortFunc(records, func(a, b encoded) int { return strings.Compare(a.workload, b.workload) })
	for _, e := range records {
		size += len(e.record)
	}
	sorted := make([]byte, 0, size)
	for _, e := range records {
		sorted = append(sorted, e.record...)
	}
	d, err := newDigest(n, nil, len(records), sorted)
	if err != nil {
		return 0, err
	}
	f := &File{append([]digest{d}, s.disk.others...)}
	slices.SortFunc(f.digests, func(a, b digest) int { return strings.Compare(a.id, b.id) })
	content := f.Encode()
	return len(content), write(s.disk.fsys, s.disk.path, content)
}

// finished notices the end of a save. After a failed one everything is still to be saved.
func (s *Store) finished() {
	k := &s.disk
	if !k.busy || len(k.left) > 0 {
		return
	}
	select {
	case err := <-k.done:
		k.busy = false
		k.changed = k.changed || err != nil
	default:
	}
}

// SaveError returns the error of the last save that ended, nil when it went well. Safe to call from any thread.
func (s *Store) SaveError() error {
	if err := s.disk.lastErr.Load(); err != nil {
		return *err
	}
	return nil
}

// Close finishes the save that runs, saves what changed since, and waits for it. The store can go on being used.
func (s *Store) Close(now time.Time) error {
	_ = s.wait() // a save that failed is tried again below, with everything in it
	if !s.Save(now) {
		return s.SaveError()
	}
	return s.wait()
}

// wait finishes the save that runs.
func (s *Store) wait() error {
	k := &s.disk
	for len(k.left) > 0 {
		s.saveSome()
	}
	if !k.busy {
		return nil
	}
	err := <-k.done
	k.busy = false
	k.changed = k.changed || err != nil
	return err
}

// Snapshot returns the store's content as a file, all nodes together.
func (s *Store) Snapshot(now time.Time) (*File, error) {
	var records []*record
	for _, p := range s.profiles {
		if !p.own.blank() {
			records = append(records, p.own)
		}
	}
	slices.SortFunc(records, func(a, b *record) int { return strings.Compare(a.workload, b.workload) })
	d, err := newDigestOf(node{s.cfg.Node, uint64(max(now.UnixNano(), 0))}, nil, records)
	if err != nil {
		return nil, err
	}
	return Merge(append([]*File{{[]digest{d}}}, &File{s.disk.others})...)
}
