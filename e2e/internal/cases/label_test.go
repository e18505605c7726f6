package cases

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

func TestCaseIsAnAttackWhenSomebodyMustBeWoken(t *testing.T) {
	warning, notice := ruleset.PriorityWarning, ruleset.PriorityNotice
	priorities := map[string]ruleset.Priority{"Loud": ruleset.PriorityCritical, "Quiet": notice}
	for _, tc := range []struct {
		name string
		c    Case
		want bool
	}{
		{"an alert at WARNING", Case{Expect: []Expectation{{Rule: "x", Priority: &warning, Count: Count{1, 1}}}}, true},
		{"an alert whose rule is at CRITICAL", Case{Expect: []Expectation{{Rule: "Loud", Count: Count{1, 1}}}}, true},
		{"an alert at NOTICE", Case{Expect: []Expectation{{Rule: "Quiet", Count: Count{1, 1}}}}, false},
		{"an alert that must not come", Case{Expect: []Expectation{{Rule: "Loud", Count: Count{0, 0}}}}, false},
		{"silence", Case{}, false},
		{"silence about an attack", Case{Label: Attack}, true},
		{"an alert about ordinary work", Case{Label: Benign, Expect: []Expectation{{Rule: "Loud", Count: Count{1, 1}}}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) { assert.Equal(t, tc.want, tc.c.IsAttack(priorities)) })
	}
}

func labels(t *testing.T, text string) ([]Labelled, error) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.scap"), nil, 0o600))
	file := filepath.Join(dir, "labels.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return ReadLabels(file)
}

func TestLabelsAreReadWithTheirCaptures(t *testing.T) {
	got, err := labels(t, "- {capture: a.scap, label: attack}\n- capture: a.scap\n  label: benign\n  node_hours: 12.5\n")
	require.NoError(t, err)
	require.Len(t, got, 2)
	assert.Equal(t, Attack, got[0].Label)
	assert.Zero(t, got[0].NodeHours)
	assert.Equal(t, "a.scap", filepath.Base(got[1].Capture))
	assert.Equal(t, Benign, got[1].Label)
	assert.InDelta(t, 12.5, got[1].NodeHours, 1e-9)
}

func TestLabelsThatAreWrongAreRefusedWithTheirPlace(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"another label", "- {capture: a.scap, label: evil}\n", `labels.yaml:1:28: label "evil": write attack or benign`},
		{"no label", "- capture: a.scap\n", "write attack or benign"},
		{"a capture that is not there", "- {capture: b.scap, label: benign}\n", "labels.yaml:1:13:"},
		{"no hours", "- {capture: a.scap, label: benign, node_hours: 0}\n", "write a number of hours above 0"},
		{"hours in words", "- {capture: a.scap, label: benign, node_hours: many}\n", "write a number of hours above 0"},
		{"a key of another kind of file", "- {capture: a.scap, label: benign, expect: []}\n", `unknown key "expect"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := labels(t, tc.text)
			assert.ErrorContains(t, err, tc.want)
		})
	}
}
