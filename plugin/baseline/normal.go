package baseline

import (
	"math"
	"time"
)

// normal is what is normal of one metric, on the scale of lg.
type normal struct {
	median, spread, tail float64
}

type normals [NumMetrics]normal

const (
	leastSpread    = 0.5
	ignorantSpread = 16
	activeHalving  = 5 // active windows that halve the weight of silence
)

// silence is the normal of a metric that never was active.
func silence(m Metric) normal {
	if m.InBytes() {
		return normal{spread: 4}
	}
	return normal{spread: 1}
}

// ignorance has no opinion but that n may be anywhere.
func ignorance(n normal) normal {
	n.spread = ignorantSpread
	return n
}

// mix is the mixture of a with weight w and b with 1-w.
func mix(a, b normal, w float64) normal {
	if w == 1 {
		return a
	}
	v, d := 1-w, a.median-b.median
	return normal{
		median: w*a.median + v*b.median,
		spread: math.Sqrt(w*a.spread*a.spread + v*b.spread*b.spread + w*v*d*d),
		tail:   w*a.tail + v*b.tail,
	}
}

// within returns n moved to where it differs from the reference by no more than g bits.
func within(n, reference normal, g float64) normal {
	factor := math.Exp2(g)
	return normal{
		median: min(max(n.median, reference.median-g), reference.median+g),
		spread: min(max(n.spread, reference.spread/factor), reference.spread*factor),
		tail:   min(max(n.tail, reference.tail-g), reference.tail+g),
	}
}

// leaning is how much is leaned on what is known of others: the number of windows that halves its weight.
type leaning float64

// leaningOf makes the least number of windows that a workload is compared from stand for a weight of 15/16 of its own.
func leaningOf(minWindows uint64) leaning { return leaning(minWindows) / 4 }

// weight is the weight of what is known from a number of windows against what it leans on; 1 from independent on.
func (l leaning) weight(windows uint64) float64 {
	if l.independent(windows) {
		return 1
	}
	return 1 - math.Exp2(-float64(windows)/float64(l))
}

func (l leaning) independent(windows uint64) bool { return float64(windows) >= 20*float64(l) }

// series is what was learned from some windows.
type series struct {
	windows  uint64              // all, silent ones too
	sketches [NumMetrics]*sketch // nil where the metric never was active
}

// sketch returns a metric's sketch, a new one where there is none.
func (s *series) sketch(m int) *sketch {
	if s.sketches[m] == nil {
		s.sketches[m] = &sketch{}
	}
	return s.sketches[m]
}

func (s *series) add(indices *indices) {
	s.windows++
	for m, index := range indices {
		if index != silent {
			s.sketch(m).add(index, 1)
		}
	}
}

func (s *series) merge(o *series) {
	s.windows += o.windows
	for m, sketch := range o.sketches {
		if sketch != nil {
			s.sketch(m).merge(sketch)
		}
	}
}

// indices are the bins of a window's totals.
type indices [NumMetrics]uint16

// coarse returns indices that are four times as coarse: 4 % off at most.
func (in indices) coarse() indices {
	for m, index := range in {
		if index != silent {
			in[m] = index&^3 + 2
		}
	}
	return in
}

const silent = math.MaxUint16

func indicesOf(totals *Totals) (out indices) {
	for m, x := range totals {
		out[m] = silent
		if x > 0 {
			out[m] = indexOf(x)
		}
	}
	return out
}

// maxParts is how many series a profile is learned in: reference and later, of this node and of others.
const maxParts = 4

// parts are series that are looked at as one.
type parts struct {
	series [maxParts]*series
	n      int
}

func (p *parts) add(s *series) {
	if s.windows > 0 {
		p.series[p.n] = s
		p.n++
	}
}

func (p *parts) windows() (n uint64) {
	for _, s := range p.series[:p.n] {
		n += s.windows
	}
	return n
}

// normal returns a metric's normal: that of its active windows, whose median and spread are mixed with its silence.
func (p *parts) normal(m Metric) normal {
	var sketches [maxParts]*sketch
	var windows, active uint64
	numSketches := 0
	for _, s := range p.series[:p.n] {
		windows += s.windows
		if sketch := s.sketches[m]; sketch != nil {
			active += sketch.count
			sketches[numSketches] = sketch
			numSketches++
		}
	}
	if active == 0 {
		return silence(m)
	}
	q := quantiles(sketches[:numSketches])
	own := normal{median: lg(q[0]), tail: lg(q[2])}
	own.spread = max(lg(q[1])-own.median, leastSpread)
	quiet := float64(windows-min(windows, active)) / float64(windows)
	n := mix(own, silence(m), 1-quiet*math.Exp2(-float64(active)/activeHalving))
	n.tail = own.tail * (1 - quiet*math.Exp2(-float64(active))) // what came every night of a week may come again
	return n
}

// aggregate is what was learned of many workloads, to lean on.
type aggregate struct {
	series
	version uint64 // grows with every change
	image   string // whose workloads these are; empty for the pool
	users   int    // profiles that lean on it

	cached        normals
	cachedVersion uint64
	cachedBelow   uint64 // the version of what it leans on itself
}

func (a *aggregate) add(indices *indices) {
	a.series.add(indices)
	a.version++
}

func (a *aggregate) merge(s *series) {
	a.series.merge(s)
	a.version++
}

// normals returns the aggregate's normals, leaning on below where there is one, else on ignorance.
func (a *aggregate) normals(below *aggregate, l leaning) *normals {
	var belowVersion uint64
	if below != nil {
		belowVersion = below.version
	}
	if a.cachedVersion == a.version && a.cachedBelow == belowVersion && a.version > 0 {
		return &a.cached
	}
	var p parts
	p.add(&a.series)
	w := l.weight(a.windows)
	for m := range a.cached {
		n := p.normal(Metric(m))
		if w < 1 {
			lean := ignorance(n)
			if below != nil {
				lean = below.normals(nil, l)[m]
			}
			n = mix(n, lean, w)
		}
		a.cached[m] = n
	}
	a.cachedVersion, a.cachedBelow = a.version, belowVersion
	return &a.cached
}

// Drift bounds how far a normal moves away from its reference.
type Drift struct {
	PerMonth float64 // factor that typical may change by per 30 days of learned event time
	Total    float64 // and in total
}

const month = 30 * 24 * time.Hour

// bits returns how far that is after a time.
func (d Drift) bits(after time.Duration) float64 {
	return min(math.Log2(d.Total), math.Log2(d.PerMonth)*float64(after)/float64(month))
}
