// Package baseline learns what is normal for each workload, compares with it, and keeps it across restarts and nodes.
//
// # Terms
//
// A window is one minute of event time of one container of a workload; its totals are nine numbers, one per Metric. A
// window in which a metric is not zero is active for that metric, otherwise silent. A Store learns closed windows. All
// times are event times; only the generation of a saved file comes from the wall clock.
//
// # What is normal
//
// Per workload and metric the active windows' totals go into a DDSketch (Masson, Rim and Lee, VLDB 2019) with a relative
// error of 1 %; silent windows are only counted. Quantiles are nearest-rank quantiles of the active windows, so that a
// backup that runs for ten minutes a night is compared with backups and not with the idle day. On the scale
// lg(x) = log2(1+x), which makes factors out of differences and has room for zero, a metric's normal is
//
//	median = lg(p50)
//	spread = max(lg(p84) - lg(p50), 0.5)
//	tail   = lg(p99)
//
// p84 is one standard deviation above the median of a normal distribution, and neither it nor the median moves when
// less than a sixth of the windows are extreme. The floor of half a bit means that a workload whose windows are all alike
// is six deviations off at eight times its median and not at a few per cent more.
//
//	deviation(x) = floor((lg(x) - median) / spread)     0 below the median
//	typical      = 2^tail - 1
//	ratio(x)     = 100 x / max(typical, 1)
//
// A metric that was silent in every window has median 0, tail 0 and spread 4 for bytes (six deviations at 16 MiB), 1 for
// counts (six deviations at 63 things).
//
// # Few windows
//
// Where little is known, two normals are mixed, a with weight w and b with 1-w, as a mixture of two distributions is:
//
//	median = w a.median + (1-w) b.median                tail likewise
//	spread = sqrt(w a.spread^2 + (1-w) b.spread^2 + w (1-w) (a.median - b.median)^2)
//
// The last term is the doubt: while the two disagree and neither outweighs the other, nothing is far off. So one window
// makes no deviation high. Mixed are, each weight smooth in the number of windows:
//
//   - a metric's active windows with its silence, the silence weighing silent/windows * 2^(-active/5): a metric that was
//     active a few times in thousands of silent windows is neither impossible nor usual; in the 99th percentile silence
//     weighs silent/windows * 2^-active, for what came every night of a week may come again;
//   - an hour's normal with the whole day's, the day weighing 2^(-4 windows/MinWindows) of the hour's windows;
//   - the workload's with the one of all workloads of its image, that with the one of all workloads pooled, and that with
//     ignorance (spread 16), the next one weighing 2^(-4 windows/MinWindows). So a workload that has just enough windows
//     to be compared weighs 15/16 itself, and with five times as many it stands alone.
//
// # Poisoning
//
// Until a workload has been learned for the learning period and the least number of windows, what it does becomes its
// reference. Windows after that are kept apart, and the normal of both together may differ from the reference's by no
// more than g bits: median and tail by g either way, spread by the factor 2^g either way, where
//
//	g = min(log2(Drift.Total), log2(Drift.PerMonth) * event time learned since / 30 days)
//
// So whoever raises a volume by a few per cent a day moves typical by the factor Drift.Total (1.5) at most, ever, until
// a person accepts what was learned since (File.Accept), which makes it part of the reference. Before that, windows
// that are Reportable, in maintenance or short of events are not learned at all. A value never seen during the
// learning period stays new for Probation after it was first learned.
//
// # Event time that misbehaves
//
// Which minutes of which container were seen is remembered (see coverage), so a window that is reported twice and a
// capture that is replayed twice are learned once, captures may come in any order, and a clock that goes back makes
// windows of minutes that were seen before, which are refused. A gap between windows counts for at most maxGap of age
// and drift, so a clock that jumps ahead ages nothing.
//
// # Nodes
//
// A File holds one digest per node. Merging files takes the newer digest of each node and sums nothing, so it is
// commutative, associative and idempotent, and thousands of nodes fold by any tree of jobs. Sums are made when a
// file is loaded or looked at. Compact folds a file's digests into one that lists the nodes in it.
package baseline

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Metric is one of the totals of a window.
type Metric uint8

// The metrics, named like the staging fields: bytes, or distinct things where the name says so.
const (
	StagedBytes Metric = iota
	StagedFiles
	SourceBytes
	RemotePeers
	RemoteBytes
	EgressBytes
	ExternalBytes
	ArchiveBytes
	HandoffBytes
	InternalEgressBytes
	InternalIngressBytes
	NumMetrics int = iota
)

var metricNames = [NumMetrics]string{
	"staged_bytes", "staged_files", "source_bytes", "remote_peers", "remote_bytes", "egress_bytes", "external_bytes",
	"archive_bytes", "handoff_bytes", "internal_egress_bytes", "internal_ingress_bytes",
}

func (m Metric) String() string { return metricNames[m] }

// InBytes reports whether the metric counts bytes, not distinct things.
func (m Metric) InBytes() bool { return m != StagedFiles && m != RemotePeers }

// MetricByName returns the metric of that name. The error lists the names there are.
func MetricByName(name string) (Metric, error) {
	for m, n := range metricNames {
		if n == name {
			return Metric(m), nil
		}
	}
	return 0, fmt.Errorf("no metric %q; want one of %s", name, strings.Join(metricNames[:], ", "))
}

// Dimension is one kind of value that is remembered as seen.
type Dimension uint8

// The dimensions. User, Namespace, Verb and Privilege are those of audit events.
const (
	Exe Dimension = iota
	Dir
	Peer
	Port
	Listen
	Mount
	Image
	User
	Namespace
	Verb
	Privilege
	NumDimensions int = iota
)

var dimensionNames = [NumDimensions]string{
	"exe", "dir", "peer", "port", "listen", "mount", "image", "user", "namespace", "verb", "privilege",
}

func (d Dimension) String() string { return dimensionNames[d] }

// DimensionByName returns the dimension of that name. The error lists the names there are.
func DimensionByName(name string) (Dimension, error) {
	for d, n := range dimensionNames {
		if n == name {
			return Dimension(d), nil
		}
	}
	return 0, fmt.Errorf("no dimension %q; want one of %s", name, strings.Join(dimensionNames[:], ", "))
}

// Totals are a window's totals by metric.
type Totals [NumMetrics]uint64

// WindowLength is the length of the windows that are learned.
const WindowLength = time.Minute

// minute is a window's place in event time: minutes since the epoch.
type minute uint32

func minuteOf(ts uint64) minute { return minute(ts / uint64(WindowLength)) }

func (m minute) start() uint64 { return uint64(m) * uint64(WindowLength) }

func (m minute) hour() int { return int(m / 60 % hoursPerDay) }

const (
	hoursPerDay = 24

	// maxGap is what a gap between learned windows counts for at most: enough for a daily job to be learned day by day.
	maxGap = 25 * 60
)

// lg is the scale that volumes are compared on.
func lg(x float64) float64 { return math.Log2(1 + x) }
