package engine

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
)

const auditLogs = "../../captures/audit/"

// auditRules has a rule for each source, with one macro.
const auditRules = `
- macro: every_event
  condition: evt.num > 0
- rule: Audit Event
  desc: Any event of an audit log.
  source: k8s_audit
  condition: every_event
  output: "event=%evt.plugininfo"
  priority: NOTICE
  tags: [b, a]
- rule: First Audit Event
  desc: One event.
  source: k8s_audit
  condition: evt.num = 1
  output: first of %evt.source
  priority: WARNING
- rule: System Call
  desc: Never of an audit log; its field is none of k8s_audit.
  condition: every_event and evt.type in (close, open, openat)
  output: process=%proc.name
  priority: ERROR
`

// libraries is a folder for what tests build, for the time of all tests.
var libraries string

func TestMain(m *testing.M) {
	var err error
	if libraries, err = os.MkdirTemp("", "engine-test-"); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(libraries)
	os.Exit(status)
}

var buildAuditSource = sync.OnceValues(func() (string, error) {
	library := filepath.Join(libraries, "libauditsource.so")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", library, "github.com/falco-datastaging/datastaging/e2e/auditsource")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return library, nil
})

// auditEngines are the engines that are to be had, reading audit logs with a plugin.
func auditEngines(plugin string) map[string]func(t *testing.T) Engine {
	return map[string]func(t *testing.T) Engine{
		"sysdig": func(t *testing.T) Engine {
			eng := *realSysdig(t)
			eng.audit = plugin
			return &eng
		},
		"falco": func(t *testing.T) Engine {
			eng := *realFalco(t, "")
			eng.audit = plugin
			return &eng
		},
	}
}

func eachAuditEngine(t *testing.T, test func(t *testing.T, eng Engine)) {
	plugin, err := buildAuditSource()
	require.NoError(t, err)
	for name, open := range auditEngines(plugin) {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func writeFile(t *testing.T, name string, content []byte) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// events reads the events of a log by themselves.
func events(t *testing.T, path string) []auditlog.Event {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	log, err := auditlog.NewReader(f)
	require.NoError(t, err)
	var all []auditlog.Event
	for {
		e, err := log.Next()
		var line *auditlog.LineError
		switch {
		case errors.Is(err, io.EOF):
			return all
		case errors.As(err, &line):
		default:
			require.NoError(t, err)
			all = append(all, e)
		}
	}
}

func TestAuditLogsGiveTheirEventsToTheRulesOfTheirSource(t *testing.T) {
	rules := writeFile(t, "rules.yaml", []byte(auditRules))
	eachAuditEngine(t, func(t *testing.T, eng Engine) {
		for name, want := range map[string]int{"ordinary-day": 317, "token-theft-exec": 163, "token-requests": 74, "damaged": 19} {
			t.Run(name, func(t *testing.T) {
				path := auditLogs + name + ".jsonl"
				written := events(t, path)
				require.Len(t, written, want)
				alerts, err := eng.Replay(t.Context(), Request{Capture: path, Rules: []string{rules}})
				require.NoError(t, err)
				require.Len(t, alerts, want+1)
				first := alerts[1]
				assert.Equal(t, "First Audit Event", first.Rule)
				assert.True(t, strings.HasSuffix(first.Output, "Warning first of k8s_audit"), first.Output)
				alerts = append(alerts[:1], alerts[2:]...)
				for i, a := range alerts {
					require.Equal(t, "Audit Event", a.Rule)
					require.Equal(t, "k8s_audit", a.Source)
					require.Equal(t, []string{"a", "b"}, a.Tags)
					require.Equal(t, written[i].Time, a.Time)
					num, ok := a.EventNumber()
					require.True(t, ok)
					require.Equal(t, uint64(i+1), num)
					require.NotContains(t, a.OutputFields, fieldContainerID)
					payload, ok := a.OutputFields["evt.plugininfo"].(string)
					require.True(t, ok)
					require.JSONEq(t, string(written[i].JSON), payload)
				}
			})
		}
	})
}

func TestBothEnginesTellWhichConditionsAuditEventsMeet(t *testing.T) {
	eachAuditEngine(t, func(t *testing.T, eng Engine) {
		got, err := eng.Met(t.Context(), Request{Capture: auditLogs + "token-theft-exec.jsonl", Plugin: pluginPath(t)}, []string{
			"audit.action = copy",
			"audit.action = copy and audit.user = nobody",
			"audit.action = read-secret and staging.sources >= 20",
		})
		require.NoError(t, err)
		assert.Equal(t, []bool{true, false, true}, got)
	})
}

func TestRulesOfAuditLogsAreNoneOfSystemCalls(t *testing.T) {
	rules := writeFile(t, "rules.yaml", []byte(auditRules))
	var log bytes.Buffer
	check := func(t *testing.T, eng Engine) {
		alerts, err := eng.Replay(t.Context(), Request{Capture: staging, Rules: []string{rules}})
		require.NoError(t, err)
		require.NotEmpty(t, alerts)
		for _, a := range alerts {
			require.Equal(t, "System Call", a.Rule)
			require.Equal(t, "syscall", a.Source)
		}
		assert.NotContains(t, log.String(), "k8s_audit", "that there are such rules is no fault of theirs")
	}
	t.Run("sysdig", func(t *testing.T) {
		eng := *realSysdig(t)
		eng.log = newJournal(&log)
		check(t, &eng)
	})
	t.Run("falco", func(t *testing.T) {
		eng := *realFalco(t, "")
		eng.log = newJournal(&log)
		check(t, &eng)
	})
}

func TestEnginesGiveTheSameAlertsOfAuditLogs(t *testing.T) {
	rules := writeFile(t, "rules.yaml", []byte(auditRules))
	plugin, err := buildAuditSource()
	require.NoError(t, err)
	engines := auditEngines(plugin)
	req := Request{Capture: auditLogs + "token-theft-exec.jsonl", Rules: []string{rules}}
	want, err := engines["falco"](t).Replay(t.Context(), req)
	require.NoError(t, err)
	got, err := engines["sysdig"](t).Replay(t.Context(), req)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// TestOurSourceGivesTheEventsOfK8SAudit needs Falco's own plugin.
func TestOurSourceGivesTheEventsOfK8SAudit(t *testing.T) {
	k8saudit := os.Getenv("K8SAUDIT_LIB")
	if k8saudit == "" {
		t.Skip("set K8SAUDIT_LIB to Falco's k8saudit plugin")
	}
	rules := writeFile(t, "rules.yaml", []byte(auditRules))
	plugin, err := buildAuditSource()
	require.NoError(t, err)
	for name, open := range auditEngines(plugin) {
		for _, log := range []string{"ordinary-day", "token-theft-exec", "token-requests", "damaged"} {
			t.Run(name+" "+log, func(t *testing.T) {
				req := Request{Capture: auditLogs + log + ".jsonl", Rules: []string{rules}}
				replay := func(eng Engine) []alert.Alert {
					alerts, err := eng.Replay(t.Context(), req)
					require.NoError(t, err)
					for _, a := range alerts {
						// It writes strings anew, with fewer escapes.
						if text, ok := a.OutputFields["evt.plugininfo"].(string); ok {
							var payload any
							require.NoError(t, json.Unmarshal([]byte(text), &payload))
							a.OutputFields["evt.plugininfo"] = payload
						}
					}
					for i := range alerts {
						alerts[i].Output = ""
					}
					return alerts
				}
				want := replay(auditEngines(k8saudit)[name](t))
				assert.NotEmpty(t, want)
				assert.Equal(t, want, replay(open(t)))
			})
		}
	}
}

const smallEvent = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","stageTimestamp":"2026-11-23T17:02:23.901166Z"`

func TestAuditEventOf16MiBIsReplayed(t *testing.T) {
	rules := writeFile(t, "rules.yaml", []byte(strings.Replace(auditRules, "%evt.plugininfo", "%evt.num", 1)))
	huge := smallEvent + `,"requestObject":{"data":"` + strings.Repeat("x", 16<<20) + `"}}`
	log := writeFile(t, "huge.jsonl", []byte(smallEvent+"}\n"+huge+"\n"+smallEvent+"}\n"))
	eachAuditEngine(t, func(t *testing.T, eng Engine) {
		alerts, err := eng.Replay(t.Context(), Request{Capture: log, Rules: []string{rules}})
		require.NoError(t, err)
		assert.Len(t, alerts, 3+1)
	})
}

func TestCutOffAuditLogGivesTheAlertsOfItsGoodPartAndTheReason(t *testing.T) {
	rules := writeFile(t, "rules.yaml", []byte(auditRules))
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := w.Write([]byte(strings.Repeat(smallEvent+"}\n", 3)))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	log := writeFile(t, "audit.log.gz", zipped.Bytes()[:zipped.Len()-4])
	t.Setenv("TMPDIR", t.TempDir())
	eachAuditEngine(t, func(t *testing.T, eng Engine) {
		alerts, err := eng.Replay(t.Context(), Request{Capture: log, Rules: []string{rules}})
		assert.ErrorContains(t, err, "audit.log.gz: it is damaged or cut off after 3 events: unexpected EOF")
		assert.Len(t, alerts, 3+1)
		left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "datastaging-*"))
		require.NoError(t, err)
		assert.Empty(t, left, "nothing is left behind")
	})
}

func TestK8SAuditGetsNoLineThatEndsIt(t *testing.T) {
	fill := func(size int) string { // an event whose line in the copy has this size
		around := len(listStart) + len(listEnd) + len(smallEvent) + len(`,"userAgent":""}`)
		return smallEvent + `,"userAgent":"` + strings.Repeat("x", size-around) + `"}`
	}
	path := writeFile(t, "audit.log", []byte(smallEvent+"}\n"+fill(maxK8SAuditLine)+"\n"+fill(maxK8SAuditLine+1)+"\n"))
	say := func(text string) { assert.Fail(t, text) }

	in, err := openAudit(t.Context(), path, "/p/libk8saudit.so", say)
	require.NoError(t, err)
	defer in.clean()
	assert.ErrorContains(t, in.cut, "long events were left out, 1 in all, the first in line 3: the k8saudit plugin takes lines of up to 65536 bytes")
	copied, err := os.ReadFile(in.path)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(copied), "\n")
	require.Len(t, lines, 3, "the last one is empty")
	assert.Len(t, lines[1], maxK8SAuditLine)

	ours, err := openAudit(t.Context(), path, "/p/libauditsource.so", say)
	require.NoError(t, err)
	defer ours.clean()
	require.NoError(t, ours.cut)
	assert.Len(t, events(t, ours.path), 3)
}

func TestWhatIsPassedOverInAnAuditLogIsSaidOnce(t *testing.T) {
	var said []string
	in, err := openAudit(t.Context(), auditLogs+"damaged.jsonl", "/p/libauditsource.so", func(text string) { said = append(said, text) })
	require.NoError(t, err)
	defer in.clean()
	require.NoError(t, in.cut)
	require.Len(t, said, 1)
	assert.Contains(t, said[0], "damaged.jsonl: passed over what is no audit event, 19 in all, first line 1: no JSON")
}

func TestAuditLogsThatCannotBeReplayedSayWhatToChange(t *testing.T) {
	empty := writeFile(t, "empty.jsonl", []byte(`{"kind":"Policy","apiVersion":"audit.k8s.io/v1"}`+"\n"))
	lists := writeFile(t, "lists.jsonl", []byte(`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[]}`+"\n"))
	long := writeFile(t, "long.jsonl", []byte(smallEvent+`,"userAgent":"`+strings.Repeat("x", 1<<16)+`"}`))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, tc := range []struct {
		name, path, plugin string
		ctx                context.Context
		text               string
	}{
		{"no plugin", auditLogs + "damaged.jsonl", "", t.Context(), "name Falco's k8saudit plugin with K8SAUDIT_LIB"},
		{"no events", empty, "libauditsource.so", t.Context(), `empty.jsonl: it holds no audit event; first line 1: no audit event but kind "Policy"`},
		{"lists without events", lists, "libauditsource.so", t.Context(), "lists.jsonl: its lists hold no event"},
		{"none that k8saudit can read", long, "libk8saudit.so", t.Context(), "long events were left out"},
		{"an interrupt", auditLogs + "damaged.jsonl", "libauditsource.so", stopped, "context canceled"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			_, err := openAudit(tc.ctx, tc.path, tc.plugin, func(string) {})
			require.ErrorContains(t, err, tc.text)
			left, err := os.ReadDir(os.Getenv("TMPDIR"))
			require.NoError(t, err)
			assert.Empty(t, left, "nothing is left behind")
		})
	}
}

func TestPluginForAuditLogsIsFalcosOwnWhereItIsFound(t *testing.T) {
	dir := t.TempDir()
	folders := []string{filepath.Join(dir, "none"), dir}
	ours := Options{AuditSource: "/b/libauditsource.so"}
	assert.Equal(t, "/b/libauditsource.so", findAuditPlugin(ours, folders))
	assert.Empty(t, findAuditPlugin(Options{}, folders))

	installed := filepath.Join(dir, "libk8saudit.so")
	require.NoError(t, os.WriteFile(installed, nil, 0o600))
	assert.Equal(t, installed, findAuditPlugin(ours, folders))
	ours.K8SAudit = "/x/libk8saudit.so"
	assert.Equal(t, "/x/libk8saudit.so", findAuditPlugin(ours, folders), "the one that is asked for by name")
	assert.Equal(t, "k8saudit", pluginName(ours.K8SAudit))
}

func TestFalcoReadsAnAuditLogWithItsPluginAndNoDriver(t *testing.T) {
	file := func(name string) string { return writeFile(t, name, nil) }
	f := &Falco{path: "/usr/bin/falco", container: file("libcontainer.so"), audit: file("libk8saudit.so")}
	req := Request{Capture: file("audit.log"), Plugin: file("libdatastaging.so"), Rules: []string{file("1.yaml")}}
	config, paths, err := f.config(req, auditlog.Source)
	require.NoError(t, err)
	assert.Contains(t, paths, f.audit, "what a container has to see")
	var c falcoConfig
	require.NoError(t, json.Unmarshal(config, &c))
	assert.Equal(t, falcoEngine{Kind: "nodriver"}, c.Engine)
	assert.Equal(t, []string{"container", "k8saudit", "datastaging"}, c.LoadPlugins)
	assert.Equal(t, falcoPlugin{Name: "k8saudit", LibraryPath: f.audit, OpenParams: req.Capture}, c.Plugins[1])
	assert.Equal(t, []falcoAppendOutput{{ExtraFields: []string{"evt.num"}}}, c.AppendOutput, "the container's fields are those of system calls")
}

func TestCancelledReplayOfAnAuditLogEndsWithItsContext(t *testing.T) {
	rules := writeFile(t, "rules.yaml", []byte(auditRules))
	log := writeFile(t, "long.jsonl", []byte(strings.Repeat(smallEvent+"}\n", 500_000)))
	eachAuditEngine(t, func(t *testing.T, eng Engine) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := eng.Replay(ctx, Request{Capture: log, Rules: []string{rules}})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Less(t, time.Since(start), 5*time.Second)
	})
}
