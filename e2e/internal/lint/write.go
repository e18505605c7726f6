package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteText writes a line for each finding, as compilers do, and how many there are.
func WriteText(w io.Writer, r Report) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s: %s (%s)\n", f.Pos, f.Msg, f.Check)
	}
	fmt.Fprintf(&b, "%s in %s with %s\n", count(len(r.Findings), "finding"), count(len(r.Files), "file"), count(r.Rules, "rule"))
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// WriteJSON writes one object: {"findings": [{"file", "line", "column", "check", "message"}], "files": [...], "rules": n}.
func WriteJSON(w io.Writer, r Report) error {
	type finding struct {
		File    string `json:"file"`
		Line    int    `json:"line"`
		Column  int    `json:"column"`
		Check   string `json:"check"`
		Message string `json:"message"`
	}
	out := struct {
		Findings []finding `json:"findings"`
		Files    []string  `json:"files"`
		Rules    int       `json:"rules"`
	}{[]finding{}, r.Files, r.Rules}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, finding{f.Pos.File, f.Pos.Line, f.Pos.Column, f.Check, f.Msg})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

// WriteGitHub writes workflow commands that GitHub shows beside the lines of a pull request.
func WriteGitHub(w io.Writer, r Report) error {
	message := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "::error file=%s,line=%d,col=%d,title=%s::%s\n",
			property.Replace(f.Pos.File), f.Pos.Line, f.Pos.Column, property.Replace("stagectl lint: "+f.Check), message.Replace(f.Msg))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
