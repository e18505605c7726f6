package baseline

import "slices"

// coverage remembers which windows were seen, so that each is learned once.
//
// Minutes that the feed has left are kept as runs for the whole workload, whichever containers reported them. The
// minutes that it is at, the latest openMinutes of them, are kept per container, as replicas report theirs one after another.
// When the feed jumps back, as when an older capture is replayed, what was open is closed.
type coverage struct {
	runs []run // sorted, disjoint, not adjacent
	open []reading
	top  minute // of open: the newest
}

// run is the minutes from <= m < to.
type run struct{ from, to minute }

type reading struct {
	at       minute
	instance uint64 // hash of the container's id
}

const (
	openMinutes = 5
	// maxRuns bounds the runs. Of too many the two closest are joined: the minutes between them are then refused, which
	// loses a few windows and counts none twice.
	maxRuns = 64
)

// take reports whether a window is new, and remembers it.
func (c *coverage) take(at minute, instance uint64) bool {
	_, found := slices.BinarySearchFunc(c.runs, at, func(r run, at minute) int {
		switch {
		case at < r.from:
			return 1
		case at >= r.to:
			return -1
		default:
			return 0
		}
	})
	if found || slices.Contains(c.open, reading{at, instance}) {
		return false
	}
	switch {
	case len(c.open) == 0:
		c.top = at
	case at > c.top:
		c.top = at
		c.close(at - min(at, openMinutes-1))
	case at+openMinutes <= c.top:
		c.close(c.top + 1)
		c.top = at
	}
	c.open = append(c.open, reading{at, instance})
	return true
}

// close makes runs of what is open before a minute.
func (c *coverage) close(before minute) {
	kept := c.open[:0]
	for _, r := range c.open {
		if r.at < before {
			c.runs = insert(c.runs, run{r.at, r.at + 1})
		} else {
			kept = append(kept, r)
		}
	}
	c.open = kept
}

// closed returns the runs as they are when everything open is closed.
func (c *coverage) closed() []run {
	runs := slices.Clone(c.runs)
	for _, r := range c.open {
		runs = insert(runs, run{r.at, r.at + 1})
	}
	return runs
}

func insert(runs []run, r run) []run {
	i, _ := slices.BinarySearchFunc(runs, r.from, func(o run, from minute) int { return int(int64(o.from) - int64(from)) })
	// Every run that touches r becomes part of it.
	j := i
	if i > 0 && runs[i-1].to >= r.from {
		i--
		r.from, r.to = runs[i].from, max(r.to, runs[i].to)
	}
	for j < len(runs) && runs[j].from <= r.to {
		r.to = max(r.to, runs[j].to)
		j++
	}
	runs = slices.Replace(runs, i, j, r)
	if len(runs) > maxRuns {
		closest := 1
		for k := 2; k < len(runs); k++ {
			if runs[k].from-runs[k-1].to < runs[closest].from-runs[closest-1].to {
				closest = k
			}
		}
		runs[closest-1].to = runs[closest].to
		runs = slices.Delete(runs, closest, closest+1)
	}
	return runs
}
