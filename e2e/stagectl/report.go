package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/page"
	"github.com/falco-datastaging/datastaging/e2e/internal/timeline"
)

// reportCmd replays captures and writes an HTML page about them.
type reportCmd struct {
	Captures []string `arg:"" name:"capture" help:"Capture files (.scap) and audit logs, replayed one after the other, each by a fresh engine."`
	Out      string   `required:"" placeholder:"FILE" help:"HTML file to write. It loads nothing, so that it can be read on closed sites."`

	With   replayFlags `embed:""`
	Engine engineFlags `embed:""`
}

// Run writes the page when all captures are replayed. A capture that is cut off is shown as far as it goes, and is an error
// all the same.
func (c reportCmd) Run(ctx context.Context, con console) error {
	req, err := c.With.request()
	if err != nil {
		return err
	}
	eng, err := c.Engine.open(ctx, con)
	if err != nil {
		return err
	}
	window := ""
	if c.With.Baseline != "" {
		window = "1m" // what a baseline learns
	}
	var replays []*timeline.Replay
	var cut error
	for _, req.Capture = range c.Captures {
		r, err := tell(ctx, eng, req, window)
		if r == nil {
			return err
		}
		cut = errors.Join(cut, err)
		replays = append(replays, r)
	}
	if err := writeFile(c.Out, func(f *os.File) error { return page.Replays(f, replays) }); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	fmt.Fprintf(con.stderr, "report: %s\n", c.Out)
	return cut
}

// tell replays one capture for its alerts, and for its timeline. Of a capture that is cut off it gives the good part and the
// error.
func tell(ctx context.Context, eng engine.Engine, req engine.Request, window string) (*timeline.Replay, error) {
	r := &timeline.Replay{Capture: filepath.Base(req.Capture), Window: window}
	sample := r.Sample
	if engine.SourceOf(req.Capture) == auditlog.Source {
		sample = r.SampleLog
	}
	var err error
	if r.Begin, r.End, err = spanOf(ctx, req.Capture); err != nil && !isCut(err) {
		return nil, err
	}
	if r.Alerts, err = eng.Replay(ctx, req); err != nil && !isCut(err) {
		return nil, err
	}
	if err := sample(ctx, eng, req); err != nil && !isCut(err) {
		return nil, err
	}
	r.Sort()
	return r, err
}

// isCut tells whether the end of a capture is missing, and nothing else is wrong with it.
func isCut(err error) bool {
	var problem *capture.Error
	return errors.As(err, &problem) && problem.Problem == capture.Truncated && problem.Events > 0
}
