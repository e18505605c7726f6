package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/coverage"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/report"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// coverageCmd tells what of the rules no case exercises.
type coverageCmd struct {
	Cases  []string `arg:"" optional:"" name:"case" help:"Cases, as for stagectl test. Default: all of e2e/cases."`
	Format string   `enum:"table,json" default:"table" help:"Format of the report: ${enum}."`
	Check  bool     `help:"Fail where a rule lacks a case of an attack, of a look-alike, or of its tuning."`

	Engine engineFlags `embed:""`
	Bundle bundleFlags `embed:""`
	campaignFlags
}

// Run runs the cases, asks the engine about the terms of the rules and reports on stdout. It returns errFindings where a check
// fails.
func (c coverageCmd) Run(ctx context.Context, con console) error {
	found, t, err := c.begin(c.Cases, c.Bundle, false, con)
	if err != nil {
		return err
	}
	defer t.close()
	set, err := ruleset.Load(t.rules...)
	if err != nil {
		return err
	}
	eng, err := c.Engine.open(ctx, con)
	if err != nil {
		return err
	}
	t.engines = []engine.Engine{eng}
	run, err := t.run(ctx, found)
	if err != nil {
		return err
	}
	if n := run.Count(report.NotRun); n > 0 {
		return firstError(run)
	}
	out := coverage.Report{Owners: coverage.Owners(set)}
	if err := t.measure(ctx, eng, run, out.Owners); err != nil {
		return err
	}
	if out.Rules, err = t.roles(ctx, eng, set, run); err != nil {
		return err
	}
	write := coverage.WriteJSON
	if c.Format == "table" {
		write = func(w io.Writer, r coverage.Report) error { return coverage.WriteTable(w, r, c.Check) }
	}
	if err := write(con.stdout, out); err != nil {
		return err
	}
	if c.Check && slices.ContainsFunc(out.Rules, func(r coverage.Roles) bool { return len(r.Lacks()) > 0 }) {
		return errFindings
	}
	return nil
}

// sourceOf is the event source of a capture or script.
func sourceOf(capture string) string {
	if isLog, err := auditlog.Is(capture); err == nil && isLog {
		return auditlog.Source
	}
	return ruleset.SyscallSource
}

// firstError is why the first case that could not be run could not.
func firstError(run report.Run) error {
	for _, res := range run.Results {
		if res.Err != nil {
			return fmt.Errorf("%s: run case %s: %w", res.Case.Pos, res.Case.Name, res.Err)
		}
	}
	return nil
}

// measure asks about the terms of the rules, on the captures of all cases that run the rules as they are. Cases in which more
// fires come first: what they show need not be asked of others.
func (t *tester) measure(ctx context.Context, eng engine.Engine, run report.Run, owners []*coverage.Owner) error {
	results := slices.DeleteFunc(slices.Clone(run.Results), func(r report.Result) bool { return len(r.Case.Rules) > 0 })
	slices.SortStableFunc(results, func(a, b report.Result) int { return b.Alerts - a.Alerts })
	progress := coverage.Measure(owners)
	bar := newBar(t.con, len(results), "coverage")
	asked := map[string]bool{}
	for _, res := range results {
		key := fmt.Sprintf("%q %q %s", res.Case.Learn, res.Case.Captures, res.Case.InitConfig)
		if !asked[key] {
			asked[key] = true
			if err := t.ask(ctx, eng, res.Case, progress); err != nil {
				return err
			}
		}
		_ = bar.Add(1) // a bar that cannot be drawn is no reason to stop
	}
	return nil
}

// ask asks the engine which open conditions a case's captures meet.
func (t *tester) ask(ctx context.Context, eng engine.Engine, c cases.Case, progress *coverage.Progress) error {
	return t.asking(ctx, eng, c, func(req engine.Request) error {
		source := sourceOf(req.Capture)
		open := progress.Open(source)
		met, err := t.cache.Met(ctx, eng, req, open)
		if err != nil {
			return err
		}
		for i, condition := range open {
			if met[i] {
				progress.Saw(source, condition)
			}
		}
		return nil
	})
}

// roles finds for each rule the cases of an attack, of a look-alike and of its tuning.
func (t *tester) roles(ctx context.Context, eng engine.Engine, set *ruleset.Set, run report.Run) ([]coverage.Roles, error) {
	var list []coverage.Roles
	var steps []string      // of all rules
	var sources []string    // of the events of each step
	var first, length []int // by rule: the index of its first step, and how many terms that is
	for _, r := range set.Rules() {
		if r.Enabled {
			own, checkpoint, terms := coverage.Steps(r)
			list = append(list, coverage.Roles{Rule: r.Name, Pos: r.Pos, Terms: terms})
			first, length = append(first, len(steps)), append(length, checkpoint)
			steps = append(steps, own...)
			sources = append(sources, slices.Repeat([]string{r.Source}, len(own))...)
		}
	}
	first = append(first, len(steps))
	met := make([][]bool, len(run.Results)) // by result and step
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(t.parallel)
	for i, res := range run.Results {
		met[i] = make([]bool, len(steps))
		if len(res.Case.Rules) > 0 || !res.Verdict.Passed() {
			continue
		}
		group.Go(func() error {
			return t.asking(inner, eng, res.Case, func(req engine.Request) error {
				var ask []string
				var of []int // the steps that are asked
				for s := range steps {
					if sources[s] == sourceOf(req.Capture) {
						ask, of = append(ask, steps[s]), append(of, s)
					}
				}
				some, err := t.cache.Met(inner, eng, req, ask)
				if err != nil {
					return err
				}
				for n, s := range of {
					met[i][s] = met[i][s] || some[n]
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	tuned := map[string]*ruleset.Set{} // by the case's own rules files, joined
	for i, res := range run.Results {
		if !res.Verdict.Passed() {
			continue // what it shows is not what it says
		}
		key := strings.Join(res.Case.Rules, "\x00")
		if tuned[key] == nil {
			own, err := ruleset.Load(slices.Concat(t.rules, res.Case.Rules)...)
			if err != nil {
				return nil, err
			}
			tuned[key] = own
		}
		for r := range list {
			before, _ := set.Rule(list[r].Rule)
			after, _ := tuned[key].Rule(list[r].Rule)
			wanted := slices.ContainsFunc(res.Case.Expect, func(e cases.Expectation) bool { return e.Rule == list[r].Rule && e.Count.Min > 0 })
			allowed := slices.ContainsFunc(res.Case.Expect, func(e cases.Expectation) bool { return e.Rule == list[r].Rule && e.Count.Max > 0 })
			switch {
			case after.Filter != before.Filter:
				if after.Condition == before.Condition { // a macro or list of it is another one
					list[r].Tuning = append(list[r].Tuning, res.Case.Name)
				}
			case len(res.Case.Rules) > 0:
			case wanted:
				list[r].Attack = append(list[r].Attack, res.Case.Name)
			case !allowed:
				// An event that meets a step meets all before it.
				if n := count(met[i][first[r]:first[r+1]]); n > 0 {
					list[r].LookAlike = append(list[r].LookAlike, coverage.LookAlike{Case: res.Case.Name, Terms: length[r] + n - 1})
				}
			}
		}
	}
	return list, nil
}

func count(values []bool) (n int) {
	for _, v := range values {
		if v {
			n++
		}
	}
	return n
}
