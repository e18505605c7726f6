package catalogue_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/catalogue"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

func open(t *testing.T) *catalogue.Catalogue {
	c, err := catalogue.New()
	require.NoError(t, err)
	return c
}

func TestArgumentsOfFields(t *testing.T) {
	c := open(t)
	for _, tt := range []struct {
		name, field, arg string
		has              bool
		want             string // part of the complaint
	}{
		{"a window is optional", "staging.bytes", "", false, ""},
		{"a window may be given", "staging.bytes", "1h30m", true, ""},
		{"a window has a least", "staging.bytes", "1ms", true, "from 1s to 24h, such as"},
		{"a window has a most", "staging.bytes", "25h", true, "is no window"},
		{"a window is a duration", "staging.bytes", "5", true, "staging.bytes[5] is no window"},
		{"a key is any text", "staging.once", "mine", true, ""},
		{"a key is needed", "staging.once", "", false, "needs a key"},
		{"a key is needed before an interval", "staging.once", "/1h", true, "needs a key"},
		{"a key may have an interval", "staging.once", "mine/6h", true, ""},
		{"a key's interval has a most", "staging.once", "mine/2d", true, `"2d" is no interval`},
		{"a metric is needed", "baseline.deviation", "", false, "needs a metric"},
		{"a metric is one of the baseline's", "baseline.deviation", "egress_bytes", true, ""},
		{"a metric is not a field", "baseline.deviation", "external", true, "external_bytes"},
		{"a dimension is one that is learned", "baseline.new", "peers", true, "exe, dir, peer"},
		{"a dimension may be the last of the list", "baseline.new", "image", true, ""},
		{"a field without an argument has none", "staging.dir", "5m", true, "takes no argument"},
		{"Falco's fields have arguments, too", "proc.aname", "2", true, ""},
		{"an argument that Falco asks for", "evt.arg", "", false, "needs an argument"},
		{"an argument after a dot", "evt.arg.flags", "", false, ""},
		{"an argument that Falco does not take", "proc.name", "2", true, "remove the brackets"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, ok := c.Field(tt.field)
			require.True(t, ok)
			got := f.CheckArg(tt.arg, tt.has)
			if tt.want == "" {
				assert.Empty(t, got)
			} else {
				assert.Contains(t, got, tt.want)
			}
		})
	}
}

func TestWhatIsUnknownHasANeighbour(t *testing.T) {
	c := open(t)
	assert.Equal(t, "staging.archive_bytes", c.Nearest("staging.archived_bytes"))
	assert.Equal(t, "proc.name", c.Nearest("prc.name"))
	assert.Empty(t, c.Nearest("nothing.like.it"))
	assert.Equal(t, "openat", c.NearestEventType("opnat"))
	assert.True(t, c.HasClass("fd.nothing"))
	assert.Equal(t, "ka.target.namespace", c.Nearest("ka.target.namespce"))
	assert.True(t, c.HasClass("ka.nothing"))
	assert.False(t, c.HasClass("ct.name"))
	assert.True(t, c.IsPlugin("staging.nothing"))
	assert.False(t, c.IsPlugin("fd.name"))
	assert.True(t, c.IsEventType("pwritev"))
	assert.False(t, c.IsEventType("pwrit"))
}

func TestEventCodesAreCountedAsFalcoCountsThem(t *testing.T) {
	c := open(t)
	for condition, want := range map[string]int{
		"evt.type = close":                    2,
		"evt.type in (close, execve)":         18,
		"evt.type in (uname, getgroups)":      2, // no codes of their own
		"evt.type in (close, uname)":          4,
		"proc.name = sh":                      454,
		"evt.type != close":                   452,
		"evt.type = close and evt.type = dup": 0,
	} {
		e, err := filter.Parse(condition)
		require.NoError(t, err)
		types, err := filter.TypesOf(e)
		require.NoError(t, err)
		assert.Equal(t, want, c.EventCodes(types), condition)
	}
}

// TestFalcoHasTheseFieldsAndEvents asks a Falco of the catalogue's version, where there is one.
func TestFalcoHasTheseFieldsAndEvents(t *testing.T) {
	falco := os.Getenv("FALCO_BIN")
	if falco == "" {
		t.Skip("no Falco in FALCO_BIN")
	}
	config := filepath.Join(t.TempDir(), "falco.yaml")
	require.NoError(t, os.WriteFile(config, []byte("{config_files: [], engine: {kind: nodriver}, log_stderr: true}\n"), 0o600))
	ask := func(args ...string) []byte {
		out, err := exec.Command(falco, append([]string{"-c", config}, args...)...).Output()
		require.NoError(t, err)
		return out
	}
	if !strings.Contains(string(ask("--version")), catalogue.Falco) {
		t.Skip("another version of Falco")
	}
	c := open(t)
	var fields struct {
		FieldClasses []struct {
			Fields []struct {
				Name     string
				Argument *struct{ Required bool }
			}
		}
	}
	require.NoError(t, json.Unmarshal(ask("--list", "--format", "json"), &fields))
	require.NotEmpty(t, fields.FieldClasses)
	for _, class := range fields.FieldClasses {
		for _, f := range class.Fields {
			known, ok := c.Field(f.Name)
			if assert.True(t, ok, f.Name) {
				assert.Equal(t, f.Argument != nil && f.Argument.Required, known.CheckArg("", false) != "", f.Name)
				assert.Equal(t, f.Argument == nil, known.CheckArg("0", true) != "", f.Name)
			}
		}
	}
	var events map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(ask("--list-events", "--format", "json"), &events))
	delete(events, "schema_version")
	require.NotEmpty(t, events)
	for _, list := range events {
		var named []struct{ Name string }
		require.NoError(t, json.Unmarshal(list, &named))
		for _, e := range named {
			assert.True(t, c.IsEventType(e.Name), e.Name)
		}
	}
}

// TestFalcosPluginsHaveTheseFields asks a Falco of the catalogue's version, where there is one, with the plugins in its folder.
func TestFalcosPluginsHaveTheseFields(t *testing.T) {
	falco := os.Getenv("FALCO_BIN")
	if falco == "" {
		t.Skip("no Falco in FALCO_BIN")
	}
	program, err := filepath.EvalSymlinks(falco)
	require.NoError(t, err)
	type plugin struct {
		Name    string `json:"name"`
		Library string `json:"library_path"`
	}
	config := map[string]any{"config_files": []string{}, "engine": map[string]string{"kind": "nodriver"}, "load_plugins": []string{"k8saudit", "json"}}
	var plugins []plugin
	for _, name := range []string{"k8saudit", "json"} {
		library := filepath.Join(filepath.Dir(filepath.Dir(program)), "plugins", "lib"+name+".so")
		if _, err := os.Stat(library); err != nil {
			t.Skip(err)
		}
		plugins = append(plugins, plugin{name, library})
	}
	config["plugins"] = plugins
	text, err := json.Marshal(config)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "falco.yaml")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	ask := func(args ...string) []byte {
		out, err := exec.Command(falco, append([]string{"-c", path}, args...)...).Output()
		require.NoError(t, err)
		return out
	}
	for _, name := range []string{"k8saudit", "json"} {
		version := map[string]string{"k8saudit": catalogue.K8SAudit, "json": catalogue.JSON}[name]
		if !strings.Contains(string(ask("--plugin-info", name)), "Version: "+version+"\n") {
			t.Skip("another version of " + name)
		}
	}
	var list struct {
		Classes []struct {
			Fields []struct {
				Name     string
				Type     string
				IsList   bool `json:"is_list"`
				Argument *struct{ Required bool }
			}
		} `json:"fieldclasses"`
	}
	require.NoError(t, json.Unmarshal(ask("--list=k8s_audit", "--format", "json"), &list))
	c := open(t)
	known := 0
	for _, class := range list.Classes {
		for _, f := range class.Fields {
			known++
			got, ok := c.Field(f.Name)
			if !assert.True(t, ok && got.IsOf("k8s_audit"), f.Name) {
				continue
			}
			assert.Equal(t, []any{strings.ToLower(f.Type), f.IsList}, []any{got.Type, got.List}, f.Name)
			assert.Equal(t, f.Argument != nil && f.Argument.Required, got.CheckArg("", false) != "", f.Name)
			assert.Equal(t, f.Argument == nil, got.CheckArg("0", true) != "", f.Name)
		}
	}
	assert.Equal(t, 124, known, "and the catalogue has no others")
}
