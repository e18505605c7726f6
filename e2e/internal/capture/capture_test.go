package capture

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// builder writes captures block by block.
type builder struct{ buf bytes.Buffer }

func (b *builder) u16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
func (b *builder) u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func (b *builder) u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func (b *builder) block(kind uint32, parts ...[]byte) *builder {
	body := bytes.Join(parts, nil)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	total := b.u32(uint32(sizeHeader + len(body) + sizeTrailer))
	b.buf.Write(bytes.Join([][]byte{b.u32(kind), total, body, total}, nil))
	return b
}

func (b *builder) section(major, minor uint16) *builder {
	return b.block(blockSection, b.u32(sectionMagic), b.u16(major), b.u16(minor), b.u64(^uint64(0)))
}

func (b *builder) machine(hostname string) *builder {
	name := make([]byte, 128)
	copy(name, hostname)
	return b.block(blockMachine, b.u32(4), b.u64(8<<30), b.u64(32768), name, b.u64(1700000000e9), make([]byte, 24))
}

// event writes an event of empty parameters.
func (b *builder) event(typ uint16, ts uint64, nparams uint32) *builder {
	lengths := make([]byte, 2*nparams)
	return b.block(blockEventV2,
		b.u16(0), b.u64(ts), b.u64(7), b.u32(uint32(sizeEventV2+len(lengths))), b.u16(typ), b.u32(nparams), lengths)
}

// small is a capture of three events.
func small() *builder {
	b := new(builder)
	return b.section(1, 2).machine("node-1").
		block(0x215, make([]byte, 40)). // a process list
		event(5, 1000, 2).event(148, 3000, 1).event(7, 2000, 4)
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

var libs023 = LimitsOf("0.23.2")

func TestSummaryOfACapture(t *testing.T) {
	want := Summary{
		Events: 3,
		First:  time.Unix(0, 1000).UTC(),
		Last:   time.Unix(0, 3000).UTC(),
		Drops:  1,
		Machine: Machine{
			Hostname: "node-1", CPUs: 4, MemoryBytes: 8 << 30, Boot: time.Unix(1700000000, 0).UTC(),
		},
	}
	got, err := Read(bytes.NewReader(small().buf.Bytes()), libs023)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	want.Compressed = true
	got, err = Read(bytes.NewReader(zipped(t, small().buf.Bytes())), libs023)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestGzipOfSeveralMembersIsOneCaptureAndGarbageAfterItIsPassedOver(t *testing.T) {
	data := small().buf.Bytes()
	joined := append(zipped(t, data[:50]), zipped(t, data[50:])...)
	got, err := Read(bytes.NewReader(append(joined, "garbage"...)), libs023)
	require.NoError(t, err)
	assert.Equal(t, uint64(3), got.Events)
}

// A capture of libs 0.23.2, whose number of events sysdig and Falco agree on.
func TestRealCaptureHasAsManyEventsAsTheEnginesCount(t *testing.T) {
	got, err := Check(context.Background(), "../../captures/local-staging-upload.scap", libs023)
	require.NoError(t, err)
	assert.Equal(t, uint64(14525), got.Events)
	assert.Equal(t, "vm", got.Machine.Hostname)
	assert.Equal(t, uint32(2), got.Machine.CPUs)
	assert.Equal(t, "2026-11-23T17:02:22.759105087Z", got.First.Format(time.RFC3339Nano))
	assert.Equal(t, "2026-11-23T17:02:26.516211302Z", got.Last.Format(time.RFC3339Nano))
	assert.True(t, got.Compressed)
}

func TestWhatIsNoCaptureIsNamed(t *testing.T) {
	b := new(builder)
	pcapng := new(builder)
	pcapng.block(blockSection, b.u32(sectionMagic), b.u16(1), b.u16(0), b.u64(^uint64(0)), make([]byte, 64)).block(1, make([]byte, 8))
	tar := make([]byte, 1024)
	copy(tar[257:], "ustar")
	bigEndian := new(builder)
	bigEndian.block(blockSection, b.u32(sectionMagicSwapped), make([]byte, 12))
	for _, tc := range []struct {
		name    string
		data    []byte
		problem Problem
		text    string
	}{
		{"no bytes", nil, Empty, "the file is empty"},
		{"gzip of no bytes", zipped(t, nil), Empty, "the file is empty"},
		{"no events", new(builder).section(1, 2).machine("h").buf.Bytes(), Empty, "it holds no events"},
		{"pcap", []byte("\xD4\xC3\xB2\xA1\x02\x00\x04\x00"), Foreign, "a network capture (pcap)"},
		{"pcapng with a long section header", pcapng.buf.Bytes(), Foreign, "a network capture (pcapng)"},
		{"a program", []byte("\x7FELF\x02\x01\x01\x00"), Foreign, "a program (ELF)"},
		{"JSON", []byte(`{"kind":"Event"}`), Foreign, "JSON text"},
		{"text shorter than a block header", []byte("hi\n"), Foreign, "text"},
		{"text cut within a character", []byte("Grüße aus dem Süden und gr\xc3"), Foreign, "text"},
		{"random bytes", []byte("\x01\x02\x03\x04\x05\x06\x07\x08\x09"), Foreign, "data of an unknown format"},
		{"zstd", []byte("\x28\xB5\x2F\xFD\x00\x00\x00\x00"), Foreign, "zstd data"},
		{"a tar archive", tar, Foreign, "a tar archive"},
		{"gzip of a tar archive", zipped(t, tar), Foreign, "gzip of a tar archive"},
		{"gzip of text", zipped(t, []byte("hello, world")), Foreign, "gzip of text"},
		{"a Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\n"), Foreign, "git lfs pull"},
		{"a capture of the other byte order", bigEndian.buf.Bytes(), Foreign, "big-endian"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(tc.data), libs023)
			var problem *Error
			require.ErrorAs(t, err, &problem)
			assert.Equal(t, tc.problem, problem.Problem)
			assert.ErrorContains(t, err, tc.text)
		})
	}
}

func TestPathsThatAreNoFileAreNamed(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		name    string
		path    string
		problem Problem
		text    string
	}{
		{"a path that is not there", filepath.Join(dir, "no.scap"), Missing, "no.scap: no such file"},
		{"a directory", dir, Directory, "it is a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Check(context.Background(), tc.path, libs023)
			var problem *Error
			require.ErrorAs(t, err, &problem)
			assert.Equal(t, tc.problem, problem.Problem)
			assert.ErrorContains(t, err, tc.text)
		})
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Check(ctx, "../../captures/local-staging-upload.scap", libs023)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestDamageIsFoundWhereItIs(t *testing.T) {
	data := small().buf.Bytes()
	second := bytes.Index(data, (&builder{}).u64(3000)) - sizeCPU - sizeHeader // start of the second event's block
	for _, tc := range []struct {
		name   string
		damage func(data []byte)
		text   string
	}{
		{"two lengths that differ", func(d []byte) { d[second+4] += 4 }, "bytes at its start and"},
		{"a block shorter than its header", func(d []byte) { copy(d[second+4:], []byte{3, 0, 0, 0}) }, "less than its own header"},
		{"a block too short for an event", func(d []byte) { copy(d[second+4:], []byte{16, 0, 0, 0}) }, "too short for an event"},
		{"an event longer than its block", func(d []byte) { d[second+sizeHeader+sizeCPU+16] = 200 }, "an event of 200 bytes"},
		{"a block of an unknown type", func(d []byte) { copy(d[second:], "abcd") }, "unknown type 0x64636261"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			broken := bytes.Clone(data)
			tc.damage(broken)
			got, err := Read(bytes.NewReader(broken), libs023)
			var problem *Error
			require.ErrorAs(t, err, &problem)
			assert.Equal(t, Corrupt, problem.Problem)
			assert.Equal(t, int64(second), problem.Offset)
			assert.Equal(t, uint64(1), problem.Events)
			assert.Equal(t, uint64(1), got.Events, "the summary covers what comes before")
			assert.ErrorContains(t, err, tc.text)
		})
	}
}

func TestDamagedGzipIsTold(t *testing.T) {
	real, err := os.ReadFile("../../captures/privileged-hostpath.scap")
	require.NoError(t, err)
	for i := len(real) / 2; i < len(real)/2+64; i++ {
		real[i] ^= 0xFF
	}
	_, err = Read(bytes.NewReader(real), libs023)
	var problem *Error
	require.ErrorAs(t, err, &problem)
	assert.Equal(t, Corrupt, problem.Problem)
}

func TestEveryCutIsFoundUnlessItIsBetweenBlocks(t *testing.T) {
	data := small().buf.Bytes()
	boundaries := map[int]uint64{} // end of a block: events up to it
	for at, events := 0, uint64(0); at < len(data); {
		if isEvent(binary.LittleEndian.Uint32(data[at:])) {
			events++
		}
		at += int(binary.LittleEndian.Uint32(data[at+4:]))
		boundaries[at] = events
	}
	require.Len(t, boundaries, 6)
	last := 0
	for cut := 1; cut <= len(data); cut++ {
		got, err := Read(bytes.NewReader(data[:cut]), libs023)
		events, whole := boundaries[cut]
		if whole {
			last = cut
			if events > 0 {
				require.NoError(t, err, "cut at %d", cut)
			}
			require.Equal(t, events, got.Events, "cut at %d", cut)
			continue
		}
		var problem *Error
		require.ErrorAs(t, err, &problem, "cut at %d", cut)
		require.Equal(t, Truncated, problem.Problem, "cut at %d", cut)
		require.Equal(t, int64(cut), problem.Offset)
		require.Equal(t, boundaries[last], problem.Events)
		require.Equal(t, int64(last), problem.good)
	}
}

func TestSalvageIsTheLongestGoodPartOfARealCaptureCutAnywhere(t *testing.T) {
	real, err := os.ReadFile("../../captures/privileged-hostpath.scap")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "cut.scap")
	rng := rand.New(rand.NewPCG(1, 2))
	cuts := []int{len(real) - 1, len(real) - 8, len(real) - 9} // within gzip's trailer, and before it
	for range 20 {
		cuts = append(cuts, 20+rng.IntN(len(real)-20))
	}
	for _, cut := range cuts {
		require.NoError(t, os.WriteFile(path, real[:cut], 0o600))
		_, err := Check(context.Background(), path, libs023)
		var problem *Error
		require.ErrorAs(t, err, &problem, "cut at %d", cut)
		require.Equal(t, Truncated, problem.Problem, "cut at %d: %v", cut, err)
		require.Equal(t, int64(cut), problem.Offset)
		if problem.Events == 0 {
			continue
		}
		var good bytes.Buffer
		require.NoError(t, problem.Salvage(&good))
		got, err := Read(bytes.NewReader(good.Bytes()), libs023)
		require.NoError(t, err, "cut at %d", cut)
		require.Equal(t, problem.Events, got.Events)
	}
}

func TestAShortGzipHeaderIsACut(t *testing.T) {
	_, err := Read(bytes.NewReader([]byte{0x1F, 0x8B, 8}), libs023)
	assert.ErrorContains(t, err, "cut off at byte 3 (within the gzip header)")
}

func TestTooNewNamesBothVersions(t *testing.T) {
	for _, tc := range []struct {
		name string
		data *builder
		libs string
		text string
	}{
		{
			"an event type of the next libs", small().event(449, 4000, 4), "0.23.2",
			"after 3 events it has event type 449, recorded with libs 0.24 or later (event schema 4.3); " +
				"this engine's libs 0.23.2 knows event types up to 429",
		},
		{"the first event type that the libs do not know", small().event(430, 4000, 4), "0.23.2", "event type 430"},
		{
			"an event type after every known one", small().event(5000, 4000, 4), "0.25.4",
			"event type 5000, recorded with libs later than 0.25 (event schema after 4.5); " +
				"this engine's libs 0.25.4 knows event types up to 453",
		},
		{
			"an event that got another parameter", small().event(151, 4000, 4), "0.24.1",
			"event type 151 with 4 parameters, recorded with libs 0.25 or later (event schema 4.5); " +
				"this engine's libs 0.24.1 knows 3 of them",
		},
		{
			"an execve of libs 0.23 in an engine of 0.22", small().event(293, 4000, 31), "0.22.2",
			"recorded with libs 0.23 or later (event schema 4.1)",
		},
		{"a block type after every known one", small().block(0x223, make([]byte, 8)), "0.23.2", "has block type 0x223"},
		{"a major version of the format", new(builder).section(2, 0), "0.23.2", "version 2.0 of the capture format"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(tc.data.buf.Bytes()), LimitsOf(tc.libs))
			var problem *Error
			require.ErrorAs(t, err, &problem)
			assert.Equal(t, TooNew, problem.Problem)
			assert.ErrorContains(t, err, tc.text)
		})
	}
}

func TestLimitsAllowWhatTheLibsKnow(t *testing.T) {
	for _, tc := range []struct {
		name string
		data *builder
		libs string
	}{
		{"the last event type", small().event(429, 4000, 3), "0.23.2"},
		{"fewer parameters, as old captures have", small().event(151, 4000, 1), "0.23.2"},
		{"as many parameters as the libs know", small().event(151, 4000, 4), "0.25.0"},
		{"anything for libs later than the known ones", small().event(5000, 4000, 40), "0.26.0"},
		{"anything for libs of an unknown version", small().event(5000, 4000, 40), "main"},
		{"a newer minor version of the format", new(builder).section(1, 9).event(5, 1, 1), "0.23.2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(tc.data.buf.Bytes()), LimitsOf(tc.libs))
			assert.NoError(t, err)
		})
	}
}

func FuzzRead(f *testing.F) {
	data := small().buf.Bytes()
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Add(zipped(f, data))
	f.Add([]byte("\xD4\xC3\xB2\xA1"))
	old := new(builder)
	f.Add(old.section(1, 1).block(blockEventOld, old.u16(1), old.u64(9), old.u64(9), old.u32(sizeEventV1), old.u16(3)).
		block(blockFlagsV2Large, old.u16(1), old.u32(1), old.u64(9), old.u64(9), old.u32(sizeEventV2), old.u16(3), old.u32(0)).buf.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		sum, err := Read(bytes.NewReader(data), libs023)
		if err == nil {
			require.NotZero(t, sum.Events, "a capture without events is an error")
			require.False(t, sum.Last.Before(sum.First))
			return
		}
		var problem *Error
		require.ErrorAs(t, err, &problem)
		require.NotEmpty(t, problem.Error())
		require.LessOrEqual(t, problem.Events, sum.Events)
		if problem.Problem != Truncated || sum.Compressed {
			return
		}
		// What comes before the cut is a good capture, or one without events.
		require.LessOrEqual(t, problem.good, int64(len(data)))
		again, err := Read(bytes.NewReader(data[:problem.good]), libs023)
		require.Equal(t, problem.Events, again.Events)
		require.Equal(t, problem.Events > 0, err == nil)
	})
}
