package baseline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("BASELINE_SAVE_UNTIL_KILLED"); path != "" {
		saveUntilKilled(path)
	}
	os.Exit(m.Run())
}

// reopen opens what is at path and wants no warning.
func reopen(t testing.TB, cfg Config, path string) *Store {
	t.Helper()
	s, warnings, err := Open(cfg, path)
	require.NoError(t, err)
	require.Empty(t, warnings)
	return s
}

func webWindows(s *Store) uint64 { return s.View("shop/web/nginx", 0).Windows() }

func TestAStoreGoesOnWhereItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline")
	s := reopen(t, testConfig(), path)
	require.Zero(t, s.Len())
	require.False(t, s.Save(time.Now()), "there is nothing to save")
	next := learnWeb(t, s, 100)
	require.NoError(t, s.Close(time.Now()))
	want := s.View("shop/web/nginx", day.start()).normal(EgressBytes)

	s = reopen(t, testConfig(), path)
	assert.Equal(t, uint64(100), webWindows(s))
	assert.Equal(t, want, s.View("shop/web/nginx", day.start()).normal(EgressBytes), "with all that it leans on")
	assert.Equal(t, Repeated, s.Observe(window(next-1, EgressBytes, 1)))
	assert.False(t, s.Save(time.Now()), "a repeated window changes nothing")
	assert.Equal(t, Learned, s.Observe(window(next, EgressBytes, 1)))
	require.NoError(t, s.Close(time.Now()))
	assert.Equal(t, uint64(1), s.Stats.Saves.Load())

	s = reopen(t, testConfig(), path)
	assert.Equal(t, uint64(101), webWindows(s))
	prev, err := ReadFile(path + prevSuffix)
	require.NoError(t, err)
	w, err := prev.Workloads()
	require.NoError(t, err)
	assert.Equal(t, uint64(100), w[0].Windows, "the generation before is kept")
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestGenerationsGrowWhateverTheClockSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline")
	s := reopen(t, testConfig(), path)
	var before uint64
	for i, now := range []int64{1000, 500, 2000} {
		s.Observe(window(day+minute(i), EgressBytes, 1))
		require.NoError(t, s.Close(time.Unix(now, 0)))
		f, err := ReadFile(path)
		require.NoError(t, err)
		assert.Greater(t, f.digests[0].generation, before)
		before = f.digests[0].generation
	}
	s = reopen(t, testConfig(), path)
	s.Observe(window(day+9, EgressBytes, 1))
	require.NoError(t, s.Close(time.Unix(1, 0)))
	f, err := ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before+1, f.digests[0].generation)
}

func TestOtherNodesDigestsAreUsedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline")
	fleet := merge(t, nodeFile(t, "node-7", 4, 1, 100), nodeFile(t, "node-8", 4, 2, 100))
	require.NoError(t, WriteFile(path, fleet))
	s := reopen(t, testConfig(), path)
	assert.Equal(t, uint64(120), s.View("shop/app-0/main", day.start()).Windows())
	feedShop(s, 5, 30, 3)
	assert.Equal(t, uint64(150), s.View("shop/app-0/main", day.start()).Windows())
	require.NoError(t, s.Close(time.Unix(200, 0)))

	f, err := ReadFile(path)
	require.NoError(t, err)
	var ids []string
	for _, n := range f.Nodes() {
		ids = append(ids, fmt.Sprint(n.ID, " ", n.Workloads))
	}
	assert.Equal(t, []string{"node-1 5", "node-7 4", "node-8 4"}, ids)
	assert.Equal(t, merge(t, f, fleet).Encode(), f.Encode(), "the others' digests are as they were")
	s = reopen(t, testConfig(), path)
	assert.Equal(t, uint64(150), s.View("shop/app-0/main", day.start()).Windows())
}

func TestADamagedFileIsSetAsideAndThePreviousGenerationUsed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "baseline")
	s := reopen(t, testConfig(), path)
	for i := range 2 {
		s.Observe(window(day+minute(i), EgressBytes, 1))
		require.NoError(t, s.Close(time.Now()))
	}
	damage := func(path string) []byte {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		content[len(content)/2]++
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return content
	}
	bad := damage(path)

	s, warnings, err := Open(testConfig(), path)
	require.NoError(t, err)
	require.Len(t, warnings, 2)
	assert.ErrorIs(t, warnings[0], ErrDamaged)
	assert.ErrorContains(t, warnings[0], "it is kept as "+path+".damaged-1")
	assert.ErrorContains(t, warnings[1], "using the previous generation")
	assert.Equal(t, uint64(1), webWindows(s))
	kept, err := os.ReadFile(path + ".damaged-1")
	require.NoError(t, err)
	assert.Equal(t, bad, kept)

	s.Observe(window(day+5, EgressBytes, 1))
	require.NoError(t, s.Close(time.Now()))
	s = reopen(t, testConfig(), path)
	assert.Equal(t, uint64(2), webWindows(s))

	damage(path)
	damage(path + prevSuffix)
	s, warnings, err = Open(testConfig(), path)
	require.NoError(t, err)
	require.Len(t, warnings, 2)
	assert.ErrorContains(t, warnings[0], path+".damaged-2")
	assert.ErrorContains(t, warnings[1], "starting with an empty baseline")
	assert.Zero(t, s.Len())
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	content := nodeFile(t, "a", 1, 1, 1).Encode()
	content[len(magic)]++
	future := filepath.Join(dir, "future")
	require.NoError(t, os.WriteFile(future, resum(content), 0o600))
	require.NoError(t, os.WriteFile(future+prevSuffix, nodeFile(t, "a", 1, 1, 1).Encode(), 0o600))
	_, _, err := Open(testConfig(), future)
	require.ErrorIs(t, err, ErrVersion)
	assert.ErrorContains(t, err, future)
	assert.FileExists(t, future, "and leaves it where it is")

	_, _, err = Open(testConfig(), filepath.Join(dir, "no/such/dir/baseline"))
	assert.ErrorContains(t, err, "its directory does not exist; make it")
	_, _, err = Open(testConfig(), dir)
	assert.ErrorContains(t, err, "read baseline")
	assert.DirExists(t, dir)
}

func TestADetectingStoreNeverSaves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline")
	require.NoError(t, WriteFile(path, nodeFile(t, "a", 2, 1, 1)))
	cfg := testConfig()
	cfg.Mode = Detect
	s := reopen(t, cfg, path)
	s.Observe(window(day, EgressBytes, 1))
	require.NoError(t, s.Close(time.Now()))
	assert.NoFileExists(t, path+prevSuffix)
}

func TestASaveIsOfTheMomentItBegan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline")
	s := reopen(t, testConfig(), path)
	feedShop(s, 200, 3, 1)
	want, err := s.Snapshot(time.Unix(100, 0))
	require.NoError(t, err)
	require.True(t, s.Save(time.Unix(100, 0)))
	require.NotEmpty(t, s.disk.left, "it is not done at once")
	require.False(t, s.Save(time.Unix(101, 0)), "one at a time")
	for n := range 200 { // every workload changes, and new ones come, while it runs
		for _, name := range []string{fmt.Sprintf("shop/app-%d/main", 199-n), fmt.Sprintf("late/%d", n)} {
			w := &Window{Workload: name, Start: (day + 1000).start()}
			w.Totals[ArchiveBytes] = 1
			require.Equal(t, Learned, s.Observe(w))
		}
	}
	s.wait()
	got, err := ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, want.Encode(), got.Encode())

	want, err = s.Snapshot(time.Unix(200, 0))
	require.NoError(t, err)
	require.NoError(t, s.Close(time.Unix(200, 0)))
	got, err = ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, want.Encode(), got.Encode(), "the next one has the changes")
}

func TestWorkloadsEvictedDuringASaveAreInIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline")
	cfg := testConfig()
	cfg.MaxWorkloads = 100
	s := reopen(t, cfg, path)
	feedShop(s, 100, 2, 1)
	want, err := s.Snapshot(time.Unix(100, 0))
	require.NoError(t, err)
	require.True(t, s.Save(time.Unix(100, 0)))
	for n := range 50 {
		s.Observe(&Window{Workload: fmt.Sprint("late/", n), Start: (day + 1000).start()})
	}
	s.wait()
	got, err := ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, want.Encode(), got.Encode())
}

// brokenFilesystem fails at one step; where it crashes, nothing after it happens either.
type brokenFilesystem struct {
	osFilesystem
	failAt int
	crash  bool
	step   int
	steps  []string
}

var errBroken = errors.New("broken")

func (b *brokenFilesystem) next(step string) error {
	b.steps = append(b.steps, step)
	b.step++
	if b.step == b.failAt || b.crash && b.step > b.failAt {
		return errBroken
	}
	return nil
}

func (b *brokenFilesystem) create(path string) (file, error) {
	if err := b.next("create " + filepath.Base(path)); err != nil {
		return nil, err
	}
	f, err := b.osFilesystem.create(path)
	return &brokenFile{f, b}, err
}

func (b *brokenFilesystem) rename(from, to string) error {
	if err := b.next(fmt.Sprintf("rename %s %s", filepath.Base(from), filepath.Base(to))); err != nil {
		return err
	}
	return b.osFilesystem.rename(from, to)
}

func (b *brokenFilesystem) remove(path string) error {
	if err := b.next("remove " + filepath.Base(path)); err != nil {
		return err
	}
	return b.osFilesystem.remove(path)
}

func (b *brokenFilesystem) syncDir(path string) error {
	if err := b.next("sync dir"); err != nil {
		return err
	}
	return b.osFilesystem.syncDir(path)
}

type brokenFile struct {
	file
	b *brokenFilesystem
}

func (f *brokenFile) Write(p []byte) (int, error) {
	if err := f.b.next("write"); err != nil {
		n, _ := f.file.Write(p[:len(p)/2])
		return n, err
	}
	return f.file.Write(p)
}

func (f *brokenFile) Sync() error {
	if err := f.b.next("sync"); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *brokenFile) Close() error {
	err := f.b.next("close")
	return errors.Join(err, f.file.Close())
}

func TestTheStepsOfASave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b")
	b := &brokenFilesystem{}
	require.NoError(t, write(b, path, []byte("x")))
	assert.Equal(t, []string{"create b.tmp", "write", "sync", "close", "rename b b.prev", "rename b.tmp b", "sync dir"}, b.steps)
}

func TestWhicheverStepOfASaveFailsAWholeGenerationRemains(t *testing.T) {
	const steps = 7
	for _, crash := range []bool{false, true} {
		for failAt := 1; failAt <= steps; failAt++ {
			t.Run(fmt.Sprintf("crash=%v/step=%d", crash, failAt), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "baseline")
				s := reopen(t, testConfig(), path)
				for i := range 3 {
					s.Observe(window(day+minute(i), EgressBytes, 1))
					require.NoError(t, s.Close(time.Now()))
				}
				b := &brokenFilesystem{failAt: failAt, crash: crash}
				s.disk.fsys = b
				s.Observe(window(day+3, EgressBytes, 1))
				require.ErrorIs(t, s.Close(time.Now()), errBroken)
				require.ErrorIs(t, s.SaveError(), errBroken)
				assert.Equal(t, uint64(1), s.Stats.SaveErrors.Load())

				after, _, err := Open(testConfig(), path)
				require.NoError(t, err)
				assert.GreaterOrEqual(t, webWindows(after), uint64(3), "at most what was learned since the save before is lost")
				assert.NoFileExists(t, path+damagedSuffix+"1")

				if !crash { // the store lives on, and tries again though nothing new was learned
					require.NoError(t, s.Close(time.Now()))
					require.NoError(t, s.SaveError())
					assert.Equal(t, uint64(4), webWindows(reopen(t, testConfig(), path)))
				}
			})
		}
	}
}

// saveUntilKilled learns and saves, and tells what it has learned once it is saved.
func saveUntilKilled(path string) {
	cfg := testConfig()
	s, warnings, err := Open(cfg, path)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for _, w := range warnings {
		fmt.Println("warning", w)
	}
	at := day + minute(webWindows(s))
	fmt.Println("saved", webWindows(s))
	for {
		for n := range 50 {
			w := window(at, EgressBytes, uint64(at)*7919%1e6)
			s.Observe(w)
			w.Workload = fmt.Sprint("other/", n)
			s.Observe(w)
		}
		at++
		s.Save(time.Now())
		if err := s.wait(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("saved", webWindows(s))
	}
}

func TestKilledAtAnyMomentAStoreLosesAtMostOneInterval(t *testing.T) {
	if testing.Short() {
		t.Skip("kills itself for seconds")
	}
	path := filepath.Join(t.TempDir(), "baseline")
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	var saved, generations uint64
	for range 40 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "BASELINE_SAVE_UNTIL_KILLED="+path)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		lines := bufio.NewScanner(out)
		require.True(t, lines.Scan(), "the child begins")
		begun := make(chan struct{})
		go func() {
			<-begun
			time.Sleep(time.Duration(rng.IntN(30_000)) * time.Microsecond)
			_ = child.Process.Kill()
		}()
		first := true
		for {
			line := lines.Text()
			if text, ok := strings.CutPrefix(line, "saved "); ok {
				n, err := strconv.ParseUint(text, 10, 64)
				require.NoError(t, err)
				require.GreaterOrEqual(t, n, saved, "nothing that was saved is lost")
				generations += n - saved
				saved = n
			} else {
				require.NotContains(t, line, "damaged")
				require.NotContains(t, line, "error")
			}
			if first {
				close(begun)
				first = false
			}
			if !lines.Scan() {
				break
			}
		}
		_ = child.Wait()
		s, _, err := Open(testConfig(), path)
		require.NoError(t, err)
		require.GreaterOrEqual(t, webWindows(s), saved)
		require.LessOrEqual(t, webWindows(s), saved+1)
	}
	t.Logf("%d saves were survived", generations)
	assert.Greater(t, generations, uint64(40))
	damagedFiles, err := filepath.Glob(path + damagedSuffix + "*")
	require.NoError(t, err)
	assert.Empty(t, damagedFiles)
}

func TestWriteFileAndReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b")
	f := nodeFile(t, "a", 2, 1, 1)
	require.NoError(t, WriteFile(path, f))
	g, err := ReadFile(path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(f.Encode(), g.Encode()))
	_, err = ReadFile(path + "x")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
