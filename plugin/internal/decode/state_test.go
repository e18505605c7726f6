package decode_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// golden is one event of testdata/state.txt.
type golden struct {
	name, want string
	raw        []byte
}

func readGolden(t testing.TB) []golden {
	text, err := os.ReadFile(filepath.Join("testdata", "state.txt"))
	require.NoError(t, err)
	var events []golden
	for n, line := range strings.Split(string(text), "\n") {
		code, _, _ := strings.Cut(line, "#")
		switch {
		case strings.TrimSpace(code) == "":
		case strings.HasPrefix(line, "== "):
			events = append(events, golden{name: line[len("== "):]})
		case strings.HasPrefix(line, "-> "):
			events[len(events)-1].want = line[len("-> "):]
		default:
			b, err := hex.DecodeString(strings.Join(strings.Fields(code), ""))
			require.NoError(t, err, "line %d", n+1)
			events[len(events)-1].raw = append(events[len(events)-1].raw, b...)
		}
	}
	require.NotEmpty(t, events)
	return events
}

// show prints what a state event says, without what it does not carry.
func show(s *decode.State, changed bool) string {
	if !changed {
		return "unchanged"
	}
	kinds := [...]string{"", "open", "close", "dup", "pipe", "socket", "listen", "socketpair", "clone", "exec", "exit", "async"}
	out := fmt.Sprintf("%s tid=%d", kinds[s.Kind], s.TID)
	add := func(format string, args ...any) { out += " " + fmt.Sprintf(format, args...) }
	switch s.Kind {
	case decode.KindOpen:
		add("fd=%d fresh=%t", s.FD, s.Fresh)
	case decode.KindClose, decode.KindSocket, decode.KindListen:
		add("fd=%d", s.FD)
	case decode.KindDup, decode.KindSocketPair:
		add("fd=%d fd2=%d", s.FD, s.FD2)
	case decode.KindPipe:
		add("fd=%d fd2=%d ino=%d", s.FD, s.FD2, s.Ino)
	case decode.KindClone:
		add("ret=%d pid=%d ptid=%d vtid=%d flags=%#x comm=%s cgroups=%q", s.Ret, s.PID, s.PTID, s.VTID, s.CloneFlags, s.Comm, first(s.Cgroups))
	case decode.KindExec:
		add("pid=%d ptid=%d comm=%s exe=%s cgroups=%q", s.PID, s.PTID, s.Comm, s.Exe, first(s.Cgroups))
	case decode.KindAsync:
		add("name=%s data=%.60q", s.Name, s.Data)
	}
	return out
}

func first(entries []byte) []byte {
	entry, _, _ := bytes.Cut(entries, []byte{0})
	return entry
}

func TestEveryKindOfRealStateEventIsDecoded(t *testing.T) {
	seen := map[decode.Kind]bool{}
	for _, g := range readGolden(t) {
		t.Run(g.name, func(t *testing.T) {
			var s decode.State
			changed, err := decode.Parse(g.raw, 7, &s)
			require.NoError(t, err)
			assert.Equal(t, g.want, show(&s, changed))
			assert.EqualValues(t, 7, s.Num)
			assert.Equal(t, s.TID, decode.TID(g.raw))
			seen[s.Kind] = true
		})
	}
	for kind := decode.KindOpen; kind <= decode.KindAsync; kind++ {
		assert.True(t, seen[kind], "no golden event of kind %d", kind)
	}
}

func TestAnEventCutShortIsAnErrorAtEveryByte(t *testing.T) {
	for _, g := range readGolden(t) {
		var s decode.State
		for n := range g.raw {
			_, err := decode.Parse(g.raw[:n], 1, &s)
			if err == nil { // only what no field needs may be missing
				var whole decode.State
				_, _ = decode.Parse(g.raw, 1, &whole)
				assert.Equal(t, whole, s, "%s cut at %d of %d", g.name, n, len(g.raw))
				continue
			}
			assert.ErrorIs(t, err, decode.ErrShort, "%s cut at %d", g.name, n)
		}
	}
}

func TestLyingHeadersAreErrors(t *testing.T) {
	raw := slices.Clone(readGolden(t)[0].raw)
	t.Run("more parameters than bytes", func(t *testing.T) {
		lie := slices.Clone(raw)
		binary.NativeEndian.PutUint32(lie[22:], 1<<31)
		_, err := decode.Parse(lie, 1, &decode.State{})
		assert.ErrorIs(t, err, decode.ErrShort)
	})
	t.Run("fewer parameters than the type has", func(t *testing.T) {
		lie := slices.Clone(raw)
		binary.NativeEndian.PutUint32(lie[22:], 0)
		_, err := decode.Parse(lie, 1, &decode.State{})
		assert.ErrorIs(t, err, decode.ErrShort)
	})
	t.Run("a parameter longer than the event", func(t *testing.T) {
		lie := slices.Clone(raw)
		binary.NativeEndian.PutUint16(lie[26:], 0xffff)
		_, err := decode.Parse(lie, 1, &decode.State{})
		assert.ErrorIs(t, err, decode.ErrShort)
	})
	t.Run("a type that is no state event", func(t *testing.T) {
		lie := slices.Clone(raw)
		binary.NativeEndian.PutUint16(lie[20:], uint16(schema.Read))
		_, err := decode.Parse(lie, 1, &decode.State{})
		assert.ErrorIs(t, err, decode.ErrType)
	})
}

func TestDecodingAllocatesNothing(t *testing.T) {
	events := readGolden(t)
	var s decode.State
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		for i := range events {
			_, _ = decode.Parse(events[i].raw, 1, &s)
		}
	}))
}

// FuzzParse holds that no bytes make the decoder panic and that what it returns lies within the event.
func FuzzParse(f *testing.F) {
	for _, g := range readGolden(f) {
		f.Add(g.raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s decode.State
		changed, err := decode.Parse(raw, 1, &s)
		if err != nil {
			assert.False(t, changed)
			return
		}
		assert.LessOrEqual(t, len(s.Comm)+len(s.Exe)+len(s.Cgroups)+len(s.Name)+len(s.Data), len(raw))
	})
}

// go test -bench=Parse -run=- ./plugin/internal/decode | benchstat -
func BenchmarkParse(b *testing.B) {
	for _, g := range readGolden(b) {
		name, _, _ := strings.Cut(g.name, ",")
		b.Run("type="+name, func(b *testing.B) {
			var s decode.State
			b.ReportAllocs()
			for b.Loop() {
				_, _ = decode.Parse(g.raw, 1, &s)
			}
		})
	}
}
