package main

import (
	"context"
	"fmt"
	"os"

	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// baselineDiffCmd says what changed.
type baselineDiffCmd struct {
	Old    string `arg:"" help:"Baseline before: a file or URL."`
	New    string `arg:"" help:"Baseline after."`
	Format string `enum:"text,json" default:"text" help:"Format: ${enum}. text is one line a change, for review."`
}

// Run ends with errFindings when the two differ.
func (c baselineDiffCmd) Run(ctx context.Context, con console) (err error) {
	files := openFiles()
	defer closing(files, &err)
	before, err := readOne(ctx, files, c.Old)
	if err != nil {
		return err
	}
	after, err := readOne(ctx, files, c.New)
	if err != nil {
		return err
	}
	changes, err := baseline.Diff(before, after)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		err = profile.WriteChangesJSON(con.stdout, changes)
	} else {
		err = profile.WriteChanges(con.stdout, styleOf(con, os.Getenv), changes)
	}
	if err != nil {
		return fmt.Errorf("print the changes: %w", err)
	}
	if len(changes) > 0 {
		return errFindings
	}
	return nil
}
