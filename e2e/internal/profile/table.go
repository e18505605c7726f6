package profile

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// listWidth is what a list of names may take, in characters.
const listWidth = 96

// WriteTable writes workloads for people to read: a head about the nodes, then a table for each workload.
func WriteTable(w io.Writer, style Style, nodes []baseline.NodeInfo, workloads []baseline.Workload) error {
	var b strings.Builder
	b.WriteString(head(nodes, len(workloads)))
	for i := range workloads {
		b.WriteString("\n")
		writeWorkload(&b, style, nodes, &workloads[i])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func head(nodes []baseline.NodeInfo, numWorkloads int) string {
	var names []string
	var oldest, newest time.Time
	for _, n := range nodes {
		names = append(names, NamesOf(n)...)
		if oldest.IsZero() || n.Saved.Before(oldest) {
			oldest = n.Saved
		}
		if n.Saved.After(newest) {
			newest = n.Saved
		}
	}
	if len(names) == 0 {
		return "no workloads: nothing was learned\n"
	}
	slices.Sort(names)
	saved := newest.Format(minuteLayout) + " UTC"
	if oldest.Format(minuteLayout) != newest.Format(minuteLayout) {
		saved = period(oldest, newest)
	}
	return fmt.Sprintf("%s of %s: %s\nsaved %s\n", Count(numWorkloads, "workload"), Count(len(names), "node"), Few(names, listWidth), saved)
}

// NamesOf returns the nodes that a digest counts.
func NamesOf(n baseline.NodeInfo) []string {
	if len(n.Includes) > 0 {
		return n.Includes
	}
	return []string{n.ID}
}

func writeWorkload(b *strings.Builder, style Style, nodes []baseline.NodeInfo, w *baseline.Workload) {
	name := Printable(w.Name)
	if style.Colour {
		name = text.Bold.Sprint(name)
	}
	fmt.Fprintln(b, name)
	if w.Image != "" {
		fmt.Fprintf(b, "  image %s\n", Printable(w.Image))
	}
	fmt.Fprintf(b, "  %s\n", learned(nodes, w))
	if w.LaterWindows > 0 {
		fmt.Fprintf(b, "  of these %s in %s after the learning period, which move what is typical within bounds until accepted\n",
			comma(w.LaterWindows), span(w.LaterAge))
	}
	if reasons := quarantined(w); reasons != "" {
		line := "quarantined, not learned: " + reasons
		if style.Colour {
			line = text.FgYellow.Sprint(line)
		}
		fmt.Fprintf(b, "  %s\n", line)
	}
	writeMetrics(b, style, w)
	writeValues(b, style, w)
}

func learned(nodes []baseline.NodeInfo, w *baseline.Workload) string {
	if w.Windows == 0 {
		return "no windows learned"
	}
	line := fmt.Sprintf("%s in %s, %s", Count(int(w.Windows), "window"), span(w.Age), period(w.FirstSeen, w.LastSeen))
	folded := slices.ContainsFunc(nodes, func(n baseline.NodeInfo) bool { return len(n.Includes) > 0 })
	if !folded && len(nodes) > 1 { // of a folded digest nobody knows which of its nodes ran the workload
		line += fmt.Sprintf(", on %s of %s nodes", humanize.Comma(int64(w.Digests)), humanize.Comma(int64(len(nodes))))
	}
	if w.Hours {
		line += ", by hour of the day as well"
	}
	return line
}

// quarantined lists the reasons by name.
func quarantined(w *baseline.Workload) string {
	var reasons []string
	for reason, n := range w.Quarantined {
		reasons = append(reasons, reason+" "+comma(n))
	}
	slices.Sort(reasons)
	return strings.Join(reasons, ", ")
}

func newTable() table.Writer {
	tw := table.NewWriter()
	tw.SetStyle(table.StyleLight)
	tw.Style().Options = table.OptionsNoBordersAndSeparators
	tw.Style().Box.PaddingLeft, tw.Style().Box.PaddingRight = "  ", ""
	tw.Style().Format.Header = text.FormatUpper
	tw.SuppressTrailingSpaces()
	return tw
}

func writeMetrics(b *strings.Builder, style Style, w *baseline.Workload) {
	if w.Windows == 0 {
		return
	}
	levels := blocks
	if style.ASCII {
		levels = ascii
	}
	tw := newTable()
	tw.SetColumnConfigs([]table.ColumnConfig{
		{Number: 2, Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Number: 3, Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Number: 4, Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Number: 5, Align: text.AlignRight, AlignHeader: text.AlignRight},
	})
	tw.AppendHeader(table.Row{"metric", "active", "median", "typical", "least", "windows by volume", "most"})
	var silent []string
	for i, d := range w.Metrics {
		m := baseline.Metric(i)
		if d.Active == 0 {
			silent = append(silent, m.String())
			continue
		}
		tw.AppendRow(table.Row{
			m.String(), percent(d.Active, w.Windows), quantity(m, d.P50), quantity(m, d.P99),
			quantity(m, d.Bins[0].Value), sparkline(d.Bins, levels), quantity(m, d.Bins[len(d.Bins)-1].Value),
		})
	}
	if tw.Length() > 0 {
		fmt.Fprintln(b, tw.Render())
	}
	if len(silent) > 0 {
		fmt.Fprintf(b, "  always 0: %s\n", strings.Join(silent, ", "))
	}
}

// percent is a share of the windows, never 0 % of what is there nor 100 % of what is not all.
func percent(part, all uint64) string {
	p := 100 * float64(part) / float64(all)
	switch {
	case p < 1:
		return "<1 %"
	case p > 99 && part < all:
		return ">99 %"
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

func writeValues(b *strings.Builder, style Style, w *baseline.Workload) {
	tw := newTable()
	tw.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}})
	for i, v := range w.Values {
		d := baseline.Dimension(i).String()
		switch {
		case v.Full:
			tw.AppendRow(table.Row{d, "any", "too many to tell apart: every value counts as known"})
		case v.Approximate:
			tw.AppendRow(table.Row{d, humanize.Comma(int64(v.NumKnown)), "too many to list: known by hash"})
		case v.NumKnown > 0:
			tw.AppendRow(table.Row{d, v.NumKnown, Few(v.Known, listWidth)})
		}
		if len(v.Candidates) > 0 {
			line := Few(v.Candidates, listWidth) + " (seen after the learning period, still new)"
			if style.Colour {
				line = text.FgYellow.Sprint(line)
			}
			tw.AppendRow(table.Row{d, "+" + humanize.Comma(int64(len(v.Candidates))), line})
		}
	}
	if tw.Length() > 0 {
		fmt.Fprintln(b, tw.Render())
	}
}
