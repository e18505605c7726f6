package main

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
)

// baselineMergeCmd merges nodes' baselines.
type baselineMergeCmd struct {
	In         []string `arg:"" name:"in" help:"Baselines: files, URLs, folders or globs. What is at --out is read only when it is named alone."`
	Out        string   `required:"" placeholder:"FILE|URL" help:"Where to write what comes of it."`
	Compact    bool     `help:"Fold all nodes into one: much smaller, but nodes cannot be replaced by newer ones in it."`
	SkipBroken bool     `help:"Leave out files that are damaged or of another version or schema, and say which."`
}

// Run reads, merges and writes.
func (c baselineMergeCmd) Run(ctx context.Context, con console) (err error) {
	files := openFiles()
	defer closing(files, &err)
	locations, err := files.Expand(ctx, c.In, c.Out)
	if err != nil {
		return err
	}
	numSkipped := 0
	var skipped func(error)
	if c.SkipBroken {
		skipped = func(err error) {
			numSkipped++
			fmt.Fprintf(con.stderr, "left out: %v\n", err)
		}
	}
	f, err := readMerged(ctx, files, locations, skipped)
	if err != nil {
		return err
	}
	if numSkipped == len(locations) {
		return fmt.Errorf("merge: all of %s are broken", profile.Count(numSkipped, "file"))
	}
	numNodes := 0
	for _, n := range f.Nodes() {
		numNodes += len(profile.NamesOf(n))
	}
	if c.Compact {
		if f, err = f.Compact(); err != nil {
			return fmt.Errorf("merge: %w", err)
		}
	}
	if err := files.Write(ctx, c.Out, f); err != nil {
		return err
	}
	numBytes := 0
	for _, n := range f.Nodes() {
		numBytes += n.Bytes
	}
	fmt.Fprintf(con.stderr, "merged %s of %s into %s, %s\n", profile.Count(len(locations)-numSkipped, "file"),
		profile.Count(numNodes, "node"), c.Out, humanize.IBytes(uint64(numBytes)))
	return nil
}
