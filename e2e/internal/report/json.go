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
	Engine     engineJSON      `json:"engine"` // the first
	Engines    []engineJSON    `json:"engines"`
	Passed     int             `json:"passed"`
	Failed     int             `json:"failed"`
	NotRun     int             `json:"not_run"`
	Disagree   int             `json:"disagree"` // cases for which the engines gave something different
	Replays    int             `json:"replays"`
	Cached     int             `json:"cached"` // of the replays
	Seconds    float64         `json:"seconds"`
	Cases      []caseJSON      `json:"cases"` // one for each case and engine
	Agreements []agreementJSON `json:"agreements"`
}

type engineJSON struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type caseJSON struct {
	Name       string           `json:"name"`
	File       string           `json:"file"`
	Line       int              `json:"line"`
	Engine     string           `json:"engine"`
	Capture    string           `json:"capture"` // the first
	Captures   []string         `json:"captures"`
	Result     Status           `json:"result"`
	Error      string           `json:"error,omitempty"`
	Alerts     int              `json:"alerts"`
	Cached     bool             `json:"cached"`
	Seconds    float64          `json:"seconds"`
	Matched    []matchedJSON    `json:"matched"`
	Missing    []missingJSON    `json:"missing"`
	Unexpected []unexpectedJSON `json:"unexpected"`
	Commands   []string         `json:"commands"`
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
	Capture     int              `json:"nearest_capture,omitempty"` // the one of the case's captures that it came in, from 1
	Differences []differenceJSON `json:"differences"`
}

type unexpectedJSON struct {
	Alert       alert.Alert      `json:"alert"`
	Capture     int              `json:"capture"` // the one of the case's captures that it came in, from 1
	Nearest     *entryJSON       `json:"nearest"`
	Differences []differenceJSON `json:"differences"`
}

type differenceJSON struct {
	Field  string `json:"field"`
	Want   string `json:"want"`
	Got    any    `json:"got"`
	Absent bool   `json:"absent"`
}

// agreementJSON is what two engines gave for a case.
type agreementJSON struct {
	Name   string       `json:"name"`
	Agree  bool         `json:"agree"`
	Alerts int          `json:"alerts"` // that are the same
	Known  []knownJSON  `json:"known"`
	Falco  *alert.Alert `json:"falco,omitempty"`  // the first that differ
	Sysdig *alert.Alert `json:"sysdig,omitempty"` // the first that differ
	Fields []string     `json:"fields"`           // in which they do
}

type knownJSON struct {
	Fields []string `json:"fields"`
	Why    string   `json:"why"`
	Alerts int      `json:"alerts"`
}

// WriteJSON writes the run as one JSON document.
func WriteJSON(w io.Writer, r Run) error {
	d := document{
		Engines: []engineJSON{},
		Passed:  r.Count(Passed), Failed: r.Count(Failed), NotRun: r.Count(NotRun), Disagree: len(r.Disagreements()),
		Replays: r.Replays, Cached: r.Cached, Seconds: r.Elapsed.Seconds(), Cases: []caseJSON{}, Agreements: []agreementJSON{},
	}
	for _, e := range r.Engines {
		d.Engines = append(d.Engines, engineJSON(e))
	}
	if len(d.Engines) > 0 {
		d.Engine = d.Engines[0]
	}
	for _, res := range r.Results {
		c := caseJSON{
			Name: res.Case.Name, File: res.Case.Pos.File, Line: res.Case.Pos.Line, Engine: res.Engine,
			Captures: append([]string{}, res.Case.Captures...), Commands: append([]string{}, res.Commands...),
			Result: res.Status(), Alerts: res.Alerts, Cached: res.Cached, Seconds: res.Elapsed.Seconds(),
			Matched: []matchedJSON{}, Missing: []missingJSON{}, Unexpected: []unexpectedJSON{},
		}
		if len(c.Captures) > 0 {
			c.Capture = c.Captures[0]
		}
		if res.Err != nil {
			c.Error = res.Err.Error()
		}
		for _, m := range res.Verdict.Matched {
			c.Matched = append(c.Matched, matchedJSON{entry(m.Expected), len(m.Alerts)})
		}
		for _, m := range res.Verdict.Missing {
			j := missingJSON{entryJSON: entry(m.Expected), Got: m.Got, Differences: differences(m.Differences)}
			if m.Nearest != nil {
				j.Nearest, j.Capture = &m.Nearest.Alert, m.Nearest.Capture
			}
			c.Missing = append(c.Missing, j)
		}
		for _, u := range res.Verdict.Unexpected {
			j := unexpectedJSON{Alert: u.Alert.Alert, Capture: u.Alert.Capture, Differences: differences(u.Differences)}
			if u.Nearest != nil {
				e := entry(*u.Nearest)
				j.Nearest = &e
			}
			c.Unexpected = append(c.Unexpected, j)
		}
		d.Cases = append(d.Cases, c)
	}
	for _, a := range r.Agreements {
		d.Agreements = append(d.Agreements, agreement(a))
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func agreement(a Agreement) agreementJSON {
	j := agreementJSON{Name: a.Case.Name, Agree: a.Difference == nil, Alerts: a.Alerts, Known: []knownJSON{}, Fields: []string{}}
	for _, k := range a.Known {
		j.Known = append(j.Known, knownJSON{k.Fields, k.Why, k.Alerts})
	}
	if a.Difference == nil {
		return j
	}
	if a.Difference.Falco != nil {
		j.Falco = &a.Difference.Falco.Alert
	}
	if a.Difference.Sysdig != nil {
		j.Sysdig = &a.Difference.Sysdig.Alert
	}
	for _, f := range a.Difference.Fields {
		j.Fields = append(j.Fields, f.Name)
	}
	return j
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
