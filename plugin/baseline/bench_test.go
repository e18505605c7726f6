package baseline

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Run with: go test -run '^$' -bench . ./plugin/baseline | tee new.txt; benchstat old.txt new.txt

// busyStore has learned workloads for two days, each with four metrics that are mostly active and ten to thirty values.
func busyStore(b *testing.B, path string, workloads int, hours bool) *Store {
	cfg := testConfig()
	cfg.Hours = hours
	s, _, err := Open(cfg, path)
	require.NoError(b, err)
	feedShop(s, workloads, 2*1440, 1)
	return s
}

func BenchmarkObserve(b *testing.B) {
	for _, hours := range []bool{false, true} {
		b.Run(fmt.Sprintf("hours=%v", hours), func(b *testing.B) {
			s := busyStore(b, "", 50, hours)
			rng := rand.New(rand.NewPCG(1, 1))
			var windows [4096]Window
			for i := range windows {
				w := &windows[i]
				*w = Window{Workload: fmt.Sprintf("shop/app-%d/main", i%50), Image: "i", Instance: "c"}
				for _, m := range []Metric{EgressBytes, SourceBytes, RemoteBytes, StagedBytes} {
					w.Totals[m] = lognormal(rng, 1e5, 3)
				}
			}
			at := day + 10000
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w := &windows[i%4096]
				w.Start = (at + minute(i/50)).start()
				s.Observe(w)
			}
		})
	}
}

func BenchmarkDeviation(b *testing.B) {
	s := busyStore(b, "", 50, false)
	b.Run("unchanged", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.View("shop/app-7/main", day.start()).Deviation(EgressBytes, 1<<30)
		}
	})
	b.Run("after a window", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.profiles["shop/app-7/main"].version++
			s.View("shop/app-7/main", day.start()).Deviation(EgressBytes, 1<<30)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	s := busyStore(b, "", 50, false)
	b.ReportAllocs()
	for b.Loop() {
		s.View("shop/app-7/main", day.start()).New(Peer, "203.0.113.9:443")
	}
}

func BenchmarkSee(b *testing.B) {
	s := busyStore(b, "", 50, false)
	b.ReportAllocs()
	for b.Loop() {
		s.See("shop/app-7/main", "c", Peer, "10.0.7.3:5432")
	}
}

func BenchmarkProfile(b *testing.B) {
	for _, hours := range []bool{false, true} {
		b.Run(fmt.Sprintf("hours=%v", hours), func(b *testing.B) {
			const workloads = 500
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				s := busyStore(b, "", workloads, hours)
				runtime.GC()
				runtime.ReadMemStats(&after)
				f, err := s.Snapshot(time.Unix(1, 0))
				require.NoError(b, err)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/workloads, "memory-B/profile")
				b.ReportMetric(float64(f.digests[0].size)/workloads, "raw-B/profile")
				b.ReportMetric(float64(len(f.Encode()))/workloads, "disk-B/profile")
			}
		})
	}
}

// BenchmarkSave saves 1,000 workloads while windows go on closing. The pause is how long one call holds up its owner: on
// the clock, which counts whatever else the machine runs, and in the thread's CPU time.
func BenchmarkSave(b *testing.B) {
	for _, hours := range []bool{false, true} {
		b.Run(fmt.Sprintf("hours=%v", hours), func(b *testing.B) {
			s := busyStore(b, filepath.Join(b.TempDir(), "baseline"), 1000, hours)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var pauses, cpu []time.Duration
			measure := func(f func()) {
				start, startCPU := time.Now(), threadTime()
				f()
				cpu = append(cpu, threadTime()-startCPU)
				pauses = append(pauses, time.Since(start))
			}
			at := day + 10000
			b.ReportAllocs()
			for b.Loop() {
				s.Observe(&Window{Workload: "shop/app-7/main", Start: at.start()})
				measure(func() { s.Save(time.Now()) })
				for n := 0; s.disk.busy; n++ {
					at++
					w := &Window{Workload: fmt.Sprintf("shop/app-%d/main", n%1000), Start: at.start()}
					measure(func() { s.Observe(w) })
					if len(s.disk.left) == 0 {
						time.Sleep(time.Millisecond) // windows do not close all the time
					}
				}
			}
			require.NoError(b, s.SaveError())
			report := func(name string, d []time.Duration) {
				slices.Sort(d)
				b.ReportMetric(float64(d[len(d)/2].Nanoseconds())/1e3, name+"-p50-µs")
				b.ReportMetric(float64(d[len(d)-1].Nanoseconds())/1e3, name+"-max-µs")
			}
			report("clock", pauses)
			report("cpu", cpu)
			b.ReportMetric(float64(s.Stats.SaveBytes.Load()), "file-B")
		})
	}
}

// threadTime returns the CPU time of the thread, which is locked.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// BenchmarkMerge merges the files of 1,000 nodes with 20 workloads each, decoding and encoding included.
func BenchmarkMerge(b *testing.B) {
	const nodes = 1000
	var contents [][]byte
	one := nodeFile(b, "node", 20, 1, 1)
	for i := range nodes {
		f := &File{[]digest{one.digests[0]}}
		f.digests[0].id = fmt.Sprintf("node-%04d", i)
		contents = append(contents, f.Encode())
	}
	read := func() []*File {
		files := make([]*File, nodes)
		for i, c := range contents {
			f, err := Decode(c)
			require.NoError(b, err)
			files[i] = f
		}
		return files
	}
	b.Run("merge", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f, err := Merge(read()...)
			require.NoError(b, err)
			b.ReportMetric(float64(len(f.Encode())), "file-B")
		}
	})
	b.Run("compact", func(b *testing.B) {
		f, err := Merge(read()...)
		require.NoError(b, err)
		b.ReportAllocs()
		for b.Loop() {
			c, err := f.Compact()
			require.NoError(b, err)
			b.ReportMetric(float64(len(c.Encode())), "file-B")
		}
	})
}
