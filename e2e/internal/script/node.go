package script

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// node is a statement that was read.
type node interface {
	position() ruleset.Position
	play(t *track) bool
	// cost is how many events it writes at most, with a loop's variables bound.
	cost(c *counting, vars *binding) (uint64, error)
	// past reports whether it is about what was there before the recording.
	past() bool
}

// counting counts events without playing them. Rounds of a loop that differ are read one by one, while that takes no time;
// what lies beyond is guessed, and the play itself ends at the most.
type counting struct{ steps int }

// maxCounted is how many steps are read to count their events.
const maxCounted = 200_000

// all adds up.
func (c *counting) all(nodes []node, vars *binding) (uint64, error) {
	sum := uint64(0)
	for _, n := range nodes {
		events, err := n.cost(c, vars)
		if err != nil {
			return 0, err
		}
		sum = add(sum, events)
	}
	return sum, nil
}

func add(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}

func multiply(a, b uint64) uint64 {
	over, product := bits.Mul64(a, b)
	if over != 0 {
		return math.MaxUint64
	}
	return product
}

// op is what a step does.
type op interface {
	// play does it; every event, or call of few events, waits for its turn with t.tick.
	play(t *track) bool
	cost() uint64
}

// step is a statement of one line.
type step struct {
	words   line // with the pause before it left out
	pause   pause
	before  bool // about what was there before the recording
	op      op   // nil where the words have variables: then it is read each time
	keyword word // for errors while it is played
}

// pause is the time that a step waits for.
type pause struct {
	after    time.Duration // the event before
	absolute bool          // after the beginning instead
	given    bool
}

func (s *step) position() ruleset.Position { return s.keyword.pos }
func (s *step) past() bool                 { return s.before }

func (s *step) bound(vars *binding) (op, error) {
	if s.op != nil || len(s.words) == 0 {
		return s.op, nil
	}
	words, err := s.words.expand(vars)
	if err != nil {
		return nil, err
	}
	return readOp(words)
}

func (s *step) cost(c *counting, vars *binding) (uint64, error) {
	c.steps++
	o, err := s.bound(vars)
	if err != nil || o == nil {
		return 0, err
	}
	return o.cost(), nil
}

func (s *step) play(t *track) bool {
	if s.pause.given {
		at := t.last + uint64(s.pause.after)
		if s.pause.absolute {
			if at = uint64(t.script.begin.Add(s.pause.after).UnixNano()); at < t.last {
				return t.fail(failAt(s.keyword.pos, "%v after the beginning is over already: it is %v; write a later time, or `+%v` for a pause",
					s.pause.after, t.since(t.last), s.pause.after))
			}
		}
		t.at = at
	}
	o, err := s.bound(t.vars)
	if err != nil {
		return t.fail(err)
	}
	if o == nil {
		t.last = t.at
		return true
	}
	return o.play(t)
}

// loop repeats its body, one round after another or, with every, a round beginning at each interval.
type loop struct {
	keyword  word
	variable string
	header   line // what the variable runs over
	every    time.Duration
	body     []node
	before   bool
}

func (l *loop) position() ruleset.Position { return l.keyword.pos }
func (l *loop) past() bool                 { return l.before }

// rounds is how often a loop repeats, and the variable's values.
type rounds struct {
	count int
	first int64    // of a range
	list  []string // nil for a range
}

func (r *rounds) value(i int) string {
	if r.list != nil {
		return r.list[i]
	}
	return strconv.FormatInt(r.first+int64(i), 10)
}

// rounds reads FIRST..LAST, or a list of words.
func (l *loop) rounds(vars *binding) (rounds, error) {
	words, err := l.header.expand(vars)
	if err != nil {
		return rounds{}, err
	}
	if len(words) == 1 && !words[0].quoted {
		if r, ok, err := readRange(words[0]); ok || err != nil {
			return r, err
		}
	}
	var r rounds
	for _, w := range words {
		r.list = append(r.list, w.text)
	}
	r.count = len(r.list)
	return r, nil
}

func (l *loop) bind(vars *binding, r *rounds, i int) *binding {
	if l.variable == "" {
		return vars
	}
	return &binding{name: l.variable, value: r.value(i), outer: vars}
}

// cost looks at the first and the last round, and at all only where these differ.
func (l *loop) cost(c *counting, vars *binding) (uint64, error) {
	r, err := l.rounds(vars)
	if err != nil || r.count == 0 {
		return 0, err
	}
	first, err := c.all(l.body, l.bind(vars, &r, 0))
	if err != nil || l.variable == "" || r.count == 1 {
		return multiply(max(first, 1), uint64(r.count)), err
	}
	last, err := c.all(l.body, l.bind(vars, &r, r.count-1))
	if err != nil || first == last {
		return multiply(max(first, 1), uint64(r.count)), err
	}
	sum := add(first, last)
	for i := 1; i < r.count-1 && sum <= MaxEvents; i++ {
		if c.steps > maxCounted {
			return add(sum, multiply(max(first, last), uint64(r.count-1-i))), nil
		}
		events, err := c.all(l.body, l.bind(vars, &r, i))
		if err != nil {
			return 0, err
		}
		sum = add(sum, max(events, 1))
	}
	return sum, nil
}

func (l *loop) play(t *track) bool {
	r, err := l.rounds(t.vars)
	if err != nil {
		return t.fail(err)
	}
	vars := t.vars
	if l.every == 0 {
		for i := range r.count {
			t.vars = l.bind(vars, &r, i)
			if !t.run(l.body) {
				return false
			}
		}
		t.vars = vars
		return true
	}
	start := t.at
	return t.merge(r.count, func(i int) *track {
		at := start + uint64(i)*uint64(l.every)
		return &track{player: t.player, at: at, last: at, vars: l.bind(vars, &r, i), loss: t.loss, body: l.body}
	}, tooManyTracks(l))
}

// together plays its branches side by side.
type together struct {
	keyword  word
	branches [][]node
}

func (g *together) position() ruleset.Position { return g.keyword.pos }
func (g *together) past() bool                 { return false }

func (g *together) cost(c *counting, vars *binding) (uint64, error) {
	return c.all(slices.Concat(g.branches...), vars)
}

func (g *together) play(t *track) bool {
	return t.merge(len(g.branches), func(i int) *track {
		return &track{player: t.player, at: t.at, last: t.last, vars: t.vars, loss: t.loss, body: g.branches[i]}
	}, tooManyTracks(g))
}

// lost plays its body without recording it, whole or in part.
type lost struct {
	keyword word
	percent int
	ratio   uint32 // of what the driver says that it drops; 0 where it says nothing
	body    []node
}

func (l *lost) position() ruleset.Position { return l.keyword.pos }
func (l *lost) past() bool                 { return false }

func (l *lost) cost(c *counting, vars *binding) (uint64, error) {
	events, err := c.all(l.body, vars)
	return add(events, 2), err // and what the driver says
}

func (l *lost) play(t *track) bool {
	outer := t.loss
	if l.ratio != 0 {
		if !t.tick() {
			return false
		}
		t.kernel.Drop(false, l.ratio)
	}
	t.loss = &loss{percent: l.percent}
	if outer != nil && outer.percent == 100 {
		t.loss = outer
	}
	ok := t.run(l.body)
	t.loss = outer
	if ok && l.ratio != 0 {
		if ok = t.tick(); ok {
			t.kernel.Drop(true, l.ratio)
		}
	}
	return ok
}
