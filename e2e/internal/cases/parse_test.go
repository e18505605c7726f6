package cases

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// folder is a folder with a capture and a rules file in it, which is all that a case file can point to.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.scap"), []byte("capture"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "extra.yaml"), []byte("- rule: Extra\n"), 0o600))
	return dir
}

func TestACaseFileSaysEverythingThatACaseHas(t *testing.T) {
	dir := folder(t)
	file := filepath.Join(dir, "case.yaml")
	got, err := Parse(file, []byte(`# What a person would write.
name: everything
description: |
  Two lines
  of text.
capture: a.scap
init_config:
  window: 5m
  limits: {containers: 1_000}
rules: [extra.yaml]
expect:
  - rule: Egress of Staged Data from Container
    priority: warning
    count: {min: 1, max: 3}
    fields:
      staging.egress_bytes: {min: 20MB, max: 1_000_000_000}
      staging.archive_bytes: {min: 1.5MiB}
      staging.bytes[5m]: 18446744073709551615
      staging.dir: {one_of: [/tmp/.x, /dev/shm]}
      proc.cmdline: {contains: curl}
      fd.name: {matches: ":8080$"}
      baseline.new[peer]: true
      staging.handoff_peer: null
  - rule: Local Data Staging in Container
`))
	require.NoError(t, err)
	require.Len(t, got, 1)
	c := got[0]
	assert.Equal(t, "everything", c.Name)
	assert.Equal(t, "Two lines\nof text.\n", c.Description)
	assert.Equal(t, []string{filepath.Join(dir, "a.scap")}, c.Captures)
	assert.JSONEq(t, `{"window": "5m", "limits": {"containers": 1000}}`, string(c.InitConfig))
	assert.Equal(t, []string{filepath.Join(dir, "extra.yaml")}, c.Rules)
	assert.Equal(t, fmt.Sprintf("%s:2:1", file), c.Pos.String())
	require.Len(t, c.Expect, 2)
	e := c.Expect[0]
	assert.Equal(t, "Egress of Staged Data from Container", e.Rule)
	require.NotNil(t, e.Priority)
	assert.Equal(t, ruleset.PriorityWarning, *e.Priority)
	assert.Equal(t, Count{1, 3}, e.Count)
	assert.Equal(t, fmt.Sprintf("%s:12:5", file), e.Pos.String())
	wants := map[string]string{}
	for _, f := range e.Fields {
		wants[f.Name] = f.Want.String()
	}
	assert.Equal(t, map[string]string{
		"staging.egress_bytes":  "20MB (20000000) to 1_000_000_000 (1000000000)",
		"staging.archive_bytes": "at least 1.5MiB (1572864)",
		"staging.bytes[5m]":     "18446744073709551615",
		"staging.dir":           `one of "/tmp/.x", "/dev/shm"`,
		"proc.cmdline":          `contains "curl"`,
		"fd.name":               `matches ":8080$"`,
		"baseline.new[peer]":    "true",
		"staging.handoff_peer":  "no value",
	}, wants)
	assert.Equal(t, "staging.egress_bytes", e.Fields[0].Name, "fields keep the order of the file")
	assert.Equal(t, Count{1, 1}, c.Expect[1].Count, "one alert is meant where no count is written")
	assert.Nil(t, c.Expect[1].Priority)
}

func TestAFileMayHoldAListOfCases(t *testing.T) {
	file := filepath.Join(folder(t), "case.yaml")
	got, err := Parse(file, []byte("- {name: one, capture: a.scap, expect: []}\n- {name: two, capture: a.scap, expect: []}\n"))
	require.NoError(t, err)
	require.Len(t, got, 2)
	assert.Equal(t, fmt.Sprintf("%s:1:3", file), got[0].Pos.String())
	assert.Equal(t, fmt.Sprintf("%s:2:3", file), got[1].Pos.String())
	assert.Empty(t, got[0].Expect)
}

func TestWhatACaseFileMayNotSayIsRefusedWithItsPlaceAndARemedy(t *testing.T) {
	const head = "name: n\ncapture: a.scap\n"
	alert := func(lines string) string { return head + "expect:\n  - rule: R\n" + lines }
	field := func(value string) string { return alert("    fields:\n      f: " + value + "\n") }
	for _, tc := range []struct {
		name, source string
		want         []string // one for each line of the error; FILE stands for the file's path, DIR for its folder
	}{
		{"a key that no case has", head + "expect: []\nruls: []\n",
			[]string{`FILE:4:1: unknown key "ruls" in a case: write "rules"`}},
		{"a key that is like no key of a case", head + "expect: []\nseverity: 3\n",
			[]string{`FILE:4:1: unknown key "severity" in a case: its keys are name, description, label, learn, capture, init_config, rules, expect`}},
		{"a key that no expected alert has", alert("    prioritiy: WARNING\n"),
			[]string{`FILE:5:5: unknown key "prioritiy" in an expected alert: write "priority"`}},
		{"a key that no bound has", field("{mini: 3}"), []string{`FILE:6:11: unknown key "mini" in a field's bound: write "min"`}},
		{"a key twice", head + "expect: []\nname: again\n", []string{`FILE:4:1: read YAML: mapping key "name" already defined at [1:1]`}},
		{"a field twice", alert("    fields: {a: 1, a: 2}\n"), []string{`FILE:5:20: read YAML: mapping key "a" already defined at [5:14]`}},
		{"broken YAML", "name: \"n\n", []string{`FILE:1:7: read YAML: could not find end character of double-quoted text`}},
		{"nothing", "", []string{`FILE:1:1: 0 YAML documents: write one case, or one list of cases`}},
		{"several documents", "a: 1\n---\nb: 1\n", []string{`FILE:1:1: 2 YAML documents: write one case, or one list of cases`}},
		{"an empty list", "[]\n", []string{`FILE:1:1: an empty list: write at least one case`}},
		{"text alone", "hello\n",
			[]string{`FILE:1:1: a case is text: write a mapping with the keys name, description, label, learn, capture, init_config, rules, expect`}},
		{"a rules file", "- macro: m\n", []string{`FILE:1:1: this is a Falco rules file, not a case file: name it under the rules key of a case`}},
		{"all that is missing, at once", "description: d\n", []string{
			`FILE:1:1: no name: write a short name such as local-staging-upload`,
			`FILE:1:1: no capture: write the path of a .scap or .script file, relative to this file, or a list of them`}},
		{"a name that a shell would expand", "name: a*\ncapture: a.scap\nexpect: []\n",
			[]string{`FILE:1:7: name "a*": write letters, digits, '-', '_' and '.' only`}},
		{"a name that is a number", "name: 12\ncapture: a.scap\nexpect: []\n",
			[]string{`FILE:1:7: name is the number 12: write text, in quotes where it looks like something else`}},
		{"a capture that is not there", "name: n\ncapture: b.scap\nexpect: []\n",
			[]string{`FILE:2:10: capture "b.scap": no file DIR/b.scap: write a path relative to this file`}},
		{"a capture that is a folder", "name: n\ncapture: .\nexpect: []\n",
			[]string{`FILE:2:10: capture ".": no file DIR: write a path relative to this file`}},
		{"no capture in the list", "name: n\ncapture: []\nexpect: []\n", []string{`FILE:2:10: capture is an empty list: write at least one path`}},
		{"one of several captures that is not there", "name: n\ncapture: [a.scap, b.scap]\nexpect: []\n",
			[]string{`FILE:2:19: capture "b.scap": no file DIR/b.scap: write a path relative to this file`}},
		{"a capture that the case does not have", alert("    capture: 2\n"),
			[]string{`FILE:5:14: capture 2: write a number from 1 to 1, how many captures the case has`}},
		{"a capture that is no number", alert("    capture: a.scap\n"),
			[]string{`FILE:5:14: capture is text: write which of the case's captures it comes in: 1 for the first`}},
		{"an empty capture", "name: n\ncapture: null\nexpect: []\n",
			[]string{`FILE:2:10: capture is empty: write text, in quotes where it looks like something else`}},
		{"a rules file that is not there", head + "rules: [b.yaml]\nexpect: []\n",
			[]string{`FILE:3:9: rules "b.yaml": no file DIR/b.yaml: write a path relative to this file`}},
		{"rules that are no list", head + "rules: extra.yaml\nexpect: []\n",
			[]string{`FILE:3:8: rules is text: write a list of paths, relative to this file`}},
		{"an init_config that is text", head + "init_config: '{}'\nexpect: []\n",
			[]string{`FILE:3:14: init_config is text: write the plugin's init_config as a mapping`}},
		{"an init_config that JSON cannot hold", head + "init_config: {a: .inf}\nexpect: []\n",
			[]string{`FILE:3:14: init_config: json: unsupported value: +Inf: write what JSON can hold`}},
		{"an expect that is no list", head + "expect: {rule: R}\n", []string{`FILE:3:9: expect is a mapping: write a list of alerts, or [] for silence`}},
		{"an empty expect", head + "expect: null\n", []string{`FILE:3:9: expect is empty: write a list of alerts, or [] for silence`}},
		{"an expected alert that is a name", head + "expect: [R]\n",
			[]string{`FILE:3:10: an expected alert is text: write a mapping with the keys rule, priority, capture, count, fields`}},
		{"an expected alert without a rule", head + "expect:\n  - count: 1\n",
			[]string{`FILE:4:5: no rule: write the name of the rule that must fire`}},
		{"a priority that Falco does not have", alert("    priority: HIGH\n"),
			[]string{`FILE:5:15: "HIGH" is no priority: write one of EMERGENCY, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFORMATIONAL, DEBUG`}},
		{"a count that is negative", alert("    count: -1\n"),
			[]string{`FILE:5:12: count is the number -1: write a whole number, or bounds such as {min: 1, max: 3}`}},
		{"a count that no run reaches", alert("    count: 18446744073709551615\n"),
			[]string{`FILE:5:12: count is the number 18446744073709551615: write a whole number, or bounds such as {min: 1, max: 3}`}},
		{"a count that is a fraction", alert("    count: {min: 1.5}\n"), []string{`FILE:5:18: min is the number 1.5: write a whole number`}},
		{"a count without a bound", alert("    count: {}\n"), []string{`FILE:5:12: count has no bound: write min, max or both`}},
		{"a count upside down", alert("    count: {min: 3, max: 1}\n"), []string{`FILE:5:12: min 3 is greater than max 1: swap them`}},
		{"fields that are a list", alert("    fields: [a]\n"), []string{`FILE:5:13: fields is a list: write a mapping from output field to value`}},
		{"a field that is a list", field("[1]"),
			[]string{`FILE:6:10: a field's value is a list: write text, a number, true, false, null, or a bound such as {min: 20MB}`}},
		{"a field upside down", field("{min: 20MiB, max: 20MB}"),
			[]string{`FILE:6:16: min 20MiB (20971520) is greater than max 20MB (20000000): swap them`}},
		{"a field upside down beyond the precision of a float", field("{min: 9007199254740993, max: 9007199254740992}"),
			[]string{`FILE:6:16: min 9007199254740993 is greater than max 9007199254740992: swap them`}},
		{"a unit that does not exist", field("{min: 20MX}"),
			[]string{`FILE:6:16: min "20MX" is not a number: write 20971520, 1_000_000, 20MB or 20MiB`}},
		{"a bound that is no number", field("{max: true}"),
			[]string{`FILE:6:16: max is true: write a number such as 1_000_000, 20MB or 20MiB`}},
		{"an expression that does not compile", field("{matches: 'a('}"),
			[]string{"FILE:6:20: matches: error parsing regexp: missing closing ): `a(`: write an RE2 expression, quoted"}},
		{"two kinds of bound", field("{min: 1, contains: a}"),
			[]string{`FILE:6:10: a field's bound is min, max or both, or else one of contains, matches, one_of`}},
		{"no bound", field("{}"), []string{`FILE:6:10: a field's bound is min, max or both, or else one of contains, matches, one_of`}},
		{"a choice of nothing", field("{one_of: []}"), []string{`FILE:6:19: one_of is empty: list at least one value`}},
		{"a choice of lists", field("{one_of: [[a]]}"),
			[]string{`FILE:6:20: a value of one_of is a list: write text, a number, true, false, null, or a bound such as {min: 20MB}`}},
		{"an alias", field("*x"), []string{`FILE:6:10: a field's value is an anchor or alias, which case files do not have: ` +
			`write text, a number, true, false, null, or a bound such as {min: 20MB}`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := folder(t)
			file := filepath.Join(dir, "case.yaml")
			_, err := Parse(file, []byte(tc.source))
			require.Error(t, err)
			var want string
			for i, line := range tc.want {
				if i > 0 {
					want += "\n"
				}
				want += line
			}
			assert.Equal(t, want, replaceAll(err.Error(), file, "FILE", dir, "DIR"))
		})
	}
}

func TestARuleThatIsNotLoadedIsNamedWithTheOneThatWasMeant(t *testing.T) {
	file := filepath.Join(folder(t), "case.yaml")
	got, err := Parse(file, []byte("name: n\ncapture: a.scap\nexpect:\n  - rule: Local Data Stagin in Container\n  - rule: Other\n  - rule: Known\n"))
	require.NoError(t, err)
	require.NoError(t, got[0].CheckRules([]string{"Known", "Other", "Local Data Stagin in Container"}))
	err = got[0].CheckRules([]string{"Known", "Local Data Staging in Container"})
	require.Error(t, err)
	assert.Equal(t, `FILE:4:11: no rule that is loaded and enabled is named "Local Data Stagin in Container": write "Local Data Staging in Container"
FILE:5:11: no rule that is loaded and enabled is named "Other": load or enable it with a file under the case's rules key`, replaceAll(err.Error(), file, "FILE"))
}

func TestConditionsHoldForTheValuesTheyName(t *testing.T) {
	n := func(s string) json.Number { return json.Number(s) }
	for _, tc := range []struct {
		name, condition string
		holds, fails    []any
	}{
		{"a number beyond a float's precision", "18446744073709551615",
			[]any{n("18446744073709551615"), n("18446744073709551615.0")}, []any{n("18446744073709551614"), "18446744073709551615", nil}},
		{"a negative number", "-5", []any{n("-5")}, []any{n("5"), n("-4")}},
		{"a fraction", "0.1", []any{n("0.1"), n("1e-1")}, []any{n("0.2")}},
		{"text", "curl", []any{"curl"}, []any{"curl ", nil, true, n("1")}},
		{"text that looks like a number", `"443"`, []any{"443"}, []any{n("443")}},
		{"a truth value", "true", []any{true}, []any{false, "true", nil}},
		{"no value", "null", []any{nil}, []any{"", false, n("0")}},
		{"a lower bound", "{min: 20MB}", []any{n("20000000"), n("18446744073709551615")}, []any{n("19999999"), "20000000", nil}},
		{"an upper bound", "{max: 1_000}", []any{n("1000"), n("-1")}, []any{n("1001")}},
		{"both bounds", "{min: 9007199254740993, max: 9007199254740993}", []any{n("9007199254740993")},
			[]any{n("9007199254740992"), n("9007199254740994")}},
		{"part of a text", "{contains: .x}", []any{"/tmp/.x/a"}, []any{"/tmp/x", n("1"), nil}},
		{"an expression", "{matches: '^/(tmp|var/tmp)/[.]'}", []any{"/tmp/.x", "/var/tmp/.cache"}, []any{"/srv/tmp/.x", nil}},
		{"a choice", "{one_of: [a, 1, null]}", []any{"a", n("1"), nil}, []any{"b", n("2"), "1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse(filepath.Join(folder(t), "case.yaml"),
				[]byte("name: n\ncapture: a.scap\nexpect:\n  - rule: R\n    fields:\n      f: "+tc.condition+"\n"))
			require.NoError(t, err)
			want := got[0].Expect[0].Fields[0].Want
			for _, v := range tc.holds {
				assert.True(t, want.Match(v), "%s must hold for %s", want, FormatValue(v))
			}
			for _, v := range tc.fails {
				assert.False(t, want.Match(v), "%s must not hold for %s", want, FormatValue(v))
			}
		})
	}
}

func TestCountsReadAsPeopleSayThem(t *testing.T) {
	for want, c := range map[string]Count{"2": {2, 2}, "0": {0, 0}, "1 to 3": {1, 3}, "at least 2": {2, Unbounded}, "at most 3": {0, 3}} {
		assert.Equal(t, want, c.String())
	}
}

func TestExpectIsReadAloneAndFromACase(t *testing.T) {
	for _, tc := range []struct{ name, source string }{
		{"a file with nothing else", "expect: [{rule: R, count: {min: 2}}]"},
		{"a case, of which nothing else need hold here", "{name: a, capture: not/here.scap, expect: [{rule: R, count: {min: 2}}]}"},
		{"a list of one case", "- name: a\n  expect: [{rule: R, count: {min: 2}}]\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseExpect("f.yaml", []byte(tc.source))
			require.NoError(t, err)
			require.Len(t, got, 1)
			assert.Equal(t, "R", got[0].Rule)
			assert.Equal(t, Count{2, Unbounded}, got[0].Count)
			assert.Equal(t, "f.yaml", got[0].Pos.File)
		})
	}
	got, err := ParseExpect("f.yaml", []byte("expect: []"))
	require.NoError(t, err)
	assert.Empty(t, got)
}

func TestExpectThatCannotBeReadIsRefused(t *testing.T) {
	for _, tc := range []struct{ name, source, want string }{
		{"alerts without the key", "- {rule: R}\n", "f.yaml:1:1: a list of rules or alerts: write the alerts under the key expect"},
		{"several cases", "- {name: a, expect: []}\n- {name: b, expect: []}\n", "f.yaml:1:1: 2 cases: write one, or a mapping with the key expect"},
		{"no expect", "name: a\n", "f.yaml:1:1: no expect: list every alert that must come, or write `expect: []` for silence"},
		{"an unknown key", "expected: []\n", `f.yaml:1:1: unknown key "expected" in a case: write "expect"`},
		{"an entry that is wrong", "expect:\n  - {rule: R, count: -1}\n", "f.yaml:2:22: count is the number -1: write a whole number"},
		{"no YAML", "expect: [", "f.yaml:1:9: read YAML: "},
		{"nothing", "", "f.yaml:1:1: 0 YAML documents"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseExpect("f.yaml", []byte(tc.source))
			require.ErrorContains(t, err, tc.want)
		})
	}
	_, err := ReadExpect(filepath.Join(t.TempDir(), "no.yaml"))
	require.ErrorContains(t, err, "read what is expected: ")
}

func TestACaseOfSeveralCapturesTellsThemApart(t *testing.T) {
	dir := folder(t)
	got, err := Parse(filepath.Join(dir, "case.yaml"), []byte("name: n\ncapture: [a.scap, a.scap]\nexpect: [{rule: R, capture: 2}, {rule: R}]\n"))
	require.NoError(t, err)
	capture := filepath.Join(dir, "a.scap")
	assert.Equal(t, []string{capture, capture}, got[0].Captures)
	assert.Equal(t, []int{2, 0}, []int{got[0].Expect[0].Capture, got[0].Expect[1].Capture})
}

func TestACaseWithoutExpectIsADraftAlone(t *testing.T) {
	file := filepath.Join(folder(t), "case.yaml")
	got, err := Parse(file, []byte("name: n\ncapture: a.scap\n"))
	require.NoError(t, err)
	assert.True(t, got[0].Draft)
	require.EqualError(t, got[0].CheckComplete(), file+":1:1: no expect: list every alert that must come, write `expect: []` for silence, "+
		"or have it drafted with stagectl test --update=diff")
	got, err = Parse(file, []byte("name: n\ncapture: a.scap\nexpect: []\n"))
	require.NoError(t, err)
	require.NoError(t, got[0].CheckComplete())
}
