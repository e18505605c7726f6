package profile

import (
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// WriteChanges writes changes one a line, sorted by workload, metric and value, for people to review.
func WriteChanges(w io.Writer, style Style, changes []baseline.Change) error {
	var b strings.Builder
	for i := range changes {
		c := &changes[i]
		colour := text.FgYellow
		switch kindOf(c) {
		case kindNew:
			colour = text.FgGreen
		case kindGone:
			colour = text.FgRed
		}
		for _, line := range lines(c) {
			if style.Colour {
				line = colour.Sprint(line)
			}
			fmt.Fprintf(&b, "%s: %s\n", Printable(c.Workload), line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Kinds of change.
const (
	kindNew     = "new"
	kindGone    = "gone"
	kindChanged = "changed"
)

func kindOf(c *baseline.Change) string {
	switch {
	case c.Before == nil:
		return kindNew
	case c.After == nil:
		return kindGone
	default:
		return kindChanged
	}
}

// lines says what changed of a workload.
func lines(c *baseline.Change) []string {
	switch kindOf(c) {
	case kindNew:
		return []string{"new workload: " + summary(c.After)}
	case kindGone:
		return []string{"gone: " + summary(c.Before)}
	}
	var out []string
	for _, m := range c.Metrics {
		out = append(out, metricLine(m, &c.Before.Metrics[m], &c.After.Metrics[m]))
	}
	for i := range c.Values {
		v := &c.Values[i]
		for _, value := range v.Added {
			out = append(out, fmt.Sprintf("new %s %s", v.Dimension, Printable(value)))
		}
		for _, value := range v.Removed {
			out = append(out, fmt.Sprintf("%s %s gone", v.Dimension, Printable(value)))
		}
		if v.Form {
			before, after := &c.Before.Values[v.Dimension], &c.After.Values[v.Dimension]
			out = append(out, fmt.Sprintf("%s: %s -> %s", v.Dimension, knowledge(before), knowledge(after)))
		}
	}
	return out
}

// summary is a workload in half a line.
func summary(w *baseline.Workload) string {
	if w.Windows == 0 {
		return "no windows learned"
	}
	parts := []string{fmt.Sprintf("%s in %s", Count(int(w.Windows), "window"), span(w.Age))}
	var typical, values []string
	for i, d := range w.Metrics {
		if m := baseline.Metric(i); d.Active > 0 {
			typical = append(typical, fmt.Sprintf("%s %s", m, quantity(m, d.P99)))
		}
	}
	if len(typical) > 0 {
		parts = append(parts, "typical "+strings.Join(typical, ", "))
	}
	for i := range w.Values {
		if v := &w.Values[i]; v.NumKnown > 0 || v.Full {
			values = append(values, fmt.Sprintf("%s %s", baseline.Dimension(i), number(v)))
		}
	}
	if len(values) > 0 {
		parts = append(parts, "values "+strings.Join(values, ", "))
	}
	return strings.Join(parts, "; ")
}

func number(v *baseline.Values) string {
	if v.Full {
		return "any"
	}
	return humanize.Comma(int64(v.NumKnown))
}

func knowledge(v *baseline.Values) string {
	switch {
	case v.Full:
		return "every value counts as known"
	case v.Approximate:
		return number(v) + " known by hash"
	default:
		return number(v) + " listed"
	}
}

func metricLine(m baseline.Metric, before, after *baseline.Distribution) string {
	switch {
	case before.Active == 0:
		return fmt.Sprintf("%s was always 0, typical %s now", m, quantity(m, after.P99))
	case after.Active == 0:
		return fmt.Sprintf("%s is always 0 now, typical %s before", m, quantity(m, before.P99))
	}
	var parts []string
	if before.P99 != after.P99 {
		parts = append(parts, "typical "+change(m, before.P99, after.P99))
	}
	if before.P50 != after.P50 {
		parts = append(parts, "median "+change(m, before.P50, after.P50))
	}
	return m.String() + " " + strings.Join(parts, ", ")
}

// change writes 12 MiB -> 18 MiB (+50 %).
func change(m baseline.Metric, before, after uint64) string {
	from, to := quantity(m, before), quantity(m, after)
	if from == to {
		from, to = comma(before)+" B", comma(after)+" B"
	}
	ratio := float64(after) / float64(max(before, 1))
	by := fmt.Sprintf("%+.0f %%", 100*(ratio-1))
	if ratio >= 10 {
		by = fmt.Sprintf("%s times", humanize.CommafWithDigits(ratio, 0))
	}
	return fmt.Sprintf("%s -> %s (%s)", from, to, by)
}

type jsonChanges struct {
	Equal   bool         `json:"equal"`
	Changes []jsonChange `json:"changes"`
}

type jsonChange struct {
	Workload string             `json:"workload"`
	Change   string             `json:"change"` // new, gone or changed
	Windows  jsonWindows        `json:"windows"`
	Metrics  []jsonMetricChange `json:"metrics"`
	Values   []jsonValueChange  `json:"values"`
	Text     []string           `json:"text"` // the same for people
}

type jsonWindows struct {
	Before uint64 `json:"before"`
	After  uint64 `json:"after"`
}

type jsonMetricChange struct {
	Metric string        `json:"metric"`
	Unit   string        `json:"unit"`
	Before jsonQuantiles `json:"before"`
	After  jsonQuantiles `json:"after"`
}

type jsonValueChange struct {
	Dimension string   `json:"dimension"`
	Added     []string `json:"added"`
	Removed   []string `json:"removed"`
	Before    jsonSet  `json:"before"`
	After     jsonSet  `json:"after"`
}

// WriteChangesJSON writes changes as one JSON document. A workload that is new or gone has all its metrics and values in
// it, as against none.
func WriteChangesJSON(w io.Writer, changes []baseline.Change) error {
	doc := jsonChanges{Equal: len(changes) == 0, Changes: []jsonChange{}}
	for i := range changes {
		doc.Changes = append(doc.Changes, changeOf(&changes[i]))
	}
	return encode(w, doc)
}

func changeOf(c *baseline.Change) jsonChange {
	out := jsonChange{Workload: c.Workload, Change: kindOf(c), Metrics: []jsonMetricChange{}, Values: []jsonValueChange{}, Text: lines(c)}
	before, after := orNone(c.Before), orNone(c.After)
	out.Windows = jsonWindows{before.Windows, after.Windows}
	metrics, values := c.Metrics, c.Values
	if c.Before == nil || c.After == nil {
		metrics, values = whole(before, after)
	}
	for _, m := range metrics {
		out.Metrics = append(out.Metrics, jsonMetricChange{m.String(), unitOf(m), quantilesOf(&before.Metrics[m]), quantilesOf(&after.Metrics[m])})
	}
	for _, v := range values {
		out.Values = append(out.Values, jsonValueChange{v.Dimension.String(), listOf(v.Added), listOf(v.Removed),
			setOf(&before.Values[v.Dimension]), setOf(&after.Values[v.Dimension])})
	}
	return out
}

func orNone(w *baseline.Workload) *baseline.Workload {
	if w == nil {
		return &baseline.Workload{}
	}
	return w
}

// whole returns everything in a workload as changes, one of the two being nothing.
func whole(before, after *baseline.Workload) (metrics []baseline.Metric, values []baseline.ValueChange) {
	for i := range before.Metrics {
		if before.Metrics[i].Active+after.Metrics[i].Active > 0 {
			metrics = append(metrics, baseline.Metric(i))
		}
	}
	for i := range before.Values {
		x, y := &before.Values[i], &after.Values[i]
		if x.NumKnown+y.NumKnown > 0 || x.Full || y.Full {
			values = append(values, baseline.ValueChange{Dimension: baseline.Dimension(i), Added: y.Known, Removed: x.Known})
		}
	}
	return metrics, values
}
