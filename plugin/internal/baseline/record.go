package baseline

import "time"

// record is what one node, or several folded into one, learned of a workload.
type record struct {
	workload string
	image    string // of the first window

	first, last minute // of the learned windows
	age         minute // event time learned, each gap counted up to maxGap
	laterAge    minute // of that, since the reference was complete
	quarantined [numReasons]uint64

	day   history
	hours *[hoursPerDay]history // nil until hours are learned
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
	if r.hours == nil {
		r.hours = new([hoursPerDay]history)
	}
	if h := &r.hours[at.hour()]; later {
		h.later.add(totals)
	} else {
		h.reference.add(totals)
	}
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
	for i, n := range o.quarantined {
		r.quarantined[i] += n
	}
	r.day.merge(&o.day)
	if o.hours != nil {
		if r.hours == nil {
			r.hours = new([hoursPerDay]history)
		}
		for h := range r.hours {
			r.hours[h].merge(&o.hours[h])
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
	if r.hours != nil {
		for h := range r.hours {
			r.hours[h].accept()
		}
	}
	for d := range r.sets {
		r.sets[d].accept()
	}
}

func (m minute) duration() time.Duration { return time.Duration(m) * WindowLength }
