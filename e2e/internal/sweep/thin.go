package sweep

import (
	"cmp"
	"math"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/threshold"
)

// thinner keeps of the events that could fire only those that do at a point of the grid. That changes no outcome there: an
// event that does not fire at a point leaves the point as it was. It runs all points at once, as the events come, and
// remembers for each container and point when it fired last, and for each container and kind of event when one can fire next.
//
// Its memory is the alerts of all points, and 8 bytes for each point and container.
type thinner struct {
	rule      *threshold.Rule
	points    []Point
	intervals []int64 // ns, by point
	reaching  map[string][]int32
	accounts  map[string]*account
	seen      uint64
	kept      []threshold.Event
}

// account is what staging.once remembers of a container, at every point.
type account struct {
	fired []int64          // ns since the epoch, by point; never where it did not
	next  map[string]int64 // by kind of event: before that, none fires at any point
}

const never = math.MinInt64

func newThinner(rule *threshold.Rule, points []Point, configured time.Duration) *thinner {
	t := &thinner{rule: rule, points: points, reaching: map[string][]int32{}, accounts: map[string]*account{}}
	for _, p := range points {
		t.intervals = append(t.intervals, int64(cmp.Or(rule.Interval, p.Interval, configured)))
	}
	return t
}

// add keeps the event or drops it.
func (t *thinner) add(e threshold.Event) {
	t.seen++
	kind := kindOf(t.rule, &e)
	reached, ok := t.reaching[kind]
	if !ok {
		for i := range t.points {
			if t.rule.Spends(&e, t.points[i].Values) {
				reached = append(reached, int32(i))
			}
		}
		t.reaching[kind] = reached
	}
	if len(reached) == 0 {
		return
	}
	if !t.rule.Once {
		t.kept = append(t.kept, e)
		return
	}
	a := t.accounts[e.Account]
	if a == nil {
		a = &account{fired: make([]int64, len(t.points)), next: map[string]int64{}}
		for i := range a.fired {
			a.fired[i] = never
		}
		t.accounts[e.Account] = a
	}
	now := e.Time.UnixNano()
	if next, ok := a.next[kind]; ok && now < next {
		return
	}
	fires := false
	next := int64(math.MaxInt64)
	for _, i := range reached {
		if a.fired[i] == never || now >= a.fired[i]+t.intervals[i] {
			a.fired[i], fires = now, true
		}
		next = min(next, a.fired[i]+t.intervals[i])
	}
	a.next[kind] = next
	if fires {
		t.kept = append(t.kept, e)
	}
}

// kindOf is the same for events that no point of the grid tells apart.
func kindOf(rule *threshold.Rule, e *threshold.Event) string {
	levels := rule.Levels(e)
	kind := make([]byte, 0, len(levels)+8)
	for shift := 0; shift < 64; shift += 8 {
		kind = append(kind, byte(e.Facts>>shift))
	}
	return string(append(kind, levels...))
}
