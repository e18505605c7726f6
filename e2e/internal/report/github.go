package report

import (
	"fmt"
	"io"
	"strings"
)

// WriteGitHub writes an annotation for each case that did not pass, which GitHub shows beside the line of the case in a
// pull request. It shows ten of a step, so what two engines say alike is one.
func WriteGitHub(w io.Writer, r Run) error {
	var notes []annotation
	for _, res := range r.Results {
		if res.Status() == Passed {
			continue
		}
		n := annotation{file: res.Case.Pos.File, line: res.Case.Pos.Line, engine: res.Engine}
		if res.Status() == NotRun {
			n.title, n.text = "case "+res.Case.Name+" could not be run", printable(res.Err.Error())
		} else {
			n.title = "case " + res.Case.Name + ": " + summary(res)
			if len(res.Verdict.Missing) > 0 {
				n.line = res.Verdict.Missing[0].Expected.Pos.Line
			}
			withoutCommands := res
			withoutCommands.Commands = nil
			n.text = details(withoutCommands, false)
		}
		if last := len(notes) - 1; last >= 0 && notes[last].sameBut(n) {
			notes[last].engine += " and " + n.engine
			continue
		}
		notes = append(notes, n)
	}
	for _, a := range r.Disagreements() {
		notes = append(notes, annotation{
			file: a.Case.Pos.File, line: a.Case.Pos.Line, title: "case " + a.Case.Name + ": the engines differ", text: disagreement(a),
		})
	}
	for _, n := range notes {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return fmt.Errorf("write annotations: %w", err)
		}
	}
	return nil
}

type annotation struct {
	file, title, text string
	line              int
	engine            string // that says so; empty for both
}

// sameBut tells whether two annotations differ in the engine alone.
func (n annotation) sameBut(other annotation) bool {
	return n.file == other.file && n.line == other.line && n.title == other.title && n.text == other.text && n.engine != other.engine
}

// Workflow commands take some characters escaped, and more of them in properties.
var (
	commandText     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	commandProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func (n annotation) String() string {
	title := n.title
	if n.engine != "" {
		title += " (" + n.engine + ")"
	}
	return fmt.Sprintf("::error file=%s,line=%d,title=%s::%s", commandProperty.Replace(n.file), n.line,
		commandProperty.Replace(title), commandText.Replace(strings.TrimSuffix(n.text, "\n")))
}
