package script

import (
	"container/heap"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
	"github.com/falco-datastaging/datastaging/e2e/internal/kernel"
)

// player plays a script. Statements that run side by side are coroutines: each says when its next step is due, and the
// earliest goes on.
type player struct {
	script *Script
	kernel *kernel.Kernel
	out    *capture.Writer
	dice   *rand.Rand // of random losses
	due    lateQueue  // what comes by itself at some time
	orders uint64     // of what was put there
	err    error
}

func (s *Script) play(out *capture.Writer) error {
	p := &player{script: s, kernel: kernel.New(s.config), out: out, dice: rand.New(rand.NewPCG(s.config.Seed, 1))}
	begin := uint64(s.begin.UnixNano())
	main := &track{player: p, yield: func(uint64) bool { return true }, at: begin, last: begin}
	p.kernel.At(begin)
	if main.run(s.before) {
		p.kernel.Record(out)
		main.run(s.after)
	}
	if p.err == nil {
		p.settle(1<<64 - 1)
	}
	return p.err
}

// turn begins a step at a time.
func (p *player) turn(at uint64, l *loss) bool {
	if p.settle(at); p.err != nil {
		return false
	}
	if p.kernel.Count() > MaxEvents {
		p.err = p.script.tooMany("more events than could be counted beforehand")
		return false
	}
	p.kernel.At(at)
	p.kernel.Mute(l.lost(p.dice))
	return p.out.Err() == nil
}

// settle does what is due up to a time.
func (p *player) settle(at uint64) {
	for p.err == nil && len(p.due) > 0 && p.due[0].at <= at {
		l := heap.Pop(&p.due).(late)
		p.kernel.At(l.at)
		p.kernel.Mute(false)
		p.err = l.do()
	}
}

// later has something done at a time.
func (p *player) later(at uint64, do func() error) {
	p.orders++
	heap.Push(&p.due, late{at: at, order: p.orders, do: do})
}

// late is something that is done at a time.
type late struct {
	at, order uint64
	do        func() error
}

type lateQueue []late

// track is one line of things that happen one after another.
type track struct {
	*player
	yield func(at uint64) bool // waits until all that comes before at has happened
	at    uint64               // when the next step is due, ns since the epoch
	last  uint64               // when the last one was
	vars  *binding
	loss  *loss
	body  []node
}

// tick waits for the next step's turn; false when the play is over.
func (t *track) tick() bool {
	at := t.at
	if t.err != nil || !t.yield(at) || !t.turn(at, t.loss) {
		return false
	}
	t.last, t.at = at, at+uint64(t.script.step)
	return true
}

// run plays statements one after another.
func (t *track) run(nodes []node) bool {
	for _, n := range nodes {
		if !n.play(t) {
			return false
		}
	}
	return true
}

// fail ends the play.
func (t *track) fail(err error) bool {
	if t.err == nil {
		t.err = err
	}
	return false
}

// maxOverlap is how many tracks may run side by side.
const maxOverlap = 10_000

// merge plays count tracks side by side; begin makes the i-th, which must not begin before the one before it. The step
// after them comes when the last of them has ended.
func (t *track) merge(count int, begin func(i int) *track, tooMany func() error) bool {
	var active runningQueue
	defer func() {
		for _, r := range active {
			r.stop()
		}
	}()
	end, last := t.at, t.last
	finish := func(ended *track) { end, last = max(end, ended.at), max(last, ended.last) }
	var waiting *track
	for i := 0; ; {
		if waiting == nil && i < count {
			waiting = begin(i)
		}
		switch {
		case waiting != nil && (len(active) == 0 || waiting.at <= active[0].due):
			if len(active) == maxOverlap {
				return t.fail(tooMany())
			}
			child := waiting
			waiting = nil
			next, stop := iter.Pull(func(yield func(uint64) bool) {
				child.yield = yield
				child.run(child.body)
			})
			if due, ok := next(); ok {
				heap.Push(&active, &running{track: child, due: due, order: i, next: next, stop: stop})
			} else {
				finish(child)
			}
			i++
		case len(active) > 0:
			first := active[0]
			if !t.yield(first.due) {
				return false
			}
			if due, ok := first.next(); ok {
				first.due = due
				heap.Fix(&active, 0)
			} else {
				finish(first.track)
				heap.Pop(&active)
			}
		default:
			t.at, t.last = end, last
			return true
		}
		if t.err != nil {
			return false
		}
	}
}

// running is a track that has begun.
type running struct {
	*track
	due   uint64 // when it wants to go on
	order int
	next  func() (uint64, bool)
	stop  func()
}

type runningQueue []*running

func (q runningQueue) Len() int { return len(q) }
func (q runningQueue) Less(i, j int) bool {
	return q[i].due < q[j].due || q[i].due == q[j].due && q[i].order < q[j].order
}
func (q runningQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *runningQueue) Push(x any)   { *q = append(*q, x.(*running)) }
func (q *runningQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (q lateQueue) Len() int { return len(q) }
func (q lateQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q lateQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *lateQueue) Push(x any)   { *q = append(*q, x.(late)) }
func (q *lateQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// loss is what is not recorded.
type loss struct {
	percent int // of the steps
}

func (l *loss) lost(dice *rand.Rand) bool {
	return l != nil && (l.percent == 100 || dice.IntN(100) < l.percent)
}

// since is how long after the beginning a time is, for people.
func (t *track) since(at uint64) time.Duration {
	return time.Duration(at - uint64(t.script.begin.UnixNano()))
}

func tooManyTracks(n node) func() error {
	return func() error {
		return failAt(n.position(), "more than %s of these run at the same time: begin them less often, or let them end sooner",
			humanize.Comma(maxOverlap))
	}
}
