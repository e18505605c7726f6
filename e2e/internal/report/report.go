// Package report shows the outcome of a run of cases: as a table with the failures explained under it for people, as one
// JSON document for programs, as JUnit XML for CI, and as annotations for GitHub.
package report

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/parity"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// A Run is the outcome of cases that were replayed, each on every engine.
type Run struct {
	Engines    []Engine
	Results    []Result    // by case and then by engine, in their orders
	Agreements []Agreement // by case, of those that both engines could run; none where there is one engine
	Replays    int         // of captures, those that a baseline was learned from included
	Cached     int         // of those, how many came from the cache
	Elapsed    time.Duration
}

// An Engine is one that replayed.
type Engine struct {
	Name    string // its short name
	Version string // its version line
}

// A Result is the outcome of one case on one engine.
type Result struct {
	Case     cases.Case
	Engine   string // its short name
	Alerts   int    // that came, of any priority
	Cached   bool   // all its replays came from the cache
	Elapsed  time.Duration
	Verdict  verdict.Verdict
	Commands []string // shell lines that show by hand, one after the other, what failed
	Err      error    // why the case could not be run; there is no verdict then
}

// An Agreement tells whether two engines gave the same for a case.
type Agreement struct {
	Case cases.Case
	parity.Comparison
}

// Disagreements are the cases for which the engines gave something different.
func (r Run) Disagreements() []Agreement {
	return slices.DeleteFunc(slices.Clone(r.Agreements), func(a Agreement) bool { return a.Difference == nil })
}

// Failures tells how many results did not pass, and how many cases the engines do not agree on.
func (r Run) Failures() int { return r.Count(Failed) + r.Count(NotRun) + len(r.Disagreements()) }

// Status is a result in one word or two.
type Status string

// The statuses of a result.
const (
	Passed Status = "passed"
	Failed Status = "failed"
	NotRun Status = "not run"
)

// Status tells how the case ended.
func (r Result) Status() Status {
	switch {
	case r.Err != nil:
		return NotRun
	case r.Verdict.Passed():
		return Passed
	default:
		return Failed
	}
}

// Count tells how many results have a status.
func (r Run) Count(s Status) int {
	n := 0
	for _, res := range r.Results {
		if res.Status() == s {
			n++
		}
	}
	return n
}

// Fields that count bytes. baseline.deviation and baseline.ratio of a byte metric do not.
var byteField = regexp.MustCompile(`^staging\.(\w+_)?bytes(\[|$)|^baseline\.(typical|observed)\[\w+_bytes\]$`)

// fieldValue is an output field's value for people, a volume of bytes in a readable unit beside the exact number.
func fieldValue(field string, value any) string {
	n, ok := value.(json.Number)
	if !ok || !byteField.MatchString(field) {
		return cases.FormatValue(value)
	}
	numBytes, err := strconv.ParseUint(n.String(), 10, 64)
	if err != nil || numBytes < 1024 {
		return n.String()
	}
	return fmt.Sprintf("%s (%s)", humanize.IBytes(numBytes), n)
}

// want is a condition for people.
func want(d verdict.Difference) string {
	if e, ok := d.Want.(cases.Equal); ok {
		return fieldValue(d.Field, e.Value)
	}
	return d.Want.String()
}

// got is what came instead, for people.
func got(d verdict.Difference) string {
	if d.Absent {
		return "not in the rule's output"
	}
	return fieldValue(d.Field, d.Got)
}

// printable escapes what a terminal or an XML document must not get: alerts quote the command lines of attackers.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) || r == '\n' {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}
