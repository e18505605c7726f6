// Package coverage tells which terms of rules' conditions a set of replays exercises. It knows conditions and what an engine
// says of them, and runs nothing.
package coverage

import (
	"fmt"
	"slices"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Kinds of owners.
const (
	Rule      = "rule"
	Macro     = "macro"
	List      = "list"
	Exception = "exception"
)

// An Owner is what a person wrote and can change: a rule, macro, list or exception, with the terms that it is made of. One
// without terms is used by no rule.
type Owner struct {
	Kind  string
	Name  string
	Rule  string // of an exception: the rule that has it
	Pos   ruleset.Position
	Terms []*Term
}

// A Term is one operand of an "and" or "or", or a whole condition that has neither. A condition is asked from left to right and
// no further than its outcome is open, so a term is asked on the events on which all terms before it leave it open.
//
// A term is exercised when an event on which it is asked meets it, and another one does not. Where a macro is used in
// several places, any of them will do.
type Term struct {
	Text string // as its owner has it: macros by name, lists expanded
	// True and False are the conditions of an event that shows the outcome; any of them will do. A list has no
	// False: that its items match is enough.
	True, False []Condition
	SawTrue     bool
	SawFalse    bool
}

// A Condition is one of an event.
type Condition struct {
	Source string // of the event: syscall, k8s_audit
	Filter string // whole, without macros and lists
}

// Exercised tells whether both outcomes were seen.
func (t *Term) Exercised() bool { return t.SawTrue && (t.SawFalse || len(t.False) == 0) }

// Exercised tells whether all terms are. What no rule uses is not.
func (o *Owner) Exercised() bool {
	return len(o.Terms) > 0 && !slices.ContainsFunc(o.Terms, func(t *Term) bool { return !t.Exercised() })
}

// Owners are the rules of a set, also those that are not enabled, each with its exceptions behind it, then the macros that they
// are made of and those that none uses, then the lists likewise.
func Owners(set *ruleset.Set) []*Owner {
	w := &walker{owners: map[string]*Owner{}}
	for _, r := range set.Rules() {
		w.rule(r)
	}
	for _, m := range set.Macros() {
		w.owner(Macro, m.Name, "").Pos = m.Pos
	}
	for _, l := range set.Lists() {
		w.owner(List, l.Name, "").Pos = l.Pos
	}
	order := []string{Macro, List}
	slices.SortStableFunc(w.list, func(a, b *Owner) int { return slices.Index(order, a.Kind) - slices.Index(order, b.Kind) })
	return w.list
}

// walker collects the terms of rules.
type walker struct {
	current ruleset.Rule
	owners  map[string]*Owner
	list    []*Owner
}

func (w *walker) owner(kind, name, rule string) *Owner {
	key := kind + " " + name + " " + rule
	if o := w.owners[key]; o != nil {
		return o
	}
	o := &Owner{Kind: kind, Name: name, Rule: rule}
	w.owners[key] = o
	w.list = append(w.list, o)
	return o
}

func (w *walker) rule(r ruleset.Rule) {
	w.current = r
	owner := w.owner(Rule, r.Name, "")
	owner.Pos = r.Pos
	used := slices.DeleteFunc(slices.Clone(r.Exceptions), func(x ruleset.Exception) bool { return len(x.Values) == 0 })
	if len(used) == 0 {
		w.condition(owner, r.Expr, nil)
		return
	}
	// The condition, and then each exception as a term that must not hold.
	terms := r.Expr.(*filter.And).Terms
	w.condition(owner, terms[0], nil)
	for i, x := range used {
		o := w.owner(Exception, x.Name, r.Name)
		o.Pos = x.Pos
		w.condition(o, terms[1+i].(*filter.Not).Term, terms[:1+i])
	}
}

// condition notes a whole condition of an owner: its terms, or itself where it is one alone. before is what holds
// where it is asked.
func (w *walker) condition(owner *Owner, e filter.Expr, before []filter.Expr) {
	switch e.(type) {
	case *filter.And, *filter.Or:
		if len(w.current.Macros[e]) == 0 || owner.Kind == Macro {
			w.terms(owner, e, before)
			return
		}
	}
	w.term(owner, e, before)
}

// terms notes the operands of an "and" or "or".
func (w *walker) terms(owner *Owner, e filter.Expr, before []filter.Expr) {
	switch e := e.(type) {
	case *filter.And:
		for i, t := range e.Terms {
			w.term(owner, t, slices.Concat(before, e.Terms[:i]))
		}
	case *filter.Or:
		for i, t := range e.Terms {
			reached := slices.Clone(before)
			for _, other := range e.Terms[:i] {
				reached = append(reached, &filter.Not{Term: other})
			}
			w.term(owner, t, reached)
		}
	}
}

// term notes one operand and what it is made of.
func (w *walker) term(owner *Owner, e filter.Expr, before []filter.Expr) {
	w.note(owner, w.text(e), all(before, e), all(before, &filter.Not{Term: e}))
	w.inside(owner, e, before)
}

// inside notes what an operand is made of: the conditions of the macros that it stands for, or its own operands.
func (w *walker) inside(owner *Owner, e filter.Expr, before []filter.Expr) {
	names := w.current.Macros[e]
	for i, name := range names {
		m := w.owner(Macro, name, "")
		if i+1 < len(names) { // another name for a macro
			w.note(m, names[i+1], all(before, e), all(before, &filter.Not{Term: e}))
		} else {
			owner = m
		}
	}
	switch e := e.(type) {
	case *filter.And, *filter.Or:
		w.terms(owner, e, before)
	case *filter.Not:
		if len(names) > 0 {
			w.note(owner, w.text(&filter.Not{Term: e.Term}), all(before, e), all(before, &filter.Not{Term: e}))
		}
		w.inside(owner, e.Term, before)
	case *filter.Check:
		if len(names) > 0 {
			w.note(owner, e.String(), all(before, e), all(before, &filter.Not{Term: e}))
		}
		w.lists(e, before)
	}
}

// lists notes for each list that a check names that its items match.
func (w *walker) lists(check *filter.Check, before []filter.Expr) {
	var items []*filter.Value
	switch right := check.Right.(type) {
	case *filter.List:
		items = right.Items
	case *filter.Value:
		items = []*filter.Value{right}
	}
	byList := map[string][]*filter.Value{}
	var names []string
	for _, item := range items {
		if item.List == "" {
			continue
		}
		if byList[item.List] == nil {
			names = append(names, item.List)
		}
		byList[item.List] = append(byList[item.List], item)
	}
	for _, name := range names {
		part := *check
		if _, ok := check.Right.(*filter.List); ok {
			part.Right = &filter.List{Items: byList[name]}
		}
		w.note(w.owner(List, name, ""), "its items", all(before, &part), "")
	}
}

// note adds conditions that show the outcomes of a term, which is another one where its owner is used elsewhere, too.
func (w *walker) note(owner *Owner, text, isTrue, isFalse string) {
	i := slices.IndexFunc(owner.Terms, func(t *Term) bool { return t.Text == text })
	if i < 0 {
		owner.Terms = append(owner.Terms, &Term{Text: text})
		i = len(owner.Terms) - 1
	}
	t := owner.Terms[i]
	add := func(to *[]Condition, filter string) {
		if c := (Condition{w.current.Source, filter}); filter != "" && !slices.Contains(*to, c) {
			*to = append(*to, c)
		}
	}
	add(&t.True, isTrue)
	add(&t.False, isFalse)
}

// text is an operand as it was written: macros by their names.
func (w *walker) text(e filter.Expr) string {
	return named(e, w.current.Macros).String()
}

// named puts the names of macros back in place of what they stand for.
func named(e filter.Expr, macros map[filter.Expr][]string) filter.Expr {
	if names := macros[e]; len(names) > 0 {
		return &filter.Macro{Name: names[0]}
	}
	all := func(terms []filter.Expr) []filter.Expr {
		out := make([]filter.Expr, len(terms))
		for i, t := range terms {
			out[i] = named(t, macros)
		}
		return out
	}
	switch e := e.(type) {
	case *filter.And:
		return &filter.And{Terms: all(e.Terms)}
	case *filter.Or:
		return &filter.Or{Terms: all(e.Terms)}
	case *filter.Not:
		return &filter.Not{Term: named(e.Term, macros)}
	}
	return e
}

// all is the condition that all of before and e hold, as text.
func all(before []filter.Expr, e filter.Expr) string {
	if len(before) == 0 {
		return e.String()
	}
	return (&filter.And{Terms: append(slices.Clone(before), e)}).String()
}

// Steps are a rule's condition term by term, as far as it goes without firing: first its checkpoint, the terms in front that name
// event types, then one term more with each step. The first is checkpoint terms long. A rule of one term has no step. One of two of
// which the first names no types begins with what its first field has a value on, and a checkpoint of no terms.
func Steps(r ruleset.Rule) (conditions []string, checkpoint, terms int) {
	and, ok := r.Expr.(*filter.And)
	if !ok {
		return nil, 0, 1
	}
	n := 0
	for n < len(and.Terms)-1 {
		if types, err := filter.TypesOf(and.Terms[n]); err != nil || types.All() {
			break
		}
		n++
	}
	checkpoint = max(n, 1)
	if n == 0 && len(and.Terms) == 2 { // it asks for one thing: as near as something else comes is what that can be asked of
		checks := filter.Checks(and.Terms[0])
		checkpoint, conditions = 0, []string{(&filter.Check{Left: checks[0].Left, Op: "exists"}).String()}
	}
	for i := max(checkpoint, 1); i < len(and.Terms); i++ {
		conditions = append(conditions, all(and.Terms[:i-1], and.Terms[i-1]))
	}
	return conditions, checkpoint, len(and.Terms)
}

func (o *Owner) String() string {
	if o.Kind == Exception {
		return fmt.Sprintf("exception %s of %s", o.Name, o.Rule)
	}
	return o.Kind + " " + o.Name
}
