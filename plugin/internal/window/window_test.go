package window_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/window"
)

const second = uint64(time.Second)

// start is a plausible event time; windows must not depend on where in a bucket it lies.
const start = 1_795_453_342_759_105_087

func TestSumCoversTheWindowAndAtMostAnEighthMore(t *testing.T) {
	windows := []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, window.Max}
	rng := rand.New(rand.NewPCG(1, 2))
	var c window.Counter
	type event struct{ ts, n uint64 }
	var events []event
	for ts := uint64(start); ts < start+26*3600*second; ts += 1 + rng.Uint64N(40*second) {
		e := event{ts, 1 + rng.Uint64N(1000)}
		c.Add(e.ts, e.n)
		events = append(events, e)
		if rng.IntN(50) != 0 {
			continue
		}
		for _, w := range windows {
			var least, most uint64
			for _, old := range events {
				if age := time.Duration(ts - old.ts); age < w {
					least += old.n
					most += old.n
				} else if age < w+w/8+2*time.Second {
					most += old.n
				}
			}
			got := c.Sum(ts, w)
			require.GreaterOrEqual(t, got, least, "window %v at %d loses bytes", w, ts)
			require.LessOrEqual(t, got, most, "window %v at %d reaches too far", w, ts)
		}
	}
}

func TestCounter(t *testing.T) {
	t.Run("an empty counter is zero at any time", func(t *testing.T) {
		var c window.Counter
		assert.Zero(t, c.Sum(start, time.Hour))
		assert.Zero(t, c.Sum(0, time.Hour))
	})
	t.Run("a value leaves the window when its time is over", func(t *testing.T) {
		var c window.Counter
		c.Add(start, 7)
		assert.EqualValues(t, 7, c.Sum(start+59*second, time.Minute))
		assert.Zero(t, c.Sum(start+70*second, time.Minute))
		assert.EqualValues(t, 7, c.Sum(start+70*second, time.Hour), "the longer window still has it")
	})
	t.Run("an idle day empties every ring", func(t *testing.T) {
		var c window.Counter
		for i := range uint64(5000) {
			c.Add(start+i*second, 1)
		}
		assert.Zero(t, c.Sum(start+5000*second+48*3600*second, window.Max))
	})
	t.Run("an event that comes late is counted where it belongs", func(t *testing.T) {
		var c window.Counter
		c.Add(start, 1)
		c.Add(start-600*second, 10)
		assert.EqualValues(t, 1, c.Sum(start, time.Minute))
		assert.EqualValues(t, 11, c.Sum(start, time.Hour))
	})
	t.Run("an event from before the longest window is not counted", func(t *testing.T) {
		var c window.Counter
		c.Add(start, 1)
		c.Add(start-72*3600*second, 10)
		assert.EqualValues(t, 1, c.Sum(start, window.Max))
	})
}

func TestMoveCountsEachThingOnceByWhenItWasLastSeen(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var c window.Counter
	last := map[int]uint64{}
	ts := uint64(start)
	for range 20_000 {
		ts += rng.Uint64N(20 * second)
		thing := rng.IntN(300)
		if old, seen := last[thing]; seen {
			c.Move(old, ts)
		} else {
			c.Add(ts, 1)
		}
		last[thing] = ts
	}
	for _, w := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour, window.Max} {
		var least, most uint64
		for _, seen := range last {
			if age := time.Duration(ts - seen); age < w {
				least++
				most++
			} else if age < w+w/8+2*time.Second {
				most++
			}
		}
		got := c.Sum(ts, w)
		assert.GreaterOrEqual(t, got, least, "window %v", w)
		assert.LessOrEqual(t, got, most, "window %v", w)
	}
}

// go test -bench=. -run=- ./plugin/internal/window | benchstat -
func BenchmarkCounter(b *testing.B) {
	b.Run("op=add", func(b *testing.B) {
		var c window.Counter
		b.ReportAllocs()
		ts := uint64(start)
		for b.Loop() {
			ts += 1000
			c.Add(ts, 4096)
		}
	})
	b.Run("op=sum/window=10m", func(b *testing.B) {
		var c window.Counter
		for i := range uint64(3600) {
			c.Add(start+i*second, 4096)
		}
		b.ReportAllocs()
		for b.Loop() {
			c.Sum(start+3600*second, 10*time.Minute)
		}
	})
}
