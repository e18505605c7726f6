package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/report"
)

// scripted is an engine whose replays do what the test says.
type scripted struct {
	engine.Engine // nil: what else an engine can is not asked of it
	replay        func(engine.Request) ([]alert.Alert, error)
	busy          atomic.Int32 // replays that run now
	most          atomic.Int32 // and the most that did at once
}

func (*scripted) Name() string { return "scripted" }

func (*scripted) Version(context.Context) (string, error) { return "1.0", nil }

func (s *scripted) Replay(ctx context.Context, req engine.Request) ([]alert.Alert, error) {
	n := s.busy.Add(1)
	defer s.busy.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	time.Sleep(10 * time.Millisecond) // long enough for every replay that may to run beside this one
	return s.replay(req)
}

const egressRule = `- rule: Egress
  desc: d
  condition: evt.type = sendto
  output: o
  priority: WARNING
- rule: Disabled
  desc: d
  condition: evt.type = sendto
  output: o
  priority: WARNING
  enabled: false
`

// caseFolder is a folder with a capture, its checksum, a rules file and a file of cases.
func caseFolder(t *testing.T, source string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range map[string]string{
		"a.scap":       "abc",
		"SHA256SUMS":   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.scap\n", // FIPS 180-2, B.1
		"rules.yaml":   egressRule,
		"own.yaml":     "- rule: Own\n  desc: d\n  condition: evt.type = connect\n  output: o\n  priority: NOTICE\n",
		"enable.yaml":  "- rule: Disabled\n  enabled: true\n  override: {enabled: replace}\n",
		"broken.yaml":  "- rule: Broken\n",
		"cases/a.yaml": source,
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return dir
}

func findIn(t *testing.T, dir string) []cases.Case {
	t.Helper()
	found, err := cases.Find(filepath.Join(dir, "cases"))
	require.NoError(t, err)
	return found
}

func TestCasesAreCheckedBeforeTheFirstRuns(t *testing.T) {
	for _, tc := range []struct{ name, source, capture, want string }{
		{"good cases pass, with rules of their own", `
- {name: one, capture: ../a.scap, expect: [{rule: Egress}]}
- {name: two, capture: ../a.scap, rules: [../own.yaml], expect: [{rule: Egress}, {rule: Own}]}
- {name: three, capture: ../a.scap, rules: [../enable.yaml], expect: [{rule: Disabled}]}
`, "abc", ""},
		{"a changed capture is named", `{name: one, capture: ../a.scap, expect: []}`, "abd", "capture DIR/a.scap has changed"},
		{"an unknown rule is named with the one that was meant", `{name: one, capture: ../a.scap, expect: [{rule: Egres}]}`, "abc",
			`DIR/cases/a.yaml:1:49: no rule that is loaded and enabled is named "Egres": write "Egress"`},
		{"a rule that another case loads is not loaded here", `
- {name: one, capture: ../a.scap, rules: [../own.yaml], expect: []}
- {name: two, capture: ../a.scap, expect: [{rule: Own}]}
`, "abc", `DIR/cases/a.yaml:3:51: no rule that is loaded and enabled is named "Own"`},
		{"a disabled rule cannot fire", `{name: one, capture: ../a.scap, expect: [{rule: Disabled}]}`, "abc",
			`no rule that is loaded and enabled is named "Disabled"`},
		{"rules that do not load are named with the case", `{name: one, capture: ../a.scap, rules: [../broken.yaml], expect: []}`, "abc",
			"load the rules of case one: DIR/broken.yaml:1:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := caseFolder(t, tc.source)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "a.scap"), []byte(tc.capture), 0o600))
			err := checkCases(findIn(t, dir), []string{filepath.Join(dir, "rules.yaml")})
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Contains(t, strings.ReplaceAll(err.Error(), dir, "DIR"), tc.want)
		})
	}
}

func TestResultsKeepTheOrderOfTheCasesAndTheLimitHolds(t *testing.T) {
	dir := caseFolder(t, `
- {name: passes, capture: ../a.scap, init_config: {n: 1}, expect: [{rule: Egress}]}
- {name: fails, capture: ../a.scap, init_config: {n: 2}, expect: [{rule: Egress}]}
- {name: breaks, capture: ../a.scap, init_config: {n: 3}, expect: []}
- {name: own, capture: ../a.scap, rules: [../own.yaml], expect: []}
`)
	var own engine.Request
	eng := &scripted{replay: func(req engine.Request) ([]alert.Alert, error) {
		switch string(req.InitConfig) {
		case `{"n":1}`:
			return []alert.Alert{{Rule: "Egress", Priority: "Warning"}}, nil
		case `{"n":3}`:
			return nil, errors.New("broken capture")
		case "":
			own = req
		}
		return nil, nil
	}}
	var stderr bytes.Buffer
	found := findIn(t, dir)
	tr := tester{engine: eng, plugin: "p.so", rules: []string{"r.yaml"}, parallel: 2}
	got, err := tr.run(t.Context(), found, console{stderr: &stderr})
	require.NoError(t, err)
	var statuses []report.Status
	for i, r := range got.Results {
		assert.Equal(t, found[i].Name, r.Case.Name)
		statuses = append(statuses, r.Status())
	}
	assert.Equal(t, []report.Status{report.Passed, report.Failed, report.NotRun, report.Passed}, statuses)
	assert.Equal(t, "scripted", got.Engine)
	assert.Equal(t, int32(2), eng.most.Load())
	assert.Equal(t, engine.Request{Capture: filepath.Join(dir, "a.scap"), Plugin: "p.so", Rules: []string{"r.yaml", filepath.Join(dir, "own.yaml")}}, own)
	assert.Empty(t, stderr.String(), "no progress where there is no terminal")
}

func TestProgressIsShownOnATerminalAndClearedAtTheEnd(t *testing.T) {
	found := findIn(t, caseFolder(t, `{name: one, capture: ../a.scap, expect: []}`))
	eng := &scripted{replay: func(engine.Request) ([]alert.Alert, error) { return nil, nil }}
	var stderr bytes.Buffer
	_, err := tester{engine: eng, parallel: 1}.run(t.Context(), found, console{stderr: &stderr, stderrTerminal: true})
	require.NoError(t, err)
	assert.Contains(t, stderr.String(), "0/1")
	last := stderr.String()[strings.LastIndex(strings.TrimRight(stderr.String(), "\r"), "\r")+1:]
	assert.Empty(t, strings.Trim(last, " \r"), "the bar must not stay above the report")
}

func TestAnInterruptEndsTheRunWithoutAReport(t *testing.T) {
	found := findIn(t, caseFolder(t, `{name: one, capture: ../a.scap, expect: []}`))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := tester{engine: &scripted{}, parallel: 1}.run(ctx, found, console{stderr: &bytes.Buffer{}})
	require.ErrorIs(t, err, context.Canceled)
}

func TestJUnitThatCannotBeWrittenIsAnError(t *testing.T) {
	require.ErrorContains(t, writeJUnit(filepath.Join(t.TempDir(), "no", "such.xml"), report.Run{}), "write JUnit report")
}

func TestANegativeLimitIsRefused(t *testing.T) {
	require.EqualError(t, testCmd{Parallel: -1}.Validate(), "--parallel=-1: write 1 or more")
	require.NoError(t, testCmd{}.Validate())
}
