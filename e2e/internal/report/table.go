package report

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/parity"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// paint colours text, or leaves it as it is.
type paint bool

func (p paint) as(s string, colors ...text.Color) string {
	if !p {
		return s
	}
	return text.Colors(colors).Sprint(s)
}

func (p paint) status(s Status) string {
	switch s {
	case Passed:
		return p.as("passed", text.FgGreen)
	case Failed:
		return p.as("FAILED", text.FgRed, text.Bold)
	default:
		return p.as("NOT RUN", text.FgYellow, text.Bold)
	}
}

// WriteTable writes the table, what went wrong with each case that did not pass, and as the last line alone how many passed.
// With two engines each counts by itself. A case that could not be run counts as failed there, and is named above it, and so
// does one for which the engines gave something different.
func WriteTable(w io.Writer, r Run, color bool) error {
	p := paint(color)
	t := grid("CASE", "ENGINE", "ALERTS", "TIME", "RESULT")
	for _, res := range r.Results {
		elapsed := seconds(res.Elapsed)
		if res.Cached {
			elapsed = "cached"
		}
		row := table.Row{res.Case.Name, res.Engine, res.Alerts, elapsed, p.status(res.Status())}
		if res.Status() == NotRun {
			row[2], row[3] = "-", "-"
		}
		t.AppendRow(row)
	}
	t.SetColumnConfigs([]table.ColumnConfig{{Name: "ALERTS", Align: text.AlignRight}, {Name: "TIME", Align: text.AlignRight}})
	var b strings.Builder
	fmt.Fprintln(&b, t.Render())
	for _, res := range r.Results {
		if res.Status() == Passed {
			continue
		}
		on := ""
		if len(r.Engines) > 1 {
			on = " on " + res.Engine
		}
		fmt.Fprintf(&b, "\n%s %s%s  %s\n", p.status(res.Status()), p.as(res.Case.Name, text.Bold), on, p.as(res.Case.Pos.String(), text.Faint))
		b.WriteString(indent(details(res, p), "  "))
	}
	for _, a := range r.Disagreements() {
		fmt.Fprintf(&b, "\n%s %s  %s\n", p.as("DIFFERS", text.FgRed, text.Bold), p.as(a.Case.Name, text.Bold), p.as(a.Case.Pos.String(), text.Faint))
		b.WriteString(indent(disagreement(a), "  "))
	}
	b.WriteString("\n")
	for _, e := range r.Engines {
		fmt.Fprintf(&b, "engine %s: %s\n", e.Name, printable(e.Version))
	}
	b.WriteString(agreed(r.Agreements))
	if r.Cached > 0 {
		fmt.Fprintf(&b, "%d of %d replays came from the cache\n", r.Cached, r.Replays)
	}
	if n := r.Count(NotRun); n > 0 {
		fmt.Fprintf(&b, "%d could not be run\n", n)
	}
	if n := len(r.Disagreements()); n > 0 {
		fmt.Fprintf(&b, "%d differ between the engines\n", n)
	}
	fmt.Fprintf(&b, "%d passed, %d failed\n", r.Count(Passed), r.Failures())
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// agreed tells how far the engines agree, and which differences have a reason.
func agreed(agreements []Agreement) string {
	if len(agreements) == 0 {
		return ""
	}
	alerts, numAgree := 0, 0
	var why []string // in the order of the first that was met
	known := map[string]parity.Known{}
	for _, a := range agreements {
		alerts += a.Alerts
		if a.Difference == nil {
			numAgree++
		}
		for _, k := range a.Known {
			if _, ok := known[k.Why]; !ok {
				why = append(why, k.Why)
			}
			k.Alerts += known[k.Why].Alerts
			k.Fields = append(slices.Clone(known[k.Why].Fields), k.Fields...)
			known[k.Why] = k
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the engines gave the same for %d cases, %d alerts\n", numAgree, alerts)
	for _, reason := range why {
		k := known[reason]
		slices.Sort(k.Fields)
		k.Fields = slices.Compact(k.Fields)
		fmt.Fprintf(&b, "  but for %s in %d: %s\n", strings.Join(k.Fields, ", "), k.Alerts, k.Why)
	}
	return b.String()
}

// disagreement explains the first difference between two engines.
func disagreement(a Agreement) string {
	m := a.Difference
	var b strings.Builder
	fmt.Fprintf(&b, "after %d alerts that are the same, of %d from falco and %d from sysdig:\n", a.Alerts, m.NumFalco, m.NumSysdig)
	fmt.Fprintf(&b, "falco:  %s\n", printable(parity.Line(m.Falco)))
	fmt.Fprintf(&b, "sysdig: %s\n", printable(parity.Line(m.Sysdig)))
	if len(m.Fields) > 0 {
		t := grid("FIELD", "FALCO", "SYSDIG")
		for _, f := range m.Fields {
			t.AppendRow(table.Row{f.Name, printable(fieldValue(f.Name, f.Falco)), printable(fieldValue(f.Name, f.Sysdig))})
		}
		b.WriteString(indent(t.Render()+"\n", "  "))
	}
	return b.String()
}

// details explains a result that did not pass.
func details(res Result, p paint) string {
	if res.Err != nil {
		return printable(res.Err.Error()) + "\n"
	}
	var b strings.Builder
	for _, m := range res.Verdict.Missing {
		fmt.Fprintf(&b, "%s %s, wanted %s, came %d\n", p.as("missing:", text.FgRed), m.Expected.Rule, m.Expected.Count, m.Got)
		fmt.Fprintf(&b, "  expected by %s\n", m.Expected.Pos)
		if m.Nearest == nil {
			b.WriteString("  no other alert came that could be it\n")
			continue
		}
		fmt.Fprintf(&b, "  the nearest alert, %s, differs:\n", place(*m.Nearest, res))
		b.WriteString(indent(diffTable(m.Differences, m.Agreed), "    "))
	}
	for _, u := range res.Verdict.Unexpected {
		fmt.Fprintf(&b, "%s %s, %s %s\n", p.as("unexpected:", text.FgRed), u.Alert.Rule, u.Alert.Priority, place(u.Alert, res))
		b.WriteString(indent(fieldTable(u.Alert.Alert), "    "))
		switch {
		case u.Nearest == nil:
			b.WriteString("  no entry expects this rule\n")
		case len(u.Differences) == 0:
			fmt.Fprintf(&b, "  %s allows %s, which have come\n", u.Nearest.Pos, u.Nearest.Count)
		case !shown(res.Verdict.Missing, u.Alert):
			fmt.Fprintf(&b, "  %s expects the rule, but differs:\n", u.Nearest.Pos)
			b.WriteString(indent(diffTable(u.Differences, u.Agreed), "    "))
		}
	}
	if len(res.Commands) > 0 {
		b.WriteString("by hand:\n")
		for _, line := range res.Commands {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	return b.String()
}

// WriteVerdict writes what is missing and what is unexpected, with what came instead; nothing where the verdict passes.
func WriteVerdict(w io.Writer, v verdict.Verdict, color bool) error {
	if _, err := io.WriteString(w, details(Result{Verdict: v}, paint(color))); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// shown tells whether an alert's differences stand with what is missing already.
func shown(missing []verdict.Missing, a verdict.Alert) bool {
	return slices.ContainsFunc(missing, func(m verdict.Missing) bool {
		return m.Nearest != nil && m.Nearest.Rule == a.Rule && m.Nearest.Capture == a.Capture && m.Nearest.Time.Equal(a.Time)
	})
}

// diffTable shows field by field what an entry wants and what the alert has: first what differs, then what agrees.
func diffTable(differ, agree []verdict.Difference) string {
	t := grid("", "FIELD", "WANT", "GOT")
	for _, d := range differ {
		t.AppendRow(table.Row{"!", d.Field, printable(want(d)), printable(got(d))})
	}
	for _, d := range agree {
		t.AppendRow(table.Row{"", d.Field, printable(want(d)), printable(got(d))})
	}
	return t.Render() + "\n"
}

// fieldTable is an alert's fields, which hold all that its output says, without those that place shows.
func fieldTable(a alert.Alert) string {
	t := grid()
	for _, name := range slices.Sorted(maps.Keys(a.OutputFields)) {
		if name == alert.FieldEventNumber || name == "evt.time.iso8601" {
			continue
		}
		t.AppendRow(table.Row{name, printable(fieldValue(name, a.OutputFields[name]))})
	}
	if t.Length() == 0 {
		return ""
	}
	return t.Render() + "\n"
}

// grid is a table of columns alone: no lines, no trailing spaces, so that it reads the same in a terminal, a log and a mail.
func grid(header ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	if len(header) > 0 {
		t.AppendHeader(header)
	}
	return t
}

// place is when in the case's captures an alert came.
func place(a verdict.Alert, res Result) string {
	at := "at " + a.Time.UTC().Format("2006-01-02 15:04:05.000000000")
	if n, ok := a.EventNumber(); ok {
		at += fmt.Sprintf(" (event %d)", n)
	}
	if len(res.Case.Captures) > 1 {
		at += fmt.Sprintf(" in capture %d, %s", a.Capture, filepath.Base(res.Case.Captures[a.Capture-1]))
	}
	return at
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func indent(s, by string) string {
	if s == "" {
		return ""
	}
	return by + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n"+by) + "\n"
}
