package lint

import (
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/once"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// asksOnce reports whether a check has staging.once, which is spent by being asked.
func asksOnce(c *filter.Check) bool {
	return once.In(c)
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
			k, err := once.Parse(fieldsOf(use)[0].Arg)
			if err != nil {
				continue // told as an argument
			}
			key := k.Name
			if other, ok := owner[key]; ok && other != rule.Name {
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

// checkExceptions wants those of a rule with staging.once to leave out whole containers, or whole workloads where the key is kept for these.
func (r *run) checkExceptions(rule ruleset.Rule) {
	checks := r.checks(rule.Body)
	i := slices.IndexFunc(checks, asksOnce)
	if i < 0 {
		return
	}
	key, _ := once.Parse(fieldsOf(checks[i])[0].Arg)
	for _, x := range rule.Exceptions {
		for _, f := range exceptionFields(x) {
			switch {
			case !describesContainer(f):
				r.find(x.Pos, Exception, "exception %q asks %s, which changes from event to event, and Falco asks exceptions after the condition, when the excepted "+
					"event has spent staging.once: write fields of the whole container, such as baseline.workload or container.image.repository, "+
					"or leave the event out in a macro that is asked before staging.once", x.Name, f)
			case key.Shared && !describesWorkload(f):
				r.find(x.Pos, Exception, "exception %q asks %s, which differs between the containers of a workload, and Falco asks exceptions after the condition, when "+
					"the excepted one has spent staging.once for all of them: write baseline.workload, container.image.repository or posture.reasons, "+
					"or leave the container out in a macro that is asked before staging.once", x.Name, f)
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

// describesWorkload reports whether a field of containers has one value for those that share a key of staging.once.
func describesWorkload(f *filter.Field) bool {
	return strings.HasPrefix(f.Name, "baseline.") || f.Name == "container.image.repository" || f.Name == "posture.reasons" || f.Name == "posture.sensitive"
}

// describesContainer reports whether a field has one value for all events of a container.
func describesContainer(f *filter.Field) bool {
	return f.Name == "staging.in_container" || strings.HasPrefix(f.Name, "container.") || strings.HasPrefix(f.Name, "k8s.") ||
		strings.HasPrefix(f.Name, "posture.") || strings.HasPrefix(f.Name, "baseline.") && !f.HasArg
}
