package settings

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tree writes files and returns their folder. DIR in a file is the folder.
func tree(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600))
	}
	return dir
}

func getenv(name string) (string, bool) {
	value, ok := map[string]string{"NAME": "value", "EMPTY": ""}[name]
	return value, ok
}

// plain is a value as Falco dumps it: every single value a text.
func plain(v *Value) any {
	switch {
	case v == nil || v.kind == null:
		return nil
	case v.kind == sequence:
		list := []any{}
		for _, item := range v.list {
			list = append(list, plain(item))
		}
		return list
	case v.kind == mapping:
		object := map[string]any{}
		for _, f := range v.fields {
			object[f.Key] = plain(f.Value)
		}
		return object
	}
	return v.text
}

var strategies = map[string]string{
	"falco.yaml": `config_files:
  - DIR/config.d
  - {path: DIR/override.yaml, strategy: override}
  - {path: DIR/add-only.yaml, strategy: add-only}
  - DIR/none.yaml
engine: {kind: nodriver}
json_output: true
rules_files: [DIR/a.yaml]
append_output: [{suggested_output: true}]
load_plugins: []
base_syscalls: {all: true, repair: true}
webserver: {enabled: false}
log_stderr: true
file_output: &off {enabled: no, filename: "${NAME}/x"}
program_output: *off
`,
	"config.d/2.yaml":          "append_output: [{extra_output: two}]\n",
	"config.d/1.yaml":          "append_output: [{extra_output: one}]\nbase_syscalls: {all: false}\npriority: notice\n",
	"config.d/deeper/not.yaml": "priority: debug\n",
	"override.yaml":            "rules_files: [DIR/b.yaml]\n",
	"add-only.yaml":            "json_output: false\nrule_matching: all\nrules_files: [DIR/c.yaml]\n",
	"a.yaml":                   "[]\n", "b.yaml": "- list: l\n  items: []\n", "c.yaml": "[]\n",
}

func TestFilesAreMergedByTheirStrategy(t *testing.T) {
	dir := tree(t, strategies)
	s, err := Read(filepath.Join(dir, "falco.yaml"), getenv)
	require.NoError(t, err)
	assert.Empty(t, s.Problems)
	assert.Equal(t, []File{
		{dir + "/falco.yaml", ""}, {dir + "/config.d/1.yaml", Append}, {dir + "/config.d/2.yaml", Append}, {dir + "/override.yaml", Override}, {dir + "/add-only.yaml", AddOnly},
	}, s.Files)
	assert.Equal(t, []string{dir + "/config.d"}, s.Folders)
	assert.True(t, s.Get("json_output").Bool(false), "add-only leaves it")
	assert.Equal(t, "all", s.Get("rule_matching").Text(), "add-only adds it")
	assert.Equal(t, []any{dir + "/b.yaml"}, plain(s.Get("rules_files")), "override replaces lists")
	assert.Equal(t, []any{map[string]any{"suggested_output": "true"}, map[string]any{"extra_output": "one"}, map[string]any{"extra_output": "two"}},
		plain(s.Get("append_output")), "append appends, in the order of the files' names")
	assert.Equal(t, map[string]any{"all": "false"}, plain(s.Get("base_syscalls")), "mappings are replaced as a whole")
	assert.Equal(t, "value/x", s.Get("program_output", "filename").Text(), "anchors and variables are resolved")
	assert.Equal(t, dir+"/config.d/1.yaml:2:22", s.Get("base_syscalls", "all").Pos.String())
	assert.Nil(t, s.Get("base_syscalls", "repair"))
	assert.Equal(t, "notice", s.Get("priority").Text(), "folders in folders are not read")
}

// TestFalcoMergesAlike compares with the configuration that a Falco dumps, where there is one.
func TestFalcoMergesAlike(t *testing.T) {
	falco := os.Getenv("FALCO_BIN")
	if falco == "" {
		t.Skip("no Falco in FALCO_BIN")
	}
	dir := tree(t, strategies)
	t.Setenv("NAME", "value")
	out, err := exec.Command(falco, "-c", filepath.Join(dir, "falco.yaml"), "--support").Output()
	require.NoError(t, err)
	var support struct{ Config string }
	require.NoError(t, json.Unmarshal(out, &support))
	s, err := Read(filepath.Join(dir, "falco.yaml"), os.LookupEnv)
	require.NoError(t, err)
	ours, err := json.Marshal(plain(s.root))
	require.NoError(t, err)
	// The dump keeps anchors.
	want := strings.NewReplacer("&1 ", "", "*1", `{"enabled": "no", "filename": "value/x"}`).Replace(support.Config)
	assert.JSONEq(t, want, string(ours))
}

func TestProblemsOfFiles(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string // place below the folder, and part of the message
		fatal bool
	}{
		{"a file that includes others", map[string]string{"falco.yaml": "config_files: [DIR/d.yaml]\n", "d.yaml": "a: b\nconfig_files: [x]\n"},
			"/d.yaml:2:1 only the main configuration file", true},
		{"a file that includes itself", map[string]string{"falco.yaml": "config_files:\n  - DIR/falco.yaml\n"}, "/falco.yaml:2:5 config_files names the file", true},
		{"a strategy that there is not", map[string]string{"falco.yaml": "config_files: [{path: DIR/d.yaml, strategy: merge}]\n", "d.yaml": "a: b\n"},
			`/falco.yaml:1: the strategy "merge" is none`, false},
		{"a list that is none elsewhere", map[string]string{"falco.yaml": "config_files: [DIR/d.yaml]\nload_plugins: container\n", "d.yaml": "load_plugins: [x]\n"},
			"/d.yaml:1:15 load_plugins is a list here and none in", true},
		{"a file that is no YAML", map[string]string{"falco.yaml": "config_files: [DIR/d.yaml]\n", "d.yaml": "a: [\n"}, "/d.yaml:1: not YAML", true},
		{"a copy that is read as well", map[string]string{"falco.yaml": "config_files: [DIR/config.d]\n", "config.d/x.yaml.bak": "a: b\n"},
			"/config.d/x.yaml.bak:1:1 Falco reads every file of this folder", false},
		{"a key that is there twice", map[string]string{"falco.yaml": "a: 1\na: 2\n"}, "/falco.yaml:2:1 a is there twice, first in line 1", false},
		{"a file that is no mapping", map[string]string{"falco.yaml": "config_files: [DIR/d.yaml]\n", "d.yaml": "- a\n"}, "/d.yaml:1: a configuration is a mapping", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, tt.files)
			s, err := Read(filepath.Join(dir, "falco.yaml"), getenv)
			require.NoError(t, err)
			require.Len(t, s.Problems, 1)
			place, msg, _ := strings.Cut(tt.want, " ")
			got := s.Problems[0]
			assert.True(t, strings.HasPrefix(got.Pos.String(), dir+place), got.Pos.String())
			assert.Contains(t, got.Msg, msg)
			assert.Equal(t, tt.fatal, got.Fatal)
		})
	}
	_, err := Read("none.yaml", getenv)
	require.ErrorContains(t, err, "read configuration: ")
	_, err = Read(filepath.Join(tree(t, map[string]string{"falco.yaml": "a: [\n"}), "falco.yaml"), getenv)
	require.ErrorContains(t, err, "falco.yaml:1:")
}

func TestVariables(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", "${NAME}": "value", "a${NAME}b${NAME}": "avaluebvalue", "${NONE}x": "x", "${EMPTY}": "", "$${NAME}": "${NAME}",
		"${NAME": "${NAME", "$NAME": "$NAME", "$NAME ${NAME}": "$NAME ${NAME}", "$${NAME} ${NAME}": "${NAME} value",
	} {
		assert.Equal(t, want, expand(text, getenv), text)
	}
}

func TestValuesKeepTheirKindsForPlugins(t *testing.T) {
	dir := tree(t, map[string]string{"falco.yaml": `init: {n: 5, f: 1.5, t: true, y: yes, s: text, q: "5", z: ~, l: [1, a], m: {k: "no"}}` + "\n"})
	s, err := Read(filepath.Join(dir, "falco.yaml"), getenv)
	require.NoError(t, err)
	text, err := json.Marshal(s.Get("init").JSON())
	require.NoError(t, err)
	assert.JSONEq(t, `{"n": 5, "f": 1.5, "t": true, "y": true, "s": "text", "q": "5", "z": null, "l": [1, "a"], "m": {"k": "no"}}`, string(text))
	assert.True(t, s.Get("nothing", "at", "all").Bool(true))
	assert.False(t, s.Get("init", "m", "k").Bool(true))
	assert.True(t, s.Get("init", "s").Bool(true), "what is no boolean")
}
