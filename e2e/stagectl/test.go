package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/report"
	"github.com/falco-datastaging/datastaging/e2e/internal/script"
)

// testCmd replays the captures of cases and holds the alerts against those that the cases expect.
type testCmd struct {
	Cases  []string `arg:"" optional:"" name:"case" help:"Case files, folders of them, or names of cases in e2e/cases, in which * stands for any text. Default: all of e2e/cases."`
	Format string   `enum:"table,json" default:"table" help:"Format of the report: ${enum}. Where GITHUB_ACTIONS is true, annotations go to stderr as well."`
	JUnit  string   `name:"junit" placeholder:"FILE" help:"Write the report as JUnit XML to FILE, too."`
	Update string   `enum:"no,diff,write" default:"no" help:"Draft the expect of cases that fail or have none yet: diff prints the change for review, write makes it in the case files."`

	Engine string       `enum:"auto,falco,sysdig,both" default:"auto" help:"Engine to replay with: ${enum}. auto is Falco where one is found, else sysdig from Debian's packages, downloaded once into the user's cache. both runs each case on both and compares what they give." group:"Engine"`
	Source engineSource `embed:""`
	Bundle bundleFlags  `embed:""`
	campaignFlags
}

// Run runs the cases and reports on stdout. It returns errFindings where a case fails, and another error where one could
// not be run.
func (c testCmd) Run(ctx context.Context, con console) error {
	found, t, err := c.begin(c.Cases, c.Bundle, c.Update != "no", con)
	if err != nil {
		return err
	}
	defer t.close()
	if t.engines, err = c.engines(ctx, con); err != nil {
		return err
	}
	outcome, err := t.run(ctx, found)
	if err != nil {
		return err
	}
	if c.Update != "no" {
		return draftCases(con, outcome, t.came, c.Update == "write")
	}
	write := report.WriteJSON
	if c.Format == "table" {
		write = func(w io.Writer, r report.Run) error { return report.WriteTable(w, r, con.stdoutTerminal) }
	}
	if err := write(con.stdout, outcome); err != nil {
		return err
	}
	// GitHub reads commands from both streams, so stdout keeps its format.
	if os.Getenv("GITHUB_ACTIONS") == "true" {
		if err := report.WriteGitHub(con.stderr, outcome); err != nil {
			return err
		}
	}
	if c.JUnit != "" {
		if err := writeJUnit(c.JUnit, outcome); err != nil {
			return err
		}
	}
	switch notRun := outcome.Count(report.NotRun); {
	case notRun > 0:
		return fmt.Errorf("%d of %d cases could not be run", notRun, len(outcome.Results))
	case outcome.Failures() > 0:
		return errFindings
	default:
		return nil
	}
}

// engines gives the engines to run on.
func (c testCmd) engines(ctx context.Context, con console) ([]engine.Engine, error) {
	if c.Engine != "both" {
		eng, err := c.Source.open(ctx, c.Engine, con)
		return []engine.Engine{eng}, err
	}
	falco, err := c.Source.open(ctx, engine.KindFalco, con)
	if err != nil {
		return nil, fmt.Errorf("run both engines: %w", err)
	}
	sysdig, err := c.Source.open(ctx, engine.KindSysdig, con)
	if err != nil {
		return nil, fmt.Errorf("run both engines: %w", err)
	}
	return []engine.Engine{falco, sysdig}, nil
}

func writeJUnit(path string, r report.Run) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return errors.Join(report.WriteJUnit(f, r), f.Close())
}

// checkCases refuses cases before the first of them runs: a capture that is not the recorded one, a script that is wrong,
// rules that do not load, expected rules that are not among them, and unless drafts may be, a case that expects nothing yet.
func (t *tester) checkCases(found []cases.Case, drafts bool) error {
	var errs []error
	for _, c := range found {
		errs = append(errs, checkCaptures(c))
		if err := refuseBaselineFile(c.InitConfig); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Pos, err))
		}
		if err := c.CheckComplete(); err != nil && !drafts {
			errs = append(errs, err)
		}
		set, err := t.ruleSet(c)
		if err != nil {
			return fmt.Errorf("load the rules of case %s: %w", c.Name, err)
		}
		var names []string // of the rules that can fire
		for _, r := range set.Rules() {
			if r.Enabled {
				names = append(names, r.Name)
			}
		}
		if err := c.CheckRules(names); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// checkCaptures checks all captures and scripts of a case.
func checkCaptures(c cases.Case) error {
	var errs []error
	for _, capture := range slices.Concat(c.Learn, c.Captures) {
		if err := checkCapture(capture); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Pos, err))
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

// campaignFlags are those of the commands that run many cases.
type campaignFlags struct {
	Parallel int  `short:"j" placeholder:"N" help:"Cases to run at once. Default: the number of CPUs."`
	NoCache  bool `help:"Run every replay, also those whose every input is as it was when they last ran."`
}

// Validate is called by kong.
func (f campaignFlags) Validate() error {
	if f.Parallel < 0 {
		return fmt.Errorf("--parallel=%d: write 1 or more", f.Parallel)
	}
	return nil
}

// begin finds and checks cases and makes a tester without engines for them. The caller closes it. drafts says that a case may
// expect nothing yet.
func (f campaignFlags) begin(names []string, bundle bundleFlags, drafts bool, con console) ([]cases.Case, *tester, error) {
	found, err := cases.Find(names...)
	if err != nil {
		return nil, nil, err
	}
	t, err := f.tester(bundle, con)
	if err != nil {
		return nil, nil, err
	}
	if err := t.checkCases(found, drafts); err != nil {
		t.close()
		return nil, nil, err
	}
	return found, t, nil
}

// tester makes a tester without engines. The caller closes it.
func (f campaignFlags) tester(bundle bundleFlags, con console) (*tester, error) {
	t := &tester{parallel: f.Parallel, con: con}
	if t.parallel == 0 {
		t.parallel = runtime.GOMAXPROCS(0)
	}
	var err error
	if t.plugin, err = bundle.pluginPath(); err != nil {
		return nil, err
	}
	if t.rules, err = bundle.rulesPaths(); err != nil {
		return nil, err
	}
	if !f.NoCache {
		if t.cache, err = openCache(con); err != nil {
			return nil, err
		}
	}
	return t, nil
}
