// Package e2e_test holds the shipped rules to what every one of them promises.
package e2e_test

import (
	"regexp"
	"slices"
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

// sources are the event sources that rules are for.
var sources = map[string]struct {
	output []string       // who did it, and where
	fields *regexp.Regexp // that have values on its events
}{
	ruleset.SyscallSource: {
		output: []string{"baseline.workload", "proc.name", "proc.cmdline", "proc.pname", "user.name"},
		fields: regexp.MustCompile(`^(staging|baseline|posture|evt|fd|proc|user|container)\.`),
	},
	"k8s_audit": {
		output: []string{"baseline.workload", "baseline.windows", "audit.user", "audit.target"},
		fields: regexp.MustCompile(`^(audit\.\w+|staging\.(sources|once)|posture\.(sensitive|reasons|root)|` +
			`baseline\.(workload|status|age|windows|confidence|new))(\[|$)`),
	},
}

func TestShippedRules(t *testing.T) {
	for _, r := range shippedRules(t) {
		t.Run(r.Name, func(t *testing.T) {
			source, ok := sources[r.Source]
			require.True(t, ok, "source %s", r.Source)
			for _, want := range source.output {
				assert.Contains(t, r.Format.Fields(), want)
			}
			condition, output := r.Fields()
			for _, f := range slices.Concat(condition, output) {
				assert.Regexp(t, source.fields, f.String(), "it has no value on the events of %s", r.Source)
			}
			if r.Source != ruleset.SyscallSource {
				assert.Regexp(t, `^audit\.action (=|in) `, r.Condition, "it asks about every event")
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
