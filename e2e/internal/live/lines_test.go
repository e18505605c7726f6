package live

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func reading(r io.Reader) Lines {
	return Lines{Name: "stdin", Open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}
}

func TestLinesAreReadToTheEnd(t *testing.T) {
	r := start(t, reading(strings.NewReader(staged+"\n\n"+egress))) // the last line need not end
	first := r.next().Alert
	assert.Equal(t, "Staged", first.Rule)
	assert.Equal(t, json.Number("18446744073709551615"), first.OutputFields["staging.bytes"], "2^64-1")
	second := r.next().Alert
	assert.Equal(t, "Egress", second.Rule)
	assert.Equal(t, map[string]any{"fd.name": nil}, second.OutputFields)
	require.NoError(t, r.end())
}

func TestLinesThatAreNoAlertsAreNamedAndPassedOver(t *testing.T) {
	text := "Fri Jul 31 21:06:20 2026: Falco initialized\n" + staged + "\n\n" + `{"rule":` + "\n" + `{"a":1}` + "\n" + staged[1:] + "\n" + `  {"a" 1}` + "\n" + egress + "\n"
	r := start(t, reading(strings.NewReader(text)))
	require.EqualError(t, r.next().Bad, "stdin:1: not an alert in JSON: set json_output: true in Falco's configuration")
	assert.Equal(t, "Staged", r.rule())
	require.EqualError(t, r.next().Bad, "stdin:4:8: not an alert: unexpected end of JSON input")
	require.EqualError(t, r.next().Bad, "stdin:5: not an alert: it names no rule")
	require.EqualError(t, r.next().Bad, "stdin:6: not an alert in JSON: set json_output: true in Falco's configuration")
	require.EqualError(t, r.next().Bad, "stdin:7:8: not an alert: invalid character '1' after object key")
	assert.Equal(t, "Egress", r.rule())
	require.NoError(t, r.end())
}

func TestALineMayBeOfAnyLength(t *testing.T) {
	const length = 5 << 20
	long := strings.Replace(staged, `"o"`, `"`+strings.Repeat("o", length)+`"`, 1)
	r := start(t, reading(iotest.HalfReader(strings.NewReader(long+"\n"+egress+"\n"))))
	assert.Len(t, r.next().Alert.Output, length)
	assert.Equal(t, "Egress", r.rule())
}

func TestLinesThatCannotBeReadAreAnError(t *testing.T) {
	missing := Lines{Name: "a", Open: func() (io.ReadCloser, error) { return nil, fs.ErrNotExist }}
	require.ErrorIs(t, start(t, missing).end(), fs.ErrNotExist)

	r := start(t, reading(io.MultiReader(strings.NewReader(staged+"\n"), iotest.ErrReader(errors.New("torn")))))
	assert.Equal(t, "Staged", r.rule())
	require.EqualError(t, r.end(), "read alerts from stdin: torn")
}

func TestAPipeThatNobodyWritesToDoesNotKeepTheSource(t *testing.T) {
	pipe, _ := io.Pipe()
	r := start(t, reading(pipe))
	time.Sleep(10 * time.Millisecond) // it reads
	r.stop()
	require.NoError(t, r.end())
}
