package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
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

func (*scripted) Command(req engine.Request, rule string) (string, error) {
	return strings.TrimSpace("run " + filepath.Base(req.Capture) + " " + rule), nil
}

func (*scripted) Met(_ context.Context, _ engine.Request, conditions []string) ([]bool, error) {
	return make([]bool, len(conditions)), nil
}

func (*scripted) Fingerprint(context.Context, engine.Request, io.Writer) error { return nil }

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
		{"a case that expects nothing yet is no test", `{name: one, capture: ../a.scap}`, "abc", "DIR/cases/a.yaml:1:1: no expect: list every alert"},
		{"each of several captures is looked at", `{name: one, capture: [../own.yaml, ../a.scap], expect: []}`, "abc",
			"capture DIR/own.yaml is not listed in DIR/SHA256SUMS"},
		{"a baseline that each process would write", `{name: one, capture: ../a.scap, init_config: {baseline: {file: /b}}, expect: []}`, "abc",
			"DIR/cases/a.yaml:1:1: the plugin's configuration: baseline.file would be written"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := caseFolder(t, tc.source)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "a.scap"), []byte(tc.capture), 0o600))
			err := (&tester{rules: []string{filepath.Join(dir, "rules.yaml")}}).checkCases(findIn(t, dir), false)
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
	tr := tester{engines: []engine.Engine{eng}, plugin: "p.so", rules: []string{"r.yaml"}, parallel: 2, con: console{stderr: &stderr}}
	got, err := tr.run(t.Context(), found)
	require.NoError(t, err)
	var statuses []report.Status
	for i, r := range got.Results {
		assert.Equal(t, found[i].Name, r.Case.Name)
		statuses = append(statuses, r.Status())
	}
	assert.Equal(t, []report.Status{report.Passed, report.Failed, report.NotRun, report.Passed}, statuses)
	assert.Equal(t, []report.Engine{{Name: "scripted", Version: "1.0"}}, got.Engines)
	assert.Equal(t, 4, got.Replays)
	assert.Equal(t, int32(2), eng.most.Load())
	assert.Equal(t, engine.Request{Capture: filepath.Join(dir, "a.scap"), Plugin: "p.so", Rules: []string{"r.yaml", filepath.Join(dir, "own.yaml")}}, own)
	assert.Empty(t, stderr.String(), "no progress where there is no terminal")
}

func TestProgressIsShownOnATerminalAndClearedAtTheEnd(t *testing.T) {
	found := findIn(t, caseFolder(t, `{name: one, capture: ../a.scap, expect: []}`))
	eng := &scripted{replay: func(engine.Request) ([]alert.Alert, error) { return nil, nil }}
	var stderr bytes.Buffer
	_, err := (&tester{engines: []engine.Engine{eng}, parallel: 1, con: console{stderr: &stderr, stderrTerminal: true}}).run(t.Context(), found)
	require.NoError(t, err)
	assert.Contains(t, stderr.String(), "0/1")
	last := stderr.String()[strings.LastIndex(strings.TrimRight(stderr.String(), "\r"), "\r")+1:]
	assert.Empty(t, strings.Trim(last, " \r"), "the bar must not stay above the report")
}

func TestAnInterruptEndsTheRunWithoutAReport(t *testing.T) {
	found := findIn(t, caseFolder(t, `{name: one, capture: ../a.scap, expect: []}`))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := (&tester{engines: []engine.Engine{&scripted{}}, parallel: 1, con: console{stderr: &bytes.Buffer{}}}).run(ctx, found)
	require.ErrorIs(t, err, context.Canceled)
}

func TestJUnitThatCannotBeWrittenIsAnError(t *testing.T) {
	require.ErrorContains(t, writeJUnit(filepath.Join(t.TempDir(), "no", "such.xml"), report.Run{}), "write JUnit report")
}

func TestANegativeLimitIsRefused(t *testing.T) {
	require.EqualError(t, campaignFlags{Parallel: -1}.Validate(), "--parallel=-1: write 1 or more")
	require.NoError(t, campaignFlags{}.Validate())
}

// carrying is an engine whose state is the list of the captures that were replayed.
func carrying(t *testing.T, modes *[]string) *scripted {
	return &scripted{replay: func(req engine.Request) ([]alert.Alert, error) {
		var config struct{ Baseline struct{ Mode string } }
		if len(req.InitConfig) > 0 {
			require.NoError(t, json.Unmarshal(req.InitConfig, &config))
		}
		*modes = append(*modes, config.Baseline.Mode)
		if req.State == "" {
			return nil, nil
		}
		before, err := os.ReadFile(req.State)
		if err != nil {
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
		require.NoError(t, os.WriteFile(req.State, append(before, filepath.Base(req.Capture)+" "...), 0o600))
		return []alert.Alert{{Rule: "Egress", Priority: "Warning", OutputFields: map[string]any{"before": string(before)}}}, nil
	}}
}

func TestWhatACaptureTeachesIsKnownInTheNext(t *testing.T) {
	for _, tc := range []struct {
		name, source  string
		modes, before []string
	}{
		{"one capture has nothing before it", `{name: one, capture: ../a.scap, expect: []}`, []string{""}, nil},
		{"captures in order, in the plugin's own mode", `{name: one, capture: [../a.scap, ../rules.yaml], expect: []}`,
			[]string{"", ""}, []string{"", "a.scap "}},
		{"what was learned first is compared with", `{name: one, learn: [../own.yaml, ../a.scap], capture: ../rules.yaml, expect: []}`,
			[]string{"learn", "learn", "detect"}, []string{"own.yaml a.scap "}},
		{"and learned on where the case says so",
			`{name: one, learn: [../own.yaml], capture: [../a.scap, ../rules.yaml], init_config: {baseline: {mode: both}}, expect: []}`,
			[]string{"learn", "both", "both"}, []string{"own.yaml ", "own.yaml a.scap "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var modes []string
			eng := carrying(t, &modes)
			tr := tester{engines: []engine.Engine{eng}, parallel: 1, con: console{stderr: io.Discard}}
			_, err := tr.run(t.Context(), findIn(t, caseFolder(t, tc.source)))
			require.NoError(t, err)
			assert.Equal(t, tc.modes, modes)
			var before []string
			for i, a := range tr.came[0] {
				before = append(before, a.OutputFields["before"].(string))
				assert.Equal(t, i+1, a.Capture)
			}
			assert.Equal(t, tc.before, before)
		})
	}
}

func TestAFailureShowsEverythingThatLeadsToIt(t *testing.T) {
	t.Setenv("TMPDIR", "/var/tmp")
	for _, tc := range []struct {
		name, source string
		want         []string
	}{
		{"one capture", `{name: one, capture: ../a.scap, expect: [{rule: Own}]}`, []string{"run a.scap Own"}},
		{"one that it comes in", `{name: one, capture: [../a.scap, ../own.yaml], expect: [{rule: Own, capture: 1}, {rule: Egress, count: 2}]}`,
			[]string{"rm -f /var/tmp/stagectl-one.baseline", "run a.scap Own"}},
		{"what was learned, and the captures before", `{name: one, learn: [../rules.yaml], capture: [../a.scap, ../own.yaml], expect: [{rule: Egress, count: 3}]}`,
			[]string{"rm -f /var/tmp/stagectl-one.baseline", "run rules.yaml", "run a.scap", "run own.yaml Egress"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found := findIn(t, caseFolder(t, tc.source))
			var modes []string
			t.Setenv("TMPDIR", t.TempDir())
			tr := tester{engines: []engine.Engine{carrying(t, &modes)}, parallel: 1, con: console{stderr: io.Discard}}
			got, err := tr.run(t.Context(), found)
			require.NoError(t, err)
			require.Equal(t, report.Failed, got.Results[0].Status())
			t.Setenv("TMPDIR", "/var/tmp")
			lines, err := tr.commands(tr.engines[0], found[0], got.Results[0].Verdict)
			require.NoError(t, err)
			assert.Equal(t, tc.want, lines)
		})
	}
}
