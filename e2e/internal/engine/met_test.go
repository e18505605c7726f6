package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pluginPath is the plugin that `make build` built.
func pluginPath(t *testing.T) string {
	t.Helper()
	path := "../../../bin/libdatastaging.so"
	if _, err := os.Stat(path); err != nil && os.Getenv("CI") == "" {
		t.Skipf("%v: run make build", err)
	}
	return path
}

func TestBothEnginesTellWhichConditionsAreMet(t *testing.T) {
	conditions := []string{
		"evt.type = close",
		"evt.type = close and proc.name = no-such",
		"proc.name = curl and fd.sip = 203.0.113.10",
		"not evt.type = close",
		"evt.num = 1 and not evt.num = 1",
		// The first event that asks spends a key: one condition's question must not be another's answer.
		"evt.type = close and staging.once[k] = true",
		"evt.type = close and not staging.once[k] = true",
		"evt.type = close and staging.once[k] = true and evt.num > 1000000",
		"evt.type = close and not staging.once[k] = true and evt.num < 0",
		"baseline.status = active",
	}
	want := []bool{true, false, true, true, false, true, true, false, false, false}
	for name, eng := range map[string]func(*testing.T) Engine{
		"sysdig": func(t *testing.T) Engine { return realSysdig(t) },
		"falco":  func(t *testing.T) Engine { return realFalco(t, "none") },
	} {
		t.Run(name, func(t *testing.T) {
			eng, state := eng(t), filepath.Join(t.TempDir(), "baseline")
			req := Request{Capture: staging, Plugin: pluginPath(t), State: state}
			got, err := eng.Met(t.Context(), req, conditions)
			require.NoError(t, err)
			assert.Equal(t, want, got)
			assert.NoFileExists(t, state, "the plugin has learned, but nobody keeps it")

			_, err = eng.Met(t.Context(), req, []string{"evt.type ="})
			assert.ErrorContains(t, err, "read the condition evt.type =")
			got, err = eng.Met(t.Context(), req, nil)
			require.NoError(t, err)
			assert.Empty(t, got)
		})
	}
}

func TestAKeyKeepsItsIntervalAndItsConditionToItself(t *testing.T) {
	own, err := withOwnKeys([]string{"staging.once[a/6h] = true", "evt.num > 3 and not staging.once[a/6h] = true"})
	require.NoError(t, err)
	require.Len(t, own, 2)
	assert.Equal(t, "staging.once[0#a/6h] = true", own[0].String())
	assert.Equal(t, "evt.num > 3 and not staging.once[1#a/6h] = true", own[1].String())
}

// asking is an engine that answers true to conditions that begin with yes.
type asking struct {
	counting
	asked [][]string
}

func (a *asking) Met(_ context.Context, _ Request, conditions []string) ([]bool, error) {
	a.asked = append(a.asked, conditions)
	met := make([]bool, len(conditions))
	for i, c := range conditions {
		met[i] = c[:1] == "y"
	}
	return met, nil
}

func TestWhichConditionsAreMetIsKeptForEach(t *testing.T) {
	req, eng, c := replayable(t)
	a := &asking{counting: *eng}
	ask := func(conditions ...string) []bool {
		met, err := c.Met(t.Context(), a, req, conditions)
		require.NoError(t, err)
		return met
	}
	assert.Equal(t, []bool{true, false}, ask("y1", "n1"))
	assert.Equal(t, []bool{false, true, true}, ask("n1", "y2", "y1"))
	edit(t, &req, "One", "Two")
	assert.Equal(t, []bool{true}, ask("y1"), "rules do not count")
	assert.Equal(t, [][]string{{"y1", "n1"}, {"y2"}}, a.asked)

	write(t, req.State, "another")
	ask("y1")
	req.InitConfig = json.RawMessage(`{"window":"7m"}`)
	ask("y1")
	assert.Len(t, a.asked, 4)

	_, hit, err := c.Replay(t.Context(), a, req)
	require.NoError(t, err)
	assert.False(t, hit, "an answer is no replay")
}
