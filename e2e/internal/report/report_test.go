package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/jstemmer/go-junit-report/v2/junit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/parity"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

var update = flag.Bool("update", false, "write the golden files anew")

const local, archive, egress = "Local Data Staging in Container", "Archive of Collected Data in Container", "Egress of Staged Data from Container"

// sample is a run with a result of every kind: passed, missing and unexpected in all their forms, not run.
func sample() Run {
	at := time.Date(2026, 11, 23, 17, 2, 25, 7000471, time.UTC)
	place := func(line int) ruleset.Position {
		return ruleset.Position{File: "e2e/cases/upload.yaml", Line: line, Column: 5}
	}
	notice, warning := ruleset.PriorityNotice, ruleset.PriorityWarning
	expected := []cases.Expectation{
		{Rule: local, Priority: &notice, Count: cases.Count{Min: 1, Max: 1}, Pos: place(6)},
		{Rule: archive, Count: cases.Count{Min: 2, Max: 4}, Pos: place(9)},
		{Rule: egress, Priority: &warning, Count: cases.Count{Min: 1, Max: 1}, Pos: place(11), Fields: []cases.Field{
			{Name: "staging.external_bytes", Want: cases.Between{Min: &cases.Bound{Number: "20000000", Literal: "20MB"}}},
			{Name: "staging.egress_bytes[5m]", Want: cases.Equal{Value: json.Number("22564009")}},
			{Name: "staging.dir", Want: cases.Contains("/tmp")},
			{Name: "staging.handoff_peer", Want: cases.Equal{Value: nil}},
			{Name: "proc.name", Want: cases.Equal{Value: "curl"}},
		}},
	}
	alerts := came(1,
		alert.Alert{Rule: local, Priority: "Notice", Time: at.Add(-time.Second), Source: "syscall", Output: "Data gathered", Tags: []string{}},
		alert.Alert{Rule: egress, Priority: "Warning", Time: at, Source: "syscall", Tags: []string{"T1041"},
			Output: "Staged data left a container (command=curl -T s.tgz)", OutputFields: map[string]any{
				"staging.external_bytes":        json.Number("18446744073709551615"),
				"staging.egress_bytes[5m]":      json.Number("512"),
				"evt.num":                       json.Number("13043"),
				"staging.dir":                   "/var/tmp/.x",
				"proc.name":                     "curl",
				"proc.cmdline":                  "curl \x1b[2J -T <s.tgz>",
				"baseline.deviation[x_bytes]":   json.Number("4000"),
				"baseline.observed[sent_bytes]": json.Number("4000"),
			}},
		alert.Alert{Rule: local, Priority: "Notice", Time: at.Add(time.Second), Source: "syscall", Output: "Data gathered", Tags: []string{}},
		alert.Alert{Rule: "Terminal shell in container", Priority: "Notice", Time: at.Add(2 * time.Second), Source: "syscall",
			Output: "A shell", Tags: []string{}, OutputFields: map[string]any{"proc.tty": json.Number("34816"), "fd.name": nil}},
	)
	ended := cases.Expectation{Rule: local, Count: cases.Count{Min: 0, Max: 1}, Pos: place(3), Priority: &warning}
	named := func(name, file string, line int) cases.Case {
		return cases.Case{Name: name, Captures: []string{"e2e/captures/" + name + ".scap"}, Pos: ruleset.Position{File: file, Line: line, Column: 1}}
	}
	return Run{
		Engines: []Engine{{"sysdig", "sysdig version 0.41.4"}}, Elapsed: 5300 * time.Millisecond, Replays: 4,
		Results: []Result{
			{Engine: "sysdig", Case: named("benign-build", "e2e/cases/benign-build.yaml", 1), Elapsed: 1240 * time.Millisecond},
			{Engine: "sysdig", Commands: []string{"rm -f /tmp/b", "sysdig -r upload.scap 'a <b'"}, Case: named("upload", "e2e/cases/upload.yaml", 1), Alerts: 4, Elapsed: 3 * time.Second,
				Verdict: verdict.Compare(expected, alerts)},
			{Engine: "sysdig", Case: named("other", "e2e/cases/other.yaml", 1), Alerts: 1, Elapsed: time.Second,
				Verdict: verdict.Compare([]cases.Expectation{ended}, alerts[:1])},
			{Engine: "sysdig", Case: named("broken", "e2e/cases/broken.yaml", 4), Err: errors.New("replay e2e/captures/broken.scap: exit status 1\nno such field \x07")},
		},
	}
}

// came are alerts of one of a case's captures.
func came(capture int, alerts ...alert.Alert) (out []verdict.Alert) {
	for _, a := range alerts {
		out = append(out, verdict.Alert{Alert: a, Capture: capture})
	}
	return out
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run with -update and review the difference")
}

func TestTheTableExplainsEveryFailure(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteTable(&b, sample(), false))
	golden(t, "table.txt", b.String())
	for i, line := range strings.Split(b.String(), "\n") {
		assert.Equal(t, strings.TrimRight(line, " "), line, "line %d ends in spaces", i+1)
	}
	assert.NotContains(t, b.String(), "\x1b", "an alert must not reach the terminal's controls")
}

func TestColourOnlyAddsEscapes(t *testing.T) {
	text.EnableColors() // the library's own switch follows TERM, which CI does not set
	var plain, coloured bytes.Buffer
	require.NoError(t, WriteTable(&plain, sample(), false))
	require.NoError(t, WriteTable(&coloured, sample(), true))
	assert.Contains(t, coloured.String(), "\x1b[32mpassed\x1b[0m")
	assert.Equal(t, plain.String(), text.StripEscape(coloured.String()))
	assert.True(t, strings.HasSuffix(coloured.String(), "\n1 passed, 3 failed\n"), "the last line is for programs too")
}

func TestARunThatPassesEndsInItsCountAlone(t *testing.T) {
	r := sample()
	r.Results = r.Results[:1]
	var b bytes.Buffer
	require.NoError(t, WriteTable(&b, r, false))
	assert.Equal(t, `CASE          ENGINE  ALERTS  TIME  RESULT
benign-build  sysdig       0  1.2s  passed

engine sysdig: sysdig version 0.41.4
1 passed, 0 failed
`, b.String())
}

func TestTheJSONDocumentKeepsItsKeysAndItsNumbers(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteJSON(&b, sample()))
	golden(t, "report.json", b.String())
	assert.Contains(t, b.String(), `"staging.external_bytes": 18446744073709551615`)
	assert.Contains(t, b.String(), `-T <s.tgz>`, "as Falco writes it")

	b.Reset()
	require.NoError(t, WriteJSON(&b, Run{Engines: []Engine{{Name: "falco"}}}))
	assert.Contains(t, b.String(), `"cases": []`, "a list is never null")
}

func TestJUnitTellsFailuresFromErrors(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteJUnit(&b, sample()))
	var got junit.Testsuites
	require.NoError(t, xml.Unmarshal(b.Bytes(), &got))
	assert.Equal(t, []int{4, 2, 1}, []int{got.Tests, got.Failures, got.Errors})
	require.Len(t, got.Suites, 1)
	assert.Equal(t, "stagectl test on sysdig", got.Suites[0].Name)
	tests := got.Suites[0].Testcases
	require.Len(t, tests, 4)
	assert.Equal(t, []string{"benign-build", "e2e/cases", "1.240"}, []string{tests[0].Name, tests[0].Classname, tests[0].Time})
	assert.Nil(t, tests[0].Failure)
	require.NotNil(t, tests[1].Failure)
	assert.Equal(t, "2 missing, 3 unexpected", tests[1].Failure.Message)
	assert.Contains(t, tests[1].Failure.Data, "staging.dir")
	require.NotNil(t, tests[3].Error)
	assert.Equal(t, "replay e2e/captures/broken.scap: exit status 1\nno such field \\a\n", tests[3].Error.Data)
	require.NotNil(t, got.Suites[0].Properties)
	assert.Contains(t, *got.Suites[0].Properties, junit.Property{Name: "engine", Value: "sysdig"})
}

func TestVolumesAreShownInHumanUnits(t *testing.T) {
	for _, tc := range []struct {
		field string
		value any
		want  string
	}{
		{"staging.bytes", json.Number("20971520"), "20 MiB (20971520)"},
		{"staging.external_bytes[5m]", json.Number("1500"), "1.5 KiB (1500)"},
		{"staging.bytes", json.Number("1023"), "1023"},
		{"staging.bytes", json.Number("18446744073709551615"), "16 EiB (18446744073709551615)"},
		{"baseline.typical[staged_bytes]", json.Number("2000000"), "1.9 MiB (2000000)"},
		{"baseline.ratio[staged_bytes]", json.Number("2000000"), "2000000"},
		{"staging.files", json.Number("2000000"), "2000000"},
		{"staging.bytes", nil, "no value"},
		{"staging.dir", "a\tb", `"a\tb"`},
	} {
		assert.Equal(t, tc.want, fieldValue(tc.field, tc.value), tc.field)
	}
}

// both is a run on two engines: a case that passes on one alone, one that fails on both, and one on which they differ.
func both() Run {
	r := sample()
	passed, failed := r.Results[0], r.Results[2]
	on := func(res Result, engine string) Result {
		res.Engine = engine
		return res
	}
	wrong := failed
	wrong.Case = passed.Case
	at := time.Date(2026, 11, 23, 17, 2, 25, 0, time.UTC)
	falco := came(1, alert.Alert{Rule: local, Priority: "Notice", Time: at, OutputFields: map[string]any{
		"evt.num": json.Number("7"), "staging.bytes": json.Number("5242880"), "user.name": "<NA>", "container.name": "web"}})
	sysdig := came(1, alert.Alert{Rule: local, Priority: "Notice", Time: at, OutputFields: map[string]any{
		"evt.num": json.Number("7"), "staging.bytes": json.Number("5242881"), "user.name": "www-data"}})
	same := came(1, sysdig[0].Alert)
	same[0].OutputFields = map[string]any{"evt.num": json.Number("7"), "staging.bytes": json.Number("5242880"), "user.name": "www-data"}
	return Run{
		Engines: []Engine{{"falco", "0.44.1"}, {"sysdig", "0.41.4"}}, Replays: 8, Cached: 3, Elapsed: time.Second,
		Results: []Result{on(passed, "falco"), on(wrong, "sysdig"), on(failed, "falco"), on(failed, "sysdig")},
		Agreements: []Agreement{
			{passed.Case, parity.Compare(falco, same)},
			{failed.Case, parity.Compare(falco, sysdig)},
		},
	}
}

func TestTwoEnginesAreTwoRowsAndWhatTheyDifferInIsToldWithBothAlerts(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteTable(&b, both(), false))
	golden(t, "both.txt", b.String())
}

func TestJUnitOfTwoEnginesHasASuiteForEachAndOneForWhetherTheyAgree(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteJUnit(&b, both()))
	var got junit.Testsuites
	require.NoError(t, xml.Unmarshal(b.Bytes(), &got))
	require.Len(t, got.Suites, 3)
	for i, want := range []struct {
		name     string
		failures int
	}{{"stagectl test on falco", 1}, {"stagectl test on sysdig", 2}, {"engines agree", 1}} {
		assert.Equal(t, want.name, got.Suites[i].Name)
		assert.Equal(t, want.failures, got.Suites[i].Failures, want.name)
		assert.Len(t, got.Suites[i].Testcases, 2)
	}
	assert.Contains(t, got.Suites[2].Testcases[1].Failure.Data, "staging.bytes")
}

func TestGitHubGetsOneAnnotationForWhatTwoEnginesSayAlike(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteGitHub(&b, both()))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 3)
	assert.Regexp(t, `^::error file=e2e/cases/benign-build.yaml,line=1,title=case benign-build%3A 0 missing%2C 1 unexpected \(sysdig\)::unexpected: `, lines[0])
	assert.Regexp(t, `^::error file=e2e/cases/other.yaml,line=1,title=case other%3A 0 missing%2C 1 unexpected \(falco and sysdig\)::`, lines[1])
	assert.Regexp(t, `^::error file=e2e/cases/other.yaml,line=1,title=case other%3A the engines differ::after 0 alerts .*%0Afalco:  \{`, lines[2])

	b.Reset()
	require.NoError(t, WriteGitHub(&b, sample()))
	assert.Contains(t, b.String(), "file=e2e/cases/upload.yaml,line=9,", "where the first missing alert is expected")
	assert.Contains(t, b.String(), "title=case broken could not be run (sysdig)::replay e2e/captures/broken.scap: exit status 1%0Ano such field \\a")
	assert.NotContains(t, b.String(), "by hand", "an annotation is short")
	assert.Equal(t, 3, strings.Count(b.String(), "\n"))
}

func TestAnAlertOfOneOfSeveralCapturesNamesIt(t *testing.T) {
	r := sample()
	r.Results = r.Results[2:3]
	r.Results[0].Case.Captures = []string{"c/monday.scap", "c/tuesday.scap"}
	r.Results[0].Verdict.Unexpected[0].Alert.Capture = 2
	var b bytes.Buffer
	require.NoError(t, WriteTable(&b, r, false))
	assert.Contains(t, b.String(), "Notice at 2026-11-23 17:02:24.007000471 in capture 2, tuesday.scap\n")
	b.Reset()
	require.NoError(t, WriteJSON(&b, r))
	assert.Contains(t, b.String(), `"capture": 2`)
}
