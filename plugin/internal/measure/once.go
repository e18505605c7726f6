package measure

import (
	"cmp"
	"strings"
	"time"
)

// Once reports whether this is the first time within an interval that key is asked of the container; an interval of 0 is the one
// that is configured.
func (a *Account) Once(key string, now uint64, interval time.Duration) bool {
	return a.once.first(key, now, cmp.Or(interval, a.cfg.OnceInterval), maxKeys)
}

// Once is the same for a key of all containers together.
func (r *Registry) Once(key string, now uint64, interval time.Duration) bool {
	return r.once.first(key, now, cmp.Or(interval, r.cfg.OnceInterval), maxSharedKeys)
}

// What is remembered is bounded. Rules ask with a handful of keys of a container, and of all together with some for each workload.
const (
	maxKeys       = 256
	maxSharedKeys = 4096
)

// occasions are the last times that something was the first, in ns since the epoch, by key.
type occasions map[string]uint64

// first reports whether key was not asked within the interval before now.
func (o *occasions) first(key string, now uint64, interval time.Duration, most int) bool {
	last, asked := (*o)[key]
	if asked && now < last+uint64(interval) {
		return false
	}
	if *o == nil {
		*o = occasions{}
	}
	if !asked && len(*o) >= most {
		clear(*o) // an alert too many rather than one too few
	}
	(*o)[strings.Clone(key)] = now
	return true
}
