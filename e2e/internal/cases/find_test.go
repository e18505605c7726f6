package cases

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func replaceAll(s string, oldnew ...string) string { return strings.NewReplacer(oldnew...).Replace(s) }

// checkout makes a working folder with cases in DefaultDir, each file given by its path and the names of its cases.
func checkout(t *testing.T, files map[string][]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("a.scap", nil, 0o600))
	capture, err := filepath.Abs("a.scap")
	require.NoError(t, err)
	for file, names := range files {
		var source strings.Builder
		for _, n := range names {
			fmt.Fprintf(&source, "- {name: %s, capture: '%s', expect: []}\n", n, capture)
		}
		write(t, filepath.Join(DefaultDir, file), source.String())
	}
}

func write(t *testing.T, file, source string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
}

func TestCasesAreFoundByFileFolderAndName(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"no argument means all of the default folder, in order", nil, []string{"benign-build", "shop", "shop-attack", "shop-backup"}},
		{"a folder is searched to any depth", []string{DefaultDir + "/deep"}, []string{"shop", "shop-attack", "shop-backup"}},
		{"a file gives its cases", []string{DefaultDir + "/deep/er/shop.yaml"}, []string{"shop-attack", "shop-backup"}},
		{"a name gives one case", []string{"shop"}, []string{"shop"}},
		{"a glob gives all that match", []string{"shop-*"}, []string{"shop-attack", "shop-backup"}},
		{"arguments add up, each case comes once", []string{"shop-b*", DefaultDir + "/deep/er/shop.yaml", "benign-build"},
			[]string{"shop-backup", "shop-attack", "benign-build"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkout(t, map[string][]string{"build.yaml": {"benign-build"}, "deep/a.yaml": {"shop"}, "deep/er/shop.yaml": {"shop-attack", "shop-backup"}})
			write(t, DefaultDir+"/README.md", "no case")
			write(t, DefaultDir+"/extra.yaml", "- macro: m\n  condition: evt.type=open\n")
			got, err := Find(tc.args...)
			require.NoError(t, err)
			var names []string
			for _, c := range got {
				names = append(names, c.Name)
			}
			assert.Equal(t, tc.want, names)
		})
	}
}

func TestWhatIsNotFoundIsNamedWithWhatThereIs(t *testing.T) {
	checkout(t, map[string][]string{"a.yaml": {"shop-attack", "build"}})
	require.NoError(t, os.Mkdir("empty", 0o700))
	for _, tc := range []struct{ name, arg, want string }{
		{"a misspelt name", "shop-atack", `no file, folder or case is named "shop-atack": write "shop-attack"`},
		{"a name like no other", "xyz", `no file, folder or case is named "xyz": the cases are shop-attack, build`},
		{"a broken glob", "shop-[", `read case name "shop-[": syntax error in pattern: write * ? or [a-z]`},
		{"a folder without cases", "empty", `find cases: no case file (*.yaml) in empty`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Find(tc.arg)
			require.EqualError(t, err, tc.want)
		})
	}
}

func TestWithoutTheDefaultFolderANameSaysWhereToRun(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Find("shop")
	require.EqualError(t, err, `no file, folder or case is named "shop": write the path of a case file, or run where e2e/cases is`)
	_, err = Find()
	require.ErrorContains(t, err, "find cases: stat e2e/cases: no such file or directory")
}

func TestTwoCasesOfOneNameAreRefused(t *testing.T) {
	checkout(t, map[string][]string{"a.yaml": {"shop"}, "b.yaml": {"shop"}})
	_, err := Find()
	require.EqualError(t, err, "e2e/cases/b.yaml:1:3: the name shop is taken by the case at e2e/cases/a.yaml:1:3: write another")
}

func TestEveryBadFileOfAFolderIsReported(t *testing.T) {
	checkout(t, map[string][]string{"good.yaml": {"good"}})
	write(t, DefaultDir+"/x.yaml", "name: [\n")
	write(t, DefaultDir+"/y.yaml", "nam: y\n")
	_, err := Find()
	require.ErrorContains(t, err, "e2e/cases/x.yaml:1:7: read YAML")
	require.ErrorContains(t, err, `e2e/cases/y.yaml:1:1: unknown key "nam" in a case: write "name"`)
}

func TestARulesFileNamedAsACaseIsRefused(t *testing.T) {
	checkout(t, map[string][]string{"a.yaml": {"shop"}})
	write(t, "rules.yaml", "- rule: R\n  desc: d\n")
	_, err := Find("rules.yaml")
	require.EqualError(t, err, "rules.yaml:1:1: this is a Falco rules file, not a case file: name it under the rules key of a case")
}
