package profile

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata that people review.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run with -update and review the difference")
}

var start = time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)

func distribution(p50, p84, p99 uint64, bins ...baseline.Bin) baseline.Distribution {
	d := baseline.Distribution{P50: p50, P84: p84, P99: p99, Bins: bins}
	for _, b := range bins {
		d.Active += b.Count
	}
	return d
}

func listed(values ...string) baseline.Values {
	return baseline.Values{Known: values, NumKnown: len(values)}
}

// shop is what three nodes know of four workloads, with everything that a workload can have.
func shop() ([]baseline.NodeInfo, []baseline.Workload) {
	nodes := []baseline.NodeInfo{
		{ID: "node-a", Saved: start.Add(24 * time.Hour), Workloads: 3, Bytes: 1200},
		{ID: "node-b", Saved: start.Add(25 * time.Hour), Workloads: 2, Bytes: 900},
		{ID: "node-c", Saved: start.Add(72 * time.Hour), Workloads: 1, Bytes: 300},
	}
	db := baseline.Workload{
		Name: "shop/db/db", Image: "registry.example.com/shop/db", Digests: 2, Bytes: 700,
		FirstSeen: start, LastSeen: start.Add(30 * 24 * time.Hour), Age: 30 * 24 * time.Hour, LaterAge: 23 * 24 * time.Hour,
		Windows: 43200, LaterWindows: 33000, Hours: true,
		Quarantined: map[string]uint64{"lost_events": 12, "deviating": 1204},
	}
	db.Metrics[baseline.EgressBytes] = distribution(3<<20, 9<<20, 18<<20,
		baseline.Bin{Value: 1 << 10, Count: 40}, baseline.Bin{Value: 1 << 20, Count: 9000}, baseline.Bin{Value: 3 << 20, Count: 20000},
		baseline.Bin{Value: 9 << 20, Count: 8000}, baseline.Bin{Value: 18 << 20, Count: 6000}, baseline.Bin{Value: 1 << 30, Count: 1})
	db.Metrics[baseline.StagedBytes] = distribution(60, 60, 60, baseline.Bin{Value: 60, Count: 3})
	db.Metrics[baseline.RemotePeers] = distribution(2, 4, 1200, baseline.Bin{Value: 2, Count: 40000}, baseline.Bin{Value: 4, Count: 3000}, baseline.Bin{Value: 1200, Count: 199})
	db.Values[baseline.Exe] = listed("/usr/bin/bash", "/usr/bin/chmod", "/usr/bin/dash", "/usr/bin/locale", "/usr/bin/perl",
		"/usr/lib/postgresql/15/bin/initdb", "/usr/lib/postgresql/15/bin/pgbench", "/usr/lib/postgresql/15/bin/postgres")
	db.Values[baseline.Dir] = listed("/var/run/\x1b[2Jpostgresql")
	db.Values[baseline.Peer] = baseline.Values{NumKnown: 1429, Approximate: true, Candidates: []string{"203.0.113.9", "203.0.113.10"}}
	db.Values[baseline.Port] = baseline.Values{Approximate: true, Full: true}

	quiet := baseline.Workload{
		Name: "shop/quiet/quiet", Digests: 1, Bytes: 90, Windows: 1, Age: time.Minute,
		FirstSeen: start, LastSeen: start.Add(time.Minute),
	}
	refused := baseline.Workload{Name: "shop/refused/refused", Digests: 1, Bytes: 40, Quarantined: map[string]uint64{"maintenance": 7}}
	web := baseline.Workload{
		Name: "shop/web/web", Image: "registry.example.com/shop/web", Digests: 3, Bytes: 400, Windows: 180, Age: 3 * time.Hour,
		FirstSeen: start, LastSeen: start.Add(3 * time.Hour),
	}
	web.Metrics[baseline.EgressBytes] = distribution(12<<20, 12<<20, 12<<20, baseline.Bin{Value: 12 << 20, Count: 180})
	web.Values[baseline.Peer] = listed("10.77.0.15")
	return nodes, []baseline.Workload{db, quiet, refused, web}
}

func TestTable(t *testing.T) {
	nodes, workloads := shop()
	var out bytes.Buffer
	require.NoError(t, WriteTable(&out, Style{}, nodes, workloads))
	golden(t, "table.txt", out.String())
	assert.NotContains(t, out.String(), "\x1b", "no value reaches the terminal as it is, and there is no colour")
}

func TestTableInASCII(t *testing.T) {
	nodes, workloads := shop()
	var out bytes.Buffer
	require.NoError(t, WriteTable(&out, Style{ASCII: true}, nodes, workloads))
	golden(t, "table_ascii.txt", out.String())
	for _, r := range out.String() {
		require.Less(t, r, rune(128))
	}
}

func TestTableOnATerminalIsTheSameInColour(t *testing.T) {
	nodes, workloads := shop()
	var plain, coloured bytes.Buffer
	require.NoError(t, WriteTable(&plain, Style{}, nodes, workloads))
	require.NoError(t, WriteTable(&coloured, Style{Colour: true}, nodes, workloads))
	assert.Contains(t, coloured.String(), "\x1b[1mshop/web/web\x1b[0m")
	stripped := strings.NewReplacer("\x1b[1m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(coloured.String())
	assert.Equal(t, plain.String(), stripped)
}

func TestHeadCountsTheNodesOfFoldedDigests(t *testing.T) {
	_, workloads := shop()
	folded := []baseline.NodeInfo{{ID: "compact-1", Saved: start, Includes: []string{"c", "a"}}, {ID: "b", Saved: start}}
	var out bytes.Buffer
	require.NoError(t, WriteTable(&out, Style{}, folded, workloads[3:]))
	assert.True(t, strings.HasPrefix(out.String(), "1 workload of 3 nodes: a, b, c\nsaved 2026-11-01 02:00 UTC\n"), out.String())
	assert.NotContains(t, out.String(), "on 3 of", "nobody knows on how many of them it ran")

	out.Reset()
	require.NoError(t, WriteTable(&out, Style{}, nil, nil))
	assert.Equal(t, "no workloads: nothing was learned\n", out.String())
}

func TestJSON(t *testing.T) {
	nodes, workloads := shop()
	var out bytes.Buffer
	require.NoError(t, WriteJSON(&out, nodes, workloads[2:]))
	golden(t, "show.json", out.String())
}

func TestJSONHasTheSameKeysWhateverIsThere(t *testing.T) {
	nodes, workloads := shop()
	var out bytes.Buffer
	require.NoError(t, WriteJSON(&out, nodes, workloads))
	var doc struct {
		Nodes     []map[string]any
		Workloads []map[string]any
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &doc))
	for _, w := range doc.Workloads[1:] {
		assert.ElementsMatch(t, keys(doc.Workloads[0]), keys(w))
		metrics, first := w["metrics"].(map[string]any), doc.Workloads[0]["metrics"].(map[string]any)
		assert.Len(t, metrics, baseline.NumMetrics)
		assert.ElementsMatch(t, keys(first), keys(metrics))
		assert.ElementsMatch(t, keys(first["egress_bytes"].(map[string]any)), keys(metrics["handoff_bytes"].(map[string]any)))
		assert.Len(t, w["values"], baseline.NumDimensions)
	}
	out.Reset()
	require.NoError(t, WriteJSON(&out, nil, nil))
	assert.JSONEq(t, `{"nodes": [], "workloads": []}`, out.String())
}

func keys(m map[string]any) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestSparkline(t *testing.T) {
	many := func(n int, count func(i int) uint64) (bins []baseline.Bin) {
		for i := range n {
			bins = append(bins, baseline.Bin{Value: 1 << i, Count: count(i)})
		}
		return bins
	}
	for _, tc := range []struct {
		name string
		bins []baseline.Bin
		want string
	}{
		{"nothing", nil, ""},
		{"one value", []baseline.Bin{{Value: 60, Count: 3}}, "█"},
		{"neighbouring bins have no gap between them", []baseline.Bin{{Value: 1000, Count: 8}, {Value: 1020, Count: 4}, {Value: 1041, Count: 2}}, "█▄▂"},
		{"a thousandth is seen still", []baseline.Bin{{Value: 1000, Count: 1}, {Value: 1020, Count: 1000}}, "▁█"},
		{"powers of two are as far apart as each other", many(24, func(i int) uint64 { return uint64(1 + i%2*7) }), strings.Repeat("▁█", 12)},
		{"what is far apart has room between", []baseline.Bin{{Value: 1, Count: 2}, {Value: 1 << 40, Count: 1}}, "█" + strings.Repeat(" ", 22) + "▄"},
		{"the largest numbers", []baseline.Bin{{Value: 0, Count: 1<<63 + 1}, {Value: 1<<64 - 1, Count: 1}}, "█" + strings.Repeat(" ", 22) + "▁"},
	} {
		t.Run(tc.name, func(t *testing.T) { assert.Equal(t, tc.want, sparkline(tc.bins, blocks)) })
	}
	assert.Len(t, ascii, len(blocks))
}

// between makes the change from one workload to another, either of which may be nothing.
func between(before, after *baseline.Workload, metrics []baseline.Metric, values ...baseline.ValueChange) baseline.Change {
	w := before
	if w == nil {
		w = after
	}
	return baseline.Change{Workload: w.Name, Before: before, After: after, Metrics: metrics, Values: values}
}

func someChanges() []baseline.Change {
	_, workloads := shop()
	db, web := workloads[0], workloads[3]
	db2, web2 := db, web
	db2.Metrics[baseline.EgressBytes] = distribution(3<<20, 9<<20, 27<<20, baseline.Bin{Value: 3 << 20, Count: 100})
	db2.Metrics[baseline.StagedBytes] = baseline.Distribution{}
	db2.Metrics[baseline.ArchiveBytes] = distribution(5<<30, 5<<30, 5<<30, baseline.Bin{Value: 5 << 30, Count: 1})
	db2.Metrics[baseline.RemotePeers] = distribution(40, 40, 1100, baseline.Bin{Value: 40, Count: 1})
	db2.Values[baseline.Peer] = baseline.Values{Approximate: true, Full: true}
	web2.Metrics[baseline.EgressBytes] = distribution(12<<20+700<<10, 12<<20, 12<<20, baseline.Bin{Value: 12 << 20, Count: 180})
	web.Metrics[baseline.EgressBytes].P50 = 13 << 20
	web2.Values[baseline.Peer] = baseline.Values{NumKnown: 130, Approximate: true}
	gone := workloads[1]
	gone.Name = "shop/a\nb/gone"
	return []baseline.Change{
		between(&gone, nil, nil),
		between(&db, &db2, []baseline.Metric{baseline.StagedBytes, baseline.RemotePeers, baseline.EgressBytes, baseline.ArchiveBytes},
			baseline.ValueChange{Dimension: baseline.Exe, Added: []string{"/tmp/.x", "/usr/bin/curl"}, Removed: []string{"/usr/bin/perl"}},
			baseline.ValueChange{Dimension: baseline.Dir, Added: []string{"/dev/shm/\x1b]0;owned\a"}},
			baseline.ValueChange{Dimension: baseline.Peer, Form: true}),
		between(nil, &workloads[2], nil),
		between(&web, &web2, []baseline.Metric{baseline.EgressBytes}, baseline.ValueChange{Dimension: baseline.Peer, Form: true}),
		between(nil, &baseline.Workload{
			Name: "shop/web2/web", Windows: 1, Age: time.Minute, Metrics: web.Metrics, Values: db.Values,
		}, nil),
	}
}

func TestChanges(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, WriteChanges(&out, Style{}, someChanges()))
	golden(t, "changes.txt", out.String())
	assert.NotContains(t, out.String(), "\x1b")

	out.Reset()
	require.NoError(t, WriteChanges(&out, Style{Colour: true}, someChanges()))
	assert.Contains(t, out.String(), "\x1b[31mgone: ")
	assert.Contains(t, out.String(), "\x1b[32mnew workload: ")
	assert.Contains(t, out.String(), "\x1b[33mnew exe /tmp/.x\x1b[0m")
}

func TestChangesAsJSON(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, WriteChangesJSON(&out, someChanges()))
	golden(t, "changes.json", out.String())
	out.Reset()
	require.NoError(t, WriteChangesJSON(&out, nil))
	assert.JSONEq(t, `{"equal": true, "changes": []}`, out.String())
}

func TestNumbersInWords(t *testing.T) {
	assert.Equal(t, "9,223,372,036,854,775,807", comma(1<<64-1), "the most that can be written with commas")
	assert.Equal(t, "16 EiB", quantity(baseline.EgressBytes, 1<<64-1))
	assert.Equal(t, "1,200", quantity(baseline.StagedFiles, 1200))
	assert.Equal(t, "119 minutes", span(119*time.Minute))
	assert.Equal(t, "2 hours", span(2*time.Hour))
	assert.Equal(t, "47 hours", span(47*time.Hour))
	assert.Equal(t, "2 days", span(71*time.Hour))
	assert.Equal(t, "<1 %", percent(1, 1000))
	assert.Equal(t, ">99 %", percent(999, 1000))
	assert.Equal(t, "100 %", percent(1000, 1000))
	assert.Equal(t, "12 MiB -> 120 MiB (10 times)", change(baseline.EgressBytes, 12<<20, 120<<20))
	assert.Equal(t, "20 MiB -> 10 MiB (-50 %)", change(baseline.EgressBytes, 20<<20, 10<<20))
	assert.Equal(t, "11,115,000 B -> 11,671,000 B (+5 %)", change(baseline.EgressBytes, 11115000, 11671000))
}

func TestFewNamesAsManyAsFit(t *testing.T) {
	values := []string{"aaaa", "bbbb", "cccc"}
	assert.Equal(t, "aaaa, bbbb, cccc", Few(values, 18))
	assert.Equal(t, "aaaa, bbbb and 1 more", Few(values, 17))
	assert.Equal(t, "aaaa and 2 more", Few(values, 1), "one at least")
	assert.Empty(t, Few(nil, 10))
}

func TestPrintable(t *testing.T) {
	for _, same := range []string{"/usr/bin/bash", "/data/größe 1", "10.0.0.1", ""} {
		assert.Equal(t, same, Printable(same))
	}
	for value, want := range map[string]string{
		"a\nb": `"a\nb"`, "\x1b[2J": `"\x1b[2J"`, "\xff": `"\xff"`, "a\u202eb": `"a\u202eb"`,
	} {
		assert.Equal(t, want, Printable(value))
	}
}
