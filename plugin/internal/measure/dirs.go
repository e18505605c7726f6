package measure

import "time"

// topDirs keeps the directories with the most bytes, a space-saving sketch (Metwally et al., 2005): a newcomer takes the
// place and the count of the smallest, so no large directory is ever missed.
type topDirs struct {
	dirs []dir
	last int
}

type dir struct {
	path     string
	numBytes uint64
	ts       uint64 // ns since the epoch of the last write
}

const maxDirs = 16

func (d *topDirs) add(path string, n, ts uint64, w time.Duration) {
	if d.last < len(d.dirs) && d.dirs[d.last].path == path {
		d.dirs[d.last].grow(n, ts, w)
		return
	}
	least := 0
	for i := range d.dirs {
		if d.dirs[i].path == path {
			d.last = i
			d.dirs[i].grow(n, ts, w)
			return
		}
		if d.dirs[i].weight(ts, w) < d.dirs[least].weight(ts, w) {
			least = i
		}
	}
	if len(d.dirs) < maxDirs {
		d.last = len(d.dirs)
		d.dirs = append(d.dirs, dir{path, n, ts})
		return
	}
	d.last = least
	d.dirs[least] = dir{path, d.dirs[least].weight(ts, w) + n, ts}
}

func (d *topDirs) top(now uint64, w time.Duration) string {
	path, most := "", uint64(0)
	for i := range d.dirs {
		if n := d.dirs[i].weight(now, w); n > most {
			path, most = d.dirs[i].path, n
		}
	}
	return path
}

func (d *dir) grow(n, ts uint64, w time.Duration) {
	d.numBytes = d.weight(ts, w) + n
	d.ts = max(d.ts, ts)
}

// weight is the directory's bytes, none once nothing was written for a whole window.
func (d *dir) weight(now uint64, w time.Duration) uint64 {
	if now > d.ts+uint64(w) {
		return 0
	}
	return d.numBytes
}
