package verdict

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

type fields = map[string]any

var clock = time.Date(2026, 11, 23, 17, 2, 22, 0, time.UTC)

func fired(rule, priority string, f fields) Alert {
	clock = clock.Add(time.Millisecond)
	return Alert{Capture: 1, Alert: alert.Alert{Rule: rule, Priority: priority, Source: "syscall", Time: clock, OutputFields: f}}
}

func entry(rule string, conditions ...cases.Field) cases.Expectation {
	return cases.Expectation{Rule: rule, Count: cases.Count{Min: 1, Max: 1}, Fields: conditions}
}

func counted(e cases.Expectation, minimum, maximum int) cases.Expectation {
	e.Count = cases.Count{Min: minimum, Max: maximum}
	return e
}

func is(field string, value any) cases.Field {
	return cases.Field{Name: field, Want: cases.Equal{Value: value}}
}

func atLeast(field, n string) cases.Field {
	return cases.Field{Name: field, Want: cases.Between{Min: &cases.Bound{Number: json.Number(n), Literal: n}}}
}

func TestAlertsAreTheExpectedOnes(t *testing.T) {
	for _, tc := range []struct {
		name     string
		expected []cases.Expectation
		alerts   []Alert
		passed   bool
	}{
		{"silence where silence is expected", nil, nil, true},
		{"an alert at NOTICE breaks silence", nil, []Alert{fired("R", "Notice", nil)}, false},
		{"an alert below NOTICE does not", nil, []Alert{fired("R", "Informational", nil), fired("R", "Debug", nil)}, true},
		{"an alert of an unknown priority is never passed over", nil, []Alert{fired("R", "Strange", nil)}, false},
		{"an expected alert comes", []cases.Expectation{entry("R")}, []Alert{fired("R", "Warning", nil)}, true},
		{"an expected alert does not come", []cases.Expectation{entry("R")}, nil, false},
		{"an expected alert below NOTICE counts", []cases.Expectation{entry("R")}, []Alert{fired("R", "Debug", nil)}, true},
		{"an expected alert below NOTICE comes too often", []cases.Expectation{entry("R")},
			[]Alert{fired("R", "Debug", nil), fired("R", "Debug", nil)}, false},
		{"a rule below NOTICE that must not fire does", []cases.Expectation{counted(entry("R"), 0, 0)},
			[]Alert{fired("R", "Debug", nil)}, false},
		{"a count is met", []cases.Expectation{counted(entry("R"), 2, 3)},
			[]Alert{fired("R", "Notice", nil), fired("R", "Notice", nil)}, true},
		{"a count is exceeded", []cases.Expectation{counted(entry("R"), 0, 1)},
			[]Alert{fired("R", "Notice", nil), fired("R", "Notice", nil)}, false},
		{"a count without an end takes any number", []cases.Expectation{counted(entry("R"), 1, cases.Unbounded)},
			[]Alert{fired("R", "Notice", nil), fired("R", "Notice", nil), fired("R", "Notice", nil)}, true},
		{"a field that the output does not have is not null", []cases.Expectation{entry("R", is("f", nil))},
			[]Alert{fired("R", "Notice", fields{})}, false},
		{"a field without a value is null", []cases.Expectation{entry("R", is("f", nil))},
			[]Alert{fired("R", "Notice", fields{"f": nil})}, true},
		{"a wide entry leaves the narrow one its alert", []cases.Expectation{entry("R"), entry("R", is("f", "a"))},
			[]Alert{fired("R", "Notice", fields{"f": "a"}), fired("R", "Notice", fields{"f": "b"})}, true},
		{"a wide entry without an end leaves the narrow one its alert",
			[]cases.Expectation{counted(entry("R"), 0, cases.Unbounded), entry("R", is("f", "a"))},
			[]Alert{fired("R", "Notice", fields{"f": "a"}), fired("R", "Notice", fields{"f": "b"})}, true},
		{"three entries share alerts in the only way that works",
			[]cases.Expectation{entry("R"), entry("R", is("f", "a")), entry("R", is("f", "a"), is("g", "x"))},
			[]Alert{fired("R", "Notice", fields{"f": "a", "g": "x"}), fired("R", "Notice", fields{"f": "a", "g": "y"}),
				fired("R", "Notice", fields{"f": "b", "g": "y"})}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := Compare(tc.expected, tc.alerts)
			assert.Equal(t, tc.passed, v.Passed(), "%+v", v)
		})
	}
}

func TestPriorityIsCheckedWhereItIsGiven(t *testing.T) {
	e := entry("R")
	warning := ruleset.PriorityWarning
	e.Priority = &warning
	assert.True(t, Compare([]cases.Expectation{e}, []Alert{fired("R", "Warning", nil)}).Passed())
	v := Compare([]cases.Expectation{e}, []Alert{fired("R", "Notice", nil)})
	require.Len(t, v.Missing, 1)
	require.Len(t, v.Missing[0].Differences, 1)
	assert.Equal(t, Difference{Field: "priority", Want: cases.Equal{Value: "Warning"}, Got: "Notice"}, v.Missing[0].Differences[0])
}

func TestTheCaptureIsCheckedWhereItIsGiven(t *testing.T) {
	first, second := fired("R", "Notice", nil), fired("R", "Notice", nil)
	second.Capture = 2
	e := entry("R")
	e.Capture = 2
	assert.True(t, Compare([]cases.Expectation{e}, []Alert{second}).Passed())
	assert.True(t, Compare([]cases.Expectation{entry("R"), e}, []Alert{first, second}).Passed(), "any capture will do for the other")
	v := Compare([]cases.Expectation{e}, []Alert{first})
	require.Len(t, v.Missing, 1)
	assert.Equal(t, []Difference{{Field: "capture", Want: cases.Equal{Value: json.Number("2")}, Got: json.Number("1")}}, v.Missing[0].Differences)
}

func TestNumbersKeepTheirPrecision(t *testing.T) {
	e := []cases.Expectation{entry("R", atLeast("staging.bytes", "9007199254740993"))} // 2^53 + 1
	assert.True(t, Compare(e, []Alert{fired("R", "Notice", fields{"staging.bytes": json.Number("9007199254740993")})}).Passed())
	assert.False(t, Compare(e, []Alert{fired("R", "Notice", fields{"staging.bytes": json.Number("9007199254740992")})}).Passed())
}

func TestAMissingAlertComesWithTheOneThatIsNearest(t *testing.T) {
	want := entry("Egress", is("staging.dir", "/tmp/.x"), atLeast("staging.bytes", "100"), is("proc.name", "curl"))
	far := fired("Egress", "Warning", fields{"staging.dir": "/srv", "staging.bytes": json.Number("5"), "proc.name": "curl"})
	near := fired("Egress", "Warning", fields{"staging.dir": "/tmp/.x", "staging.bytes": json.Number("99"), "proc.name": "curl"})
	other := fired("Other", "Warning", fields{"staging.dir": "/tmp/.x", "staging.bytes": json.Number("100"), "proc.name": "curl"})

	v := Compare([]cases.Expectation{want}, []Alert{other, far, near})
	require.Len(t, v.Missing, 1)
	m := v.Missing[0]
	assert.Equal(t, 0, m.Got)
	require.NotNil(t, m.Nearest)
	assert.Equal(t, near.Time, m.Nearest.Time, "fewest differing fields")
	require.Len(t, m.Differences, 1)
	assert.Equal(t, "staging.bytes", m.Differences[0].Field)
	assert.Equal(t, "at least 100", m.Differences[0].Want.String())
	assert.Equal(t, json.Number("99"), m.Differences[0].Got)
	var agreed []string
	for _, d := range m.Agreed {
		agreed = append(agreed, d.Field)
	}
	assert.Equal(t, []string{"staging.dir", "proc.name"}, agreed)

	v = Compare([]cases.Expectation{want}, []Alert{other, far})
	assert.Equal(t, far.Time, v.Missing[0].Nearest.Time, "the same rule is nearer than any other")

	v = Compare([]cases.Expectation{want}, []Alert{other})
	assert.Equal(t, []Difference{{Field: "rule", Want: cases.Equal{Value: "Egress"}, Got: "Other"}}, v.Missing[0].Differences)

	v = Compare([]cases.Expectation{counted(want, 2, 2)}, []Alert{fired("Egress", "Warning",
		fields{"staging.dir": "/tmp/.x", "staging.bytes": json.Number("100"), "proc.name": "curl"})})
	assert.Equal(t, 1, v.Missing[0].Got)
	assert.Nil(t, v.Missing[0].Nearest, "an alert that counts already is not offered again")
}

func TestAFieldThatTheOutputLacksIsToldFromOneWithoutAValue(t *testing.T) {
	want := entry("R", is("a", "x"), is("b", "x"))
	v := Compare([]cases.Expectation{want}, []Alert{fired("R", "Notice", fields{"b": nil})})
	require.Len(t, v.Missing, 1)
	require.Len(t, v.Missing[0].Differences, 2)
	assert.True(t, v.Missing[0].Differences[0].Absent)
	assert.False(t, v.Missing[0].Differences[1].Absent)
	assert.Nil(t, v.Missing[0].Differences[1].Got)
}

func TestAnUnexpectedAlertComesWithTheEntryThatIsNearest(t *testing.T) {
	expected := []cases.Expectation{
		entry("Other"),
		counted(entry("R", is("f", "a"), is("g", "x")), 0, 1),
		counted(entry("R", is("f", "b")), 0, 1),
	}
	v := Compare(expected, []Alert{
		fired("Other", "Notice", nil),
		fired("R", "Notice", fields{"f": "b", "g": "x"}),
		fired("R", "Notice", fields{"f": "c", "g": "x"}),
		fired("R", "Notice", fields{"f": "b", "g": "y"}),
		fired("Else", "Notice", fields{"f": "b"}),
	})
	require.Len(t, v.Unexpected, 3)
	one, two, three := v.Unexpected[0], v.Unexpected[1], v.Unexpected[2]
	assert.Equal(t, expected[1], *one.Nearest)
	assert.Equal(t, []Difference{{Field: "f", Want: cases.Equal{Value: "a"}, Got: "c"}}, one.Differences)
	assert.Equal(t, expected[2], *two.Nearest)
	assert.Empty(t, two.Differences, "the entry fits but has all that it allows")
	assert.Nil(t, three.Nearest, "no entry expects its rule")
}

// The greedy choices of assign are held against trying every assignment, over all small inputs of one rule.
func TestAssignmentIsTheBestThereIs(t *testing.T) {
	conditions := [][]cases.Field{nil, {is("f", "a")}, {is("f", "b")}}
	counts := []cases.Count{{Min: 0, Max: 1}, {Min: 1, Max: 1}, {Min: 1, Max: 2}, {Min: 2, Max: 2}}
	kinds := []Alert{fired("R", "Warning", fields{"f": "a"}), fired("R", "Warning", fields{"f": "b"}),
		fired("R", "Warning", fields{"f": "c"}), fired("R", "Debug", fields{"f": "a"})}
	var entries []cases.Expectation
	for _, c := range conditions {
		for _, n := range counts {
			entries = append(entries, cases.Expectation{Rule: "R", Count: n, Fields: c})
		}
	}
	for _, first := range entries {
		for _, second := range entries {
			expected := []cases.Expectation{first, second}
			for code := range 4 * 4 * 4 {
				alerts := []Alert{kinds[code%4], kinds[code/4%4], kinds[code/16]}
				if got, want := Compare(expected, alerts).Passed(), possible(expected, alerts); got != want {
					require.Equal(t, want, got, fmt.Sprintf("expected %+v\nalerts %+v", expected, alerts))
				}
			}
		}
	}
}

// possible tries every way to give alerts to entries. One that fits an entry must be given.
func possible(expected []cases.Expectation, alerts []Alert) bool {
	taken := make([]int, len(expected))
	var try func(i int) bool
	try = func(i int) bool {
		if i == len(alerts) {
			for e, want := range expected {
				if taken[e] < want.Count.Min || taken[e] > want.Count.Max {
					return false
				}
			}
			return true
		}
		fits := false
		for e, want := range expected {
			if len(differences(want, alerts[i])) == 0 {
				fits = true
				taken[e]++
				ok := try(i + 1)
				taken[e]--
				if ok {
					return true
				}
			}
		}
		return !fits && !urgent(alerts[i]) && try(i+1)
	}
	return try(0)
}
