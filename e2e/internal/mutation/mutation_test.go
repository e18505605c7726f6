package mutation

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

const rules = `
- macro: checkpoint
  condition: (evt.type = read or evt.type = write)
- macro: single
  condition: fd.num > 2
- macro: alias
  condition: checkpoint
- rule: One
  desc: d
  condition: alias and not single and (proc.name = a or proc.name = b)
  output: one
  priority: NOTICE
- rule: Two
  desc: d
  condition: checkpoint and single
  output: two
  priority: WARNING
  tags: [t]
- rule: Three
  desc: d
  condition: evt.type = close
  output: three
  priority: NOTICE
- rule: Off
  desc: d
  condition: checkpoint and fd.num = 9
  output: off
  priority: NOTICE
  enabled: false
`

func load(t *testing.T, texts ...string) *ruleset.Set {
	t.Helper()
	var files []ruleset.File
	for _, text := range texts {
		files = append(files, ruleset.File{Name: "a.yaml", Data: []byte(text)})
	}
	set, err := ruleset.Parse(files...)
	require.NoError(t, err)
	return set
}

func TestEveryOperandIsDroppedAndFlippedWhereItIsWritten(t *testing.T) {
	set := load(t, rules)
	var b strings.Builder
	for _, m := range Mutants(set) {
		b.WriteString(m.String() + "\n")
		for _, r := range m.Apply(set) {
			b.WriteString("  " + r.Name + ": " + r.Filter + "\n")
		}
	}
	assert.Equal(t, `rule One: drop alias
  One: not fd.num > 2 and (proc.name = a or proc.name = b)
macro checkpoint: drop evt.type = read
  One: evt.type = write and not fd.num > 2 and (proc.name = a or proc.name = b)
  Two: evt.type = write and fd.num > 2
rule Two: drop checkpoint
  Two: fd.num > 2
rule Three: flip evt.type = close
  Three: not evt.type = close
rule Off: drop checkpoint
rule One: flip alias
  One: not (evt.type = read or evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)
macro checkpoint: flip evt.type = read
  One: (not evt.type = read or evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)
  Two: (not evt.type = read or evt.type = write) and fd.num > 2
rule Two: flip checkpoint
  Two: not (evt.type = read or evt.type = write) and fd.num > 2
rule Off: flip checkpoint
rule One: drop not single
  One: (evt.type = read or evt.type = write) and (proc.name = a or proc.name = b)
macro checkpoint: drop evt.type = write
  One: evt.type = read and not fd.num > 2 and (proc.name = a or proc.name = b)
  Two: evt.type = read and fd.num > 2
rule Two: drop single
  Two: evt.type = read or evt.type = write
rule Off: drop fd.num = 9
rule One: flip not single
  One: (evt.type = read or evt.type = write) and fd.num > 2 and (proc.name = a or proc.name = b)
macro checkpoint: flip evt.type = write
  One: (evt.type = read or not evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)
  Two: (evt.type = read or not evt.type = write) and fd.num > 2
rule Two: flip single
  Two: (evt.type = read or evt.type = write) and not fd.num > 2
rule Off: flip fd.num = 9
rule One: drop proc.name = a or proc.name = b
  One: (evt.type = read or evt.type = write) and not fd.num > 2
rule One: flip proc.name = a or proc.name = b
  One: (evt.type = read or evt.type = write) and not fd.num > 2 and not (proc.name = a or proc.name = b)
rule One: drop proc.name = a
  One: (evt.type = read or evt.type = write) and not fd.num > 2 and proc.name = b
rule One: flip proc.name = a
  One: (evt.type = read or evt.type = write) and not fd.num > 2 and (not proc.name = a or proc.name = b)
rule One: drop proc.name = b
  One: (evt.type = read or evt.type = write) and not fd.num > 2 and proc.name = a
rule One: flip proc.name = b
  One: (evt.type = read or evt.type = write) and not fd.num > 2 and (proc.name = a or not proc.name = b)
`, b.String())
}

func TestARuleThatIsNotEnabledIsChangedWhereACaseEnablesIt(t *testing.T) {
	set := load(t, rules)
	enabled := load(t, rules, "- rule: Off\n  enabled: true\n  override: {enabled: replace}\n")
	for _, m := range Mutants(set) {
		if m.Name == "Off" {
			assert.Empty(t, m.Apply(set), m)
			assert.Len(t, m.Apply(enabled), 1, m)
		}
	}
}

func TestARuleThatIsAMacroIsChangedInTheMacro(t *testing.T) {
	set := load(t, "- macro: m\n  condition: (evt.type = read and fd.num > 2)\n- rule: R\n  desc: d\n  condition: m\n  output: o\n  priority: NOTICE\n")
	var names []string
	for _, m := range Mutants(set) {
		names = append(names, m.String())
		assert.Len(t, m.Apply(set), 1)
	}
	assert.Equal(t, []string{"macro m: drop evt.type = read", "macro m: flip evt.type = read", "macro m: drop fd.num > 2", "macro m: flip fd.num > 2"}, names)
}

func TestAMacroThatACaseHasTunedIsAnother(t *testing.T) {
	set := load(t, rules)
	tuned := load(t, rules, "- macro: checkpoint\n  condition: (evt.type = open or evt.type = write)\n  override: {condition: replace}\n")
	for _, m := range Mutants(set) {
		if m.Macro && m.Text == "evt.type = read" {
			assert.Empty(t, m.Apply(tuned), m)
		}
		if m.Macro && m.Text == "evt.type = write" {
			assert.Len(t, m.Apply(tuned), 2, m)
		}
	}
}

func TestAFileOfMutantsIsTheSameRules(t *testing.T) {
	set := load(t, rules)
	one, _ := set.Rule("One")
	two, _ := set.Rule("Two")
	text, err := File([][]ruleset.Rule{{one}, {one, two}})
	require.NoError(t, err)
	back := load(t, string(text))
	assert.Empty(t, back.Warnings)
	for name, want := range map[string]ruleset.Rule{"0#One": one, "1#One": one, "1#Two": two} {
		got, ok := back.Rule(name)
		require.True(t, ok, name)
		assert.Equal(t, []any{want.Filter, want.Output, want.Priority, want.Source}, []any{got.Filter, got.Output, got.Priority, got.Source})
		assert.ElementsMatch(t, want.Tags, got.Tags)
	}
	mutant, rule, err := RuleOf("1#Two # three")
	require.NoError(t, err)
	assert.Equal(t, []any{1, "Two # three"}, []any{mutant, rule})
	for _, name := range []string{"Two", "#Two", "x#Two"} {
		_, _, err := RuleOf(name)
		assert.ErrorContains(t, err, "no mutant has the rule", name)
	}
}

func TestMutantsThatRunTogetherShareNoMemory(t *testing.T) {
	set := load(t, `- rule: R
  desc: d
  condition: evt.type = read and not staging.once[a] = true and staging.once[b/6h] = true
  output: o
  priority: NOTICE
`)
	r, _ := set.Rule("R")
	text, err := File([][]ruleset.Rule{{r}, {r}})
	require.NoError(t, err)
	back := load(t, string(text))
	for name, want := range map[string]string{
		"0#R": "evt.type = read and not staging.once[0#a] = true and staging.once[0#b/6h] = true",
		"1#R": "evt.type = read and not staging.once[1#a] = true and staging.once[1#b/6h] = true",
	} {
		got, _ := back.Rule(name)
		assert.Equal(t, want, got.Filter)
	}
	assert.Contains(t, r.Expr.String(), "staging.once[a]", "the rule itself stays as it is")
}
