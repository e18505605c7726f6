package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/page"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/sweep"
)

// tuneCmd tries values of the rules' thresholds on labelled cases.
type tuneCmd struct {
	Cases    []string `arg:"" optional:"" name:"case" help:"Case files, folders of them, or names of cases in e2e/cases. Default: all of e2e/cases where no --labels are given."`
	Labels   []string `sep:"none" placeholder:"FILE" help:"Labels of captures of your own: a YAML list of capture, label (attack or benign) and, optionally, node_hours."`
	Config   string   `placeholder:"FILE" help:"The plugin's init_config for the captures of --labels, as YAML or JSON."`
	Baseline string   `placeholder:"FILE" help:"Baseline to compare the captures of --labels with."`
	HTML     string   `name:"html" placeholder:"FILE" help:"Write all figures and plots as one HTML page that needs no network."`
	Override string   `placeholder:"FILE" help:"Write the recommended thresholds as a rules file to load after the rules."`
	Budget   float64  `placeholder:"N" help:"Alerts on ordinary work, per node and day and rule group, that are worth a detection more. Default: what the rules give now."`
	Points   int      `default:"1024" placeholder:"N" help:"Most combinations of values that are tried for thresholds that meet in a rule."`
	Verify   bool     `help:"Replay each capture plainly, too, and fail where an alert differs from what was computed."`

	Bundle bundleFlags `embed:""`
	Engine engineFlags `embed:""`
	campaignFlags
}

// Validate is called by kong.
func (c tuneCmd) Validate() error {
	switch {
	case c.Points < 1:
		return fmt.Errorf("--points=%d: write 1 or more", c.Points)
	case c.Budget < 0:
		return fmt.Errorf("--budget=%g: write 0 or more", c.Budget)
	}
	return c.campaignFlags.Validate()
}

// onceInterval is the plugin's default of once_interval.
const onceInterval = 10 * time.Minute

// Run replays every case once with the thresholds taken out of the rules, and tries all values on what that showed.
func (c tuneCmd) Run(ctx context.Context, con console) error {
	with, err := c.tester(c.Bundle, con)
	if err != nil {
		return err
	}
	defer with.close()
	t := tuner{tester: with, verify: c.Verify}
	set, err := ruleset.Load(t.rules...)
	if err != nil {
		return err
	}
	if t.grid, err = sweep.NewGrid(set, c.Points); err != nil {
		return err
	}
	if len(t.grid.Thresholds) == 0 {
		return errors.New("tune: no macro that the rules use compares a field of the plugin with a number: there is nothing to tune")
	}
	samples, err := c.samples(set, con)
	if err != nil {
		return err
	}
	eng, err := c.Engine.open(ctx, con)
	if err != nil {
		return err
	}
	t.engines = []engine.Engine{eng}
	replayed, err := t.run(ctx, samples)
	if err != nil {
		return err
	}
	study := sweep.NewStudy(t.grid, replayed, t.grid.Choose(replayed, c.Budget))
	if err := study.WriteTable(con.stdout); err != nil {
		return fmt.Errorf("print the figures: %w", err)
	}
	if c.HTML != "" {
		if err := writeFile(c.HTML, func(f *os.File) error { return page.Study(f, study) }); err != nil {
			return err
		}
	}
	if c.Override != "" {
		text := study.Override(set)
		if err := os.WriteFile(c.Override, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the override file: %w", err)
		}
	}
	return nil
}

// writeFile writes a file, all of it or an error.
func writeFile(path string, write func(*os.File) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// sample is a labelled case.
type sample struct {
	cases.Case
	attack    bool
	nodeHours float64 // 0 for the length of its captures
}

// samples are the cases, and the captures of the labels files as such.
func (c tuneCmd) samples(set *ruleset.Set, con console) ([]sample, error) {
	priorities := map[string]ruleset.Priority{}
	for _, r := range set.Rules() {
		priorities[r.Name] = r.Priority
	}
	var samples []sample
	if len(c.Cases) > 0 || len(c.Labels) == 0 {
		found, err := cases.Find(c.Cases...)
		if err != nil {
			return nil, err
		}
		for _, one := range found {
			if len(one.Rules) > 0 {
				fmt.Fprintf(con.stderr, "left out: case %s, which has rules of its own\n", one.Name)
				continue
			}
			if err := checkCaptures(one); err != nil {
				return nil, err
			}
			samples = append(samples, sample{Case: one, attack: one.IsAttack(priorities)})
		}
	}
	initConfig, err := readInitConfig(c.Config)
	if err != nil {
		return nil, err
	}
	if err := refuseBaselineFile(initConfig); err != nil {
		return nil, err
	}
	if initConfig, err = compareWith(c.Baseline, initConfig); err != nil {
		return nil, err
	}
	for _, file := range c.Labels {
		labelled, err := cases.ReadLabels(file)
		if err != nil {
			return nil, err
		}
		for _, l := range labelled {
			one := cases.Case{Name: filepath.Base(l.Capture), Captures: []string{l.Capture}, InitConfig: initConfig, Pos: l.Pos}
			samples = append(samples, sample{Case: one, attack: l.Label == cases.Attack, nodeHours: l.NodeHours})
		}
	}
	return samples, nil
}

// tuner replays labelled cases for a grid.
type tuner struct {
	*tester
	grid   *sweep.Grid
	verify bool
}

// run replays the samples; the cases are in their order.
func (t tuner) run(ctx context.Context, samples []sample) ([]*sweep.Case, error) {
	bar := newBar(t.con, len(samples), "cases")
	replayed := make([]*sweep.Case, len(samples))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(t.parallel)
	for i, s := range samples {
		group.Go(func() error {
			var err error
			replayed[i], err = t.sweep(ctx, s)
			_ = bar.Add(1) // a bar that cannot be drawn is no reason to stop
			return err
		})
	}
	return replayed, group.Wait()
}

// sweep asks the captures of a sample in order, each with the baseline that the one before it left.
func (t tuner) sweep(ctx context.Context, s sample) (*sweep.Case, error) {
	c := &sweep.Case{Name: s.Name, Attack: s.attack}
	var err error
	if c.Interval, err = configuredInterval(s.InitConfig); err != nil {
		return nil, err
	}
	eng := t.engines[0]
	return c, t.each(ctx, eng, s.Case, func(n int, req engine.Request) error {
		span := sweep.Span{Hours: s.nodeHours}
		if span.Begin, span.End, err = spanOf(ctx, req.Capture); err != nil {
			return err
		}
		if err := t.grid.Replay(ctx, eng, req, c, engine.SourceOf(req.Capture), span); err != nil {
			return err
		}
		if !t.verify && n == len(s.Captures) {
			return nil
		}
		alerts, _, err := t.one(ctx, eng, req) // for the next one's baseline
		if err != nil || !t.verify {
			return err
		}
		return t.compare(c, n, alerts)
	})
}

// spanOf is the time of the first and of the last event of a capture, an audit log or a script.
func spanOf(ctx context.Context, path string) (first, last time.Time, err error) {
	if engine.SourceOf(path) == auditlog.Source {
		return auditlog.Span(path)
	}
	path, clean, err := composed(ctx, path)
	if err != nil {
		return first, last, err
	}
	defer clean()
	sum, err := capture.Check(ctx, path, capture.Limits{})
	return sum.First, sum.Last, err
}

// fired is one alert.
type fired struct {
	event uint64
	rule  string
}

// compare holds what was computed for the shipped thresholds in a case's n-th capture against the alerts of a plain replay.
func (t tuner) compare(c *sweep.Case, n int, alerts []alert.Alert) error {
	var computed, plain []fired
	for i, r := range t.grid.Rules {
		for _, e := range t.grid.Alerts(c, i, t.grid.Shipped) {
			if e.Capture == n {
				computed = append(computed, fired{e.Number, r.Name})
			}
		}
	}
	for _, a := range alerts {
		number, _ := a.EventNumber()
		plain = append(plain, fired{number, a.Rule})
	}
	var errs []error
	for _, f := range computed {
		if !slices.Contains(plain, f) {
			errs = append(errs, fmt.Errorf("%s: %q at event %d was computed, and a plain replay does not give it", c.Name, f.rule, f.event))
		}
	}
	for _, f := range plain {
		if !slices.Contains(computed, f) {
			errs = append(errs, fmt.Errorf("%s: %q at event %d comes of a plain replay, and was not computed", c.Name, f.rule, f.event))
		}
	}
	return errors.Join(errs...)
}

// configuredInterval is once_interval of an init_config.
func configuredInterval(initConfig json.RawMessage) (time.Duration, error) {
	var config struct {
		OnceInterval *string `json:"once_interval"`
	}
	if len(initConfig) > 0 {
		if err := json.Unmarshal(initConfig, &config); err != nil {
			return 0, fmt.Errorf("read the plugin's configuration: %w", err)
		}
	}
	if config.OnceInterval == nil {
		return onceInterval, nil
	}
	interval, err := time.ParseDuration(*config.OnceInterval)
	if err != nil {
		return 0, fmt.Errorf("read the plugin's configuration: once_interval: %w", err)
	}
	return interval, nil
}
