package attribute

import (
	"fmt"
	"hash/maphash"

	"github.com/elastic/go-freelru"
)

// latest keeps what was used last, up to a bound. Its memory is that of the bound from the first addition on, and none before: an
// instance of the plugin that sees audit events alone has no threads and files.
type latest[K comparable, V any] struct {
	capacity uint32
	seed     maphash.Seed
	lru      *freelru.LRU[K, V]
}

func newLatest[K comparable, V any](seed maphash.Seed, capacity int) (latest[K, V], error) {
	if capacity < 1 {
		return latest[K, V]{}, fmt.Errorf("keep %d of the latest: at least 1 is needed", capacity)
	}
	return latest[K, V]{capacity: uint32(capacity), seed: seed}, nil
}

// Add keeps a value, and reports whether another one went for it.
func (l *latest[K, V]) Add(key K, value V) (evicted bool) {
	if l.lru == nil {
		l.lru, _ = freelru.New[K, V](l.capacity, l.hash) // which refuses a capacity of 0 alone
	}
	return l.lru.Add(key, value)
}

func (l *latest[K, V]) hash(key K) uint32 { return uint32(maphash.Comparable(l.seed, key)) }

func (l *latest[K, V]) Get(key K) (value V, ok bool) {
	if l.lru == nil {
		return value, false
	}
	return l.lru.Get(key)
}

func (l *latest[K, V]) Remove(key K) {
	if l.lru != nil {
		l.lru.Remove(key)
	}
}
