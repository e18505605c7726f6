package threshold

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

const macros = `
- macro: busy
  condition: (evt.rawtime.ns < 20000000)
- macro: odd
  condition: (staging.location in (hidden, shm))
- macro: volume
  condition: >
    ((odd and staging.bytes >= 5000)
    or (staging.location = tmp and staging.bytes >= 64000))
- macro: small
  condition: (staging.files > 10)
`

func rules(t *testing.T, text string) *ruleset.Set {
	t.Helper()
	set, err := ruleset.Parse(ruleset.File{Name: "rules.yaml", Data: []byte(text)})
	require.NoError(t, err)
	return set
}

func rule(condition string) string {
	return "\n- rule: R\n  desc: d\n  condition: >\n    " + condition + "\n  output: o\n  priority: NOTICE\n"
}

func compiled(t *testing.T, condition string) ([]Threshold, *Rule) {
	t.Helper()
	set := rules(t, macros+rule(condition))
	found := Find(set)
	r, ok := set.Rule("R")
	require.True(t, ok)
	c, err := Compile(r, found)
	require.NoError(t, err)
	return found, c
}

func TestThresholdsAreTheNumbersThatUsedMacrosComparePluginFieldsWith(t *testing.T) {
	found, _ := compiled(t, "evt.type = close and busy and volume and staging.bytes >= 7 and staging.once[k] = true")
	var names []string
	for _, f := range found {
		names = append(names, f.String())
	}
	assert.Equal(t, []string{"volume: staging.bytes (1 of 2)", "volume: staging.bytes (2 of 2)"}, names,
		"no time of day, no macro that no rule uses, no number in a rule")
	assert.Equal(t, uint64(5000), found[0].Value)
	assert.Equal(t, []uint64{625, 1250, 2500, 3750, 5000, 7500, 10000, 20000, 40000}, found[0].Candidates)
}

func TestQueryAsksWithTheMostPermissiveValuesAndWithoutOnce(t *testing.T) {
	_, r := compiled(t, "evt.type = close and volume and not small and staging.once[k/6h] = true")
	assert.Equal(t, "evt.type = close and (staging.location in (hidden, shm) and staging.bytes >= 625 or "+
		"staging.location = tmp and staging.bytes >= 8000) and not staging.files > 80", r.Query.Filter)
	assert.Equal(t, []string{"baseline.workload", "staging.bytes", "staging.files", "staging.location"}, r.Query.Fields)
	assert.True(t, r.Once)
	assert.Equal(t, 6*time.Hour, r.Interval)
}

func TestRuleIsEvaluatedAtAnyValues(t *testing.T) {
	_, r := compiled(t, "evt.type = close and volume and not small and staging.once[k] = true and not baseline.workload in (a/b/c)")
	for _, tc := range []struct {
		name           string
		values         map[string]any
		at             []uint64
		spends, alerts bool
	}{
		{"as much as the threshold", map[string]any{"staging.location": "shm", "staging.bytes": json.Number("5000")},
			[]uint64{5000, 64000, 10}, true, true},
		{"one byte less", map[string]any{"staging.location": "shm", "staging.bytes": json.Number("4999")},
			[]uint64{5000, 64000, 10}, false, true},
		{"one byte less than before, at a lower one", map[string]any{"staging.location": "shm", "staging.bytes": json.Number("4999")},
			[]uint64{4000, 64000, 10}, true, true},
		{"a place with the other threshold", map[string]any{"staging.location": "tmp", "staging.bytes": json.Number("5000")},
			[]uint64{5000, 64000, 10}, false, true},
		{"no value", map[string]any{"staging.location": "shm"}, []uint64{1, 1, 10}, false, true},
		{"more than a negated threshold", map[string]any{"staging.location": "shm", "staging.bytes": json.Number("9000"),
			"staging.files": json.Number("11")}, []uint64{5000, 64000, 10}, false, true},
		{"as much as a negated threshold", map[string]any{"staging.location": "shm", "staging.bytes": json.Number("9000"),
			"staging.files": json.Number("10")}, []uint64{5000, 64000, 10}, true, true},
		{"an exception comes after staging.once is spent", map[string]any{"staging.location": "shm", "staging.bytes": json.Number("9000"),
			"baseline.workload": "a/b/c"}, []uint64{5000, 64000, 10}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := r.Event(engine.Sample{Event: 7, Container: "0123456789ab", Values: tc.values})
			require.NoError(t, err)
			assert.Equal(t, tc.spends, r.Spends(&e, tc.at))
			assert.Equal(t, tc.alerts, r.Alerts(&e))
		})
	}
}

func TestServicesOfTheHostHaveAccountsOfTheirOwn(t *testing.T) {
	_, r := compiled(t, "evt.type = close and volume and staging.once[k] = true")
	one, err := r.Event(engine.Sample{Container: "host", Values: map[string]any{"baseline.workload": "host/sshd.service"}})
	require.NoError(t, err)
	assert.Equal(t, "host/sshd.service", one.Account)
}

func TestContainersOfAWorkloadMayShareAnAccount(t *testing.T) {
	_, r := compiled(t, "evt.type = close and volume and staging.once[k/24h/workload] = true")
	assert.Equal(t, 24*time.Hour, r.Interval)
	assert.Contains(t, r.Query.Fields, "posture.reasons")
	account := func(container, workload, access string) string {
		e, err := r.Event(engine.Sample{Container: container, Values: map[string]any{"baseline.workload": workload, "posture.reasons": access}})
		require.NoError(t, err)
		return e.Account
	}
	assert.Equal(t, account("367a841b0e49", "shop/web/web", "privileged"), account("9b1f6cbd2a07", "shop/web/web", "privileged"))
	assert.NotEqual(t, account("367a841b0e49", "shop/web/web", "privileged"), account("367a841b0e49", "shop/web/web", "host PID"))
	assert.NotEqual(t, account("367a841b0e49", "shop/web/web", "privileged"), account("367a841b0e49", "shop/api/api", "privileged"))
}

func TestConditionThatCannotBeEvaluatedIsRefused(t *testing.T) {
	for _, tc := range []struct{ name, condition, want string }{
		{"a pattern beside a threshold", "evt.type = close and (volume or proc.name glob a*) and staging.once[k] = true", `"proc.name glob a*" stands beside a threshold`},
		{"once inside another term", "evt.type = close and (staging.once[k] = true or volume)", "at the end"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set := rules(t, macros+rule(tc.condition))
			r, _ := set.Rule("R")
			_, err := Compile(r, Find(set))
			require.ErrorContains(t, err, "rules.yaml:")
			assert.ErrorContains(t, err, tc.want)
		})
	}
}

func TestOverrideLoadsAfterTheRulesAndSetsTheValues(t *testing.T) {
	text := macros + rule("evt.type = close and volume and small and staging.once[k] = true")
	set := rules(t, text)
	found := Find(set)
	require.Len(t, found, 3)
	override := Override(set, found, []uint64{1234, 64000, 10}, "why\nand how")
	assert.Contains(t, override, "# why\n# and how\n")
	assert.NotContains(t, override, "macro: small", "what stays as it is is left out")

	tuned, err := ruleset.Parse(ruleset.File{Name: "rules.yaml", Data: []byte(text)}, ruleset.File{Name: "override.yaml", Data: []byte(override)})
	require.NoError(t, err)
	var values []uint64
	for _, f := range Find(tuned) {
		values = append(values, f.Value)
	}
	assert.Equal(t, []uint64{1234, 64000, 10}, values)
}
