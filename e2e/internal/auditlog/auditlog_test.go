package auditlog

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	event = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","stageTimestamp":"2026-11-23T17:02:23.901166Z"}`
	inner = `{"stageTimestamp":"2026-11-23T17:02:24Z"}` // as in a list that a webhook gets
)

// read returns the events of a log and the errors about its lines.
func read(t *testing.T, log string) (events []Event, problems []string) {
	t.Helper()
	r, err := NewReader(strings.NewReader(log))
	require.NoError(t, err)
	for {
		e, err := r.Next()
		var line *LineError
		switch {
		case errors.Is(err, io.EOF):
			return events, problems
		case errors.As(err, &line):
			problems = append(problems, err.Error())
		default:
			require.NoError(t, err)
			events = append(events, e)
		}
	}
}

func TestEveryFormOfALogGivesItsEvents(t *testing.T) {
	at := time.Date(2026, 11, 23, 17, 2, 23, 901166000, time.UTC)
	one := Event{Line: 1, Time: at, JSON: []byte(event)}
	for _, tc := range []struct {
		name, log string
		want      []Event
	}{
		{"a line an event", event + "\n" + event + "\n", []Event{one, {2, at, []byte(event)}}},
		{"no end of the last line", event, []Event{one}},
		{"blank lines and carriage returns", "\n \t\r\n" + event + "\r\n", []Event{{3, at, []byte(event)}}},
		{"a list, whose items do not say what they are", `{"kind":"EventList","items":[` + inner + "," + inner + "]}\n",
			[]Event{{1, at.Truncate(time.Second).Add(time.Second), []byte(inner)}, {1, at.Truncate(time.Second).Add(time.Second), []byte(inner)}}},
		{"an array of events and lists", "[" + event + `,{"kind":"EventList","items":[` + event + "]}]", []Event{one, one}},
		{"another version", strings.Replace(event, "io/v1", "io/v1beta1", 1), []Event{{1, at, []byte(strings.Replace(event, "io/v1", "io/v1beta1", 1))}}},
		{"another time zone", strings.Replace(event, "17:02:23.901166Z", "12:02:23.901166-05:00", 1),
			[]Event{{1, at, []byte(strings.Replace(event, "17:02:23.901166Z", "12:02:23.901166-05:00", 1))}}},
		{"an empty list and an empty array", `{"kind":"EventList","items":[]}` + "\n[]\n", nil},
		{"nothing", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, problems := read(t, tc.log)
			assert.Equal(t, tc.want, got)
			assert.Empty(t, problems)
		})
	}
}

func TestWhatIsNoEventIsToldWithItsLineAndPassedOver(t *testing.T) {
	deep := func(levels int) string { // the event itself is one
		return strings.TrimSuffix(event, "}") + `,"requestObject":` + strings.Repeat(`{"a":`, levels-1) + `"[{\"[{"` + strings.Repeat("}", levels-1) + "}"
	}
	for _, tc := range []struct{ name, line, want string }{
		{"text", "not JSON", "line 2: no JSON: invalid character 'o' in literal null (expecting 'u'); write each event or list on one line"},
		{"the first line of an event on several", "{", "line 2: no JSON: unexpected end of JSON input; write"},
		{"half an array", "[" + event, "line 2: no JSON: unexpected end of JSON input"},
		{"another kind", `{"kind":"Pod"}`, `line 2: no audit event but kind "Pod": want an Event or EventList of audit.k8s.io/v1`},
		{"a kind that is no text", `{"kind":7}`, "line 2: no audit event: want"},
		{"a number", "42", "line 2: no audit event: want"},
		{"null", "null", `line 2: no audit event but kind ""`},
		{"an event of the core API", `{"kind":"Event","apiVersion":"v1"}`, "line 2: an event without a stageTimestamp"},
		{"a stageTimestamp of null", `{"kind":"Event","stageTimestamp":null}`, "line 2: an event without a stageTimestamp"},
		{"a stageTimestamp that is a number", `{"kind":"Event","stageTimestamp":7}`, "line 2: an event without a stageTimestamp"},
		{"a stageTimestamp that is no time", `{"kind":"Event","stageTimestamp":"now"}`, `line 2: an event whose stageTimestamp "now" is no time`},
		{"an item of a list", `{"kind":"EventList","items":[7]}`, "line 2: an event without a stageTimestamp"},
		{"a deep one", deep(maxDepth + 1), "line 2: an event of 298 levels, and k8saudit parses 297"},
		{"a line of another program", strings.Repeat("x", MaxLine+1), "line 2: longer than 67108864 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, problems := read(t, event+"\n"+tc.line+"\n"+event+"\n")
			assert.Len(t, got, 2, "those around it")
			require.Len(t, problems, 1)
			assert.Contains(t, problems[0], tc.want)
		})
	}
	got, problems := read(t, deep(maxDepth))
	assert.Len(t, got, 1)
	assert.Empty(t, problems)
	got, problems = read(t, strings.Repeat("x", MaxLine+1))
	assert.Empty(t, got)
	assert.Len(t, problems, 1, "also as the last line")
}

func TestCompressedLogIsReadToWhereItIsCutOff(t *testing.T) {
	whole := zipped(t, strings.Repeat(event+"\n", 3))
	r, err := NewReader(bytes.NewReader(whole))
	require.NoError(t, err)
	for range 3 {
		_, err := r.Next()
		require.NoError(t, err)
	}
	_, err = r.Next()
	require.ErrorIs(t, err, io.EOF)

	r, err = NewReader(bytes.NewReader(whole[:len(whole)-8]))
	require.NoError(t, err)
	for err == nil {
		_, err = r.Next()
	}
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = NewReader(bytes.NewReader(whole[:5]))
	assert.Error(t, err)
}

func zipped(t testing.TB, text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestLogIsToldByItsContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "capture")
	for _, tc := range []struct {
		name    string
		content []byte
		want    bool
	}{
		{"events", []byte(event), true},
		{"a list", []byte(`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[]}`), true},
		{"compressed", zipped(t, event), true},
		{"a damaged start", []byte("\x00\x00\x00ame\":\"x\"}\n" + event), true},
		{"the name late in the file", []byte(strings.Repeat(" ", headSize) + event), false},
		{"other JSON", []byte(`{"kind":"Pod","apiVersion":"v1"}`), false},
		{"a syscall capture that recorded an event", []byte("\n\r\r\n\x1c\x00\x00\x00" + event), false},
		{"nothing", nil, false},
		{"gzip of nothing", []byte{0x1F, 0x8B}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, tc.content, 0o600))
			got, err := Is(path)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "missing"), t.TempDir()} {
		_, err := Is(path)
		assert.Error(t, err)
	}
	got, err := Is("../../captures/privileged-hostpath.scap")
	require.NoError(t, err)
	assert.False(t, got)
}

func FuzzReader(f *testing.F) {
	damaged, err := os.ReadFile("../../captures/audit/damaged.jsonl")
	require.NoError(f, err)
	f.Add(damaged)
	f.Add([]byte(event + "\n[" + event + "]"))
	f.Add(zipped(f, event))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		last := 0
		for {
			e, err := r.Next()
			var line *LineError
			if errors.As(err, &line) {
				require.GreaterOrEqual(t, line.Line, last)
				last = line.Line
				continue
			}
			if err != nil {
				return
			}
			require.GreaterOrEqual(t, e.Line, last)
			last = e.Line
			require.True(t, json.Valid(e.JSON), "%q", e.JSON)
			require.NotContains(t, string(e.JSON), "\n", "it goes on one line")
			require.LessOrEqual(t, depth(e.JSON), maxDepth)
		}
	})
}
