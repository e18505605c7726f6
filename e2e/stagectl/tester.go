package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cache"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/parity"
	"github.com/falco-datastaging/datastaging/e2e/internal/report"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// maxCache bounds what is kept of replays, in bytes.
const maxCache = 256 << 20

// openCache gives the cache of replays in the user's cache folder; nil where the user has none.
func openCache(con console) (*engine.Cache, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // without a folder every replay runs
	}
	folder, err := cache.Open(filepath.Join(dir, "datastaging", "replays"), maxCache)
	if err != nil {
		fmt.Fprintf(con.stderr, "no cache: %v\n", err)
		return nil, nil //nolint:nilnil // every replay runs
	}
	return engine.NewCache(folder, con.stderr)
}

// tester runs cases on engines.
type tester struct {
	engines  []engine.Engine
	cache    *engine.Cache // nil for none
	plugin   string        // path of libdatastaging.so
	rules    []string      // rules files of every case, in load order
	parallel int           // cases that run at once
	con      console
	sets     map[string]*ruleset.Set // the rules of cases, by the rules files that they have of their own, see setKey

	replays, cached atomic.Int64
	came            [][]verdict.Alert // by result: the alerts
}

// setKey names the rules files that a case has of its own.
func setKey(c cases.Case) string { return strings.Join(c.Rules, "\x00") }

// ruleSet is the rules that a case is run with, loaded once for all cases with the same files. It is no method for several goroutines.
func (t *tester) ruleSet(c cases.Case) (*ruleset.Set, error) {
	key := setKey(c)
	if set := t.sets[key]; set != nil {
		return set, nil
	}
	set, err := ruleset.Load(slices.Concat(t.rules, c.Rules)...)
	if err != nil {
		return nil, err
	}
	if t.sets == nil {
		t.sets = map[string]*ruleset.Set{}
	}
	t.sets[key] = set
	return set, nil
}

// close ends the use of the cache.
func (t *tester) close() {
	if err := t.cache.Trim(); err != nil {
		fmt.Fprintf(t.con.stderr, "%v\n", err)
	}
}

// run replays the cases; the results are in the order of the cases, and of the engines for each. Where stderr is a
// terminal it shows how far it is.
func (t *tester) run(ctx context.Context, found []cases.Case) (report.Run, error) {
	var run report.Run
	for _, eng := range t.engines {
		version, err := eng.Version(ctx)
		if err != nil {
			return report.Run{}, err
		}
		run.Engines = append(run.Engines, report.Engine{Name: eng.Name(), Version: version})
	}
	bar := newBar(t.con, len(found)*len(t.engines), "cases")
	start := time.Now()
	run.Results = make([]report.Result, len(found)*len(t.engines))
	t.came = make([][]verdict.Alert, len(run.Results))
	var group errgroup.Group
	group.SetLimit(t.parallel)
	for i, c := range found {
		for e, eng := range t.engines {
			group.Go(func() error {
				at := i*len(t.engines) + e
				run.Results[at], t.came[at] = t.runCase(ctx, eng, c)
				_ = bar.Add(1) // a bar that cannot be drawn is no reason to stop
				return ctx.Err()
			})
		}
	}
	if err := group.Wait(); err != nil {
		return report.Run{}, err
	}
	if len(t.engines) == 2 {
		for i, c := range found {
			if run.Results[2*i].Err == nil && run.Results[2*i+1].Err == nil {
				run.Agreements = append(run.Agreements, report.Agreement{Case: c, Comparison: parity.Compare(t.came[2*i], t.came[2*i+1])})
			}
		}
	}
	run.Replays, run.Cached, run.Elapsed = int(t.replays.Load()), int(t.cached.Load()), time.Since(start)
	return run, nil
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

func (t *tester) runCase(ctx context.Context, eng engine.Engine, c cases.Case) (report.Result, []verdict.Alert) {
	start := time.Now()
	alerts, cached, err := t.replay(ctx, eng, c)
	res := report.Result{Case: c, Engine: eng.Name(), Alerts: len(alerts), Cached: cached, Elapsed: time.Since(start), Err: err}
	if err != nil {
		return res, nil
	}
	if res.Verdict = verdict.Compare(c.Expect, alerts); !res.Verdict.Passed() {
		if res.Commands, err = t.commands(eng, c, res.Verdict); err != nil {
			res.Commands = []string{"# no command: " + err.Error()}
		}
	}
	return res, alerts
}

// replay gives the alerts of a case. cached tells whether nothing had to run.
func (t *tester) replay(ctx context.Context, eng engine.Engine, c cases.Case) (alerts []verdict.Alert, cached bool, err error) {
	cached = true
	err = t.each(ctx, eng, c, func(capture int, req engine.Request) error {
		came, hit, err := t.one(ctx, eng, req)
		if err != nil {
			return err
		}
		cached = cached && hit
		for _, a := range came {
			alerts = append(alerts, verdict.Alert{Alert: a, Capture: capture})
		}
		return nil
	})
	return alerts, cached, err
}

// each learns what the case says is normal, if it does, and visits the replays of its captures in order, counted from 1. A
// visit leaves the request's state as the replay does.
func (t *tester) each(ctx context.Context, eng engine.Engine, c cases.Case, visit func(capture int, req engine.Request) error) error {
	work, err := os.MkdirTemp("", "stagectl-test-")
	if err != nil {
		return fmt.Errorf("make room for the baseline: %w", err)
	}
	defer os.RemoveAll(work)
	state := filepath.Join(work, "baseline")
	if len(c.Learn) > 0 {
		one := func(ctx context.Context, req engine.Request) ([]alert.Alert, error) {
			alerts, _, err := t.one(ctx, eng, req)
			return alerts, err
		}
		if err := learn(ctx, one, t.plugin, c.InitConfig, c.Learn, state); err != nil {
			return err
		}
	}
	requests, err := t.requests(c, state)
	if err != nil {
		return err
	}
	for i, req := range requests {
		if err := visit(i+1, req); err != nil {
			return err
		}
	}
	return nil
}

// asking visits a case's captures as each does, for visits that ask about a capture and do not replay it: what it leaves to the
// next one is made for them.
func (t *tester) asking(ctx context.Context, eng engine.Engine, c cases.Case, visit func(req engine.Request) error) error {
	return t.each(ctx, eng, c, func(capture int, req engine.Request) error {
		err := visit(req)
		if err == nil && capture < len(c.Captures) {
			_, _, err = t.one(ctx, eng, req)
		}
		return err
	})
}

// one replays one capture, or has it from the cache.
func (t *tester) one(ctx context.Context, eng engine.Engine, req engine.Request) (alerts []alert.Alert, hit bool, err error) {
	alerts, hit, err = t.cache.Replay(ctx, eng, req)
	t.replays.Add(1)
	if hit {
		t.cached.Add(1)
	}
	return alerts, hit, err
}

// requests are the replays of a case's captures. What was learned before is compared with, unless the case says otherwise.
func (t *tester) requests(c cases.Case, state string) (requests []engine.Request, err error) {
	req := engine.Request{Plugin: t.plugin, InitConfig: c.InitConfig, Rules: slices.Concat(t.rules, c.Rules)}
	if len(c.Learn) > 0 {
		req.InitConfig, err = withBaseline(c.InitConfig, nil, map[string]any{"mode": "detect", "min_windows": 1, "learning_period": "0s"})
		if err != nil {
			return nil, err
		}
	}
	if len(c.Learn) > 0 || len(c.Captures) > 1 {
		req.State = state
	}
	for _, req.Capture = range c.Captures {
		requests = append(requests, req)
	}
	return requests, nil
}

// commands are the shell lines that show by hand what a verdict is about: for each rule at fault, everything that leads to the
// last capture in which it counts.
func (t *tester) commands(eng engine.Engine, c cases.Case, v verdict.Verdict) ([]string, error) {
	last := map[string]int{} // by rule: the capture
	var rules []string
	note := func(rule string, capture int) {
		if last[rule] == 0 {
			rules = append(rules, rule)
		}
		last[rule] = max(last[rule], capture)
	}
	for _, m := range v.Missing {
		if m.Expected.Capture > 0 {
			note(m.Expected.Rule, m.Expected.Capture)
		} else {
			note(m.Expected.Rule, len(c.Captures))
		}
	}
	for _, u := range v.Unexpected {
		note(u.Alert.Rule, u.Alert.Capture)
	}
	state := filepath.Join(os.TempDir(), "stagectl-"+c.Name+".baseline")
	requests, err := t.requests(c, state)
	if err != nil {
		return nil, err
	}
	var before []engine.Request
	for _, capture := range c.Learn {
		req := engine.Request{Capture: capture, Plugin: t.plugin, Rules: requests[0].Rules, State: state}
		if req.InitConfig, err = withBaseline(c.InitConfig, map[string]any{"mode": "learn"}, nil); err != nil {
			return nil, err
		}
		before = append(before, req)
	}
	var lines []string
	var seen [][]string
	for _, rule := range rules {
		var these []string
		if requests[0].State != "" {
			these = append(these, "rm -f "+engine.ShellWord(state))
		}
		for _, req := range slices.Concat(before, requests[:last[rule]-1]) {
			line, err := eng.Command(req, "")
			if err != nil {
				return nil, err
			}
			these = append(these, line)
		}
		line, err := eng.Command(requests[last[rule]-1], rule)
		if err != nil {
			return nil, err
		}
		these = append(these, line)
		if !slices.ContainsFunc(seen, func(other []string) bool { return slices.Equal(other, these) }) {
			seen = append(seen, these)
			lines = append(lines, these...)
		}
	}
	return lines, nil
}
