package ruleset

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
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
	rules  ordered[Rule]
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

func newLoader() *loader {
	return &loader{
		set:    &Set{},
		seen:   map[string]bool{},
		lists:  ordered[list]{names: map[string]*list{}},
		macros: ordered[macro]{names: map[string]*macro{}},
		rules:  ordered[Rule]{names: map[string]*Rule{}},
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
	d := l.define(m, "list", v.name, prev != nil)
	if add {
		d.Appends = true
		prev.items = append(slices.Clone(prev.items), v.items...)
		prev.visible = l.next()
		return
	}
	if d.Replaces = m.has("override"); d.Replaces && prev != nil && slices.Equal(prev.items, v.items) {
		d.Unchanged = []string{"items"}
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
	d := l.define(m, "macro", v.name, prev != nil)
	if add {
		d.Appends = true
		prev.condition.add(condition)
		prev.visible = l.next()
		return
	}
	if d.Replaces = m.has("override"); d.Replaces && prev != nil && sameWords(prev.condition.value, v.condition.value) {
		d.Unchanged = []string{"condition"}
	}
	v.index = l.next()
	v.visible = v.index
	if prev != nil {
		v.index = prev.index
	}
	l.macros.put(v.name, v)
}

// define records an entry that defines or changes something.
func (l *loader) define(m *mapping, kind, name string, known bool) *Definition {
	l.set.Definitions = append(l.set.Definitions, Definition{Kind: kind, Name: name, Pos: m.pos(), Known: known})
	return &l.set.Definitions[len(l.set.Definitions)-1]
}

// sameWords compares texts but for how they are folded into lines.
func sameWords(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

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
func (l *loader) enableRule(m *mapping, prev *Rule) {
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
	l.define(m, "rule", prev.Name, true).Replaces = true
	k, _ := m.find("enabled")
	l.warn(m.file.at(k), DeprecatedItem, `%s: "enabled" alone is deprecated: add "override" with "enabled: replace"`, m.what)
}

func (l *loader) defineRule(m *mapping, prev *Rule, name string) {
	v := Rule{}
	v.condition, v.output = textOf(m.text("condition")), textOf(m.text("output")).trimmed()
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
	v.setTags(m.tags())
	v.Exceptions = l.readExceptions(m, false)
	v.Pos = m.pos()
	for i := range v.Exceptions {
		v.Exceptions[i].complete(m)
	}
	if prev != nil {
		l.checkSource(m, prev, v.Source)
	}
	if m.err == nil {
		l.define(m, "rule", name, prev != nil)
		l.rules.put(name, v)
	}
}

// tags reads a rule's tags with their places.
func (m *mapping) tags() []Tag {
	_, n := m.find("tags")
	items, _ := m.file.sequence(n)
	var tags []Tag
	for i, name := range m.texts("tags") {
		tags = append(tags, Tag{name, m.file.at(m.file.resolve(items[i]))})
	}
	return tags
}

func (r *Rule) setTags(tags []Tag) {
	r.TagsInOrder = tags
	r.Tags = nil
	for _, t := range tags {
		r.Tags = append(r.Tags, t.Name)
	}
	slices.Sort(r.Tags)
	r.Tags = slices.Compact(r.Tags)
}

func (m *mapping) priority() Priority {
	s := m.text("priority")
	p, err := ParsePriority(s.value)
	if err != nil && m.err == nil {
		m.fail(s.node, "%v", err)
	}
	return p
}

func (l *loader) checkSource(m *mapping, prev *Rule, source string) {
	if source != "" && source != prev.Source {
		m.fail(m.node, "is defined with source %s, not %s: give it another name, or that source", prev.Source, source)
	}
}

// appendRule reads the deprecated "append: true": condition and exceptions are appended, all else is ignored.
func (l *loader) appendRule(m *mapping, prev *Rule) {
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
	l.define(m, "rule", prev.Name, true).Appends = true
}

func (l *loader) overrideRule(m *mapping, prev *Rule, source string, appended, replaced []string) {
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
		v.setTags(append(slices.Clone(v.TagsInOrder), m.tags()...))
	case "replace":
		v.setTags(m.tags())
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
	if m.err != nil {
		return
	}
	d := l.define(m, "rule", v.Name, true)
	d.Appends, d.Replaces = len(appended) > 0, len(replaced) > 0
	d.Unchanged = unchanged(prev, &v, replaced)
	*prev = v
}

// unchanged returns the keys whose values are those from before.
func unchanged(before, after *Rule, keys []string) (same []string) {
	equal := map[string]bool{
		"condition":              sameWords(before.condition.value, after.condition.value),
		"output":                 sameWords(before.output.value, after.output.value),
		"desc":                   sameWords(before.Desc, after.Desc),
		"tags":                   slices.Equal(before.Tags, after.Tags),
		"priority":               before.Priority == after.Priority,
		"enabled":                before.Enabled == after.Enabled,
		"capture":                before.Capture == after.Capture,
		"capture_duration":       before.CaptureDuration == after.CaptureDuration,
		"warn_evttypes":          before.WarnEventTypes == after.WarnEventTypes,
		"skip-if-unknown-filter": before.SkipUnknownFilter == after.SkipUnknownFilter,
	}
	for _, key := range keys {
		if equal[key] {
			same = append(same, key)
		}
	}
	return same
}

func (m *mapping) failAt(at Position, format string, args ...any) {
	if m.err == nil {
		m.err = &Error{at, m.what + ": " + fmt.Sprintf(format, args...)}
	}
}
