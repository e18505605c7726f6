package ruleset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// rest completes a rule of which a test shows the name, the condition and what it is about.
const rest = "  output: o\n  desc: d\n  priority: INFO\n"

func ruleText(condition string) string {
	return "- rule: r\n  condition: " + condition + "\n" + rest
}

// parse parses files named a.yaml, b.yaml, ...
func parse(texts ...string) (*Set, error) {
	var files []File
	for i, text := range texts {
		files = append(files, File{string(rune('a'+i)) + ".yaml", []byte(text)})
	}
	return Parse(files...)
}

func TestFilters(t *testing.T) {
	tests := []struct {
		name  string
		files []string
		want  string
	}{
		{"a condition without lists and macros is the filter", []string{ruleText("evt.type=open and proc.name=sh")},
			"evt.type = open and proc.name = sh"},

		{"a list puts its items among the values", []string{ruleText("proc.name in (zsh, shells, ksh)") +
			"- list: shells\n  items: [sh, bash]\n"}, "proc.name in (zsh, sh, bash, ksh)"},
		{"a list without items leaves none", []string{ruleText("proc.name in (empty) or proc.name in (a, empty, b) or proc.name in (empty, c)") +
			"- list: empty\n  items: []\n"}, "proc.name in () or proc.name in (a, b) or proc.name in (c)"},
		{"items with blanks are quoted", []string{ruleText("proc.cmdline in (l)") +
			"- list: l\n  items: [a b, '\"c d\"', \"'e f'\"]\n"}, `proc.cmdline in ("a b", "c d", "e f")`},
		{"numbers are items as they are written", []string{ruleText("fd.sport in (l)") +
			"- list: l\n  items: [22, 0x1F, 010, 1.50, true]\n"}, "fd.sport in (22, 0x1F, 010, 1.50, true)"},
		{"an item may bring its own quotes", []string{ruleText("proc.args in (l)") +
			"- list: l\n  items: ['\"a=b\"', '\"(x)\"']\n"}, `proc.args in ("a=b", "(x)")`},
		{"a list may name lists", []string{ruleText("proc.name in (all)") +
			"- list: one\n  items: [a]\n- list: two\n  items: [b, c]\n- list: all\n  items: [one, x, two]\n"}, "proc.name in (a, x, b, c)"},
		{"a list may name a later list", []string{ruleText("proc.name in (all)") +
			"- list: all\n  items: [one, x]\n- list: one\n  items: [a]\n"}, "proc.name in (a, x)"},
		{"lists nest deeper where each names a later one", []string{ruleText("proc.name in (one)") +
			"- list: one\n  items: [two]\n- list: two\n  items: [three]\n- list: three\n  items: [x]\n"}, "proc.name in (x)"},
		{"the second level down is plain text where each names an earlier one", []string{ruleText("proc.name in (three)") +
			"- list: one\n  items: [x]\n- list: two\n  items: [one]\n- list: three\n  items: [two]\n"}, "proc.name in (one)"},
		{"a list that names itself keeps the name", []string{ruleText("proc.name in (l)") + "- list: l\n  items: [l, a]\n"},
			"proc.name in (l, a)"},
		{"a list is no part of a longer word", []string{ruleText("proc.name in (shells-x, my.shells, shells2)") +
			"- list: shells\n  items: [sh]\n"}, "proc.name in (shells-x, my.shells, shells2)"},
		{"a quoted name is text", []string{ruleText(`proc.name in ("shells")`) + "- list: shells\n  items: [sh]\n"}, `proc.name in ("shells")`},
		{"a list of one stands for a value", []string{ruleText("proc.name = shell and proc.pname in shell") + "- list: shell\n  items: [sh]\n"},
			"proc.name = sh and proc.pname in sh"},
		{"lists serve every list operator", []string{ruleText("fd.name pmatch (l) and proc.aname intersects (l) and fd.name startswith oneof (l)") +
			"- list: l\n  items: [/a, /b]\n"}, "fd.name pmatch (/a, /b) and proc.aname intersects (/a, /b) and fd.name startswith oneof (/a, /b)"},
		{"lists reach into macros", []string{ruleText("m") + "- macro: m\n  condition: proc.name in (l)\n- list: l\n  items: [a]\n"},
			"proc.name in (a)"},

		{"a macro stands as one term", []string{ruleText("m and proc.name = a") + "- macro: m\n  condition: a.b = 1 or a.b = 2\n"},
			"(a.b = 1 or a.b = 2) and proc.name = a"},
		{"a negated macro is negated as a whole", []string{ruleText("not m") + "- macro: m\n  condition: a.b = 1 and a.b = 2\n"},
			"not (a.b = 1 and a.b = 2)"},
		{"macros nest", []string{ruleText("n") + "- macro: m\n  condition: a.b = 1 or a.b = 2\n- macro: n\n  condition: m and not m\n"},
			"(a.b = 1 or a.b = 2) and not (a.b = 1 or a.b = 2)"},
		{"a macro name is no value, argument or part of a word", []string{ruleText("proc.name = m and evt.arg[m] = mm and m") +
			"- macro: m\n  condition: a.b = 1\n"}, "proc.name = m and evt.arg[m] = mm and a.b = 1"},
		{"a rule may come before its macro", []string{ruleText("m") + "- macro: m\n  condition: a.b = 1\n"}, "a.b = 1"},
		{"a macro defined again is another", []string{"- macro: m\n  condition: a.b = 1\n" + ruleText("m"), "- macro: m\n  condition: a.b = 2\n"},
			"a.b = 2"},
		{"a macro defined again changes macros that name it", []string{"- macro: m\n  condition: a.b = 1\n- macro: n\n  condition: not m\n" +
			ruleText("n"), "- macro: m\n  condition: a.b = 2\n"}, "not a.b = 2"},
		{"a macro sees those that were there at its last change", []string{"- macro: n\n  condition: a.b = 1\n- macro: m\n  condition: a.b = 2\n" +
			"- macro: n\n  condition: and m\n  override: {condition: append}\n" + ruleText("n")}, "a.b = 1 and a.b = 2"},

		{"a list is appended to", []string{ruleText("proc.name in (l)") + "- list: l\n  items: [a]\n",
			"- list: l\n  items: [b]\n  override: {items: append}\n", "- list: l\n  items: [c]\n  append: true\n"}, "proc.name in (a, b, c)"},
		{"a list is replaced", []string{ruleText("proc.name in (l)") + "- list: l\n  items: [a]\n",
			"- list: l\n  items: [b]\n  override: {items: replace}\n"}, "proc.name in (b)"},
		{"a list may be replaced before it is defined", []string{ruleText("proc.name in (l)") +
			"- list: l\n  items: [b]\n  override: {items: replace}\n"}, "proc.name in (b)"},
		{"a macro is appended to as text", []string{ruleText("m") + "- macro: m\n  condition: a.b = 1 or a.b = 2\n" +
			"- macro: m\n  condition: and a.b = 3\n  append: true\n"}, "a.b = 1 or a.b = 2 and a.b = 3"},
		{"a macro is replaced", []string{ruleText("m") + "- macro: m\n  condition: a.b = 1\n" +
			"- macro: m\n  condition: a.b = 3\n  override: {condition: replace}\n"}, "a.b = 3"},
		{"a condition is appended to as text", []string{ruleText("a.b = 1 or a.b = 2") +
			"- rule: r\n  condition: and a.b = 3\n  override: {condition: append}\n"}, "a.b = 1 or a.b = 2 and a.b = 3"},
		{"the old append does the same", []string{ruleText("a.b = 1") + "- rule: r\n  condition: and a.b = 3\n  append: true\n"},
			"a.b = 1 and a.b = 3"},
		{"a condition is replaced", []string{ruleText("a.b = 1") + "- rule: r\n  condition: a.b = 3\n  override: {condition: replace}\n"},
			"a.b = 3"},
		{"a rule defined again replaces the first", []string{ruleText("a.b = 1") + ruleText("a.b = 2")}, "a.b = 2"},
		{"a source that is left empty fits any", []string{ruleText("a.b = 1") + "- rule: r\n  condition: and a.b = 3\n  source:\n  append: true\n"},
			"a.b = 1 and a.b = 3"},

		{"an exception of one field compares with all its values", []string{ruleText("evt.type = open") +
			"  exceptions: [{name: x, fields: proc.name, values: [a, b c]}]\n"}, `evt.type = open and not proc.name in (a, "b c")`},
		{"an exception of one field takes another list operator", []string{ruleText("evt.type = open") +
			"  exceptions: [{name: x, fields: fd.name, comps: pmatch, values: [/a, /b]}]\n"}, "evt.type = open and not fd.name pmatch (/a, /b)"},
		{"an exception of several fields compares tuples", []string{ruleText("evt.type = open") +
			"  exceptions: [{name: x, fields: [proc.name, fd.name], comps: [=, startswith], values: [[a, /b], [c d, /e]]}]\n"},
			`evt.type = open and not (proc.name = a and fd.name startswith /b or proc.name = "c d" and fd.name startswith /e)`},
		{"an exception of several fields compares by = unless told", []string{ruleText("evt.type = open") +
			"  exceptions: [{name: x, fields: [proc.name, fd.name], values: [[a, b]]}]\n"},
			"evt.type = open and not (proc.name = a and fd.name = b)"},
		{"an exception's list operator takes a list or one value", []string{ruleText("evt.type = open") +
			"  exceptions: [{name: x, fields: [proc.name, fd.name], comps: [in, in], values: [[[a, b], c]]}]\n"},
			"evt.type = open and not (proc.name in (a, b) and fd.name in (c))"},
		{"an exception's value may be a list with its parentheses", []string{ruleText("evt.type = open") +
			"  exceptions: [{name: x, fields: [proc.name], comps: [in], values: [['(a, b)']]}]\n"},
			"evt.type = open and not proc.name in (a, b)"},
		{"an exception may name a list", []string{ruleText("evt.type = open") +
			"  exceptions: [{name: x, fields: [proc.name], comps: [in], values: [[l]]}, {name: y, fields: fd.name, values: [l]}]\n" +
			"- list: l\n  items: [a, b]\n"}, "evt.type = open and not proc.name in (a, b) and not fd.name in (a, b)"},
		{"an exception's fields and values take transformers", []string{ruleText("evt.type = open") +
			"  exceptions: [{name: x, fields: [tolower(proc.name)], comps: ['='], values: [[toupper(proc.pname)]]}]\n"},
			"evt.type = open and not tolower(proc.name) = toupper(proc.pname)"},
		{"an exception's operator takes a modifier", []string{ruleText("evt.type = open") +
			"  exceptions: [{name: x, fields: [proc.name], comps: [' startswith oneof '], values: [[[a, b]], [c]]}]\n"},
			"evt.type = open and not (proc.name startswith oneof (a, b) or proc.name startswith oneof (c))"},
		{"an exception without values excepts nothing", []string{ruleText("a.b = 1 or a.b = 2") +
			"  exceptions: [{name: x, fields: [proc.name]}, {name: y, fields: fd.name, values: []}]\n"}, "a.b = 1 or a.b = 2"},
		{"a condition with an exception stands as one term", []string{ruleText("a.b = 1 or a.b = 2") +
			"  exceptions: [{name: x, fields: proc.name, values: [a]}]\n"}, "(a.b = 1 or a.b = 2) and not proc.name in (a)"},
		{"empty exceptions are allowed", []string{ruleText("a.b = 1") + "  exceptions:\n"}, "a.b = 1"},
		{"values are appended to an exception", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: proc.name, values: [a]}]\n",
			"- rule: r\n  exceptions: [{name: x, values: [b]}]\n  override: {exceptions: append}\n",
			"- rule: r\n  exceptions: [{name: x, values: [c]}]\n  append: true\n"}, "a.b = 1 and not proc.name in (a, b, c)"},
		{"an exception is appended", []string{ruleText("a.b = 1"),
			"- rule: r\n  exceptions: [{name: x, fields: proc.name, values: [b]}]\n  override: {exceptions: append}\n"},
			"a.b = 1 and not proc.name in (b)"},
		{"exceptions are replaced", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: proc.name, values: [a]}]\n",
			"- rule: r\n  exceptions: [{name: y, fields: fd.name, comps: in, values: [b]}]\n  override: {exceptions: replace}\n"},
			"a.b = 1 and not fd.name in (b)"},
		{"a condition appended later stays inside the exceptions' parentheses", []string{ruleText("a.b = 1") +
			"  exceptions: [{name: x, fields: proc.name, values: [a]}]\n", "- rule: r\n  condition: or a.b = 2\n  override: {condition: append}\n"},
			"(a.b = 1 or a.b = 2) and not proc.name in (a)"},

		{"anchors and aliases stand for each other", []string{"- list: one\n  items: &items [a, b]\n- list: two\n  items: *items\n" +
			ruleText("proc.name in (two) and fd.name in (one)")}, "proc.name in (a, b) and fd.name in (a, b)"},
		{"a file may hold several documents", []string{"# one\n---\n- list: l\n  items: [a]\n---\n# empty\n---\n" + ruleText("proc.name in (l)")}, "proc.name in (a)"},
		{"Windows line ends do not matter", []string{strings.ReplaceAll("- rule: r\n  condition: >\n    a.b = 1\n    and a.b = 2\n"+rest, "\n", "\r\n")},
			"a.b = 1 and a.b = 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parse(tt.files...)
			require.NoError(t, err)
			r, ok := s.Rule("r")
			require.True(t, ok)
			assert.Equal(t, tt.want, r.Filter)
			again, err := filter.Parse(r.Filter)
			require.NoError(t, err)
			assert.Equal(t, r.Filter, again.String())
		})
	}
}

func TestRuleHoldsEveryKey(t *testing.T) {
	s, err := parse(`- rule: Write below /tmp
  desc: >
    Some text
    on two lines
  condition: evt.type = open and fd.name startswith /tmp and evt.arg[flags] exists
  output: >
    written (file=%fd.name by=%proc.aname[2])
  priority: Warning
  source: syscall
  tags: [T1074.002, mitre_collection, T1074.002]
  enabled: no
  warn_evttypes: false
  skip-if-unknown-filter: true
  capture: true
  capture_duration: 5000
  exceptions:
  - name: x
    fields: proc.name
    values: [a]
`)
	require.NoError(t, err)
	assert.Empty(t, s.Warnings)
	r := s.Rules()[0]
	assert.Equal(t, "Write below /tmp", r.Name)
	assert.Equal(t, "Some text on two lines\n", r.Desc)
	assert.Equal(t, "evt.type = open and fd.name startswith /tmp and evt.arg[flags] exists", r.Condition)
	assert.Equal(t, "written (file=%fd.name by=%proc.aname[2])", r.Output, "blanks at the end are dropped")
	assert.Equal(t, PriorityWarning, r.Priority)
	assert.Equal(t, "syscall", r.Source)
	assert.Equal(t, []string{"T1074.002", "mitre_collection"}, r.Tags)
	assert.False(t, r.Enabled)
	assert.False(t, r.WarnEventTypes)
	assert.True(t, r.SkipUnknownFilter)
	assert.True(t, r.Capture)
	assert.EqualValues(t, 5000, r.CaptureDuration)
	assert.Equal(t, []Exception{{
		Name: "x", Fields: Entry{Text: "proc.name"}, Comps: Entry{Text: "in"}, Values: []Entry{{Text: "a"}}, Pos: Position{"a.yaml", 17, 5},
	}}, r.Exceptions)
	assert.Equal(t, Position{"a.yaml", 1, 3}, r.Pos)
	assert.Equal(t, "open", r.EventTypes.String())
	condition, output := r.Fields()
	assert.Equal(t, []string{"evt.type", "fd.name", "evt.arg[flags]", "proc.name"}, names(condition))
	assert.Equal(t, []string{"fd.name", "proc.aname[2]"}, names(output))
}

func names(fields []*filter.Field) []string {
	var out []string
	for _, f := range fields {
		out = append(out, f.String())
	}
	return out
}

func TestRuleDefaults(t *testing.T) {
	s, err := parse(ruleText("evt.type = open"))
	require.NoError(t, err)
	r := s.Rules()[0]
	assert.True(t, r.Enabled)
	assert.True(t, r.WarnEventTypes)
	assert.Equal(t, "syscall", r.Source)
	assert.Empty(t, r.Tags)
	assert.False(t, r.Capture)
	assert.False(t, r.SkipUnknownFilter)
}

func TestOverrideChangesEachKey(t *testing.T) {
	first := `- rule: r
  desc: first
  condition: evt.type = open
  output: one
  priority: INFO
  tags: [a]
  enabled: false
`
	tests := []struct {
		name   string
		second string
		check  func(t *testing.T, r Rule)
	}{
		{"an output is appended to after a blank", "output: two\n  override: {output: append}", func(t *testing.T, r Rule) {
			assert.Equal(t, "one two", r.Output)
		}},
		{"an output is replaced, line end and all", "output: >\n    two\n  override: {output: replace}", func(t *testing.T, r Rule) {
			assert.Equal(t, "two\n", r.Output)
		}},
		{"a description is appended to", "desc: second\n  override: {desc: append}", func(t *testing.T, r Rule) {
			assert.Equal(t, "first second", r.Desc)
		}},
		{"a description is replaced", "desc: second\n  override: {desc: replace}", func(t *testing.T, r Rule) {
			assert.Equal(t, "second", r.Desc)
		}},
		{"tags are added", "tags: [b, a]\n  override: {tags: append}", func(t *testing.T, r Rule) {
			assert.Equal(t, []string{"a", "b"}, r.Tags)
		}},
		{"tags are replaced", "tags: [b]\n  override: {tags: replace}", func(t *testing.T, r Rule) {
			assert.Equal(t, []string{"b"}, r.Tags)
		}},
		{"a priority is replaced", "priority: CRITICAL\n  override: {priority: replace}", func(t *testing.T, r Rule) {
			assert.Equal(t, PriorityCritical, r.Priority)
		}},
		{"a rule is enabled", "enabled: true\n  override: {enabled: replace}", func(t *testing.T, r Rule) {
			assert.True(t, r.Enabled)
		}},
		{"a rule is enabled in the short form", "enabled: true", func(t *testing.T, r Rule) {
			assert.True(t, r.Enabled)
		}},
		{"enabled says nothing beside the old append", "condition: and a.b = 1\n  append: true\n  enabled: true", func(t *testing.T, r Rule) {
			assert.False(t, r.Enabled)
		}},
		{"capture is replaced", "capture: true\n  capture_duration: 10\n  override: {capture: replace, capture_duration: replace}",
			func(t *testing.T, r Rule) {
				assert.True(t, r.Capture)
				assert.EqualValues(t, 10, r.CaptureDuration)
			}},
		{"the flags are replaced", "warn_evttypes: false\n  skip-if-unknown-filter: true\n" +
			"  override: {warn_evttypes: replace, skip-if-unknown-filter: replace}", func(t *testing.T, r Rule) {
			assert.False(t, r.WarnEventTypes)
			assert.True(t, r.SkipUnknownFilter)
		}},
		{"keys may be appended and replaced at once", "condition: and a.b = 1\n  desc: second\n  override: {condition: append, desc: replace}",
			func(t *testing.T, r Rule) {
				assert.Equal(t, "evt.type = open and a.b = 1", r.Condition)
				assert.Equal(t, "second", r.Desc)
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parse(first + "- rule: r\n  " + tt.second + "\n")
			require.NoError(t, err)
			require.Len(t, s.Rules(), 1)
			tt.check(t, s.Rules()[0])
			assert.Equal(t, Position{"a.yaml", 1, 3}, s.Rules()[0].Pos)
		})
	}
}

func TestRulesKeepTheOrderOfTheirFirstDefinition(t *testing.T) {
	one, two := strings.Replace(ruleText("a.b = 1"), "rule: r", "rule: one", 1), strings.Replace(ruleText("a.b = 2"), "rule: r", "rule: two", 1)
	s, err := parse(one+two, one)
	require.NoError(t, err)
	require.Len(t, s.Rules(), 2)
	assert.Equal(t, "one", s.Rules()[0].Name)
	assert.Equal(t, Position{"b.yaml", 1, 3}, s.Rules()[0].Pos, "and point to the last")
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name  string
		files []string
		at    string
		msg   string
	}{
		{"text that is no YAML", []string{"- rule: [r\n- rule: x\n"}, "a.yaml:2:1", "not YAML"},
		{"an error in the second document", []string{"- list: l\n  items: []\n---\n---\n- list: [l]\n"}, "a.yaml:5:9", "is no text"},
		{"an error in a file that others follow", []string{ruleText("nope"), "- list: l\n  items: []\n", ruleText("evt.type = open")}, "a.yaml:2:14",
			"is not defined"},
		{"a key twice", []string{"- rule: r\n  rule: x\n"}, "a.yaml:2:3", `key "rule" is there twice, first in line 1`},
		{"a mapping instead of a list", []string{"rule: r\n"}, "a.yaml:1:1", `start each entry with "- "`},
		{"text instead of an entry", []string{"- rule\n"}, "a.yaml:1:3", "an entry is a mapping"},

		{"a rule without a name", []string{"- rule:\n  condition: a.b = 1\n"}, "a.yaml:1:3", `"rule" is empty`},
		{"a rule without a condition", []string{"- rule: r\n" + rest}, "a.yaml:1:3", `rule "r": has no "condition": add it`},
		{"a rule without an output", []string{"- rule: r\n  condition: a.b = 1\n  desc: d\n  priority: INFO\n"}, "a.yaml:1:3", `has no "output"`},
		{"a rule without a description", []string{"- rule: r\n  condition: a.b = 1\n  output: o\n  priority: INFO\n"}, "a.yaml:1:3", `has no "desc"`},
		{"a rule without a priority", []string{"- rule: r\n  condition: a.b = 1\n  output: o\n  desc: d\n"}, "a.yaml:1:3", `has no "priority"`},
		{"a rule of a name alone", []string{"- rule: r\n"}, "a.yaml:1:3", `has no "condition", "output", "desc" and "priority"`},
		{"a priority that is none", []string{strings.Replace(ruleText("a.b = 1"), "INFO", "URGENT", 1)}, "a.yaml:5:13", "write one of EMERGENCY"},
		{"a condition that is a list", []string{ruleText("[a.b = 1]")}, "a.yaml:2:14", "is no text"},
		{"a condition that is empty", []string{ruleText(`""`)}, "a.yaml:2:14", "is empty"},
		{"a flag that is neither true nor false", []string{ruleText("a.b = 1") + "  enabled: maybe\n"}, "a.yaml:6:12", "write true or false"},
		{"a flag in mixed case", []string{ruleText("a.b = 1") + "  enabled: tRue\n"}, "a.yaml:6:12", "write true or false"},
		{"a duration that is no number", []string{ruleText("a.b = 1") + "  capture_duration: long\n"}, "a.yaml:6:21", "write a number"},
		{"tags that are no list", []string{ruleText("a.b = 1") + "  tags: x\n"}, "a.yaml:6:3", "write [a, b]"},
		{"a tag that is a list", []string{ruleText("a.b = 1") + "  tags: [[x]]\n"}, "a.yaml:6:10", "no text"},
		{"a source that is empty", []string{ruleText("a.b = 1") + "  source:\n"}, "a.yaml:6:3", `"source" is empty`},
		{"another source for the same rule", []string{ruleText("a.b = 1") + ruleText("a.b = 1") + "  source: k8s_audit\n"}, "a.yaml:6:3",
			"is defined with source syscall"},
		{"another source for an append", []string{ruleText("a.b = 1") + "- rule: r\n  condition: and a.b = 2\n  source: k8s_audit\n  append: true\n"},
			"a.yaml:6:3", "is defined with source syscall"},
		{"another source for an override", []string{ruleText("a.b = 1") +
			"- rule: r\n  condition: a.b = 2\n  source: k8s_audit\n  override: {condition: replace}\n"}, "a.yaml:6:3", "is defined with source syscall"},
		{"an unknown rule to enable", []string{"- rule: r\n  enabled: true\n"}, "a.yaml:1:3", "define it first"},

		{"a list without items", []string{"- list: l\n"}, "a.yaml:1:3", `list "l": has no "items"`},
		{"items that are no list", []string{"- list: l\n  items: a\n"}, "a.yaml:2:3", "write [a, b]"},
		{"an item that is null", []string{"- list: l\n  items: [a, ~]\n"}, "a.yaml:2:14", "no text"},
		{"a macro without a condition", []string{"- macro: m\n"}, "a.yaml:1:3", `macro "m": has no "condition"`},

		{"an unknown list to append to", []string{"- list: l\n  items: [a]\n  append: true\n"}, "a.yaml:1:3", "no list of this name"},
		{"an unknown macro to append to", []string{"- macro: m\n  condition: or a.b = 1\n  override: {condition: append}\n"}, "a.yaml:1:3",
			"no macro of this name"},
		{"an unknown rule to append to", []string{"- rule: r\n  condition: or a.b = 1\n  append: true\n"}, "a.yaml:1:3", "no rule of this name"},
		{"an unknown rule to override", []string{"- rule: r\n  desc: x\n  override: {desc: replace}\n" + ruleText("a.b = 1")}, "a.yaml:1:3",
			"no rule of this name"},
		{"an append of nothing", []string{ruleText("a.b = 1") + "- rule: r\n  append: true\n"}, "a.yaml:6:3", "appends nothing"},
		{"append and override together", []string{ruleText("a.b = 1") +
			"- rule: r\n  condition: or a.b = 1\n  append: true\n  override: {condition: append}\n"}, "a.yaml:8:3", "cannot be used together"},
		{"append and override together in a list", []string{"- list: l\n  items: [a]\n- list: l\n  items: [a]\n  append: true\n" +
			"  override: {items: append}\n"}, "a.yaml:5:3", "cannot be used together"},
		{"a priority that is appended", []string{ruleText("a.b = 1") + "- rule: r\n  priority: INFO\n  override: {priority: append}\n"},
			"a.yaml:8:14", `"priority" cannot be appended to: write replace`},
		{"a source that is replaced", []string{ruleText("a.b = 1") + "- rule: r\n  source: x\n  override: {source: replace}\n"},
			"a.yaml:8:14", `"source" cannot be replaced: define the whole entry again`},
		{"an override that is neither", []string{ruleText("a.b = 1") + "- rule: r\n  desc: x\n  override: {desc: prepend}\n"},
			"a.yaml:8:14", "write append or replace"},
		{"an override that is no mapping", []string{ruleText("a.b = 1") + "- rule: r\n  desc: x\n  override: append\n"},
			"a.yaml:8:13", "KEY: append"},
		{"an overridden key that is not there", []string{ruleText("a.b = 1") + "- rule: r\n  desc: x\n  override: {desc: replace, condition: append}\n"},
			"a.yaml:6:3", `overrides "condition", which is not there`},
		{"a key that is not overridden", []string{ruleText("a.b = 1") + "- rule: r\n  desc: x\n  priority: INFO\n  override: {desc: replace}\n"},
			"a.yaml:8:3", `"priority" has no entry under "override"`},

		{"a syntax error, in its line of the file", []string{"- rule: r\n  condition: >\n    a.b = 1\n    and c.d\n    or\n" + rest}, "a.yaml:5:5",
			"expected an operator"},
		{"a syntax error in a literal block", []string{"- rule: r\n  condition: |\n    a.b = 1\n      and (c.d = 2\n" + rest}, "a.yaml:4:11",
			"never closed"},
		{"a syntax error in a plain value on two lines", []string{"- rule: r\n  condition: a.b = 1\n    AND a.b = 2\n" + rest}, "a.yaml:3:5", `write "and"`},
		{"a syntax error in a quoted value", []string{ruleText(`"a.b = 1 AND a.b = 2"`)}, "a.yaml:2:23", `write "and"`},
		{"a syntax error behind an escape, where the value starts", []string{ruleText(`"a.b\x20= 1 AND"`)}, "a.yaml:2:14", `write "and"`},
		{"a syntax error in what was appended", []string{ruleText("a.b = 1"), "- rule: r\n  condition: >\n    and a.b = 1\n    AND x\n  append: true\n"},
			"b.yaml:4:5", `write "and"`},
		{"a syntax error in a condition with exceptions", []string{ruleText("a.b = 1 AND x") + "  exceptions: [{name: x, fields: a.b, values: [a]}]\n"},
			"a.yaml:2:22", `write "and"`},
		{"an unknown macro", []string{ruleText("a.b = 1 and nope")}, "a.yaml:2:26", `macro "nope" is not defined`},
		{"a macro of a later file", []string{ruleText("m"), "- macro: m\n  condition: a.b = 1\n"}, "a.yaml:2:14", "load its file before"},
		{"an unknown macro in a macro", []string{"- macro: m\n  condition: a.b = 1 and nope\n"}, "a.yaml:2:26", `macro "nope" is not defined`},
		{"a macro that is defined below", []string{"- macro: m\n  condition: not n\n- macro: n\n  condition: a.b = 1\n"}, "a.yaml:2:18",
			"define it above"},
		{"a macro of itself", []string{"- macro: m\n  condition: m\n"}, "a.yaml:2:14", "not defined yet"},
		{"macros in a loop", []string{"- macro: m\n  condition: a.b = 1\n- macro: n\n  condition: m\n- macro: m\n  condition: not n\n"}, "a.yaml:6:18",
			`refers to itself (n -> m -> n)`},
		{"a list as a macro", []string{ruleText("l") + "- list: l\n  items: [a]\n"}, "a.yaml:2:14", "is a list, not a macro"},
		{"a macro with the name of a list", []string{ruleText("l") + "- list: l\n  items: [a]\n- macro: l\n  condition: a.b = 1\n"}, "a.yaml:2:14",
			"both a macro and a list"},
		{"a list of several as one value", []string{ruleText("a.b = l") + "- list: l\n  items: [a, b]\n"}, "a.yaml:2:20", "write in (l)"},
		{"a list name inside a text", []string{ruleText(`a.b = "x l y"`) + "- list: l\n  items: [a]\n"}, "a.yaml:2:20", "rename the list"},
		{"a list name inside the text of an item", []string{ruleText("a.b in (k)") + "- list: k\n  items: [x l y]\n- list: l\n  items: [a]\n"},
			"a.yaml:2:22", "rename the list"},
		{"a list name inside an argument", []string{ruleText(`a.b["x l y"] = 1`) + "- list: l\n  items: [a]\n"}, "a.yaml:2:14", "rename the list"},
		{"an item that is no value", []string{ruleText("a.b in (l)") + "- list: l\n  items: [a=b]\n"}, "a.yaml:2:21", `list "l" (a.yaml:6:3)`},
		{"an event type in a transformer", []string{ruleText("tolower(evt.type) = open")}, "a.yaml:2:14", "hides the event type"},
		{"an output that ends in a percent sign", []string{strings.Replace(ruleText("a.b = 1"), "output: o", "output: 100%", 1)}, "a.yaml:3:14",
			"no field"},
		{"an output with an open argument", []string{strings.Replace(ruleText("a.b = 1"), "output: o", "output: x %a.b[1", 1)}, "a.yaml:3:17",
			"never closed"},

		{"exceptions that are no list", []string{ruleText("a.b = 1") + "  exceptions: x\n"}, "a.yaml:6:15", "no list"},
		{"an exception that is no mapping", []string{ruleText("a.b = 1") + "  exceptions: [x]\n"}, "a.yaml:6:16", "is a mapping"},
		{"an exception without a name", []string{ruleText("a.b = 1") + "  exceptions: [{fields: a.b}]\n"}, "a.yaml:6:16", `has no "name"`},
		{"an exception without fields", []string{ruleText("a.b = 1") + "  exceptions: [{name: x}]\n"}, "a.yaml:6:16", `has no "fields"`},
		{"values that are no list", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: a.b, values: a}]\n"}, "a.yaml:6:39", "no list"},
		{"a value that is null", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: a.b, values: [~]}]\n"}, "a.yaml:6:48", "a text or a list"},
		{"a value that is empty", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: a.b, values: ['']}]\n"}, "a.yaml:6:48", "empty"},
		{"values without end", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: a.b, values: &v [*v]}]\n"}, "a.yaml:6:51", "too deep"},
		{"more fields than operators", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: [a.b, c.d], comps: [in]}]\n"}, "a.yaml:6:16",
			`2 "fields" and 1 "comps"`},
		{"one field and a list of operators", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: a.b, comps: [in]}]\n"}, "a.yaml:6:16",
			"both be lists"},
		{"one field and an operator for one value", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: a.b, comps: startswith}]\n"},
			"a.yaml:6:16", "write in, pmatch or intersects"},
		{"an operator that is none", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: [a.b], comps: [in oneof]}]\n"},
			"a.yaml:6:16", `"in oneof" is no operator`},
		{"a field that is none", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: [a]}]\n"}, "a.yaml:6:16", `"a" is no field`},
		{"a list as a value of one field", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: a.b, values: [[a]]}]\n"}, "a.yaml:6:16",
			"without brackets"},
		{"a value with too few parts", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: [a.b, c.d], values: [[a]]}]\n"}, "a.yaml:6:16",
			"1 parts for 2 fields"},
		{"a value that is no text of the language", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: [a.b], values: [[a=b]]}]\n"},
			"a.yaml:6:16", "unexpected"},
		{"fields for an exception that has some", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: a.b, values: [a]}]\n" +
			"- rule: r\n  exceptions: [{name: x, fields: a.b, values: [b]}]\n  append: true\n"}, "a.yaml:8:16", `without "fields"`},
		{"operators for an exception that has some", []string{ruleText("a.b = 1") + "  exceptions: [{name: x, fields: a.b, values: [a]}]\n" +
			"- rule: r\n  exceptions: [{name: x, comps: in, values: [b]}]\n  append: true\n"}, "a.yaml:8:16", `without "comps"`},
		{"a new exception without values", []string{ruleText("a.b = 1") +
			"- rule: r\n  exceptions: [{name: x, fields: a.b}]\n  append: true\n"}, "a.yaml:7:16", `is new and has no "values"`},
		{"a new exception without fields", []string{ruleText("a.b = 1") +
			"- rule: r\n  exceptions: [{name: x, values: [a]}]\n  append: true\n"}, "a.yaml:7:16", `has no "fields"`},
		{"exceptions that are replaced by half ones", []string{ruleText("a.b = 1") +
			"- rule: r\n  exceptions: [{name: x, values: [a]}]\n  override: {exceptions: replace}\n"}, "a.yaml:7:16", `has no "fields"`},
		{"exceptions that are replaced without operators", []string{ruleText("a.b = 1") +
			"- rule: r\n  exceptions: [{name: x, fields: a.b, values: [a]}]\n  override: {exceptions: replace}\n"}, "a.yaml:7:16", `without "comps"`},

		{"an engine version that is none", []string{"- required_engine_version: seven\n"}, "a.yaml:1:28", "like 0.57.0"},
		{"an engine version of two numbers", []string{"- required_engine_version: 0.57\n"}, "a.yaml:1:28", "like 0.57.0"},
		{"plugin versions that are no list", []string{"- required_plugin_versions: x\n"}, "a.yaml:1:29", "is no list"},
		{"a plugin without a version", []string{"- required_plugin_versions: [{name: x}]\n"}, "a.yaml:1:30", `has no "version"`},
		{"a plugin version that is none", []string{"- required_plugin_versions: [{name: x, version: new}]\n"}, "a.yaml:1:49", "like 0.57.0"},
		{"a plugin that is its own alternative", []string{"- required_plugin_versions: [{name: x, version: 1.0.0, " +
			"alternatives: [{name: x, version: 2.0.0}]}]\n"}, "a.yaml:1:71", "alternative to itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(tt.files...)
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "\n", "one error, once")
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tt.at, e.Pos.String(), e.Msg)
			assert.Contains(t, e.Msg, tt.msg)
		})
	}
}

func TestErrorsLeaveTheOtherRules(t *testing.T) {
	s, err := parse(`- macro: broken
  condition: a.b =
- rule: one
  condition: broken and evt.type = open
` + rest + `- rule: two
  condition: evt.type = open and
` + rest + `- rule: three
  condition: evt.type = open
` + rest)
	require.EqualError(t, err, `a.yaml:2:19: expected a value after "=", not the end of the condition
a.yaml:9:30: unexpected "and": write a blank and a check after it`)
	require.Len(t, s.Rules(), 1)
	assert.Equal(t, "three", s.Rules()[0].Name)
	assert.Contains(t, warnings(s), `a.yaml:3:3: rule "one" is left out: it refers to a macro with an error (SKIPPED_RULE)`)
}

func warnings(s *Set) []string {
	out := []string{}
	for _, w := range s.Warnings {
		out = append(out, w.String())
	}
	return out
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		name  string
		files []string
		want  []string
	}{
		{"none for a plain rule", []string{ruleText("evt.type = open")}, []string{}},
		{"an unknown key in a rule", []string{ruleText("evt.type = open") + "  severity: 1\n"},
			[]string{`a.yaml:6:3: rule "r": key "severity" is unknown and ignored (LOAD_UNKNOWN_KEY)`}},
		{"an unknown key in an exception", []string{ruleText("evt.type = open") + "  exceptions: [{name: x, fields: a.b, value: [a]}]\n"},
			[]string{`a.yaml:6:39: rule "r": exception "x": key "value" is unknown and ignored (LOAD_UNKNOWN_KEY)`}},
		{"a rule's key in a list", []string{ruleText("evt.type in (l)") + "- list: l\n  items: [open]\n  priority: INFO\n"},
			[]string{`a.yaml:8:3: list "l": key "priority" is unknown and ignored (LOAD_UNKNOWN_KEY)`}},
		{"an unknown entry", []string{"- thing: x\n"}, []string{"a.yaml:1:3: unknown entry: it is ignored; an entry has a key rule, macro, list, " +
			"required_engine_version or required_plugin_versions (LOAD_UNKNOWN_ITEM)"}},
		{"a macro and a list without use", []string{"- macro: m\n  condition: a.b in (l)\n- list: l\n  items: []\n- list: k\n  items: []\n"}, []string{
			`a.yaml:1:3: macro "m" is used by no rule and no macro (LOAD_UNUSED_MACRO)`,
			`a.yaml:5:3: list "k" is used by no rule, macro or list (LOAD_UNUSED_LIST)`}},
		{"none for what a later file uses", []string{"- macro: m\n  condition: evt.type = open\n- list: l\n  items: [a]\n",
			ruleText("m and a.b in (l)")}, []string{}},
		{"a condition without event types", []string{ruleText("proc.name = sh")},
			[]string{`a.yaml:1:3: rule "r" matches too many event types, which is slow: restrict evt.type (LOAD_NO_EVTTYPE)`}},
		{"none where it is switched off", []string{ruleText("proc.name = sh") + "  warn_evttypes: false\n"}, []string{}},
		{"none for another source", []string{ruleText("ka.verb = get") + "  source: k8s_audit\n"}, []string{}},
		{"none for a condition that never holds", []string{ruleText("evt.num = 0")}, []string{}},
		{"the old append", []string{ruleText("evt.type = open") + "- rule: r\n  condition: and a.b = 1\n  append: true\n"},
			[]string{`a.yaml:8:3: rule "r": "append" is deprecated: write "override" with "append" for each key (LOAD_DEPRECATED_ITEM)`}},
		{"enabled alone", []string{ruleText("evt.type = open") + "- rule: r\n  enabled: false\n"},
			[]string{`a.yaml:7:3: rule "r": "enabled" alone is deprecated: add "override" with "enabled: replace" (LOAD_DEPRECATED_ITEM)`}},
		{"fields of enter events", []string{strings.Replace(ruleText("evt.type = open and evt.dir = <"), "output: o", "output: '%evt.latency'", 1)},
			[]string{`a.yaml:2:14: rule "r": evt.dir is deprecated: events have one direction and no latency any more (LOAD_DEPRECATED_ITEM)`,
				`a.yaml:3:12: rule "r": evt.latency in the output is deprecated (LOAD_DEPRECATED_ITEM)`}},
		{"the container's fields in one", []string{strings.Replace(ruleText("evt.type = open"), "output: o", "output: x %container.info", 1)},
			[]string{`a.yaml:3:11: rule "r": %container.info is deprecated and reads as nothing: Falco adds the container's fields by itself (LOAD_DEPRECATED_ITEM)`}},
		{"a comparison with no value", []string{ruleText("ka.verb in (x, <NA>)") + "  source: k8s_audit\n"},
			[]string{`a.yaml:2:14: rule "r": ka.verb in (x, <NA>) compares with <NA>, which is no value any more: write exists (LOAD_UNSAFE_NA_CHECK)`}},
		{"names that no condition can hold", []string{"- list: a b\n  items: []\n- macro: a-b\n  condition: a.b = 1\n"}, []string{
			`a.yaml:1:3: list "a b": no condition can name it: use neither blanks nor any of ()"'=, (LOAD_INVALID_LIST_NAME)`,
			`a.yaml:3:3: macro "a-b": no condition can name it: use letters, digits and _ only, a letter first (LOAD_INVALID_MACRO_NAME)`,
			`a.yaml:3:3: macro "a-b" is used by no rule and no macro (LOAD_UNUSED_MACRO)`,
			`a.yaml:1:3: list "a b" is used by no rule, macro or list (LOAD_UNUSED_LIST)`}},
		{"an exception twice", []string{ruleText("evt.type = open") + "  exceptions: [{name: x, fields: a.b}, {name: x, fields: a.b}]\n"},
			[]string{`a.yaml:6:40: rule "r": exception "x" is there twice: both hold, but only the first can be appended to (LOAD_EXCEPTION_NAME_NOT_UNIQUE)`}},
		{"an append of no values", []string{ruleText("evt.type = open") + "  exceptions: [{name: x, fields: a.b}]\n" +
			"- rule: r\n  exceptions: [{name: x}]\n  override: {exceptions: append}\n"},
			[]string{`a.yaml:8:16: rule "r": exception "x" appends no values (LOAD_APPEND_NO_VALUES)`}},
		{"operators and transformers of newer engines", []string{ruleText("evt.type = open and a.b startswith oneof (x) and concat(a.b, c.d) = x")}, []string{
			`a.yaml:2:14: rule "r": operator startswith oneof needs an engine with libs 0.25, which Falco 0.42 has not (NEWER_ENGINE)`,
			`a.yaml:2:14: rule "r": transformer concat(a.b, c.d) needs an engine with libs 0.24, which Falco 0.42 has not (NEWER_ENGINE)`}},
		{"a list that Falco does not reach", []string{ruleText("evt.type in (three)") +
			"- list: one\n  items: [x]\n- list: two\n  items: [one]\n- list: three\n  items: [two]\n"}, []string{
			`a.yaml:10:3: list "three" holds the name of list "one" too deep inside: Falco leaves it as plain text; name the list itself, or define it later (NESTED_LIST)`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parse(tt.files...)
			require.NoError(t, err)
			assert.Equal(t, tt.want, warnings(s))
		})
	}
}

func TestSelect(t *testing.T) {
	var rules strings.Builder
	for name, tags := range map[string]string{"Read files": "[a, b]", "Write files": "[b]", "Spawn": "[]"} {
		rules.WriteString(strings.Replace(ruleText("evt.type = open"), "rule: r", "rule: "+name, 1) + "  tags: " + tags + "\n")
	}
	text := rules.String()
	tests := []struct {
		name       string
		selections []Selection
		want       []string
	}{
		{"all are enabled at first", nil, []string{"Read files", "Spawn", "Write files"}},
		{"a name disables one", []Selection{{Rule: "Spawn"}}, []string{"Read files", "Write files"}},
		{"half a name disables none", []Selection{{Rule: "Spa"}}, []string{"Read files", "Spawn", "Write files"}},
		{"a star stands for any text", []Selection{{Rule: "*files"}}, []string{"Spawn"}},
		{"a tag disables those that have it", []Selection{{Tag: "b"}}, []string{"Spawn"}},
		{"later selections win", []Selection{{Rule: "*"}, {Enable: true, Tag: "a"}}, []string{"Read files"}},
		{"nothing selects nothing", []Selection{{}}, []string{"Read files", "Spawn", "Write files"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parse(text)
			require.NoError(t, err)
			s.Select(tt.selections...)
			var enabled []string
			for _, r := range s.Rules() {
				if r.Enabled {
					enabled = append(enabled, r.Name)
				}
			}
			assert.ElementsMatch(t, tt.want, enabled)
		})
	}
}

func TestMatchesWildcard(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"abc", "abc", true}, {"abc", "abcd", false}, {"a*", "abc", true}, {"a*", "ba", false}, {"*c", "abc", true}, {"*b*", "abc", true},
		{"a*c", "abc", true}, {"a*c*", "abcd", true}, {"**", "abc", true}, {"*", "", true}, {"", "", true}, {"", "a", false},
		{"*bc", "abcbc", false}, // Falco looks at the first place only
	} {
		assert.Equal(t, tt.want, matchesWildcard(tt.pattern, tt.name), "%q %q", tt.pattern, tt.name)
	}
}

func TestLoadReadsDirectoriesInOrder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.yml": ruleText("m"), "a.yaml": "- macro: m\n  condition: evt.type = open\n", "c.txt": "- rule: [", "z.yaml": ruleText("evt.type = read"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "d.yaml"), 0o700))

	s, err := Load(dir)
	require.NoError(t, err)
	assert.Equal(t, "evt.type = read", s.Rules()[0].Filter)

	s, err = Load(filepath.Join(dir, "z.yaml"), filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yml"))
	require.NoError(t, err)
	assert.Equal(t, "evt.type = open", s.Rules()[0].Filter)
	assert.Equal(t, filepath.Join(dir, "b.yml")+":1:3", s.Rules()[0].Pos.String())

	_, err = Load(filepath.Join(dir, "none.yaml"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Load(filepath.Join(dir, "c.txt"))
	require.ErrorContains(t, err, "only files named .yaml or .yml")
}

func TestPriority(t *testing.T) {
	for text, want := range map[string]string{
		"EMERGENCY": "Emergency", "alert": "Alert", "Critical": "Critical", "ERROR": "Error", "warning": "Warning", "NOTICE": "Notice",
		"INFO": "Informational", "informational": "Informational", "DEBUG": "Debug",
	} {
		p, err := ParsePriority(text)
		require.NoError(t, err)
		assert.Equal(t, want, p.String())
		var q Priority
		require.NoError(t, q.UnmarshalText([]byte(text)))
		assert.Equal(t, p, q)
		out, err := p.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, want, string(out))
	}
	_, err := ParsePriority("WARN")
	require.Error(t, err)
	assert.True(t, PriorityCritical.AtLeast(PriorityWarning))
	assert.True(t, PriorityWarning.AtLeast(PriorityWarning))
	assert.False(t, PriorityNotice.AtLeast(PriorityWarning))
	assert.Equal(t, "Priority(8)", Priority(8).String())
}

func TestRequirements(t *testing.T) {
	s, err := parse(`- required_engine_version: 0.57.0
- required_plugin_versions:
  - name: datastaging
    version: 0.2.0
  - name: k8saudit
    version: 0.7.0
    alternatives: [{name: k8saudit-eks, version: 0.4.0}]
`, "- required_engine_version: 31\n")
	require.NoError(t, err)
	require.NoError(t, s.CheckEngine(Version{0, 57, 0}))
	require.NoError(t, s.CheckEngine(Version{0, 58, 1}))
	require.EqualError(t, s.CheckEngine(Version{0, 50, 0}),
		"a.yaml:1:3: the rules require engine version 0.57.0, this engine has 0.50.0: use a Falco with the required one")
	assert.Error(t, s.CheckEngine(Version{1, 0, 0}), "another major version serves none")

	require.Len(t, s.RequiredPlugins(), 2)
	assert.Equal(t, []PluginVersion{{"k8saudit", Version{0, 7, 0}}, {"k8saudit-eks", Version{0, 4, 0}}}, s.RequiredPlugins()[1].Alternatives)
	require.NoError(t, s.CheckPlugins(map[string]Version{"datastaging": {0, 2, 3}, "k8saudit": {0, 7, 0}}))
	require.NoError(t, s.CheckPlugins(map[string]Version{"datastaging": {0, 2, 0}, "k8saudit-eks": {0, 9, 0}}))
	require.EqualError(t, s.CheckPlugins(map[string]Version{"datastaging": {0, 1, 9}, "k8smeta": {0, 1, 0}}),
		`a.yaml:3:5: plugin datastaging is loaded in version 0.1.9, the rules require 0.2.0: load that one
a.yaml:5:5: the rules require plugin k8saudit (>= 0.7.0) or k8saudit-eks (>= 0.4.0): load it (loaded: datastaging, k8smeta)`)
	require.ErrorContains(t, s.CheckPlugins(nil), "loaded: none")

	none, err := parse("")
	require.NoError(t, err)
	require.NoError(t, none.CheckEngine(Version{0, 1, 0}))
}

func TestParseVersion(t *testing.T) {
	v, err := ParseVersion("0.41.4-rc1")
	require.NoError(t, err)
	assert.Equal(t, "0.41.4", v.String())
	for _, text := range []string{"", "1", "1.2", "v1.2.3", "1.2.99999999999"} {
		_, err := ParseVersion(text)
		assert.Error(t, err, text)
	}
}

func TestNodesKnowTheMacrosAndListsThatTheyComeFrom(t *testing.T) {
	s, err := parse(`
- list: reads
  items: [read, pread]
- macro: inner
  condition: (evt.type in (reads, readv) or evt.type = write)
- macro: alias
  condition: inner
- macro: outer
  condition: (inner and fd.num > 2)
` + ruleText("outer and not alias and proc.name = sh and inner"))
	require.NoError(t, err)
	r := s.Rules()[0]
	and := r.Expr.(*filter.And)
	outer := and.Terms[0].(*filter.And)
	assert.Equal(t, []string{"outer"}, r.Macros[outer])
	assert.Equal(t, []string{"inner"}, r.Macros[outer.Terms[0]])
	assert.Equal(t, []string{"alias", "inner"}, r.Macros[and.Terms[1].(*filter.Not).Term])
	assert.Empty(t, r.Macros[and.Terms[2]])
	assert.Equal(t, []string{"inner"}, r.Macros[and.Terms[3]], "each use is a node of its own")

	check := and.Terms[3].(*filter.Or).Terms[0].(*filter.Check)
	var lists []string
	for _, item := range check.Right.(*filter.List).Items {
		lists = append(lists, item.Text+" of "+item.List)
	}
	assert.Equal(t, []string{"read of reads", "pread of reads", "readv of "}, lists)
	assert.Equal(t, "reads", s.Lists()[0].Name)
	assert.Equal(t, []string{"inner", "alias", "outer"}, []string{s.Macros()[0].Name, s.Macros()[1].Name, s.Macros()[2].Name})

	s, err = parse(`
- macro: check
  condition: fd.num > 2
- macro: name
  condition: check
` + ruleText("evt.type = open and check and name and check"))
	require.NoError(t, err)
	r = s.Rules()[0]
	and = r.Expr.(*filter.And)
	assert.Same(t, s.Macros()[0].Body, and.Terms[1], "a check is the one of its macro")
	assert.Same(t, and.Terms[1], and.Terms[3])
	assert.Equal(t, []string{"check"}, r.Macros[and.Terms[1]])
	assert.Equal(t, []string{"name", "check"}, r.Macros[and.Terms[2]])
}
