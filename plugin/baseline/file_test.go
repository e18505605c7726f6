package baseline

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nodeFile is what a node learned of the shop by a time.
func nodeFile(t testing.TB, name string, workloads int, seed uint64, saved int64) *File {
	t.Helper()
	cfg := testConfig()
	cfg.Node = name
	s := open(t, cfg)
	feedShop(s, workloads, 60, seed)
	f, err := s.Snapshot(time.Unix(saved, 0))
	require.NoError(t, err)
	return f
}

func merge(t *testing.T, files ...*File) *File {
	t.Helper()
	f, err := Merge(files...)
	require.NoError(t, err)
	return f
}

func TestMergingFilesIsCommutativeAssociativeAndIdempotent(t *testing.T) {
	var files []*File
	for i := range 12 { // four nodes, three saves each
		files = append(files, nodeFile(t, fmt.Sprintf("node-%d", i%4), 5, uint64(i), int64(100+i)))
	}
	newest := merge(t, files[8:]...).Encode()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		pile := append([]*File{}, files...)
		for len(pile) > 1 { // any tree
			i := rng.IntN(len(pile) - 1)
			pile[i] = merge(t, pile[i], pile[i+1])
			pile = append(pile[:i+1], pile[i+2:]...)
		}
		require.Equal(t, newest, pile[0].Encode())
	}
	all := merge(t, files...)
	assert.Equal(t, all.Encode(), merge(t, all, all).Encode(), "with itself")
	assert.Equal(t, all.Encode(), merge(t, all, &File{}).Encode(), "with nothing")
	assert.Equal(t, files[0].Encode(), merge(t, files[0]).Encode())
}

func TestOfTwoFilesOfTheSameSaveAlwaysTheSameOneIsTaken(t *testing.T) {
	a, b := nodeFile(t, "n", 5, 1, 100), nodeFile(t, "n", 5, 2, 100)
	assert.Equal(t, merge(t, a, b).Encode(), merge(t, b, a).Encode())
}

func TestMergedNodesCompareAsOneThatSawEverything(t *testing.T) {
	merged := merge(t, nodeFile(t, "a", 4, 1, 1), nodeFile(t, "b", 4, 2, 2), nodeFile(t, "c", 4, 3, 3))
	compacted, err := merged.Compact()
	require.NoError(t, err)
	cfg := testConfig()
	fromMerged, err := newStore(cfg, merged)
	require.NoError(t, err)
	fromCompacted, err := newStore(cfg, compacted)
	require.NoError(t, err)

	one := open(t, cfg)
	for seed := range uint64(3) {
		// The same windows at other times: the store refuses a minute twice.
		s := open(t, cfg)
		feedShop(s, 4, 60, seed+1)
		for _, p := range s.profiles {
			if q, ok := one.profiles[p.own.workload]; ok {
				q.own.fold(p.own)
			} else {
				one.profiles[p.own.workload] = p
			}
		}
	}
	for n := range 4 {
		w := fmt.Sprintf("shop/app-%d/main", n)
		for m := range Metric(NumMetrics) {
			var own parts
			own.add(&one.profiles[w].own.day.reference)
			want := own.normal(m)
			for _, s := range []*Store{fromMerged, fromCompacted} {
				var p parts
				p.add(&s.profiles[w].others.day.reference)
				require.Equal(t, want, p.normal(m), "%s %s", w, m)
			}
		}
		v, c := fromMerged.View(w, day.start()), fromCompacted.View(w, day.start())
		assert.Equal(t, uint64(180), v.Windows())
		assert.Equal(t, v.Windows(), c.Windows())
		assert.Equal(t, v.Age(), c.Age())
		isNew, ok := v.New(Exe, "/usr/bin/tool-1")
		assert.True(t, ok)
		assert.False(t, isNew)
	}
}

func TestCompactedFiles(t *testing.T) {
	a1, a2 := nodeFile(t, "a", 4, 1, 100), nodeFile(t, "a", 4, 2, 200)
	b1, c1 := nodeFile(t, "b", 4, 3, 100), nodeFile(t, "c", 4, 4, 100)
	ab, err := merge(t, a1, b1).Compact()
	require.NoError(t, err)
	require.Len(t, ab.Nodes(), 1)
	assert.Equal(t, []string{"a", "b"}, ab.Nodes()[0].Includes)

	assert.Equal(t, ab.Encode(), merge(t, ab, a1).Encode(), "a node's file that is in it adds nothing")
	assert.Equal(t, ab.Encode(), merge(t, b1, ab, a1, ab).Encode())
	assert.Len(t, merge(t, ab, c1).Nodes(), 2, "another node's is added")
	_, err = Merge(ab, a2)
	require.ErrorIs(t, err, ErrOverlap)
	assert.ErrorContains(t, err, "a is a part of compact-")

	abc, err := merge(t, ab, c1).Compact()
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b", "c"}, abc.Nodes()[0].Includes)
	assert.Equal(t, abc.Encode(), merge(t, ab, abc, c1).Encode(), "one that is in another adds nothing")
	for i := range 8 { // whichever of the two ids comes first
		x := merge(t, ab, nodeFile(t, fmt.Sprint("x", i), 1, 1, 1))
		x, err := x.Compact()
		require.NoError(t, err)
		assert.Equal(t, x.Encode(), merge(t, ab, x).Encode())
		assert.Equal(t, x.Encode(), merge(t, x, b1, ab).Encode())
	}
	bc, err := merge(t, b1, c1).Compact()
	require.NoError(t, err)
	_, err = Merge(ab, bc)
	assert.ErrorIs(t, err, ErrOverlap, "neither is in the other")

	w, err := abc.Workloads()
	require.NoError(t, err)
	assert.Equal(t, uint64(180), w[0].Windows)
	again, err := abc.Compact()
	require.NoError(t, err)
	assert.Equal(t, abc.Encode(), again.Encode())
}

func TestTrim(t *testing.T) {
	f := merge(t, nodeFile(t, "a", 6, 1, 100), nodeFile(t, "b", 3, 2, 100))
	trimmed, err := f.Trim(func(w *Workload) bool { return !strings.HasPrefix(w.Name, "shop/app-1/") })
	require.NoError(t, err)
	names := func(f *File) (out []string) {
		w, err := f.Workloads()
		require.NoError(t, err)
		for _, w := range w {
			out = append(out, w.Name)
		}
		return out
	}
	assert.Equal(t, []string{"shop/app-0/main", "shop/app-2/main", "shop/app-3/main", "shop/app-4/main", "shop/app-5/main"}, names(trimmed))
	assert.Equal(t, trimmed.Encode(), merge(t, f, trimmed).Encode(), "what was trimmed does not come back from where it was")
	same, err := f.Trim(func(*Workload) bool { return true })
	require.NoError(t, err)
	assert.Equal(t, f.Encode(), same.Encode())
}

func TestDiff(t *testing.T) {
	build := func(seed, workloads int, extra func(*Store)) *File {
		cfg := testConfig()
		s := open(t, cfg)
		feedShop(s, workloads, 60, uint64(seed))
		extra(s)
		f, err := s.Snapshot(time.Unix(1, 0))
		require.NoError(t, err)
		return f
	}
	a := build(1, 4, func(s *Store) { s.Observe(&Window{Workload: "gone", Start: day.start()}) })
	b := build(1, 4, func(s *Store) {
		s.Observe(&Window{Workload: "shop/new", Start: day.start()})
		s.See("shop/app-2/main", "c", Peer, "203.0.113.9:443")
		for i := range 100 {
			w := &Window{Workload: "shop/app-2/main", Instance: "c", Start: (day + 60 + minute(i)).start()}
			w.Totals[ArchiveBytes] = 1 << 20
			s.Observe(w)
		}
	})
	none, err := Diff(a, a)
	require.NoError(t, err)
	assert.Empty(t, none)

	changes, err := Diff(a, b)
	require.NoError(t, err)
	require.Len(t, changes, 3)
	assert.Equal(t, "gone", changes[0].Workload)
	assert.Nil(t, changes[0].After)
	assert.Equal(t, "shop/app-2/main", changes[1].Workload)
	assert.Equal(t, []Metric{ArchiveBytes}, changes[1].Metrics)
	assert.Equal(t, []ValueChange{{Dimension: Peer, Added: []string{"203.0.113.9:443"}}}, changes[1].Values)
	assert.Zero(t, changes[1].Before.Metrics[ArchiveBytes].Active)
	assert.InEpsilon(t, 1<<20, changes[1].After.Metrics[ArchiveBytes].P99, accuracy)
	assert.Equal(t, "shop/new", changes[2].Workload)
	assert.Nil(t, changes[2].Before)
}

func TestDiffComparesSetsThatAreNotListedByTheirNumbers(t *testing.T) {
	with := func(ports int) *File {
		s := open(t, testConfig())
		feedShop(s, 1, 60, 1)
		for i := range ports {
			s.profiles["shop/app-0/main"].own.sets[Listen].add(strconv.Itoa(i))
		}
		f, err := s.Snapshot(time.Unix(1, 0))
		require.NoError(t, err)
		return f
	}
	differs := []ValueChange{{Dimension: Listen, Form: true}}
	for _, tc := range []struct {
		name          string
		before, after int
		want          []ValueChange
	}{
		{"as many hashes", maxListed + 2, maxListed + 2, nil},
		{"more hashes", maxListed + 2, maxListed + 3, differs},
		{"listed, then hashed", maxListed - 20, maxListed + 2, differs},
		{"hashed, then full", maxListed + 2, maxHashed + 1, differs},
		{"full, both", maxHashed + 1, maxHashed + 2, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changes, err := Diff(with(tc.before), with(tc.after))
			require.NoError(t, err)
			var got []ValueChange
			for _, c := range changes {
				got = append(got, c.Values...)
			}
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestDescribeTellsWhatWasLearned(t *testing.T) {
	f := nodeFile(t, "a", 1, 1, 100)
	w, err := f.Workloads()
	require.NoError(t, err)
	require.Len(t, w, 1)
	assert.Equal(t, "shop/app-0/main", w[0].Name)
	assert.Equal(t, "registry/app-0", w[0].Image)
	assert.Equal(t, time.Unix(0, int64(day.start())).UTC(), w[0].FirstSeen)
	assert.Equal(t, w[0].FirstSeen.Add(time.Hour), w[0].LastSeen)
	assert.Equal(t, time.Hour, w[0].Age)
	var bins uint64
	for i, b := range w[0].Metrics[EgressBytes].Bins {
		bins += b.Count
		if i > 0 {
			assert.Less(t, w[0].Metrics[EgressBytes].Bins[i-1].Value, b.Value)
		}
	}
	assert.Equal(t, w[0].Metrics[EgressBytes].Active, bins)
	assert.Equal(t, 6, w[0].Values[Exe].NumKnown)
	assert.Equal(t, "/usr/bin/tool-0", w[0].Values[Exe].Known[0])
	assert.Equal(t, []NodeInfo{{ID: "a", Saved: time.Unix(100, 0).UTC(), Workloads: 1, Bytes: f.Nodes()[0].Bytes}}, f.Nodes())
}

// richStore has everything that a file can hold.
func richStore(t testing.TB) *Store {
	cfg := testConfig()
	cfg.Hours = true
	cfg.Learning = 20 * time.Minute
	cfg.MinWindows = 20
	s := open(t, cfg)
	feedShop(s, 3, 60, 1)
	for i := range maxListed + 2 {
		s.profiles["shop/app-0/main"].own.sets[Port].add(strconv.Itoa(i))
	}
	for i := range maxHashed + 1 {
		s.profiles["shop/app-0/main"].own.sets[Listen].add(strconv.Itoa(i))
	}
	s.Observe(&Window{Workload: "shop/app-1/main", Start: (day + 500).start(), Drops: true})
	s.Observe(&Window{Workload: "shop/app-1/main", Start: day.start() - 1e14})
	return s
}

func TestAFileRoundTrips(t *testing.T) {
	s := richStore(t)
	f, err := s.Snapshot(time.Unix(5, 0))
	require.NoError(t, err)
	g, err := Decode(f.Encode())
	require.NoError(t, err)
	assert.Equal(t, f.Encode(), g.Encode())
	loaded, err := newStore(s.cfg, g)
	require.NoError(t, err)
	require.Equal(t, s.Len(), loaded.Len())
	for name, p := range s.profiles {
		want, got := *p.own, *loaded.profiles[name].own
		assert.Equal(t, want.seen.closed(), got.seen.runs)
		want.seen, got.seen = coverage{}, coverage{}
		for d := range want.sets {
			if len(want.sets[d].trial) == 0 {
				want.sets[d].trial = nil
			}
		}
		require.Equal(t, want, got, name)
		a, b := s.View(name, (day+30).start()), loaded.View(name, (day+30).start())
		for m := range Metric(NumMetrics) {
			assert.Equal(t, a.normal(m), b.normal(m), "%s of %s", m, name)
		}
	}
}

func TestEveryDamagedByteIsNoticed(t *testing.T) {
	f, err := richStore(t).Snapshot(time.Unix(5, 0))
	require.NoError(t, err)
	content := f.Encode()
	for i := range content {
		content[i] ^= 0x10
		_, err := Decode(content)
		require.ErrorIs(t, err, ErrDamaged, "byte %d", i)
		content[i] ^= 0x10
	}
	for n := range content {
		_, err := Decode(content[:n])
		require.ErrorIs(t, err, ErrDamaged, "%d bytes", n)
	}
	_, err = Decode(append(content, 0))
	assert.ErrorIs(t, err, ErrDamaged)
}

func TestADamagedFileSaysWhere(t *testing.T) {
	content := merge(t, nodeFile(t, "a", 3, 1, 1), nodeFile(t, "b", 3, 2, 2)).Encode()
	f, err := Decode(content)
	require.NoError(t, err)
	b := f.digests[1].compressed
	end := len(content) - checksumLen
	flipped := func(at int) []byte {
		c := append([]byte{}, content...)
		c[at] ^= 0x10
		return c
	}
	for _, tc := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"nothing at all", nil, "it is empty"},
		{"something else", []byte("# a rules file"), `not a baseline file, for it begins with "# a rule" and not with "dsbaseln"`},
		{"less than a beginning", []byte("dsb"), `it begins with "dsb"`},
		{"a beginning and no more", content[:12], "it ends after 12 bytes"},
		{"a node's records", flipped(end - 20), fmt.Sprintf(`its checksum is wrong; the damage is in bytes %d to %d, what node "b" learned`, end-len(b), end)},
		{"the second half missing", content[:len(content)/2], "its checksum is wrong; a number too large at byte "},
		{"the checksum itself", flipped(end), "its checksum is wrong"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Decode(tc.content)
			require.ErrorIs(t, err, ErrDamaged)
			assert.ErrorContains(t, err, tc.want)
		})
	}
}

func TestAWorkloadTellsItsDigestsAndSize(t *testing.T) {
	f := merge(t, nodeFile(t, "a", 1, 1, 1), nodeFile(t, "b", 2, 2, 2), nodeFile(t, "c", 2, 3, 3))
	workloads, err := f.Workloads()
	require.NoError(t, err)
	assert.Equal(t, []int{3, 2}, []int{workloads[0].Digests, workloads[1].Digests})

	records, err := f.fold()
	require.NoError(t, err)
	var w writer
	records[0].encode(&w)
	assert.Equal(t, len(w.buf), workloads[0].Bytes)

	compacted, err := f.Compact()
	require.NoError(t, err)
	workloads, err = compacted.Workloads()
	require.NoError(t, err)
	assert.Equal(t, 1, workloads[0].Digests)
}

// resum makes the checksum right again.
func resum(content []byte) []byte {
	body := content[:len(content)-checksumLen]
	return binary.LittleEndian.AppendUint64(body, xxhash.Sum64(body))
}

func TestFilesOfAnotherVersionOrSchemaAreRefused(t *testing.T) {
	content := nodeFile(t, "a", 1, 1, 1).Encode()
	future := append([]byte{}, content...)
	future[len(magic)]++
	_, err := Decode(resum(future))
	require.ErrorIs(t, err, ErrVersion)
	assert.ErrorContains(t, err, "it has version 2, this program reads version 1")

	other := []byte(strings.Replace(string(content), "staged_files", "staged_filez", 1))
	_, err = Decode(resum(other))
	require.ErrorIs(t, err, ErrSchema)
	assert.ErrorContains(t, err, "staged_filez")
}

func FuzzDecode(f *testing.F) {
	file, err := richStore(f).Snapshot(time.Unix(5, 0))
	require.NoError(f, err)
	f.Add(file.Encode())
	f.Add((&File{}).Encode())
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) < len(magic)+2+checksumLen {
			return
		}
		file, err := Decode(resum(content))
		if err != nil {
			return
		}
		again, err := Decode(file.Encode())
		require.NoError(t, err)
		require.Equal(t, file, again)
	})
}

// FuzzRecords decodes records that passed every checksum, which an honest program never writes.
func FuzzRecords(f *testing.F) {
	for _, p := range richStore(f).profiles {
		p.own.sets[Port], p.own.hours = set{}, p.own.hours[:1] // the fuzzer is slow with long seeds
		var w writer
		p.own.encode(&w)
		f.Add(w.buf)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		r := reader{buf: content}
		rec := decodeRecord(&r)
		if r.err != nil {
			return
		}
		var w, again writer
		rec.encode(&w)
		r = reader{buf: w.buf}
		decodeRecord(&r).encode(&again)
		require.NoError(t, r.err)
		require.Equal(t, w.buf, again.buf)
		rec.describe()
		var p parts
		p.add(&rec.day.reference)
		p.add(&rec.day.later)
		for m := range Metric(NumMetrics) {
			n := p.normal(m)
			require.False(t, math.IsNaN(n.median+n.spread+n.tail))
			require.Positive(t, n.spread)
		}
	})
}
