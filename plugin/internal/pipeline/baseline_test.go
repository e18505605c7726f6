package pipeline_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/pipeline"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

const minute = uint64(time.Minute)

// work lets the container write about so many bytes a minute, from the given minute on.
func work(p *pipeline.Pipeline, from, minutes, numBytes uint64) {
	for m := from; m < from+minutes; m++ {
		ts := start + m*minute
		p.IO([]decode.IO{decode.NewIO(ts, 10, m, numBytes+m, 4, -1, schema.OpWrite, nil)})
	}
}

func withFile(t *testing.T, mode, file string) (*pipeline.Pipeline, *engine) {
	e := &engine{}
	p, err := pipeline.New(fmt.Sprintf(
		`{"baseline": {"mode": %q, "file": %q, "node": "n", "min_windows": 10, "learning_period": "5m"}}`, mode, file), e, &pipeline.Entries{})
	require.NoError(t, err)
	return p, e
}

func TestWhatWasLearnedIsKeptAndComparedWith(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline")
	p, _ := withFile(t, "learn", file)
	ask := func(p *pipeline.Pipeline, at uint64, field, arg string) any {
		return p.Extract(at, start+at*minute, 10, id(t, field), arg, arg != "")
	}
	work(p, 0, 31, 4096)
	assert.Equal(t, "learning", ask(p, 30, "baseline.status", ""))
	assert.EqualValues(t, 30, ask(p, 30, "baseline.windows", ""), "the minute that runs is not learned")
	p.Close()

	p, _ = withFile(t, "detect", file)
	work(p, 100, 1, 4096)
	assert.Equal(t, "active", ask(p, 100, "baseline.status", ""))
	assert.Equal(t, uint64(0), ask(p, 100, "baseline.deviation", "staged_bytes"))
	assert.InDelta(t, 4096, ask(p, 100, "baseline.typical", "staged_bytes"), 100)
	assert.Equal(t, false, ask(p, 100, "baseline.new", "dir"))

	p.IO([]decode.IO{decode.NewIO(start+100*minute, 10, 99, 100, 5, -1, schema.OpWrite, nil)})
	p.State(&decode.State{Kind: decode.KindExit, TS: start + 100*minute, TID: 10, Num: 100})
	assert.Equal(t, true, ask(p, 100, "baseline.new", "peer"), "of the end of a process: of its last socket")
	assert.Equal(t, false, ask(p, 100, "baseline.new", "dir"), "and of its last file")

	work(p, 101, 1, 400*4096)
	assert.InDelta(t, 400*4096, ask(p, 101, "baseline.observed", "staged_bytes"), 5000, "the window's far edge is a bucket wide")
	assert.Greater(t, ask(p, 101, "baseline.deviation", "staged_bytes"), uint64(10))
	assert.InDelta(t, 40_000, ask(p, 101, "baseline.ratio", "staged_bytes"), 1000, "percent")
	assert.Nil(t, ask(p, 101, "baseline.ratio", "bytes_staged"), "no such metric")

	before, err := os.Stat(file)
	require.NoError(t, err)
	p.Close()
	after, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, before.ModTime(), after.ModTime(), "detect writes nothing")
}

// The instance for audit events begins with the other one's file open, and must never write it.
func TestAnAuditBaselineThatCannotBeReadLeavesTheOtherOneAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline")
	p, _ := withFile(t, "learn", file)
	work(p, 0, 31, 4096)
	p.Close()
	before, err := os.ReadFile(file)
	require.NoError(t, err)

	require.NoError(t, os.Mkdir(file+".k8s_audit", 0o700)) // what cannot be read
	p, e := withFile(t, "learn", file)
	for m := range uint64(3) {
		p.State(&decode.State{Kind: decode.KindPlugin, Num: m + 1, TS: start + m*minute,
			Data: []byte(`{"stage":"ResponseComplete","verb":"get","user":{"username":"alice"},"objectRef":{"resource":"secrets","name":"a"}}`)})
	}
	p.Close()
	require.Len(t, e.warnings, 1)
	assert.Contains(t, e.warnings[0], file+".k8s_audit: is a directory; what is learned of audit events is not kept")
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

func TestABaselineThatCannotBeSavedIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	require.NoError(t, os.Mkdir(dir, 0o700))
	p, e := withFile(t, "learn", filepath.Join(dir, "baseline"))
	work(p, 0, 3, 4096)
	require.NoError(t, os.Rename(dir, dir+".gone")) // at once: a save may be under way in it
	p.Close()
	require.NotEmpty(t, e.warnings)
	assert.Contains(t, e.warnings[0], "save baseline")
}

func TestADamagedBaselineIsToldAndSetAside(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline")
	require.NoError(t, os.WriteFile(file, []byte("not a baseline"), 0o600))
	_, e := withFile(t, "learn", file)
	require.NotEmpty(t, e.warnings)
	assert.Contains(t, e.warnings[0], "damaged")
	assert.FileExists(t, file+".damaged-1")
}

func TestMinutesInWhichStagedDataLeftAreNotLearned(t *testing.T) {
	for mode, want := range map[string]uint64{"both": 0, "learn": 4} {
		p, _ := withFile(t, mode, "")
		for m := range uint64(5) {
			ts := start + m*minute
			p.State(&decode.State{Kind: decode.KindOpen, TS: ts, TID: 10, Num: m, FD: 4, Fresh: true})
			for _, io := range []decode.IO{
				decode.NewIO(ts, 10, m, 4<<20, 6, -1, schema.OpRead, nil), // a source
				decode.NewIO(ts, 10, m, 4<<20, 4, -1, schema.OpWrite, nil),
				decode.NewIO(ts, 10, m, 4<<20, 4, -1, schema.OpRead, nil),
				decode.NewIO(ts, 10, m, 4<<20, 5, -1, schema.OpWrite, nil), // outside
			} {
				p.IO([]decode.IO{io})
			}
		}
		assert.Equal(t, "exfiltrate", p.Extract(9, start+4*minute, 10, id(t, "staging.phase"), "", false))
		assert.Equal(t, want, p.Extract(9, start+4*minute, 10, id(t, "baseline.windows"), "", false), mode)
	}
}

func TestMinutesThatLostEventsAreNotLearned(t *testing.T) {
	learn := func(lost int) (*pipeline.Pipeline, any) {
		p, _ := withFile(t, "learn", "")
		for m := range uint64(5) {
			ts := start + m*minute
			p.IO([]decode.IO{decode.NewIO(ts, 10, m, 4096, 4, -1, schema.OpWrite, nil)})
			for range lost { // of a descriptor that nobody knows
				p.IO([]decode.IO{decode.NewIO(ts, 10, m, 4096, 99, -1, schema.OpWrite, nil)})
			}
		}
		return p, p.Extract(5, start+4*minute, 10, id(t, "baseline.windows"), "", false)
	}
	_, windows := learn(100)
	assert.Equal(t, uint64(4), windows, "a quiet node has a few of old descriptors")
	p, windows := learn(1000)
	assert.Equal(t, uint64(0), windows)
	lost := uint64(0)
	for _, c := range p.Counters() {
		if c.Name == "baseline_windows_lost_events" {
			lost = c.Value
		}
	}
	assert.EqualValues(t, 4, lost)
}
