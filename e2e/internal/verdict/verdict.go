// Package verdict decides whether the alerts of a replay are the ones that its case expects, and for people who must
// find out why not, says how near the alerts came. It touches nothing but its arguments.
package verdict

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// Verdict is the outcome of one case. It passes where nothing is missing and nothing unexpected.
type Verdict struct {
	Matched    []Match      // in the order of the case, entries that got at least one alert
	Missing    []Missing    // in the order of the case
	Unexpected []Unexpected // in the order of the alerts
}

// Passed tells whether the alerts are the expected ones.
func (v Verdict) Passed() bool { return len(v.Missing) == 0 && len(v.Unexpected) == 0 }

// An Alert is an alert and where it came.
type Alert struct {
	alert.Alert
	Capture int // the one of the case's captures, from 1; 0 for an alert that comes of none
}

// A Match is an entry with the alerts that were counted for it.
type Match struct {
	Expected cases.Expectation
	Alerts   []Alert
}

// Missing is an entry that got fewer alerts than it wants.
type Missing struct {
	Expected cases.Expectation
	Got      int
	// Nearest is the alert that no entry took and that differs least from this one; nil where none was left.
	Nearest     *Alert
	Differences []Difference // of Nearest, never empty where there is one
	Agreed      []Difference // what else the entry says, and Nearest has
}

// Unexpected is an alert that no entry took.
type Unexpected struct {
	Alert Alert
	// Nearest is the entry for the same rule that differs least; nil where no entry expects the rule. Without a
	// difference the entry had all the alerts that it allows.
	Nearest     *cases.Expectation
	Differences []Difference
	Agreed      []Difference // what else the entry says, and the alert has
}

// A Difference is one thing about an alert that an entry wants, and what the alert has: something else, or among what is agreed on, that.
type Difference struct {
	Field string // an output field, or else "rule", "priority" or "capture"
	Want  cases.Condition
	Got   any
	// Absent is set where the alert's output does not have the field at all: the rule's output must be changed, or the case.
	Absent bool
}

// Compare holds the alerts of a replay, in event order, against the expected ones. Each alert counts for one entry at most,
// and is given to entries such that as many as possible get what they want, whatever their order. Alerts below NOTICE
// that fit no entry are ignored.
func Compare(expected []cases.Expectation, alerts []Alert) Verdict {
	a := assign(expected, alerts)
	var v Verdict
	for e, want := range expected {
		var taken []Alert
		for i, al := range alerts {
			if a.entry[i] == e {
				taken = append(taken, al)
			}
		}
		if len(taken) > 0 {
			v.Matched = append(v.Matched, Match{want, taken})
		}
		if len(taken) < want.Count.Min {
			m := Missing{Expected: want, Got: len(taken)}
			m.Nearest, m.Differences = nearestAlert(want, alerts, a.entry)
			if m.Nearest != nil {
				_, m.Agreed = compare(want, *m.Nearest)
			}
			v.Missing = append(v.Missing, m)
		}
	}
	for i, al := range alerts {
		if a.entry[i] == none && (len(a.fits[i]) > 0 || urgent(al)) {
			u := Unexpected{Alert: al}
			u.Nearest, u.Differences = nearestEntry(expected, al)
			if u.Nearest != nil {
				_, u.Agreed = compare(*u.Nearest, al)
			}
			v.Unexpected = append(v.Unexpected, u)
		}
	}
	return v
}

// urgent tells whether an alert may not come unexpected. A priority that is not Falco's is never passed over.
func urgent(a Alert) bool {
	p, err := ruleset.ParsePriority(a.Priority)
	return err != nil || p.AtLeast(ruleset.PriorityNotice)
}

const none = -1

// assignment is a matching of alerts to entries.
type assignment struct {
	fits  [][]int // by alert: the entries that it meets, in order
	entry []int   // by alert: the entry that it counts for, or none
	taken []int   // by entry: the alerts that count for it
}

// assign gives alerts to entries along augmenting paths (Kuhn's algorithm, an entry being as many places as it allows). A
// path never takes an alert from an entry without giving it another, nor its place from an alert, so what is served first
// stays served: first the least that entries want, then the most that they allow.
func assign(expected []cases.Expectation, alerts []Alert) assignment {
	a := assignment{fits: make([][]int, len(alerts)), entry: make([]int, len(alerts)), taken: make([]int, len(expected))}
	for i, al := range alerts {
		a.entry[i] = none
		for e, want := range expected {
			if len(differences(want, al)) == 0 {
				a.fits[i] = append(a.fits[i], e)
			}
		}
	}
	places := make([]int, len(expected))
	for e, want := range expected {
		places[e] = want.Count.Min
	}
	a.place(places)
	for e, want := range expected {
		places[e] = want.Count.Max
	}
	a.place(places)
	return a
}

// place finds a place for each alert that has none, as far as places (by entry) allow.
func (a *assignment) place(places []int) {
	for i := range a.entry {
		if a.entry[i] == none {
			a.find(i, places, make([]bool, len(places)))
		}
	}
}

// find gives alert i a place, moving alerts that hold one to another of theirs where it must. Entries in seen were tried.
func (a *assignment) find(i int, places []int, seen []bool) bool {
	for _, e := range a.fits[i] {
		if seen[e] {
			continue
		}
		seen[e] = true
		if a.taken[e] < places[e] {
			a.taken[e]++
			a.entry[i] = e
			return true
		}
		for j, held := range a.entry {
			if held == e && a.find(j, places, seen) {
				a.entry[i] = e
				return true
			}
		}
	}
	return false
}

// differences lists how an alert differs from what an entry wants.
func differences(want cases.Expectation, a Alert) []Difference {
	differ, _ := compare(want, a)
	return differ
}

// compare holds an alert against what an entry wants: the rule, the priority, the capture, then the fields in their order.
func compare(want cases.Expectation, a Alert) (differ, agree []Difference) {
	add := func(d Difference, ok bool) {
		if ok {
			agree = append(agree, d)
		} else {
			differ = append(differ, d)
		}
	}
	if a.Rule != want.Rule {
		add(Difference{Field: "rule", Want: cases.Equal{Value: want.Rule}, Got: a.Rule}, false)
	}
	if p := want.Priority; p != nil {
		add(Difference{Field: "priority", Want: cases.Equal{Value: p.String()}, Got: a.Priority}, strings.EqualFold(p.String(), a.Priority))
	}
	if want.Capture != 0 && a.Capture != 0 {
		add(Difference{Field: "capture", Want: number(want.Capture), Got: number(a.Capture).Value}, want.Capture == a.Capture)
	}
	for _, f := range want.Fields {
		got, ok := a.OutputFields[f.Name]
		add(Difference{Field: f.Name, Want: f.Want, Got: got, Absent: !ok}, ok && f.Want.Match(got))
	}
	return differ, agree
}

func number(n int) cases.Equal { return cases.Equal{Value: json.Number(strconv.Itoa(n))} }

func nearestAlert(want cases.Expectation, alerts []Alert, entry []int) (*Alert, []Difference) {
	var nearest *Alert
	var least []Difference
	for i := range alerts {
		if entry[i] != none {
			continue
		}
		diffs := differences(want, alerts[i])
		if nearest == nil || nearer(diffs, least) {
			nearest, least = &alerts[i], diffs
		}
	}
	return nearest, least
}

func nearestEntry(expected []cases.Expectation, a Alert) (*cases.Expectation, []Difference) {
	var nearest *cases.Expectation
	var least []Difference
	for e := range expected {
		if expected[e].Rule != a.Rule {
			continue
		}
		diffs := differences(expected[e], a)
		if nearest == nil || nearer(diffs, least) {
			nearest, least = &expected[e], diffs
		}
	}
	return nearest, least
}

// nearer tells whether a is less of a difference than b. Another rule is more than any number of fields.
func nearer(a, b []Difference) bool {
	otherA, otherB := otherRule(a), otherRule(b)
	if otherA != otherB {
		return otherB
	}
	return len(a) < len(b)
}

func otherRule(diffs []Difference) bool { return len(diffs) > 0 && diffs[0].Field == "rule" }
