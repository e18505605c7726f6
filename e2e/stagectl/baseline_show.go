package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// baselineShowCmd shows workloads.
type baselineShowCmd struct {
	Files    []string `arg:"" name:"file" help:"Baselines: files or URLs. Several are shown as one."`
	Workload globs    `placeholder:"GLOB" sep:"none" help:"Only workloads that match, such as shop/**. Can be repeated."`
	Format   string   `enum:"table,json" default:"table" help:"Format: ${enum}."`
}

// Run shows the workloads of all files together.
func (c baselineShowCmd) Run(ctx context.Context, con console) (err error) {
	if err := c.Workload.check(); err != nil {
		return err
	}
	files := openFiles()
	defer closing(files, &err)
	locations, err := files.Expand(ctx, c.Files, "")
	if err != nil {
		return err
	}
	f, err := readMerged(ctx, files, locations, nil)
	if err != nil {
		return err
	}
	workloads, err := f.Workloads()
	if err != nil {
		return err
	}
	if err := c.Workload.someOf(workloads); err != nil {
		return err
	}
	if len(c.Workload) > 0 {
		workloads = slices.DeleteFunc(workloads, func(w baseline.Workload) bool { return !c.Workload.match(w.Name) })
	}
	if c.Format == "json" {
		err = profile.WriteJSON(con.stdout, f.Nodes(), workloads)
	} else {
		err = profile.WriteTable(con.stdout, styleOf(con, os.Getenv), f.Nodes(), workloads)
	}
	if err != nil {
		return fmt.Errorf("print the baseline: %w", err)
	}
	return nil
}

// styleOf decides how to write to stdout. What is no terminal is read as UTF-8 these days, whatever the locale of the job
// that writes it; a terminal is asked.
func styleOf(con console, getenv func(string) string) profile.Style {
	locale := strings.ToUpper(cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")))
	isUTF8 := strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8")
	return profile.Style{Colour: con.stdoutTerminal, ASCII: con.stdoutTerminal && !isUTF8}
}
