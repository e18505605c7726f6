package baseline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sketchOf(values ...uint64) *sketch {
	s := &sketch{}
	for _, x := range values {
		s.add(indexOf(x), 1)
	}
	return s
}

func TestEveryTotalFallsIntoABinWithinTheAccuracy(t *testing.T) {
	check := func(x uint64) {
		index := indexOf(x)
		require.LessOrEqual(t, index, uint16(maxIndex))
		require.InEpsilon(t, float64(x), valueOf(index), accuracy*1.0001, "%d", x)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for x := uint64(1); x < 5000; x++ {
		check(x)
	}
	for range 10000 {
		check(rng.Uint64()>>rng.IntN(64) | 1)
	}
	check(math.MaxUint64)
	assert.Equal(t, uint16(maxIndex), indexOf(math.MaxUint64))
	assert.Zero(t, indexOf(1))
}

func TestQuantilesAreThoseOfTheSortedValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		var values []uint64
		parts := make([]*sketch, 1+rng.IntN(maxParts))
		for i := range parts {
			parts[i] = &sketch{}
		}
		for range 1 + rng.IntN(400) {
			x := 1 + rng.Uint64N(1<<rng.IntN(50))
			values = append(values, x)
			parts[rng.IntN(len(parts))].add(indexOf(x), 1)
		}
		slices.Sort(values)
		q := quantiles(parts)
		for i, permille := range permilles {
			exact := values[int(math.Ceil(float64(permille)*float64(len(values))/1000))-1]
			require.InEpsilon(t, float64(exact), q[i], accuracy*1.0001, "permille %d of %d", permille, len(values))
		}
	}
	assert.Zero(t, quantiles(nil))
	assert.Zero(t, quantiles([]*sketch{{}}))
}

func TestQuantilesOfFewValues(t *testing.T) {
	for _, c := range []struct {
		values        []uint64
		p50, p84, p99 uint64
	}{
		{[]uint64{7}, 7, 7, 7},
		{[]uint64{1, 9}, 1, 9, 9},
		{[]uint64{1, 2, 9}, 2, 9, 9},
		{[]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 5, 9, 10},
	} {
		q := quantiles([]*sketch{sketchOf(c.values...)})
		assert.Equal(t, []uint64{c.p50, c.p84, c.p99}, []uint64{toUint(q[0]), toUint(q[1]), toUint(q[2])}, "%v", c.values)
	}
}

func TestRankDoesNotOverflow(t *testing.T) {
	assert.Equal(t, uint64(math.MaxUint64/1000*990+(math.MaxUint64%1000*990+999)/1000), rank(990, math.MaxUint64))
	assert.Equal(t, uint64(1), rank(500, 1))
	assert.Equal(t, uint64(99), rank(990, 100))
	assert.Equal(t, uint64(100), rank(990, 101))
}

func TestMergingSketchesIsCommutativeAndAssociative(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	random := func() *sketch {
		s := &sketch{}
		for range rng.IntN(30) {
			s.add(uint16(rng.IntN(40)), rng.Uint32()>>rng.IntN(32)|1)
		}
		return s
	}
	merged := func(parts ...*sketch) []bin {
		s := &sketch{}
		for _, p := range parts {
			s.merge(p)
		}
		return s.bins
	}
	for range 1000 {
		a, b, c := random(), random(), random()
		require.Equal(t, merged(a, b), merged(b, a))
		ab, bc := &sketch{bins: merged(a, b)}, &sketch{bins: merged(b, c)}
		require.Equal(t, merged(ab, c), merged(a, bc))
	}
}

func setOf(values ...string) *set {
	s := &set{}
	for _, v := range values {
		s.add(v)
	}
	return s
}

func numbered(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("value-%05d", i))
	}
	return out
}

func TestSetIsExactThenHashedThenFull(t *testing.T) {
	s := setOf(numbered(0, maxListed)...)
	assert.Equal(t, listed, s.form)
	s.add("value-00000")
	assert.Equal(t, listed, s.form, "a value that is known changes nothing")
	s.add("one more")
	assert.Equal(t, hashed, s.form)
	assert.True(t, s.has("one more"))
	assert.True(t, s.has("value-00127"))
	assert.False(t, s.has("value-00128"))
	for _, v := range numbered(0, maxHashed-1) {
		s.add(v)
	}
	assert.Equal(t, hashed, s.form)
	assert.Len(t, s.hashes, maxHashed)
	assert.False(t, s.has("value-09999"))
	s.add("too many")
	assert.Equal(t, full, s.form)
	assert.True(t, s.has("value-09999"))
	s.try("more", 1, 1)
	s.add("more")
	assert.Equal(t, set{form: full}, *s)
}

func TestUnionOfSetsIsCommutativeAssociativeAndIdempotent(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	sizes := []int{0, 1, 60, maxListed, 200, 2000, maxHashed + 1}
	random := func() *set {
		from := rng.IntN(3000)
		s := setOf(numbered(from, from+sizes[rng.IntN(len(sizes))])...)
		for range rng.IntN(4) {
			s.try(fmt.Sprint("trial-", rng.IntN(6)), minute(rng.IntN(100)), 1000)
		}
		return s
	}
	union := func(parts ...*set) *set {
		s := &set{}
		for _, p := range parts {
			s.union(p)
		}
		s.trial = append([]candidate{}, s.trial...) // nil and empty are the same here
		return s
	}
	for range 60 {
		a, b, c := random(), random(), random()
		require.Equal(t, union(a, b), union(b, a))
		require.Equal(t, union(union(a, b), c), union(a, union(b, c)))
		require.Equal(t, union(a), union(a, a))
	}
}

func TestCandidateBecomesKnownAfterTheProbation(t *testing.T) {
	s := setOf("old")
	s.try("a", 100, 50)
	s.try("a", 149, 50)
	assert.False(t, s.has("a"))
	s.try("a", 150, 50)
	assert.True(t, s.has("a"))
	assert.Empty(t, s.trial)
	s.try("b", 200, 50)
	s.try("b", 150, 50)
	assert.True(t, s.has("b"), "time that goes back counts as well")
}

func TestOfTooManyCandidatesTheStalestIsDropped(t *testing.T) {
	s := &set{}
	for i, v := range numbered(0, maxTrial+1) {
		s.try(v, minute(100+i), 1000)
	}
	assert.Len(t, s.trial, maxTrial)
	_, found := s.find("value-00000")
	assert.False(t, found)
	_, found = s.find("value-00032")
	assert.True(t, found)
}

func TestLongValuesAreShortenedAndToldApart(t *testing.T) {
	long := func(end string) string {
		b := make([]byte, 500)
		for i := range b {
			b[i] = 'a'
		}
		return "/é" + string(b) + end
	}
	a, b := canonical(long("1")), canonical(long("2"))
	assert.NotEqual(t, a, b)
	assert.LessOrEqual(t, len(a), maxValue)
	assert.Equal(t, a, canonical(a))
	assert.Equal(t, "short", canonical("short"))
}

func TestCoverage(t *testing.T) {
	take := func(c *coverage, from, to minute) (taken int) {
		for m := from; m < to; m++ {
			if c.take(m, 1) {
				taken++
			}
		}
		return taken
	}
	t.Run("one stretch is one run", func(t *testing.T) {
		c := &coverage{}
		assert.Equal(t, 100, take(c, 10, 110))
		assert.Equal(t, []run{{10, 110}}, c.closed())
		assert.LessOrEqual(t, len(c.open), openMinutes)
		assert.Zero(t, take(c, 0, 110)-10, "only the ten minutes before are new")
		assert.Equal(t, []run{{0, 110}}, c.closed())
	})
	t.Run("replicas report the minutes the feed is at", func(t *testing.T) {
		c := &coverage{}
		take(c, 0, 10)
		assert.True(t, c.take(9, 2))
		assert.True(t, c.take(6, 2))
		assert.False(t, c.take(6, 2))
		assert.True(t, c.take(5, 2), "the stretch has just begun to end")
	})
	t.Run("the gap between runs may be filled", func(t *testing.T) {
		c := &coverage{}
		take(c, 0, 10)
		take(c, 100, 110)
		take(c, 50, 60)
		assert.Equal(t, []run{{0, 10}, {50, 60}, {100, 110}}, c.closed())
		assert.Equal(t, 80, take(c, 0, 110))
		assert.Equal(t, []run{{0, 110}}, c.closed())
	})
	t.Run("of too many runs the closest are joined", func(t *testing.T) {
		c := &coverage{}
		for i := range minute(maxRuns + 10) {
			take(c, i*100, i*100+50)
		}
		take(c, 1_000_000, 1_000_002)
		take(c, 1_000_003, 1_000_020)
		runs := c.closed()
		assert.Len(t, runs, maxRuns)
		assert.Equal(t, run{1_000_000, 1_000_020}, runs[maxRuns-1])
		assert.False(t, c.take(1_000_002, 1), "the minute between is refused")
	})
	t.Run("any order takes each minute once", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(6, 6))
		for range 300 {
			c, seen := &coverage{}, map[minute]bool{}
			for range 60 {
				from := minute(rng.IntN(300))
				for m := from; m < from+minute(rng.IntN(20)); m++ {
					require.Equal(t, !seen[m], c.take(m, 1), "minute %d", m)
					seen[m] = true
				}
			}
			runs := c.closed()
			total := 0
			for i, r := range runs {
				total += int(r.to - r.from)
				if i > 0 {
					require.Greater(t, r.from, runs[i-1].to)
				}
			}
			require.Len(t, seen, total)
		}
	})
}
