// Package mutation changes conditions of rules a little, so that people see which changes their cases do not notice.
package mutation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/once"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Changes.
const (
	Drop = "drop" // an operand of an "and" or "or" is left out
	Flip = "flip" // an operand is negated
)

// A Mutant is one change to a rule or macro, wherever the macro is used.
type Mutant struct {
	Macro  bool   // it changes a macro, and else a rule
	Name   string // of the rule or macro
	Change string
	Text   string // the operand, as it is written there
	Pos    ruleset.Position

	path []int // operand by operand from the owner's condition down, not into macros
}

func (m Mutant) String() string {
	kind := "rule"
	if m.Macro {
		kind = "macro"
	}
	return fmt.Sprintf("%s %s: %s %s", kind, m.Name, m.Change, m.Text)
}

// Mutants are all changes of one operand of the rules, also of those that are not enabled, and of their macros. Those of one rule
// or macro are spread evenly, so that the first few change something of each. A macro of a single check has none: its use is an
// operand.
func Mutants(set *ruleset.Set) []Mutant {
	e := enumerator{seen: map[string]bool{}}
	macros := map[string]ruleset.Position{}
	for _, m := range set.Macros() {
		macros[m.Name] = m.Pos
	}
	for _, r := range set.Rules() {
		e.rule, e.macros = r, macros
		e.visit(owner{name: r.Name}, r.Expr)
	}
	var spread []Mutant
	for i := 0; len(spread) < e.count; i++ {
		for _, list := range e.byOwner {
			if i < len(list) {
				spread = append(spread, list[i])
			}
		}
	}
	return spread
}

func runnable(set *ruleset.Set) []ruleset.Rule {
	return slices.DeleteFunc(set.Rules(), func(r ruleset.Rule) bool { return !r.Enabled })
}

// owner is a rule or macro.
type owner struct {
	macro bool
	name  string
}

type enumerator struct {
	rule    ruleset.Rule
	macros  map[string]ruleset.Position
	seen    map[string]bool // macros that were visited in another use
	byOwner [][]Mutant
	count   int
}

// visit notes the mutants of the operands of a condition of an owner, which begins a new list.
func (e *enumerator) visit(o owner, condition filter.Expr) {
	pos := e.rule.Pos
	if o.macro {
		pos = e.macros[o.name]
	}
	at := len(e.byOwner)
	e.byOwner = append(e.byOwner, nil)
	add := func(change string, operand filter.Expr, path []int) {
		e.byOwner[at] = append(e.byOwner[at], Mutant{o.macro, o.name, change, named(operand, e.rule.Macros), pos, slices.Clone(path)})
		e.count++
	}
	var below func(n filter.Expr, path []int)
	operand := func(n filter.Expr, path []int) {
		if names := e.rule.Macros[n]; len(names) > 0 {
			// The one that has the condition: others are only other names for it.
			if name := names[len(names)-1]; !e.seen[name] {
				e.seen[name] = true
				e.visit(owner{true, name}, n)
			}
			return
		}
		below(n, path)
	}
	below = func(n filter.Expr, path []int) {
		for i, t := range operands(n) {
			inner := append(slices.Clone(path), i)
			if _, not := n.(*filter.Not); !not {
				add(Drop, t, inner)
				add(Flip, t, inner)
			}
			operand(t, inner)
		}
	}
	if !o.macro && len(operands(condition)) == 0 {
		add(Flip, condition, nil)
	}
	if o.macro || len(e.rule.Macros[condition]) == 0 {
		below(condition, nil)
	} else {
		operand(condition, nil)
	}
}

func operands(e filter.Expr) []filter.Expr {
	switch e := e.(type) {
	case *filter.And:
		return e.Terms
	case *filter.Or:
		return e.Terms
	case *filter.Not:
		return []filter.Expr{e.Term}
	}
	return nil
}

// named is an operand as it was written: macros by their names.
func named(e filter.Expr, macros map[filter.Expr][]string) string {
	var plain func(filter.Expr) filter.Expr
	plain = func(e filter.Expr) filter.Expr {
		if names := macros[e]; len(names) > 0 {
			return &filter.Macro{Name: names[0]}
		}
		return withOperands(e, func(_ int, t filter.Expr) filter.Expr { return plain(t) })
	}
	return plain(e).String()
}

// withOperands is a node whose operands are what change makes of them; nil leaves one out. What has one operand left
// is that one; what has none is nil.
func withOperands(e filter.Expr, change func(i int, t filter.Expr) filter.Expr) filter.Expr {
	var terms []filter.Expr
	for i, t := range operands(e) {
		if t = change(i, t); t != nil {
			terms = append(terms, t)
		}
	}
	switch e.(type) {
	case *filter.And, *filter.Or:
		switch {
		case len(terms) == 0:
			return nil
		case len(terms) == 1:
			return terms[0]
		}
	}
	switch e.(type) {
	case *filter.And:
		return &filter.And{Terms: terms}
	case *filter.Or:
		return &filter.Or{Terms: terms}
	case *filter.Not:
		return &filter.Not{Term: terms[0]}
	}
	return e
}

// Apply returns the rules of a set that the change makes others, so changed. The set may be another one than the mutant was
// made for: where the rule or macro has another condition there, nothing changes.
func (m Mutant) Apply(set *ruleset.Set) []ruleset.Rule {
	var changed []ruleset.Rule
	for _, r := range runnable(set) {
		done := false
		var visit func(o owner, e filter.Expr, path []int) filter.Expr
		visit = func(o owner, e filter.Expr, path []int) filter.Expr {
			if names := r.Macros[e]; len(names) > 0 {
				o, path = owner{true, names[len(names)-1]}, nil
			}
			if o == (owner{m.Macro, m.Name}) && len(m.path) == 0 && len(path) == 0 {
				done = true
				return flipped(e)
			}
			return withOperands(e, func(i int, t filter.Expr) filter.Expr {
				inner := append(slices.Clone(path), i)
				if o != (owner{m.Macro, m.Name}) || !slices.Equal(inner, m.path) || named(t, r.Macros) != m.Text {
					return visit(o, t, inner)
				}
				done = true
				if m.Change == Drop {
					return nil
				}
				return flipped(t)
			})
		}
		expr := visit(owner{name: r.Name}, r.Expr, nil)
		if !done || expr == nil {
			continue
		}
		r.Expr, r.Filter, r.Macros = expr, expr.String(), nil
		changed = append(changed, r)
	}
	return changed
}

func flipped(e filter.Expr) filter.Expr {
	if not, ok := e.(*filter.Not); ok {
		return not.Term
	}
	return &filter.Not{Term: e}
}

// File is a rules file, in JSON, which YAML includes, of rules as they are expanded: those of many mutants that run in one replay.
// Each mutant's rules are told from those of others by its index, in their names and in the keys of the field with a memory.
func File(mutants [][]ruleset.Rule) ([]byte, error) {
	type entry struct {
		Rule      string   `json:"rule"`
		Desc      string   `json:"desc"`
		Source    string   `json:"source"`
		Condition string   `json:"condition"`
		Output    string   `json:"output"`
		Priority  string   `json:"priority"`
		Tags      []string `json:"tags"`
		Warn      bool     `json:"warn_evttypes"`
		Skip      bool     `json:"skip-if-unknown-filter"`
	}
	entries := []entry{}
	for i, rules := range mutants {
		for _, r := range rules {
			entries = append(entries, entry{
				Rule: strconv.Itoa(i) + separator + r.Name, Desc: "mutant", Source: r.Source, Condition: withOwnKeys(r.Expr, i).String(),
				Output: r.Output, Priority: strings.ToUpper(r.Priority.String()), Tags: append([]string{}, r.Tags...), Skip: r.SkipUnknownFilter,
			})
		}
	}
	return json.Marshal(entries)
}

// separator is between a mutant's index and the name of its rule.
const separator = "#"

// RuleOf tells of a rule of File whose it is, by index, and what its name was.
func RuleOf(name string) (mutant int, rule string, err error) {
	index, rule, ok := strings.Cut(name, separator)
	if mutant, err = strconv.Atoi(index); !ok || err != nil {
		return 0, "", fmt.Errorf("read the alert of a mutant: no mutant has the rule %q", name)
	}
	return mutant, rule, nil
}

// withOwnKeys is a condition with a mutant's own keys.
func withOwnKeys(e filter.Expr, mutant int) filter.Expr {
	c, ok := e.(*filter.Check)
	if !ok {
		return withOperands(e, func(_ int, t filter.Expr) filter.Expr { return withOwnKeys(t, mutant) })
	}
	return once.Apart(c, mutant)
}
