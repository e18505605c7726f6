package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/script"
)

// composeCmd writes a script as a capture.
type composeCmd struct {
	Script string `arg:"" help:"Script (.script), as e2e/scripts/README.md describes them."`
	Out    string `placeholder:"FILE" help:"Capture to write, - for standard output. Default: the script's name with .scap, in the current folder."`
}

// Run writes the capture, all of it or nothing, packed as recorders pack theirs.
func (c composeCmd) Run(con console) error {
	s, err := script.Load(c.Script)
	if err != nil {
		return err
	}
	if c.Out == "-" {
		return packed(s, con.stdout)
	}
	out := c.Out
	if out == "" {
		out = strings.TrimSuffix(filepath.Base(c.Script), script.Extension) + ".scap"
	}
	f, err := os.CreateTemp(filepath.Dir(out), ".compose-")
	if err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	defer os.Remove(f.Name())
	if err := errors.Join(packed(s, f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), out); err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	info, err := os.Stat(out)
	if err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	fmt.Fprintf(con.stderr, "capture: %s (%s)\n", out, humanize.Bytes(uint64(info.Size())))
	return nil
}

// packed writes a script's capture as gzip.
func packed(s *script.Script, w io.Writer) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	return errors.Join(s.Write(z), z.Close())
}

// composer is an engine that also replays scripts: it writes them to a capture of its own first.
type composer struct{ engine.Engine }

// Replay runs a capture, or the capture of a script.
func (c composer) Replay(ctx context.Context, req engine.Request) ([]alert.Alert, error) {
	path, clean, err := composed(ctx, req.Capture)
	if err != nil {
		return nil, err
	}
	defer clean()
	req.Capture = path
	return c.Engine.Replay(ctx, req)
}

// Ask asks a capture, or the capture of a script.
func (c composer) Ask(ctx context.Context, req engine.Request, queries []engine.Query, each func(int, engine.Sample) error) error {
	path, clean, err := composed(ctx, req.Capture)
	if err != nil {
		return err
	}
	defer clean()
	req.Capture = path
	return c.Engine.Ask(ctx, req, queries, each)
}

// composed gives the capture to replay: path itself, or the capture of the script at path, which clean removes.
func composed(ctx context.Context, path string) (capture string, clean func(), err error) {
	clean = func() {}
	if !script.Is(path) {
		return path, clean, nil
	}
	s, err := script.Load(path)
	if err != nil {
		return "", clean, err
	}
	work, err := os.MkdirTemp("", "datastaging-script-")
	if err != nil {
		return "", clean, fmt.Errorf("compose: %w", err)
	}
	clean = func() { os.RemoveAll(work) }
	capture = filepath.Join(work, "composed.scap")
	if err := writeCapture(ctx, s, capture); err != nil {
		clean()
		return "", func() {}, err
	}
	return capture, clean, nil
}

// Met asks about a capture, or the capture of a script.
func (c composer) Met(ctx context.Context, req engine.Request, conditions []string) ([]bool, error) {
	path, clean, err := composed(ctx, req.Capture)
	if err != nil {
		return nil, err
	}
	defer clean()
	req.Capture = path
	return c.Engine.Met(ctx, req, conditions)
}

// Command writes a script's capture first.
func (c composer) Command(req engine.Request, rule string) (string, error) {
	if !script.Is(req.Capture) {
		return c.Engine.Command(req, rule)
	}
	path, err := filepath.Abs(req.Capture)
	if err != nil {
		return "", err
	}
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	out := filepath.Join(os.TempDir(), strings.TrimSuffix(filepath.Base(path), script.Extension)+".scap")
	req.Capture = path
	line, err := c.Engine.Command(req, rule)
	line = strings.ReplaceAll(line, path, out) // which is not there yet, so that an engine would refuse it
	return engine.ShellWord(exe) + " compose " + engine.ShellWord(path) + " --out " + engine.ShellWord(out) + " && " + line, err
}

func writeCapture(ctx context.Context, s *script.Script, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	return errors.Join(s.Write(contextWriter{ctx, f}), f.Close())
}

// contextWriter ends with the context's error.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
