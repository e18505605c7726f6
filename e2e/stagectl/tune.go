package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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

// tuneCmd tries values of the rules' thresholds on labelled captures.
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
	Parallel int      `short:"j" placeholder:"N" help:"Captures to replay at once. Default: the number of CPUs."`

	Bundle bundleFlags `embed:""`
	Engine engineFlags `embed:""`
}

// Validate is called by kong.
func (c tuneCmd) Validate() error {
	switch {
	case c.Parallel < 0:
		return fmt.Errorf("--parallel=%d: write 1 or more", c.Parallel)
	case c.Points < 1:
		return fmt.Errorf("--points=%d: write 1 or more", c.Points)
	case c.Budget < 0:
		return fmt.Errorf("--budget=%g: write 0 or more", c.Budget)
	}
	return nil
}

// onceInterval is the plugin's default of once_interval.
const onceInterval = 10 * time.Minute

// Run replays every capture once for each rule, and tries all values on what that showed.
func (c tuneCmd) Run(ctx context.Context, con console) error {
	t := tuner{parallel: c.Parallel, verify: c.Verify}
	if t.parallel == 0 {
		t.parallel = runtime.GOMAXPROCS(0)
	}
	var err error
	if t.rules, err = c.Bundle.rulesPaths(); err != nil {
		return err
	}
	if t.plugin, err = c.Bundle.pluginPath(); err != nil {
		return err
	}
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
	if t.engine, err = c.Engine.open(ctx, con); err != nil {
		return err
	}
	captures, err := t.run(ctx, samples, con)
	if err != nil {
		return err
	}
	choice := t.grid.Choose(captures, c.Budget)
	study := sweep.NewStudy(t.grid, captures, choice)
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

// sample is a labelled capture and how to replay it.
type sample struct {
	name       string
	attack     bool
	nodeHours  float64 // 0 for the capture's length
	capture    string
	learn      []string
	initConfig json.RawMessage
}

// samples are the cases' captures and those of the labels files.
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
			if len(one.Captures) > 1 {
				fmt.Fprintf(con.stderr, "left out: case %s, which has several captures\n", one.Name)
				continue
			}
			if isLog, err := auditlog.Is(one.Captures[0]); err == nil && isLog {
				continue // without system calls
			}
			if err := checkCapture(one.Captures[0]); err != nil {
				return nil, fmt.Errorf("%s: %w", one.Pos, err)
			}
			samples = append(samples, sample{
				name: one.Name, attack: one.IsAttack(priorities), capture: one.Captures[0], learn: one.Learn, initConfig: one.InitConfig,
			})
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
			samples = append(samples, sample{
				name: filepath.Base(l.Capture), attack: l.Label == cases.Attack, nodeHours: l.NodeHours, capture: l.Capture, initConfig: initConfig,
			})
		}
	}
	return samples, nil
}

// tuner replays labelled captures for a grid.
type tuner struct {
	engine   engine.Engine
	grid     *sweep.Grid
	plugin   string
	rules    []string
	parallel int
	verify   bool
}

// run replays the samples; the captures are in their order.
func (t tuner) run(ctx context.Context, samples []sample, con console) ([]*sweep.Capture, error) {
	bar := newBar(con, len(samples), "captures")
	captures := make([]*sweep.Capture, len(samples))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(t.parallel)
	for i, s := range samples {
		group.Go(func() error {
			var err error
			captures[i], err = t.replay(ctx, s)
			_ = bar.Add(1) // a bar that cannot be drawn is no reason to stop
			return err
		})
	}
	return captures, group.Wait()
}

func (t tuner) replay(ctx context.Context, s sample) (*sweep.Capture, error) {
	path, clean, err := composed(ctx, s.capture)
	if err != nil {
		return nil, err
	}
	defer clean()
	sum, err := capture.Check(ctx, path, capture.Limits{})
	if err != nil {
		return nil, err
	}
	c := &sweep.Capture{Name: s.name, Attack: s.attack, Begin: sum.First, Hours: s.nodeHours}
	if c.Hours == 0 {
		c.Hours = sum.Last.Sub(sum.First).Hours()
	}
	if c.Interval, err = configuredInterval(s.initConfig); err != nil {
		return nil, err
	}
	req := engine.Request{Capture: path, Plugin: t.plugin, InitConfig: s.initConfig, Rules: t.rules}
	if len(s.learn) > 0 {
		work, err := os.MkdirTemp("", "stagectl-tune-")
		if err != nil {
			return nil, fmt.Errorf("learn: %w", err)
		}
		defer os.RemoveAll(work)
		baseline := filepath.Join(work, "baseline")
		if err := learn(ctx, t.engine.Replay, t.plugin, s.initConfig, s.learn, baseline); err != nil {
			return nil, err
		}
		if req.InitConfig, err = compareWith(baseline, s.initConfig); err != nil {
			return nil, err
		}
	}
	if err := t.grid.Replay(ctx, t.engine, req, c); err != nil {
		return nil, err
	}
	if !t.verify {
		return c, nil
	}
	alerts, err := t.engine.Replay(ctx, req)
	if err != nil {
		return nil, err
	}
	return c, t.compare(c, alerts)
}

// fired is one alert.
type fired struct {
	event uint64
	rule  string
}

// compare holds what was computed for the shipped thresholds against the alerts of a plain replay.
func (t tuner) compare(c *sweep.Capture, alerts []alert.Alert) error {
	var computed, plain []fired
	for i, r := range t.grid.Rules {
		for _, e := range t.grid.Alerts(c, i, t.grid.Shipped) {
			computed = append(computed, fired{e.Number, r.Name})
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
