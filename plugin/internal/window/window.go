// Package window counts over sliding windows of event time, from seconds to a day, in constant memory.
//
// A Counter keeps four rings of buckets. New values go to the finest ring; what falls out of a ring goes to the next,
// whose buckets are wider. So the rings cover disjoint stretches of the past, each about eight times as long as the one
// before, and a value is added in constant time.
package window

import "time"

const (
	numBuckets = 64
	numLevels  = 4

	// Max is the longest window a Counter can answer.
	Max = 24 * time.Hour
)

// widths are the bucket widths of the rings in ns: the rings reach 128 s, 17 min, 2.8 h and 28 h back. A window's far
// edge lies in a bucket that is at most an eighth of the window for windows of a minute or more.
var widths = [numLevels]uint64{2e9, 16e9, 160e9, 1600e9}

// Counter sums what was added in a sliding window. The zero value is empty and ready. It has a single owner.
type Counter struct {
	rings [numLevels]ring
}

// ring holds the buckets numbered newest-numBuckets+1 to newest; bucket b covers [b*width, (b+1)*width).
type ring struct {
	newest uint64
	sums   [numBuckets]uint64
}

// Add counts n at ts (ns since the epoch). A ts older than the newest one seen is counted where it belongs, or not at
// all when it is more than a day old.
func (c *Counter) Add(ts, n uint64) {
	c.advance(ts)
	if sum := c.at(ts); sum != nil {
		*sum += n
	}
}

// Move takes one counted at from and counts it at to instead: how a set of distinct things is counted by the time each
// was last seen.
func (c *Counter) Move(from, to uint64) {
	c.advance(to)
	c.Remove(from)
	c.Add(to, 1)
}

// Remove takes back one that was counted at ts, as far as that is still there.
func (c *Counter) Remove(ts uint64) {
	if sum := c.at(ts); sum != nil && *sum > 0 {
		*sum--
	}
}

// Sum returns what was added in the window of length w that ends at now. It counts the bucket that the far edge lies in
// whole, so it covers w and at most one bucket more.
func (c *Counter) Sum(now uint64, w time.Duration) uint64 {
	c.advance(now)
	edge := uint64(0)
	if w := uint64(w); w < now {
		edge = now - w
	}
	var total uint64
	for i := range c.rings {
		r := &c.rings[i]
		for b := r.newest; b+numBuckets > r.newest && (b+1)*widths[i] > edge; b-- {
			total += r.sums[b%numBuckets]
			if b == 0 {
				break
			}
		}
	}
	return total
}

// advance makes ts part of the finest ring and passes on what falls out.
func (c *Counter) advance(ts uint64) { c.advanceRing(0, ts) }

func (c *Counter) advanceRing(level int, ts uint64) {
	r := &c.rings[level]
	b := ts / widths[level]
	if b <= r.newest {
		return
	}
	first := r.newest + 1 // the first bucket that is new; its slot holds the oldest
	if b-r.newest > numBuckets {
		first = b - numBuckets + 1
	}
	old := r.newest
	r.newest = b
	for slot := range min(b-old, numBuckets) {
		n := &r.sums[(first+slot)%numBuckets]
		if *n == 0 {
			continue
		}
		if level+1 < numLevels {
			c.pass(level, old, (first+slot)%numBuckets, *n)
		}
		*n = 0
	}
}

// pass adds n, counted in a slot of a ring whose newest bucket was old, to the next ring.
func (c *Counter) pass(level int, old, slot, n uint64) {
	b := old - (old-slot)%numBuckets // the bucket that the slot held: the only one up to old with that remainder
	ts := b * widths[level]
	c.advanceRing(level+1, ts)
	next := &c.rings[level+1]
	if nb := ts / widths[level+1]; nb+numBuckets > next.newest {
		next.sums[nb%numBuckets] += n
	}
}

// at returns the bucket that holds ts, nil when ts is out of reach.
func (c *Counter) at(ts uint64) *uint64 {
	for i := range c.rings {
		r := &c.rings[i]
		if b := ts / widths[i]; b+numBuckets > r.newest {
			// A ring above the finest may not have come this far: nothing has fallen into it yet.
			if b > r.newest {
				c.advanceRing(i, ts)
			}
			return &r.sums[b%numBuckets]
		}
	}
	return nil
}
