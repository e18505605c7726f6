package script

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/debian"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
)

var update = flag.Bool("update", false, "rewrite testdata/everything.txt from what the engine says")

const plugin = "../../../bin/libdatastaging.so" // of make build

// realEngine gives a Falco where FALCO_BIN or PATH has one, else Debian's sysdig. CI must have one, and the plugin.
func realEngine(t *testing.T) engine.Engine {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	_, err = os.Stat(plugin)
	var eng engine.Engine
	if err == nil {
		eng, err = engine.Open(t.Context(), engine.Options{
			Kind: engine.Auto, FalcoBin: os.Getenv("FALCO_BIN"), Mirror: os.Getenv("DATASTAGING_MIRROR"),
			Witness: "../../../bin/libwitness.so", CacheDir: filepath.Join(cache, "datastaging", "engine"),
			Progress: debian.NewProgress(os.Stderr, false), Log: os.Stderr,
		})
	}
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("no engine or no plugin: %v", err)
	}
	require.NoError(t, err)
	return eng
}

// replay has an engine show a script's events.
func replay(t *testing.T, eng engine.Engine, s *Script) []alert.Alert {
	t.Helper()
	path := filepath.Join(t.TempDir(), "composed.scap")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, s.Write(f))
	require.NoError(t, f.Close())
	alerts, err := eng.Replay(context.Background(), engine.Request{
		Capture: path, Plugin: plugin, Rules: []string{"testdata/fields.yaml"},
	})
	require.NoError(t, err)
	return alerts
}

// show is an event in one line of the golden file.
func show(a alert.Alert) string {
	var b strings.Builder
	field := func(name string) {
		value := a.OutputFields[name]
		// No flags are told as O_NONE by libs whose event has a place for them, and not at all by others.
		if text := fmt.Sprint(value); value == nil || text == "" || text == "<NA>" || text == "O_NONE" {
			value = "-"
		}
		fmt.Fprintf(&b, " %v", value)
	}
	fmt.Fprint(&b, a.Time.Format("05.000000"))
	for _, name := range []string{"evt.num", "evt.type", "evt.rawres", "container.id", "baseline.workload", "proc.name", "proc.exepath",
		"proc.pname", "thread.vtid", "fd.type", "fd.name", "staging.location", "staging.peer", "evt.arg.flags", "proc.is_exe_upper_layer"} {
		field(name)
	}
	return b.String()
}

// The golden file says for each event: second, number, type, result, container, workload, process, its program and its
// parent, thread in its namespace, type and name of the descriptor, location, peer, flags of the call, whether the program
// lies in the container's own layer.
func TestAnEngineReadsEveryVerbAsItIsWritten(t *testing.T) {
	s, err := Load("testdata/everything.script")
	require.NoError(t, err)
	var got strings.Builder
	for _, a := range replay(t, realEngine(t), s) {
		if a.OutputFields["proc.name"] != nil { // what is no system call is not shown by every engine
			fmt.Fprintln(&got, show(a))
		}
	}
	const golden = "testdata/everything.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), got.String())
}
