package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/mutation"
	"github.com/falco-datastaging/datastaging/e2e/internal/report"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// mutateCmd changes the rules' conditions a little and tells which changes no case notices.
type mutateCmd struct {
	Cases  []string      `arg:"" optional:"" name:"case" help:"Cases, as for stagectl test. Default: all of e2e/cases."`
	Format string        `enum:"table,json" default:"table" help:"Format of the report: ${enum}."`
	Max    int           `default:"1000" placeholder:"N" help:"Changes to try. They are spread over the rules and macros. Default: ${default}."`
	Time   time.Duration `default:"15m" help:"When to stop trying. What is tried then is not counted. Default: ${default}."`
	Only   string        `placeholder:"NAME" help:"Change this rule or macro alone."`

	Explained string `placeholder:"FILE" help:"Changes that no case can notice, each with a reason. Fails then where another one survives, and where one of them is noticed after all or is no change any more."`

	Engine engineFlags `embed:""`
	Bundle bundleFlags `embed:""`
	campaignFlags
}

// Validate is called by kong.
func (c mutateCmd) Validate() error {
	if c.Max < 1 {
		return fmt.Errorf("--max=%d: write 1 or more", c.Max)
	}
	if c.Time <= 0 {
		return fmt.Errorf("--time=%s: write a duration such as 10m", c.Time)
	}
	return c.campaignFlags.Validate()
}

// fate is what became of a mutant.
type fate string

const (
	killed    fate = "killed"    // a case fails
	survived  fate = "survived"  // every case passes
	explained fate = "explained" // so it does, and it is known why
	invalid   fate = "invalid"   // the engine does not run it
	notTried  fate = "not tried"
)

// tried is a mutant and what became of it.
type tried struct {
	mutation.Mutant
	fate fate
	by   string // the case that failed, the engine's words, or why it survives
}

// Run tries the mutants and reports on stdout.
func (c mutateCmd) Run(ctx context.Context, con console) error {
	found, t, err := c.begin(c.Cases, c.Bundle, false, con)
	if err != nil {
		return err
	}
	defer t.close()
	dir, err := os.MkdirTemp("", "stagectl-mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := mutator{tester: t, dir: dir}
	set, err := t.ruleSet(cases.Case{})
	if err != nil {
		return err
	}
	mutants := mutation.Mutants(set)
	explanations, err := c.explanations(mutants)
	if err != nil {
		return err
	}
	if c.Only != "" {
		mutants = slices.DeleteFunc(mutants, func(m mutation.Mutant) bool { return m.Name != c.Only })
		if len(mutants) == 0 {
			return fmt.Errorf("--only=%q: no rule or macro with something to change has this name", c.Only)
		}
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
	if n := run.Failures(); n > 0 {
		return fmt.Errorf("%d of %d cases do not pass before anything is changed: see stagectl test", n, len(found))
	}
	m.results = run.Results
	timed, cancel := context.WithTimeout(ctx, c.Time)
	defer cancel()
	results, err := m.try(ctx, timed, mutants, min(c.Max, len(mutants)))
	if err != nil {
		return err
	}
	noticed := explain(results, explanations)
	write := writeMutantsJSON
	if c.Format == "table" {
		write = writeMutants
	}
	if err := write(con.stdout, results); err != nil {
		return err
	}
	for _, e := range noticed {
		fmt.Fprintf(con.stderr, "stagectl: %s: a case notices %q: take it out\n", e.Pos, e.Mutant)
	}
	if c.Explained != "" && (len(noticed) > 0 || counts(results)[survived] > 0) {
		return errFindings
	}
	return nil
}

// explanations reads the file of explanations, where there is one, and refuses one of no mutant.
func (c mutateCmd) explanations(mutants []mutation.Mutant) ([]mutation.Explanation, error) {
	if c.Explained == "" {
		return nil, nil
	}
	list, err := mutation.ReadExplanations(c.Explained)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, e := range list {
		if !slices.ContainsFunc(mutants, func(m mutation.Mutant) bool { return m.String() == e.Mutant }) {
			errs = append(errs, fmt.Errorf("%s: %q is no change of the rules: take it out, or write it as stagectl mutate prints it", e.Pos, e.Mutant))
		}
	}
	return list, errors.Join(errs...)
}

// explain marks the survivors that have an explanation, and returns the explanations of mutants that a case noticed.
func explain(results []tried, explanations []mutation.Explanation) (noticed []mutation.Explanation) {
	for i := range results {
		r := &results[i]
		at := slices.IndexFunc(explanations, func(e mutation.Explanation) bool { return e.Mutant == r.String() })
		switch {
		case at < 0:
		case r.fate == survived:
			r.fate, r.by = explained, explanations[at].Reason
		case r.fate == killed:
			noticed = append(noticed, explanations[at])
		}
	}
	return noticed
}

// mutator tries mutants on the cases of a run in which all pass.
type mutator struct {
	*tester
	results []report.Result
	dir     string // for rules files
}

// trial is a mutant that is being tried.
type trial struct {
	*tried
	changed map[string][]ruleset.Rule // the rules that it changes, so changed, by the key of tester.sets
	todo    []int                     // results that may still kill it
}

// over tells whether its fate is known before all is done.
func (t *trial) over() bool { return t.by != "" }

// round is a result whose case is replayed with some mutants at once.
type round struct {
	result int
	trials []*trial
	fates  []fate // of each
	by     []string
}

// try tries the first n mutants until timed is done. The error is that of ctx.
//
// A mutant is first tried on the cases in which a rule that it changes fires, the one with the most alerts first: most die there. What
// is left is tried on one case after the other. All mutants of a case are rules of one replay.
func (m *mutator) try(ctx, timed context.Context, mutants []mutation.Mutant, n int) ([]tried, error) {
	out := make([]tried, len(mutants))
	trials := make([]*trial, n)
	firing := make([][]int, n) // by trial
	for i, mutant := range mutants {
		out[i] = tried{Mutant: mutant, fate: notTried}
		if i < n {
			trials[i] = m.prepare(&out[i])
			firing[i] = m.firing(trials[i])
		}
	}
	bar := newBar(m.con, n, "mutants")
	for open := n; open > 0 && timed.Err() == nil; {
		rounds := map[int]*round{}
		open = 0
		for i, t := range trials {
			if t.over() || len(firing[i]) == 0 {
				continue
			}
			open++
			r := firing[i][0]
			firing[i] = firing[i][1:]
			if rounds[r] == nil {
				rounds[r] = &round{result: r}
			}
			rounds[r].trials = append(rounds[r].trials, t)
		}
		m.hold(timed, slices.SortedFunc(maps.Values(rounds), func(a, b *round) int { return a.result - b.result }))
		_ = bar.Set(n - open) // a bar that cannot be drawn is no reason to stop
	}
	_ = bar.Finish()
	bar = newBar(m.con, len(m.results), "cases")
	var all []*round
	for r := range m.results {
		all = append(all, &round{result: r})
	}
	for some := range slices.Chunk(all, m.parallel) {
		for _, r := range some {
			r.trials = slices.DeleteFunc(slices.Clone(trials), func(t *trial) bool { return t.over() || !slices.Contains(t.todo, r.result) })
		}
		m.hold(timed, some)
		_ = bar.Add(len(some))
	}
	_ = bar.Finish()
	for _, t := range trials {
		if !t.over() && len(t.todo) == 0 {
			t.fate = survived
		}
	}
	return out, ctx.Err()
}

// prepare finds what a mutant changes, and the results that it can make a difference to.
func (m *mutator) prepare(mutant *tried) *trial {
	t := &trial{tried: mutant, changed: map[string][]ruleset.Rule{}}
	for key, set := range m.sets {
		t.changed[key] = mutant.Apply(set)
	}
	for r := range m.results {
		if slices.ContainsFunc(m.results[r].Case.Captures, func(capture string) bool {
			source := engine.SourceOf(capture)
			return slices.ContainsFunc(t.changed[m.key(r)], func(rule ruleset.Rule) bool { return rule.Source == source })
		}) {
			t.todo = append(t.todo, r)
		}
	}
	return t
}

// key is which rules files a result's case has of its own.
func (m *mutator) key(result int) string { return setKey(m.results[result].Case) }

// changes tells whether a mutant changes a rule, by name, in a result's case.
func (m *mutator) changes(t *trial, result int, rule string) bool {
	return slices.ContainsFunc(t.changed[m.key(result)], func(r ruleset.Rule) bool { return r.Name == rule })
}

// firing are the results in which rules fire that the mutant changes, most alerts first.
func (m *mutator) firing(t *trial) []int {
	alerts := map[int]int{}
	for _, r := range t.todo {
		for _, a := range m.came[r] {
			if m.changes(t, r, a.Rule) {
				alerts[r]++
			}
		}
	}
	results := slices.DeleteFunc(slices.Clone(t.todo), func(r int) bool { return alerts[r] == 0 })
	slices.SortStableFunc(results, func(a, b int) int { return alerts[b] - alerts[a] })
	return results
}

// hold holds rounds, as many at once as cases run at once, and notes what became of their mutants in the order of the rounds. What
// ctx ends tells nothing.
func (m *mutator) hold(ctx context.Context, rounds []*round) {
	var group errgroup.Group
	group.SetLimit(m.parallel)
	for _, r := range rounds {
		r.fates, r.by = make([]fate, len(r.trials)), make([]string, len(r.trials))
		group.Go(func() error {
			m.replayMutants(ctx, r.result, r.trials, r.fates, r.by)
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return
	}
	for _, r := range rounds {
		for i, t := range r.trials {
			t.todo = slices.DeleteFunc(t.todo, func(result int) bool { return result == r.result })
			if r.by[i] != "" && !t.over() {
				t.fate, t.by = r.fates[i], r.by[i]
			}
		}
	}
}

// replayMutants replays a result's case with the rules that each mutant changes, and no others, in place of the same rules. It tells the
// fate of a mutant where that is known then, and by what. Where an engine does not run all mutants, each half of them is tried.
func (m *mutator) replayMutants(ctx context.Context, result int, trials []*trial, fates []fate, by []string) {
	if len(trials) == 0 || ctx.Err() != nil {
		return
	}
	came, err := m.alertsOf(ctx, result, trials)
	switch {
	case err != nil && len(trials) > 1:
		half := len(trials) / 2
		m.replayMutants(ctx, result, trials[:half], fates[:half], by[:half])
		m.replayMutants(ctx, result, trials[half:], fates[half:], by[half:])
		return
	case err != nil:
		fates[0], by[0] = invalid, err.Error()
		return
	}
	c := m.results[result].Case
	for i, t := range trials {
		alerts := slices.DeleteFunc(slices.Clone(m.came[result]), func(a verdict.Alert) bool { return m.changes(t, result, a.Rule) })
		alerts = append(alerts, came[i]...)
		slices.SortStableFunc(alerts, func(a, b verdict.Alert) int {
			m, _ := a.EventNumber()
			n, _ := b.EventNumber()
			return cmp.Or(a.Capture-b.Capture, cmp.Compare(m, n))
		})
		if !verdict.Compare(c.Expect, alerts).Passed() {
			fates[i], by[i] = killed, c.Name
		}
	}
}

// alertsOf gives the alerts of each mutant's rules, as many as can make a difference.
func (m *mutator) alertsOf(ctx context.Context, result int, trials []*trial) ([][]verdict.Alert, error) {
	c := m.results[result].Case
	changed := make([][]ruleset.Rule, len(trials))
	for i, t := range trials {
		changed[i] = t.changed[m.key(result)]
	}
	text, err := mutation.File(changed)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(m.dir, "*.yaml")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	came := make([][]verdict.Alert, len(trials))
	err = m.each(ctx, m.engines[0], c, func(capture int, req engine.Request) error {
		req.Rules, req.NoText, req.Log, req.Limit = []string{file.Name()}, true, io.Discard, enough(c.Expect, changed)
		m.replays.Add(1)
		// Which mutants run together changes with each rule and case: there is nothing to keep.
		alerts, err := m.engines[0].Replay(ctx, req)
		if err != nil {
			return err
		}
		for _, a := range alerts {
			i, rule, err := mutation.RuleOf(a.Rule)
			if err != nil {
				return err
			}
			a.Rule = rule
			came[i] = append(came[i], verdict.Alert{Alert: a, Capture: capture})
		}
		return nil
	})
	return came, err
}

// enough is how many alerts of one rule decide about a case, 0 for all: with one more than all entries take, it fails whatever
// else comes. That does not hold where an entry takes any number, and for alerts that may come unexpected.
func enough(expected []cases.Expectation, changed [][]ruleset.Rule) int {
	n := 1
	for _, e := range expected {
		if e.Count.Max == cases.Unbounded {
			return 0
		}
		n += e.Count.Max
	}
	for _, rules := range changed {
		if slices.ContainsFunc(rules, func(r ruleset.Rule) bool { return !r.Priority.AtLeast(ruleset.PriorityNotice) }) {
			return 0
		}
	}
	return n
}

// counts are how many mutants met each fate.
func counts(results []tried) map[fate]int {
	n := map[fate]int{}
	for _, r := range results {
		n[r.fate]++
	}
	return n
}

// writeMutants writes for people the mutants that no case noticed and those that an engine does not run.
func writeMutants(w io.Writer, results []tried) error {
	var b strings.Builder
	for _, r := range results {
		switch r.fate {
		case survived:
			fmt.Fprintf(&b, "%s: %s\n", r.Pos, r)
		case invalid:
			fmt.Fprintf(&b, "%s: %s: does not run: %s\n", r.Pos, r, r.by)
		case killed, explained, notTried:
		}
	}
	n := counts(results)
	fmt.Fprintf(&b, "%d mutants: %d killed, %d survived", len(results), n[killed], n[survived])
	if n[explained] > 0 {
		fmt.Fprintf(&b, " and %d as explained", n[explained])
	}
	fmt.Fprintf(&b, ", %d invalid, %d not tried\n", n[invalid], n[notTried])
	_, err := io.WriteString(w, b.String())
	return err
}

// writeMutantsJSON writes all mutants as one JSON document.
func writeMutantsJSON(w io.Writer, results []tried) error {
	type mutant struct {
		Kind   string `json:"kind"`
		Name   string `json:"name"`
		File   string `json:"file"`
		Line   int    `json:"line"`
		Change string `json:"change"`
		Term   string `json:"term"`
		Fate   fate   `json:"fate"`
		By     string `json:"by,omitempty"`
	}
	n := counts(results)
	doc := struct {
		Killed    int      `json:"killed"`
		Survived  int      `json:"survived"`
		Explained int      `json:"explained"`
		Invalid   int      `json:"invalid"`
		NotTried  int      `json:"not_tried"`
		Mutants   []mutant `json:"mutants"`
	}{n[killed], n[survived], n[explained], n[invalid], n[notTried], []mutant{}}
	for _, r := range results {
		kind := "rule"
		if r.Macro {
			kind = "macro"
		}
		doc.Mutants = append(doc.Mutants, mutant{kind, r.Name, r.Pos.File, r.Pos.Line, r.Change, r.Text, r.fate, r.by})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
