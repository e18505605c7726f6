// Package e2e_test holds the shipped rules to what every one of them promises.
package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/lint"
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

// TestShippedRulesHaveNoFindings is stagectl lint without a Falco.
func TestShippedRulesHaveNoFindings(t *testing.T) {
	files, err := ruleset.ReadFiles("../macros", "../rules")
	require.NoError(t, err)
	linter, err := lint.New()
	require.NoError(t, err)
	report := linter.Files(nil, files)
	assert.NotZero(t, report.Rules)
	for _, f := range report.Findings {
		assert.Fail(t, f.Msg, "%s (%s)", f.Pos, f.Check)
	}
}

func TestShippedRules(t *testing.T) {
	for _, r := range shippedRules(t) {
		t.Run(r.Name, func(t *testing.T) {
			assert.True(t, r.Enabled)
			// Who did it, and where.
			wanted := map[string][]string{
				ruleset.SyscallSource: {"baseline.workload", "proc.name", "proc.cmdline", "proc.pname", "user.name"},
				"k8s_audit":           {"baseline.workload", "audit.user", "audit.target"},
			}
			require.Contains(t, wanted, r.Source)
			for _, want := range wanted[r.Source] {
				assert.Contains(t, r.Format.Fields(), want)
			}

			// Which workloads to leave out is for users to say.
			if assert.Len(t, r.Exceptions, 1) {
				x := r.Exceptions[0]
				assert.Equal(t, "workload", x.Name)
				assert.Equal(t, ruleset.Entry{Text: "baseline.workload"}, x.Fields)
				assert.Equal(t, ruleset.Entry{Text: "in"}, x.Comps)
				assert.Empty(t, x.Values)
			}
		})
	}
}
