package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
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
	tw := table.NewWriter()
	tw.SetStyle(table.StyleLight)
	tw.Style().Options = table.OptionsNoBordersAndSeparators
	tw.Style().Box.PaddingLeft, tw.Style().Box.PaddingRight = "", "  "
	tw.SuppressTrailingSpaces()
	tw.Style().Format.Header = text.FormatUpper
	tw.AppendHeader(table.Row{"time", "priority", "rule", "container", "volumes"})
	for _, a := range alerts {
		priority := a.Priority
		if t.colour {
			priority = priorityColours[a.Priority].Sprint(priority)
		}
		tw.AppendRow(table.Row{
			a.Time.UTC().Format("2006-01-02 15:04:05.000"),
			priority,
			a.Rule,
			container(a),
			strings.Join(volumes(a), "  "),
		})
	}
	_, err := fmt.Fprintln(t.w, tw.Render())
	return err
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
		if name, ok := a.OutputFields[field].(string); ok && name != "" && name != "<NA>" {
			return name
		}
	}
	return "-"
}

// volumes are the alert's fields that count bytes, in units for people, by name.
func volumes(a alert.Alert) []string {
	var out []string
	for field, value := range a.OutputFields {
		// staging.bytes, staging.egress_bytes[10m]
		name, window, windowed := strings.Cut(field, "[")
		number, ok := value.(json.Number)
		if !ok || !strings.HasSuffix(name, "bytes") {
			continue
		}
		numBytes, err := strconv.ParseUint(number.String(), 10, 64)
		if err != nil {
			continue // negative: an error number
		}
		label := strings.TrimPrefix(name, "staging.")
		if windowed {
			label += "[" + window
		}
		out = append(out, label+" "+humanize.IBytes(numBytes))
	}
	slices.Sort(out)
	return out
}
