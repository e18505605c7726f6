// Package threshold finds the numbers that macros compare fields of the plugin with, takes them out of a rule's condition,
// so that one replay shows every event that could fire with any of their candidate values, and evaluates the rule on such an
// event for values of one's choice. It writes the values that were chosen as an override file.
package threshold

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Threshold is a number in the condition of a macro, as in "staging.bytes[1m] >= 1048576".
type Threshold struct {
	Macro      string
	Field      string   // that is compared, with its argument
	Op         string   // ">=" or ">"
	Value      uint64   // as shipped
	Candidates []uint64 // values to try, ascending, Value among them

	check  *filter.Check
	nth    int // among the thresholds of its macro on the same field, from 1
	of     int
	offset int // of the number in the macro's condition
	length int
}

// String names the threshold: its macro and field, and which one of several on that field.
func (t Threshold) String() string {
	name := t.Macro + ": " + t.Field
	if t.of > 1 {
		name += fmt.Sprintf(" (%d of %d)", t.nth, t.of)
	}
	return name
}

// IsBytes tells whether the field counts bytes.
func (t Threshold) IsBytes() bool {
	name, _, _ := strings.Cut(t.Field, "[")
	return strings.HasSuffix(name, "bytes")
}

// Factors of a threshold's value that are tried one at a time.
var Factors = []float64{0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 4, 8}

// Find returns the thresholds of the macros that enabled rules use, in the order of the macros.
func Find(set *ruleset.Set) []Threshold {
	used := map[*filter.Check]bool{}
	for _, r := range Rules(set) {
		for _, c := range filter.Checks(r.Expr) {
			used[c] = true
		}
	}
	var found []Threshold
	for _, m := range set.Macros() {
		if m.Body == nil {
			continue
		}
		first := len(found)
		for _, c := range filter.Checks(m.Body) { // which the rules' trees share
			value, ok := number(c)
			if !ok || !used[c] {
				continue
			}
			right := c.Right.(*filter.Value)
			found = append(found, Threshold{
				Macro: m.Name, Field: c.Left.String(), Op: c.Op, Value: value, Candidates: Scale(value, Factors),
				check: c, offset: right.At, length: len(right.Text),
			})
		}
		count(found[first:])
	}
	return found
}

// Rules are the rules that replays run, of whatever event source.
func Rules(set *ruleset.Set) []ruleset.Rule {
	return slices.DeleteFunc(set.Rules(), func(r ruleset.Rule) bool { return !r.Enabled })
}

// count numbers the thresholds of one macro that compare the same field.
func count(of []Threshold) {
	for i := range of {
		for j := range of {
			if of[j].Field == of[i].Field {
				of[i].of++
				if j <= i {
					of[i].nth++
				}
			}
		}
	}
}

// number is what a check compares a field of the plugin with; false for any other check.
func number(c *filter.Check) (uint64, bool) {
	field, isField := c.Left.(*filter.Field)
	value, isValue := c.Right.(*filter.Value)
	if !isField || !isValue || value.Quoted || c.Op != ">=" && c.Op != ">" ||
		!strings.HasPrefix(field.Name, "staging.") && !strings.HasPrefix(field.Name, "baseline.") {
		return 0, false
	}
	n, err := strconv.ParseUint(value.Text, 10, 64)
	return n, err == nil && n > 0
}

// Scale multiplies a value; results are whole numbers above 0, ascending and each once.
func Scale(value uint64, factors []float64) []uint64 {
	scaled := make([]uint64, len(factors))
	for i, f := range factors {
		scaled[i] = max(1, uint64(float64(value)*f+0.5))
	}
	slices.Sort(scaled)
	return slices.Compact(scaled)
}

// Override is the text of a rules file that sets the thresholds to values when it is loaded after the rules. Macros whose
// thresholds stay as they are are left out. comment is put before it, each line as a comment.
func Override(set *ruleset.Set, thresholds []Threshold, values []uint64, comment string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(comment) + "\n") {
		b.WriteString(strings.TrimRight("# "+line, " \n") + "\n")
	}
	for _, m := range set.Macros() {
		var own []int
		changed := false
		for i, t := range thresholds {
			if t.Macro == m.Name {
				own = append(own, i)
				changed = changed || t.Value != values[i]
			}
		}
		if !changed {
			continue
		}
		// From the last one on, so that the offsets of the others stay right.
		slices.SortFunc(own, func(i, j int) int { return cmp.Compare(thresholds[j].offset, thresholds[i].offset) })
		condition := m.Condition
		for _, i := range own {
			t := thresholds[i]
			condition = condition[:t.offset] + strconv.FormatUint(values[i], 10) + condition[t.offset+t.length:]
		}
		fmt.Fprintf(&b, "\n- macro: %s\n  condition: |-\n    %s\n  override:\n    condition: replace\n",
			m.Name, strings.ReplaceAll(strings.TrimSpace(condition), "\n", "\n    "))
	}
	return b.String()
}
