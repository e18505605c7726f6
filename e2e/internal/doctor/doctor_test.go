package doctor_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/doctor"
	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// good is an installation in which only the library is none.
var good = map[string]string{
	"falco.yaml": `engine: {kind: modern_ebpf}
rules_files: [DIR/bundle.yaml, DIR/tuning.yaml]
json_output: true
stdout_output: {enabled: true}
load_plugins: [container, datastaging]
plugins:
  - {name: container, library_path: libcontainer.so}
  - name: datastaging
    library_path: libdatastaging.so
    init_config: {baseline: {file: DIR/baseline}}
base_syscalls: {all: true}
`,
	"bundle.yaml": `- required_plugin_versions: [{name: datastaging, version: 0.1.0}]
- macro: enough
  condition: (staging.bytes >= 1048576)
- rule: Good Rule
  desc: d
  condition: evt.type = close and enough
  output: o
  priority: NOTICE
  tags: [mine]
`,
	"tuning.yaml":             "- macro: enough\n  condition: (staging.bytes >= 5)\n  override: {condition: replace}\n",
	"plugins/libcontainer.so": "", "plugins/libdatastaging.so": "text",
}

// examine looks at the good installation with parts of falco.yaml replaced, old and new in turn. DIR is its folder.
func examine(t *testing.T, more map[string]string, replaced ...string) (doctor.Report, string) {
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600))
	}
	for name, text := range good {
		if name == "falco.yaml" {
			for i := 0; i < len(replaced); i += 2 {
				require.Contains(t, text, replaced[i])
				text = strings.Replace(text, replaced[i], replaced[i+1], 1)
			}
		}
		write(name, text)
	}
	for name, text := range more {
		write(name, text)
	}
	r, err := doctor.Examine(t.Context(), doctor.Options{
		Config: filepath.Join(dir, "falco.yaml"), PluginsDir: filepath.Join(dir, "plugins"), Getenv: os.LookupEnv,
	})
	require.NoError(t, err)
	return r, dir
}

func TestExamine(t *testing.T) {
	const init = "{baseline: {file: DIR/baseline}}"
	for _, tt := range []struct {
		name     string
		more     map[string]string
		replaced []string
		want     []string // lines that are not ok, beside the library that is none: "status check line: part of the message"
	}{
		{"nothing is wrong", nil, nil, nil},
		{"a capture is replayed", nil, []string{"modern_ebpf", "replay"}, []string{"warn engine 1: engine.kind is replay", "skip base-syscalls 11: captures nothing"}},
		{"no driver", nil, []string{"modern_ebpf", "nodriver"}, []string{"fail engine 1: engine.kind is nodriver", "skip base-syscalls 11: captures nothing"}},
		{"a driver of former times", nil, []string{"modern_ebpf", "gvisor"}, []string{"fail engine 1: engine.kind is gvisor, which Falco does not have"}},
		{"the plugin is not loaded", nil, []string{"[container, datastaging]", "[container]"}, []string{"fail plugin 5: load_plugins does not name datastaging"}},
		{"the container plugin is not loaded", nil, []string{"[container, datastaging]", "[datastaging]"}, []string{"warn container 5: load_plugins does not name container"}},
		{"the container plugin comes later", nil, []string{"[container, datastaging]", "[datastaging, container]"}, []string{"warn container 5: datastaging is loaded before container"}},
		{"all plugins are loaded where none is named", nil, []string{"load_plugins: [container, datastaging]\n", ""}, nil},
		{"the container plugin's file is gone", nil, []string{"libcontainer.so", "libother.so"}, []string{"fail container 7: plugins/libother.so, is not there"}},
		{"an init_config that is not of the schema", nil, []string{init, "{window: 5, baseline: {file: DIR/baseline, mode: off}}"}, []string{
			"fail init-config 10: init_config.baseline.mode: ", "fail init-config 10: init_config.window: got number, want string"}},
		{"an init_config that is JSON in a text", nil, []string{init, `'{"baseline": {"file": "DIR/none/baseline"}}'`}, []string{"fail baseline 10: the directory of baseline.file"}},
		{"an init_config that is text and no JSON", nil, []string{init, "window"}, []string{"fail init-config 10: is text and no JSON", "warn baseline 10: names no baseline.file"}},
		{"no baseline", nil, []string{init, "{}"}, []string{"warn baseline 10: names no baseline.file"}},
		{"nothing to compare with", nil, []string{init, "{baseline: {mode: detect}}"}, []string{"fail baseline 10: says mode: detect and names no baseline.file"}},
		{"a file to compare with that is gone", nil, []string{init, "{baseline: {mode: detect, file: DIR/baseline}}"}, []string{"fail baseline 10: is not there, and mode: detect"}},
		{"a baseline that is damaged", map[string]string{"baseline": "x"}, nil, []string{"warn baseline 10: puts it aside"}},
		{"I/O is left out", nil, []string{"{all: true}", "{all: false}"}, []string{"fail base-syscalls 11: base_syscalls.all is not true"}},
		{"nothing is said of I/O", nil, []string{"base_syscalls: {all: true}\n", ""}, []string{"fail base-syscalls 0: base_syscalls.all is not true"}},
		{"a system call is left out", nil, []string{"{all: true}", `{all: true, custom_set: [read, "!write"]}`}, []string{"warn base-syscalls 11: leaves out write"}},
		{"tuning before the bundle", nil, []string{"DIR/bundle.yaml, DIR/tuning.yaml", "DIR/tuning.yaml, DIR/bundle.yaml"}, []string{
			"fail rules 1: tuning.yaml is loaded before"}},
		{"the bundle twice", nil, []string{"DIR/tuning.yaml", "DIR/bundle.yaml"}, []string{"warn rules 2: or twice"}},
		{"tuning that takes the place of a macro", map[string]string{"tuning.yaml": "- macro: enough\n  condition: (staging.bytes >= 5)\n"}, nil, []string{"warn rules 1: takes the place of macro \"enough\""}},
		{"rules that do not load", map[string]string{"tuning.yaml": "- macro: other\n  condition: (\n"}, nil, []string{"fail rules 2: Falco does not load this"}},
		{"the bundle is gone", nil, []string{"DIR/bundle.yaml, ", ""}, []string{"fail rules 2: none of the rules files is that of the plugin"}},
		{"a rules file is gone", nil, []string{"DIR/tuning.yaml", "DIR/other.yaml"}, []string{"warn rules 2: other.yaml is not there"}},
		{"a rule is switched off by its name", nil, []string{"json_output", "rules: [{disable: {rule: Good*}}]\njson_output"}, []string{"warn rules 3: switches off 1 of"}},
		{"a rule is switched off by its tag", nil, []string{"json_output", "rules: [{disable: {tag: mine}}]\njson_output"}, []string{"warn rules 3: switches off 1 of"}},
		{"another rule is switched off", nil, []string{"json_output", "rules: [{disable: {rule: Bad*}}]\njson_output"}, nil},
		{"no output", nil, []string{"{enabled: true}", "{enabled: false}"}, []string{"fail outputs 4: no output is enabled"}},
		{"Falcosidekick without JSON", nil, []string{"json_output: true", "http_output: {enabled: true, url: 'http://x/'}"}, []string{"fail outputs 0: json_output is not true"}},
		{"neither JSON nor Falcosidekick", nil, []string{"json_output: true", "json_output: no"}, []string{"warn outputs 3: json_output is not true"}},
		{"a priority that leaves rules out", nil, []string{"json_output", "priority: error\njson_output"}, []string{"warn outputs 3: priority is error"}},
		{"a priority that there is not", nil, []string{"json_output", "priority: low\njson_output"}, []string{`fail outputs 3: "low" is no priority`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := examine(t, tt.more, tt.replaced...)
			var got []doctor.Line
			for _, l := range r.Lines {
				if l.Status != doctor.OK && l.Check != "library" && l.Check != "falco" {
					got = append(got, l)
				}
			}
			require.Len(t, got, len(tt.want), "%+v", got)
			for i, want := range tt.want {
				head, msg, _ := strings.Cut(want, ": ")
				fields := strings.Fields(head)
				assert.Equal(t, fields[0], string(got[i].Status))
				assert.Equal(t, fields[1], got[i].Check)
				line, err := json.Marshal(got[i].Pos.Line)
				require.NoError(t, err)
				assert.Equal(t, fields[2], string(line), got[i].Msg)
				assert.Contains(t, got[i].Msg, msg)
			}
		})
	}
}

func TestLibrariesThatAreNoPlugin(t *testing.T) {
	line := func(r doctor.Report) doctor.Line {
		for _, l := range r.Lines {
			if l.Check == "library" {
				return l
			}
		}
		return doctor.Line{}
	}
	r, _ := examine(t, nil)
	assert.Equal(t, doctor.Fail, line(r).Status)
	assert.Contains(t, line(r).Msg, "is no library")

	self, err := os.Executable() // a program is no plugin, but of the same kind
	require.NoError(t, err)
	r, _ = examine(t, nil, "library_path: libdatastaging.so", "library_path: "+self)
	assert.Equal(t, doctor.Fail, line(r).Status)
	assert.Contains(t, line(r).Msg, "it lacks plugin_get_required_api_version, ")

	r, dir := examine(t, nil, "libdatastaging.so", "libnone.so")
	assert.Equal(t, doctor.Fail, line(r).Status)
	assert.Contains(t, line(r).Msg, "libnone.so is not there: Falco does not start")
	assert.Equal(t, "install -m 644 bin/libdatastaging.so "+dir+"/plugins/libnone.so", line(r).Write)
}

func TestABaselineThatIsThereIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline")
	require.NoError(t, baseline.WriteFile(path, &baseline.File{}))
	r, _ := examine(t, nil, "DIR/baseline", path)
	for _, l := range r.Lines {
		if l.Check == "baseline" {
			assert.Equal(t, doctor.OK, l.Status)
			assert.Equal(t, path+" has 0 workloads", l.Msg)
		}
	}
}

// audited is the good installation with audit events, our rules on them and others.
var audited = []string{
	"[container, datastaging]", "[container, datastaging, k8saudit]",
	"base_syscalls", "  - {name: k8saudit, library_path: libk8saudit.so}\nbase_syscalls",
}

var auditedFiles = map[string]string{
	"audit.yaml": `- rule: Audit Rule
  desc: d
  condition: audit.action = copy and staging.once[audit_rule] = true
  output: o
  priority: NOTICE
  source: k8s_audit
`,
	"stock.yaml": `- {rule: Other Call, desc: d, condition: evt.type = execve, output: o, priority: NOTICE}
- {rule: Same Call, desc: d, condition: "evt.type in (open, close)", output: o, priority: NOTICE}
- {rule: Same Call Again, desc: d, condition: evt.type = close, output: o, priority: NOTICE}
- {rule: Switched Off, desc: d, condition: evt.type = close, output: o, priority: NOTICE, enabled: false}
- {rule: Other Source, desc: d, condition: ka.verb = get, output: o, priority: NOTICE, source: k8s_audit}
`,
	"plugins/libk8saudit.so": "",
}

// ofCheck are the lines of a check that are not ok, as "status line message".
func ofCheck(r doctor.Report, dir, check string) (out []string) {
	for _, l := range r.Lines {
		if l.Check == check && l.Status != doctor.OK {
			out = append(out, fmt.Sprintf("%s %d %s", l.Status, l.Pos.Line, strings.ReplaceAll(l.Msg, dir, "DIR")))
		}
	}
	return out
}

func TestRulesThatAreAskedBeforeOursHideThem(t *testing.T) {
	const calls = `warn 0 rule_matching is first: of an event on which "Same Call" in DIR/stock.yaml fires, "Good Rule" and what comes after it never hear, and of 1 more rule before it the same holds; ` +
		"let all match, or load DIR/bundle.yaml before DIR/stock.yaml"
	const audit = `warn 0 rule_matching is first: of an event on which "Other Source" in DIR/stock.yaml fires, "Audit Rule" and what comes after it never hear; ` +
		"let all match, or load DIR/audit.yaml before DIR/stock.yaml"
	for _, tt := range []struct {
		name, files, matching string
		want                  []string
	}{
		{"loaded before ours", "DIR/stock.yaml, DIR/bundle.yaml", "", []string{calls}},
		{"and first is written", "DIR/stock.yaml, DIR/bundle.yaml", "rule_matching: first\n", []string{strings.Replace(calls, "warn 0", "warn 1", 1)}},
		{"on each source", "DIR/stock.yaml, DIR/bundle.yaml, DIR/audit.yaml", "", []string{calls, audit}},
		{"on one source", "DIR/bundle.yaml, DIR/stock.yaml, DIR/audit.yaml", "", []string{audit}},
		{"loaded after ours", "DIR/bundle.yaml, DIR/audit.yaml, DIR/stock.yaml", "", nil},
		{"all match", "DIR/stock.yaml, DIR/bundle.yaml", "rule_matching: all\n", nil},
		{"macros and lists alone hide nothing", "DIR/tuning.yaml, DIR/bundle.yaml", "rule_matching: all\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, dir := examine(t, auditedFiles, "DIR/bundle.yaml, DIR/tuning.yaml", tt.files, "engine:", tt.matching+"engine:")
			var got []string
			for _, line := range ofCheck(r, dir, "rules") {
				if strings.Contains(line, "rule_matching") {
					got = append(got, line)
				}
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestTuningOfAuditRulesIsLoadedAfterThem(t *testing.T) {
	more := maps.Clone(auditedFiles)
	more["audit.yaml"] = "- {macro: wide, condition: (audit.action = copy)}\n" + more["audit.yaml"]
	more["early.yaml"] = "- {macro: wide, condition: (audit.action = exec)}\n"
	r, dir := examine(t, more, append(slices.Clone(audited), "DIR/tuning.yaml", "DIR/early.yaml, DIR/audit.yaml")...)
	assert.Contains(t, ofCheck(r, dir, "rules"), `fail 1 DIR/early.yaml is loaded before DIR/audit.yaml, which takes back what it says of macro "wide": load it after`)
}

func TestABaselineOfIdentitiesIsRead(t *testing.T) {
	const start = uint64(1_700_000_000_000_000_000)
	learn := func(path, workload string, verbs ...string) {
		s, _, err := baseline.Open(baseline.Config{Node: "n", MinWindows: 1, Drift: baseline.Drift{PerMonth: 1, Total: 1}, MaxWorkloads: 10}, path)
		require.NoError(t, err)
		for m := range uint64(3) {
			for _, verb := range verbs {
				s.See(workload, workload, baseline.Verb, verb)
			}
			s.Observe(&baseline.Window{Start: start + m*uint64(time.Minute), Workload: workload, Instance: workload})
		}
		require.NoError(t, s.Close(time.Now()))
	}
	for _, tt := range []struct {
		name string
		make func(path string)
		want doctor.Status
		msg  string
	}{
		{"of audit events", func(path string) { learn(path, "user/alice", "get") }, doctor.OK, "DIR/baseline.k8s_audit has 1 identities"},
		{"of system calls", func(path string) { learn(path, "shop/web/web") }, doctor.Warn,
			"DIR/baseline.k8s_audit is no baseline of audit events: what it has are workloads such as shop/web/web, and identities are learned anew; name the file that was learned from audit events"},
		{"of another version", func(path string) {
			learn(path, "user/alice", "get")
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			text[len("dsbaseln")]++ // the version comes after the magic; the sum of all before is at the end
			text = binary.LittleEndian.AppendUint64(text[:len(text)-8], xxhash.Sum64(text[:len(text)-8]))
			require.NoError(t, os.WriteFile(path, text, 0o600))
		}, doctor.Fail, "read baseline DIR/baseline.k8s_audit: the baseline is of another version: it has version 2, this program reads version 1; " +
			"use the program that wrote it or a newer one: nothing that was learned of identities is used, and nothing is kept"},
		{"that is not there", func(string) {}, doctor.OK, "DIR/baseline.k8s_audit will be written: nothing is learned yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kept := t.TempDir()
			tt.make(filepath.Join(kept, "baseline.k8s_audit"))
			r, _ := examine(t, auditedFiles, append(slices.Clone(audited), "DIR/baseline", filepath.Join(kept, "baseline"))...)
			var last doctor.Line
			for _, l := range r.Lines {
				if l.Check == "baseline" {
					last = l
				}
			}
			assert.Equal(t, tt.want, last.Status)
			assert.Equal(t, tt.msg, strings.ReplaceAll(last.Msg, kept, "DIR"))
		})
	}
}

func TestReportIsWrittenForPeopleAndPrograms(t *testing.T) {
	r, dir := examine(t, nil, "{all: true}", "{all: false}")
	var text, object bytes.Buffer
	require.NoError(t, doctor.WriteText(&text, r, false))
	assert.Contains(t, text.String(), "fail  base-syscalls  "+dir+"/falco.yaml:11:22: base_syscalls.all is not true")
	assert.Contains(t, text.String(), "\n                     write in "+dir+"/falco.yaml:\n                       base_syscalls:\n                         all: true\n")
	assert.Contains(t, text.String(), "0 to look at, 2 wrong, 1 not looked at\n")
	require.NoError(t, doctor.WriteJSON(&object, r))
	var read struct {
		Lines []map[string]any
	}
	require.NoError(t, json.Unmarshal(object.Bytes(), &read))
	assert.Len(t, read.Lines, len(r.Lines))
	assert.Contains(t, object.String(), `"write": "base_syscalls:\n  all: true\n"`)
}
