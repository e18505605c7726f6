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
rule One: flip alias
  One: not (evt.type = read or evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)
macro checkpoint: flip evt.type = read
  One: (not evt.type = read or evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)
  Two: (not evt.type = read or evt.type = write) and fd.num > 2
rule Two: flip checkpoint
  Two: not (evt.type = read or evt.type = write) and fd.num > 2
rule One: drop not single
  One: (evt.type = read or evt.type = write) and (proc.name = a or proc.name = b)
macro checkpoint: drop evt.type = write
  One: evt.type = read and not fd.num > 2 and (proc.name = a or proc.name = b)
  Two: evt.type = read and fd.num > 2
rule Two: drop single
  Two: evt.type = read or evt.type = write
rule One: flip not single
  One: (evt.type = read or evt.type = write) and fd.num > 2 and (proc.name = a or proc.name = b)
macro checkpoint: flip evt.type = write
  One: (evt.type = read or not evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)
  Two: (evt.type = read or not evt.type = write) and fd.num > 2
rule Two: flip single
  Two: (evt.type = read or evt.type = write) and not fd.num > 2
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
	r, _ := set.Rule("Two")
	text, err := File([]ruleset.Rule{r})
	require.NoError(t, err)
	back := load(t, string(text))
	assert.Empty(t, back.Warnings)
	got, ok := back.Rule("Two")
	require.True(t, ok)
	assert.Equal(t, []any{r.Filter, r.Output, r.Priority, r.Tags, r.Source}, []any{got.Filter, got.Output, got.Priority, got.Tags, got.Source})
}

func TestWhereARuleAndItsChangePartIsACondition(t *testing.T) {
	set := load(t, `- rule: R
  desc: d
  condition: evt.type = read and fd.num > 2 and staging.once[k] = true
  output: o
  priority: NOTICE
- rule: Middle
  desc: d
  condition: evt.type = read and staging.once[m] = true and fd.num > 2
  output: o
  priority: NOTICE
`)
	got := map[string]string{}
	for _, m := range Mutants(set) {
		before, _ := set.Rule(m.Name)
		got[m.String()] = "cannot be told"
		if condition, ok := Differs(before, m.Apply(set)[0]); ok {
			got[m.String()] = condition
		}
	}
	assert.Equal(t, map[string]string{
		"rule R: drop evt.type = read": "(evt.type = read and fd.num > 2) and not fd.num > 2 or fd.num > 2 and not (evt.type = read and fd.num > 2)",
		"rule R: flip evt.type = read": "(evt.type = read and fd.num > 2) and not (not evt.type = read and fd.num > 2) or " +
			"(not evt.type = read and fd.num > 2) and not (evt.type = read and fd.num > 2)",
		"rule R: drop fd.num > 2": "(evt.type = read and fd.num > 2) and not evt.type = read or evt.type = read and not (evt.type = read and fd.num > 2)",
		"rule R: flip fd.num > 2": "(evt.type = read and fd.num > 2) and not (evt.type = read and not fd.num > 2) or " +
			"(evt.type = read and not fd.num > 2) and not (evt.type = read and fd.num > 2)",
		"rule R: drop staging.once[k] = true":      "cannot be told",
		"rule R: flip staging.once[k] = true":      "cannot be told",
		"rule Middle: drop evt.type = read":        "cannot be told",
		"rule Middle: flip evt.type = read":        "cannot be told",
		"rule Middle: drop staging.once[m] = true": "cannot be told",
		"rule Middle: flip staging.once[m] = true": "cannot be told",
		"rule Middle: drop fd.num > 2":             "cannot be told",
		"rule Middle: flip fd.num > 2":             "cannot be told",
	}, got)
}
