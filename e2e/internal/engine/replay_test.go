package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
	"github.com/falco-datastaging/datastaging/e2e/internal/debian"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

const (
	coreRules = "testdata/core_rules.yaml"
	staging   = "../../captures/local-staging-upload.scap"
)

// openOnce opens the engine of Debian's packages for all tests.
var openOnce = sync.OnceValues(func() (*Sysdig, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	eng, err := Open(context.Background(), Options{
		Kind:     KindSysdig,
		Witness:  "../../../bin/libwitness.so",
		CacheDir: filepath.Join(cache, "datastaging", "engine"),
		Mirror:   os.Getenv("DATASTAGING_MIRROR"),
		Progress: debian.NewProgress(os.Stderr, false),
	})
	if err != nil {
		return nil, err
	}
	return eng.(*Sysdig), nil
})

// realSysdig gives the real engine. CI has apt and must have it; elsewhere a machine may have no way to it.
func realSysdig(t *testing.T) *Sysdig {
	t.Helper()
	eng, err := openOnce()
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("no sysdig engine to be had: %v", err)
	}
	require.NoError(t, err)
	return eng
}

// realFalco gives the Falco that FALCO_BIN names.
func realFalco(t *testing.T, container string) *Falco {
	t.Helper()
	path := os.Getenv("FALCO_BIN")
	if path == "" {
		t.Skip("set FALCO_BIN to a Falco 0.42 or later")
	}
	eng, err := NewFalco(context.Background(), FalcoOptions{Path: path, ContainerPlugin: container, Log: os.Stderr})
	require.NoError(t, err)
	return eng
}

func TestSysdigRunsEveryRuleAndSortsAlertsByEvent(t *testing.T) {
	eng := realSysdig(t)
	alerts, err := eng.Replay(context.Background(), Request{Capture: staging, Rules: []string{coreRules}})
	require.NoError(t, err)

	count := map[string]int{}
	var last uint64
	for i, a := range alerts {
		count[a.Rule]++
		num, ok := a.EventNumber()
		require.True(t, ok)
		require.GreaterOrEqual(t, num, last)
		if num == last {
			assert.Equal(t, "Staging Write", alerts[i-1].Rule, "rules of one event keep the order of the file")
		}
		last = num
	}
	// What Falco 0.44.1 gives for the same rules and capture.
	assert.Equal(t, map[string]int{"Staging Write": 25, "Large Read by tar": 2998, "Any Write": 31}, count)
}

func TestAlertsThatNobodyReadsHaveTheSameFields(t *testing.T) {
	eng := realSysdig(t)
	req := Request{Capture: staging, Rules: []string{coreRules}}
	want, err := eng.Replay(context.Background(), req)
	require.NoError(t, err)
	req.NoText = true
	got, err := eng.Replay(context.Background(), req)
	require.NoError(t, err)
	for i := range want {
		want[i].Output = ""
	}
	assert.Equal(t, want, got)
}

// falco_alerts.jsonl holds the first alert of each rule as Falco 0.44.1 printed it.
func TestSysdigsAlertsAreThoseThatFalcoPrinted(t *testing.T) {
	golden, err := os.ReadFile("testdata/falco_alerts.jsonl")
	require.NoError(t, err)
	alerts, err := realSysdig(t).Replay(context.Background(), Request{Capture: staging, Rules: []string{coreRules}})
	require.NoError(t, err)
	lines := bytes.Split(bytes.TrimSpace(golden), []byte("\n"))
	require.Len(t, lines, 3)
	for _, line := range lines {
		var want alert.Alert
		require.NoError(t, json.Unmarshal(line, &want))
		i := slices.IndexFunc(alerts, func(a alert.Alert) bool { return a.Rule == want.Rule })
		require.GreaterOrEqual(t, i, 0, want.Rule)
		got := alerts[i]
		assert.Equal(t, "4749be6f904f", got.OutputFields[fieldContainerID])
		delete(got.OutputFields, fieldContainerID) // Falco has it of the container plugin, which was not loaded
		text, err := got.MarshalJSON()
		require.NoError(t, err)
		assert.Equal(t, string(line), string(text))
	}
}

func TestSysdigAndFalcoGiveTheSameAlerts(t *testing.T) {
	sysdig, falco := realSysdig(t), realFalco(t, "none")
	for _, name := range []string{"local-staging-upload", "runtimes-without-metadata"} {
		t.Run(name, func(t *testing.T) {
			req := Request{Capture: "../../captures/" + name + ".scap", Rules: []string{coreRules}}
			want, err := falco.Replay(context.Background(), req)
			require.NoError(t, err)
			require.NotEmpty(t, want)
			got, err := sysdig.Replay(context.Background(), req)
			require.NoError(t, err)
			for i := range got {
				delete(got[i].OutputFields, fieldContainerID) // Falco has it of the container plugin
			}
			assert.Equal(t, want, got)
		})
	}
}

func TestSysdigTellsContainersAsFalcosContainerPluginDoes(t *testing.T) {
	sysdig, falco := realSysdig(t), realFalco(t, "")
	if falco.container == "" {
		t.Skip("this Falco has no container plugin beside it")
	}
	req := Request{Capture: "../../captures/runtimes-without-metadata.scap", Rules: []string{coreRules}}
	ids := func(alerts []alert.Alert, err error) map[any]int {
		require.NoError(t, err)
		n := map[any]int{}
		for _, a := range alerts {
			n[a.OutputFields[fieldContainerID]]++
		}
		return n
	}
	want := ids(falco.Replay(context.Background(), req))
	assert.GreaterOrEqual(t, len(want), 4)
	assert.Equal(t, want, ids(sysdig.Replay(context.Background(), req)))
}

func TestCutOffCaptureGivesTheAlertsOfItsGoodPartAndTheReason(t *testing.T) {
	data, err := os.ReadFile(staging)
	require.NoError(t, err)
	cut := filepath.Join(t.TempDir(), "cut.scap")
	require.NoError(t, os.WriteFile(cut, data[:200_000], 0o600))
	t.Setenv("TMPDIR", t.TempDir())

	check := func(t *testing.T, eng Engine) {
		whole, err := eng.Replay(context.Background(), Request{Capture: staging, Rules: []string{coreRules}})
		require.NoError(t, err)
		got, err := eng.Replay(context.Background(), Request{Capture: cut, Rules: []string{coreRules}})
		var problem *capture.Error
		require.ErrorAs(t, err, &problem)
		assert.Equal(t, capture.Truncated, problem.Problem)
		assert.ErrorContains(t, err, cut, "the reason names the capture, not its good part")
		want := slices.DeleteFunc(whole, func(a alert.Alert) bool {
			num, _ := a.EventNumber()
			return num > problem.Events
		})
		assert.NotEmpty(t, want)
		assert.Equal(t, want, got)
		left, err := os.ReadDir(os.Getenv("TMPDIR"))
		require.NoError(t, err)
		assert.Empty(t, left, "nothing is left behind")
	}
	t.Run("sysdig", func(t *testing.T) { check(t, realSysdig(t)) })
	t.Run("falco", func(t *testing.T) { check(t, realFalco(t, "")) })
}

func TestReplayErrorsSayWhatToChange(t *testing.T) {
	dir := t.TempDir()
	rules := func(text string) string {
		f, err := os.CreateTemp(dir, "*.yaml")
		require.NoError(t, err)
		_, err = f.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		return f.Name()
	}
	rule := func(condition, output string) string {
		return "- rule: One\n  desc: d\n  condition: " + condition + "\n  output: \"" + output + "\"\n  priority: ERROR\n"
	}
	long := "proc.name in (" + string(bytes.Repeat([]byte("aaaaaaaaa,"), 14_000)) + "b)"
	library := filepath.Join(dir, "plugin.so")
	require.NoError(t, os.WriteFile(library, []byte("no library"), 0o600))
	eng := realSysdig(t)
	for _, tc := range []struct {
		name string
		req  Request
		text string
	}{
		{"no capture", Request{Capture: "no.scap", Rules: []string{coreRules}}, "no.scap: no such file"},
		{"a field of a plugin that is not there", Request{Capture: staging, Rules: []string{rules(rule("container.id = host", "x"))}}, "--engine falco"},
		{"an output field that is none", Request{Capture: staging, Rules: []string{rules(rule("evt.type = open", "x %no.such"))}}, ":1:3: run the rule \"One\": sysdig: invalid formatting token no.such"},
		{"a condition too long for an argument", Request{Capture: staging, Rules: []string{rules(rule(long, "x"))}}, "sysdig takes 131071"},
		{"a plugin that the rules need", Request{Capture: staging, Rules: []string{rules(
			"- required_plugin_versions:\n  - name: datastaging\n    version: 0.1.0\n" + rule("evt.type = open", "x"))}},
			":2:5: the rules require plugin datastaging (>= 0.1.0): load it"},
		{"no plugin", Request{Capture: staging, Plugin: "no.so", Rules: []string{coreRules}}, "find the plugin"},
		{"a plugin that is no library", Request{Capture: staging, Plugin: library, Rules: []string{coreRules}}, "sysdig: cannot load plugin"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := eng.Replay(context.Background(), tc.req)
			assert.ErrorContains(t, err, tc.text)
		})
	}
}

func TestRuleWithAnUnknownFieldIsSkippedWhereItSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
- rule: Skipped
  desc: d
  condition: evt.type = openat and container.id != host
  output: x
  priority: ERROR
  skip-if-unknown-filter: true
- rule: Run
  desc: d
  condition: evt.type = openat and evt.num < 100
  output: x
  priority: ERROR
`), 0o600))
	alerts, err := realSysdig(t).Replay(context.Background(), Request{Capture: staging, Rules: []string{path}})
	require.NoError(t, err)
	require.NotEmpty(t, alerts)
	for _, a := range alerts {
		assert.Equal(t, "Run", a.Rule)
	}
}

func TestCancelledReplayEndsWithItsContext(t *testing.T) {
	eng := realSysdig(t)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := eng.Replay(ctx, Request{Capture: "../../captures/remote-staging-fanin.scap", Rules: []string{coreRules}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start), 5*time.Second)
}

func TestContainerIDIsThatOfTheRuntimesCgroup(t *testing.T) {
	const id = "4749be6f904fffaafb67aeca9e3876cf3a4f6121e3d588ade1be2c3695472eca"
	for _, tc := range []struct{ name, cgroups, want string }{
		{"Docker with cgroupfs", "cpu=/docker/" + id + " memory=/docker/" + id, "4749be6f904f"},
		{"Docker with systemd", "cpu=/system.slice/docker-" + id + ".scope", "4749be6f904f"},
		{"containerd of a kubelet", "cpu=/kubepods/besteffort/pod1a2b/" + id + " memory=/", "4749be6f904f"},
		{"CRI-O", "memory=/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope", "4749be6f904f"},
		{"Podman", "cpuset=/libpod_parent/libpod-" + id + " cpu=/", "4749be6f904f"},
		{"the host", "cpu=/user.slice memory=/user.slice/session-3.scope", "host"},
		{"a longer word", "cpu=/x/" + id + "0", "host"},
		{"nothing", "", "host"},
	} {
		t.Run(tc.name, func(t *testing.T) { assert.Equal(t, tc.want, containerID(tc.cgroups)) })
	}
}

func TestEngineEnvironmentSaysNothingOfTheMachine(t *testing.T) {
	env := []string{
		"PATH=/bin", "LD_PRELOAD=/x.so", "TZ=Asia/Tokyo", "HOST_ROOT=/host", "FALCO_FRONTEND=x", "DOCKER_HOST=tcp://x", "LANG=de_DE",
	}
	assert.Equal(t, []string{"PATH=/bin", "DOCKER_HOST=tcp://x", "TZ=UTC", "HOST_ROOT=/nonexistent"}, engineEnv(env))
	assert.Len(t, env, 7, "the caller's stays as it is")
	assert.NoDirExists(t, nowhere)
}

func TestEngineThatRunsAsPeopleRunTheirsHasTheirEnvironment(t *testing.T) {
	env := []string{"PATH=/bin", "LD_PRELOAD=/x.so", "TZ=Asia/Tokyo", "LD_LIBRARY_PATH=/lib"}
	assert.Equal(t, []string{"PATH=/bin", "TZ=Asia/Tokyo", "TZ=UTC"}, callersEnv(env), "the last one counts")
	assert.Len(t, env, 4, "the caller's stays as it is")
}

func TestPluginArgumentKeepsPathAndConfigurationApart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a:b")
	require.NoError(t, os.Mkdir(dir, 0o755))
	library := filepath.Join(dir, "lib.so")
	require.NoError(t, os.WriteFile(library, []byte("library"), 0o600))

	p, err := openPlugin(library)
	require.NoError(t, err)
	args, err := p.args(json.RawMessage(`{"a": "b:c"}`))
	require.NoError(t, err)
	require.Len(t, args, 2)
	path, config, _ := bytes.Cut([]byte(args[1]), []byte(":"))
	assert.Equal(t, `{"a": "b:c"}`, string(config))
	content, err := os.ReadFile(string(path))
	require.NoError(t, err)
	assert.Equal(t, "library", string(content))
	p.clean()
	assert.NoFileExists(t, string(path))

	args, err = plugin{}.args(json.RawMessage(`{}`))
	require.NoError(t, err)
	assert.Empty(t, args)
}

func TestPluginsNameAndVersionAreReadFromItsInfo(t *testing.T) {
	info, err := parsePluginInfo([]byte("Name: datastaging\nDescription: x\nVersion: 0.1.0\nCapabilities: \n  - Event Parsing\n" +
		"{\n  \"Version\": \"2.0.0\"\n}\n"))
	require.NoError(t, err)
	assert.Equal(t, pluginInfo{"datastaging", ruleset.Version{0, 1, 0}}, info)
	_, err = parsePluginInfo(nil)
	assert.Error(t, err)
}

func TestComplaintIsCutAfterItsFirstLines(t *testing.T) {
	assert.Equal(t, "one\ntwo", brief("one\ntwo\n\n"))
	long := brief(string(bytes.Repeat([]byte("line\n"), 100)))
	assert.Contains(t, long, "(80 more lines)")
}

func TestJournalSaysATextOnce(t *testing.T) {
	var out bytes.Buffer
	j := newJournal(&out)
	j.say("one\n")
	j.say("two\n")
	j.say("one\n")
	j.say("")
	assert.Equal(t, "one\ntwo\n", out.String())
}

func TestMissingEnginesAreExplained(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, tc := range []struct {
		name string
		opts Options
		text string
	}{
		{"no Falco", Options{Kind: KindFalco}, "name one with FALCO_BIN"},
		{"FALCO_BIN that names nothing", Options{Kind: Auto, FalcoBin: "/no/falco"}, "find the Falco that FALCO_BIN names"},
		{"an image and nothing to run it", Options{Kind: Auto, FalcoImage: "falco:0.44"}, "neither docker nor podman"},
		{"no cache folder", Options{Kind: KindSysdig}, "set XDG_CACHE_HOME or HOME"},
		{"neither Falco nor apt", Options{Kind: Auto, CacheDir: t.TempDir()}, "no engine: no Falco on the PATH or named by FALCO_BIN, and no sysdig"},
		{"a Falco that is too old", Options{Kind: Auto, FalcoBin: "testdata/falco-old"}, "Falco 0.41.3 is too old, the plugin needs 0.42 or later"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Open(context.Background(), tc.opts)
			assert.ErrorContains(t, err, tc.text)
		})
	}
}

func TestTreeWithoutItsLoaderIsRefused(t *testing.T) {
	_, err := NewSysdig(context.Background(), debian.Tree{Root: t.TempDir()}, SysdigOptions{})
	assert.ErrorContains(t, err, "have it downloaded again")
}
