package verdict

import (
	"slices"

	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
)

// Tally holds alerts against the expected ones while they come. What it keeps is bounded by the counts that are expected, not
// by how many alerts come.
type Tally struct {
	expected []cases.Expectation
	alerts   []Alert        // those that decide
	kept     map[string]int // how many of alerts fit the same entries
	others   []Alert        // the last of those that may come unexpected: one may be the nearest to what is missing
	now      Verdict        // on alerts
}

// maxOthers bounds what is kept for the explanation alone.
const maxOthers = 64

// NewTally expects alerts, of which none has come.
func NewTally(expected []cases.Expectation) *Tally {
	return &Tally{expected: expected, kept: map[string]int{}, now: Compare(expected, nil)}
}

// Add counts an alert that came.
func (t *Tally) Add(a Alert) {
	fits, most := t.fits(a)
	switch {
	case !slices.Contains(fits, true) && !urgent(a):
		if len(t.others) == maxOthers {
			t.others = slices.Delete(t.others, 0, 1)
		}
		t.others = append(t.others, a)
	case t.kept[key(fits)] < most:
		t.kept[key(fits)]++
		t.alerts = append(t.alerts, a)
		t.now = Compare(t.expected, t.alerts)
	}
}

// fits tells which entries an alert meets, and how many that meet the same ones can make a difference. Entries that meet the
// same alerts are filled by any of them; what is left over goes to one without an end, or else is one too many.
func (t *Tally) fits(a Alert) (fits []bool, most int) {
	endless := false
	for _, want := range t.expected {
		fit := len(differences(want, a)) == 0
		fits = append(fits, fit)
		if !fit {
			continue
		}
		count := want.Count.Max
		if count == cases.Unbounded {
			endless, count = true, want.Count.Min
		}
		most = min(most, cases.Unbounded/2) + min(count, cases.Unbounded/2) // does not overflow
	}
	if !endless {
		most++
	}
	return fits, most
}

func key(fits []bool) string {
	text := make([]byte, len(fits))
	for i, fit := range fits {
		if fit {
			text[i] = 1
		}
	}
	return string(text)
}

// Met tells whether all that must come has come.
func (t *Tally) Met() bool { return len(t.now.Missing) == 0 }

// Failed tells whether an alert came that no entry takes. It cannot become right by what comes later.
func (t *Tally) Failed() bool { return len(t.now.Unexpected) > 0 }

// Verdict is what the alerts so far come to. Of an entry's alerts it need not have all.
func (t *Tally) Verdict() Verdict {
	return Compare(t.expected, slices.Concat(t.alerts, t.others))
}
