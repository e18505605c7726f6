package ruleset

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// compiler expands all definitions that a loader has so far.
type compiler struct {
	*loader
	lists  []*compiledList // in definition order
	macros map[string]*compiledMacro
	uses   map[filter.Expr][]string // see Rule.Macros
}

type compiledList struct {
	*list
	items []string // with the items of the lists that it names
	used  bool
}

type compiledMacro struct {
	*macro
	body   filter.Expr // its lists expanded
	expr   filter.Expr // its macros, too
	broken bool        // its error is reported already
	used   bool
}

// errBroken stands for an error that is reported where it is.
var errBroken = errors.New("refers to a macro with an error")

func (l *loader) compile() {
	l.compileWarnings = nil
	c := &compiler{loader: l, macros: map[string]*compiledMacro{}, uses: map[filter.Expr][]string{}}
	c.compileLists()
	c.compileMacros()
	l.set.rules = nil
	for _, r := range l.rules.items {
		c.compileRule(r)
	}
	c.warnUnused()
	l.set.lists, l.set.macros = nil, nil
	for _, v := range c.lists {
		l.set.lists = append(l.set.lists, List{v.name, v.items, v.pos})
	}
	for _, m := range l.macros.items {
		l.set.macros = append(l.set.macros, Macro{m.name, m.condition.value, c.macros[m.name].body, m.pos, m.condition})
	}
}

func (c *compiler) warn(at Position, code Code, format string, args ...any) {
	w := Warning{at, code, fmt.Sprintf(format, args...)}
	if !slices.Contains(c.compileWarnings, w) {
		c.compileWarnings = append(c.compileWarnings, w)
	}
}

func (c *compiler) warnUnused() {
	for _, m := range c.loader.macros.items {
		if !c.macros[m.name].used {
			c.warn(m.pos, UnusedMacro, "macro %q is used by no rule and no macro", m.name)
		}
	}
	for _, v := range c.lists {
		if !v.used {
			c.warn(v.pos, UnusedList, "list %q is used by no rule, macro or list", v.name)
		}
	}
}

// compileLists puts the items of other lists in place of their names. Falco does that one level deep, and only for lists that
// are defined before the last change of the list that names them. What remains is put in place where the list is used, if
// it is defined after.
func (c *compiler) compileLists() {
	used := map[string]bool{}
	for _, def := range c.loader.lists.items {
		v := &compiledList{list: def}
		for _, item := range def.items {
			if ref := c.loader.lists.get(item); ref != nil && ref.index < def.visible {
				used[ref.name] = true
				v.items = append(v.items, ref.items...)
			} else {
				v.items = append(v.items, item)
			}
		}
		c.lists = append(c.lists, v)
	}
	for i, v := range c.lists {
		v.used = used[v.name]
		for _, item := range v.items {
			if j := slices.IndexFunc(c.lists, func(other *compiledList) bool { return other.name == item }); j >= 0 && j <= i {
				c.warn(v.pos, NestedList, "list %q holds the name of list %q too deep inside: Falco leaves it as plain text; "+
					"name the list itself, or define it later", v.name, item)
			}
		}
	}
}

// text is what Falco writes in place of the list's name.
func (v *compiledList) text() string {
	var b strings.Builder
	for _, item := range v.items {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoteItem(item))
	}
	return b.String()
}

// quoteItem quotes an item with a blank, as Falco does. Anything else that needs quotes must bring its own.
func quoteItem(item string) string {
	if strings.Contains(item, " ") && item[0] != '"' && item[0] != '\'' {
		return `"` + item + `"`
	}
	return item
}

// compileMacros parses all macros and then expands each in the others. A macro sees those defined before its last change.
func (c *compiler) compileMacros() {
	for _, def := range c.loader.macros.items {
		m := &compiledMacro{macro: def}
		var err error
		if m.body, err = c.parse(def.condition); err != nil {
			m.broken = true
			c.fail(err)
		}
		m.expr = m.body
		c.macros[def.name] = m
	}
	for _, def := range c.loader.macros.items {
		m := c.macros[def.name]
		if m.broken {
			continue
		}
		expr, err := c.expand(m.expr, def.visible, nil)
		if err != nil {
			m.broken = true
			c.report(err, def.condition)
			continue
		}
		m.expr = expr
	}
}

// report keeps an error of expanding a text.
func (c *compiler) report(err error, t text) {
	var syntax *filter.SyntaxError
	if errors.As(err, &syntax) {
		c.fail(&Error{t.position(syntax.Offset), syntax.Msg})
	}
}

// expand puts the conditions of macros in place of their names: of those defined before visible, or of all where it is 0. The
// error is a *filter.SyntaxError at the name in e, or errBroken.
func (c *compiler) expand(e filter.Expr, visible int, path []string) (filter.Expr, error) {
	return filter.ReplaceMacros(e, func(name *filter.Macro) (filter.Expr, error) {
		m := c.macros[name.Name]
		switch {
		case m == nil && c.loader.lists.get(name.Name) != nil:
			return nil, &filter.SyntaxError{Offset: name.At, Msg: fmt.Sprintf(
				"%q is a list, not a macro: write FIELD in (%[1]s)", name.Name)}
		case m == nil:
			return nil, &filter.SyntaxError{Offset: name.At, Msg: fmt.Sprintf(
				"macro %q is not defined: define it, load its file before this one, or write a whole check like proc.name = %[1]s",
				name.Name)}
		case c.loader.lists.get(name.Name) != nil:
			return nil, &filter.SyntaxError{Offset: name.At, Msg: fmt.Sprintf(
				"%q is both a macro and a list, and Falco writes the list's items here: rename one", name.Name)}
		case visible > 0 && m.index >= visible:
			return nil, &filter.SyntaxError{Offset: name.At, Msg: fmt.Sprintf(
				"macro %q is not defined yet: define it above this macro", name.Name)}
		case slices.Contains(path, name.Name):
			return nil, &filter.SyntaxError{Offset: name.At, Msg: fmt.Sprintf(
				"macro %q refers to itself (%s): break the loop", name.Name, strings.Join(append(path, name.Name), " -> "))}
		case m.broken:
			return nil, errBroken
		}
		m.used = true
		expanded, err := c.expand(m.expr, visible, append(slices.Clone(path), name.Name))
		if syntax := (*filter.SyntaxError)(nil); errors.As(err, &syntax) {
			return nil, &filter.SyntaxError{Offset: name.At, Msg: syntax.Msg}
		}
		if err != nil {
			return nil, err
		}
		return c.use(name.Name, expanded), nil
	})
}

// use is a node that stands for a use of a macro, like what it is expanded to. Each use is a node of its own, but for a check:
// that is the one of the macro's Body, unless the macro is only another name for the macro that has it.
func (c *compiler) use(name string, expanded filter.Expr) filter.Expr {
	names := append([]string{name}, c.uses[expanded]...)
	if _, ok := expanded.(*filter.Check); ok && (len(names) == 1 || len(names) == 2 && names[1] == name) {
		c.uses[expanded] = names[:1]
		return expanded
	}
	use := filter.Copy(expanded)
	c.uses[use] = names
	return use
}

// parse parses a condition and puts the items of lists in place of their names. The error is an *Error.
func (c *compiler) parse(t text) (filter.Expr, error) {
	e, err := filter.Parse(t.value)
	if err == nil {
		for _, check := range filter.Checks(e) {
			if err = c.expandLists(check); err != nil {
				break
			}
		}
	}
	var syntax *filter.SyntaxError
	if errors.As(err, &syntax) {
		return nil, &Error{t.position(syntax.Offset), syntax.Msg}
	}
	return e, err
}

// expandLists changes a check that names lists. Lists are expanded in their order: the items of one may name a later one.
func (c *compiler) expandLists(check *filter.Check) error {
	for _, v := range c.lists {
		if err := v.checkNotInside(check); err != nil {
			return err
		}
		switch right := check.Right.(type) {
		case *filter.List:
			if !slices.ContainsFunc(right.Items, v.isNamedBy) {
				continue
			}
			items, err := filter.ParseItems(v.text())
			if err != nil {
				return v.itemError(right.At, err)
			}
			v.used = true
			expanded := []*filter.Value{}
			for _, item := range right.Items {
				if v.isNamedBy(item) {
					for _, i := range items {
						expanded = append(expanded, &filter.Value{Text: i.Text, Quoted: i.Quoted, At: item.At, List: v.name})
					}
				} else {
					expanded = append(expanded, item)
				}
			}
			check.Right = &filter.List{Items: expanded, At: right.At}
		case *filter.Value:
			if !v.isNamedBy(right) {
				continue
			}
			items, err := filter.ParseItems(v.text())
			if err != nil {
				return v.itemError(right.At, err)
			}
			if len(items) != 1 {
				return &filter.SyntaxError{Offset: right.At, Msg: fmt.Sprintf(
					"list %q stands for one value here and has %d: write in (%[1]s), or quote the text", v.name, len(items))}
			}
			v.used = true
			check.Right = &filter.Value{Text: items[0].Text, Quoted: items[0].Quoted, At: right.At, List: v.name}
		}
	}
	return nil
}

func (v *compiledList) isNamedBy(value *filter.Value) bool {
	return !value.Quoted && value.Text == v.name
}

func (v *compiledList) itemError(at int, err error) error {
	var syntax *filter.SyntaxError
	errors.As(err, &syntax)
	return &filter.SyntaxError{Offset: at, Msg: fmt.Sprintf(
		"list %q (%s) holds an item that is no value: %s; put quotes inside the item, like '\"a=b\"'", v.name, v.pos, syntax.Msg)}
}

// checkNotInside looks for the list's name as a word inside a text, which must be a quoted one then, or inside a field's
// argument: Falco puts the list's items there.
func (v *compiledList) checkNotInside(check *filter.Check) error {
	var texts []*filter.Value
	switch right := check.Right.(type) {
	case *filter.List:
		texts = right.Items
	case *filter.Value:
		texts = []*filter.Value{right}
	}
	for _, t := range texts {
		if v.isWordIn(t.Text) {
			return v.insideError(t.At, "text", t.Text)
		}
	}
	for _, f := range filter.AppendFields(filter.AppendFields(nil, check.Left), check.Right) {
		if v.isWordIn(f.Arg) {
			return v.insideError(f.At, "argument", f.Arg)
		}
	}
	return nil
}

func (v *compiledList) insideError(at int, what, inside string) error {
	return &filter.SyntaxError{Offset: at, Msg: fmt.Sprintf(
		"the %s %q holds the name of list %q, and Falco writes the list's items there: rename the list", what, inside, v.name)}
}

// isWordIn reports whether Falco finds the list's name inside a text: between two of its delimiters.
func (v *compiledList) isWordIn(text string) bool {
	const delimiters = " \t\n\r(),="
	for from := 0; ; {
		i := strings.Index(text[from:], v.name)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(v.name)
		if start > 0 && end < len(text) &&
			strings.IndexByte(delimiters, text[start-1]) >= 0 && strings.IndexByte(delimiters, text[end]) >= 0 {
			return true
		}
		from = start + 1
	}
}

func (c *compiler) compileRule(def *Rule) {
	r := *def
	r.Condition, r.Output = def.condition.value, def.output.value
	condition, err := withExceptions(def)
	if err != nil {
		c.fail(err)
		return
	}
	expr, err := c.parse(condition)
	if err != nil {
		c.fail(err)
		return
	}
	if r.Expr, err = c.expand(expr, 0, nil); err != nil {
		c.report(err, condition)
		if errors.Is(err, errBroken) {
			c.warn(r.Pos, SkippedRule, "rule %q is left out: it refers to a macro with an error", r.Name)
		}
		return
	}
	format := strings.ReplaceAll(r.Output, "%container.info", "")
	if format != r.Output {
		c.warn(def.output.position(0), DeprecatedItem,
			"rule %q: %%container.info is deprecated and reads as nothing: Falco adds the container's fields by itself", r.Name)
	}
	if r.Format, err = ParseFormat(format); err != nil {
		c.report(err, def.output)
		return
	}
	r.EventTypes = filter.AllEventTypes()
	if r.Source == SyscallSource {
		if r.EventTypes, err = filter.TypesOf(r.Expr); err != nil {
			c.fail(&Error{def.condition.position(0), fmt.Sprintf("rule %q: %v", r.Name, err)})
			return
		}
	}
	r.Filter, r.Macros = r.Expr.String(), c.uses
	if r.Body, err = c.parse(def.condition); err != nil {
		r.Body = r.Expr // its exceptions close what its condition leaves open
	}
	c.warnRule(r, def)
	c.set.rules = append(c.set.rules, r)
}

// Fields that an engine without enter events has no use for, since Falco 0.42.
var deprecatedFields = []string{
	"evt.dir", "evt.latency", "evt.latency.s", "evt.latency.ns", "evt.latency.human", "evt.wait_latency",
}

func (c *compiler) warnRule(r Rule, def *Rule) {
	if r.EventTypes.IsBroad() && r.WarnEventTypes && r.Source == SyscallSource {
		c.warn(r.Pos, NoEventType, "rule %q matches too many event types, which is slow: restrict evt.type", r.Name)
	}
	condition, output := r.Fields()
	at := def.condition.position(0)
	for _, f := range condition {
		if slices.Contains(deprecatedFields, f.Name) {
			c.warn(at, DeprecatedItem, "rule %q: %s is deprecated: events have one direction and no latency any more", r.Name, f.Name)
		}
	}
	for _, f := range output {
		if slices.Contains(deprecatedFields, f.Name) {
			c.warn(def.output.position(0), DeprecatedItem, "rule %q: %s in the output is deprecated", r.Name, f.Name)
		}
	}
	for _, check := range filter.Checks(r.Expr) {
		if isUnsafeNA(check) {
			c.warn(at, UnsafeNACheck, "rule %q: %s compares with <NA>, which is no value any more: write exists", r.Name, check)
		}
		if feature, version := newerThanOldest(check); feature != "" {
			c.warn(at, NewerEngine, "rule %q: %s needs an engine with libs %s, which Falco 0.42 has not", r.Name, feature, version)
		}
	}
}

func isUnsafeNA(check *filter.Check) bool {
	f, ok := check.Left.(*filter.Field)
	if !ok || !strings.HasPrefix(f.Name, "ka.") && !strings.HasPrefix(f.Name, "jevt.") {
		return false
	}
	isNA := func(v *filter.Value) bool { return v.Text == missing }
	switch right := check.Right.(type) {
	case *filter.Value:
		return isNA(right) && slices.Contains([]string{"=", "==", "!="}, check.Op)
	case *filter.List:
		return slices.ContainsFunc(right.Items, isNA) && slices.Contains([]string{"in", "intersects", "pmatch"}, check.Op)
	}
	return false
}

// newerThanOldest returns what in a check the oldest supported engine does not know, and since which libs it is known.
func newerThanOldest(check *filter.Check) (feature, libs string) {
	if strings.Contains(check.Op, " ") {
		return "operator " + check.Op, "0.25"
	}
	for _, side := range []filter.Operand{check.Left, check.Right} {
		if t, ok := side.(*filter.Transform); ok && t.IsNewer() {
			return "transformer " + t.String(), "0.24"
		}
	}
	return "", ""
}
