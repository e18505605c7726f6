package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/coverage"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/report"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
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
	set, err := t.ruleSet(cases.Case{})
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
	ladders := laddersOf(set)
	met, err := t.measure(ctx, eng, run, coverage.Measure(out.Owners), ladders)
	if err != nil {
		return err
	}
	untuned, err := t.untuned(ctx, eng, run)
	if err != nil {
		return err
	}
	if out.Rules, err = t.roles(set, run, ladders, met, untuned); err != nil {
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

// firstError is why the first case that could not be run could not.
func firstError(run report.Run) error {
	for _, res := range run.Results {
		if res.Err != nil {
			return fmt.Errorf("%s: run case %s: %w", res.Case.Pos, res.Case.Name, res.Err)
		}
	}
	return nil
}

// ladder is a rule's condition in steps, each of which is met where those before it are.
type ladder struct {
	rule       ruleset.Rule
	steps      []string
	checkpoint int // terms of the first step
	terms      int // of the whole condition
}

// laddersOf are those of all rules.
func laddersOf(set *ruleset.Set) (list []ladder) {
	for _, r := range set.Rules() {
		steps, checkpoint, terms := coverage.Steps(r)
		list = append(list, ladder{r, steps, checkpoint, terms})
	}
	return list
}

// asShipped tells whether a case with the rules of own shows what the ladder's rule does: it runs the rule as it is shipped, and with rules
// of the case's own only where these enable it.
func (l *ladder) asShipped(c cases.Case, own *ruleset.Set) bool {
	if l.rule.Enabled {
		return len(c.Rules) == 0
	}
	r, ok := own.Rule(l.rule.Name)
	return ok && r.Enabled && r.Filter == l.rule.Filter
}

// stepsMet are for each ladder how many of its steps an event of a case meets.
type stepsMet []int

// measure asks the captures of all cases that run rules as they are shipped, each once: about the terms of the rules, and, where the
// case passes, about the steps of these rules' ladders. Cases in which more fires come first: what they show need not be asked of
// others. met has an entry for each result.
func (t *tester) measure(ctx context.Context, eng engine.Engine, run report.Run, progress *coverage.Progress, ladders []ladder) (met []stepsMet, err error) {
	met = make([]stepsMet, len(run.Results))
	shown := make([][]int, len(run.Results)) // ladders of each
	var order []int
	for i, res := range run.Results {
		met[i] = make(stepsMet, len(ladders))
		own, err := t.ruleSet(res.Case)
		if err != nil {
			return nil, err
		}
		for n, l := range ladders {
			if l.asShipped(res.Case, own) {
				shown[i] = append(shown[i], n)
			}
		}
		if len(shown[i]) > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return run.Results[b].Alerts - run.Results[a].Alerts })
	bar := newBar(t.con, len(order), "coverage")
	var group errgroup.Group
	group.SetLimit(t.parallel)
	var mu sync.Mutex // of progress
	for _, i := range order {
		group.Go(func() error {
			res := run.Results[i]
			err := t.asking(ctx, eng, res.Case, func(req engine.Request) error {
				source := engine.SourceOf(req.Capture)
				mu.Lock()
				ask := progress.Open(source)
				mu.Unlock()
				open := len(ask)
				if res.Verdict.Passed() { // else what it shows is not what it says
					for _, n := range shown[i] {
						if ladders[n].rule.Source == source {
							ask = append(ask, ladders[n].steps...)
						}
					}
				}
				answers, err := t.cache.Met(ctx, eng, req, ask)
				if err != nil {
					return err
				}
				mu.Lock()
				for a, condition := range ask[:open] {
					if answers[a] {
						progress.Saw(source, condition)
					}
				}
				mu.Unlock()
				answers = answers[open:]
				for _, n := range shown[i] {
					if l := ladders[n]; len(answers) > 0 && l.rule.Source == source {
						met[i][n] = max(met[i][n], count(answers[:len(l.steps)]))
						answers = answers[len(l.steps):]
					}
				}
				return nil
			})
			_ = bar.Add(1) // a bar that cannot be drawn is no reason to stop
			return err
		})
	}
	return met, group.Wait()
}

// untuned holds each case that passes with rules of its own against the alerts that come without them, by result.
func (t *tester) untuned(ctx context.Context, eng engine.Engine, run report.Run) ([]verdict.Verdict, error) {
	verdicts := make([]verdict.Verdict, len(run.Results))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(t.parallel)
	for i, res := range run.Results {
		if len(res.Case.Rules) == 0 || !res.Verdict.Passed() {
			continue
		}
		group.Go(func() error {
			plain := res.Case
			plain.Rules = nil
			alerts, _, err := t.replay(inner, eng, plain)
			verdicts[i] = verdict.Compare(plain.Expect, alerts)
			return err
		})
	}
	return verdicts, group.Wait()
}

// blames tells whether a verdict is against alerts of a rule, too many or too few.
func blames(v verdict.Verdict, rule string) bool {
	return slices.ContainsFunc(v.Missing, func(m verdict.Missing) bool { return m.Expected.Rule == rule }) ||
		slices.ContainsFunc(v.Unexpected, func(u verdict.Unexpected) bool { return u.Alert.Rule == rule })
}

// roles finds for each rule the cases of an attack, of a look-alike and of its tuning.
func (t *tester) roles(
	set *ruleset.Set, run report.Run, ladders []ladder, met []stepsMet, untuned []verdict.Verdict,
) ([]coverage.Roles, error) {
	list := make([]coverage.Roles, len(ladders))
	for n, l := range ladders {
		list[n] = coverage.Roles{Rule: l.rule.Name, Pos: l.rule.Pos, Terms: l.terms}
	}
	for i, res := range run.Results {
		if !res.Verdict.Passed() {
			continue
		}
		own, err := t.ruleSet(res.Case)
		if err != nil {
			return nil, err
		}
		for n, l := range ladders {
			r := &list[n]
			before, _ := set.Rule(r.Rule)
			after, _ := own.Rule(r.Rule)
			wanted := slices.ContainsFunc(res.Case.Expect, func(e cases.Expectation) bool { return e.Rule == r.Rule && e.Count.Min > 0 })
			allowed := slices.ContainsFunc(res.Case.Expect, func(e cases.Expectation) bool { return e.Rule == r.Rule && e.Count.Max > 0 })
			shown := l.asShipped(res.Case, own)
			switch {
			case after.Filter != before.Filter:
				// A macro or list of it is another one, or an exception, and its alerts are others without.
				if after.Condition == before.Condition && blames(untuned[i], r.Rule) {
					r.Tuning = append(r.Tuning, res.Case.Name)
				}
			case shown && wanted:
				r.Attack = append(r.Attack, res.Case.Name)
			case shown && !allowed && met[i][n] > 0:
				r.LookAlike = append(r.LookAlike, coverage.LookAlike{Case: res.Case.Name, Terms: l.checkpoint + met[i][n] - 1})
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
