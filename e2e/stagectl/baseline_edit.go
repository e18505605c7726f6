package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// baselineTrimCmd drops workloads.
type baselineTrimCmd struct {
	In           string  `arg:"" help:"Baseline: a file or URL."`
	Out          string  `required:"" placeholder:"FILE|URL" help:"Where to write what is left."`
	Keep         globs   `placeholder:"GLOB" sep:"none" help:"Keep only workloads that match, such as shop/**. Can be repeated."`
	Drop         globs   `placeholder:"GLOB" sep:"none" help:"Drop workloads that match. Can be repeated."`
	NotSeenSince instant `placeholder:"TIME" help:"Drop workloads that were not seen since 2026-11-23, 2026-11-23T17:00:00Z, or for 30d or 12h before the newest window of all."`
	MinWindows   uint64  `placeholder:"N" help:"Drop workloads with fewer windows, all nodes together."`
}

// Help tells what becomes of it in a fleet.
func (baselineTrimCmd) Help() string {
	return `What was dropped stays dropped when the result is merged with the files that it was made of. A node that still
knows the workload brings it back with its next save.`
}

// Run drops the workloads for which there is a reason.
func (c baselineTrimCmd) Run(ctx context.Context, con console) (err error) {
	if err := errors.Join(c.Keep.check(), c.Drop.check()); err != nil {
		return err
	}
	if len(c.Keep) == 0 && len(c.Drop) == 0 && c.NotSeenSince == (instant{}) && c.MinWindows == 0 {
		return errors.New("trim: nothing says what to drop; want --keep, --drop, --not-seen-since or --min-windows")
	}
	files := openFiles()
	defer closing(files, &err)
	f, err := readOne(ctx, files, c.In)
	if err != nil {
		return err
	}
	workloads, err := f.Workloads()
	if err != nil {
		return err
	}
	// What all nodes together know decides, or a workload would go from some nodes only.
	newest := newestOf(workloads)
	dropped := map[string]bool{}
	var report strings.Builder
	for i := range workloads {
		w := &workloads[i]
		if reason := c.reason(w, newest); reason != "" {
			dropped[w.Name] = true
			fmt.Fprintf(&report, "dropped %s: %s\n", profile.Printable(w.Name), reason)
		}
	}
	if len(dropped) == len(workloads) {
		return errors.New("trim: nothing would be left")
	}
	trimmed, err := f.Trim(func(w *baseline.Workload) bool { return !dropped[w.Name] })
	if err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	if err := files.Write(ctx, c.Out, trimmed); err != nil {
		return err
	}
	fmt.Fprintf(con.stderr, "%strimmed %s of %s: %s\n", report.String(), humanize.Comma(int64(len(dropped))), profile.Count(len(workloads), "workload"), c.Out)
	return nil
}

// reason says why a workload is dropped, nothing if it is kept.
func (c baselineTrimCmd) reason(w *baseline.Workload, newest time.Time) string {
	since := c.NotSeenSince.before(newest)
	switch {
	case len(c.Keep) > 0 && !c.Keep.match(w.Name):
		return "matches no --keep"
	case c.Drop.match(w.Name):
		return "matches --drop"
	case w.Windows < c.MinWindows:
		return fmt.Sprintf("%s, fewer than %s", profile.Count(int(w.Windows), "window"), humanize.Comma(int64(c.MinWindows)))
	case w.Windows == 0 && !since.IsZero():
		return "never learned"
	case w.LastSeen.Before(since):
		return fmt.Sprintf("last seen %s, before %s", w.LastSeen.Format(time.RFC3339), since.Format(time.RFC3339))
	default:
		return ""
	}
}

func newestOf(workloads []baseline.Workload) time.Time {
	var newest time.Time
	for i := range workloads {
		if workloads[i].LastSeen.After(newest) {
			newest = workloads[i].LastSeen
		}
	}
	return newest
}

// instant is a time, or how long before another time.
type instant struct {
	at  time.Time
	ago time.Duration
}

var days = regexp.MustCompile(`^(\d{1,5})d$`)

// UnmarshalText reads a time, a date or a duration.
func (i *instant) UnmarshalText(raw []byte) error {
	s := string(raw)
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			*i = instant{at: t.UTC()}
			return nil
		}
	}
	if m := days.FindStringSubmatch(s); m != nil {
		n, err := strconv.Atoi(m[1])
		if err == nil && n > 0 {
			*i = instant{ago: time.Duration(n) * 24 * time.Hour}
			return nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		*i = instant{ago: d}
		return nil
	}
	return fmt.Errorf("%q is no time; want 2026-11-23, 2026-11-23T17:00:00Z, 30d or 12h", s)
}

// before returns the time, the zero time of a zero instant.
func (i instant) before(newest time.Time) time.Time {
	if i.ago > 0 {
		return newest.Add(-i.ago)
	}
	return i.at
}

// baselineAcceptCmd accepts what was learned later.
type baselineAcceptCmd struct {
	In       string `arg:"" help:"Baseline: a file or URL."`
	Out      string `required:"" placeholder:"FILE|URL" help:"Where to write what comes of it."`
	Workload globs  `required:"" placeholder:"GLOB" sep:"none" help:"Workloads to accept, such as shop/web/web. Can be repeated."`
}

// Help says why it takes a person.
func (baselineAcceptCmd) Help() string {
	return `After its learning period a workload moves what is typical for it within bounds only, so that nobody can get it used to
theft in small steps. When it rightly does more than it did, accept that here: what it did since becomes part of its
reference, and the bounds are counted from there.`
}

// Run accepts and says of each workload what that was.
func (c baselineAcceptCmd) Run(ctx context.Context, con console) (err error) {
	if err := c.Workload.check(); err != nil {
		return err
	}
	files := openFiles()
	defer closing(files, &err)
	f, err := readOne(ctx, files, c.In)
	if err != nil {
		return err
	}
	workloads, err := f.Workloads()
	if err != nil {
		return err
	}
	if err := c.Workload.someOf(workloads); err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	accepted, err := f.Accept(c.Workload.match)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	if err := files.Write(ctx, c.Out, accepted); err != nil {
		return err
	}
	numAccepted := 0
	for i := range workloads {
		if w := &workloads[i]; c.Workload.match(w.Name) {
			numAccepted++
			fmt.Fprintf(con.stderr, "accepted %s: %s\n", profile.Printable(w.Name), later(w))
		}
	}
	fmt.Fprintf(con.stderr, "accepted %s: %s\n", profile.Count(numAccepted, "workload"), c.Out)
	return nil
}

// later says what a workload did after its learning period.
func later(w *baseline.Workload) string {
	var values []string
	for i := range w.Values {
		for _, v := range w.Values[i].Candidates {
			values = append(values, fmt.Sprintf("%s %s", baseline.Dimension(i), v))
		}
	}
	switch {
	case w.LaterWindows == 0 && len(values) == 0:
		return "nothing new since the learning period"
	case len(values) == 0:
		return profile.Count(int(w.LaterWindows), "window")
	default:
		return fmt.Sprintf("%s, and as known %s", profile.Count(int(w.LaterWindows), "window"), profile.Few(values, 200))
	}
}
