package pipeline_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/fields"
	"github.com/falco-datastaging/datastaging/plugin/internal/pipeline"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

const start = uint64(1_795_453_342_000_000_000) // ns since the epoch

// engine knows one process of one container, with one file open.
type engine struct{ warnings []string }

func (e *engine) Warn(message string) { e.warnings = append(e.warnings, message) }

func (e *engine) Thread(tid int64) (attribute.Thread, bool) {
	return attribute.Thread{PID: 10, VPID: 1}, tid == 10
}

func (e *engine) Cgroup(tid int64, i int) (string, bool) {
	return "/docker/367a841b0e49367a841b0e49367a841b0e49367a841b0e49367a841b0e493678", tid == 10 && i == 0
}

func (e *engine) FD(_ int64, fd int32) (attribute.FD, bool) {
	if fd == 5 {
		return attribute.FD{
			Type: schema.FDIPv4, Src: netip.MustParseAddrPort("10.77.0.11:41000"), Dst: netip.MustParseAddrPort("203.0.113.10:443"),
		}, true
	}
	if fd == 6 {
		return attribute.FD{Type: schema.FDFileV2, Name: "/srv/data", Dev: 1, Ino: 8}, true
	}
	return attribute.FD{Type: schema.FDFileV2, Name: "/dev/shm/out", Dev: 1, Ino: 7}, fd == 4
}

func newPipeline(t *testing.T) (*pipeline.Pipeline, *engine) {
	e := &engine{}
	p, err := pipeline.New("", e, &pipeline.Entries{})
	require.NoError(t, err)
	return p, e
}

func id(t *testing.T, name string) int {
	for i, f := range fields.Catalogue() {
		if f.Name == name {
			return i
		}
	}
	require.Fail(t, "no field "+name)
	return -1
}

func TestAFieldAboutTheEventIsOfThatEventAlone(t *testing.T) {
	p, _ := newPipeline(t)
	location := id(t, "staging.location")
	write := decode.NewIO(start, 10, 1, 100, 4, -1, schema.OpWrite, nil)
	p.IO([]decode.IO{write})
	assert.Equal(t, "shm", p.Extract(1, start, 10, location, "", false))
	assert.Nil(t, p.Extract(2, start, 10, location, "", false), "another event of the same thread")

	p.State(&decode.State{Kind: decode.KindOpen, TS: start, TID: 10, Num: 3, FD: 4})
	assert.Equal(t, "shm", p.Extract(3, start, 10, location, "", false), "of the file that was opened")
	p.IO([]decode.IO{write})
	p.State(&decode.State{Kind: decode.KindExit, TS: start, TID: 10, Num: 4})
	assert.Equal(t, "shm", p.Extract(4, start, 10, location, "", false), "of the file that was written last")

	p.IO([]decode.IO{decode.NewIO(start, 10, 5, 100, 5, -1, schema.OpWrite, nil)})
	assert.Equal(t, "203.0.113.10:443", p.Extract(5, start, 10, id(t, "staging.peer"), "", false))
	p.IO([]decode.IO{write})
	p.State(&decode.State{Kind: decode.KindExit, TS: start, TID: 10, Num: 6})
	assert.Equal(t, "shm", p.Extract(6, start, 10, location, "", false))
	assert.Equal(t, "external", p.Extract(6, start, 10, id(t, "staging.peer_class"), "", false), "of the socket that was written last")
}

func TestNobodysEventsHaveNoValues(t *testing.T) {
	p, _ := newPipeline(t)
	for i := range fields.Catalogue() {
		assert.Nil(t, p.Extract(1, start, 99, i, "", false))
	}
	assert.Nil(t, p.Extract(1, start, 10, len(fields.Catalogue()), "", false), "a field that is not there")
}

func TestBlindnessIsToldOnce(t *testing.T) {
	open := func(p *pipeline.Pipeline, n int, ts uint64) {
		for i := range n {
			p.State(&decode.State{Kind: decode.KindOpen, TS: ts, TID: 10, Num: uint64(i), FD: 4})
		}
	}
	later := start + uint64(time.Minute)
	t.Run("when files are opened and never read or written", func(t *testing.T) {
		p, e := newPipeline(t)
		open(p, 5000, start)
		assert.Empty(t, e.warnings, "too soon")
		open(p, 5000, later)
		require.Len(t, e.warnings, 1)
		assert.Contains(t, e.warnings[0], "base_syscalls.all")
	})
	t.Run("not when one was written", func(t *testing.T) {
		p, e := newPipeline(t)
		open(p, 1, start)
		p.IO([]decode.IO{decode.NewIO(start, 10, 1, 100, 4, -1, schema.OpWrite, nil)})
		open(p, 5000, later)
		assert.Empty(t, e.warnings)
	})
	t.Run("also when bytes only moved inside the kernel", func(t *testing.T) {
		p, e := newPipeline(t)
		open(p, 1, start)
		p.IO([]decode.IO{decode.NewIO(start, 10, 1, 100, 6, 4, schema.OpMove, nil)})
		open(p, 5000, later)
		assert.Len(t, e.warnings, 1)
	})
}

func TestReplayingGivesTheSame(t *testing.T) {
	run := func() []any {
		p, _ := newPipeline(t)
		var values []any
		for i := range uint64(100) {
			ts := start + i*uint64(10*time.Second)
			p.IO([]decode.IO{decode.NewIO(ts, 10, i, 100+i, 4, -1, schema.OpWrite, nil)})
			for f := range fields.Catalogue() {
				values = append(values, p.Extract(i, ts, 10, f, "k", fields.Catalogue()[f].Arg == fields.KeyArg))
			}
		}
		return values
	}
	assert.Equal(t, run(), run())
}
