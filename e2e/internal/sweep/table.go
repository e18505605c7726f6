package sweep

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// WriteTable writes the study as text: the recommendation, then every threshold alone, then the groups.
func (s *Study) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d cases of attacks, %d of ordinary work (%.3g node hours)\n", s.Attacks, s.Benign, s.Hours)
	fmt.Fprintf(&b, "%d events could fire with the lowest values; %d were kept, which decide every point of the grid\n\n", s.Candidates, s.Kept)

	tw := columns("alerts at", "thresholds", "recall", "precision", "false/node/day", "first alert")
	for _, o := range s.Overall {
		tw.AppendRow(scoreRow(o.Shipped, o.Priority+" and above", "as shipped"))
		tw.AppendRow(scoreRow(o.Chosen, "", "recommended"))
	}
	fmt.Fprintf(&b, "%s\n\n", tw.Render())

	if moves := s.Moves(); len(moves) > 0 {
		fmt.Fprintf(&b, "Recommended: %s\n", strings.Join(moves, "\n             "))
	} else {
		fmt.Fprintln(&b, "Recommended: the shipped thresholds")
	}
	for _, j := range s.Joints {
		fmt.Fprintf(&b, "\n%s\n  rules: %s\n  %s\n", strings.Join(j.Names, "\n"), strings.Join(j.Rules, ", "), j.Reason)
	}
	for _, c := range s.Curves {
		fmt.Fprintf(&b, "\n%s, alone\n  rules: %s\n", c.Name, strings.Join(c.Rules, ", "))
		tw := columns("", "value", "recall", "precision", "false/node/day", "first alert")
		for _, r := range c.Rows {
			tw.AppendRow(scoreRow(r.Score, Mark(r.Shipped, r.Chosen), r.Value))
		}
		fmt.Fprintln(&b, tw.Render())
	}
	for _, j := range s.Joints {
		if len(j.Names) < 2 {
			continue
		}
		fmt.Fprintf(&b, "\ntogether, best outcomes of %d combinations:\n", j.Tried)
		tw := columns(append([]string{""}, append(j.Names, "recall", "precision", "false/node/day", "first alert")...)...)
		for _, p := range j.Points {
			if p.Front || p.Shipped || p.Chosen {
				tw.AppendRow(scoreRow(p.Score, append([]string{Mark(p.Shipped, p.Chosen)}, p.Values...)...))
			}
		}
		fmt.Fprintln(&b, tw.Render())
	}
	fmt.Fprintf(&b, "\nonce_interval (a setting of the plugin), all rules\n")
	tw = columns("value", "recall", "precision", "false/node/day", "first alert")
	for _, r := range s.Intervals {
		tw.AppendRow(scoreRow(r.Score, r.Value))
	}
	fmt.Fprintln(&b, tw.Render())
	_, err := io.WriteString(w, b.String())
	return err
}

// Mark says what a point is.
func Mark(shipped, chosen bool) string {
	switch {
	case shipped && chosen:
		return "shipped, recommended"
	case shipped:
		return "shipped"
	case chosen:
		return "recommended"
	}
	return ""
}

func columns(names ...string) table.Writer {
	tw := table.NewWriter()
	tw.SetStyle(table.StyleLight)
	tw.Style().Options = table.OptionsNoBordersAndSeparators
	tw.Style().Box.PaddingLeft, tw.Style().Box.PaddingRight = "  ", ""
	tw.SuppressTrailingSpaces()
	header := make(table.Row, len(names))
	for i, name := range names {
		header[i] = name
	}
	tw.AppendHeader(header)
	return tw
}

// scoreRow is a score behind what it is of.
func scoreRow(s Score, before ...string) table.Row {
	row := make(table.Row, 0, len(before)+4)
	for _, cell := range before {
		row = append(row, cell)
	}
	return append(row,
		fmt.Sprintf("%3.0f %% (%d/%d)", 100*s.Recall(), s.Detected, s.Attacks),
		s.PrecisionText(),
		fmt.Sprintf("%.1f", s.Daily()),
		s.FirstText())
}

// FirstText is First in seconds; "-" where nothing was detected.
func (s Score) FirstText() string {
	if s.Detected == 0 {
		return "-"
	}
	return s.First.Round(100 * time.Millisecond).String()
}

// PrecisionText is Precision in percent; "-" where no capture has an alert.
func (s Score) PrecisionText() string {
	if s.Detected+s.Disturbed == 0 {
		return "-"
	}
	return fmt.Sprintf("%3.0f %%", 100*s.Precision())
}
