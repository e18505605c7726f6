package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cache"
	"github.com/falco-datastaging/datastaging/e2e/internal/debian"
)

// counting is a sysdig whose replays are counted and do what the test says.
type counting struct {
	*Sysdig
	runs   int
	replay func(Request) ([]alert.Alert, error)
}

func (c *counting) Replay(_ context.Context, req Request) ([]alert.Alert, error) {
	c.runs++
	return c.replay(req)
}

const oneRule = `- macro: wide
  condition: evt.type in (open, openat)
- rule: One
  desc: d
  condition: wide and fd.name = /etc/shadow
  output: read (file=%fd.name)
  priority: ERROR
`

// replayable is a request whose files are all there, and an engine that gives an alert and some text for it.
func replayable(t *testing.T) (req Request, eng *counting, c *Cache) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	req = Request{
		Capture: file("a.scap", "events"), Plugin: file("p.so", "code"), Rules: []string{file("rules.yaml", oneRule)},
		InitConfig: json.RawMessage(`{"window":"5m"}`), State: file("state", "learned"), Log: &bytes.Buffer{},
	}
	eng = &counting{
		Sysdig: &Sysdig{tree: debian.Tree{Packages: []debian.Package{{Name: "sysdig", Version: "1", SHA256: "ab"}}}},
		replay: func(req Request) ([]alert.Alert, error) {
			fmt.Fprint(req.Log, "a warning\n")
			return []alert.Alert{{Rule: "One", Time: time.Unix(1, 0).UTC(), Tags: []string{},
				OutputFields: map[string]any{"n": json.Number("18446744073709551615")}}}, os.WriteFile(req.State, []byte("learned more"), 0o600)
		},
	}
	return req, eng, newTestCache(t)
}

func newTestCache(t *testing.T) *Cache {
	t.Helper()
	dir, err := cache.Open(t.TempDir(), 1<<20)
	require.NoError(t, err)
	c, err := NewCache(dir, io.Discard)
	require.NoError(t, err)
	return c
}

// reset gives the request's state the content that it had before the first replay.
func reset(t *testing.T, req Request) {
	t.Helper()
	require.NoError(t, os.WriteFile(req.State, []byte("learned"), 0o600))
}

func TestAReplayOfTheSameGivesTheSameWithoutAnEngine(t *testing.T) {
	req, eng, c := replayable(t)
	first, hit, err := c.Replay(t.Context(), eng, req)
	require.NoError(t, err)
	assert.False(t, hit)
	said := req.Log.(*bytes.Buffer).String()
	assert.Equal(t, "a warning\n", said)

	reset(t, req)
	req.Log = &bytes.Buffer{}
	again, hit, err := c.Replay(t.Context(), eng, req)
	require.NoError(t, err)
	assert.True(t, hit)
	assert.Equal(t, 1, eng.runs)
	assert.Equal(t, first, again, "alerts keep their digits")
	assert.Equal(t, said, req.Log.(*bytes.Buffer).String(), "a warning is not lost")
	state, err := os.ReadFile(req.State)
	require.NoError(t, err)
	assert.Equal(t, "learned more", string(state), "the next capture finds what it would have found")
}

// What does not change what comes of a replay does not make it run again.
func TestWhatMakesNoDifferenceHits(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, req *Request){
		"a comment in the rules": func(t *testing.T, req *Request) { write(t, req.Rules[0], "# a comment\n"+oneRule) },
		"the order of the keys and blanks": func(_ *testing.T, req *Request) {
			req.InitConfig = json.RawMessage(`{ "window" : "5m" }`)
		},
		"another place of the files": func(t *testing.T, req *Request) {
			moved := filepath.Join(t.TempDir(), "b.scap")
			require.NoError(t, os.Rename(req.Capture, moved))
			req.Capture = moved
		},
	} {
		t.Run(name, func(t *testing.T) {
			req, eng, c := replayable(t)
			_, _, err := c.Replay(t.Context(), eng, req)
			require.NoError(t, err)
			reset(t, req)
			change(t, &req)
			_, hit, err := c.Replay(t.Context(), eng, req)
			require.NoError(t, err)
			assert.True(t, hit)
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func TestAChangeOfAnyInputMisses(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, req *Request, eng *counting, c *Cache){
		"the capture":   func(t *testing.T, req *Request, _ *counting, _ *Cache) { write(t, req.Capture, "Events") },
		"the plugin":    func(t *testing.T, req *Request, _ *counting, _ *Cache) { write(t, req.Plugin, "Code") },
		"no plugin":     func(_ *testing.T, req *Request, _ *counting, _ *Cache) { req.Plugin = "" },
		"a macro":       func(t *testing.T, req *Request, _ *counting, _ *Cache) { edit(t, req, "(open, openat)", "(open)") },
		"an output":     func(t *testing.T, req *Request, _ *counting, _ *Cache) { edit(t, req, "read (", "Read (") },
		"a priority":    func(t *testing.T, req *Request, _ *counting, _ *Cache) { edit(t, req, "ERROR", "DEBUG") },
		"a rule's name": func(t *testing.T, req *Request, _ *counting, _ *Cache) { edit(t, req, "One", "Two") },
		"tags": func(t *testing.T, req *Request, _ *counting, _ *Cache) {
			edit(t, req, "priority", "tags: [a]\n  priority")
		},
		"a disabled rule": func(t *testing.T, req *Request, _ *counting, _ *Cache) {
			edit(t, req, "priority", "enabled: false\n  priority")
		},
		"a required plugin": func(t *testing.T, req *Request, _ *counting, _ *Cache) {
			edit(t, req, "- macro", "- required_plugin_versions: [{name: x, version: 1.0.0}]\n- macro")
		},
		"a warning": func(t *testing.T, req *Request, _ *counting, _ *Cache) {
			edit(t, req, "- macro", "- list: unused\n  items: []\n- macro")
		},
		"a rule that may be skipped": func(t *testing.T, req *Request, _ *counting, _ *Cache) {
			edit(t, req, "priority", "skip-if-unknown-filter: true\n  priority")
		},
		"another rules file": func(t *testing.T, req *Request, _ *counting, _ *Cache) {
			path := filepath.Join(t.TempDir(), "more.yaml")
			write(t, path, "- macro: wide\n  condition: evt.type = creat\n  override: {condition: replace}\n")
			req.Rules = append(req.Rules, path)
		},
		"the init_config": func(_ *testing.T, req *Request, _ *counting, _ *Cache) {
			req.InitConfig = json.RawMessage(`{"window":"6m"}`)
		},
		"the text of the alerts": func(_ *testing.T, req *Request, _ *counting, _ *Cache) { req.NoText = true },
		"no init_config":         func(_ *testing.T, req *Request, _ *counting, _ *Cache) { req.InitConfig = nil },
		"a number's last digit": func(_ *testing.T, req *Request, _ *counting, _ *Cache) {
			req.InitConfig = json.RawMessage(`{"window":"5m","n":12345678901234567}`)
		},
		"the baseline":            func(t *testing.T, req *Request, _ *counting, _ *Cache) { write(t, req.State, "Learned") },
		"no baseline yet":         func(t *testing.T, req *Request, _ *counting, _ *Cache) { require.NoError(t, os.Remove(req.State)) },
		"an empty baseline":       func(t *testing.T, req *Request, _ *counting, _ *Cache) { write(t, req.State, "") },
		"a package of the engine": func(_ *testing.T, _ *Request, eng *counting, _ *Cache) { eng.tree.Packages[0].Version = "2" },
		"a package rebuilt":       func(_ *testing.T, _ *Request, eng *counting, _ *Cache) { eng.tree.Packages[0].SHA256 = "cd" },
		"stagectl":                func(_ *testing.T, _ *Request, _ *counting, c *Cache) { c.self = "another" },
		"the host's name":         func(_ *testing.T, _ *Request, _ *counting, c *Cache) { c.host = "another" },
	} {
		t.Run(name, func(t *testing.T) {
			req, eng, c := replayable(t)
			req.InitConfig = json.RawMessage(`{"window":"5m","n":12345678901234568}`)
			if name == "no init_config" || name == "the init_config" {
				req.InitConfig = json.RawMessage(`{"window":"5m"}`)
			}
			_, _, err := c.Replay(t.Context(), eng, req)
			require.NoError(t, err)
			reset(t, req)
			change(t, &req, eng, c)
			_, hit, err := c.Replay(t.Context(), eng, req)
			require.NoError(t, err)
			assert.False(t, hit)
			assert.Equal(t, 2, eng.runs)
		})
	}
}

func edit(t *testing.T, req *Request, from, to string) {
	t.Helper()
	changed := bytes.Replace([]byte(oneRule), []byte(from), []byte(to), 1)
	require.NotEqual(t, oneRule, string(changed))
	write(t, req.Rules[0], string(changed))
}

func TestABaselineThatTheInitConfigNamesCounts(t *testing.T) {
	req, eng, c := replayable(t)
	eng.replay = func(Request) ([]alert.Alert, error) { return nil, nil }
	file := req.State
	req.State = ""
	hits := func(mode string) (hits []bool) {
		req.InitConfig = json.RawMessage(fmt.Sprintf(`{"baseline":{"file":%q%s}}`, file, mode))
		for _, content := range []string{"a", "a", "b"} {
			write(t, file, content)
			_, hit, err := c.Replay(t.Context(), eng, req)
			require.NoError(t, err)
			hits = append(hits, hit)
		}
		return hits
	}
	assert.Equal(t, []bool{false, true, false}, hits(`,"mode":"detect"`))
	write(t, file+".k8s_audit", "of audit events")
	assert.Equal(t, []bool{false, true, false}, hits(`,"mode":"detect"`))
	assert.Equal(t, []bool{false, false, false}, hits(""), "it would be written")
}

func TestAFailedReplayIsNotKept(t *testing.T) {
	req, eng, c := replayable(t)
	eng.replay = func(Request) ([]alert.Alert, error) { return []alert.Alert{{Rule: "One"}}, errors.New("cut off") }
	for range 2 {
		alerts, hit, err := c.Replay(t.Context(), eng, req)
		require.EqualError(t, err, "cut off")
		assert.False(t, hit)
		assert.Len(t, alerts, 1, "what came before the cut")
	}
	assert.Equal(t, 2, eng.runs)
}

func TestAResultOfAFileThatChangedMeanwhileIsNotKept(t *testing.T) {
	req, eng, c := replayable(t)
	eng.replay = func(req Request) ([]alert.Alert, error) {
		write(t, req.Plugin, "built anew")
		return nil, nil
	}
	_, _, err := c.Replay(t.Context(), eng, req)
	require.NoError(t, err)
	write(t, req.Plugin, "code")
	_, hit, err := c.Replay(t.Context(), eng, req)
	require.NoError(t, err)
	assert.False(t, hit)
}

func TestAnEntryThatIsNoResultRunsAgainAndIsReplaced(t *testing.T) {
	req, eng, c := replayable(t)
	k, err := c.key(t.Context(), eng, req)
	require.NoError(t, err)
	require.NoError(t, c.dir.Put(k.sum(), []byte("no JSON")))
	for i, want := range []bool{false, true} {
		reset(t, req)
		_, hit, err := c.Replay(t.Context(), eng, req)
		require.NoError(t, err)
		assert.Equal(t, want, hit, i)
	}
}

func TestWithoutACacheEveryReplayRuns(t *testing.T) {
	req, eng, _ := replayable(t)
	var c *Cache
	for range 2 {
		_, hit, err := c.Replay(t.Context(), eng, req)
		require.NoError(t, err)
		assert.False(t, hit)
	}
	assert.Equal(t, 2, eng.runs)
	require.NoError(t, c.Trim())
}

func TestFalcosProgramContainerPluginVersionAndRulesFilesCount(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		write(t, path, name)
		return path
	}
	f := &Falco{path: file("falco"), container: file("libcontainer.so"), version: "0.44.1", libs: "0.25.4", engine: "0.62.0"}
	req := Request{Rules: []string{file("rules.yaml")}}
	fingerprint := func() string {
		var b bytes.Buffer
		require.NoError(t, f.Fingerprint(t.Context(), req, &b))
		return b.String()
	}
	seen := map[string]string{fingerprint(): "nothing"}
	for _, tc := range []struct {
		name   string
		change func()
	}{
		{"the program", func() { write(t, f.path, "another") }},
		{"the container plugin", func() { write(t, f.container, "another") }},
		{"the version", func() { f.version = "0.44.2" }},
		{"the libs", func() { f.libs = "0.25.5" }},
		{"the rule engine", func() { f.engine = "0.63.0" }},
		{"a comment in the rules, for Falco reads them itself", func() { write(t, req.Rules[0], "# a comment") }},
		{"no container plugin", func() { f.container = "" }},
	} {
		tc.change()
		now := fingerprint()
		assert.Empty(t, seen[now], tc.name)
		seen[now] = tc.name
	}
}
