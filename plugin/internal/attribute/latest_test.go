package attribute

import (
	"hash/maphash"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLatestTakesMemoryWithItsFirstValue(t *testing.T) {
	l, err := newLatest[int, string](maphash.MakeSeed(), 2)
	require.NoError(t, err)
	l.Remove(1)
	_, ok := l.Get(1)
	assert.False(t, ok)
	assert.Nil(t, l.lru)

	assert.False(t, l.Add(1, "a"))
	assert.False(t, l.Add(2, "b"))
	_, _ = l.Get(1)
	assert.True(t, l.Add(3, "c"), "one too many")
	_, ok = l.Get(2)
	assert.False(t, ok, "the one that was not used for longest")
	value, ok := l.Get(1)
	assert.True(t, ok)
	assert.Equal(t, "a", value)

	_, err = newLatest[int, string](maphash.MakeSeed(), 0)
	assert.EqualError(t, err, "keep 0 of the latest: at least 1 is needed")
}

// BenchmarkNew is the memory of an instance that has seen nothing.
//
//	go test -bench=New -run=- ./plugin/internal/attribute | benchstat -
func BenchmarkNew(b *testing.B) {
	cfg := Config{MaxThreads: 1 << 16, MaxFiles: 1 << 16, MaxContainers: 1 << 12}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(cfg, nil); err != nil {
			b.Fatal(err)
		}
	}
}
