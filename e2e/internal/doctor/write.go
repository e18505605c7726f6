package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// colours are those of a terminal.
var colours = map[Status]text.Colors{OK: {text.FgGreen}, Warn: {text.FgYellow}, Fail: {text.FgRed}, Skip: {text.Faint}}

// WriteText writes a line for each thing, below it what to write, and how many of them are wrong.
func WriteText(w io.Writer, r Report, colour bool) error {
	var b strings.Builder
	for _, l := range r.Lines {
		status := fmt.Sprintf("%-4s", l.Status)
		if colour {
			status = colours[l.Status].Sprint(status)
		}
		fmt.Fprintf(&b, "%s  %-13s  ", status, l.Check)
		if at := l.place(); at != "" {
			b.WriteString(at + ": ")
		}
		b.WriteString(l.Msg + "\n")
		if l.Write == "" {
			continue
		}
		const indent = "                     "
		if l.File != "" {
			fmt.Fprintf(&b, "%swrite in %s:\n", indent, l.File)
		} else {
			fmt.Fprintf(&b, "%srun:\n", indent)
		}
		for line := range strings.Lines(l.Write) {
			fmt.Fprintf(&b, "%s  %s\n", indent, strings.TrimSuffix(line, "\n"))
		}
	}
	fmt.Fprintf(&b, "%d ok, %d to look at, %d wrong, %d not looked at\n", r.Count(OK), r.Count(Warn), r.Count(Fail), r.Count(Skip))
	_, err := io.WriteString(w, b.String())
	return err
}

// place is where a line is about, without line and column where it is about a file as such.
func (l Line) place() string {
	if l.Pos.Line == 0 {
		return l.Pos.File
	}
	return l.Pos.String()
}

// WriteJSON writes one object: {"lines": [{"status", "check", "message", "file", "line", "column", "write_in", "write"}]}.
func WriteJSON(w io.Writer, r Report) error {
	type line struct {
		Status  Status `json:"status"`
		Check   string `json:"check"`
		Message string `json:"message"`
		File    string `json:"file,omitempty"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		WriteIn string `json:"write_in,omitempty"`
		Write   string `json:"write,omitempty"`
	}
	out := struct {
		Lines []line `json:"lines"`
	}{[]line{}}
	for _, l := range r.Lines {
		out.Lines = append(out.Lines, line{l.Status, l.Check, l.Msg, l.Pos.File, l.Pos.Line, l.Pos.Column, l.File, l.Write})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
