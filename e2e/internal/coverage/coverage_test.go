package coverage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

const rules = `
- list: unused_list
  items: [x]
- list: reads
  items: [read, pread]
- macro: checkpoint
  condition: (evt.type in (reads) or evt.type = write)
- macro: alias
  condition: checkpoint
- macro: single
  condition: fd.num > 2
- macro: unused_macro
  condition: proc.name = x
- rule: One
  desc: d
  condition: alias and not single and (proc.name = a or proc.name = b)
  output: o
  priority: NOTICE
  exceptions:
    - name: known
      fields: [proc.name, fd.num]
      values: [[c, 4]]
    - name: empty
      fields: [proc.name]
- rule: Two
  desc: d
  condition: checkpoint and single
  output: o
  priority: NOTICE
- rule: Off
  desc: d
  condition: evt.type = open
  output: o
  priority: NOTICE
  enabled: false
`

func load(t *testing.T, text string) *ruleset.Set {
	t.Helper()
	set, err := ruleset.Parse(ruleset.File{Name: "a.yaml", Data: []byte(text)})
	require.NoError(t, err)
	return set
}

func TestEveryTermIsAskedForWhereTheTermsBeforeItLeaveItOpen(t *testing.T) {
	var b strings.Builder
	for _, o := range Owners(load(t, rules)) {
		fmt.Fprintln(&b, o)
		for _, term := range o.Terms {
			fmt.Fprintf(&b, "  %s\n", term.Text)
			for _, c := range term.True {
				fmt.Fprintf(&b, "    + %s\n", c.Filter)
			}
			for _, c := range term.False {
				fmt.Fprintf(&b, "    - %s\n", c.Filter)
			}
		}
	}
	assert.Equal(t, `rule One
  alias
    + evt.type in (read, pread) or evt.type = write
    - not (evt.type in (read, pread) or evt.type = write)
  not single
    + (evt.type in (read, pread) or evt.type = write) and not fd.num > 2
    - (evt.type in (read, pread) or evt.type = write) and not (not fd.num > 2)
  proc.name = a or proc.name = b
    + (evt.type in (read, pread) or evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)
    - (evt.type in (read, pread) or evt.type = write) and not fd.num > 2 and not (proc.name = a or proc.name = b)
  proc.name = a
    + (evt.type in (read, pread) or evt.type = write) and not fd.num > 2 and proc.name = a
    - (evt.type in (read, pread) or evt.type = write) and not fd.num > 2 and not proc.name = a
  proc.name = b
    + (evt.type in (read, pread) or evt.type = write) and not fd.num > 2 and not proc.name = a and proc.name = b
    - (evt.type in (read, pread) or evt.type = write) and not fd.num > 2 and not proc.name = a and not proc.name = b
exception known of One
  proc.name = c
    + ((evt.type in (read, pread) or evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)) and proc.name = c
    - ((evt.type in (read, pread) or evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)) and not proc.name = c
  fd.num = 4
    + ((evt.type in (read, pread) or evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)) and proc.name = c and fd.num = 4
    - ((evt.type in (read, pread) or evt.type = write) and not fd.num > 2 and (proc.name = a or proc.name = b)) and proc.name = c and not fd.num = 4
rule Two
  checkpoint
    + evt.type in (read, pread) or evt.type = write
    - not (evt.type in (read, pread) or evt.type = write)
  single
    + (evt.type in (read, pread) or evt.type = write) and fd.num > 2
    - (evt.type in (read, pread) or evt.type = write) and not fd.num > 2
rule Off
  evt.type = open
    + evt.type = open
    - not evt.type = open
macro alias
  checkpoint
    + evt.type in (read, pread) or evt.type = write
    - not (evt.type in (read, pread) or evt.type = write)
macro checkpoint
  evt.type in (read, pread)
    + evt.type in (read, pread)
    - not evt.type in (read, pread)
  evt.type = write
    + not evt.type in (read, pread) and evt.type = write
    - not evt.type in (read, pread) and not evt.type = write
macro single
  fd.num > 2
    + (evt.type in (read, pread) or evt.type = write) and fd.num > 2
    - (evt.type in (read, pread) or evt.type = write) and not fd.num > 2
macro unused_macro
list reads
  its items
    + evt.type in (read, pread)
list unused_list
`, b.String())
}

func TestATermIsExercisedWhenBothOutcomesWereSeenAnywhere(t *testing.T) {
	owners := Owners(load(t, rules))
	find := func(name string) *Owner {
		for _, o := range owners {
			if o.Name == name {
				return o
			}
		}
		return nil
	}
	p := Measure(owners)
	open := p.Open("syscall")
	single := find("single").Terms[0]
	for _, c := range single.True {
		p.Saw(c.Source, c.Filter)
	}
	assert.True(t, single.SawTrue)
	assert.False(t, single.Exercised(), "it was never false")
	assert.Less(t, len(p.Open("syscall")), len(open), "what was seen is not asked for again")
	p.Saw("syscall", single.False[0].Filter)
	assert.True(t, single.Exercised())
	assert.True(t, find("single").Exercised())
	assert.True(t, find("Two").Terms[1].Exercised(), "the same events show it there")

	assert.False(t, find("reads").Exercised())
	p.Saw("k8s_audit", "evt.type in (read, pread)")
	assert.False(t, find("reads").Exercised(), "that was another source")
	p.Saw("syscall", "evt.type in (read, pread)")
	assert.True(t, find("reads").Exercised(), "a list need not be met by nothing")
	assert.False(t, find("unused_list").Exercised(), "no rule uses it")

	for _, c := range open {
		p.Saw("syscall", c)
	}
	assert.Empty(t, p.Open("syscall"))
	assert.True(t, find("One").Exercised())
	assert.True(t, find("known").Exercised())
}

func TestRulesOfAuditEventsAreAskedOfThem(t *testing.T) {
	owners := Owners(load(t, `- macro: both
  condition: (evt.num > 5)
- rule: Audit
  desc: d
  source: k8s_audit
  condition: both and baseline.workload = a
  output: o
  priority: NOTICE
- rule: Syscall
  desc: d
  condition: evt.type = read and both
  output: o
  priority: NOTICE
`))
	p := Measure(owners)
	assert.Equal(t, []string{"evt.num > 5", "not evt.num > 5", "evt.num > 5 and baseline.workload = a", "evt.num > 5 and not baseline.workload = a"},
		p.Open("k8s_audit"))
	assert.Contains(t, p.Open("syscall"), "evt.type = read and evt.num > 5")
	p.Saw("k8s_audit", "evt.num > 5")
	p.Saw("k8s_audit", "not evt.num > 5")
	assert.True(t, owners[2].Exercised(), "a macro is exercised by events of any source")
}

func TestStepsBeginAtTheCheckpointAndEndBeforeTheRuleFires(t *testing.T) {
	set := load(t, rules+`
- rule: Three
  desc: d
  condition: evt.type = read and checkpoint and fd.num > 3 and fd.num > 4
  output: o
  priority: NOTICE
- rule: Four
  desc: d
  condition: fd.num > 3 or evt.type = read
  output: o
  priority: NOTICE
- rule: Five
  desc: d
  condition: fd.num > 3 and evt.type = read
  output: o
  priority: NOTICE
- rule: Six
  desc: d
  condition: fd.num > 3 and evt.type = read and fd.num > 4
  output: o
  priority: NOTICE
`)
	const checkpoint = "(evt.type in (read, pread) or evt.type = write)"
	for name, want := range map[string]struct {
		steps             []string
		checkpoint, terms int
	}{
		"Two":   {[]string{"evt.type in (read, pread) or evt.type = write"}, 1, 2},
		"Three": {[]string{"evt.type = read and " + checkpoint, "evt.type = read and " + checkpoint + " and fd.num > 3"}, 2, 4},
		"Four":  {nil, 0, 1},
		"Five":  {[]string{"fd.num exists", "fd.num > 3"}, 0, 2},
		"Six":   {[]string{"fd.num > 3", "fd.num > 3 and evt.type = read"}, 1, 3},
	} {
		r, ok := set.Rule(name)
		require.True(t, ok)
		steps, n, terms := Steps(r)
		assert.Equal(t, want.steps, steps, name)
		assert.Equal(t, []int{want.checkpoint, want.terms}, []int{n, terms}, name)
	}
}

func TestTheReportNamesWhatIsMissingWithItsPlace(t *testing.T) {
	owners := Owners(load(t, rules))
	p := Measure(owners)
	for _, c := range p.Open("syscall") {
		if !strings.Contains(c, "proc.name = b") && c != "not evt.type in (read, pread) and not evt.type = write" {
			p.Saw("syscall", c)
		}
	}
	r := Report{Owners: owners, Rules: []Roles{
		{Rule: "One", Pos: ruleset.Position{File: "a.yaml", Line: 14, Column: 3}, Terms: 4, Attack: []string{"a", "b"}, Tuning: []string{"c"}},
		{Rule: "Two", Terms: 2, Attack: []string{"a"}, LookAlike: []LookAlike{{"l", 1}, {"m", 1}}, Tuning: []string{"c"}},
	}}
	var b strings.Builder
	require.NoError(t, WriteTable(&b, r, true))
	assert.Equal(t, `a.yaml:14:3: rule One
  never asked:  proc.name = a or proc.name = b
  never asked:  proc.name = b
a.yaml:20:7: exception known of One
  never asked:  proc.name = c
  never asked:  fd.num = 4
a.yaml:6:3: macro checkpoint
  never false:  evt.type = write
a.yaml:12:3: macro unused_macro: no rule uses it
a.yaml:2:3: list unused_list: no rule uses it

RULE  ATTACKS  LOOK-ALIKES  TUNINGS  NEAREST LOOK-ALIKE
One         2            0        1  -
Two         1            2        1  l, 1 of 2 terms
a.yaml:14:3: rule One: no case of a look-alike

10 of 15 terms exercised
1 of 2 rules lack a case
`, b.String())
	b.Reset()
	require.NoError(t, WriteTable(&b, r, false))
	assert.NotContains(t, b.String(), "no case of", "that is what a check is for")
	b.Reset()
	require.NoError(t, WriteJSON(&b, r))
	for _, want := range []string{`"terms": 15`, `"exercised": 10`, `"lacks": [
        "a look-alike"
      ]`, `"look_alike": [
        {
          "case": "l",
          "terms": 1
        },`, `"terms": []`} {
		assert.Contains(t, b.String(), want)
	}
	assert.NotContains(t, b.String(), "null")
}
