// Package lint finds mistakes in rules files: what Falco's loader refuses or warns of, and what it takes but the writer of a
// rule on staging and baseline fields will regret. Every finding has the place, the name of the check, what is wrong and what
// to write instead.
package lint

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/attack"
	"github.com/falco-datastaging/datastaging/e2e/internal/catalogue"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Finding is one mistake.
type Finding struct {
	Pos   ruleset.Position
	Check string // its name in Checks
	Msg   string // what is wrong and what to write instead
}

// Report is what was found in some files.
type Report struct {
	Findings []Finding // by place, each once
	Files    []string
	Rules    int // in those files
	// AuditFields says that a rule names fields of audit events that only Falco's own plugins have.
	AuditFields bool
}

// Linter checks rules files.
type Linter struct {
	fields     *catalogue.Catalogue
	techniques attack.Matrix
}

// New makes a linter.
func New() (*Linter, error) {
	fields, err := catalogue.New()
	if err != nil {
		return nil, err
	}
	return &Linter{fields, attack.Enterprise()}, nil
}

// Files checks rules files that are loaded after others. Findings are about the files alone, errors of loading about all.
func (l *Linter) Files(before, files []ruleset.File) Report {
	set, err := ruleset.Parse(slices.Concat(before, files)...)
	r := run{Linter: l, set: set, macros: map[string]ruleset.Macro{}}
	for _, f := range files {
		r.report.Files = append(r.report.Files, f.Name)
	}
	for _, m := range set.Macros() {
		r.macros[m.Name] = m
	}
	r.checkLoading(err)
	r.checkDefinitions()
	r.checkConditions()
	r.checkOnceKeys()
	for _, rule := range set.Rules() {
		if slices.Contains(r.report.Files, rule.Pos.File) {
			r.report.Rules++
		}
		r.checkEventTypes(rule)
		r.checkForeignFields(rule)
		r.checkThresholds(rule)
		r.checkOrder(rule)
		r.checkHost(rule)
		r.checkExceptions(rule)
		r.checkOutput(rule)
		r.checkTags(rule)
	}
	r.checkDocuments()
	r.report.sort()
	return r.report
}

// run is the check of one set of rules.
type run struct {
	*Linter
	set    *ruleset.Set
	macros map[string]ruleset.Macro
	report Report
}

// find adds a finding in the files that are checked.
func (r *run) find(at ruleset.Position, check, format string, args ...any) {
	if slices.Contains(r.report.Files, at.File) {
		r.add(at, check, fmt.Sprintf(format, args...))
	}
}

func (r *run) add(at ruleset.Position, check, msg string) {
	r.report.Findings = append(r.report.Findings, Finding{at, check, msg})
}

// sort puts the findings of the files first, in their order, and those of documents after them.
func (r *Report) sort() {
	rank := func(f Finding) int {
		if i := slices.Index(r.Files, f.Pos.File); i >= 0 {
			return i
		}
		return len(r.Files)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column),
			cmp.Compare(a.Check, b.Check), cmp.Compare(a.Msg, b.Msg))
	})
	r.Findings = slices.Compact(r.Findings)
}

// Disable drops the findings of some checks.
func (r *Report) Disable(checks ...string) {
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return slices.Contains(checks, f.Check) })
}

// checkOfWarning is the check that a warning of the loader belongs to.
var checkOfWarning = map[ruleset.Code]string{
	ruleset.UnknownKey:         UnknownKey,
	ruleset.UnknownItem:        UnknownKey,
	ruleset.DeprecatedItem:     Deprecated,
	ruleset.UnusedMacro:        Unused,
	ruleset.UnusedList:         Unused,
	ruleset.UnsafeNACheck:      UnsafeNA,
	ruleset.InvalidMacroName:   InvalidName,
	ruleset.InvalidListName:    InvalidName,
	ruleset.ExceptionNotUnique: Exception,
	ruleset.AppendNoValues:     Exception,
	ruleset.NewerEngine:        NewerEngine,
	ruleset.NestedList:         NestedList,
	ruleset.SkippedRule:        LoadError,
}

// checkLoading reports what the loader says. Event types are counted by a check of their own.
func (r *run) checkLoading(err error) {
	for _, err := range split(err) {
		var at *ruleset.Error
		if errors.As(err, &at) {
			r.add(at.Pos, LoadError, at.Msg)
		}
	}
	for _, w := range r.set.Warnings {
		if check, ok := checkOfWarning[w.Code]; ok {
			r.find(w.Pos, check, "%s", w.Msg)
		}
	}
}

// split undoes errors.Join.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// checkDefinitions looks for entries that change nothing, or something by accident.
func (r *run) checkDefinitions() {
	first := map[string]ruleset.Position{}
	for _, d := range r.set.Definitions {
		key := d.Kind + " " + d.Name
		switch {
		case d.Replaces && !d.Known:
			r.find(d.Pos, OverrideNothing, "%s %q replaces nothing, because no file before this one defines it, and Falco takes it for a new one: "+
				"correct its name, load the file that defines it before, or remove \"override\"", d.Kind, d.Name)
		case len(d.Unchanged) > 0:
			r.find(d.Pos, OverrideNothing, "%s %q replaces %s by what it was: remove it", d.Kind, d.Name, strings.Join(d.Unchanged, " and "))
		case d.Known && !d.Appends && !d.Replaces:
			r.find(d.Pos, Redefined, "%s %q is defined already, in %s, and this one takes its place without a word: write \"override\" with what "+
				"is replaced, or give it another name", d.Kind, d.Name, first[key])
		}
		if _, ok := first[key]; !ok {
			first[key] = d.Pos
		}
	}
}

// term is a part of a rule's condition that must hold for the rule to fire.
type term struct {
	expr filter.Expr
	at   int // where it, or the macro that it comes from, stands in the rule's condition
}

// terms returns what a rule's condition joins by "and", in the order in which Falco asks it, out of macros as well.
func (r *run) terms(rule ruleset.Rule) []term { return r.appendTerms(nil, rule.Body, -1) }

// appendTerms takes the place from e where at is negative.
func (r *run) appendTerms(terms []term, e filter.Expr, at int) []term {
	here := at
	if here < 0 {
		here = e.Offset()
	}
	switch e := e.(type) {
	case *filter.And:
		for _, t := range e.Terms {
			terms = r.appendTerms(terms, t, at)
		}
		return terms
	case *filter.Macro:
		if body := r.macros[e.Name].Body; body != nil {
			return r.appendTerms(terms, body, here)
		}
	}
	return append(terms, term{e, here})
}

// checks returns the checks of an expression, those of its macros among them.
func (r *run) checks(e filter.Expr) (out []*filter.Check) {
	filter.Walk(e, func(e filter.Expr) bool {
		switch e := e.(type) {
		case *filter.Check:
			out = append(out, e)
		case *filter.Macro:
			if body := r.macros[e.Name].Body; body != nil {
				out = append(out, r.checks(body)...)
			}
		}
		return true
	})
	return out
}

// fieldsOf returns the fields of a check.
func fieldsOf(c *filter.Check) []*filter.Field {
	return filter.AppendFields(filter.AppendFields(nil, c.Left), c.Right)
}

// asksPlugin reports whether any check has a field of the plugin.
func (r *run) asksPlugin(checks []*filter.Check) bool {
	return slices.ContainsFunc(checks, func(c *filter.Check) bool {
		return slices.ContainsFunc(fieldsOf(c), func(f *filter.Field) bool { return r.fields.IsPlugin(f.Name) })
	})
}
