package main

import (
	"cmp"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/debian"
	"github.com/falco-datastaging/datastaging/e2e/internal/emulate"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"stagectl": main})
}

var update = flag.Bool("update", false, "write the expected outputs in the scripts anew")

// TestScripts runs the scripts of testdata/script, which are how people use stagectl. $ROOT is the repository, $PLUGIN the
// plugin that `make build` built, $ADDR an address to listen at, $BARE a PATH with nothing but stagectl. Scripts that replay begin
// with [!engine] skip: they need the plugin and an engine, which is downloaded once into the user's cache. Those that need the plugin
// alone, or with a Falco, begin with [!plugin] or [!falco] skip, and those that emulate with [!process] skip: they need root, a
// network namespace and a control group.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	plugin := filepath.Join(root, "bin", pluginFile)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	witness := filepath.Join(root, "bin", witnessFile)
	available := engineAvailable(t, plugin, witness, cache)
	_, processes := emulate.Choose(emulate.Process)
	if processes != nil {
		t.Logf("scripts that emulate are skipped: %v", processes)
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		UpdateScripts:      *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ROOT", root)
			env.Setenv("PLUGIN", plugin)
			stagectl, err := exec.LookPath("stagectl") // for scripts that set PATH
			if err != nil {
				return err
			}
			env.Setenv("STAGECTL", stagectl)
			// Each script has a cache of replays of its own.
			private := filepath.Join(env.WorkDir, ".cache")
			if err := os.MkdirAll(filepath.Join(private, "datastaging"), 0o700); err != nil {
				return err
			}
			if err := os.Symlink(filepath.Join(cache, "datastaging", "engine"), filepath.Join(private, "datastaging", "engine")); err != nil {
				return err
			}
			env.Setenv("XDG_CACHE_HOME", private)
			env.Setenv("FALCO_BIN", os.Getenv("FALCO_BIN"))
			env.Setenv("WITNESS_LIB", witness)
			env.Setenv("K8SAUDIT_LIB", cmp.Or(os.Getenv("K8SAUDIT_LIB"), filepath.Join(root, "bin", "libauditsource.so")))
			bare, _, _ := strings.Cut(env.Getenv("PATH"), string(os.PathListSeparator)) // where testscript.Main puts stagectl
			env.Setenv("BARE", bare)
			addr, err := freeAddress()
			env.Setenv("ADDR", addr)
			return err
		},
		Cmds: watchCommands,
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "engine":
				return available, nil
			case "plugin", "falco":
				_, err := os.Stat(plugin)
				return err == nil && (cond == "plugin" || os.Getenv("FALCO_BIN") != ""), nil
			case "process":
				return processes == nil, nil
			}
			return false, errors.New("unknown condition: write engine, plugin, falco or process")
		},
	})
}

// engineAvailable tells whether a replay can run here. In CI it must.
func engineAvailable(t *testing.T, plugin, witness, cache string) bool {
	t.Helper()
	_, err := os.Stat(plugin)
	if err == nil {
		_, err = engine.Open(t.Context(), engine.Options{
			Kind: engine.Auto, FalcoBin: os.Getenv("FALCO_BIN"), Mirror: os.Getenv("DATASTAGING_MIRROR"),
			Witness: witness, CacheDir: filepath.Join(cache, "datastaging", "engine"), Progress: debian.NewProgress(os.Stderr, false),
		})
	}
	if err == nil {
		return true
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("scripts that replay must run in CI: %v", err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		t.Logf("scripts that replay are skipped: %v: run make build", err)
	} else {
		t.Logf("scripts that replay are skipped: %v", err)
	}
	return false
}
