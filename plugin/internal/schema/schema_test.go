package schema_test

import (
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// Falco captures only the system calls that enabled rules name: one that the plugin reads and no rule names would be
// missing live, and only live.
func TestTheRulesNameEverySystemCallThatThePluginReads(t *testing.T) {
	text, err := os.ReadFile("../../../macros/datastaging_macros.yaml")
	require.NoError(t, err)
	var entries []struct {
		List  string   `yaml:"list"`
		Items []string `yaml:"items"`
	}
	require.NoError(t, yaml.Unmarshal(text, &entries))
	var named []string
	for _, e := range entries {
		if strings.HasSuffix(e.List, "_syscalls") {
			named = append(named, e.Items...)
		}
	}
	require.NotEmpty(t, named)

	var read []string
	for _, io := range schema.IOEvents {
		read = append(read, io.Type.String())
	}
	for _, typ := range schema.StateEvents {
		if typ != schema.Async && typ != schema.PluginEvent { // sent by plugins, not by the kernel
			read = append(read, typ.String())
		}
	}
	assert.ElementsMatch(t, read, named)
}

func TestEventTypesAreDistinctAndNamed(t *testing.T) {
	seen := map[schema.Type]bool{}
	for _, io := range schema.IOEvents {
		assert.False(t, seen[io.Type], "%v twice", io.Type)
		seen[io.Type] = true
		assert.NotContains(t, io.Type.String(), "type ")
	}
	for _, typ := range schema.StateEvents {
		assert.False(t, seen[typ], "%v twice", typ)
		seen[typ] = true
		assert.NotContains(t, typ.String(), "type ")
	}
	assert.Equal(t, "type 9999", schema.Type(9999).String())
}
