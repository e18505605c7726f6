package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

var learnedFrom = time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)

// learner is a node that learns: ten minutes make a reference.
func learner(t testing.TB, node string) *baseline.Store {
	t.Helper()
	cfg := baseline.DefaultConfig()
	cfg.Node, cfg.Learning, cfg.MinWindows = node, 10*time.Minute, 10
	s, _, err := baseline.Open(cfg, "")
	require.NoError(t, err)
	return s
}

// feed lets workloads send for some minutes.
func feed(s *baseline.Store, workloads, from, to int, numBytes uint64) {
	for m := from; m < to; m++ {
		for n := range workloads {
			w := baseline.Window{
				Workload: fmt.Sprintf("shop/app-%03d/main", n), Image: "registry.example.com/app", Instance: "1",
				Start: uint64(learnedFrom.Add(time.Duration(m) * time.Minute).UnixNano()),
			}
			w.Totals[baseline.EgressBytes] = numBytes * uint64(1+m%7)
			w.Totals[baseline.SourceBytes] = numBytes * uint64(1+(m*n)%50)
			s.See(w.Workload, w.Instance, baseline.Exe, fmt.Sprintf("/usr/bin/tool-%d", n%5))
			s.See(w.Workload, w.Instance, baseline.Peer, fmt.Sprintf("10.0.0.%d", m%20))
			s.Observe(&w)
		}
	}
}

func snapshot(t testing.TB, s *baseline.Store, saved int64) *baseline.File {
	t.Helper()
	f, err := s.Snapshot(time.Unix(saved, 0))
	require.NoError(t, err)
	return f
}

// nodeFile is what a node learned of some workloads in an hour.
func nodeFile(t testing.TB, node string, workloads int, saved int64) *baseline.File {
	t.Helper()
	s := learner(t, node)
	feed(s, workloads, 0, 10, 1<<20)
	return snapshot(t, s, saved)
}

func compact(t testing.TB, files ...*baseline.File) *baseline.File {
	t.Helper()
	f, err := baseline.Merge(files...)
	require.NoError(t, err)
	f, err = f.Compact()
	require.NoError(t, err)
	return f
}

func write(t testing.TB, path string, f *baseline.File) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, f.Encode(), 0o600))
	return path
}

// stagectl runs a command line as main does.
func stagectl(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	status = run(ctx, args, console{stdout: &out, stderr: &errOut})
	return status, out.String(), errOut.String()
}

func TestBaselineExitStatuses(t *testing.T) {
	dir := t.TempDir()
	shop := "testdata/shop.baseline"
	damaged := filepath.Join(dir, "damaged")
	require.NoError(t, os.WriteFile(damaged, []byte("not a baseline"), 0o600))
	for _, tc := range []struct {
		name string
		args []string
		want int
	}{
		{"equal baselines", []string{"diff", shop, shop}, exitOK},
		{"baselines that differ", []string{"diff", shop, "testdata/attack.baseline"}, exitFindings},
		{"baselines that differ, as JSON", []string{"diff", "--format", "json", shop, "testdata/attack.baseline"}, exitFindings},
		{"a damaged baseline to compare with", []string{"diff", shop, damaged}, exitError},
		{"a missing baseline to compare with", []string{"diff", shop, "no"}, exitError},
		{"a whole baseline", []string{"check", "--min-windows", "1", shop}, exitOK},
		{"a whole baseline, strictly", []string{"check", "--strict", "--min-windows", "1", shop}, exitOK},
		{"warnings", []string{"check", shop}, exitOK},
		{"warnings, strictly", []string{"check", "--strict", shop}, exitFindings},
		{"a damaged baseline", []string{"check", shop, damaged}, exitError},
		{"a damaged baseline, strictly", []string{"check", "--strict", shop, damaged}, exitError},
		{"show", []string{"show", shop}, exitOK},
		{"show of a damaged baseline", []string{"show", damaged}, exitError},
		{"no command", nil, exitError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, stderr := stagectl(t.Context(), append([]string{"baseline"}, tc.args...)...)
			assert.Equal(t, tc.want, got, stderr)
			if tc.want != exitError {
				assert.Empty(t, stderr)
			}
		})
	}
}

func TestBaselineOnObjectStorage(t *testing.T) {
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("fleet"))
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	at := func(key string) string {
		return "s3://fleet/" + key + "?region=eu-west-1&use_path_style=true&endpoint=" + url.QueryEscape(server.URL)
	}
	dir := t.TempDir()
	ok := func(args ...string) (stdout, stderr string) {
		t.Helper()
		status, stdout, stderr := stagectl(t.Context(), append([]string{"baseline"}, args...)...)
		require.Equal(t, exitOK, status, stderr)
		return stdout, stderr
	}
	var nodes []*baseline.File
	for i := range 3 {
		nodes = append(nodes, nodeFile(t, fmt.Sprintf("node-%d", i), 4, 100))
		local := write(t, filepath.Join(dir, strconv.Itoa(i)), nodes[i])
		ok("merge", "--out", at(fmt.Sprintf("nodes/%d.baseline", i)), local)
	}
	_, stderr := ok("merge", "--compact", "--out", at("nodes/fleet.baseline"), at("nodes/"))
	assert.Contains(t, stderr, "merged 3 files of 3 nodes into s3://fleet/nodes/fleet.baseline?")
	ok("merge", "--compact", "--out", at("nodes/fleet.baseline"), at("nodes/")) // again: what it wrote is no input
	local := filepath.Join(dir, "fleet.baseline")
	ok("merge", "--out", local, at("nodes/fleet.baseline"))
	got, err := baseline.ReadFile(local)
	require.NoError(t, err)
	assert.Equal(t, compact(t, nodes...).Encode(), got.Encode())

	stdout, _ := ok("show", at("nodes/[0-1].baseline"))
	assert.Contains(t, stdout, "4 workloads of 2 nodes: node-0, node-1")
	stdout, _ = ok("diff", at("nodes/fleet.baseline"), local)
	assert.Empty(t, stdout)
	ok("trim", "--out", at("trimmed.baseline"), "--keep", "shop/app-001/*", at("nodes/fleet.baseline"))
	stdout, _ = ok("check", at("trimmed.baseline"))
	assert.Contains(t, stdout, ": whole; ")
	assert.Contains(t, stdout, "1 workload\n")

	status, _, stderr := stagectl(t.Context(), "baseline", "show", at("nodes"))
	assert.Equal(t, exitError, status)
	assert.Contains(t, stderr, "there is no such object; for all below it write s3://fleet/nodes/?")
	status, _, stderr = stagectl(t.Context(), "baseline", "show", at("no/"))
	assert.Equal(t, exitError, status)
	assert.Contains(t, stderr, "there is none")
}

func TestBaselineAcceptTellsWhatBecomesReference(t *testing.T) {
	s := learner(t, "node")
	feed(s, 2, 0, 40, 1<<10) // 11 minutes are the reference
	s.See("shop/app-000/main", "1", baseline.Peer, "203.0.113.9\n")
	feed(s, 1, 40, 41, 1<<10)
	dir := t.TempDir()
	in, out := write(t, filepath.Join(dir, "in"), snapshot(t, s, 100)), filepath.Join(dir, "out")

	status, stdout, stderr := stagectl(t.Context(), "baseline", "accept", "--out", out, "--workload", "shop/app-000/*", in)
	require.Equal(t, exitOK, status, stderr)
	assert.Empty(t, stdout)
	lines := strings.Split(stderr, "\n")
	require.Len(t, lines, 3)
	assert.Regexp(t, `^accepted shop/app-000/main: 31 windows, and as known peer 10\.0\.0\.\d+, .*, "peer 203\.0\.113\.9\\n"$`, lines[0])
	assert.Equal(t, "accepted 1 workload: "+out, lines[1])

	accepted, err := baseline.ReadFile(out)
	require.NoError(t, err)
	workloads, err := accepted.Workloads()
	require.NoError(t, err)
	assert.Zero(t, workloads[0].LaterWindows)
	assert.Empty(t, workloads[0].Values[baseline.Peer].Candidates)
	assert.Contains(t, workloads[0].Values[baseline.Peer].Known, "203.0.113.9\n")
	assert.NotZero(t, workloads[1].LaterWindows, "others are as they were")
}

func TestBaselineTrimDecidesByAllNodesTogether(t *testing.T) {
	early, late := learner(t, "early"), learner(t, "late")
	feed(early, 2, 0, 10, 1<<10) // two workloads
	feed(late, 1, 5000, 5010, 1<<10)
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	f, err := baseline.Merge(snapshot(t, early, 1), snapshot(t, late, 2))
	require.NoError(t, err)
	write(t, in, f)
	out := filepath.Join(dir, "out")
	for _, tc := range []struct{ name, flag, value, want string }{
		{"by time", "--not-seen-since", "1d",
			"dropped shop/app-001/main: last seen 2026-11-23T17:10:00Z, before 2026-11-26T04:30:00Z\ntrimmed 1 of 2 workloads: " + out + "\n"},
		{"by windows", "--min-windows", "11",
			"dropped shop/app-001/main: 10 windows, fewer than 11\ntrimmed 1 of 2 workloads: " + out + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, _, stderr := stagectl(t.Context(), "baseline", "trim", "--out", out, tc.flag, tc.value, in)
			require.Equal(t, exitOK, status, stderr)
			assert.Equal(t, tc.want, stderr)
			trimmed, err := baseline.ReadFile(out)
			require.NoError(t, err)
			workloads, err := trimmed.Workloads()
			require.NoError(t, err)
			require.Len(t, workloads, 1)
			assert.Equal(t, uint64(20), workloads[0].Windows, "the node that did not see it lately keeps it, too")
		})
	}
}

// resum makes a file's checksum right again.
func resum(content []byte) []byte {
	body := content[:len(content)-8]
	return binary.LittleEndian.AppendUint64(body, xxhash.Sum64(body))
}

func TestBaselineCheckExplains(t *testing.T) {
	dir := t.TempDir()
	content := nodeFile(t, "node-a", 2, 1).Encode()
	changed := func(at int) []byte {
		c := bytes.Clone(content)
		c[at]++
		return c
	}
	young := learner(t, "node-b")
	feed(young, 1, 0, 9, 1<<10)
	young.Observe(&baseline.Window{Workload: "lossy", Instance: "1", Start: uint64(learnedFrom.UnixNano()), Drops: true})
	for _, tc := range []struct {
		name    string
		content []byte
		status  int
		want    []string
	}{
		{"a future version", resum(changed(8)), exitError,
			[]string{"the baseline is of another version: it has version 2, this program reads version 1; use the program that wrote it or a newer one"}},
		{"another schema", resum([]byte(strings.Replace(string(content), "staged_files", "staged_filez", 1))), exitError,
			[]string{"the baseline is of another schema: it holds", "learn it anew"}},
		{"a byte that changed", changed(len(content) - 30), exitError,
			[]string{"the baseline is damaged: its checksum is wrong; the damage is in bytes ", `what node "node-a" learned`}},
		{"a file cut short", content[:len(content)-40], exitError,
			[]string{"its checksum is wrong; a number too large at byte ", fmt.Sprintf(" of %d", len(content)-40)}},
		{"nothing in it", nil, exitError, []string{"it is empty"}},
		{"something else", []byte("\x7fELF\x02\x01\x01\x00"), exitError, []string{`not a baseline file, for it begins with "\x7fELF\x02\x01\x01\x00"`}},
		{"no workloads", (&baseline.File{}).Encode(), exitOK, []string{"whole; ", "0 nodes, 0 workloads", "warning: there is no workload in it"}},
		{"windows that were not learned", snapshot(t, young, 1).Encode(), exitOK,
			[]string{"warning: 1 workload with fewer than 120 windows: shop/app-000/main", "warning: 1 workload with quarantined windows only: lossy"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(dir, "file")
			require.NoError(t, os.WriteFile(path, tc.content, 0o600))
			status, stdout, stderr := stagectl(t.Context(), "baseline", "check", path)
			assert.Equal(t, tc.status, status, stderr)
			assert.True(t, strings.HasPrefix(stdout, path+": "), stdout)
			for _, want := range tc.want {
				assert.Contains(t, stdout, want)
			}
		})
	}
}

func TestBaselineCheckWarnsOfFullSets(t *testing.T) {
	cfg := baseline.DefaultConfig()
	cfg.Node, cfg.Mode = "node", baseline.Learn
	s, _, err := baseline.Open(cfg, "")
	require.NoError(t, err)
	for m := range 120 {
		for i := range 100 {
			s.See("crawler", "1", baseline.Peer, fmt.Sprintf("peer-%d-%d", m, i))
		}
		s.Observe(&baseline.Window{Workload: "crawler", Instance: "1", Start: uint64(learnedFrom.Add(time.Duration(m) * time.Minute).UnixNano())})
	}
	path := write(t, filepath.Join(t.TempDir(), "file"), snapshot(t, s, 1))
	_, stdout, _ := stagectl(t.Context(), "baseline", "check", path)
	assert.Contains(t, stdout, "warning: 1 set too many to tell apart, so nothing is new there: peer of crawler\n")
	assert.NotContains(t, stdout, "fewer than")
	_, stdout, _ = stagectl(t.Context(), "baseline", "show", path)
	assert.Regexp(t, `(?m)^  peer  any  too many to tell apart: every value counts as known$`, stdout)
}

func TestBaselineCheckWarnsAsThePluginLeans(t *testing.T) {
	status, stdout, _ := stagectl(t.Context(), "baseline", "check", "--help")
	require.Equal(t, exitOK, status)
	assert.Contains(t, strings.Join(strings.Fields(stdout), " "), fmt.Sprintf("Default: %d, as the plugin's min_windows", baseline.DefaultConfig().MinWindows))
}

func TestBaselineShowAsJSONIsOneDocument(t *testing.T) {
	status, stdout, _ := stagectl(t.Context(), "baseline", "show", "--format", "json", "testdata/shop.baseline")
	require.Equal(t, exitOK, status)
	var doc struct {
		Nodes     []struct{ ID string }
		Workloads []struct{ Workload string }
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &doc))
	assert.Equal(t, "node-normal", doc.Nodes[0].ID)
	assert.Len(t, doc.Workloads, 7)
}

func TestBaselineInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := filepath.Join(t.TempDir(), "out")
	for _, args := range [][]string{
		{"show", "testdata/shop.baseline"},
		{"check", "testdata/shop.baseline"},
		{"merge", "--out", out, "testdata/shop.baseline", "testdata/attack.baseline"},
	} {
		status, stdout, stderr := stagectl(ctx, append([]string{"baseline"}, args...)...)
		assert.Equal(t, exitError, status)
		assert.Equal(t, "stagectl: interrupted\n", stderr)
		assert.Empty(t, stdout)
	}
	assert.NoFileExists(t, out)
}

func TestReadingEndsAtAnInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	files := openFiles()
	defer files.Close()
	var locations []string
	for range 3 * maxReads {
		locations = append(locations, "testdata/shop.baseline")
	}
	numTaken := 0
	err := readEach(ctx, files, locations, func(string, *baseline.File, int, error) error {
		numTaken++
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 1, numTaken)
}

func TestStyleFollowsTheTerminal(t *testing.T) {
	for _, tc := range []struct {
		name          string
		terminal      bool
		env           map[string]string
		colour, ascii bool
	}{
		{"a UTF-8 terminal", true, map[string]string{"LANG": "en_GB.UTF-8"}, true, false},
		{"spelt otherwise", true, map[string]string{"LC_CTYPE": "C.utf8"}, true, false},
		{"a terminal without a locale", true, nil, true, true},
		{"LC_ALL counts before LANG", true, map[string]string{"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, true, true},
		{"a pipe in a job without a locale", false, map[string]string{"LANG": "C"}, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := styleOf(console{stdoutTerminal: tc.terminal}, func(key string) string { return tc.env[key] })
			assert.Equal(t, tc.colour, got.Colour)
			assert.Equal(t, tc.ascii, got.ASCII)
		})
	}
}

func TestInstants(t *testing.T) {
	newest := time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-11-01":                newest.AddDate(0, 0, -22).Add(-17 * time.Hour),
		"2026-11-23T18:30:00+02:00": newest.Add(-30 * time.Minute),
		"30d":                       newest.AddDate(0, 0, -30),
		"90m":                       newest.Add(-90 * time.Minute),
	} {
		var i instant
		require.NoError(t, i.UnmarshalText([]byte(text)), text)
		assert.Equal(t, want, i.before(newest), text)
	}
	for _, text := range []string{"", "0d", "-1h", "0s", "1w", "2026", "999999d"} {
		var i instant
		assert.ErrorContains(t, i.UnmarshalText([]byte(text)), "is no time; want", text)
	}
}

func TestPileIsMergedAllAtOnceWhateverComesFirst(t *testing.T) {
	a1, a2, b := nodeFile(t, "a", 1, 1), nodeFile(t, "a", 1, 2), nodeFile(t, "b", 1, 1)
	older, newer := compact(t, a1, b), compact(t, a2, b)
	var fill []*baseline.File
	for i := range 2 * pileSize {
		fill = append(fill, nodeFile(t, fmt.Sprintf("x-%d", i), 1, 1))
	}
	files := append([]*baseline.File{older, a2}, fill...)
	_, err := baseline.Merge(files...)
	require.ErrorIs(t, err, baseline.ErrOverlap)
	files = append(files, newer)
	want, err := baseline.Merge(files...)
	require.NoError(t, err, "the newer one holds all that the older one and the node know")

	var p pile
	for _, f := range files {
		require.NoError(t, p.add("somewhere", f))
	}
	got, err := p.merge()
	require.NoError(t, err)
	assert.Equal(t, want.Encode(), got.Encode())

	var plain pile
	for _, f := range fill {
		require.NoError(t, plain.add("somewhere", f))
		assert.LessOrEqual(t, len(plain.files), pileSize, "no more wait than that")
	}
}

func TestFilesThatCountANodeTwiceAreNamed(t *testing.T) {
	var p pile
	require.NoError(t, p.add("old/fleet", compact(t, nodeFile(t, "a", 1, 1), nodeFile(t, "b", 1, 1))))
	require.NoError(t, p.add("nodes/a", nodeFile(t, "a", 1, 2)))
	_, err := p.merge()
	require.ErrorIs(t, err, baseline.ErrOverlap)
	assert.ErrorContains(t, err, "leave out what was folded with --compact: old/fleet")
	assert.NotContains(t, err.Error(), "nodes/a")
}
