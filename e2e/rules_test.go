// Package e2e_test holds the shipped rules to what every one of them promises.
package e2e_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

func shippedRules(t *testing.T) []ruleset.Rule {
	set, err := ruleset.Load("../macros", "../rules")
	require.NoError(t, err)
	assert.Empty(t, set.Warnings)
	rules := set.Rules()
	require.NotEmpty(t, rules)
	return rules
}

func TestShippedRules(t *testing.T) {
	technique := regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)
	once := regexp.MustCompile(`and staging\.once\[([a-z_]+)(?:/\w+)?\] = true\s*$`)
	keys := map[string]string{}
	for _, r := range shippedRules(t) {
		t.Run(r.Name, func(t *testing.T) {
			assert.True(t, r.Enabled)
			assert.Equal(t, ruleset.SyscallSource, r.Source)
			assert.NotEmpty(t, r.Desc)
			assert.False(t, r.EventTypes.IsBroad(), "it asks about every event")

			// A storm of alerts is one alert, and each rule counts for itself.
			last := once.FindStringSubmatch(r.Condition)
			if assert.NotNil(t, last, "staging.once is the last thing asked") {
				assert.Empty(t, keys[last[1]], "a key belongs to one rule")
				keys[last[1]] = r.Name
			}

			// Bracketed keys break the outputs of Falcosidekick.
			_, output := r.Fields()
			for _, f := range output {
				assert.NotContains(t, f.String(), "[", "the output's fields take no argument")
			}
			for _, want := range []string{"baseline.workload", "proc.name", "proc.cmdline", "proc.pname", "user.name"} {
				assert.Contains(t, r.Format.Fields(), want)
			}

			assert.True(t, slices.ContainsFunc(r.Tags, func(tag string) bool { return strings.HasPrefix(tag, "maturity_") }))
			assert.True(t, slices.ContainsFunc(r.Tags, technique.MatchString), "it names an ATT&CK technique")

			// Falco asks exceptions after the condition, when staging.once is spent: those of whole workloads alone do no harm.
			if assert.Len(t, r.Exceptions, 1) {
				x := r.Exceptions[0]
				assert.Equal(t, "workload", x.Name)
				assert.Equal(t, ruleset.Entry{Text: "baseline.workload"}, x.Fields)
				assert.Equal(t, ruleset.Entry{Text: "in"}, x.Comps)
				assert.Empty(t, x.Values, "whom to leave out is for users to say")
			}
		})
	}
}
