package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
	"github.com/falco-datastaging/datastaging/e2e/internal/catalogue"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// checkConditions looks at each check where it is written, in a macro or in a rule.
func (r *run) checkConditions() {
	for _, m := range r.set.Macros() {
		if m.Body != nil {
			r.checkChecks(m.Body, m.ConditionAt)
		}
	}
	for _, rule := range r.set.Rules() {
		r.checkChecks(rule.Body, rule.ConditionAt)
		for _, x := range rule.Exceptions {
			at := func(int) ruleset.Position { return x.Pos }
			if e := exceptionIn(rule, x.Name); e != nil {
				r.checkChecks(e, at)
				continue
			}
			for _, f := range exceptionFields(x) {
				r.checkField(f, x.Pos)
			}
		}
	}
}

// exceptionIn is what an exception has become in the rule's condition; nil for one without values, or of a rule with an error.
func exceptionIn(rule ruleset.Rule, name string) filter.Expr {
	and, ok := rule.Expr.(*filter.And)
	used := slices.DeleteFunc(slices.Clone(rule.Exceptions), func(x ruleset.Exception) bool { return len(x.Values) == 0 })
	i := slices.IndexFunc(used, func(x ruleset.Exception) bool { return x.Name == name })
	if !ok || i < 0 || len(and.Terms) != len(used)+1 {
		return nil
	}
	if not, ok := and.Terms[1+i].(*filter.Not); ok {
		return not.Term
	}
	return nil
}

func (r *run) checkChecks(body filter.Expr, at func(int) ruleset.Position) {
	for _, c := range filter.Checks(body) {
		for _, f := range fieldsOf(c) {
			r.checkField(f, at(f.At))
		}
		f, ok := c.Left.(*filter.Field)
		if !ok || !r.checkOperator(f, c.Op, at(c.At)) || !isComparison(c.Op) {
			continue
		}
		for _, v := range valuesOf(c.Right) {
			r.checkValue(f, v, at(v.At))
		}
	}
}

// checkOperator looks at whether a field can be compared so. It reports whether it can, as far as is known.
func (r *run) checkOperator(f *filter.Field, op string, at ruleset.Position) bool {
	known, ok := r.fields.Field(f.Name)
	base, _, _ := strings.Cut(op, " ") // before a modifier
	takes := known.Operators()
	if !ok || takes == nil || base == "exists" || slices.Contains(takes, base) {
		return true
	}
	what := "of the type " + known.Type
	if known.List {
		what = "a list"
	}
	r.find(at, FieldOperator, "%s is %s, which %s cannot compare: write one of %s, exists", f.Name, what, op, strings.Join(takes, ", "))
	return false
}

func isComparison(op string) bool {
	return slices.Contains([]string{"=", "==", "!=", "in", "<", "<=", ">", ">=", "intersects"}, op)
}

// valuesOf are the values on the right of a check.
func valuesOf(right filter.Operand) []*filter.Value {
	switch right := right.(type) {
	case *filter.Value:
		return []*filter.Value{right}
	case *filter.List:
		return right.Items
	}
	return nil
}

// checkField looks at a field of a class that is known. Fields of other plugins are looked at where the source is known.
func (r *run) checkField(f *filter.Field, at ruleset.Position) {
	known, ok := r.fields.Field(f.Name)
	switch {
	case ok:
		if problem := known.CheckArg(f.Arg, f.HasArg); problem != "" {
			r.find(at, FieldArgument, "%s", problem)
		}
	case r.fields.HasClass(f.Name):
		r.find(at, UnknownField, "no field is named %s: %s", f.Name, r.instead(f.Name))
	}
}

func (r *run) instead(field string) string {
	if near := r.fields.Nearest(field); near != "" {
		return "write " + near
	}
	if r.fields.IsPlugin(field) {
		return "the README lists the plugin's fields"
	}
	return "falco --list shows those that there are"
}

func (r *run) checkValue(f *filter.Field, v *filter.Value, at ruleset.Position) {
	if isEventType(f) {
		if !r.fields.IsEventType(v.Text) {
			fix := "falco --list-events shows those that there are"
			if near := r.fields.NearestEventType(v.Text); near != "" {
				fix = "write " + near
			}
			r.find(at, UnknownEventType, "no event type is named %q: %s", v.Text, fix)
		}
		return
	}
	known, ok := r.fields.Field(f.Name)
	switch {
	case !ok:
	case len(known.Values) > 0 && !slices.Contains(known.Values, v.Text):
		r.find(at, FieldValue, "%s is never %q: write one of %s", f.Name, v.Text, strings.Join(known.Values, ", "))
	case !known.IsNumber(v.Text):
		r.find(at, FieldValue, "%s is a number, and %q is none: write its digits, without a unit", f.Name, v.Text)
	}
}

func isEventType(f *filter.Field) bool { return f.Name == "evt.type" || f.Name == "syscall.type" }

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 0, 64)
	return err == nil
}

// checkForeignFields looks for fields that events of the rule's source do not have: those of a class that nobody has, and those
// of another source.
func (r *run) checkForeignFields(rule ruleset.Rule) {
	if r.requiresOthers() {
		return
	}
	known := slices.Contains(catalogue.Sources, rule.Source)
	condition, output := rule.Fields()
	for _, f := range slices.Concat(condition, output) {
		field, ok := r.fields.Field(f.Name)
		r.report.AuditFields = r.report.AuditFields || ok && !field.Plugin && field.IsOf(auditlog.Source) && !field.IsOf(ruleset.SyscallSource)
		switch {
		case ok && known && !field.IsOf(rule.Source), ok && !known && !field.Plugin && !strings.HasPrefix(f.Name, "evt."):
			fix := "leave it out"
			if i := slices.IndexFunc(catalogue.Sources, field.IsOf); known && i >= 0 {
				fix += ", or write source: " + catalogue.Sources[i]
			}
			r.find(rule.Pos, UnknownField, "rule %q is about events of the source %s, which have no %s: %s", rule.Name, rule.Source, f.Name, fix)
		case !ok && known && !r.fields.HasClass(f.Name):
			fix := "correct it"
			if near := r.fields.Nearest(f.Name); near != "" {
				fix = "write " + near
			}
			r.find(rule.Pos, UnknownField, "rule %q names the field %s, of a class that neither Falco nor the plugin has: %s, or name the plugin that has it in "+
				"required_plugin_versions", rule.Name, f.Name, fix)
		}
	}
}

// requiresOthers reports whether the files require a plugin whose fields are not known here. The plugins that read the audit logs of
// clouds have the fields of k8saudit.
func (r *run) requiresOthers() bool {
	return slices.ContainsFunc(r.set.RequiredPlugins(), func(p ruleset.PluginRequirement) bool {
		return !slices.ContainsFunc(p.Alternatives, func(v ruleset.PluginVersion) bool {
			return slices.Contains([]string{"datastaging", "container", "json"}, v.Name) || strings.HasPrefix(v.Name, "k8saudit")
		})
	})
}

// maxEventCodes is the number of event codes from which on Falco warns of a rule.
const maxEventCodes = 100

func (r *run) checkEventTypes(rule ruleset.Rule) {
	if rule.Source != ruleset.SyscallSource {
		return
	}
	switch n := r.fields.EventCodes(rule.EventTypes); {
	case rule.EventTypes.Empty():
		r.find(rule.ConditionAt(0), EventTypes, "rule %q matches no event, so it never fires: its checks of evt.type exclude each other; a rule "+
			"that is to be off says \"enabled: false\"", rule.Name)
	case n > maxEventCodes && rule.WarnEventTypes:
		r.find(rule.ConditionAt(0), EventTypes, "rule %q matches %d event types, and Falco %s warns of more than %d, because it asks the rule "+
			"on every one: begin its condition with evt.type in (...)", rule.Name, n, catalogue.Falco, maxEventCodes)
	}
}

// checkThresholds looks for numbers in a rule's own condition.
func (r *run) checkThresholds(rule ruleset.Rule) {
	for _, c := range filter.Checks(rule.Body) {
		f, ok := c.Left.(*filter.Field)
		v, isValue := c.Right.(*filter.Value)
		if !ok || !isValue || !r.fields.IsPlugin(f.Name) || !isNumber(v.Text) || v.Text == "0" {
			continue
		}
		r.find(rule.ConditionAt(c.At), BareThreshold, "the threshold %s can only be tuned by replacing the rule's condition: define a macro with it, and "+
			"write the macro's name here", c)
	}
}

// checkOrder looks for cheap checks behind those of the plugin, among what must hold.
func (r *run) checkOrder(rule ruleset.Rule) {
	var asked *filter.Check
	for _, t := range r.terms(rule) {
		checks := r.checks(t.expr)
		switch {
		case asked == nil && r.asksPlugin(checks):
			asked = checks[slices.IndexFunc(checks, func(c *filter.Check) bool { return r.asksPlugin([]*filter.Check{c}) })]
		case asked != nil && len(checks) > 0 && !r.asksPlugin(checks):
			r.find(rule.ConditionAt(t.at), PluginFirst, "%s is asked after %s, which costs more: move what needs no field of the plugin to the front, "+
				"evt.type and evt.rawtime first", short(t.expr), short(asked))
		}
	}
}

// maxShown is how much of a condition is shown in a message.
const maxShown = 60

func short(e fmt.Stringer) string {
	text := e.String()
	if len(text) > maxShown {
		return text[:maxShown-3] + "..."
	}
	return text
}

// checkHost wants a rule on the plugin's fields to say where it looks: in containers, or outside of them.
func (r *run) checkHost(rule ruleset.Rule) {
	if rule.Source != ruleset.SyscallSource || !r.asksPlugin(r.checks(rule.Body)) {
		return
	}
	if slices.ContainsFunc(r.terms(rule), func(t term) bool { return r.saysWhere(t.expr) }) {
		return
	}
	r.find(rule.ConditionAt(0), Host, "rule %q is about the services of the host as well, where what is normal is something else: add \"and staging.in_container = true\", "+
		"or false for a rule on the host", rule.Name)
}

// saysWhere reports whether what must hold names containers or the host, or holds in containers alone.
func (r *run) saysWhere(e filter.Expr) bool {
	checks := r.checks(e)
	explicit := func(c *filter.Check) bool {
		return slices.ContainsFunc(fieldsOf(c), func(f *filter.Field) bool { return f.Name == "staging.in_container" || f.Name == "container.id" })
	}
	if slices.ContainsFunc(checks, explicit) {
		return true
	}
	if _, negated := e.(*filter.Not); negated {
		return false
	}
	// The host has no posture.
	return len(checks) > 0 && !slices.ContainsFunc(checks, func(c *filter.Check) bool {
		f, ok := c.Left.(*filter.Field)
		v, isValue := c.Right.(*filter.Value)
		return !ok || !strings.HasPrefix(f.Name, "posture.") || !isValue || v.Text != "true" || c.Op != "=" && c.Op != "=="
	})
}
