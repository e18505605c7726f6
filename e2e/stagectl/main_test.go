package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
)

func TestExitStatusIsTwoForWhatCannotBeDone(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want int
	}{
		{"the version", []string{"version"}, exitOK},
		{"the version as a flag", []string{"--version"}, exitOK},
		{"help", []string{"--help"}, exitOK},
		{"help of a command", []string{"replay", "--help"}, exitOK},
		{"no command", nil, exitError},
		{"an unknown command", []string{"play"}, exitError},
		{"an unknown flag", []string{"replay", "--no-such", "x.scap"}, exitError},
		{"no capture", []string{"replay"}, exitError},
		{"a plugin that is not there", []string{"replay", "--plugin", "no.so", "x.scap"}, exitError},
		{"no rules", []string{"replay", "--no-default-rules", "x.scap"}, exitError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			got := run(context.Background(), tc.args, console{stdout: &stdout, stderr: &stderr})
			assert.Equal(t, tc.want, got, stderr.String())
			if tc.want == exitOK {
				assert.Contains(t, stdout.String(), "stagectl")
				assert.Empty(t, stderr.String())
			} else {
				assert.Empty(t, stdout.String())
				assert.True(t, strings.HasPrefix(stderr.String(), "stagectl: "), stderr.String())
			}
		})
	}
}

func TestInterruptedCommandSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, nil, 0o600))
	var stdout, stderr bytes.Buffer
	got := run(ctx, []string{"replay", "--plugin", rules, "--no-default-rules", "--rules", rules, "x.scap"}, console{stdout: &stdout, stderr: &stderr})
	assert.Equal(t, exitError, got)
	assert.Contains(t, stderr.String(), "stagectl: interrupted")
}

func TestDefaultRulesComeBeforeThoseOfTheUser(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	exe, err = filepath.EvalSymlinks(exe)
	require.NoError(t, err)
	bundled, audit := filepath.Join(filepath.Dir(exe), rulesFile), filepath.Join(filepath.Dir(exe), auditRulesFile)
	_, err = bundleFlags{Rules: []string{"mine.yaml"}}.rulesPaths()
	require.ErrorContains(t, err, "find datastaging_rules.yaml beside stagectl")

	for _, file := range []string{bundled, audit} {
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		defer os.Remove(file)
	}
	got, err := bundleFlags{Rules: []string{"mine.yaml", "more.yaml"}}.rulesPaths()
	require.NoError(t, err)
	assert.Equal(t, []string{bundled, audit, "mine.yaml", "more.yaml"}, got)

	got, err = bundleFlags{Rules: []string{"mine.yaml"}, NoDefaultRules: true}.rulesPaths()
	require.NoError(t, err)
	assert.Equal(t, []string{"mine.yaml"}, got)
}

func TestInitConfigIsReadFromYAMLAndJSON(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"YAML", "window: 5m\nclusters: [10.0.0.0/8]\nlimits:\n  containers: 12345678901234567\n",
			`{"window": "5m", "clusters": ["10.0.0.0/8"], "limits": {"containers": 12345678901234567}}`},
		{"JSON", `{"a": "x: \"y\" # z", "b": [true, null, 1.5]}`, `{"a": "x: \"y\" # z", "b": [true, null, 1.5]}`},
		{"nothing", "", ""},
		{"comments", "# nothing\n", ""},
		{"an empty mapping", "{}\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			require.NoError(t, os.WriteFile(path, []byte(tc.text), 0o600))
			got, err := readInitConfig(path)
			require.NoError(t, err)
			if tc.want == "" {
				assert.Empty(t, got)
				return
			}
			assert.JSONEq(t, tc.want, string(got))
			assert.NotContains(t, string(got), "e+", "numbers keep their digits")
		})
	}
	got, err := readInitConfig("")
	require.NoError(t, err)
	assert.Empty(t, got)
}

func anAlert() alert.Alert {
	return alert.Alert{
		Rule: "Egress", Priority: "Warning", Time: time.Date(2026, 11, 23, 17, 2, 26, 537304, time.UTC),
		OutputFields: map[string]any{
			"baseline.workload":         "shop/web/web",
			"container.id":              "4749be6f904f",
			"staging.bytes":             json.Number("42930000"),
			"staging.egress_bytes[10m]": json.Number("18446744073709551615"),
			"staging.archive_bytes":     nil,
			"evt.rawres":                json.Number("3"),
			"staging.dir":               "/tmp/bytes",
		},
	}
}

func TestTableShowsContainerAndVolumesInUnits(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, alertTable{w: &out}.show("/captures/a.scap", []alert.Alert{anAlert()}))
	lines := strings.Split(out.String(), "\n")
	assert.Equal(t, "a.scap: 1 alert", lines[0])
	assert.Equal(t, []string{"TIME", "PRIORITY", "RULE", "CONTAINER", "VOLUMES"}, strings.Fields(lines[1]))
	assert.Equal(t, "2026-11-23 17:02:26.000 Warning Egress shop/web/web staged 41 MiB staging.egress_bytes[10m] 16 EiB",
		strings.Join(strings.Fields(lines[2]), " "))
	assert.NotContains(t, out.String(), "\x1b", "no colour where there is no terminal")
}

func TestTableOnATerminalColoursThePriority(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, alertTable{w: &out, colour: true}.show("a.scap", []alert.Alert{anAlert()}))
	assert.Regexp(t, `\x1b\[[0-9;]+mWarning\x1b\[0m`, out.String())
}

func TestTableOfNoAlertsIsOneLine(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, alertTable{w: &out}.show("a.scap", nil))
	assert.Equal(t, "a.scap: no alerts\n", out.String())
}

func TestContainerIsNamedAsWellAsTheAlertKnowsIt(t *testing.T) {
	a := anAlert()
	assert.Equal(t, "shop/web/web", container(a))
	a.OutputFields["baseline.workload"] = nil
	assert.Equal(t, "4749be6f904f", container(a))
	a.OutputFields["container.name"] = "web"
	assert.Equal(t, "web", container(a))
	assert.Equal(t, "-", container(alert.Alert{}))
}
