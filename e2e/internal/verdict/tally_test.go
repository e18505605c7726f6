package verdict

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
)

// A tally is held against comparing all alerts, after each of them, over all small inputs of one rule.
func TestATallyComesToWhatAllAlertsComeTo(t *testing.T) {
	conditions := [][]cases.Field{nil, {is("f", "a")}, {is("f", "b")}}
	counts := []cases.Count{{Min: 0, Max: 0}, {Min: 1, Max: 1}, {Min: 1, Max: 2}, {Min: 0, Max: cases.Unbounded}, {Min: 2, Max: cases.Unbounded}}
	kinds := []Alert{fired("R", "Warning", fields{"f": "a"}), fired("R", "Warning", fields{"f": "b"}),
		fired("R", "Warning", fields{"f": "c"}), fired("R", "Debug", fields{"f": "a"}), fired("R", "Debug", nil)}
	var entries []cases.Expectation
	for _, c := range conditions {
		for _, n := range counts {
			entries = append(entries, cases.Expectation{Rule: "R", Count: n, Fields: c})
		}
	}
	for _, first := range entries {
		for _, second := range entries {
			expected := []cases.Expectation{first, second}
			for code := range 5 * 5 * 5 * 5 {
				tally := NewTally(expected)
				var alerts []Alert
				for rest := code; len(alerts) < 4; rest /= 5 {
					alerts = append(alerts, kinds[rest%5])
					tally.Add(kinds[rest%5])
					all := Compare(expected, alerts)
					if tally.Met() != (len(all.Missing) == 0) || tally.Failed() != (len(all.Unexpected) > 0) || tally.Verdict().Passed() != all.Passed() {
						require.Fail(t, fmt.Sprintf("expected %+v\nalerts %+v\ntally %+v\nall %+v", expected, alerts, tally.now, all))
					}
				}
			}
		}
	}
}

func TestATallyIsMetBeforeItIsOver(t *testing.T) {
	tally := NewTally([]cases.Expectation{entry("R"), counted(entry("S"), 2, cases.Unbounded)})
	assert.False(t, tally.Met())
	for _, rule := range []string{"S", "R", "S", "S"} {
		tally.Add(fired(rule, "Notice", nil))
	}
	assert.True(t, tally.Met())
	assert.False(t, tally.Failed())
	tally.Add(fired("R", "Notice", nil))
	assert.True(t, tally.Failed(), "one too many")
	tally.Add(fired("S", "Notice", nil))
	assert.True(t, tally.Failed(), "what comes later does not change that")
}

func TestAStormIsNotKept(t *testing.T) {
	tally := NewTally([]cases.Expectation{counted(entry("R"), 3, cases.Unbounded), entry("Missing", is("f", "a"))})
	for range 100_000 {
		tally.Add(fired("R", "Warning", nil))
		tally.Add(fired("Quiet", "Debug", nil))
	}
	assert.Len(t, tally.alerts, 3)
	assert.Len(t, tally.others, maxOthers)
	tally.Add(fired("Missing", "Debug", fields{"f": "b"}))
	missing := tally.Verdict().Missing
	require.Len(t, missing, 1)
	require.NotNil(t, missing[0].Nearest)
	assert.Equal(t, "Missing", missing[0].Nearest.Rule, "one that may come unexpected explains what is missing")

	silence := NewTally(nil)
	for range 1000 {
		silence.Add(fired("R", "Warning", nil))
	}
	assert.Len(t, silence.alerts, 1)
}
