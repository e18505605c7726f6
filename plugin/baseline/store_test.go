package baseline

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// day is midnight of a day in event time, in minutes.
const day = minute(20000 * 24 * 60)

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.Node = "node-1"
	return cfg
}

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, warnings, err := Open(cfg, "")
	require.NoError(t, err)
	require.Empty(t, warnings)
	return s
}

// window is a window of the workload shop/web/nginx with one total.
func window(at minute, m Metric, x uint64) *Window {
	w := &Window{Workload: "shop/web/nginx", Image: "nginx", Instance: "c1", Start: at.start()}
	w.Totals[m] = x
	return w
}

// lognormal draws totals with a median and a factor that is one standard deviation.
func lognormal(rng *rand.Rand, median, factor float64) uint64 {
	return uint64(median * math.Exp(rng.NormFloat64()*math.Log(factor)))
}

// learnWeb lets a store learn a week and more of windows.
func learnWeb(t testing.TB, s *Store, windows int) (next minute) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range windows {
		require.Equal(t, Learned, s.Observe(window(day+minute(i), EgressBytes, lognormal(rng, 1e5, 2))))
	}
	return day + minute(windows)
}

const week = 7 * 24 * 60

type referenceCase struct {
	Name       string
	Metric     string
	MinWindows uint64 `json:"min_windows"`
	Reference  int
	Workloads  []struct {
		Image  string
		Totals []uint64
	}
	Deviation map[string]float64
	Typical   float64
}

// The expected values are computed by testdata/reference.py, which knows the data exactly and not by sketch.
func TestComparisonEqualsTheReference(t *testing.T) {
	raw, err := os.ReadFile("testdata/reference.json")
	require.NoError(t, err)
	var cases []referenceCase
	require.NoError(t, json.Unmarshal(raw, &cases))
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			metric, err := MetricByName(c.Metric)
			require.NoError(t, err)
			cfg := testConfig()
			cfg.Learning = time.Duration(c.Reference) * WindowLength
			cfg.MinWindows = c.MinWindows
			cfg.Reportable.Bytes = math.MaxUint64 // everything is learned
			s := open(t, cfg)
			for i, w := range c.Workloads {
				for at, x := range w.Totals {
					win := &Window{Workload: fmt.Sprint("w", i), Image: w.Image, Start: minute(at).start()}
					win.Totals[metric] = x
					require.Equal(t, Learned, s.Observe(win))
				}
			}
			v := s.View("w0", minute(len(c.Workloads[0].Totals)).start())
			// A quantile is 1 % off at most, that is lg(1.01) in median and spread each.
			off := math.Log2(1 + accuracy)
			for text, want := range c.Deviation {
				x, err := strconv.ParseUint(text, 10, 64)
				require.NoError(t, err)
				got := v.deviation(metric, x)
				tolerance := (off + 2*off*math.Abs(want)) / v.normal(metric).spread
				assert.InDelta(t, want, got, tolerance, "deviation of %d", x)
				rounded, ok := v.Deviation(metric, x)
				assert.True(t, ok)
				assert.Equal(t, uint64(max(got, 0)), rounded)
			}
			typical, ok := v.Typical(metric)
			assert.True(t, ok)
			assert.InDelta(t, c.Typical, float64(typical), 1+0.011*c.Typical)
		})
	}
}

func TestDeviationIsMonotoneInTheTotal(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		s := open(t, testConfig())
		median, factor := math.Exp2(rng.Float64()*40), 1+rng.Float64()*30
		for i := range 1 + rng.IntN(300) {
			s.Observe(window(day+minute(i), EgressBytes, lognormal(rng, median, factor)*uint64(rng.IntN(2))))
		}
		v := s.View("shop/web/nginx", day.start())
		var before uint64
		for x := uint64(1); x < 1<<62; x += 1 + x/3 {
			d, ok := v.Deviation(EgressBytes, x)
			require.True(t, ok)
			require.GreaterOrEqual(t, d, before)
			before = d
		}
	}
}

func TestALuckyWindowMakesNothingHigh(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 10, 100, 1000, 20000} {
		for _, x := range []uint64{1, 40, 1e3, 1e6, 1e12} {
			s := open(t, testConfig())
			for i := range n {
				s.Observe(window(day+minute(i), EgressBytes, x))
			}
			v := s.View("shop/web/nginx", day.start())
			for _, y := range []uint64{x, x + 1, x + x/10, 2 * x} {
				d, ok := v.Deviation(EgressBytes, y)
				require.True(t, ok)
				// Twice the only total ever seen is two deviations at the least spread, and that only for large totals.
				assert.LessOrEqual(t, d, uint64(2), "%d windows of %d, then %d", n, x, y)
			}
		}
	}
}

func TestOneWindowGivesNoHighDeviationOfAnything(t *testing.T) {
	s := open(t, testConfig())
	s.Observe(window(day, EgressBytes, 1000))
	v := s.View("shop/web/nginx", day.start())
	d, ok := v.Deviation(EgressBytes, math.MaxUint64)
	require.True(t, ok)
	assert.Less(t, d, uint64(6))
}

func TestLeaningIsSmoothInTheNumberOfWindows(t *testing.T) {
	s := open(t, testConfig())
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 1000 {
		w := window(day+minute(i), EgressBytes, lognormal(rng, 1e7, 2))
		w.Workload = "shop/other/nginx"
		s.Observe(w)
	}
	// The new workload's windows are a thousand times smaller: its median goes there in small steps.
	before := math.NaN()
	for i := range 700 {
		s.Observe(window(day+minute(i), EgressBytes, 1e4))
		n := s.View("shop/web/nginx", day.start()).normal(EgressBytes)
		if !math.IsNaN(before) {
			require.LessOrEqual(t, n.median, before+1e-9)
			require.Less(t, before-n.median, 0.4, "after %d windows", i+1)
		}
		before = n.median
	}
	assert.InDelta(t, lg(1e4), before, 0.02)
}

func TestLookingDoesNotChangeWhatIsSeenLater(t *testing.T) {
	feed := func(look bool) normal {
		s := open(t, testConfig())
		s.Observe(window(day, EgressBytes, 1e4))
		for i := range 300 {
			w := window(day+minute(i), EgressBytes, 1e7)
			w.Workload = "shop/other/nginx"
			s.Observe(w)
			if look {
				s.View("shop/web/nginx", day.start()).Deviation(EgressBytes, 1)
			}
		}
		return s.View("shop/web/nginx", day.start()).normal(EgressBytes)
	}
	assert.Equal(t, feed(false), feed(true))
}

func TestAReplayIsLearnedOnce(t *testing.T) {
	s := open(t, testConfig())
	learnWeb(t, s, week/4)
	before, err := s.Snapshot(time.Unix(1, 0))
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range week / 4 {
		require.Equal(t, Repeated, s.Observe(window(day+minute(i), EgressBytes, lognormal(rng, 1e5, 2))))
	}
	after, err := s.Snapshot(time.Unix(1, 0))
	require.NoError(t, err)
	assert.Equal(t, before.Encode(), after.Encode())
	assert.Equal(t, uint64(week/4), s.Stats.Windows[Repeated].Load())
}

func TestTheSameWindowsGiveTheSameFile(t *testing.T) {
	var files [][]byte
	for range 2 {
		cfg := testConfig()
		cfg.Hours = true
		s := open(t, cfg)
		feedShop(s, 40, 300, 7)
		f, err := s.Snapshot(time.Unix(1, 0))
		require.NoError(t, err)
		files = append(files, f.Encode())
	}
	assert.Equal(t, files[0], files[1])
}

// feedShop lets a store learn several workloads with values.
func feedShop(s *Store, workloads, windows int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, seed))
	for i := range windows {
		for n := range workloads {
			w := &Window{
				Workload: fmt.Sprintf("shop/app-%d/main", n), Image: fmt.Sprintf("registry/app-%d", n/4),
				Instance: "c", Start: (day + minute(i)).start(),
			}
			for _, m := range []Metric{EgressBytes, SourceBytes, RemoteBytes, StagedBytes} {
				w.Totals[m] = lognormal(rng, math.Exp2(float64(8+(n+int(m))%20)), 3)
			}
			w.Totals[RemotePeers] = uint64(rng.IntN(8))
			for range rng.IntN(3) {
				s.See(w.Workload, w.Instance, Peer, fmt.Sprintf("10.0.%d.%d:5432", n, rng.IntN(20)))
				s.See(w.Workload, w.Instance, Exe, fmt.Sprintf("/usr/bin/tool-%d", rng.IntN(6)))
			}
			s.Observe(w)
		}
	}
}

func TestCapturesInAnyOrderAreLearnedAlike(t *testing.T) {
	feed := func(order []int) *Store {
		s := open(t, testConfig())
		for _, capture := range order {
			rng := rand.New(rand.NewPCG(uint64(capture), 0))
			for i := range 60 {
				at := day + minute(capture*1440+i)
				require.Equal(t, Learned, s.Observe(window(at, EgressBytes, lognormal(rng, 1e6, 3))))
			}
		}
		return s
	}
	a, b := feed([]int{0, 1, 2, 3}), feed([]int{2, 0, 3, 1})
	va, vb := a.View("shop/web/nginx", day.start()), b.View("shop/web/nginx", day.start())
	assert.Equal(t, va.normal(EgressBytes), vb.normal(EgressBytes))
	assert.Equal(t, va.Windows(), vb.Windows())
	assert.Equal(t, 3*24*time.Hour+time.Hour, va.Age())
	fa, err := a.Snapshot(time.Unix(1, 0))
	require.NoError(t, err)
	wa, err := fa.Workloads()
	require.NoError(t, err)
	fb, err := b.Snapshot(time.Unix(1, 0))
	require.NoError(t, err)
	wb, err := fb.Workloads()
	require.NoError(t, err)
	assert.Equal(t, wa[0].FirstSeen, wb[0].FirstSeen)
	assert.Equal(t, wa[0].LastSeen, wb[0].LastSeen)
}

func TestAClockThatGoesBackIsRefusedUntilItCatchesUp(t *testing.T) {
	s := open(t, testConfig())
	for i := range 120 {
		require.Equal(t, Learned, s.Observe(window(day+minute(i), EgressBytes, 1000)))
	}
	for i := 60; i < 120; i++ {
		require.Equal(t, Repeated, s.Observe(window(day+minute(i), EgressBytes, 1000)), "minute %d again", i)
	}
	assert.Equal(t, Learned, s.Observe(window(day+120, EgressBytes, 1000)))
	assert.Equal(t, uint64(121), s.View("shop/web/nginx", 0).Windows())
	assert.Equal(t, 121*time.Minute, s.View("shop/web/nginx", 0).Age())
}

func TestAClockThatJumpsAheadAgesNothing(t *testing.T) {
	s := open(t, testConfig())
	s.Observe(window(day, EgressBytes, 1000))
	s.Observe(window(day+10*365*1440, EgressBytes, 1000))
	v := s.View("shop/web/nginx", day.start())
	assert.Equal(t, maxGap*time.Minute+time.Minute, v.Age())
	assert.Equal(t, Learning, v.Status())
}

func TestReplicasLearnTheSameMinuteEach(t *testing.T) {
	s := open(t, testConfig())
	for i := range 10 {
		for replica := range 5 {
			w := window(day+minute(i), EgressBytes, 1000)
			w.Instance = strconv.Itoa(replica)
			require.Equal(t, Learned, s.Observe(w))
			require.Equal(t, Repeated, s.Observe(w))
		}
	}
	assert.Equal(t, uint64(50), s.View("shop/web/nginx", 0).Windows())
	assert.Equal(t, 10*time.Minute, s.View("shop/web/nginx", 0).Age())
}

func TestStatus(t *testing.T) {
	cfg := testConfig()
	cfg.Exclude = []string{"kube-system/**"}
	cfg.Maintenance = []Maintenance{{Workloads: "shop/*/nginx", Start: "0 3 * * *", Duration: time.Hour}}
	s := open(t, cfg)
	next := learnWeb(t, s, 100)
	assert.Equal(t, Learning, s.View("shop/web/nginx", next.start()).Status(), "a little is known")
	assert.Equal(t, Learning, s.View("shop/unknown/x", next.start()).Status(), "nothing is known")
	assert.Equal(t, Disabled, s.View("kube-system/a/b", next.start()).Status(), "excluded")
	assert.Equal(t, Excluded, s.Observe(&Window{Workload: "kube-system/a/b"}))
	assert.Equal(t, Excluded, s.Observe(&Window{}))
	assert.Equal(t, 1, s.Len())

	_, ok := s.View("kube-system/a/b", next.start()).Deviation(EgressBytes, 1)
	assert.False(t, ok)
	_, ok = s.View("shop/unknown/x", next.start()).New(Peer, "1.2.3.4")
	assert.False(t, ok)
	assert.Zero(t, s.View("shop/unknown/x", next.start()).Age())
	assert.Zero(t, s.View("shop/unknown/x", next.start()).Confidence())

	at := next
	for ; at < day+week+1; at++ {
		s.Observe(window(at, EgressBytes, 1e5))
	}
	assert.Equal(t, Active, s.View("shop/web/nginx", at.start()).Status())
	night := (at/1440+1)*1440 + 3*60
	assert.Equal(t, InMaintenance, s.View("shop/web/nginx", night.start()).Status())
	assert.Equal(t, Active, s.View("shop/web/nginx", (night+60).start()).Status())
	assert.Equal(t, DuringMaintenance, s.Observe(window(night+30, EgressBytes, 1e5)))
	assert.Equal(t, Learned, s.Observe(window(night+61, EgressBytes, 1e5)))
	assert.Equal(t, uint64(7*60+1), s.Stats.Windows[DuringMaintenance].Load())
}

func TestModes(t *testing.T) {
	t.Run("learn never leaves learning and makes everything reference", func(t *testing.T) {
		cfg := testConfig()
		cfg.Mode = Learn
		s := open(t, cfg)
		next := learnWeb(t, s, week+10)
		assert.Equal(t, Learning, s.View("shop/web/nginx", next.start()).Status())
		assert.Equal(t, Learned, s.Observe(window(next, EgressBytes, 1e12)))
		f, err := s.Snapshot(time.Unix(1, 0))
		require.NoError(t, err)
		w, err := f.Workloads()
		require.NoError(t, err)
		assert.Zero(t, w[0].LaterWindows)
	})
	t.Run("detect learns nothing", func(t *testing.T) {
		cfg := testConfig()
		cfg.Mode = Detect
		s := open(t, cfg)
		s.See("shop/web/nginx", "c1", Peer, "1.2.3.4")
		assert.Equal(t, Compared, s.Observe(window(day, EgressBytes, 1)))
		assert.Zero(t, s.Len())
	})
	t.Run("names", func(t *testing.T) {
		for _, name := range []string{"learn", "detect", "both"} {
			m, err := ModeByName(name)
			require.NoError(t, err)
			assert.Equal(t, name, m.String())
		}
		_, err := ModeByName("watch")
		assert.EqualError(t, err, `no mode "watch"; want one of learn, detect, both`)
	})
}

func TestWindowsThatAreNotLearned(t *testing.T) {
	s := open(t, testConfig())
	next := learnWeb(t, s, week+10)
	v := s.View("shop/web/nginx", next.start())
	before := v.normal(EgressBytes)

	lost := window(next, EgressBytes, 1e5)
	lost.Drops = true
	assert.Equal(t, LostEvents, s.Observe(lost))
	assert.Equal(t, Deviating, s.Observe(window(next+1, EgressBytes, 1e9)))
	assert.Equal(t, Deviating, s.Observe(window(next+2, StagedFiles, 100)))
	reported := window(next+3, EgressBytes, 1e5)
	reported.Reported = true
	assert.Equal(t, AlreadyReported, s.Observe(reported))
	assert.Equal(t, before, s.View("shop/web/nginx", next.start()).normal(EgressBytes))
	assert.Equal(t, Repeated, s.Observe(window(next+1, EgressBytes, 1e5)), "a quarantined window is not learned by a replay")

	assert.Equal(t, Learned, s.Observe(window(next+4, ArchiveBytes, 1000)), "unusual, but too little for a rule to report")

	f, err := s.Snapshot(time.Unix(1, 0))
	require.NoError(t, err)
	w, err := f.Workloads()
	require.NoError(t, err)
	assert.Equal(t, map[string]uint64{"lost_events": 1, "deviating": 2, "reported": 1}, w[0].Quarantined)
}

// An attacker raises the volume by 5 % a day, which is 18.7 times as much after 60 days. Every window passes as normal
// and is learned; what is typical must stay within Drift.Total all the same.
func TestSlowPoisoningMovesTypicalNoFurtherThanTheBound(t *testing.T) {
	for _, hours := range []bool{false, true} {
		t.Run(fmt.Sprintf("hours=%v", hours), func(t *testing.T) {
			cfg := testConfig()
			cfg.Hours = hours
			s := open(t, cfg)
			at := learnWeb(t, s, week+10)
			v := s.View("shop/web/nginx", at.start())
			start, _ := v.Typical(EgressBytes)
			startSpread := v.normal(EgressBytes).spread
			rng := rand.New(rand.NewPCG(9, 9))
			factor := 1.0
			for d := range 60 {
				factor *= 1.05
				for range 1440 {
					s.Observe(window(at, EgressBytes, lognormal(rng, 1e5*factor, 2)))
					at++
				}
				allowed := math.Exp2(cfg.Drift.bits(time.Duration(d+1)*24*time.Hour)) * 1.0001
				for _, later := range []minute{0, 6 * 60, 12 * 60} {
					v := s.View("shop/web/nginx", (at + later).start())
					typical, _ := v.Typical(EgressBytes)
					if hours { // an hour's own reference, which may lie a little higher than the day's
						allowed = 1.5 * 1.25
					}
					require.LessOrEqual(t, float64(typical), allowed*float64(start), "day %d", d)
					require.LessOrEqual(t, v.normal(EgressBytes).spread, 1.5*1.25*startSpread)
				}
			}
			learned := s.Stats.Windows[Learned].Load()
			assert.Greater(t, learned, uint64(week+20*1440), "the poison was learned, not only refused")
			typical, _ := s.View("shop/web/nginx", at.start()).Typical(EgressBytes)
			assert.Greater(t, float64(typical), 1.3*float64(start), "growth is followed up to the bound")

			d, _ := s.View("shop/web/nginx", at.start()).Deviation(EgressBytes, 1e5*200)
			assert.GreaterOrEqual(t, d, uint64(4), "and two hundred times the old median is still far off")
		})
	}
}

func TestSmallWindowsDoNotWidenTheSpread(t *testing.T) {
	s := open(t, testConfig())
	at := learnWeb(t, s, week+10)
	before := s.View("shop/web/nginx", at.start()).normal(EgressBytes)
	for range 60 * 1440 {
		s.Observe(window(at, EgressBytes, 1+uint64(at%2)*100000))
		at++
	}
	after := s.View("shop/web/nginx", at.start()).normal(EgressBytes)
	assert.InDelta(t, before.median, after.median, math.Log2(1.5)+1e-9)
	assert.LessOrEqual(t, after.spread, before.spread*1.5+1e-9)
}

func TestAcceptMakesWhatWasLearnedReference(t *testing.T) {
	s := open(t, testConfig())
	at := learnWeb(t, s, week+10)
	for range 60 * 1440 {
		s.Observe(window(at, EgressBytes, 3e5))
		at++
	}
	typical, _ := s.View("shop/web/nginx", at.start()).Typical(EgressBytes)
	f, err := s.Snapshot(time.Unix(1, 0))
	require.NoError(t, err)

	f, err = f.Accept(func(w string) bool { return w == "shop/web/nginx" })
	require.NoError(t, err)
	s, err = newStore(testConfig(), f)
	require.NoError(t, err)
	accepted := s.View("shop/web/nginx", at.start())
	assert.Equal(t, Active, accepted.Status())
	n := accepted.normal(EgressBytes)
	assert.InDelta(t, lg(3e5), n.median, 0.03)
	again, _ := accepted.Typical(EgressBytes)
	assert.NotEqual(t, typical, again)
}

func TestHoursTellNightFromNoon(t *testing.T) {
	for _, c := range []struct {
		name  string
		hours bool
		noon  uint64 // least deviation at noon
	}{
		{"with hours a backup at noon is far off", true, 7},
		{"without hours a backup is a backup", false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Hours = c.hours
			s := open(t, cfg)
			at := day
			for range 8 * 1440 {
				x := uint64(0)
				if at%1440 >= 2*60 && at%1440 < 2*60+20 {
					x = 5e9 + uint64(at%7)*1e8
				}
				require.Equal(t, Learned, s.Observe(window(at, EgressBytes, x)))
				at++
			}
			night, noon := (at + 2*60).start(), (at + 12*60).start()
			d, _ := s.View("shop/web/nginx", night).Deviation(EgressBytes, 6e9)
			assert.Zero(t, d, "the backup at night is normal")
			d, _ = s.View("shop/web/nginx", night).Deviation(EgressBytes, 6e12)
			assert.GreaterOrEqual(t, d, uint64(6), "a thousand times the backup is not, not even at night")
			d, _ = s.View("shop/web/nginx", noon).Deviation(EgressBytes, 6e9)
			assert.GreaterOrEqual(t, d, c.noon)
			if !c.hours {
				assert.Zero(t, d)
			}
		})
	}
}

func TestAnHourWithFewWindowsFallsBackToTheDay(t *testing.T) {
	cfg := testConfig()
	cfg.Hours = true
	s := open(t, cfg)
	for i := range 700 { // from midnight to 11:40
		s.Observe(window(day+minute(i), EgressBytes, 1e6))
	}
	evening := s.View("shop/web/nginx", (day + 20*60).start()).normal(EgressBytes)
	assert.InDelta(t, lg(1e6), evening.median, 0.03)
}

func TestNewValues(t *testing.T) {
	s := open(t, testConfig())
	at := day
	see := func(v string) { s.See("shop/web/nginx", "c1", Peer, v) }
	isNew := func(v string) bool {
		n, ok := s.View("shop/web/nginx", at.start()).New(Peer, v)
		require.True(t, ok)
		return n
	}
	for range week + 1 {
		see("10.0.0.5:5432")
		s.Observe(window(at, EgressBytes, 1e5))
		at++
	}
	require.Equal(t, Active, s.View("shop/web/nginx", at.start()).Status())
	assert.False(t, isNew("10.0.0.5:5432"))
	assert.True(t, isNew("203.0.113.9:443"))

	t.Run("a value of a window that is not learned stays new", func(t *testing.T) {
		see("203.0.113.9:443")
		require.Equal(t, Deviating, s.Observe(window(at, EgressBytes, 1e12)))
		at++
		assert.True(t, isNew("203.0.113.9:443"))
	})
	t.Run("a value first seen after learning stays new for the probation", func(t *testing.T) {
		seen := at
		for at < seen+week {
			require.True(t, isNew("10.0.0.6:5432"), "minute %d", at-seen)
			see("10.0.0.6:5432")
			require.Equal(t, Learned, s.Observe(window(at, EgressBytes, 1e5)))
			at++
		}
		see("10.0.0.6:5432")
		s.Observe(window(at, EgressBytes, 1e5))
		at++
		assert.False(t, isNew("10.0.0.6:5432"))
	})
	t.Run("a value seen by another replica is not learned with this one's window", func(t *testing.T) {
		s.See("shop/web/nginx", "c2", Exe, "/tmp/x")
		s.Observe(window(at, EgressBytes, 1e5))
		f, err := s.Snapshot(time.Unix(1, 0))
		require.NoError(t, err)
		w, err := f.Workloads()
		require.NoError(t, err)
		assert.Empty(t, w[0].Values[Exe].Candidates)
		assert.Empty(t, w[0].Values[Exe].Known)
	})
}

func TestTooManyNewValuesAreDroppedAndCounted(t *testing.T) {
	s := open(t, testConfig())
	for i := range maxPending + 7 {
		s.See("w", "c", Peer, strconv.Itoa(i))
		s.See("w", "c", Peer, strconv.Itoa(i))
	}
	assert.Equal(t, uint64(14), s.Stats.ValuesDropped.Load())
	for i := range maxContainers + 3 {
		s.See("w", fmt.Sprint("c", i), Exe, "x")
	}
	assert.Equal(t, uint64(14+maxPending+3), s.Stats.ValuesDropped.Load(), "the first container's and three more")
}

func TestAFloodOfWorkloadsDrivesOutItself(t *testing.T) {
	cfg := testConfig()
	cfg.MaxWorkloads = 10
	cfg.Learning, cfg.MinWindows = time.Hour, 60
	s := open(t, cfg)
	learnWeb(t, s, 61)
	for i := range 100 {
		w := window(day+100+minute(i), EgressBytes, 1)
		w.Workload, w.Image = fmt.Sprintf("flood/%d", i), fmt.Sprintf("image/%d", i/2)
		require.Equal(t, Learned, s.Observe(w))
	}
	assert.Equal(t, 10, s.Len())
	assert.Equal(t, Active, s.View("shop/web/nginx", day.start()).Status())
	assert.Equal(t, uint64(91), s.Stats.WorkloadsEvicted.Load())
	assert.LessOrEqual(t, len(s.images), 10)
	assert.Contains(t, s.images, "nginx")
}

func TestConfidence(t *testing.T) {
	s := open(t, testConfig())
	view := func() View { return s.View("shop/web/nginx", day.start()) }
	at := day
	var before uint64
	for range 1440 {
		s.Observe(window(at, EgressBytes, 1e5))
		at++
		require.GreaterOrEqual(t, view().Confidence(), before, "it grows with the windows")
		before = view().Confidence()
	}
	assert.Equal(t, uint64(92), view().Confidence(), "100 * 1440/1560")

	s.SetBlind(true)
	assert.Equal(t, uint64(23), view().Confidence(), "a quarter without file I/O events")
	s.SetBlind(false)

	for range 60 {
		w := window(at, EgressBytes, 1e5)
		w.Drops = true
		s.Observe(w)
		at++
	}
	assert.Equal(t, uint64(33), view().Confidence(), "most windows of the last hour lost events")
	for range 600 {
		s.Observe(window(at, EgressBytes, 1e5))
		at++
	}
	assert.Equal(t, uint64(94), view().Confidence(), "that is forgotten in time")

	w := window(at, EgressBytes, 1)
	w.Workload = "shop/twin/nginx"
	s.Observe(w)
	assert.Equal(t, uint64(47), s.View("shop/twin/nginx", at.start()).Confidence(), "half of what its image has")
	w.Workload, w.Image = "shop/stranger/x", "x"
	s.Observe(w)
	assert.Zero(t, s.View("shop/stranger/x", at.start()).Confidence())
}

func TestRatioAndTypical(t *testing.T) {
	s := open(t, testConfig())
	for i := range 700 {
		s.Observe(window(day+minute(i), StagedFiles, 4))
	}
	v := s.View("shop/web/nginx", day.start())
	typical, ok := v.Typical(StagedFiles)
	assert.True(t, ok)
	assert.Equal(t, uint64(4), typical)
	for x, want := range map[uint64]uint64{0: 0, 4: 100, 6: 150, 400: 10000, math.MaxUint64: math.MaxUint64} {
		ratio, ok := v.Ratio(StagedFiles, x)
		assert.True(t, ok)
		assert.Equal(t, want, ratio)
	}
	ratio, ok := v.Ratio(ArchiveBytes, 7)
	assert.True(t, ok)
	assert.Equal(t, uint64(700), ratio, "nothing is typical: percent of one")
}

func TestNames(t *testing.T) {
	for m := range Metric(NumMetrics) {
		got, err := MetricByName(m.String())
		require.NoError(t, err)
		assert.Equal(t, m, got)
	}
	for d := range Dimension(NumDimensions) {
		got, err := DimensionByName(d.String())
		require.NoError(t, err)
		assert.Equal(t, d, got)
	}
	_, err := MetricByName("bytes")
	assert.ErrorContains(t, err, `no metric "bytes"; want one of staged_bytes, staged_files,`)
	_, err = DimensionByName("")
	assert.ErrorContains(t, err, `no dimension ""; want one of exe, dir,`)
}

func TestLookingAllocatesNothing(t *testing.T) {
	cfg := testConfig()
	cfg.Hours = true
	s := open(t, cfg)
	feedShop(s, 8, 200, 1)
	workload, peer := "shop/app-3/main", "10.0.3.7:5432"
	now := (day + 100).start()
	var sum uint64
	look := func() {
		v := s.View(workload, now)
		d, _ := v.Deviation(EgressBytes, 1<<30)
		r, _ := v.Ratio(EgressBytes, 1<<30)
		y, _ := v.Typical(EgressBytes)
		isNew, _ := v.New(Peer, peer)
		if isNew {
			sum++
		}
		sum += d + r + y + v.Confidence() + v.Windows() + uint64(v.Age()) + uint64(v.Status())
		s.See(workload, "c", Peer, peer) // known
	}
	assert.Zero(t, testing.AllocsPerRun(100, look))
	assert.Zero(t, testing.AllocsPerRun(100, func() { now += uint64(time.Hour); look() }), "nor when all is computed anew")
	assert.NotZero(t, sum)
}
