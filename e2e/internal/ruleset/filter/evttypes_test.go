package filter

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTypesOf(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string
	}{
		{"a check of the type names it", "evt.type = open", "open"},
		{"a list names several", "evt.type in (openat, open)", "open, openat"},
		{"an empty list names none", "evt.type in ()", "none"},
		{"syscall.type counts too", "syscall.type == open", "open"},
		{"any other check leaves all", "proc.name = sh", "all"},
		{"and keeps what both match", "evt.type in (open, read) and proc.name = sh and evt.type != read", "open"},
		{"or keeps what either matches", "evt.type = open or evt.type = read", "open, read"},
		{"or with an unrestricted side leaves all", "evt.type = open or proc.name = sh", "all"},
		{"types that exclude each other leave none", "evt.type = open and evt.type = close", "none"},
		{"not leaves all others", "not evt.type = open", "all but open"},
		{"two nots cancel out", "not (not evt.type = open)", "open"},
		{"unequal negated is equal", "not evt.type != open", "open"},
		{"not over or excludes both", "not (evt.type = open or evt.type = read)", "all but open, read"},
		{"not over and excludes neither", "not (evt.type = open and evt.type = read)", "all"},
		{"not leaves a check of another field alone", "evt.type = open and not proc.name = sh", "open"},
		{"other operators say nothing", "evt.type contains open", "all"},
		{"exists says nothing", "evt.type exists", "all"},
		{"the type always exists", "not evt.type exists", "none"},
		{"an argument makes it another field", "evt.type[1] = open", "all"},
		{"excluded types are taken from named ones", "evt.type in (open, read, write) and not evt.type in (read, x)", "open, write"},
		{"unions of excluded types keep what both exclude", "evt.type != open or not evt.type in (open, read)", "all but open"},
		{"event number zero never comes", "evt.num = 0", "none"},
		{"its negation always holds", "evt.type = open and not evt.num = 0", "open"},
		{"a rule that never holds matches none", "evt.type in (read, write) and evt.num = 0", "none"},
		{"event numbers start at one", "evt.num < 1 or evt.num <= 0 or evt.num in (0, 0x0)", "none"},
		{"and every number is at least one", "evt.num >= 1 and evt.num > 0 and evt.num != 0", "all"},
		{"other event numbers may come", "evt.num = 1", "all"},
		{"a macro may match anything", "m", "all"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Parse(tt.text)
			require.NoError(t, err)
			types, err := TypesOf(e)
			require.NoError(t, err)
			assert.Equal(t, tt.want, types.String())
		})
	}
}

func TestTypesOfRejects(t *testing.T) {
	for _, text := range []string{
		"tolower(evt.type) = open", "not tolower(evt.type) exists", "evt.type = val(proc.name)", "evt.type in tolower(proc.name)",
	} {
		e, err := Parse(text)
		require.NoError(t, err)
		_, err = TypesOf(e)
		assert.Error(t, err, text)
	}
}

func TestEventTypesAnswers(t *testing.T) {
	e, err := Parse("not evt.type in (b, a)")
	require.NoError(t, err)
	types, err := TypesOf(e)
	require.NoError(t, err)
	names, except := types.Names()
	assert.Equal(t, []string{"a", "b"}, names)
	assert.True(t, except)
	assert.True(t, types.IsBroad())
	assert.False(t, types.Contains("a"))
	assert.True(t, types.Contains("c"))
	assert.False(t, types.All())
	assert.True(t, EventTypes{}.Empty())
	assert.False(t, EventTypes{}.Contains("a"))
	assert.True(t, AllEventTypes().Contains("a"))
}
