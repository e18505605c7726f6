package baseline

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/robfig/cron/v3"
)

// Mode says what a Store does.
type Mode uint8

const (
	Both   Mode = iota // learn, and once a workload is learned compare it
	Learn              // only learn: every workload stays in learning and everything becomes reference
	Detect             // only compare: nothing is learned nor saved
)

var modeNames = [...]string{"both", "learn", "detect"}

func (m Mode) String() string { return modeNames[m] }

// ModeByName returns the mode of that name.
func ModeByName(name string) (Mode, error) {
	for m, n := range modeNames {
		if n == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("no mode %q; want one of learn, detect, both", name)
}

// Config is what a Store needs to know.
type Config struct {
	Node string // names this node among those whose files are merged; unique, not empty
	Mode Mode

	// A workload is learned once both are reached; what it did until then is its reference.
	Learning   time.Duration // age: event time between the first and the last learned window
	MinWindows uint64

	Hours       bool     // also learn each hour of the day (UTC)
	Exclude     []string // globs of workloads that are neither learned nor compared
	Maintenance []Maintenance
	Reportable  Reportable
	Drift       Drift
	Probation   time.Duration // how long a value first seen after the learning period stays new

	MaxWorkloads int // more are kept only if the file that is opened has more
}

// Reportable says what windows of learned workloads a rule would report. They are not learned.
type Reportable struct {
	Deviation uint64 // at least this many deviations
	Ratio     uint64 // and at least this many percent of typical
	Bytes     uint64 // and at least so many bytes
	Count     uint64 // or things, of metrics that count things
}

// Maintenance is when nothing of some workloads is learned and nobody should be woken: either once, From before To, or
// again and again, from each Start for Duration.
type Maintenance struct {
	Workloads string // glob: * within a part of the name, ** across parts
	From, To  time.Time
	Start     string // five fields as in crontab, or @daily and the like
	Duration  time.Duration
	Location  *time.Location // of Start; UTC when nil
}

// DefaultConfig returns the values that apply where nothing is set. It names no node.
func DefaultConfig() Config {
	return Config{
		Learning:     7 * 24 * time.Hour, // so that weekly jobs are in it
		MinWindows:   120,                // leaves little to lean on, and is reached by a job that runs 20 minutes a day
		Reportable:   Reportable{Deviation: 6, Ratio: 200, Bytes: 1 << 20, Count: 16},
		Drift:        Drift{PerMonth: 1.25, Total: 1.5},
		Probation:    7 * 24 * time.Hour,
		MaxWorkloads: 4096,
	}
}

// check returns everything that is wrong with the config, each with what to write instead.
func (c *Config) check() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Node == "" {
		bad("node: want a name that no other node has, such as the Kubernetes node name")
	}
	if int(c.Mode) >= len(modeNames) {
		bad("mode: want learn, detect or both")
	}
	if c.Learning < 0 || c.Probation < 0 {
		bad("learning period and probation: want durations that are not negative")
	}
	if c.MinWindows < 1 {
		bad("minimum windows: want at least 1")
	}
	if c.MaxWorkloads < 1 {
		bad("maximum workloads: want at least 1")
	}
	if !(c.Drift.PerMonth >= 1) || !(c.Drift.Total >= 1) || math.IsInf(c.Drift.PerMonth, 0) || math.IsInf(c.Drift.Total, 0) {
		bad("drift: %v a month and %v in total are not accepted; want factors of at least 1, such as 1.25 and 1.5",
			c.Drift.PerMonth, c.Drift.Total)
	}
	for i, glob := range c.Exclude {
		if !doublestar.ValidatePattern(glob) {
			bad("exclude[%d]: %q is not a glob; want one such as shop/* or kube-system/**", i, glob)
		}
	}
	return errors.Join(problems...)
}

// calendar answers when one Maintenance is on.
type calendar struct {
	glob     string
	from, to uint64        // ns since the epoch
	schedule cron.Schedule // nil for a single time
	duration time.Duration
	location *time.Location

	// The last answer of the schedule: the first start after asked is next.
	asked, next time.Time
}

func newCalendar(m Maintenance) (*calendar, error) {
	if !doublestar.ValidatePattern(m.Workloads) || m.Workloads == "" {
		return nil, fmt.Errorf("workloads: %q is not a glob; want one such as shop/* or **", m.Workloads)
	}
	c := &calendar{glob: m.Workloads, location: time.UTC}
	if m.Start == "" {
		if m.Duration != 0 || !m.From.Before(m.To) || m.From.UnixNano() < 0 {
			return nil, fmt.Errorf("%s to %s: want from before to, or a start such as \"0 2 * * 6\" and a duration",
				m.From.Format(time.RFC3339), m.To.Format(time.RFC3339))
		}
		c.from, c.to = uint64(m.From.UnixNano()), uint64(m.To.UnixNano())
		return c, nil
	}
	if !m.From.IsZero() || !m.To.IsZero() {
		return nil, errors.New("both a start and from or to are set; want one of them")
	}
	if m.Duration <= 0 {
		return nil, fmt.Errorf("duration: %v is not accepted; want one above 0 such as 2h", m.Duration)
	}
	// The parser reads a zone before the fields and panics when nothing follows it; the zone has its own key here.
	if strings.Contains(m.Start, "=") {
		return nil, fmt.Errorf("start: %q is not accepted; want the time zone in its own key", m.Start)
	}
	schedule, err := cron.ParseStandard(m.Start)
	if err != nil {
		return nil, fmt.Errorf("start: %q is not accepted: %w; want five fields such as \"0 2 * * 6\", or @daily", m.Start, err)
	}
	if m.Location != nil {
		c.location = m.Location
	}
	c.schedule, c.duration = schedule, m.Duration
	return c, nil
}

// covers reports whether any of from <= ts < to is in maintenance.
func (c *calendar) covers(from, to uint64) bool {
	if c.schedule == nil {
		return c.from < to && from < c.to
	}
	// On at ts means that it started after ts-duration and not after ts.
	after := time.Unix(0, int64(min(from, math.MaxInt64))).In(c.location).Add(-c.duration)
	if c.asked.IsZero() || after.Before(c.asked) || !after.Before(c.next) && !c.next.IsZero() {
		c.asked, c.next = after, c.schedule.Next(after)
	}
	return !c.next.IsZero() && c.next.Before(time.Unix(0, int64(min(to, math.MaxInt64))))
}

func anyMatch(globs []string, name string) bool {
	for _, glob := range globs {
		if doublestar.MatchUnvalidated(glob, name) {
			return true
		}
	}
	return false
}
