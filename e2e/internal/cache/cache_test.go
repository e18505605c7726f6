package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func open(t *testing.T, maxBytes int64) *Dir {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "a", "b"), maxBytes)
	require.NoError(t, err)
	return d
}

func TestWhatIsKeptIsGiven(t *testing.T) {
	d := open(t, 1<<20)
	_, ok := d.Get("k")
	assert.False(t, ok)
	require.NoError(t, d.Put("k", []byte("one")))
	require.NoError(t, d.Put("k", []byte("two")))
	require.NoError(t, d.Put("empty", nil))
	got, ok := d.Get("k")
	assert.True(t, ok)
	assert.Equal(t, "two", string(got))
	got, ok = d.Get("empty")
	assert.True(t, ok)
	assert.Empty(t, got)
}

func TestACorruptEntryIsNoneAndIsWrittenAnew(t *testing.T) {
	d := open(t, 1<<20)
	require.NoError(t, d.Put("k", []byte("a result")))
	whole, err := os.ReadFile(d.file("k"))
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"cut":     whole[:len(whole)-1],
		"empty":   nil,
		"no sum":  whole[:10],
		"flipped": append(append([]byte{}, whole[:len(whole)-1]...), whole[len(whole)-1]^1),
	} {
		require.NoError(t, os.WriteFile(d.file("k"), content, 0o600))
		_, ok := d.Get("k")
		assert.False(t, ok, name)
		require.NoError(t, d.Put("k", []byte("a result")))
		got, ok := d.Get("k")
		assert.True(t, ok, name)
		assert.Equal(t, "a result", string(got), name)
	}
}

func TestWhatWasUsedLeastRecentlyGoes(t *testing.T) {
	const size = 32 + 100
	d := open(t, 2*size)
	old := time.Now().Add(-time.Hour)
	for i, key := range []string{"a", "b", "c"} {
		require.NoError(t, d.Put(key, make([]byte, 100)))
		at := old.Add(time.Duration(i) * time.Minute)
		require.NoError(t, os.Chtimes(d.file(key), at, at))
	}
	_, ok := d.Get("a") // it is the newest now
	require.True(t, ok)
	require.NoError(t, d.Trim())
	for key, want := range map[string]bool{"a": true, "b": false, "c": true} {
		_, ok := d.Get(key)
		assert.Equal(t, want, ok, key)
	}
}

func TestWhatAKilledProcessLeftGoesAndWhatIsBeingWrittenStays(t *testing.T) {
	d := open(t, 1<<20)
	left, busy := filepath.Join(d.path, "1.tmp"), filepath.Join(d.path, "2.tmp")
	require.NoError(t, os.WriteFile(left, nil, 0o600))
	require.NoError(t, os.WriteFile(busy, nil, 0o600))
	at := time.Now().Add(-2 * abandoned)
	require.NoError(t, os.Chtimes(left, at, at))
	require.NoError(t, d.Trim())
	assert.NoFileExists(t, left)
	assert.FileExists(t, busy)
}

func TestManyWritersAndReadersNeverSeeHalfAnEntry(t *testing.T) {
	d := open(t, 4<<10)
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := range 50 {
				key := strconv.Itoa(i % 5)
				assert.NoError(t, d.Put(key, []byte(fmt.Sprintf("%s %0500d", key, w))))
				if got, ok := d.Get(key); ok {
					assert.Regexp(t, "^"+key+" 0", string(got))
				}
				assert.NoError(t, d.Trim())
			}
		})
	}
	group.Wait()
}

func TestAFolderThatCannotBeIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(filepath.Join(file, "cache"), 1)
	assert.ErrorContains(t, err, "open the cache")
}
