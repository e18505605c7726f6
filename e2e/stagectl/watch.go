package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/live"
	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
	"github.com/falco-datastaging/datastaging/e2e/internal/report"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// watchCmd shows the alerts of a Falco that runs, and tells whether they are the expected ones.
type watchCmd struct {
	File   string `arg:"" optional:"" default:"-" help:"File with alerts as Falco prints them, one in JSON a line. Default: stdin."`
	Follow bool   `short:"f" help:"Go on as the file grows, also when it is rotated." group:"Source"`
	HTTP   string `name:"http" placeholder:"ADDR" help:"Receive alerts from Falco's http_output at this address, such as 127.0.0.1:2801; on loopback where it names no host." group:"Source"`
	GRPC   string `name:"grpc" placeholder:"TARGET" help:"Receive alerts from the gRPC output of Falco up to 0.43: unix:///run/falco/falco.sock or HOST:PORT." group:"Source"`
	TLS    struct {
		Cert string `placeholder:"FILE" help:"Certificate (PEM): with --http the receiver's, with --grpc the client's."`
		Key  string `placeholder:"FILE" help:"Its key (PEM)."`
		CA   string `placeholder:"FILE" help:"Certificate of the CA (PEM) that must have signed the other side's: with --http senders need one then."`
	} `embed:"" prefix:"tls-" group:"Source"`

	Format  string `enum:"table,json" default:"table" help:"Format of the alerts: ${enum}. json is one alert a line as Falco prints it, and nothing else."`
	Summary bool   `help:"Count the alerts of each rule at the end."`

	MinPriority ruleset.Priority `default:"DEBUG" placeholder:"PRIORITY" help:"Pass over alerts below this priority." group:"Which alerts"`
	Rule        []string         `sep:"none" placeholder:"GLOB" help:"Pass over alerts of other rules; * stands for any text. Can be repeated." group:"Which alerts"`
	Workload    globs            `sep:"none" placeholder:"GLOB" help:"Pass over alerts of others than these in the column CONTAINER, such as shop/**: * within a part of the name, ** across parts. Can be repeated." group:"Which alerts"`
	New         bool             `help:"Pass over alerts of events before now: what a file, or Falco's queue, holds already." group:"Which alerts"`

	Expect  string         `placeholder:"FILE" help:"Hold the alerts against the expect list of this file, a case file or one with that key alone." group:"Verdict"`
	Timeout time.Duration  `placeholder:"DURATION" help:"Time limit, such as 5m. With --expect, whatever has not come by then is missing." group:"Verdict"`
	Settle  *time.Duration `placeholder:"DURATION" help:"With --expect, end this long after all that must come has come, unless an alert comes that must not. Default: watch until the time limit." group:"Verdict"`
}

// Help says how a watch ends.
func (watchCmd) Help() string {
	return `Without --expect it watches until the source or the time ends, or until it is interrupted.

With --expect it exits with 1 as soon as an alert at NOTICE or above comes that is not expected, or one too many. It exits with
0 when the source or the time ends and all that must come has come: a count has an upper bound, and so has silence, so only the
whole time can tell. With --settle it does so earlier. Missing alerts are 1, too; 2 is what could not be done: no verdict.`
}

// Validate is called by kong.
func (c watchCmd) Validate() error {
	endless := c.Follow || c.HTTP != "" || c.GRPC != ""
	switch {
	case c.HTTP != "" && c.GRPC != "":
		return errors.New("--http and --grpc are two sources: choose one")
	case (c.HTTP != "" || c.GRPC != "") && (c.File != "-" || c.Follow):
		return errors.New("a file, --http and --grpc are different sources: choose one")
	case c.Follow && c.File == "-":
		return errors.New("--follow needs a file: stdin is read until it ends in any case")
	case c.HTTP == "" && c.GRPC == "" && (c.TLS.Cert != "" || c.TLS.Key != "" || c.TLS.CA != ""):
		return errors.New("certificates are for --http and --grpc")
	case c.HTTP != "" && ((c.TLS.Cert == "") != (c.TLS.Key == "") || (c.TLS.CA != "" && c.TLS.Cert == "")):
		return errors.New("TLS needs both --tls-cert and --tls-key")
	case c.Timeout < 0:
		return fmt.Errorf("--timeout=%s: write a duration such as 5m", c.Timeout)
	case c.Settle != nil && *c.Settle < 0:
		return fmt.Errorf("--settle=%s: write a duration such as 10s", *c.Settle)
	case c.Settle != nil && c.Expect == "":
		return errors.New("--settle is for --expect")
	case c.Expect != "" && endless && c.Timeout == 0:
		return errors.New("--expect needs a time limit here, for the source has no end: add --timeout 5m")
	}
	for _, glob := range c.Rule {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("--rule %q: %w: write * ? or [a-z]", glob, err)
		}
	}
	if err := c.Workload.check(); err != nil {
		return fmt.Errorf("--workload: %w", err)
	}
	return nil
}

// source is where alerts come from; it is run once.
type source interface {
	// Run sends what it receives. It returns nil when the source has ended or ctx is done.
	Run(ctx context.Context, out chan<- live.Received) error
}

// Run watches until the end and gives the verdict. It returns errFindings where the alerts are not the expected ones.
func (c watchCmd) Run(ctx context.Context, con console) error {
	w := watch{cmd: c, con: con, began: time.Now(), counts: map[counted]int{}}
	if c.Expect != "" {
		expected, err := cases.ReadExpect(c.Expect)
		if err != nil {
			return err
		}
		if err := c.check(expected); err != nil {
			return err
		}
		w.tally = verdict.NewTally(expected)
	}
	w.show = newAlertStream(con).show
	if c.Format == "json" {
		w.show = func(a alert.Alert) error { return writeJSON(con.stdout, []alert.Alert{a}) }
	}
	src, err := c.open(con)
	if err != nil {
		return err
	}
	return w.run(ctx, src)
}

// check refuses expectations that cannot be met by the alerts that are not passed over, or not before the time is over.
func (c watchCmd) check(expected []cases.Expectation) error {
	wanted := false
	for _, e := range expected {
		if e.Priority != nil && !e.Priority.AtLeast(c.MinPriority) {
			return fmt.Errorf("%s: --min-priority %s passes over alerts at %s: lower it", e.Pos, c.MinPriority, e.Priority)
		}
		if !c.matches(e.Rule) {
			return fmt.Errorf("%s: --rule passes over alerts of %q: add it", e.Pos, e.Rule)
		}
		wanted = wanted || e.Count.Min > 0
	}
	if c.Settle != nil && !wanted {
		return fmt.Errorf("%s: nothing must come, so that only the whole time can tell: leave out --settle", c.Expect)
	}
	return nil
}

// matches tells whether alerts of a rule are looked at. A * stands for a / as well.
func (c watchCmd) matches(rule string) bool {
	if len(c.Rule) == 0 {
		return true
	}
	plain := strings.NewReplacer("/", "\x00")
	for _, glob := range c.Rule {
		if ok, _ := path.Match(plain.Replace(glob), plain.Replace(rule)); ok { // Validate has checked the glob
			return true
		}
	}
	return false
}

// open gives the source and says on stderr where it listens.
func (c watchCmd) open(con console) (source, error) {
	files := live.TLSFiles{Cert: c.TLS.Cert, Key: c.TLS.Key, CA: c.TLS.CA}
	switch {
	case c.HTTP != "":
		return c.listen(con, files)
	case c.GRPC != "":
		g, err := live.NewGRPC(c.GRPC, files)
		if err != nil {
			return nil, err
		}
		// No verdict can be given on what came while there was no connection.
		g.Reconnect = c.Expect == ""
		return g, nil
	case c.Follow:
		return live.Follow{Path: c.File}, nil
	case c.File == "-":
		return live.Lines{Name: "stdin", Open: func() (io.ReadCloser, error) { return os.Stdin, nil }}, nil
	default:
		return live.Lines{Name: c.File, Open: func() (io.ReadCloser, error) { return os.Open(c.File) }}, nil
	}
}

func (c watchCmd) listen(con console, files live.TLSFiles) (source, error) {
	var h *live.HTTP
	var err error
	if files.Cert == "" {
		h, err = live.ListenHTTP(c.HTTP, nil)
	} else {
		config, tlsErr := live.ServerTLS(files.Cert, files.Key, files.CA)
		if tlsErr != nil {
			return nil, tlsErr
		}
		h, err = live.ListenHTTP(c.HTTP, config)
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(con.stderr, "listening at %s\n", h.URL())
	if h.Exposed() {
		fmt.Fprintln(con.stderr, "warning: alerts come unencrypted, and anybody can send some: use --tls-cert, --tls-key and --tls-ca")
	}
	return h, nil
}

// watch is one run of the command.
type watch struct {
	cmd   watchCmd
	con   console
	show  func(alert.Alert) error
	tally *verdict.Tally // nil without --expect
	began time.Time

	alerts int // that were not passed over
	bad    int // that could not be read
	counts map[counted]int
}

// run takes what the source sends until the watch is over.
func (w *watch) run(ctx context.Context, src source) error {
	running, stop := context.WithCancel(ctx)
	received := make(chan live.Received)
	ended := make(chan error, 1)
	go func() { ended <- src.Run(running, received) }()
	over, err := w.take(ctx, received, ended)
	stop()
	if !over {
		<-ended // by then senders have been answered
	}
	if err != nil {
		return err
	}
	return w.finish(ctx)
}

// take returns when the watch is over; over is set where that is because the source is.
func (w *watch) take(ctx context.Context, received <-chan live.Received, ended <-chan error) (over bool, err error) {
	var limit, settled <-chan time.Time
	if w.cmd.Timeout > 0 {
		limit = time.After(w.cmd.Timeout)
	}
	for {
		select {
		case r := <-received:
			if err := w.one(r); err != nil {
				return false, err
			}
			if w.tally == nil {
				continue
			}
			if w.tally.Failed() {
				return false, nil
			}
			if w.cmd.Settle != nil && settled == nil && w.tally.Met() {
				settled = time.After(*w.cmd.Settle)
			}
		case err := <-ended:
			return true, err
		case <-limit:
			return false, nil
		case <-settled:
			return false, nil
		case <-ctx.Done():
			return false, nil
		}
	}
}

// one takes one thing that came.
func (w *watch) one(r live.Received) error {
	switch a := r.Alert; {
	case r.Note != "":
		fmt.Fprintln(w.con.stderr, profile.Printable(r.Note))
	case r.Bad != nil:
		w.bad++
		fmt.Fprintln(w.con.stderr, profile.Printable(r.Bad.Error()))
	case w.wanted(a):
		w.alerts++
		w.counts[counted{a.Priority, a.Rule}]++
		if w.tally != nil {
			w.tally.Add(verdict.Alert{Alert: a})
		}
		if err := w.show(a); err != nil {
			return fmt.Errorf("print the alerts: %w", err)
		}
	}
	return nil
}

// wanted tells whether an alert is looked at. A priority that is not Falco's is never passed over.
func (w *watch) wanted(a alert.Alert) bool {
	if p, err := ruleset.ParsePriority(a.Priority); err == nil && !p.AtLeast(w.cmd.MinPriority) {
		return false
	}
	if len(w.cmd.Workload) > 0 && !w.cmd.Workload.match(container(a)) {
		return false
	}
	return w.cmd.matches(a.Rule) && (!w.cmd.New || !a.Time.Before(w.began))
}

// finish writes what comes at the end.
func (w *watch) finish(ctx context.Context) error {
	out, colour := w.con.stdout, w.con.stdoutTerminal
	if w.cmd.Format == "json" { // stdout is for alerts alone
		out, colour = w.con.stderr, w.con.stderrTerminal
	}
	if w.cmd.Summary {
		if err := writeCounts(out, w.counts, colour); err != nil {
			return err
		}
	}
	if w.bad > 0 {
		fmt.Fprintf(w.con.stderr, "%s could not be read\n", profile.Count(w.bad, "alert"))
	}
	switch {
	case w.tally == nil:
		return nil
	case ctx.Err() != nil && !w.tally.Failed():
		return ctx.Err() // what would have come is not known
	default:
		return w.judge(out, colour)
	}
}

// judge writes the verdict.
func (w *watch) judge(out io.Writer, colour bool) error {
	v := w.tally.Verdict()
	if err := report.WriteVerdict(out, v, colour); err != nil {
		return err
	}
	word, shade, missing := "passed", text.FgGreen, "missing"
	if !v.Passed() {
		word, shade = "FAILED", text.FgRed
	}
	if len(v.Unexpected) > 0 {
		missing = "missing so far" // the watch has ended there
	}
	fmt.Fprintf(out, "%s: %s, %d %s, %d unexpected\n", paint(colour, shade, word), profile.Count(w.alerts, "alert"), len(v.Missing), missing, len(v.Unexpected))
	if !v.Passed() {
		return errFindings
	}
	return nil
}

// counted is what alerts are counted by.
type counted struct{ priority, rule string }

// writeCounts writes how many alerts came, the most severe first.
func writeCounts(w io.Writer, counts map[counted]int, colour bool) error {
	order := slices.SortedFunc(maps.Keys(counts), func(a, b counted) int {
		// One that is not Falco's has no error to tell here and comes first, as Emergency does.
		x, _ := ruleset.ParsePriority(a.priority)
		y, _ := ruleset.ParsePriority(b.priority)
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(counts[b], counts[a]), strings.Compare(a.rule, b.rule))
	})
	tw := alertColumns()
	tw.AppendHeader(table.Row{"alerts", "priority", "rule"})
	tw.SetColumnConfigs([]table.ColumnConfig{{Number: 1, Align: text.AlignRight, AlignHeader: text.AlignRight}})
	for _, c := range order {
		tw.AppendRow(table.Row{counts[c], alertTable{colour: colour}.priority(c.priority), profile.Printable(c.rule)})
	}
	_, err := fmt.Fprintln(w, tw.Render())
	return err
}
