// Package datastaging_test holds the layout of the repository: which package may import which.
package datastaging_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/falco-datastaging/datastaging/"

// arrows lists for each package of the plugin which others of the project it may import. Data flows one way: events in,
// decode, attribute, measure, baseline, fields out.
var arrows = map[string][]string{
	"plugin":                         {"plugin/internal/abi", "plugin/internal/config", "plugin/internal/decode", "plugin/internal/fields", "plugin/internal/pipeline"},
	"plugin/internal/schema":         {},
	"plugin/internal/window":         {},
	"plugin/internal/place":          {},
	"plugin/internal/audit":          {"plugin/internal/attribute"},
	"plugin/baseline":                {},
	"plugin/internal/decode":         {"plugin/internal/schema"},
	"plugin/internal/attribute":      {"plugin/internal/decode", "plugin/internal/place", "plugin/internal/schema"},
	"plugin/internal/measure":        {"plugin/internal/attribute", "plugin/baseline", "plugin/internal/place", "plugin/internal/window"},
	"plugin/internal/config":         {"plugin/internal/attribute", "plugin/baseline", "plugin/internal/measure", "plugin/internal/window"},
	"plugin/internal/fields":         {"plugin/internal/attribute", "plugin/internal/audit", "plugin/baseline", "plugin/internal/measure", "plugin/internal/window"},
	"plugin/internal/pipeline":       {"plugin/internal/attribute", "plugin/internal/audit", "plugin/baseline", "plugin/internal/config", "plugin/internal/decode", "plugin/internal/fields", "plugin/internal/measure", "plugin/internal/schema"},
	"plugin/internal/abi":            {"plugin/internal/attribute", "plugin/internal/decode", "plugin/internal/schema"},
	"plugin/internal/abi/enginetest": {},
}

// topLevel are the folders that may hold packages.
var topLevel = []string{"plugin", "e2e"}

// vague are package names that say nothing about what is inside.
var vague = []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "misc", "shared", "lib"}

type goPackage struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
}

func packages(t *testing.T) []goPackage {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,CgoFiles", "./...")
	out, err := cmd.Output()
	require.NoError(t, err)
	var list []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list
		}
		require.NoError(t, err)
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		list = append(list, p)
	}
}

func TestImportsFollowTheLayout(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath == strings.TrimSuffix(module, "/") {
			continue // this package
		}
		top, _, _ := strings.Cut(p.ImportPath, "/")
		assert.Contains(t, topLevel, top, p.ImportPath)
		for segment := range strings.SplitSeq(p.ImportPath, "/") {
			assert.NotContains(t, vague, segment, p.ImportPath)
		}
		allowed, isPlugin := arrows[p.ImportPath]
		assert.Equal(t, top == "plugin", isPlugin, "%s: enter it in arrows", p.ImportPath)
		for _, imported := range p.Imports {
			ours, ok := strings.CutPrefix(imported, module)
			if isPlugin && ok {
				assert.Contains(t, allowed, ours, p.ImportPath)
			}
			if isPlugin && (imported == "unsafe" || imported == "C") {
				assert.True(t, strings.HasPrefix(p.ImportPath, "plugin/internal/abi"), "%s imports %s: the C boundary is abi's alone", p.ImportPath, imported)
			}
			if imported == module+"plugin/internal/abi/enginetest" || slices.Contains(p.Imports, "testing") {
				assert.Fail(t, "test code in "+p.ImportPath)
			}
		}
	}
}
