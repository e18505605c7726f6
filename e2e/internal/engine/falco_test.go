package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

func TestFalcoVersionsAreReadInBothForms(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		want         Release
	}{
		{
			"JSON of 0.44",
			`{"default_driver_version":"10.2.0+driver","engine_version_semver":"0.62.0","falco_version":"0.44.1","libs_version":"0.25.4","plugin_api_version":"3.12.0"}` + "\n",
			Release{Falco: "0.44.1", Libs: "0.25.4", PluginAPI: "3.12.0", Engine: "0.62.0"},
		},
		{
			"text",
			"Mon Jan  1 00:00:00 2026: Falco initialized\nFalco version: 0.42.0 (x86_64)\nLibs version:  0.22.1\nPlugin API:    3.11.0\nEngine:        0.57.0\nDriver:\n  Schema version: 4.0.0\n",
			Release{"0.42.0", "0.22.1", "4.0.0", "3.11.0", "0.57.0"},
		},
		{"text of an old Falco", "Falco version: 0.32.0\n", Release{Falco: "0.32.0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseRelease([]byte(tc.answer))
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
	_, err := parseRelease([]byte("command not found"))
	assert.ErrorContains(t, err, `names no Falco version: "command not found"`)
}

func TestOldFalcosAreTold(t *testing.T) {
	for version, want := range map[string]bool{
		"0.41.9": true, "0.9.0": true, "0.42.0": false, "0.42.0-rc1": false, "0.45.0-12+abc1234": false, "1.0.0": false, "v0.44.1": false,
	} {
		got, err := isBefore(version, minFalco)
		require.NoError(t, err, version)
		assert.Equal(t, want, got, version)
	}
	for _, version := range []string{"", "main", "0.x.1"} {
		_, err := isBefore(version, minFalco)
		assert.ErrorContains(t, err, "read the version", version)
	}
}

func TestFalcoConfigurationIsAllThereIs(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		return path
	}
	req := Request{
		Capture:    file("a.scap"),
		Plugin:     file("libdatastaging.so"),
		InitConfig: json.RawMessage(`{"path":"a: ${HOME} $$ \"q\" \n # ü"}`),
		Rules:      []string{file("1.yaml"), file("2.yaml")},
	}
	f := &Falco{path: "/usr/bin/falco", container: file("libcontainer.so")}
	config, paths, err := f.config(req, ruleset.SyscallSource)
	require.NoError(t, err)
	assert.Equal(t, []string{req.Capture, req.Rules[0], req.Rules[1], f.container, req.Plugin}, paths, "what a container has to see")

	var c falcoConfig
	require.NoError(t, json.Unmarshal(config, &c))
	assert.Contains(t, string(config), `"config_files":[]`, "nothing of the machine's own configuration")
	assert.Equal(t, "replay", c.Engine.Kind)
	assert.Equal(t, req.Capture, c.Engine.Replay.CaptureFile)
	assert.Equal(t, "all", c.RuleMatching)
	assert.Equal(t, "debug", c.Priority)
	assert.Equal(t, req.Rules, c.RulesFiles)
	assert.Equal(t, []string{"container", "datastaging"}, c.LoadPlugins)
	assert.Equal(t, []falcoAppendOutput{{ExtraFields: append([]string{"evt.num"}, containerFields...)}}, c.AppendOutput)
	assert.True(t, c.StdoutOutput.Enabled)
	assert.False(t, c.HTTPOutput.Enabled || c.SyslogOutput.Enabled || c.FileOutput.Enabled || c.Webserver.Enabled || c.LogSyslog)

	// Falco replaces variables in values; the plugin gets the same JSON all the same.
	init := c.Plugins[1].InitConfig
	assert.NotContains(t, init, "$")
	assert.JSONEq(t, `{"path":"a: ${HOME} $$ \"q\" \n # ü"}`, init)
	assert.NotContains(t, c.Plugins[0].InitConfig, "/run/", "the container plugin asks no runtime of this machine")
}

func TestFalcoGetsNoPathThatItWouldChangeOrPassOver(t *testing.T) {
	_, _, err := new(Falco).config(Request{Capture: "/c/${HOME}.scap"}, ruleset.SyscallSource)
	assert.ErrorContains(t, err, "rename it")
	_, _, err = new(Falco).config(Request{Capture: coreRules, Rules: []string{"no.yaml"}}, ruleset.SyscallSource)
	assert.ErrorContains(t, err, "no.yaml: no such file")
}

func TestFalcoImageSeesWhatItReadsAndNothingElse(t *testing.T) {
	f := &Falco{path: "/usr/bin/docker", image: "example/falco:0.44.1"}
	cmd := f.command(context.Background(), []string{"/c/a.scap", "/tmp/x"}, "/tmp/state", "node-1", "-c", "/tmp/x/falco.yaml")
	assert.Equal(t, []string{
		"/usr/bin/docker", "run", "--rm", "--network=none", "--entrypoint=falco",
		"--env=TZ=UTC", "--env=HOST_ROOT=/nonexistent", "--env=FALCO_HOSTNAME=node-1",
		"--mount=type=bind,readonly,source=/c/a.scap,target=/c/a.scap",
		"--mount=type=bind,readonly,source=/tmp/x,target=/tmp/x",
		"--mount=type=bind,source=/tmp/state,target=/tmp/state",
		"example/falco:0.44.1", "-c", "/tmp/x/falco.yaml",
	}, cmd.Args)
}

func TestContainerPluginIsFoundFromTheProgramOn(t *testing.T) {
	dir := t.TempDir()
	plugins := filepath.Join(dir, "share", "falco", "plugins")
	require.NoError(t, os.MkdirAll(plugins, 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	bin := filepath.Join(dir, "bin", "falco")
	require.NoError(t, os.WriteFile(bin, nil, 0o755))
	link := filepath.Join(t.TempDir(), "falco")
	require.NoError(t, os.Symlink(bin, link))
	library := filepath.Join(plugins, "libcontainer.so")
	require.NoError(t, os.WriteFile(library, nil, 0o644))
	want, err := filepath.EvalSymlinks(library)
	require.NoError(t, err)
	assert.Equal(t, want, (&Falco{path: link}).findContainerPlugin())
	assert.Equal(t, "libcontainer.so", (&Falco{path: link, image: "falco"}).findContainerPlugin())
}

func TestFalcosOutputIsAlertsAndStatistics(t *testing.T) {
	var alerts []alert.Alert
	keep := func(a alert.Alert) error {
		alerts = append(alerts, a)
		return nil
	}
	err := readAlerts(strings.NewReader(
		`{"output":"a","rule":"One","time":"2026-11-23T17:02:23.801166855Z","output_fields":{"evt.num":7}}`+"\n"+
			"Events detected: 1\nRule counts by severity:\n   INFO: 1\n"), keep)
	require.NoError(t, err)
	require.Len(t, alerts, 1)
	assert.Equal(t, "One", alerts[0].Rule)

	err = readAlerts(strings.NewReader(`{"output":"a","rule":"On`), keep)
	assert.ErrorContains(t, err, "read Falco's alert")
}

func TestFalcosLogIsReadableWithoutWhatConcernsLiveCaptures(t *testing.T) {
	assert.Equal(t, "rules.yaml: Ok, with warnings\nLOAD_NO_EVTTYPE (x)\n", readable(
		"2026-11-24T22:12:51+0000: rules.yaml: Ok, with warnings\nLOAD_NO_EVTTYPE (x)\n\n"+
			"Loaded rules match syscalls that are not activated (e.g. x): read, write\n"+
			"If syscalls in rules include high volume syscalls (y)\n"+
			"Syscall event drop monitoring:\n   - event drop detected: 0 occurrences\n   - num times actions taken: 0\n"))
	assert.Empty(t, readable("Syscall event drop monitoring:\n"))
}

func TestRulesOfOtherSourcesAreNoWarningToTellOf(t *testing.T) {
	const (
		heading = "2026-11-24T22:12:51+0000: /r/rules.yaml: Ok, with warnings\n"
		other   = "In rules content: (/r/rules.yaml:0:0)\n    rule 'A': (/r/rules.yaml:6:2)\n------\n- rule: A\n  ^\n------\n" +
			"LOAD_UNKNOWN_SOURCE (Unknown event source): Unknown source k8s_audit, skipping\n"
		broad = "In rules content: (/r/rules.yaml:0:0)\n    rule 'S': (/r/rules.yaml:12:2)\n------\n- rule: S\n  ^\n------\n" +
			"LOAD_NO_EVTTYPE (Condition has no event-type restriction): Rule matches too many evt.type values.\n"
	)
	assert.Empty(t, readable(heading+"2 Warnings:\n"+other+other+"\n"))
	assert.Equal(t, "/r/rules.yaml: Ok, with warnings\n3 Warnings:\n"+broad,
		readable(heading+"3 Warnings:\n"+other+broad+other+"\n"))
	assert.Equal(t, "/r/rules.yaml: Ok, with warnings\n1 Warnings:\n"+broad+"\n/r/more.yaml: Unreadable\n",
		readable(heading+"1 Warnings:\n"+broad+"\n"+strings.ReplaceAll(heading, "rules", "other")+"1 Warnings:\n"+other+"\n/r/more.yaml: Unreadable\n"))
}

func TestFalcosComplaintIsPassedOn(t *testing.T) {
	falco := realFalco(t, "none")
	path := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(path, []byte(
		"- rule: One\n  desc: d\n  condition: evt.type = openat and no.such = 1\n  output: x\n  priority: ERROR\n"), 0o600))
	_, err := falco.Replay(context.Background(), Request{Capture: staging, Rules: []string{path}})
	assert.ErrorContains(t, err, "no.such")
}
