package engine

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var questions = []Query{
	{Filter: "evt.type = execve and proc.name in (tar, curl)", Fields: []string{"proc.name", "proc.pid", "fd.name"}},
	{Filter: "evt.type = close and proc.name = tar", Fields: []string{"fd.name"}},
}

// ask collects the samples of each query.
func ask(t *testing.T, eng Engine, capture string) [][]Sample {
	t.Helper()
	var mu sync.Mutex
	answers := make([][]Sample, len(questions))
	err := eng.Ask(context.Background(), Request{Capture: capture}, questions, func(i int, s Sample) error {
		mu.Lock()
		defer mu.Unlock()
		for field := range s.Values {
			if field != "proc.name" && field != "proc.pid" && field != "fd.name" {
				delete(s.Values, field)
			}
		}
		answers[i] = append(answers[i], s)
		return nil
	})
	require.NoError(t, err)
	return answers
}

func TestSysdigAnswersQueriesWithFieldsInEventOrder(t *testing.T) {
	answers := ask(t, realSysdig(t), staging)
	var programs []any
	for _, s := range answers[0] {
		programs = append(programs, s.Values["proc.name"])
		assert.IsType(t, json.Number(""), s.Values["proc.pid"])
		assert.Nil(t, s.Values["fd.name"], "a program that starts has no descriptor")
		assert.Regexp(t, "^[0-9a-f]{12}$", s.Container)
	}
	assert.Equal(t, []any{"tar", "curl"}, programs)
	require.NotEmpty(t, answers[1])
	last := uint64(0)
	for _, s := range answers[1] {
		assert.Greater(t, s.Event, last)
		last = s.Event
		assert.False(t, s.Time.IsZero())
	}
}

func TestSysdigAndFalcoAnswerQueriesAlike(t *testing.T) {
	falco := realFalco(t, "none")
	assert.Equal(t, ask(t, falco, staging), ask(t, realSysdig(t), staging))
}

func TestQueryEndsWithTheErrorOfItsReader(t *testing.T) {
	full := errors.New("enough of that")
	err := realSysdig(t).Ask(context.Background(), Request{Capture: staging}, questions, func(int, Sample) error { return full })
	assert.ErrorIs(t, err, full)
}
