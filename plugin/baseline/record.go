package baseline

import "time"

// record is what one node, or several folded into one, learned of a workload.
type record struct {
	workload string
	image    string // of the first window
	folded   int    // other nodes' records that were folded into this one since it was read

	first, last minute // of the learned windows
	age         minute // event time learned, each gap counted up to maxGap
	laterAge    minute // of that, since the reference was complete
	quarantined [numReasons]uint64

	day   history
	hours []*history // by hour of the day, nil where nothing was learned; empty until hours are learned
	sets  [NumDimensions]set
	seen  coverage // of this node's own record
}

// history is what was learned in the learning period and what after it.
type history struct{ reference, later series }

func (h *history) merge(o *history) {
	h.reference.merge(&o.reference)
	h.later.merge(&o.later)
}

func (h *history) accept() {
	h.reference.merge(&h.later)
	h.later = series{}
}

func (r *record) windows() uint64 { return r.day.reference.windows + r.day.later.windows }

// learn takes one window.
func (r *record) learn(at minute, totals *indices, hours, later bool) {
	r.elapse(at, later)
	if later {
		r.day.later.add(totals)
	} else {
		r.day.reference.add(totals)
	}
	if !hours {
		return
	}
	// Twenty-four times as many sketches need not be as fine: 4 % are a tenth of the least spread.
	coarse := totals.coarse()
	if h := r.hour(at.hour()); later {
		h.later.add(&coarse)
	} else {
		h.reference.add(&coarse)
	}
}

// hour returns the history of an hour of the day, a new one where there is none.
func (r *record) hour(h int) *history {
	if r.hours == nil {
		r.hours = make([]*history, hoursPerDay)
	}
	if r.hours[h] == nil {
		r.hours[h] = &history{}
	}
	return r.hours[h]
}

func (r *record) elapse(at minute, later bool) {
	var gap minute
	switch {
	case r.windows() == 0:
		r.first, r.last, gap = at, at, 1
	case at > r.last:
		gap, r.last = at-r.last, at
	case at < r.first:
		gap, r.first = r.first-at, at
	}
	gap = min(gap, maxGap)
	r.age += gap
	if later {
		r.laterAge += gap
	}
}

// fold adds what another node learned of the same workload. What was seen is not folded: it is for the node that goes on.
func (r *record) fold(o *record) {
	switch {
	case r.windows() == 0:
		r.image, r.first, r.last = o.image, o.first, o.last
	case o.windows() > 0:
		if o.first < r.first || o.first == r.first && o.image < r.image {
			r.image = o.image
		}
		r.first, r.last = min(r.first, o.first), max(r.last, o.last)
	}
	r.age, r.laterAge = max(r.age, o.age), max(r.laterAge, o.laterAge)
	r.folded += 1 + o.folded
	for i, n := range o.quarantined {
		r.quarantined[i] += n
	}
	r.day.merge(&o.day)
	for h, history := range o.hours {
		if history != nil {
			r.hour(h).merge(history)
		}
	}
	for d := range r.sets {
		r.sets[d].union(&o.sets[d])
	}
}

// accept makes what was learned later part of the reference.
func (r *record) accept() {
	r.laterAge = 0
	r.day.accept()
	for _, h := range r.hours {
		if h != nil {
			h.accept()
		}
	}
	for d := range r.sets {
		r.sets[d].accept()
	}
}

func (m minute) duration() time.Duration { return time.Duration(m) * WindowLength }
