package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
)

// alertTable prints alerts for people.
type alertTable struct {
	w      io.Writer
	colour bool
}

func newAlertTable(con console) alertTable {
	return alertTable{w: con.stdout, colour: con.stdoutTerminal}
}

// show prints the alerts of one capture under its name.
func (t alertTable) show(capture string, alerts []alert.Alert) error {
	count := "no alerts"
	switch n := len(alerts); {
	case n == 1:
		count = "1 alert"
	case n > 1:
		count = fmt.Sprintf("%d alerts", n)
	}
	if _, err := fmt.Fprintf(t.w, "%s: %s\n", filepath.Base(capture), count); err != nil || len(alerts) == 0 {
		return err
	}
	tw := alertColumns()
	tw.AppendHeader(alertHeader)
	for _, a := range alerts {
		tw.AppendRow(t.row(a))
	}
	_, err := fmt.Fprintln(t.w, tw.Render())
	return err
}

// alertHeader are the columns of alerts.
var alertHeader = table.Row{"time", "priority", "rule", "container", "volumes"}

// alertColumns is a table of columns alone: no lines, no trailing spaces.
func alertColumns() table.Writer {
	tw := table.NewWriter()
	tw.SetStyle(table.StyleLight)
	tw.Style().Options = table.OptionsNoBordersAndSeparators
	tw.Style().Box.PaddingLeft, tw.Style().Box.PaddingRight = "", "  "
	tw.SuppressTrailingSpaces()
	tw.Style().Format.Header = text.FormatUpper
	return tw
}

// row is an alert in the columns of alertHeader. What comes of the system that was watched is escaped where a terminal could
// take it for a command.
func (t alertTable) row(a alert.Alert) table.Row {
	return table.Row{
		a.Time.UTC().Format("2006-01-02 15:04:05.000"),
		t.priority(a.Priority),
		profile.Printable(a.Rule),
		profile.Printable(container(a)),
		strings.Join(volumes(a), "  "),
	}
}

// priority is a priority in its colour.
func (t alertTable) priority(p string) string {
	if !t.colour {
		return profile.Printable(p)
	}
	return priorityColours[p].Sprint(profile.Printable(p))
}

// alertStream prints alerts for people as they come, in the columns of alertTable.
type alertStream struct {
	table  alertTable
	widths []int // of the columns so far, so that they stay where they are
}

func newAlertStream(con console) *alertStream {
	return &alertStream{table: newAlertTable(con)}
}

// alertWidths are what most alerts need: Falco's longest priority, the longest rule here, a workload.
var alertWidths = []int{len("2006-01-02 15:04:05.000"), len("Informational"), len("Volume to New Destination from Container"), 24}

const (
	maxAlertWidth   = 64  // of a column; one longer name is not worth a wide column for all that follow
	maxAlertMessage = 160 // characters of an alert's text; json has all of it
)

func (s *alertStream) show(a alert.Alert) error {
	tw := alertColumns()
	if s.widths == nil {
		s.widths = slices.Clone(alertWidths)
		tw.AppendHeader(alertHeader)
	}
	row := s.table.row(a)
	var columns []table.ColumnConfig
	for i := range s.widths {
		s.widths[i] = min(max(s.widths[i], text.StringWidthWithoutEscSequences(row[i].(string))), maxAlertWidth)
		columns = append(columns, table.ColumnConfig{Number: i + 1, WidthMin: s.widths[i]})
	}
	tw.SetColumnConfigs(columns)
	if row[len(row)-1] == "" {
		row[len(row)-1] = message(a) // of a rule that shows no volumes
	}
	tw.AppendRow(row)
	_, err := fmt.Fprintln(s.table.w, tw.Render())
	return err
}

// message is the alert's text without the time and the priority that Falco puts before it.
func message(a alert.Alert) string {
	_, shown, ok := strings.Cut(a.Output, ": "+a.Priority+" ")
	if !ok {
		shown = a.Output
	}
	return text.Snip(profile.Printable(shown), maxAlertMessage, "…")
}

// priorityColours are the colours of a terminal, loud for what wakes a person.
var priorityColours = map[string]text.Colors{
	"Emergency":     {text.FgHiWhite, text.BgRed, text.Bold},
	"Alert":         {text.FgHiWhite, text.BgRed, text.Bold},
	"Critical":      {text.FgRed, text.Bold},
	"Error":         {text.FgRed},
	"Warning":       {text.FgYellow, text.Bold},
	"Notice":        {text.FgCyan},
	"Informational": {text.FgGreen},
	"Debug":         {text.Faint},
}

// container names the container of an alert as well as the alert knows it.
func container(a alert.Alert) string {
	for _, field := range []string{"baseline.workload", "container.name", "container.id"} {
		if name, ok := a.OutputFields[field].(string); ok && name != "" {
			return name
		}
	}
	return "-"
}

// steps are the volumes of the staging fields in the order that data takes, with the word that a person would use.
var steps = []struct{ field, word string }{
	{"staging.source_bytes", "collected"},
	{"staging.remote_bytes", "received"},
	{"staging.handoff_bytes", "taken over"},
	{"staging.handed_bytes", "staged before"},
	{"staging.internal_egress_bytes", "sent inside"},
	{"staging.internal_ingress_bytes", "received inside"},
	{"staging.remote_staged_bytes", "stored"},
	{"staging.bytes", "staged"},
	{"staging.archive_bytes", "archived"},
	{"staging.egress_bytes", "sent"},
	{"staging.external_bytes", "sent outside"},
}

// volumes are the alert's volumes that are not zero, in units for people: those of the staging fields in the order that
// data takes, then other fields that count bytes by their names.
func volumes(a alert.Alert) []string {
	var out []string
	known := map[string]bool{}
	for _, step := range steps {
		known[step.field] = true
		if numBytes, ok := volume(a.OutputFields[step.field]); ok {
			out = append(out, step.word+" "+humanize.IBytes(numBytes))
		}
	}
	for _, field := range slices.Sorted(maps.Keys(a.OutputFields)) {
		name, _, _ := strings.Cut(field, "[")
		if known[field] || !strings.HasSuffix(name, "bytes") {
			continue
		}
		if numBytes, ok := volume(a.OutputFields[field]); ok {
			out = append(out, profile.Printable(field)+" "+humanize.IBytes(numBytes))
		}
	}
	return out
}

// volume is a field's value as a number of bytes; false for none, zero and what is no such number.
func volume(value any) (uint64, bool) {
	number, ok := value.(json.Number)
	if !ok {
		return 0, false
	}
	numBytes, err := strconv.ParseUint(number.String(), 10, 64)
	return numBytes, err == nil && numBytes > 0
}
