package ruleset

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// loader collects the definitions of all files, in Falco's terms: an object keeps the place of its first definition (index)
// and the last one that changed it (visible) decides which other objects it sees.
type loader struct {
	set  *Set
	errs []error
	seen map[string]bool // errors by text: a file is compiled again with each that follows

	compileWarnings []Warning // of the last compilation

	lists  ordered[list]
	macros ordered[macro]
	rules  ordered[rule]
	count  int // definitions so far
}

// ordered holds definitions in the order of their first appearance.
type ordered[T any] struct {
	items []*T
	names map[string]*T
}

func (o *ordered[T]) get(name string) *T { return o.names[name] }

func (o *ordered[T]) put(name string, item T) {
	if prev := o.names[name]; prev != nil {
		*prev = item
		return
	}
	o.names[name] = &item
	o.items = append(o.items, &item)
}

type list struct {
	name           string
	items          []string
	pos            Position
	index, visible int
}

type macro struct {
	name           string
	condition      text
	pos            Position
	index, visible int
}

type rule struct {
	Rule      // what needs no compilation
	condition text
	output    text
}

func newLoader() *loader {
	return &loader{
		set:    &Set{},
		seen:   map[string]bool{},
		lists:  ordered[list]{names: map[string]*list{}},
		macros: ordered[macro]{names: map[string]*macro{}},
		rules:  ordered[rule]{names: map[string]*rule{}},
	}
}

// fail keeps an error; nil is none.
func (l *loader) fail(err error) {
	if err != nil && !l.seen[err.Error()] {
		l.seen[err.Error()] = true
		l.errs = append(l.errs, err)
	}
}

func (l *loader) warn(at Position, code Code, format string, args ...any) {
	l.set.Warnings = append(l.set.Warnings, Warning{at, code, fmt.Sprintf(format, args...)})
}

// load reads a file and compiles all definitions so far: like Falco, which gives later files no say in that.
func (l *loader) load(in File) {
	f := &file{in.Name, string(in.Data), map[string]ast.Node{}}
	roots, err := f.documents()
	if err != nil {
		l.fail(err)
		return
	}
	for _, root := range roots {
		items, ok := f.sequence(root)
		if !ok {
			l.fail(f.errorf(root, `a rules file is a list: start each entry with "- "`))
			continue
		}
		for _, item := range items {
			if f.resolve(item) != nil {
				l.fail(l.read(f, item))
			}
		}
	}
	l.compile()
}

var (
	engineKeys    = []string{"required_engine_version"}
	pluginsKeys   = []string{"required_plugin_versions"}
	pluginKeys    = []string{"name", "version", "alternatives"}
	listKeys      = []string{"list", "items", "append", "override"}
	macroKeys     = []string{"macro", "condition", "append", "override"}
	exceptionKeys = []string{"name", "fields", "comps", "values"}

	ruleAppendable  = []string{"condition", "output", "desc", "tags", "exceptions"}
	ruleReplaceable = append(slices.Clone(ruleAppendable),
		"priority", "enabled", "capture", "capture_duration", "warn_evttypes", "skip-if-unknown-filter")
	ruleKeys = append(slices.Clone(ruleReplaceable), "rule", "source", "append", "override")
)

// read reads one entry of a file.
func (l *loader) read(f *file, n ast.Node) error {
	m, ok := f.mapping(n, "entry")
	if !ok {
		return f.errorf(n, "an entry is a mapping: write one like \"- rule: Name\"")
	}
	switch {
	case m.has("required_engine_version"):
		l.readEngine(m)
		l.warnUnknown(m, engineKeys)
	case m.has("required_plugin_versions"):
		l.readPlugins(m)
		l.warnUnknown(m, pluginsKeys)
	case m.has("list"):
		l.readList(m)
		l.warnUnknown(m, listKeys)
	case m.has("macro"):
		l.readMacro(m)
		l.warnUnknown(m, macroKeys)
	case m.has("rule"):
		l.readRule(m)
		l.warnUnknown(m, ruleKeys)
	default:
		l.warn(m.pos(), UnknownItem, "unknown entry: it is ignored; an entry has a key rule, macro, list, "+
			"required_engine_version or required_plugin_versions")
	}
	return m.err
}

func (l *loader) warnUnknown(m *mapping, known []string) {
	keys, names := m.unknownKeys(known)
	for i, key := range keys {
		l.warn(m.file.at(key), UnknownKey, "%s: key %q is unknown and ignored", m.what, names[i])
	}
}

// name reads what an entry defines and calls it that in errors.
func (l *loader) name(m *mapping, kind string) string {
	m.what = kind
	name := m.text(kind).value
	if m.err == nil {
		m.what = fmt.Sprintf("%s %q", kind, name)
	}
	return name
}

func (l *loader) readEngine(m *mapping) {
	m.what = "required_engine_version"
	s := m.text("required_engine_version")
	if m.err != nil {
		return
	}
	var v Version
	if minor, err := strconv.ParseUint(s.value, 0, 32); err == nil {
		v[1] = uint32(minor)
	} else if v, err = ParseVersion(s.value); err != nil {
		m.fail(s.node, "%v", err)
		return
	}
	l.set.engine = append(l.set.engine, engineRequirement{v, m.pos()})
}

func (l *loader) readPlugins(m *mapping) {
	m.what = "required_plugin_versions"
	_, n := m.find("required_plugin_versions")
	entries, ok := m.file.sequence(n)
	if !ok {
		m.fail(n, "is no list: write [{name: NAME, version: 0.1.0}]")
		return
	}
	for _, entry := range entries {
		first, r, ok := l.readPlugin(m, entry)
		if !ok {
			return
		}
		l.warnUnknown(first, pluginKeys)
		alternatives := []ast.Node{}
		if k, n := first.find("alternatives"); k != nil {
			if alternatives, ok = m.file.sequence(n); !ok {
				m.fail(k, "alternatives is no list: write [{name: NAME, version: 0.1.0}]")
				return
			}
		}
		for _, alternative := range alternatives {
			other, more, ok := l.readPlugin(m, alternative)
			if !ok {
				return
			}
			l.warnUnknown(other, pluginKeys)
			name := more.Alternatives[0].Name
			if slices.ContainsFunc(r.Alternatives, func(v PluginVersion) bool { return v.Name == name }) {
				m.fail(alternative, "plugin %s is an alternative to itself: name it once", name)
				return
			}
			r.Alternatives = append(r.Alternatives, more.Alternatives...)
		}
		l.set.plugins = append(l.set.plugins, r)
	}
}

func (l *loader) readPlugin(m *mapping, n ast.Node) (*mapping, PluginRequirement, bool) {
	entry, ok := m.file.mapping(n, m.what)
	if !ok {
		m.fail(n, "an entry is a mapping: write {name: NAME, version: 0.1.0}")
		return nil, PluginRequirement{}, false
	}
	name, version := entry.text("name"), entry.text("version")
	v, err := ParseVersion(version.value)
	if err != nil {
		entry.fail(version.node, "%v", err)
	}
	if entry.err != nil {
		m.err = entry.err
		return nil, PluginRequirement{}, false
	}
	return entry, PluginRequirement{[]PluginVersion{{name.value, v}}, entry.pos()}, true
}

var (
	listName  = regexp.MustCompile(`^[^()"'\s=,]+$`)
	macroName = regexp.MustCompile(`^[a-zA-Z]+[a-zA-Z0-9_]*$`)
)

func (l *loader) readList(m *mapping) {
	v := list{name: l.name(m, "list"), pos: m.pos()}
	if m.err == nil && !listName.MatchString(v.name) {
		l.warn(v.pos, InvalidListName, "%s: no condition can name it: use neither blanks nor any of ()\"'=,", m.what)
	}
	if !m.has("items") {
		m.fail(m.node, `has no "items": add it`)
	}
	v.items = m.texts("items")
	add := l.appends(m, []string{"items"})
	prev := l.lists.get(v.name)
	if add && prev == nil {
		m.fail(m.node, "no list of this name to append to: define it first")
	}
	if m.err != nil {
		return
	}
	if add {
		prev.items = append(slices.Clone(prev.items), v.items...)
		prev.visible = l.next()
		return
	}
	v.index = l.next()
	v.visible = v.index
	if prev != nil {
		v.index = prev.index
	}
	l.lists.put(v.name, v)
}

func (l *loader) readMacro(m *mapping) {
	v := macro{name: l.name(m, "macro"), pos: m.pos()}
	if m.err == nil && !macroName.MatchString(v.name) {
		l.warn(v.pos, InvalidMacroName, "%s: no condition can name it: use letters, digits and _ only, a letter first", m.what)
	}
	condition := m.text("condition")
	v.condition = textOf(condition)
	add := l.appends(m, []string{"condition"})
	prev := l.macros.get(v.name)
	if add && prev == nil {
		m.fail(m.node, "no macro of this name to append to: define it first")
	}
	if m.err != nil {
		return
	}
	if add {
		prev.condition.add(condition)
		prev.visible = l.next()
		return
	}
	v.index = l.next()
	v.visible = v.index
	if prev != nil {
		v.index = prev.index
	}
	l.macros.put(v.name, v)
}

func (l *loader) next() int {
	l.count++
	return l.count
}

// appends reads "append" and "override" of a list or macro, which has one key to override.
func (l *loader) appends(m *mapping, keys []string) bool {
	add := l.appendFlag(m)
	appended, replaced := l.readOverride(m, keys, keys)
	if add && len(appended)+len(replaced) > 0 {
		m.failBoth()
	}
	return add || len(appended) > 0
}

func (l *loader) appendFlag(m *mapping) bool {
	add := m.flag("append", false)
	if add {
		k, _ := m.find("append")
		l.warn(m.file.at(k), DeprecatedItem, `%s: "append" is deprecated: write "override" with "append" for each key`, m.what)
	}
	return add
}

func (m *mapping) failBoth() {
	k, _ := m.find("append")
	m.fail(k, `"append" and "override" cannot be used together: write "override" alone`)
}

// readOverride returns the keys that "override" appends and those that it replaces.
func (l *loader) readOverride(m *mapping, appendable, replaceable []string) (appended, replaced []string) {
	k, n := m.find("override")
	if k == nil || m.file.resolve(n) == nil {
		return nil, nil
	}
	o, ok := m.file.mapping(n, m.what)
	if !ok {
		m.fail(n, `"override" is no mapping: write KEY: append or KEY: replace under it`)
		return nil, nil
	}
	for _, pair := range o.pairs {
		key := o.key(pair)
		operation, _ := m.file.scalar(pair.Value)
		switch operation.value {
		case "append":
			if !slices.Contains(appendable, key) {
				m.fail(pair, "%q cannot be appended to: %s", key, instead(key, replaceable, "replace"))
			}
			appended = append(appended, key)
		case "replace":
			if !slices.Contains(replaceable, key) {
				m.fail(pair, "%q cannot be replaced: %s", key, instead(key, nil, ""))
			}
			replaced = append(replaced, key)
		default:
			m.fail(pair, "override of %q is %q: write append or replace", key, operation.value)
		}
	}
	return appended, replaced
}

func instead(key string, allowed []string, operation string) string {
	if slices.Contains(allowed, key) {
		return "write " + operation
	}
	return "define the whole entry again"
}

func (l *loader) readRule(m *mapping) {
	name := l.name(m, "rule")
	source := scalar{}
	if _, n := m.find("source"); n != nil && m.file.resolve(n) != nil {
		if s, ok := m.file.scalar(n); !ok {
			m.fail(n, `"source" is no text: write a single value`)
		} else {
			source = s
		}
	}
	add := l.appendFlag(m)
	appended, replaced := l.readOverride(m, ruleAppendable, ruleReplaceable)
	if m.err != nil {
		return
	}
	prev := l.rules.get(name)
	switch {
	case len(appended)+len(replaced) > 0:
		if add {
			m.failBoth()
			return
		}
		l.overrideRule(m, prev, source.value, appended, replaced)
	case add:
		if prev == nil {
			m.fail(m.node, "no rule of this name to append to: define it first")
			return
		}
		l.checkSource(m, prev, source.value)
		l.appendRule(m, prev)
	case !slices.ContainsFunc([]string{"condition", "output", "desc", "priority"}, m.has):
		l.enableRule(m, prev)
	default:
		l.defineRule(m, prev, name)
	}
}

// enableRule reads the short form: a name and whether the rule is enabled.
func (l *loader) enableRule(m *mapping, prev *rule) {
	if !m.has("enabled") {
		m.fail(m.node, `has no "condition", "output", "desc" and "priority": add them`)
		return
	}
	enabled := m.flag("enabled", true)
	if prev == nil {
		m.fail(m.node, "no rule of this name to enable or disable: define it first")
	}
	if m.err != nil {
		return
	}
	prev.Enabled = enabled
	k, _ := m.find("enabled")
	l.warn(m.file.at(k), DeprecatedItem, `%s: "enabled" alone is deprecated: add "override" with "enabled: replace"`, m.what)
}

func (l *loader) defineRule(m *mapping, prev *rule, name string) {
	v := rule{condition: textOf(m.text("condition")), output: textOf(m.text("output")).trimmed()}
	v.Name, v.Desc, v.Priority = name, m.text("desc").value, m.priority()
	v.Source = SyscallSource
	if m.has("source") {
		v.Source = m.optional("source").value
	}
	v.Enabled = m.flag("enabled", true)
	v.Capture = m.flag("capture", false)
	v.CaptureDuration = m.number("capture_duration")
	v.WarnEventTypes = m.flag("warn_evttypes", true)
	v.SkipUnknownFilter = m.flag("skip-if-unknown-filter", false)
	v.Tags = sortedSet(m.texts("tags"))
	v.Exceptions = l.readExceptions(m, false)
	v.Pos = m.pos()
	for i := range v.Exceptions {
		v.Exceptions[i].complete(m)
	}
	if prev != nil {
		l.checkSource(m, prev, v.Source)
	}
	if m.err == nil {
		l.rules.put(name, v)
	}
}

func sortedSet(values []string) []string {
	slices.Sort(values)
	return slices.Compact(values)
}

func (m *mapping) priority() Priority {
	s := m.text("priority")
	p, err := ParsePriority(s.value)
	if err != nil && m.err == nil {
		m.fail(s.node, "%v", err)
	}
	return p
}

func (l *loader) checkSource(m *mapping, prev *rule, source string) {
	if source != "" && source != prev.Source {
		m.fail(m.node, "is defined with source %s, not %s: give it another name, or that source", prev.Source, source)
	}
}

// appendRule reads the deprecated "append: true": condition and exceptions are appended, all else is ignored.
func (l *loader) appendRule(m *mapping, prev *rule) {
	if !m.has("condition") && !m.has("exceptions") {
		m.fail(m.node, `appends nothing: add "condition" or "exceptions"`)
	}
	condition := m.optional("condition")
	exceptions := l.readExceptions(m, true)
	merged := appendExceptions(m, prev.Exceptions, exceptions)
	if m.err != nil {
		return
	}
	if condition.value != "" {
		prev.condition.add(condition)
	}
	prev.Exceptions = merged
}

func (l *loader) overrideRule(m *mapping, prev *rule, source string, appended, replaced []string) {
	operation := func(key string) string {
		switch {
		case slices.Contains(appended, key):
			return "append"
		case slices.Contains(replaced, key):
			return "replace"
		}
		return ""
	}
	for _, key := range slices.Concat(appended, replaced) {
		if !m.has(key) {
			m.fail(m.node, "overrides %q, which is not there: add it", key)
		}
	}
	for _, key := range ruleReplaceable {
		if m.has(key) && operation(key) == "" {
			k, _ := m.find(key)
			m.fail(k, "%q has no entry under \"override\": add \"%s: replace\" there", key, key)
		}
	}
	if prev == nil {
		m.fail(m.node, "no rule of this name to override: define it first")
	}
	if m.err != nil {
		return
	}
	if operation("condition") != "" {
		l.checkSource(m, prev, source)
	}
	v := *prev
	v.condition, v.output = prev.condition.clone(), prev.output.clone()
	switch operation("condition") {
	case "append":
		v.condition.add(m.text("condition"))
	case "replace":
		v.condition = textOf(m.text("condition"))
	}
	switch operation("output") {
	case "append":
		v.output.add(m.text("output"))
	case "replace":
		v.output = textOf(m.text("output"))
	}
	switch operation("desc") {
	case "append":
		v.Desc += " " + m.text("desc").value
	case "replace":
		v.Desc = m.text("desc").value
	}
	switch operation("tags") {
	case "append":
		v.Tags = sortedSet(append(slices.Clone(v.Tags), m.texts("tags")...))
	case "replace":
		v.Tags = sortedSet(m.texts("tags"))
	}
	switch operation("exceptions") {
	case "append":
		v.Exceptions = appendExceptions(m, v.Exceptions, l.readExceptions(m, true))
	case "replace":
		v.Exceptions = l.replaceExceptions(m)
	}
	if operation("priority") != "" {
		v.Priority = m.priority()
	}
	// Each key that is there is overridden: checked above.
	v.Enabled = m.flag("enabled", v.Enabled)
	v.Capture = m.flag("capture", v.Capture)
	v.WarnEventTypes = m.flag("warn_evttypes", v.WarnEventTypes)
	v.SkipUnknownFilter = m.flag("skip-if-unknown-filter", v.SkipUnknownFilter)
	if m.has("capture_duration") {
		v.CaptureDuration = m.number("capture_duration")
	}
	if m.err == nil {
		*prev = v
	}
}

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
	fields, comps := []Entry{x.Fields}, []Entry{x.Comps}
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
	if comps = []Entry{x.Comps}; x.Comps.IsList {
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

func (m *mapping) failAt(at Position, format string, args ...any) {
	if m.err == nil {
		m.err = &Error{at, m.what + ": " + fmt.Sprintf(format, args...)}
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
