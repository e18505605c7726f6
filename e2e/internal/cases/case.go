// Package cases reads rule test cases: YAML files that say which capture is replayed, with which plugin configuration
// and extra rules, and the complete list of the alerts that must come of it. It is for the people who write rules, so
// everything it refuses is named by file:line:column together with what to write instead.
package cases

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/agext/levenshtein"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// A Case is what is replayed and what must come of it.
type Case struct {
	Name        string // unique among the cases of a run
	Description string
	Label       Label    // empty where the case does not say; see Case.IsAttack
	Learn       []string // captures or scripts that a baseline is learned from first, resolved like Captures; none for no baseline
	// Captures are the paths of the captures or scripts that are replayed, resolved against the case file's folder. Where there
	// are several, each begins with the baseline that the one before it left, as on a node that is restarted between them.
	Captures   []string
	InitConfig json.RawMessage  // the plugin's init_config, a JSON object; nil for the defaults
	Rules      []string         // rules files loaded after the bundle, resolved like Captures
	Expect     []Expectation    // every alert at NOTICE or above must be met by one of these
	Draft      bool             // it has no expect yet: only for being drafted
	Pos        ruleset.Position // where the case begins
}

// An Expectation is one entry of a case's expect list: alerts of one rule that must come.
type Expectation struct {
	Rule     string
	Priority *ruleset.Priority // nil where the case does not care
	Capture  int               // the one of the case's captures that it comes in, from 1; 0 where the case does not care
	Count    Count
	Fields   []Field          // in the order of the file
	Pos      ruleset.Position // where the entry begins
	rulePos  ruleset.Position
}

// A Field is the condition on one output field of an alert.
type Field struct {
	Name string // as in the rule's output, argument included: staging.bytes[5m]
	Want Condition
}

// Count bounds how many alerts an entry stands for, both ends included.
type Count struct{ Min, Max int }

// Unbounded is the Max of a count that has none.
const Unbounded = math.MaxInt

// String reads after "wanted": 1, 1 to 3, at least 2, at most 3.
func (c Count) String() string {
	switch {
	case c.Min == c.Max:
		return strconv.Itoa(c.Min)
	case c.Max == Unbounded:
		return fmt.Sprintf("at least %d", c.Min)
	case c.Min == 0:
		return fmt.Sprintf("at most %d", c.Max)
	default:
		return fmt.Sprintf("%d to %d", c.Min, c.Max)
	}
}

// CheckComplete refuses a case that says nothing about what must come.
func (c Case) CheckComplete() error {
	if !c.Draft {
		return nil
	}
	return fmt.Errorf("%s: no expect: list every alert that must come, write `expect: []` for silence, or have it drafted with "+
		"stagectl test --update=diff", c.Pos)
}

// CheckRules tells which expected rules cannot fire, given the names of those that are loaded and enabled. Such an entry
// could never be met; one with count 0 would always be.
func (c Case) CheckRules(enabled []string) error {
	var errs []error
	for _, e := range c.Expect {
		if !slices.Contains(enabled, e.Rule) {
			errs = append(errs, fmt.Errorf("%s: no rule that is loaded and enabled is named %q%s", e.rulePos, e.Rule,
				didYouMean(e.Rule, enabled, "load or enable it with a file under the case's rules key")))
		}
	}
	return errors.Join(errs...)
}

// didYouMean is the tail of an error about an unknown word: the candidate that was probably meant, or else the advice.
func didYouMean(word string, candidates []string, advice string) string {
	best, bestDistance := "", len(word)/3+2
	for _, c := range candidates {
		if d := levenshtein.Distance(word, c, nil); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best == "" {
		return ": " + advice
	}
	return fmt.Sprintf(": write %q", best)
}
