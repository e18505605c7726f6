package report

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// The JSON document. Its keys are an interface: they may be added to, but not renamed or removed. Its lists are never null.
type document struct {
	Engine  engineJSON `json:"engine"`
	Passed  int        `json:"passed"`
	Failed  int        `json:"failed"`
	NotRun  int        `json:"not_run"`
	Seconds float64    `json:"seconds"`
	Cases   []caseJSON `json:"cases"`
}

type engineJSON struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type caseJSON struct {
	Name       string           `json:"name"`
	File       string           `json:"file"`
	Line       int              `json:"line"`
	Capture    string           `json:"capture"`
	Result     Status           `json:"result"`
	Error      string           `json:"error,omitempty"`
	Alerts     int              `json:"alerts"`
	Seconds    float64          `json:"seconds"`
	Matched    []matchedJSON    `json:"matched"`
	Missing    []missingJSON    `json:"missing"`
	Unexpected []unexpectedJSON `json:"unexpected"`
}

// entryJSON is an entry of a case's expect list.
type entryJSON struct {
	Rule string `json:"rule"`
	Line int    `json:"line"`
	Want string `json:"want"` // how many
}

type matchedJSON struct {
	entryJSON
	Got int `json:"got"`
}

type missingJSON struct {
	entryJSON
	Got         int              `json:"got"`
	Nearest     *alert.Alert     `json:"nearest"`
	Differences []differenceJSON `json:"differences"`
}

type unexpectedJSON struct {
	Alert       alert.Alert      `json:"alert"`
	Nearest     *entryJSON       `json:"nearest"`
	Differences []differenceJSON `json:"differences"`
}

type differenceJSON struct {
	Field  string `json:"field"`
	Want   string `json:"want"`
	Got    any    `json:"got"`
	Absent bool   `json:"absent"`
}

// WriteJSON writes the run as one JSON document.
func WriteJSON(w io.Writer, r Run) error {
	d := document{
		Engine: engineJSON{r.Engine, r.Version},
		Passed: r.Count(Passed), Failed: r.Count(Failed), NotRun: r.Count(NotRun),
		Seconds: r.Elapsed.Seconds(), Cases: []caseJSON{},
	}
	for _, res := range r.Results {
		c := caseJSON{
			Name: res.Case.Name, File: res.Case.Pos.File, Line: res.Case.Pos.Line, Capture: res.Case.Capture,
			Result: res.Status(), Alerts: res.Alerts, Seconds: res.Elapsed.Seconds(),
			Matched: []matchedJSON{}, Missing: []missingJSON{}, Unexpected: []unexpectedJSON{},
		}
		if res.Err != nil {
			c.Error = res.Err.Error()
		}
		for _, m := range res.Verdict.Matched {
			c.Matched = append(c.Matched, matchedJSON{entry(m.Expected), len(m.Alerts)})
		}
		for _, m := range res.Verdict.Missing {
			c.Missing = append(c.Missing, missingJSON{entry(m.Expected), m.Got, m.Nearest, differences(m.Differences)})
		}
		for _, u := range res.Verdict.Unexpected {
			j := unexpectedJSON{Alert: u.Alert, Differences: differences(u.Differences)}
			if u.Nearest != nil {
				e := entry(*u.Nearest)
				j.Nearest = &e
			}
			c.Unexpected = append(c.Unexpected, j)
		}
		d.Cases = append(d.Cases, c)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func entry(e cases.Expectation) entryJSON {
	return entryJSON{Rule: e.Rule, Line: e.Pos.Line, Want: e.Count.String()}
}

func differences(diffs []verdict.Difference) []differenceJSON {
	out := []differenceJSON{}
	for _, d := range diffs {
		out = append(out, differenceJSON{d.Field, d.Want.String(), d.Got, d.Absent})
	}
	return out
}
