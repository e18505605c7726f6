// Package profile shows people and programs what a baseline knows of workloads, and what changed from one to another.
package profile

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// Style is how text for people is written.
type Style struct {
	Colour bool // with a terminal's colours
	ASCII  bool // sparklines without Unicode's blocks
}

// quantity writes a metric's total in its unit.
func quantity(m baseline.Metric, n uint64) string {
	if m.InBytes() {
		return humanize.IBytes(n)
	}
	return comma(n)
}

func comma(n uint64) string { return humanize.Comma(int64(min(n, math.MaxInt64))) }

// Count writes a number of things: 1 node, 1,000 nodes.
func Count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(int64(n)) + " " + one + "s"
}

// span writes event time in the largest unit of which there are two.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return Count(int(d/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		return Count(int(d/time.Hour), "hour")
	default:
		return Count(int(d/time.Minute), "minute")
	}
}

const (
	dateLayout   = "2006-01-02"
	minuteLayout = "2006-01-02 15:04"
)

// period writes two times of event time, to the minute.
func period(from, to time.Time) string {
	layout := minuteLayout
	if from.Format(dateLayout) == to.Format(dateLayout) {
		layout = "15:04"
	}
	return from.Format(minuteLayout) + " to " + to.Format(layout) + " UTC"
}

// Few writes as many of the values as fit into a width in characters, at least one, and how many more there are.
func Few(values []string, width int) string {
	var b strings.Builder
	used := 0
	for i, v := range values {
		v = Printable(v)
		if used += utf8.RuneCountInString(v) + 2; i > 0 && used > width {
			return fmt.Sprintf("%s and %s more", b.String(), humanize.Comma(int64(len(values)-i)))
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(v)
	}
	return b.String()
}

// Printable quotes a value that would do something to a terminal or could be taken for several lines: file names are made
// by whoever runs in the container.
func Printable(v string) string {
	if utf8.ValidString(v) && !strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return v
	}
	return strconv.Quote(v)
}
