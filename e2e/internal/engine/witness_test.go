package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

func TestConditionsThatBeginAlikeAreAskedTogetherAndInTheirOrder(t *testing.T) {
	for name, c := range map[string]struct {
		conditions []string
		want       string
	}{
		"one is asked as it is": {
			[]string{"evt.num > 1 and evt.num < 9"},
			"evt.num > 1 and evt.num < 9 and witness.saw[0] = true or witness.which exists",
		},
		"what two begin with is asked once": {
			[]string{"evt.num > 1 and evt.num < 8", "evt.num > 1 and evt.num < 9"},
			"evt.num > 1 and (evt.num < 8 and witness.saw[0] = true or evt.num < 9 and witness.saw[1] = true) or witness.which exists",
		},
		"one that another begins with ends there": {
			[]string{"evt.num > 1", "evt.num > 1 and (evt.num < 8 or evt.num > 9)"},
			"evt.num > 1 and (witness.saw[0] = true or (evt.num < 8 or evt.num > 9) and witness.saw[1] = true) or witness.which exists",
		},
		"another one between them keeps its place": {
			[]string{"evt.num > 1", "evt.num > 2", "evt.num > 1"},
			"evt.num > 1 and witness.saw[0] = true or evt.num > 2 and witness.saw[1] = true or evt.num > 1 and witness.saw[2] = true or " +
				"witness.which exists",
		},
		"a term with a memory is asked for each": {
			[]string{"evt.num > 1 and staging.once[k] = true", "evt.num > 1 and staging.once[k] = true"},
			"evt.num > 1 and (staging.once[k] = true and witness.saw[0] = true or staging.once[k] = true and witness.saw[1] = true) or " +
				"witness.which exists",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var conditions []filter.Expr
			for _, text := range c.conditions {
				e, err := filter.Parse(text)
				require.NoError(t, err)
				conditions = append(conditions, e)
			}
			assert.Equal(t, c.want, printed(t, witnessed(conditions)))
		})
	}
}

// printed is a condition without parentheses that it does not need.
func printed(t *testing.T, text string) string {
	t.Helper()
	e, err := filter.Parse(text)
	require.NoError(t, err)
	return e.String()
}

func TestTheWitnesssNotesAreNumbersOfConditions(t *testing.T) {
	which, err := parseWhich("2,0", 3)
	require.NoError(t, err)
	assert.Equal(t, []int{2, 0}, which)
	for _, bad := range []string{"", "3", "-1", "0,", "x"} {
		_, err := parseWhich(bad, 3)
		assert.ErrorContains(t, err, "the witness notes", bad)
	}
}

// writeRules writes a rules file.
func writeRules(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// together are rules that share events, keys, terms and names of fields.
const together = `
- rule: First
  desc: d
  condition: evt.type = close and evt.num < 2000 and staging.once[shared] = true
  output: "first %proc.name of %evt.num\n%fd.name"
  priority: NOTICE
- rule: Second
  desc: d
  condition: evt.type = close and evt.num > 2 and evt.num < 2000 and staging.once[shared] = true
  output: second %evt.type
  priority: WARNING
- rule: Upper
  desc: d
  condition: evt.type = close and evt.num < 1000
  output: upper %toupper(proc.name)
  priority: NOTICE
- rule: Lower
  desc: d
  condition: evt.type = close and evt.num < 1000
  output: lower %proc.name
  priority: NOTICE
- rule: Never
  desc: d
  condition: evt.type = close and evt.num < 0
  output: never
  priority: NOTICE
`

func TestRulesOfOneReplayAreAskedAsFalcoAsksThem(t *testing.T) {
	req := Request{Capture: staging, Plugin: pluginPath(t), Rules: []string{writeRules(t, together)}}
	sysdigs, err := realSysdig(t).Replay(t.Context(), req)
	require.NoError(t, err)
	byRule := map[string][]alert.Alert{}
	for _, a := range sysdigs {
		byRule[a.Rule] = append(byRule[a.Rule], a)
	}
	require.NotEmpty(t, byRule["First"])
	assert.Empty(t, byRule["Second"], "the first rule has spent the key that they share, at an event before")
	assert.Empty(t, byRule["Never"])
	require.NotEmpty(t, byRule["Upper"])
	require.Len(t, byRule["Lower"], len(byRule["Upper"]))
	for i, upper := range byRule["Upper"] {
		lower := byRule["Lower"][i]
		assert.Equal(t, upper.OutputFields["evt.num"], lower.OutputFields["evt.num"])
		assert.Len(t, upper.OutputFields, 4, "its own, and the event's number, time and container")
		name := lower.OutputFields["proc.name"].(string)
		assert.Contains(t, lower.Output, "lower "+name)
		assert.Contains(t, upper.Output, "upper "+strings.ToUpper(name))
	}
	assert.Contains(t, byRule["First"][0].Output, "\n", "as the output has it")

	limited := req
	limited.Limit = 2
	few, err := realSysdig(t).Replay(t.Context(), limited)
	require.NoError(t, err)
	count := map[string]int{}
	for _, a := range few {
		count[a.Rule]++
	}
	assert.Equal(t, map[string]int{"First": min(2, len(byRule["First"])), "Upper": 2, "Lower": 2}, count)

	t.Run("falco", func(t *testing.T) {
		falcos, err := realFalco(t, "none").Replay(t.Context(), req)
		require.NoError(t, err)
		assert.Equal(t, numbered(t, falcos), numbered(t, sysdigs))
		falcos, err = realFalco(t, "none").Replay(t.Context(), limited)
		require.NoError(t, err)
		assert.Equal(t, numbered(t, falcos), numbered(t, few))
	})
}

// numbered are alerts as pairs of rule and event number.
func numbered(t *testing.T, alerts []alert.Alert) (pairs [][2]any) {
	t.Helper()
	for _, a := range alerts {
		n, ok := a.EventNumber()
		require.True(t, ok)
		pairs = append(pairs, [2]any{a.Rule, n})
	}
	return pairs
}

func TestARuleAtFaultIsNamedAmongOthers(t *testing.T) {
	rules := writeRules(t, together+`
- rule: Broken
  desc: d
  condition: evt.type = close and no.such = 1
  output: broken
  priority: NOTICE
`)
	_, err := realSysdig(t).Replay(t.Context(), Request{Capture: staging, Plugin: pluginPath(t), Rules: []string{rules}})
	require.ErrorContains(t, err, `rules.yaml:28:3: run the rule "Broken"`)
	assert.ErrorContains(t, err, "use --engine falco for others")
}
