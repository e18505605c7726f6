package lint

import (
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

const onceField = "staging.once"

// asksOnce reports whether a check has staging.once, which is spent by being asked.
func asksOnce(c *filter.Check) bool {
	return slices.ContainsFunc(fieldsOf(c), func(f *filter.Field) bool { return f.Name == onceField })
}

// checkOnceKeys wants staging.once once, last, and with a key of the rule's own.
func (r *run) checkOnceKeys() {
	owner := map[string]string{}
	for _, rule := range r.set.Rules() {
		all := r.checks(rule.Body)
		uses := slices.DeleteFunc(slices.Clone(all), func(c *filter.Check) bool { return !asksOnce(c) })
		at := rule.ConditionAt(0)
		switch terms := r.terms(rule); {
		case len(uses) == 0:
			if r.asksPlugin(all) {
				r.find(at, Once, "rule %q fires on every event for as long as its condition holds: end it with \"and staging.once[%s] = true\"",
					rule.Name, keyOf(rule.Name))
			}
			continue
		case len(uses) > 1:
			r.find(at, Once, "rule %q asks staging.once %d times, and asking spends it: ask it once, at the end", rule.Name, len(uses))
		default:
			r.checkOnceIsLast(rule, terms)
		}
		for _, use := range uses {
			key, _, _ := strings.Cut(fieldsOf(use)[0].Arg, "/") // what follows is an interval
			if other, ok := owner[key]; ok && other != rule.Name && key != "" {
				r.find(at, OnceKey, "rule %q shares the key %q of staging.once with rule %q, so that one silences the other: write a key of its own, "+
					"such as staging.once[%s]", rule.Name, key, other, keyOf(rule.Name))
			} else if !ok {
				owner[key] = rule.Name
			}
		}
	}
}

func (r *run) checkOnceIsLast(rule ruleset.Rule, terms []term) {
	i := slices.IndexFunc(terms, func(t term) bool { return slices.ContainsFunc(r.checks(t.expr), asksOnce) })
	at := rule.ConditionAt(terms[i].at)
	check, plain := terms[i].expr.(*filter.Check)
	switch {
	case !plain:
		r.find(at, Once, "rule %q asks staging.once inside \"or\" or \"not\", so that events spend it on which the rule does not fire: ask it by itself, "+
			"with \"and\", at the end", rule.Name)
	case !isOnceTrue(check):
		r.find(at, Once, "%s is not how staging.once is asked: write \"%s = true\"", check, check.Left)
	case i < len(terms)-1:
		next := terms[i+1]
		r.find(rule.ConditionAt(next.at), Once, "%s is asked after %s, which has spent the container's alert by then: move it before",
			short(next.expr), check.Left)
	}
}

func isOnceTrue(c *filter.Check) bool {
	v, ok := c.Right.(*filter.Value)
	return ok && v.Text == "true" && (c.Op == "=" || c.Op == "==")
}

// keyOf is a key for a rule: its title in snake case, without the small words.
func keyOf(rule string) string {
	words := strings.FieldsFunc(strings.ToLower(rule), func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') })
	words = slices.DeleteFunc(words, func(w string) bool { return slices.Contains([]string{"in", "from", "to", "a", "the", "container"}, w) })
	return strings.Join(words, "_")
}

// checkExceptions wants those of a rule with staging.once to leave out whole containers.
func (r *run) checkExceptions(rule ruleset.Rule) {
	if !slices.ContainsFunc(r.checks(rule.Body), asksOnce) {
		return
	}
	for _, x := range rule.Exceptions {
		for _, f := range exceptionFields(x) {
			if !describesContainer(f) {
				r.find(x.Pos, Exception, "exception %q asks %s, which changes from event to event, and Falco asks exceptions after the condition, when the excepted "+
					"event has spent staging.once: write fields of the whole container, such as baseline.workload or container.image.repository, "+
					"or leave the event out in a macro that is asked before staging.once", x.Name, f)
			}
		}
	}
}

// exceptionFields are the fields that an exception compares.
func exceptionFields(x ruleset.Exception) (fields []*filter.Field) {
	entries := []ruleset.Entry{x.Fields}
	if x.Fields.IsList {
		entries = x.Fields.List
	}
	for _, e := range entries {
		if operand, err := filter.ParseField(e.Text); err == nil {
			fields = filter.AppendFields(fields, operand)
		}
	}
	return fields
}

// describesContainer reports whether a field has one value for all events of a container.
func describesContainer(f *filter.Field) bool {
	return f.Name == "staging.in_container" || strings.HasPrefix(f.Name, "container.") || strings.HasPrefix(f.Name, "k8s.") ||
		strings.HasPrefix(f.Name, "posture.") || strings.HasPrefix(f.Name, "baseline.") && !f.HasArg
}
