package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	killed   fate = "killed"   // a case fails
	survived fate = "survived" // every case passes
	invalid  fate = "invalid"  // the engine does not run it
	notTried fate = "not tried"
)

// tried is a mutant and what became of it.
type tried struct {
	mutation.Mutant
	fate fate
	by   string // the case that failed, or the engine's words
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
	m := mutator{tester: t, sets: map[string]*ruleset.Set{}, dir: dir}
	if err := m.load(found); err != nil {
		return err
	}
	mutants := mutation.Mutants(m.sets[""])
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
	if c.Format == "json" {
		return writeMutantsJSON(con.stdout, results)
	}
	return writeMutants(con.stdout, results)
}

// mutator tries mutants on the cases of a run in which all pass.
type mutator struct {
	*tester
	sets    map[string]*ruleset.Set // by a case's own rules files, joined; "" for none
	results []report.Result
	dir     string // for rules files
}

// load loads the rules of all cases.
func (m *mutator) load(found []cases.Case) error {
	for _, own := range append([]cases.Case{{}}, found...) {
		key := strings.Join(own.Rules, "\x00")
		if m.sets[key] != nil {
			continue
		}
		set, err := ruleset.Load(slices.Concat(m.rules, own.Rules)...)
		if err != nil {
			return err
		}
		m.sets[key] = set
	}
	return nil
}

// variant is what a mutant makes of the rules of some cases.
type variant struct {
	names   []string            // of the rules that it changes
	file    string              // that holds them, changed
	differs map[string][]string // by event source: conditions of an event on which one of them and its change part
	untold  map[string]bool     // by event source: that cannot be told of one of them
}

// trial is a mutant that is being tried.
type trial struct {
	*tried
	variants map[string]variant // as mutator.sets
	todo     []int              // results that may still kill it
}

func (t *trial) done(result int) {
	t.todo = slices.DeleteFunc(t.todo, func(r int) bool { return r == result })
}

// over tells whether its fate is known before all is done.
func (t *trial) over() bool { return t.by != "" }

// try tries the first n mutants until timed is done. The error is that of ctx.
//
// A mutant is first tried on the cases in which a rule that it changes fires: most die there. On each of the others, the engine
// is asked at once for all mutants that live whether any event makes a difference to them, and only these are replayed.
func (m *mutator) try(ctx, timed context.Context, mutants []mutation.Mutant, n int) ([]tried, error) {
	out := make([]tried, len(mutants))
	trials := make([]*trial, n)
	for i, mutant := range mutants {
		out[i] = tried{Mutant: mutant, fate: notTried}
		if i < n {
			trials[i] = &trial{tried: &out[i]}
			if err := m.prepare(trials[i], i); err != nil {
				return nil, err
			}
		}
	}
	bar := newBar(m.con, n, "mutants")
	err := m.together(ctx, trials, func(t *trial) {
		m.kill(timed, t, m.firing(t))
		_ = bar.Add(1) // a bar that cannot be drawn is no reason to stop
	})
	if err != nil {
		return nil, err
	}
	bar = newBar(m.con, len(m.results), "cases")
	for r := range m.results {
		alive := slices.DeleteFunc(slices.Clone(trials), func(t *trial) bool { return t.over() || !slices.Contains(t.todo, r) })
		concerned, err := m.concerned(timed, alive, r)
		if timed.Err() != nil {
			break
		}
		if err != nil {
			return nil, err
		}
		for _, t := range alive {
			if !slices.Contains(concerned, t) {
				t.done(r)
			}
		}
		if err := m.together(ctx, concerned, func(t *trial) { m.kill(timed, t, []int{r}) }); err != nil {
			return nil, err
		}
		_ = bar.Add(1)
	}
	for _, t := range trials {
		if !t.over() && len(t.todo) == 0 {
			t.fate = survived
		}
	}
	return out, ctx.Err()
}

// together does something with several trials at once.
func (m *mutator) together(ctx context.Context, trials []*trial, do func(*trial)) error {
	var group errgroup.Group
	group.SetLimit(m.parallel)
	for _, t := range trials {
		group.Go(func() error {
			do(t)
			return ctx.Err()
		})
	}
	return group.Wait()
}

// prepare writes the rules files of a mutant, the i-th, and finds the results that it can make a difference to.
func (m *mutator) prepare(t *trial, i int) error {
	t.variants = map[string]variant{}
	for key, set := range m.sets {
		rules := t.Apply(set)
		if len(rules) == 0 {
			continue
		}
		text, err := mutation.File(rules)
		if err != nil {
			return err
		}
		v := variant{file: filepath.Join(m.dir, fmt.Sprintf("%d-%d.yaml", i, len(t.variants)))}
		if err := os.WriteFile(v.file, text, 0o600); err != nil {
			return err
		}
		v.differs, v.untold = map[string][]string{}, map[string]bool{}
		for _, r := range rules {
			before, _ := set.Rule(r.Name)
			v.names = append(v.names, r.Name)
			if condition, ok := mutation.Differs(before, r); ok {
				v.differs[r.Source] = append(v.differs[r.Source], condition)
			} else {
				v.untold[r.Source] = true
			}
		}
		t.variants[key] = v
	}
	for r := range m.results {
		v, ok := t.variants[m.key(r)]
		if ok && slices.ContainsFunc(m.results[r].Case.Captures, func(capture string) bool {
			source := sourceOf(capture)
			return v.untold[source] || len(v.differs[source]) > 0
		}) {
			t.todo = append(t.todo, r)
		}
	}
	return nil
}

// key is which rules files a result's case has of its own.
func (m *mutator) key(result int) string { return strings.Join(m.results[result].Case.Rules, "\x00") }

// firing are the results in which rules fire that the mutant changes, most alerts first.
func (m *mutator) firing(t *trial) []int {
	alerts := map[int]int{}
	for _, r := range t.todo {
		for _, a := range m.came[r] {
			if slices.Contains(t.variants[m.key(r)].names, a.Rule) {
				alerts[r]++
			}
		}
	}
	results := slices.DeleteFunc(slices.Clone(t.todo), func(r int) bool { return alerts[r] == 0 })
	slices.SortStableFunc(results, func(a, b int) int { return alerts[b] - alerts[a] })
	return results
}

// concerned are the mutants to which an event of a case's captures makes a difference, or may.
func (m *mutator) concerned(ctx context.Context, alive []*trial, result int) ([]*trial, error) {
	c := m.results[result].Case
	concerned := map[*trial]bool{}
	err := m.asking(ctx, m.engines[0], c, func(req engine.Request) error {
		source := sourceOf(req.Capture)
		var ask []string
		for _, t := range alive {
			v := t.variants[m.key(result)]
			concerned[t] = concerned[t] || v.untold[source]
			ask = append(ask, v.differs[source]...)
		}
		slices.Sort(ask)
		ask = slices.Compact(ask)
		some, err := m.cache.Met(ctx, m.engines[0], req, ask)
		if err != nil {
			return err
		}
		met := map[string]bool{}
		for i, condition := range ask {
			met[condition] = some[i]
		}
		for _, t := range alive {
			differs := t.variants[m.key(result)].differs[source]
			concerned[t] = concerned[t] || slices.ContainsFunc(differs, func(d string) bool { return met[d] })
		}
		return nil
	})
	return slices.DeleteFunc(slices.Clone(alive), func(t *trial) bool { return !concerned[t] }), err
}

// kill replays the rules that a mutant changes, and no others, on one result's case after the other until one fails.
func (m *mutator) kill(ctx context.Context, t *trial, results []int) {
	for _, r := range results {
		c, v := m.results[r].Case, t.variants[m.key(r)]
		alerts := slices.DeleteFunc(slices.Clone(m.came[r]), func(a verdict.Alert) bool { return slices.Contains(v.names, a.Rule) })
		err := m.each(ctx, m.engines[0], c, func(capture int, req engine.Request) error {
			req.Rules, req.NoText, req.Log = []string{v.file}, true, io.Discard
			came, _, err := m.one(ctx, m.engines[0], req)
			for _, a := range came {
				alerts = append(alerts, verdict.Alert{Alert: a, Capture: capture})
			}
			return err
		})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.fate, t.by = invalid, err.Error()
			return
		}
		slices.SortStableFunc(alerts, func(a, b verdict.Alert) int {
			m, _ := a.EventNumber()
			n, _ := b.EventNumber()
			return cmp.Or(a.Capture-b.Capture, cmp.Compare(m, n))
		})
		if !verdict.Compare(c.Expect, alerts).Passed() {
			t.fate, t.by = killed, c.Name
			return
		}
		t.done(r)
	}
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
		case killed, notTried:
		}
	}
	n := counts(results)
	fmt.Fprintf(&b, "%d mutants: %d killed, %d survived, %d invalid, %d not tried\n", len(results), n[killed], n[survived], n[invalid], n[notTried])
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
		Killed   int      `json:"killed"`
		Survived int      `json:"survived"`
		Invalid  int      `json:"invalid"`
		NotTried int      `json:"not_tried"`
		Mutants  []mutant `json:"mutants"`
	}{n[killed], n[survived], n[invalid], n[notTried], []mutant{}}
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
