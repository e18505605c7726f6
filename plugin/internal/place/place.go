// Package place counts bytes by where they came from or went, for few places at a time: what a person wants to read of a
// container that touched thousands.
package place

import (
	"cmp"
	"slices"
	"strings"
)

// maxPlaces is how many places are told apart.
const maxPlaces = 8

// Count is one place and its bytes.
type Count[K comparable] struct {
	Place    K
	NumBytes uint64
}

// Few counts by places that have nothing to do with each other, such as peers. Of too many the smallest are counted together
// as the rest. The zero value is empty and ready.
type Few[K comparable] struct {
	counts []Count[K]
	rest   uint64
	last   int // index of the one that was added to last
}

// Add counts n bytes of a place.
func (f *Few[K]) Add(place K, n uint64) {
	if f.last >= len(f.counts) || f.counts[f.last].Place != place {
		f.last = f.slot(place)
	}
	f.counts[f.last].NumBytes += n
}

func (f *Few[K]) slot(place K) int {
	if i := slices.IndexFunc(f.counts, func(c Count[K]) bool { return c.Place == place }); i >= 0 {
		return i
	}
	if len(f.counts) < maxPlaces {
		f.counts = append(f.counts, Count[K]{Place: place})
		return len(f.counts) - 1
	}
	least := 0
	for i := range f.counts {
		if f.counts[i].NumBytes < f.counts[least].NumBytes {
			least = i
		}
	}
	f.rest += f.counts[least].NumBytes
	f.counts[least] = Count[K]{Place: place}
	return least
}

// All returns the places, the one with the most bytes first, and the bytes of the rest.
func (f *Few[K]) All() ([]Count[K], uint64) { return byBytes(f.counts), f.rest }

// MoveTo moves n bytes to another count, of each place in proportion to its bytes; all of them where there are no more.
func (f *Few[K]) MoveTo(to *Few[K], n uint64) { f.counts = move(f.counts, n, to.Add) }

// AddTo adds all bytes to another count.
func (f *Few[K]) AddTo(to *Few[K]) {
	for _, c := range f.counts {
		to.Add(c.Place, c.NumBytes)
	}
	to.rest += f.rest
}

// Dirs counts by directory. Of too many the deepest are counted under the directory that they are in, so the bytes stay
// right and the places become coarser. The zero value is empty and ready.
type Dirs struct {
	counts []Count[string]
	whole  []bool // of the same index: all that lies below is counted here, too
	last   int    // index of the one that was added to last
}

// Add counts n bytes of a directory, given by its absolute path.
func (d *Dirs) Add(path string, n uint64) {
	if d.last >= len(d.counts) || d.counts[d.last].Place != path {
		d.last = d.slot(path)
	}
	d.counts[d.last].NumBytes += n
}

func (d *Dirs) slot(path string) int {
	for {
		for i := range d.counts {
			if at := d.counts[i].Place; at == path || d.whole[i] && below(path, at) {
				return i
			}
		}
		if len(d.counts) < maxPlaces {
			d.counts, d.whole = append(d.counts, Count[string]{Place: path}), append(d.whole, false)
			return len(d.counts) - 1
		}
		d.coarsen()
	}
}

// coarsen takes the deepest directory and all beside and below it together.
func (d *Dirs) coarsen() {
	deepest := 0
	for i := range d.counts {
		if depth(d.counts[i].Place) > depth(d.counts[deepest].Place) {
			deepest = i
		}
	}
	together := Count[string]{Place: parent(d.counts[deepest].Place)}
	kept := 0
	for i, c := range d.counts {
		if below(c.Place, together.Place) {
			together.NumBytes += c.NumBytes
			continue
		}
		d.counts[kept], d.whole[kept] = c, d.whole[i]
		kept++
	}
	d.counts, d.whole = append(d.counts[:kept], together), append(d.whole[:kept], true)
}

// All returns the directories, the one with the most bytes first.
func (d *Dirs) All() []Count[string] { return byBytes(d.counts) }

// MoveTo moves n bytes to another count, of each directory in proportion to its bytes; all of them where there are no more.
func (d *Dirs) MoveTo(to *Dirs, n uint64) {
	if d.counts = move(d.counts, n, to.Add); len(d.counts) == 0 {
		d.whole = d.whole[:0]
	}
}

// AddTo adds all bytes to another count.
func (d *Dirs) AddTo(to *Dirs) {
	for _, c := range d.counts {
		to.Add(c.Place, c.NumBytes)
	}
}

// Clone returns a copy.
func (d *Dirs) Clone() Dirs {
	return Dirs{counts: slices.Clone(d.counts), whole: slices.Clone(d.whole), last: d.last}
}

// move takes n bytes from counts, calls add with them and returns what is left: no places where no bytes are.
func move[K comparable](counts []Count[K], n uint64, add func(K, uint64)) []Count[K] {
	var total uint64
	for _, c := range counts {
		total += c.NumBytes
	}
	if n >= total {
		for _, c := range counts {
			add(c.Place, c.NumBytes)
		}
		return counts[:0]
	}
	for i := range counts {
		part := uint64(float64(n) * (float64(counts[i].NumBytes) / float64(total)))
		if part = min(part, counts[i].NumBytes); part > 0 {
			add(counts[i].Place, part)
			counts[i].NumBytes -= part
		}
	}
	return counts
}

func byBytes[K comparable](counts []Count[K]) []Count[K] {
	sorted := slices.Clone(counts)
	slices.SortStableFunc(sorted, func(a, b Count[K]) int { return cmp.Compare(b.NumBytes, a.NumBytes) })
	return sorted
}

// depth is how many directories lie above a path; the root has none.
func depth(path string) int {
	if path == "/" {
		return 0
	}
	return strings.Count(path, "/")
}

// parent is the directory that a path is in; the root is its own.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

func below(path, dir string) bool {
	return dir == "/" || strings.HasPrefix(path, dir) && (len(path) == len(dir) || path[len(dir)] == '/')
}

// maxShown is the longest path that is shown whole.
const maxShown = 80

// Shorten takes out the middle of a long path, where there is least to tell it by.
func Shorten(path string) string {
	if len(path) <= maxShown {
		return path
	}
	const end = (maxShown - len("...")) / 2
	return path[:end] + "..." + path[len(path)-end:]
}
