package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// baselineCheckCmd checks files.
type baselineCheckCmd struct {
	Files      []string `arg:"" name:"file" help:"Baselines: files, URLs, folders or globs."`
	Strict     bool     `help:"Exit with 1 when there are warnings."`
	MinWindows uint64   `default:"120" placeholder:"N" help:"Warn of workloads with fewer windows, which lean on others. Default: ${default}, as the plugin's min_windows."`
}

// checked is what was found about one file.
type checked struct {
	at        string
	numBytes  int
	nodes     []baseline.NodeInfo
	workloads []sized
	warnings  []string
	err       error // it cannot be read, or it is broken
}

type sized struct {
	name     string
	numBytes int
}

// Run checks the files and then what they have in common.
func (c baselineCheckCmd) Run(ctx context.Context, con console) (err error) {
	files := openFiles()
	defer closing(files, &err)
	locations, err := files.Expand(ctx, c.Files, "")
	if err != nil {
		return err
	}
	var all []checked
	err = readEach(ctx, files, locations, func(at string, f *baseline.File, numBytes int, err error) error {
		all = append(all, c.check(at, f, numBytes, err))
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b checked) int { return strings.Compare(a.at, b.at) })
	warnOfNodesInSeveral(all)
	numBroken, numWarnings := 0, 0
	for i := range all {
		all[i].write(con.stdout, con.stdoutTerminal)
		numWarnings += len(all[i].warnings)
		if all[i].err != nil {
			numBroken++
		}
	}
	switch {
	case numBroken > 0:
		return fmt.Errorf("check: %d of %s cannot be used", numBroken, profile.Count(len(all), "baseline"))
	case numWarnings > 0 && c.Strict:
		return errFindings
	}
	return nil
}

func (c baselineCheckCmd) check(at string, f *baseline.File, numBytes int, err error) checked {
	out := checked{at: at, numBytes: numBytes, err: err}
	if err != nil {
		return out
	}
	workloads, err := f.Workloads()
	if err != nil {
		out.err = err
		return out
	}
	out.nodes = f.Nodes()
	var few, refused, full []string
	for i := range workloads {
		w := &workloads[i]
		out.workloads = append(out.workloads, sized{w.Name, w.Bytes})
		switch {
		case w.Windows == 0:
			refused = append(refused, w.Name)
		case w.Windows < c.MinWindows:
			few = append(few, w.Name)
		}
		for d := range w.Values {
			if w.Values[d].Full {
				full = append(full, fmt.Sprintf("%s of %s", baseline.Dimension(d), w.Name))
			}
		}
	}
	warn := func(names []string, format string, args ...any) {
		if len(names) > 0 {
			out.warnings = append(out.warnings, fmt.Sprintf(format, args...)+": "+profile.Few(names, 96))
		}
	}
	if len(workloads) == 0 {
		out.warnings = append(out.warnings, "there is no workload in it")
	}
	warn(few, "%s with fewer than %s", profile.Count(len(few), "workload"), profile.Count(int(c.MinWindows), "window"))
	warn(refused, "%s with quarantined windows only", profile.Count(len(refused), "workload"))
	warn(full, "%s too many to tell apart, so nothing is new there", profile.Count(len(full), "set"))
	return out
}

// warnOfNodesInSeveral warns of nodes that are in several files: merging takes the newest of each.
func warnOfNodesInSeveral(all []checked) {
	first := map[string]string{} // node to location
	for i := range all {
		again := map[string][]string{} // location to nodes
		for _, n := range all[i].nodes {
			for _, id := range profile.NamesOf(n) {
				if at, ok := first[id]; ok {
					again[at] = append(again[at], id)
				} else {
					first[id] = all[i].at
				}
			}
		}
		var warnings []string
		for at, ids := range again {
			warnings = append(warnings, fmt.Sprintf("%s in %s, too: %s", profile.Count(len(ids), "node"), at, profile.Few(ids, 96)))
		}
		slices.Sort(warnings)
		all[i].warnings = append(all[i].warnings, warnings...)
	}
}

// Lists of a check are no longer than this.
const (
	maxNodesListed     = 20
	maxWorkloadsListed = 5
)

func (c *checked) write(w io.Writer, colour bool) {
	if c.err != nil {
		fmt.Fprintf(w, "%s: %s\n", c.at, paint(colour, text.FgRed, c.reason()))
		return
	}
	numNodes := 0
	for _, n := range c.nodes {
		numNodes += len(profile.NamesOf(n))
	}
	fmt.Fprintf(w, "%s: whole; %s, %s, %s\n", c.at, humanize.IBytes(uint64(c.numBytes)), profile.Count(numNodes, "node"), profile.Count(len(c.workloads), "workload"))
	for _, n := range c.nodes[:min(len(c.nodes), maxNodesListed)] {
		fmt.Fprintf(w, "  node %s: saved %s, %s, %s\n", profile.Printable(n.ID), n.Saved.Format("2006-01-02 15:04:05 UTC"),
			profile.Count(n.Workloads, "workload"), humanize.IBytes(uint64(n.Bytes)))
		if len(n.Includes) > 0 {
			fmt.Fprintf(w, "    %s folded into it: %s\n", profile.Count(len(n.Includes), "node"), profile.Few(n.Includes, 96))
		}
	}
	if more := len(c.nodes) - maxNodesListed; more > 0 {
		fmt.Fprintf(w, "  and %s more\n", profile.Count(more, "node"))
	}
	c.writeSizes(w)
	for _, warning := range c.warnings {
		fmt.Fprintf(w, "  %s\n", paint(colour, text.FgYellow, "warning: "+warning))
	}
}

// writeSizes tells how large workloads are before compression, which is what tells them apart.
func (c *checked) writeSizes(w io.Writer) {
	if len(c.workloads) == 0 {
		return
	}
	bySize := slices.Clone(c.workloads)
	slices.SortFunc(bySize, func(a, b sized) int {
		return cmp.Or(cmp.Compare(b.numBytes, a.numBytes), strings.Compare(a.name, b.name))
	})
	total := 0
	var largest []string
	for i, s := range bySize {
		total += s.numBytes
		if i < maxWorkloadsListed {
			largest = append(largest, fmt.Sprintf("%s %s", profile.Printable(s.name), humanize.IBytes(uint64(s.numBytes))))
		}
	}
	fmt.Fprintf(w, "  a workload takes %s uncompressed; the largest: %s\n", humanize.IBytes(uint64(total/len(bySize))), strings.Join(largest, ", "))
}

// reason says what is wrong with a file, and what to use instead where that is at hand.
func (c *checked) reason() string {
	reason := strings.TrimPrefix(c.err.Error(), "read baseline "+c.at+": ")
	if prev := c.at + ".prev"; errors.Is(c.err, baseline.ErrDamaged) {
		if _, err := os.Stat(prev); err == nil {
			reason += "; the generation before is " + prev
		}
	}
	return reason
}

func paint(colour bool, c text.Color, s string) string {
	if !colour {
		return s
	}
	return c.Sprint(s)
}
