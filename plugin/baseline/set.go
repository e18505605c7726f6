package baseline

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// set remembers the values of one dimension.
//
// Up to maxListed values are listed. More are kept as 64-bit hashes (XXH64), which is approximate: values can no longer
// be named, and a value is taken for a known one by accident once in 10^15, though one could be made for that. More than
// maxHashed make the set full: everything counts as known, for a workload that meets ever new values cannot be surprised
// by one. The form is a function of the values alone, so the union of sets is commutative, associative and idempotent.
type set struct {
	form   form
	values []string // of a listed set, sorted
	hashes []uint64 // of a hashed set, sorted
	trial  []candidate
}

type form uint8

const (
	listed form = iota
	hashed
	full
)

// candidate is a value that was first seen after the learning period: new until it has been seen for a while.
type candidate struct {
	value       string
	first, last minute
}

// These are part of the file format: sets of other sizes do not merge in any order.
const (
	maxListed = 128
	maxHashed = 4096
	maxTrial  = 32
	maxValue  = 256 // bytes
)

// canonical shortens a value that is too long to keep.
func canonical(v string) string {
	if len(v) <= maxValue {
		return v
	}
	const tail = 17 // a dot and a hash
	end := maxValue - tail
	for !utf8.RuneStart(v[end]) {
		end--
	}
	return fmt.Sprintf("%s~%016x", v[:end], xxhash.Sum64String(v))
}

// has reports whether v is known; v is canonical, as in all methods.
func (s *set) has(v string) bool {
	switch s.form {
	case listed:
		_, found := slices.BinarySearch(s.values, v)
		return found
	case hashed:
		_, found := slices.BinarySearch(s.hashes, xxhash.Sum64String(v))
		return found
	default:
		return true
	}
}

// add makes v known.
func (s *set) add(v string) {
	s.forget(v)
	switch s.form {
	case listed:
		i, found := slices.BinarySearch(s.values, v)
		if found {
			return
		}
		s.values = slices.Insert(s.values, i, strings.Clone(v))
	case hashed:
		h := xxhash.Sum64String(v)
		if i, found := slices.BinarySearch(s.hashes, h); !found {
			s.hashes = slices.Insert(s.hashes, i, h)
		}
	}
	s.settle()
}

// settle changes the form of a set that has become too large for it.
func (s *set) settle() {
	if s.form == listed && len(s.values) > maxListed {
		s.hash()
	}
	if s.form == hashed && len(s.hashes) > maxHashed {
		*s = set{form: full}
	}
}

func (s *set) hash() {
	hashes := make([]uint64, len(s.values))
	for i, v := range s.values {
		hashes[i] = xxhash.Sum64String(v)
	}
	slices.Sort(hashes)
	s.form, s.hashes, s.values = hashed, slices.Compact(hashes), nil
}

// try notes that v was seen in a minute after the learning period. It becomes known when it has been seen over the
// probation.
func (s *set) try(v string, at, probation minute) {
	if s.has(v) {
		return
	}
	i, found := s.find(v)
	if !found {
		if len(s.trial) >= maxTrial {
			s.dropStale()
			i, _ = s.find(v)
		}
		s.trial = slices.Insert(s.trial, i, candidate{strings.Clone(v), at, at})
	}
	c := &s.trial[i]
	c.first, c.last = min(c.first, at), max(c.last, at)
	if c.last-c.first >= probation {
		s.add(c.value)
	}
}

func (s *set) find(v string) (int, bool) {
	return slices.BinarySearchFunc(s.trial, v, func(c candidate, v string) int { return strings.Compare(c.value, v) })
}

func (s *set) forget(v string) {
	if i, found := s.find(v); found {
		s.trial = slices.Delete(s.trial, i, i+1)
	}
}

// dropStale drops the candidate that was not seen for longest; of several, the first by name.
func (s *set) dropStale() {
	stale := 0
	for i := range s.trial {
		if s.trial[i].last < s.trial[stale].last {
			stale = i
		}
	}
	s.trial = slices.Delete(s.trial, stale, stale+1)
}

// union adds what o knows.
func (s *set) union(o *set) {
	switch {
	case s.form == full || o.form == full:
		*s = set{form: full}
		return
	case o.form == hashed || s.form == hashed:
		if s.form == listed {
			s.hash()
		}
		s.hashes = append(slices.Clone(s.hashes), o.hashes...)
		for _, v := range o.values {
			s.hashes = append(s.hashes, xxhash.Sum64String(v))
		}
		slices.Sort(s.hashes)
		s.hashes = slices.Compact(s.hashes)
	default:
		s.values = append(slices.Clone(s.values), o.values...)
		slices.Sort(s.values)
		s.values = slices.Compact(s.values)
	}
	s.settle()
	s.unionTrial(o)
}

func (s *set) unionTrial(o *set) {
	if s.form == full {
		return
	}
	trial := slices.DeleteFunc(s.trial, func(c candidate) bool { return s.has(c.value) })
	s.trial = slices.Clone(trial)
	for _, c := range o.trial {
		if s.has(c.value) {
			continue
		}
		if i, found := s.find(c.value); found {
			s.trial[i].first, s.trial[i].last = min(s.trial[i].first, c.first), max(s.trial[i].last, c.last)
		} else {
			s.trial = slices.Insert(s.trial, i, c)
		}
	}
	for len(s.trial) > maxTrial {
		s.dropStale()
	}
}

// accept makes the candidates known.
func (s *set) accept() {
	for len(s.trial) > 0 {
		s.add(s.trial[0].value)
	}
}
