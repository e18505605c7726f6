package abi_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/abi"
	"github.com/falco-datastaging/datastaging/plugin/internal/abi/enginetest"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// library is the plugin as it is shipped, built once for all tests of the boundary.
var library string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "datastaging-abi-")
	if err == nil {
		library = filepath.Join(dir, "libdatastaging.so")
		build := exec.Command("go", "build", "-buildmode=c-shared", "-o", library, "github.com/falco-datastaging/datastaging/plugin")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the plugin library:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

const (
	start  = uint64(1_795_453_342_000_000_000) // ns since the epoch
	second = uint64(1_000_000_000)
)

// event writes a raw event with 16-bit lengths.
func event(t schema.Type, ts uint64, tid int64, params ...[]byte) []byte {
	raw := binary.NativeEndian.AppendUint64(nil, ts)
	raw = binary.NativeEndian.AppendUint64(raw, uint64(tid))
	raw = append(raw, 0, 0, 0, 0) // len
	raw = binary.NativeEndian.AppendUint16(raw, uint16(t))
	raw = binary.NativeEndian.AppendUint32(raw, uint32(len(params)))
	for _, p := range params {
		raw = binary.NativeEndian.AppendUint16(raw, uint16(len(p)))
	}
	for _, p := range params {
		raw = append(raw, p...)
	}
	binary.NativeEndian.PutUint32(raw[16:], uint32(len(raw)))
	return raw
}

func i64(v int64) []byte  { return binary.NativeEndian.AppendUint64(nil, uint64(v)) }
func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// ioEvent writes an event of a type that moves bytes, its parameters where the schema says they are.
func ioEvent(io schema.IO, ts uint64, tid, res, fd, fd2 int64, data string) []byte {
	last := io.FD
	for _, i := range []uint8{io.FD2, io.Data, io.Tuple} {
		if i != schema.None {
			last = max(last, i)
		}
	}
	params := make([][]byte, last+1)
	params[0] = i64(res)
	params[io.FD] = i64(fd)
	if io.FD2 != schema.None {
		params[io.FD2] = i64(fd2)
	}
	if io.Data != schema.None {
		params[io.Data] = []byte(data)
	}
	return event(io.Type, ts, tid, params...)
}

func ioType(t schema.Type) schema.IO {
	for _, io := range schema.IOEvents {
		if io.Type == t {
			return io
		}
	}
	panic("not an I/O event type")
}

func write(ts uint64, tid, res, fd int64, data string) []byte {
	return ioEvent(ioType(schema.Write), ts, tid, res, fd, -1, data)
}

const (
	tid       = int64(4711)
	container = "/kubepods/besteffort/podf09c4d46-93e5-4a1c-a3cc-80c244fdd4de/367a841b0e4967a841b0e4967a841b0e4967a841b0e4967a841b0e4967a841b0"
	source    = 3 // a data file
	scratch   = 4 // a file in /tmp
	outside   = 5 // a connection to an external address
)

// ptrace is an event type that the plugin does not read: it is only asked about.
const ptrace = schema.Type(155)

// newEngine starts the plugin beside one process of a container that has three descriptors open.
func newEngine(t testing.TB, config string) *enginetest.Engine {
	e, err := enginetest.Open(library)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	addProcess(e, tid)
	require.NoError(t, e.Init(config))
	return e
}

func addProcess(e *enginetest.Engine, tid int64) {
	e.AddThread(enginetest.Thread{TID: tid, PID: tid, VPID: 1, Exe: "/usr/bin/worker", CgroupPath: container})
	e.AddFD(enginetest.FD{FD: source, Type: uint8(schema.FDFileV2), Name: "/srv/customers.csv", Dev: 1, Ino: 100})
	e.AddFD(enginetest.FD{FD: scratch, Type: uint8(schema.FDFileV2), Name: "/tmp/out", Dev: 1, Ino: 101})
	e.AddFD(enginetest.FD{
		FD: outside, Type: uint8(schema.FDIPv4),
		Src: netip.MustParseAddrPort("10.77.0.11:41000"), Dst: netip.MustParseAddrPort("203.0.113.10:443"),
	})
}

func extract(t testing.TB, e *enginetest.Engine, raw []byte, num uint64, field, key string) any {
	v, err := e.Extract(raw, num, field, key)
	require.NoError(t, err)
	return v
}

func TestThePluginDescribesItself(t *testing.T) {
	e := newEngine(t, "")
	info := e.Info()
	assert.Equal(t, "datastaging", info.Name)
	assert.Equal(t, abi.APIVersion, info.APIVersion)
	assert.Equal(t, schema.Version, info.SchemaVersion)
	assert.JSONEq(t, `["syscall","k8s_audit"]`, info.ParseSources)
	assert.JSONEq(t, `["syscall","k8s_audit"]`, info.ExtractSources)
	var want []uint16
	for _, io := range schema.IOEvents {
		want = append(want, uint16(io.Type))
	}
	for _, typ := range schema.StateEvents {
		want = append(want, uint16(typ))
	}
	assert.ElementsMatch(t, want, info.ParseTypes)
	assert.Contains(t, info.InitSchema, `"phase_bytes"`)
}

func TestEveryEventTypeThatMovesBytesIsCounted(t *testing.T) {
	for _, io := range schema.IOEvents {
		t.Run(fmt.Sprintf("type %d", io.Type), func(t *testing.T) {
			e := newEngine(t, "")
			fd, field := int64(scratch), "staging.bytes"
			switch io.Op {
			case schema.OpRead:
				fd, field = source, "staging.source_bytes"
			case schema.OpMove:
				fd = source
			}
			raw := ioEvent(io, start, tid, 1000, fd, scratch, "data")
			require.NoError(t, e.Parse(raw, 1))
			assert.EqualValues(t, 1000, extract(t, e, raw, 1, field, ""))
			if io.Op == schema.OpMove {
				assert.EqualValues(t, 1000, extract(t, e, raw, 1, "staging.source_bytes", ""))
			}
		})
	}
}

func TestAFieldOnAnEventIncludesThatEvent(t *testing.T) {
	e := newEngine(t, "")
	for num := uint64(1); num <= 5; num++ {
		raw := write(start, tid, 100, scratch, "x")
		require.NoError(t, e.Parse(raw, num))
		assert.EqualValues(t, 100*num, extract(t, e, raw, num, "staging.bytes", ""))
	}
}

// The filter of an inspector asks for fields before plugins have parsed the event; the event counts once all the same.
func TestAFieldThatIsAskedBeforeTheEventIsParsedIncludesIt(t *testing.T) {
	e := newEngine(t, "")
	for num := uint64(1); num <= 3; num++ {
		raw := write(start, tid, 100, scratch, "x")
		assert.EqualValues(t, 100*num, extract(t, e, raw, num, "staging.bytes", ""))
		assert.Equal(t, "tmp", extract(t, e, raw, num, "staging.location", ""))
		require.NoError(t, e.Parse(raw, num))
		assert.EqualValues(t, 100*num, extract(t, e, raw, num, "staging.bytes", ""))
	}
	closing := event(schema.Close, start, tid, i64(0), i64(scratch))
	assert.Equal(t, "tmp", extract(t, e, closing, 4, "staging.location", ""))
	require.NoError(t, e.Parse(closing, 4))
	assert.EqualValues(t, 3, e.Metrics()["transfers"])
}

func TestNoEventIsLostWhenTheRingIsFull(t *testing.T) {
	e := newEngine(t, "")
	raw := write(start, tid, 7, scratch, "x")
	const n = 10_000 // many times the ring
	require.NoError(t, e.ParseMany(raw, 1, n))
	assert.EqualValues(t, 7*n, extract(t, e, raw, n, "staging.bytes", ""))
	assert.EqualValues(t, n, e.Metrics()["transfers"])
}

func TestAStateEventSeesAllThatCameBeforeIt(t *testing.T) {
	e := newEngine(t, "")
	require.NoError(t, e.Parse(write(start, tid, 50, scratch, "x"), 1))
	closing := event(schema.Close, start, tid, i64(0), i64(scratch))
	require.NoError(t, e.Parse(closing, 2))
	assert.EqualValues(t, 50, extract(t, e, closing, 2, "staging.bytes", ""))
	assert.Equal(t, "tmp", extract(t, e, closing, 2, "staging.location", ""), "of the file that was closed")
}

func TestCallsThatMovedNothingCountNothing(t *testing.T) {
	e := newEngine(t, "")
	for num, res := range []int64{0, -1, -9, -11} {
		raw := write(start, tid, res, scratch, "")
		require.NoError(t, e.Parse(raw, uint64(num)))
		assert.EqualValues(t, 0, extract(t, e, raw, uint64(num), "staging.bytes", ""))
	}
}

func TestMalformedEventsAreCountedAndHarmless(t *testing.T) {
	e := newEngine(t, "")
	good := write(start, tid, 100, scratch, "some data")
	bad := 0
	for n := 26; n < len(good); n++ { // the header is the engine's own
		raw := append([]byte(nil), good...)
		binary.NativeEndian.PutUint32(raw[16:], uint32(n))
		require.NoError(t, e.Parse(raw, uint64(n)))
		bad++
	}
	lies := append([]byte(nil), good...)
	binary.NativeEndian.PutUint32(lies[22:], 1<<31)
	require.NoError(t, e.Parse(lies, 1000))
	assert.Positive(t, e.Metrics()["events_malformed"])
	require.NoError(t, e.Parse(good, 1001))
	counted := extract(t, e, good, 1001, "staging.bytes", "").(uint64)
	assert.EqualValues(t, bad+2, counted/100+e.Metrics()["events_malformed"], "each is either counted whole or refused")

	state := event(schema.Close, start, tid, i64(0), i64(scratch))
	binary.NativeEndian.PutUint16(state[28:], 0xffff)
	assert.ErrorContains(t, e.Parse(state, 2), "cut short")
}

func TestTheEndOfACaptureEmptiesTheRing(t *testing.T) {
	e := newEngine(t, "")
	require.NoError(t, e.ParseMany(write(start, tid, 7, scratch, "x"), 1, 10))
	assert.Zero(t, e.Metrics()["transfers"])
	require.NoError(t, e.CaptureClose())
	assert.EqualValues(t, 10, e.Metrics()["transfers"])
}

// Libs frees its tables before it destroys plugins: a plugin that looked something up then would crash the agent.
func TestDestroyingAPluginWithEventsLeftTouchesNoTable(t *testing.T) {
	e, err := enginetest.Open(library)
	require.NoError(t, err)
	addProcess(e, tid)
	require.NoError(t, e.Init(""))
	require.NoError(t, e.ParseMany(write(start, tid, 7, scratch, "x"), 1, 10))
	e.Close()
}

func TestInstancesInOneProcessShareNothing(t *testing.T) {
	first, second := newEngine(t, ""), newEngine(t, `{"phase_bytes": 10}`)
	raw := write(start, tid, 100, scratch, "x")
	require.NoError(t, first.Parse(raw, 1))
	assert.EqualValues(t, 100, extract(t, first, raw, 1, "staging.bytes", ""))
	assert.EqualValues(t, 0, extract(t, second, event(ptrace, start, tid), 1, "staging.bytes", ""))
}

func TestInitRefusesWhatItCannotUse(t *testing.T) {
	t.Run("a bad value is named with what is accepted", func(t *testing.T) {
		e, err := enginetest.Open(library)
		require.NoError(t, err)
		defer e.Close()
		err = e.Init(`{"window": "soon", "cluster_networks": ["10.0.0.0/99"]}`)
		assert.ErrorContains(t, err, `window: "soon" is not accepted; want a duration from 10s to 24h0m0s`)
		assert.ErrorContains(t, err, `cluster_networks: "10.0.0.0/99" is not accepted; want a CIDR prefix`)
	})
	t.Run("an engine without state tables is told which one is needed", func(t *testing.T) {
		e, err := enginetest.Open(library)
		require.NoError(t, err)
		defer e.Close()
		e.HideTables()
		assert.ErrorContains(t, e.Init(""), "this engine has no threads; Falco 0.42 or later is needed")
	})
}

func TestAnUnknownArgumentHasNoValueAndOneLogLine(t *testing.T) {
	e := newEngine(t, "")
	raw := write(start, tid, 100, scratch, "x")
	require.NoError(t, e.Parse(raw, 1))
	for range 3 {
		assert.Nil(t, extract(t, e, raw, 1, "staging.bytes", "fortnight"))
	}
	assert.Equal(t, "4 staging.bytes[fortnight] has no value: staging.bytes takes an optional window from 1s to 24h, such as 30s, 5m or 1h\n", e.Log())
	assert.EqualValues(t, 100, extract(t, e, raw, 1, "staging.bytes", "1h"))
}

func TestOnceIsTrueOncePerIntervalAndKey(t *testing.T) {
	e := newEngine(t, `{"once_interval": "60s"}`)
	raw := write(start, tid, 100, scratch, "x")
	require.NoError(t, e.Parse(raw, 1))
	assert.Equal(t, true, extract(t, e, raw, 1, "staging.once", "a"))
	assert.Equal(t, false, extract(t, e, raw, 1, "staging.once", "a"))
	assert.Equal(t, true, extract(t, e, raw, 1, "staging.once", "b"))
	later := write(start+61*second, tid, 100, scratch, "x")
	require.NoError(t, e.Parse(later, 2))
	assert.Equal(t, true, extract(t, e, later, 2, "staging.once", "a"))
}

func TestAnEventOfATypeThatIsNotReadStillShowsItsContainer(t *testing.T) {
	e := newEngine(t, "")
	require.NoError(t, e.Parse(write(start, tid, 100, scratch, "x"), 1))
	assert.EqualValues(t, 100, extract(t, e, event(ptrace, start, tid), 2, "staging.bytes", ""))
	assert.Nil(t, extract(t, e, event(ptrace, start, tid), 2, "staging.location", ""), "it has no descriptor")
	assert.Nil(t, extract(t, e, event(ptrace, start, 99), 3, "staging.bytes", ""), "a thread that nobody knows")
}

// BenchmarkParse is the price of one event at the boundary: result=none stays in C, result=bytes goes through the ring
// and is counted in batches, and a state event crosses into Go by itself.
//
//	go test -bench=Parse -run=- ./plugin/internal/abi | benchstat -
func BenchmarkParse(b *testing.B) {
	for _, bench := range []struct {
		name string
		raw  []byte
	}{
		{"event=write/result=none", write(start, tid, -11, scratch, "")},
		{"event=write/result=bytes", write(start, tid, 4096, scratch, "some data")},
		{"event=read/result=bytes", ioEvent(ioType(schema.Read), start, tid, 4096, source, -1, "some data")},
		{"event=sendto/result=bytes", ioEvent(ioType(schema.SendTo), start, tid, 4096, outside, -1, "some data")},
		{"event=close/result=state", event(schema.Close, start, tid, i64(0), i64(9))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			e := newEngine(b, "")
			b.ReportAllocs()
			const many = 4096 // events for one call from Go to C
			b.ResetTimer()
			for n := 0; n < b.N; n += many {
				if err := e.ParseMany(bench.raw, uint64(n)+1, uint64(min(many, b.N-n))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkExtract is the price of one field, the call from the engine included.
func BenchmarkExtract(b *testing.B) {
	for _, field := range []struct{ name, key string }{
		{"staging.location", ""}, {"staging.bytes", ""}, {"staging.bytes", "1h"}, {"staging.phase", ""}, {"baseline.workload", ""},
		{"baseline.status", ""}, {"baseline.deviation", "staged_bytes"}, {"baseline.typical", "staged_bytes"}, {"baseline.new", "dir"},
	} {
		name := "field=" + field.name
		if field.key != "" {
			name += "/arg=" + field.key
		}
		b.Run(name, func(b *testing.B) {
			e := newEngine(b, "")
			raw := write(start, tid, 4096, scratch, "some data")
			require.NoError(b, e.Parse(raw, 1))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = e.Extract(raw, 1, field.name, field.key)
			}
		})
	}
}

// FuzzParse holds that no event whose header tells its true size can hurt the plugin, in C or in Go.
func FuzzParse(f *testing.F) {
	for _, io := range schema.IOEvents {
		f.Add(ioEvent(io, start, tid, 1000, scratch, source, "data"))
	}
	f.Add(event(schema.Close, start, tid, i64(0), i64(scratch)))
	f.Add(event(schema.Pipe2, start, tid, i64(0), i64(6), i64(7), i64(99), u32(0)))
	e := newEngine(f, "")
	num := uint64(0)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < 26 {
			return // the engine's own header is whole
		}
		num++
		evt := append([]byte(nil), raw...)
		binary.NativeEndian.PutUint32(evt[16:], uint32(len(evt)))
		_ = e.Parse(evt, num) // refused or counted
		if v := extract(t, e, evt, num, "staging.bytes", ""); v != nil {
			assert.IsType(t, uint64(0), v)
		}
	})
}
