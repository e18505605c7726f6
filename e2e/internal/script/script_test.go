package script

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// happened is one event of a written capture.
type happened struct {
	after  time.Duration // since the beginning
	tid    int64
	cpu    uint16
	typ    uint16
	params [][]byte
}

// Event types that the tests look for.
const (
	closeEvent = 5
	readEvent  = 7
	writeEvent = 9
	dropEvent  = 148
	exitEvent  = 186
	openEvent  = 307
	asyncEvent = 402
)

const base = "begin 2026-01-01T00:00:00Z\ncontainer c told never\nprocess p in c runs /p\nprocess q in c runs /q\n"

// write plays a script and gives its events.
func write(t testing.TB, source string) []happened {
	t.Helper()
	s, err := Parse("x.script", []byte(source))
	require.NoError(t, err)
	var buf bytes.Buffer
	require.NoError(t, s.Write(&buf))
	events := decode(buf.Bytes(), s.begin)
	require.LessOrEqual(t, uint64(len(events)), s.Events(), "the script knows how many events there are at most")
	return events
}

func decode(data []byte, begin time.Time) (events []happened) {
	le := binary.LittleEndian
	for len(data) > 0 {
		kind, total := le.Uint32(data), le.Uint32(data[4:])
		body := data[8 : total-4]
		data = data[total:]
		width := 2
		switch kind {
		case 0x216:
		case 0x221:
			width = 4
		default:
			continue
		}
		e := happened{cpu: le.Uint16(body), tid: int64(le.Uint64(body[10:])), typ: le.Uint16(body[22:])}
		e.after = time.Duration(le.Uint64(body[2:]) - uint64(begin.UnixNano()))
		n := int(le.Uint32(body[24:]))
		values := body[28+n*width:]
		for i := range n {
			size := int(le.Uint16(body[28+i*width:]))
			e.params = append(e.params, values[:size])
			values = values[size:]
		}
		events = append(events, e)
	}
	return events
}

// times says when the events of a type happened.
func times(events []happened, typ uint16) string {
	var all []string
	for _, e := range events {
		if e.typ == typ {
			all = append(all, e.after.String())
		}
	}
	return strings.Join(all, " ")
}

func TestStepsComeWhenTheScriptSays(t *testing.T) {
	for _, tc := range []struct{ name, source, want string }{
		{"a millisecond apart", "p write 1 1KB\np write 1 1KB\n", "0s 1ms"},
		{"after a pause since the event before", "p write 1 1KB\n+5s p write 1 1KB\n", "0s 5s"},
		{"at a time since the beginning", "p write 1 1KB\nat 1h p write 1 1KB\np write 1 1KB\n", "0s 1h0m0s 1h0m0.001s"},
		{"after a pause on a line of its own", "p write 1 1KB\n+5s\n+5s\np write 1 1KB\n", "0s 10s"},
		{"repeated at once", "repeat 3 times\np write 1 1KB\nend\n", "0s 1ms 2ms"},
		{"repeated at intervals", "p write 1 1KB\nrepeat 3 times every 10m\np write 1 1KB\np write 1 1KB\nend\np write 1 1KB\n",
			"0s 1ms 2ms 10m0.001s 10m0.002s 20m0.001s 20m0.002s 20m0.003s"},
		{"in rounds that overlap", "for i in 1..3 every 1s\np write 1 1KB\n+1500ms p write 1 1KB\nend\n", "0s 1s 1.5s 2s 2.5s 3.5s"},
		{"side by side", "together\np write 1 1KB\n+3s p write 1 1KB\nand\n+1s q write 1 1KB\n+1s q write 1 1KB\nend\np write 1 1KB\n",
			"0s 1s 2s 3s 3.001s"},
		{"side by side within rounds", "repeat 2 times every 10s\ntogether\n+2s p write 1 1KB\nand\n+1s p write 1 1KB\nend\nend\n", "1s 2s 11s 12s"},
		{"spread over a time", "p write 1 4KB in 1KB over 2s\np write 1 1KB\n", "0s 500ms 1s 1.5s 1.501s"},
		{"from a list", "for f in a b c\np write 1 1KB\nend\n", "0s 1ms 2ms"},
		{"in pieces of 64 KiB", "p write 1 150KiB\n", "0s 1ms 2ms"},
		{"in nested loops with both variables", "for i in 1..2\nfor j in $i..2\np write 1 ${j}KB in 1KB\nend\nend\n",
			"0s 1ms 2ms 3ms 4ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.want, times(write(t, base+tc.source), writeEvent))
		})
	}
	assert.Equal(t, "0s 20ms", times(write(t, "step 20ms\n"+base+"p write 1 1KB\np write 1 1KB\n"), writeEvent))
}

func TestWhatIsDueAtTheSameTimeComesInTheOrderOfTheScript(t *testing.T) {
	events := write(t, base+"together\nq write 1 1KB\nand\np write 1 1KB\nand\nq write 1 1KB\nand\np write 1 1KB\nend\n")
	require.Len(t, events, 4)
	q, p := events[0].tid, events[1].tid
	assert.NotEqual(t, p, q)
	assert.Equal(t, []int64{q, p}, []int64{events[2].tid, events[3].tid})
}

func TestAClockThatIsBehindTurnsTimestampsBackNotTheOrder(t *testing.T) {
	events := write(t, "skew 1 -3ms\n"+base+"process r in c cpu 1 runs /r\np write 1 1KB\nr write 1 2KB\np write 1 3KB\n")
	require.Len(t, events, 3)
	assert.Equal(t, "0s -2ms 2ms", times(events, writeEvent))
	assert.Equal(t, []uint16{0, 1, 0}, []uint16{events[0].cpu, events[1].cpu, events[2].cpu})
}

func TestContainersAreToldWhenTheirScriptSays(t *testing.T) {
	events := write(t, "container a\ncontainer b told 10ms\ncontainer c told never\nprocess p in a runs /p\n"+
		"p write 1 1KB\n+1s p write 1 1KB\np exit\ngone a\n")
	var order []uint16
	for _, e := range events {
		order = append(order, e.typ)
	}
	assert.Equal(t, []uint16{asyncEvent, writeEvent, asyncEvent, writeEvent, exitEvent, asyncEvent}, order)
	assert.Equal(t, "0s 10ms 1.002s", times(events, asyncEvent))
	assert.Equal(t, "container\x00", string(events[0].params[1]))
	assert.Equal(t, "container_removed\x00", string(events[5].params[1]))
}

// keys lists the names in a JSON object in their order, those of inner objects with the outer one's before them.
func keys(t *testing.T, object string) (names []string) {
	d := json.NewDecoder(strings.NewReader(object))
	var walk func(prefix string)
	walk = func(prefix string) {
		token, err := d.Token()
		require.NoError(t, err)
		switch token {
		case json.Delim('{'):
			for d.More() {
				key, err := d.Token()
				require.NoError(t, err)
				if name := prefix + "/" + key.(string); !slices.Contains(names, name) {
					names = append(names, name)
				}
				walk(prefix + "/" + key.(string))
			}
		case json.Delim('['):
			for d.More() {
				walk(prefix)
			}
		default:
			return
		}
		_, err = d.Token()
		require.NoError(t, err)
	}
	walk("")
	return names
}

func TestAContainerIsToldAsFalcosContainerPluginDoes(t *testing.T) {
	payload := func(events []happened) string {
		i := slices.IndexFunc(events, func(e happened) bool { return e.typ == asyncEvent })
		return strings.TrimRight(string(events[i].params[2]), "\x00")
	}
	f, err := os.Open("../../captures/shared-volume-handoff.scap")
	require.NoError(t, err)
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	require.NoError(t, err)
	recorded, err := io.ReadAll(unpacked)
	require.NoError(t, err)

	got := payload(write(t, "container web pod shop/web-0 name app image r.example.com:5000/shop/web:1.4 ip 10.1.0.5 ip fd00::5 "+
		"mount /a:/b mount /c:/d:ro label a=b podlabel c=d env E=F user www sandbox abc runtime podman privileged hostpid\n"+
		"start p in web runs /p\n"))
	want := keys(t, payload(decode(recorded, time.Time{})))
	assert.Subset(t, keys(t, got), want)
	assert.Equal(t, want[:10], keys(t, got)[:10], "in its order")

	var told struct{ Container map[string]any }
	require.NoError(t, json.Unmarshal([]byte(got), &told))
	for name, value := range map[string]any{
		"type": 11.0, "name": "web", "image": "r.example.com:5000/shop/web:1.4", "imagerepo": "r.example.com:5000/shop/web", "imagetag": "1.4",
		"ip": "10.1.0.5", "privileged": true, "host_pid": true, "host_network": false, "User": "www", "pod_sandbox_id": "abc",
		"env": []any{"E=F"}, "pod_sandbox_labels": map[string]any{"c": "d"},
		"labels": map[string]any{"a": "b", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.name": "web-0", "io.kubernetes.container.name": "app"},
		"Mounts": []any{
			map[string]any{"Source": "/a", "Destination": "/b", "Mode": "", "Propagation": "rprivate", "RW": true},
			map[string]any{"Source": "/c", "Destination": "/d", "Mode": "", "Propagation": "rprivate", "RW": false},
		},
	} {
		assert.Equal(t, value, told.Container[name], name)
	}
	assert.Equal(t, told.Container["full_id"].(string)[:12], told.Container["id"])
}

func TestWhatIsLostStillHappens(t *testing.T) {
	t.Run("all of it", func(t *testing.T) {
		events := write(t, base+"p open /a create\nlost\np close /a\np open /b\np write 1 1KB\nend\np close /b\n")
		var types []uint16
		for _, e := range events {
			types = append(types, e.typ)
		}
		assert.Equal(t, []uint16{openEvent, closeEvent}, types)
		assert.Equal(t, "4ms", times(events, closeEvent), "its time has passed")
		assert.Equal(t, uint64(3), binary.LittleEndian.Uint64(events[1].params[1]), "the descriptor was closed and given again")
	})
	t.Run("a share of it", func(t *testing.T) {
		events := write(t, base+"lost 25%\np write 1 4MB in 1KB\nend\n")
		assert.InDelta(t, 3000, len(events), 100)
	})
	t.Run("and the driver says so", func(t *testing.T) {
		events := write(t, base+"lost ratio 8\np write 1 1KB\nend\n")
		require.Len(t, events, 2)
		assert.Equal(t, []uint16{dropEvent, dropEvent + 1}, []uint16{events[0].typ, events[1].typ})
		assert.Equal(t, []byte{8, 0, 0, 0}, events[0].params[0])
	})
}

func TestContentIsShownUpToTheSnaplen(t *testing.T) {
	data := func(source string) []string {
		var all []string
		for _, e := range write(t, source) {
			switch e.typ {
			case readEvent, writeEvent:
				all = append(all, string(e.params[1]))
			}
		}
		return all
	}
	t.Run("a head and filler", func(t *testing.T) {
		got := data(base + `p write 1 1KB "GET / HTTP/1.1\r\n"` + "\np write 1 5\n")
		assert.Len(t, got[0], 80)
		assert.True(t, strings.HasPrefix(got[0], "GET / HTTP/1.1\r\n"))
		assert.Len(t, got[1], 5)
	})
	t.Run("the snaplen of the script", func(t *testing.T) {
		assert.Len(t, data("snaplen 200\n" + base + "p write 1 1KB\n")[0], 200)
	})
	t.Run("the magic of a kind of file comes once, at its start", func(t *testing.T) {
		got := data(base + "p open /a rw create\np write /a 2KB in 1KB gzip\np write /a 1KB gzip\np seek /a 0\np read /a 1KB\n")
		require.Len(t, got, 4)
		assert.True(t, strings.HasPrefix(got[0], "\x1f\x8b"))
		assert.False(t, strings.HasPrefix(got[1], "\x1f\x8b"))
		assert.False(t, strings.HasPrefix(got[2], "\x1f\x8b"))
		assert.Equal(t, got[0], got[3], "what was written is read")
	})
	t.Run("a copy has what it was copied from, also through a pipe", func(t *testing.T) {
		got := data(base + "p copy 1KB from /a to /b zip\np pipe x\np copy 1KB from /b to x\np read x 1KB\n")
		require.Len(t, got, 5)
		assert.True(t, strings.HasPrefix(got[0], "PK\x03\x04"))
		for _, other := range got[1:] {
			assert.Equal(t, got[0], other)
		}
	})
	t.Run("a copy goes on as what it was copied from", func(t *testing.T) {
		got := data(base + "p open /z create as z\np copy 1KB from /a to z gzip\np copy 1KB from /b to z gzip\n")
		require.Len(t, got, 4)
		assert.True(t, strings.HasPrefix(got[3], "\x1f\x8b"), "in the middle of the file")
		assert.Equal(t, got[2], got[3])
	})
	t.Run("a copied descriptor is the same pipe", func(t *testing.T) {
		got := data(base + "p pipe x\np dup x.w to stdout\np write stdout 1KB zip\np read x 1KB\n")
		require.Len(t, got, 2)
		assert.Equal(t, got[0], got[1])
	})
	t.Run("an emptied file has other content", func(t *testing.T) {
		got := data(base + "p open /a create\np write /a 1KB gzip\np open /a create truncate\np write /a 1KB\n")
		assert.False(t, strings.HasPrefix(got[1], "\x1f\x8b"))
	})
	t.Run("digits", func(t *testing.T) {
		assert.True(t, strings.HasPrefix(data(base + "p write 1 1KB hex 00ff10\n")[0], "\x00\xff\x10"))
	})
}

// opened gives the device and inode of each open.
func opened(events []happened) (files []string) {
	for _, e := range events {
		if e.typ == openEvent {
			files = append(files, hex.EncodeToString(append(e.params[5], e.params[6]...)))
		}
	}
	return files
}

func TestAFileIsOneFileWhereverItIsMounted(t *testing.T) {
	files := opened(write(t, "container a mount /vol:/x\ncontainer b mount /vol:/y/z\ncontainer c\n"+
		"process p in a runs /p\nprocess q in b runs /q\nprocess r in c runs /r\nprocess h runs /h\n"+
		"p open /x/f create\nq open /y/z/f\nh open /vol/f\nr open /x/f\np open /x/../f\n"+
		"p unlink /x/f\np open /x/f create\np rename /x/f /x/g\nq open /y/z/g\n"))
	require.Len(t, files, 7)
	assert.Equal(t, files[0], files[1])
	assert.Equal(t, files[0], files[2])
	assert.NotEqual(t, files[0], files[3], "a container without the mount has a file of its own")
	assert.NotEqual(t, files[0], files[4], "above the mount")
	assert.NotEqual(t, files[0], files[5], "a new file under the name of one that was removed")
	assert.Equal(t, files[5], files[6], "a file keeps its inode when it is renamed")
}

func TestVariablesAreReplaced(t *testing.T) {
	vars := &binding{name: "i", value: "300", outer: &binding{name: "name", value: "web"}}
	for _, tc := range []struct{ text, want, problem string }{
		{"job$i-$name", "job300-web", ""},
		{"${i}x", "300x", ""},
		{"${i+1} ${i-1} ${i*2} ${i/250} ${i%250}", "301 299 600 1 50", ""},
		{"${i:05} ${i:x} ${i%256:02x}", "00300 12c 2c", ""},
		{"5$$", "5$", ""},
		{"$j", "", "no variable $j: write $i, or $$ for a dollar"},
		{"${i", "", "${i does not end: write ${i}"},
		{"${i/0}", "", "${i/0}: write ${i+1}, with one of + - * / % and a whole number, not 0 for the last two"},
		{"${i+x}", "", "${i+x}: write ${i+1}, with one of + - * / % and a whole number"},
		{"${i^2}", "", "${i^2}: write ${i+1}, with one of + - * / % and a whole number, not 0 for the last two"},
		{"${name+1}", "", `${name+1}: the value "web" is no number: write ${name}`},
		{"${i:q}", "", `${i:q}: the format "q" is not known: write :04 for four digits or :02x for hexadecimal ones`},
	} {
		got, err := expand(tc.text, vars)
		assert.Equal(t, tc.want, got, tc.text)
		if tc.problem == "" {
			assert.NoError(t, err, tc.text)
		} else {
			assert.EqualError(t, err, tc.problem, tc.text)
		}
	}
}

func TestTheSameScriptGivesTheSameBytes(t *testing.T) {
	source, err := os.ReadFile("testdata/everything.script")
	require.NoError(t, err)
	var first, second, other bytes.Buffer
	for seed, out := range map[string][]*bytes.Buffer{"": {&first, &second}, "seed 2\n": {&other}} {
		for _, w := range out {
			s, err := Parse("x", []byte(seed+string(source)))
			require.NoError(t, err)
			require.NoError(t, s.Write(w))
		}
	}
	assert.True(t, bytes.Equal(first.Bytes(), second.Bytes()))
	assert.False(t, bytes.Equal(first.Bytes(), other.Bytes()), "a seed makes other content")
}

func TestMoreThanTheMostEventsAreRefusedWithTheFigure(t *testing.T) {
	for _, tc := range []struct{ name, source, want string }{
		{"in one transfer", "p write 1 1TB in 1KB\n", "1,000,000,000 events, about 140 GB"},
		{"in a loop", "repeat 10000000 times\np write 1 1KB\nend\n", "10,000,000 events, about 1.4 GB"},
		{"in loops without number", strings.Repeat("repeat 2000000000 times\n", 8) + "p write 1 1KB\n" + strings.Repeat("end\n", 8),
			"more events than can be counted"},
		{"in rounds that differ", "for i in 1..6000\np write 1 ${i}KB in 1KB\nend\n", "5,000,380 events, about 700 MB"},
		{"of containers alone", "for i in 1..6000000\ncontainer c$i\nend\np write 1 1\n", "6,000,001 events, about 840 MB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("x.script", []byte(base+tc.source))
			require.EqualError(t, err, "x.script:1:1: the script writes "+tc.want+", and 5,000,000 are the most: repeat less often, or move more at a time")
		})
	}
}

func TestAFailingStreamEndsThePlay(t *testing.T) {
	s, err := Parse("x.script", []byte(base+"repeat 1000000 times\np write 1 1KB\nend\n"))
	require.NoError(t, err)
	require.ErrorContains(t, s.Write(&limited{left: 300_000}), "write the capture of x.script: disk full")
}

type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

// Rounds that end early must leave nothing behind: each is a coroutine.
func TestAnErrorInTheMiddleEndsAllRounds(t *testing.T) {
	s, err := Parse("x.script", []byte(base+"for i in 1..50 every 1ms\np write 1 1KB\n+1h p write 1 1KB\nend\n"))
	require.NoError(t, err)
	require.NoError(t, s.Write(io.Discard))
	s, err = Parse("x.script", []byte(base+"for i in 1..50 every 1ms\np write 1 1KB\n+1h p close /none\nend\n"))
	require.NoError(t, err)
	require.EqualError(t, s.Write(io.Discard), "x.script:7:5: /none is not open: the process has nothing open")
}

func TestTheShippedScriptsAreWritten(t *testing.T) {
	files, err := filepath.Glob("../../scripts/*" + Extension)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		s, err := Load(f)
		require.NoError(t, err)
		require.NoError(t, s.Write(io.Discard), f)
		assert.True(t, Is(f))
	}
}

func TestTheExampleOfTheDocumentationIsWritten(t *testing.T) {
	text, err := os.ReadFile("../../scripts/README.md")
	require.NoError(t, err)
	blocks := strings.Split(string(text), "```")
	require.Greater(t, len(blocks), 3)
	require.NotEmpty(t, write(t, blocks[3]))
}

func FuzzParse(f *testing.F) {
	source, err := os.ReadFile("testdata/everything.script")
	require.NoError(f, err)
	f.Add(string(source))
	f.Add(base + "for i in 1..3 every 1s\np write 1 ${i:02}KB \"x\\x00\"\nend\n")
	f.Add(base + "together\nlost 30% ratio 2\np pipe x\nend\nand\nat 1h q exit\nend\n")
	f.Fuzz(func(t *testing.T, source string) {
		s, err := Parse("x.script", []byte(source))
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				require.True(t, strings.HasPrefix(line, "x.script:"), "every error has its place: %s", line)
			}
			return
		}
		if s.Events() > 2000 || len(s.before) > 100 {
			return
		}
		var buf bytes.Buffer
		if err := s.Write(&buf); err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "x.script:"), "every error has its place: %s", err)
			return
		}
		require.LessOrEqual(t, uint64(len(decode(buf.Bytes(), s.begin))), s.Events())
	})
}

// go test -run=- -bench=Write ./e2e/internal/script | tee new && benchstat old new
func BenchmarkWrite(b *testing.B) {
	s, err := Parse("x.script", []byte("for i in 1..50 every 1ms\ncontainer c$i\nstart p$i in c$i runs /p\n"+
		"p$i copy 128MB from /a to /b\nend\n"))
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, s.Write(io.Discard))
	}
	b.ReportMetric(float64(s.Events())*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
