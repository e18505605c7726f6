package live

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Follow reads a file that Falco's file_output writes, from its beginning, and goes on as it grows. It goes on, too, when the
// file is rotated, by renaming or by truncating. It looks at the file now and then, which works on every file system. What it
// cannot see is a file that was truncated and grew beyond its old size, or was rotated twice, between two looks.
type Follow struct {
	Path     string
	Interval time.Duration // between two looks; DefaultInterval where it is zero
}

// DefaultInterval is short for people and long for a file system.
const DefaultInterval = 250 * time.Millisecond

// Run sends what it reads until ctx is done, which is no error.
func (f Follow) Run(ctx context.Context, out chan<- Received) error {
	file, err := open(f.Path)
	if err != nil {
		return err
	}
	t := tail{path: f.Path, out: out}
	t.reset(file)
	defer func() { t.file.Close() }()
	interval := f.Interval
	if interval == 0 {
		interval = DefaultInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := t.read(ctx); err != nil {
			return err
		}
		if err := t.turn(ctx); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// open opens a file that can be followed. A named pipe cannot: it has no size, and opening it waits for who writes.
func open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("follow %s: it is no regular file: read it without --follow", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("follow: %w", err)
	}
	return file, nil
}

// tail is a file and how far it was read.
type tail struct {
	path    string
	out     chan<- Received
	file    *os.File
	reader  *bufio.Reader
	offset  int64  // bytes read from file
	partial []byte // the last line, as far as it was written
	lines   lines
}

// reset begins a file, at its beginning.
func (t *tail) reset(file *os.File) {
	t.file, t.reader, t.offset, t.partial, t.lines = file, bufio.NewReader(file), 0, nil, lines{name: t.path}
}

// read sends the lines that are complete.
func (t *tail) read(ctx context.Context) error {
	for {
		part, err := t.reader.ReadBytes('\n')
		t.offset += int64(len(part))
		t.partial = append(t.partial, part...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow: %w", err)
		}
		if !t.flush(ctx) {
			return nil
		}
	}
}

// flush sends the last line as it is.
func (t *tail) flush(ctx context.Context) bool {
	line := t.partial
	t.partial = nil
	return t.lines.send(ctx, t.out, line)
}

// turn goes over to a new file, or to the beginning, where the file was rotated.
func (t *tail) turn(ctx context.Context) error {
	now, err := os.Stat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // between its renaming and the new one
	}
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	held, err := t.file.Stat()
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	switch {
	case !os.SameFile(now, held):
		if now.Size() == 0 {
			return nil // Falco writes to the old file until it is told to open the new one
		}
		return t.replace(ctx)
	case now.Size() < t.offset:
		if _, err := t.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("follow: %w", err)
		}
		t.end(ctx, "was truncated")
		t.reset(t.file)
		return t.read(ctx)
	}
	return nil
}

// replace reads what is left of the old file and begins the new one.
func (t *tail) replace(ctx context.Context) error {
	if err := t.read(ctx); err != nil {
		return err
	}
	file, err := open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // rotated again; the next look finds it
	}
	if err != nil {
		return err
	}
	t.end(ctx, "was rotated")
	t.file.Close()
	t.reset(file)
	return t.read(ctx)
}

// end sends what is left of a file that is over.
func (t *tail) end(ctx context.Context, why string) {
	if len(t.partial) > 0 {
		t.flush(ctx)
	}
	send(ctx, t.out, Received{Note: fmt.Sprintf("%s %s after line %d", t.path, why, t.lines.n)})
}
