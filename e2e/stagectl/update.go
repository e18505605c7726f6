package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/falco-datastaging/datastaging/e2e/internal/draft"
	"github.com/falco-datastaging/datastaging/e2e/internal/report"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// draftCases drafts the expect of the cases of a run that do not hold, from the alerts that came on the first engine. It prints the
// change of each file as a unified diff, or makes it. It returns errFindings where a change was printed and not made.
func draftCases(con console, run report.Run, came [][]verdict.Alert, write bool) error {
	var files []string
	changes := map[string][]draft.Change{}
	for i, res := range run.Results {
		switch {
		case res.Engine != run.Engines[0].Name:
		case res.Err != nil:
			return fmt.Errorf("%s: draft case %s: %w", res.Case.Pos, res.Case.Name, res.Err)
		case res.Case.Draft || !res.Verdict.Passed():
			file := res.Case.Pos.File
			if !slices.Contains(files, file) {
				files = append(files, file)
			}
			changes[file] = append(changes[file], draft.Change{Case: res.Case, Verdict: res.Verdict, Alerts: came[i]})
		}
	}
	if len(files) == 0 {
		fmt.Fprintln(con.stderr, "every case holds: nothing to draft")
		return nil
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read case file: %w", err)
		}
		drafted, err := draft.Rewrite(file, source, changes[file])
		if err != nil {
			return err
		}
		if !write {
			if _, err := con.stdout.Write(diff.Diff(file, source, file+" (drafted)", drafted)); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(file, drafted, 0o644); err != nil {
			return fmt.Errorf("write case file: %w", err)
		}
		var names []string
		for _, c := range changes[file] {
			names = append(names, c.Case.Name)
		}
		fmt.Fprintf(con.stdout, "%s: drafted %s\n", file, strings.Join(names, ", "))
	}
	if !write {
		return errFindings
	}
	return nil
}
