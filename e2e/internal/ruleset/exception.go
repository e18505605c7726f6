package ruleset

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Exception is one entry of a rule's exceptions.
type Exception struct {
	Name   string
	Fields Entry // one field, or a list of them
	Comps  Entry // the operator of each field
	Values []Entry
	Pos    Position
}

// Entry is a text or a list of entries.
type Entry struct {
	IsList bool
	Text   string
	List   []Entry
}

func (e Entry) isEmpty() bool { return e.IsList && len(e.List) == 0 || !e.IsList && e.Text == "" }

// readExceptions reads a rule's exceptions. Where they are appended, they may leave out their fields.
func (l *loader) readExceptions(m *mapping, appended bool) []Exception {
	k, n := m.find("exceptions")
	if k == nil || m.file.resolve(n) == nil {
		return nil
	}
	entries, ok := m.file.sequence(n)
	if !ok {
		m.fail(n, `"exceptions" is no list: write "- name: NAME" for each`)
		return nil
	}
	var exceptions []Exception
	for _, entry := range entries {
		e, ok := m.file.mapping(entry, m.what)
		if !ok {
			m.fail(entry, `an exception is a mapping: write "name: NAME", "fields" and "values"`)
			return nil
		}
		x := Exception{Name: e.text("name").value, Pos: e.pos()}
		e.what = fmt.Sprintf("%s: exception %q", m.what, x.Name)
		if slices.ContainsFunc(exceptions, func(other Exception) bool { return other.Name == x.Name }) {
			l.warn(x.Pos, ExceptionNotUnique, "%s is there twice: both hold, but only the first can be appended to", e.what)
		}
		if !e.has("fields") && !appended {
			e.fail(e.node, `has no "fields": add it`)
		}
		x.Fields, x.Comps = e.entry("fields"), e.entry("comps")
		if k, n := e.find("values"); k != nil {
			values, ok := m.file.sequence(n)
			if !ok {
				e.fail(k, `"values" is no list: write [a, b]`)
			}
			for _, value := range values {
				x.Values = append(x.Values, e.entryOf(value, 0))
			}
		} else if appended {
			l.warn(x.Pos, AppendNoValues, "%s appends no values", e.what)
		}
		l.warnUnknown(e, exceptionKeys)
		if e.err != nil {
			m.err = e.err
			return nil
		}
		exceptions = append(exceptions, x)
	}
	return exceptions
}

// replaceExceptions reads exceptions that take the place of all others. Falco completes and checks them no further, and
// reads beyond their operators when the rule is compiled, so they must be whole.
func (l *loader) replaceExceptions(m *mapping) []Exception {
	exceptions := l.readExceptions(m, false)
	for i := range exceptions {
		x := &exceptions[i]
		if x.Comps.isEmpty() {
			m.failAt(x.Pos, `exception %q replaces others without "comps", which Falco does not complete here: add it`, x.Name)
		}
		x.complete(m)
	}
	return exceptions
}

// appendExceptions returns the exceptions with others appended: values of an exception that is there, or a new one.
func appendExceptions(m *mapping, exceptions, more []Exception) []Exception {
	out := slices.Clone(exceptions)
	for _, x := range more {
		i := slices.IndexFunc(out, func(other Exception) bool { return other.Name == x.Name })
		switch {
		case i < 0 && len(x.Values) == 0:
			m.failAt(x.Pos, `exception %q is new and has no "values": add it`, x.Name)
		case i < 0:
			x.complete(m)
			out = append(out, x)
		case !x.Fields.isEmpty():
			m.failAt(x.Pos, `exception %q is defined already: append "values" alone, without "fields"`, x.Name)
		case !x.Comps.isEmpty():
			m.failAt(x.Pos, `exception %q is defined already: append "values" alone, without "comps"`, x.Name)
		default:
			out[i].Values = append(slices.Clone(out[i].Values), x.Values...)
		}
	}
	return out
}

// complete fills in the default operators and checks fields and operators.
func (x *Exception) complete(m *mapping) {
	fields := []Entry{x.Fields}
	if x.Fields.IsList {
		fields = x.Fields.List
	}
	switch {
	case x.Fields.isEmpty():
		m.failAt(x.Pos, `exception %q has no "fields": add it`, x.Name)
		return
	case x.Comps.isEmpty() && x.Fields.IsList:
		x.Comps = Entry{IsList: true, List: slices.Repeat([]Entry{{Text: "="}}, len(fields))}
	case x.Comps.isEmpty():
		x.Comps = Entry{Text: "in"}
	case x.Comps.IsList != x.Fields.IsList:
		m.failAt(x.Pos, `exception %q: "fields" and "comps" must both be lists or both single values`, x.Name)
		return
	}
	comps := []Entry{x.Comps}
	if x.Comps.IsList {
		comps = slices.Clone(x.Comps.List)
	}
	if len(fields) != len(comps) {
		m.failAt(x.Pos, `exception %q has %d "fields" and %d "comps": give each field one`, x.Name, len(fields), len(comps))
		return
	}
	for i := range comps {
		comps[i].Text = strings.Trim(comps[i].Text, " \t\r\n")
		if op := comps[i].Text; !filter.IsOperator(op) || op == "exists" {
			m.failAt(x.Pos, `exception %q: %q is no operator: write one like =, in or startswith`, x.Name, op)
		} else if !x.Fields.IsList && !filter.IsListOperator(op) {
			m.failAt(x.Pos, `exception %q: %q does not take the values of a single field: write in, pmatch or intersects, or put `+
				`"fields" in a list`, x.Name, op)
		}
		if _, err := filter.ParseField(fields[i].Text); err != nil {
			m.failAt(x.Pos, `exception %q: %q is no field: write one like proc.name`, x.Name, fields[i].Text)
		}
	}
	if x.Comps.IsList {
		x.Comps.List = comps
	} else {
		x.Comps = comps[0]
	}
}

// entry reads an optional text or list of an exception.
func (m *mapping) entry(key string) Entry {
	k, n := m.find(key)
	if k == nil {
		return Entry{}
	}
	return m.entryOf(n, 0)
}

// maxEntryDepth is more than any condition has a use for: values, of a field, as a list.
const maxEntryDepth = 4

func (m *mapping) entryOf(n ast.Node, depth int) Entry {
	if depth > maxEntryDepth {
		m.fail(n, "lists nest too deep: write [[a, b], c]")
		return Entry{}
	}
	if items, ok := m.file.sequence(n); ok {
		e := Entry{IsList: true}
		for _, item := range items {
			e.List = append(e.List, m.entryOf(item, depth+1))
		}
		return e
	}
	s, ok := m.file.scalar(n)
	switch {
	case !ok:
		m.fail(n, "expected a text or a list: write a or [a, b]")
	case s.value == "":
		m.fail(n, "an empty text is no value: remove it")
	}
	return Entry{Text: s.value}
}

// withExceptions returns the rule's condition with its exceptions as conditions, written as Falco writes them.
func withExceptions(def *Rule) (text, error) {
	t := def.condition.clone()
	if len(def.Exceptions) == 0 {
		return t, nil
	}
	t.enclose()
	for _, x := range def.Exceptions {
		condition, err := x.condition()
		if err != nil {
			return t, &Error{x.Pos, fmt.Sprintf("rule %q: exception %q: %v", def.Name, x.Name, err)}
		}
		if condition != "" {
			t.write(" and not "+condition, x.Pos)
		}
	}
	return t, nil
}

// condition is "" where the exception has no values.
func (x Exception) condition() (string, error) {
	if len(x.Values) == 0 {
		return "", nil
	}
	parts := make([]string, len(x.Values))
	for i, value := range x.Values {
		if !x.Fields.IsList {
			if value.IsList {
				return "", errors.New("a value of a single field is a list: write the values one by one, without brackets around them")
			}
			parts[i] = quoteItem(value.Text)
			continue
		}
		if len(value.List) != len(x.Fields.List) {
			return "", fmt.Errorf("a value has %d parts for %d fields: write [a, b] with one part for each field",
				len(value.List), len(x.Fields.List))
		}
		checks := make([]string, len(value.List))
		for k, part := range value.List {
			text, err := operandText(x.Comps.List[k].Text, part)
			if err != nil {
				return "", err
			}
			checks[k] = x.Fields.List[k].Text + " " + x.Comps.List[k].Text + " " + text
		}
		parts[i] = "(" + strings.Join(checks, " and ") + ")"
	}
	if !x.Fields.IsList {
		return "(" + x.Fields.Text + " " + x.Comps.Text + " (" + strings.Join(parts, ", ") + "))", nil
	}
	return "(" + strings.Join(parts, " or ") + ")", nil
}

// operandText is the right side of one check of an exception.
func operandText(op string, value Entry) (string, error) {
	if value.IsList {
		items := make([]string, len(value.List))
		for i, item := range value.List {
			if item.IsList {
				return "", errors.New("lists nest too deep: write [[a, b], c]")
			}
			items[i] = quoteItem(item.Text)
		}
		return "(" + strings.Join(items, ", ") + ")", nil
	}
	if !filter.IsListOperator(op) {
		return quoteItem(value.Text), nil
	}
	if strings.HasPrefix(value.Text, "(") {
		return value.Text, nil
	}
	return "(" + value.Text + ")", nil
}
