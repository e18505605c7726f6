package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
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
// A case that could not be run counts as failed there, and is named above it.
func WriteTable(w io.Writer, r Run, color bool) error {
	p := paint(color)
	t := grid("CASE", "ENGINE", "ALERTS", "TIME", "RESULT")
	for _, res := range r.Results {
		row := table.Row{res.Case.Name, r.Engine, res.Alerts, seconds(res.Elapsed), p.status(res.Status())}
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
		fmt.Fprintf(&b, "\n%s %s  %s\n", p.status(res.Status()), p.as(res.Case.Name, text.Bold), p.as(res.Case.Pos.String(), text.Faint))
		b.WriteString(indent(details(res, p), "  "))
	}
	fmt.Fprintf(&b, "\nengine %s: %s\n", r.Engine, printable(r.Version))
	if n := r.Count(NotRun); n > 0 {
		fmt.Fprintf(&b, "%d could not be run\n", n)
	}
	fmt.Fprintf(&b, "%d passed, %d failed\n", r.Count(Passed), r.Count(Failed)+r.Count(NotRun))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
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
		fmt.Fprintf(&b, "  the nearest alert, at %s, differs:\n", clock(*m.Nearest))
		b.WriteString(indent(diffTable(m.Differences), "    "))
	}
	for _, u := range res.Verdict.Unexpected {
		fmt.Fprintf(&b, "%s %s, %s at %s\n", p.as("unexpected:", text.FgRed), u.Alert.Rule, u.Alert.Priority, clock(u.Alert))
		b.WriteString(indent(fieldTable(u.Alert), "    "))
		switch {
		case u.Nearest == nil:
			b.WriteString("  no entry expects this rule\n")
		case len(u.Differences) == 0:
			fmt.Fprintf(&b, "  %s allows %s, which have come\n", u.Nearest.Pos, u.Nearest.Count)
		case !shown(res.Verdict.Missing, u.Alert):
			fmt.Fprintf(&b, "  %s expects the rule, but differs:\n", u.Nearest.Pos)
			b.WriteString(indent(diffTable(u.Differences), "    "))
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
func shown(missing []verdict.Missing, a alert.Alert) bool {
	return slices.ContainsFunc(missing, func(m verdict.Missing) bool {
		return m.Nearest != nil && m.Nearest.Rule == a.Rule && m.Nearest.Time.Equal(a.Time)
	})
}

func diffTable(diffs []verdict.Difference) string {
	t := grid("FIELD", "WANT", "GOT")
	for _, d := range diffs {
		t.AppendRow(table.Row{d.Field, printable(want(d)), printable(got(d))})
	}
	return t.Render() + "\n"
}

// fieldTable is an alert's fields, which hold all that its output says, without those that clock shows.
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

// clock is when in the capture an alert came.
func clock(a alert.Alert) string {
	at := a.Time.UTC().Format("2006-01-02 15:04:05.000000000")
	if n, ok := a.EventNumber(); ok {
		at += fmt.Sprintf(" (event %d)", n)
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
