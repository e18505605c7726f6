package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/report"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/script"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// testCmd replays the captures of cases and holds the alerts against those that the cases expect.
type testCmd struct {
	Cases    []string `arg:"" optional:"" name:"case" help:"Case files, folders of them, or names of cases in e2e/cases, in which * stands for any text. Default: all of e2e/cases."`
	Format   string   `enum:"table,json" default:"table" help:"Format of the report: ${enum}."`
	JUnit    string   `name:"junit" placeholder:"FILE" help:"Write the report as JUnit XML to FILE, too."`
	Parallel int      `short:"j" placeholder:"N" help:"Cases to run at once. Default: the number of CPUs."`

	Bundle bundleFlags `embed:""`
	Engine engineFlags `embed:""`
}

// Validate is called by kong.
func (c testCmd) Validate() error {
	if c.Parallel < 0 {
		return fmt.Errorf("--parallel=%d: write 1 or more", c.Parallel)
	}
	return nil
}

// Run runs the cases and reports on stdout. It returns errFindings where a case fails, and another error where one could
// not be run.
func (c testCmd) Run(ctx context.Context, con console) error {
	found, err := cases.Find(c.Cases...)
	if err != nil {
		return err
	}
	t := tester{parallel: c.Parallel}
	if t.parallel == 0 {
		t.parallel = runtime.GOMAXPROCS(0)
	}
	if t.plugin, err = c.Bundle.pluginPath(); err != nil {
		return err
	}
	if t.rules, err = c.Bundle.rulesPaths(); err != nil {
		return err
	}
	if err := checkCases(found, t.rules); err != nil {
		return err
	}
	if t.engine, err = c.Engine.open(ctx, con); err != nil {
		return err
	}
	outcome, err := t.run(ctx, found, con)
	if err != nil {
		return err
	}
	write := report.WriteJSON
	if c.Format == "table" {
		write = func(w io.Writer, r report.Run) error { return report.WriteTable(w, r, con.stdoutTerminal) }
	}
	if err := write(con.stdout, outcome); err != nil {
		return err
	}
	if c.JUnit != "" {
		if err := writeJUnit(c.JUnit, outcome); err != nil {
			return err
		}
	}
	switch notRun := outcome.Count(report.NotRun); {
	case notRun > 0:
		return fmt.Errorf("%d of %d cases could not be run", notRun, len(found))
	case outcome.Count(report.Failed) > 0:
		return errFindings
	default:
		return nil
	}
}

func writeJUnit(path string, r report.Run) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return errors.Join(report.WriteJUnit(f, r), f.Close())
}

// checkCases refuses cases before the first of them runs: a capture that is not the recorded one, a script that is wrong,
// rules that do not load, expected rules that are not among them.
func checkCases(found []cases.Case, rules []string) error {
	var errs []error
	enabled := map[string][]string{} // names of the rules that can fire, by the case's own rules files, joined
	for _, c := range found {
		for _, capture := range append(c.Learn, c.Capture) {
			if err := checkCapture(capture); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", c.Pos, err))
			}
		}
		key := strings.Join(c.Rules, "\x00")
		names, ok := enabled[key]
		if !ok {
			set, err := ruleset.Load(slices.Concat(rules, c.Rules)...)
			if err != nil {
				return fmt.Errorf("load the rules of case %s: %w", c.Name, err)
			}
			for _, r := range set.Rules() {
				if r.Enabled {
					names = append(names, r.Name)
				}
			}
			enabled[key] = names
		}
		if err := c.CheckRules(names); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// checkCapture checks a capture or a script. Scripts are text under version control: no checksum is kept of them.
func checkCapture(path string) error {
	if script.Is(path) {
		_, err := script.Load(path)
		return err
	}
	return cases.VerifyCapture(path)
}

// tester runs cases on one engine.
type tester struct {
	engine   engine.Engine
	plugin   string   // path of libdatastaging.so
	rules    []string // rules files of every case, in load order
	parallel int      // cases that run at once
}

// run replays the cases; the results are in the order of the cases. Where stderr is a terminal it shows how far it is.
func (t tester) run(ctx context.Context, found []cases.Case, con console) (report.Run, error) {
	version, err := t.engine.Version(ctx)
	if err != nil {
		return report.Run{}, err
	}
	bar := newBar(con, len(found), "cases")
	start := time.Now()
	results := make([]report.Result, len(found))
	var group errgroup.Group
	group.SetLimit(t.parallel)
	for i, c := range found {
		group.Go(func() error {
			results[i] = t.runCase(ctx, c)
			_ = bar.Add(1) // a bar that cannot be drawn is no reason to stop
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return report.Run{}, err
	}
	return report.Run{Engine: t.engine.Name(), Version: version, Results: results, Elapsed: time.Since(start)}, nil
}

// newBar shows on stderr, where that is a terminal, how many of something are done.
func newBar(con console, total int, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions(total,
		progressbar.OptionSetWriter(con.stderr),
		progressbar.OptionSetVisibility(con.stderrTerminal),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionClearOnFinish(),
	)
}

func (t tester) runCase(ctx context.Context, c cases.Case) report.Result {
	start := time.Now()
	alerts, err := t.replay(ctx, c)
	res := report.Result{Case: c, Alerts: len(alerts), Elapsed: time.Since(start), Err: err}
	if err == nil {
		res.Verdict = verdict.Compare(c.Expect, alerts)
	}
	return res
}

// replay learns what the case says is normal, if it does, and replays its capture.
func (t tester) replay(ctx context.Context, c cases.Case) ([]alert.Alert, error) {
	req := engine.Request{
		Capture: c.Capture, Plugin: t.plugin, InitConfig: c.InitConfig, Rules: slices.Concat(t.rules, c.Rules),
	}
	if len(c.Learn) > 0 {
		work, err := os.MkdirTemp("", "stagectl-test-")
		if err != nil {
			return nil, fmt.Errorf("learn: %w", err)
		}
		defer os.RemoveAll(work)
		baseline := filepath.Join(work, "baseline")
		if err := learn(ctx, t.engine, t.plugin, c.InitConfig, c.Learn, baseline); err != nil {
			return nil, err
		}
		if req.InitConfig, err = compareWith(baseline, c.InitConfig); err != nil {
			return nil, err
		}
	}
	return t.engine.Replay(ctx, req)
}
