// Package draft writes the expect block of a case anew from the alerts that came, for a person to review. What holds already,
// comments, and the rest of the file stay as they are, byte for byte.
package draft

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// A Change is a case whose expect does not hold, with the alerts that came.
type Change struct {
	Case    cases.Case
	Verdict verdict.Verdict
	Alerts  []verdict.Alert
}

// Rewrite returns a case file's content with the expect of some of its cases drafted anew. All of the cases must be of this file.
func Rewrite(file string, source []byte, changes []Change) ([]byte, error) {
	doc, err := parse(file, source)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if err := doc.change(c); err != nil {
			return nil, err
		}
	}
	out := doc.edited()
	if err := check(file, source, out, changes); err != nil {
		return nil, fmt.Errorf("draft the cases of %s: %w; write their expect by hand", file, err)
	}
	return out, nil
}

// check holds the new content against the old: what was drafted holds, and nothing else has changed.
func check(file string, source, out []byte, changes []Change) error {
	before, err := cases.Parse(file, source)
	if err != nil {
		return err
	}
	after, err := cases.Parse(file, out)
	if err != nil {
		return err
	}
	if len(before) != len(after) {
		return fmt.Errorf("%d cases became %d", len(before), len(after))
	}
	for i, c := range after {
		at := slices.IndexFunc(changes, func(ch Change) bool { return ch.Case.Name == c.Name })
		switch {
		case at >= 0 && !verdict.Compare(c.Expect, changes[at].Alerts).Passed():
			return fmt.Errorf("what was drafted for %s does not hold", c.Name)
		case !same(before[i], c, at < 0):
			return fmt.Errorf("more than the expect of %s would change", before[i].Name)
		}
	}
	return nil
}

// same compares two cases without their places in the file.
func same(a, b cases.Case, withExpect bool) bool {
	text := func(c cases.Case) string {
		var b strings.Builder
		fmt.Fprintf(&b, "%q %q %q %q %s %q", c.Name, c.Description, c.Learn, c.Captures, c.InitConfig, c.Rules)
		if withExpect {
			for _, e := range c.Expect {
				fmt.Fprintf(&b, "\n%q %v %v %v", e.Rule, e.Priority, e.Capture, e.Count)
				for _, f := range e.Fields {
					fmt.Fprintf(&b, " %q %s", f.Name, f.Want)
				}
			}
		}
		return b.String()
	}
	return text(a) == text(b)
}

// An entry is one of the drafted list: an old one as it is (raw), or one that stands for alerts.
type entry struct {
	old    int // index among the old entries; -1 for a new one
	raw    bool
	alerts []verdict.Alert
}

// entries are what the list should be: the old ones in their order, changed where they do not hold, and then a new one
// for each group of alerts that differ in volumes alone. An old one for which nothing came is left out.
func entries(c Change) []entry {
	claimed := make([]bool, len(c.Verdict.Unexpected))
	var list []entry
	for i, want := range c.Case.Expect {
		e := entry{old: i, raw: true}
		for _, m := range c.Verdict.Matched {
			if m.Expected.Pos == want.Pos {
				e.alerts = slices.Clone(m.Alerts)
			}
		}
		for u, un := range c.Verdict.Unexpected {
			if un.Nearest != nil && un.Nearest.Pos == want.Pos && len(un.Differences) == 0 && !claimed[u] {
				claimed[u] = true // more than the entry allows
				e.raw = false
				e.alerts = append(e.alerts, un.Alert)
			}
		}
		if slices.ContainsFunc(c.Verdict.Missing, func(m verdict.Missing) bool { return m.Expected.Pos == want.Pos }) {
			e.raw = false
			if len(e.alerts) == 0 {
				e.alerts = claim(c.Verdict.Unexpected, claimed, want)
			}
			if len(e.alerts) == 0 {
				continue
			}
		}
		list = append(list, e)
	}
	for u, un := range c.Verdict.Unexpected {
		if claimed[u] {
			continue
		}
		key := group(un.Alert, c.Case)
		at := slices.IndexFunc(list, func(e entry) bool { return e.old < 0 && group(e.alerts[0], c.Case) == key })
		if at < 0 {
			list = append(list, entry{old: -1, alerts: []verdict.Alert{un.Alert}})
		} else {
			list[at].alerts = append(list[at].alerts, un.Alert)
		}
	}
	return list
}

// claim takes the unexpected alert of an entry's rule that is nearest to it.
func claim(unexpected []verdict.Unexpected, claimed []bool, want cases.Expectation) []verdict.Alert {
	best := -1
	for u, un := range unexpected {
		if claimed[u] || un.Alert.Rule != want.Rule || un.Nearest == nil || un.Nearest.Pos != want.Pos {
			continue
		}
		if best < 0 || len(un.Differences) < len(unexpected[best].Differences) {
			best = u
		}
	}
	if best < 0 {
		return nil
	}
	claimed[best] = true
	return []verdict.Alert{unexpected[best].Alert}
}

// identity are the fields that tell one alert of a rule from another and stay as they are when a capture is recorded anew.
var identity = []string{"baseline.workload", "staging.peer", "staging.location", "staging.dir"}

// named are those of identity that an alert has a value of, or where it has none of them, the process.
func named(a verdict.Alert) []string {
	has := func(field string) bool {
		text, ok := a.OutputFields[field].(string)
		return ok && text != "" && text != "<NA>" && (field != "staging.location" || text != "none")
	}
	fields := slices.DeleteFunc(slices.Clone(identity), func(f string) bool { return !has(f) })
	if len(fields) == 0 && has("proc.name") {
		return []string{"proc.name"}
	}
	return fields
}

// group is the same for alerts that one entry stands for.
func group(a verdict.Alert, c cases.Case) string {
	key := []string{a.Rule, a.Priority}
	if len(c.Captures) > 1 {
		key = append(key, strconv.Itoa(a.Capture))
	}
	for _, f := range named(a) {
		key = append(key, f, fmt.Sprint(a.OutputFields[f]))
	}
	return strings.Join(key, "\x00")
}

// field is one of a drafted entry: its name and its condition as YAML.
type field struct{ name, want string }

// fieldsOf are the fields of an entry: what all of its alerts are alike in, and as lower bounds the volumes of the least.
func fieldsOf(alerts []verdict.Alert) []field {
	var fields []field
	for _, name := range named(alerts[0]) {
		text := alerts[0].OutputFields[name].(string)
		if !slices.ContainsFunc(alerts, func(a verdict.Alert) bool { return a.OutputFields[name] != text }) {
			fields = append(fields, field{name, scalar(text)})
		}
	}
	var volumes []field
	for name := range alerts[0].OutputFields {
		if !strings.HasPrefix(name, "staging.") || !strings.HasSuffix(name, "bytes") {
			continue
		}
		var least *big.Float
		for _, a := range alerts {
			number, _ := a.OutputFields[name].(json.Number)
			n, ok := new(big.Float).SetString(number.String())
			if !ok {
				n = new(big.Float)
			}
			if least == nil || n.Cmp(least) < 0 {
				least = n
			}
		}
		if want := atLeast(least); want != "" {
			volumes = append(volumes, field{name, want})
		}
	}
	slices.SortFunc(volumes, func(a, b field) int { return cmp.Compare(a.name, b.name) })
	return append(fields, volumes...)
}

// atLeast is a bound of bytes rounded down to one digit, so that a capture that is recorded anew still meets it; empty below
// 1 MB, where it would say little.
func atLeast(numBytes *big.Float) string {
	n, _ := numBytes.Uint64()
	mb := n / 1e6
	if mb == 0 {
		return ""
	}
	digit := uint64(1)
	for digit*10 <= mb {
		digit *= 10
	}
	return fmt.Sprintf("{min: %dMB}", mb/digit*digit)
}
