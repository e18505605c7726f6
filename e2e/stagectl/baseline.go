package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/bmatcuk/doublestar/v4"
	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"

	"github.com/falco-datastaging/datastaging/e2e/internal/location"
	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// baselineCmd are the commands that work on baseline files, wherever they lie.
type baselineCmd struct {
	Show   baselineShowCmd   `cmd:"" help:"Show what baselines know of each workload."`
	Diff   baselineDiffCmd   `cmd:"" help:"Say what changed from one baseline to another. Exits with 0 when nothing did, 1 when something did, 2 on errors."`
	Merge  baselineMergeCmd  `cmd:"" help:"Merge the baselines of nodes into one. The newest of each node counts, so the order does not matter and merging twice changes nothing."`
	Trim   baselineTrimCmd   `cmd:"" help:"Drop workloads from a baseline."`
	Accept baselineAcceptCmd `cmd:"" help:"Make what workloads did after their learning period part of what is normal."`
	Check  baselineCheckCmd  `cmd:"" help:"Tell whether baselines are whole. Exits with 0 when they are, 1 with --strict on warnings, 2 when one is broken."`
}

// Help says what a FILE can be.
func (baselineCmd) Help() string {
	return `A baseline lies in a file or in object storage: s3://bucket/key, gs://bucket/key or azblob://container/key, with the
credentials that the storage's own tools use (Azure's account comes from AZURE_STORAGE_ACCOUNT) and options after a ?, such
as ?region=eu-west-1. Where several can be given, a folder, a URL that ends with a / and a glob (*, **, [a-c], {a,b}) name
all baselines that they match.`
}

func openFiles() *location.Files { return location.New(blob.DefaultURLMux()) }

// maxReads is how many files are read at once: enough to hide the way to object storage.
const maxReads = 16

// readEach reads files, several at once, and hands them over one at a time in any order. It ends at the first error that
// take returns.
func readEach(ctx context.Context, files *location.Files, locations []string, take func(at string, f *baseline.File, numBytes int, err error) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxReads)
	var one sync.Mutex
	for _, at := range locations {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, numBytes, err := files.Read(ctx, at)
			one.Lock()
			defer one.Unlock()
			if err := ctx.Err(); err != nil {
				return err
			}
			return take(at, f, numBytes, err)
		})
	}
	return group.Wait()
}

// broken reports whether an error is about what is in a file, not about getting at it.
func broken(err error) bool {
	return errors.Is(err, baseline.ErrDamaged) || errors.Is(err, baseline.ErrVersion) || errors.Is(err, baseline.ErrSchema)
}

// readMerged reads baselines and merges them. Broken ones are left out when skipped is not nil, which is told of each;
// otherwise they are an error, all of them together.
func readMerged(ctx context.Context, files *location.Files, locations []string, skipped func(error)) (*baseline.File, error) {
	var all pile
	var bad []error
	err := readEach(ctx, files, locations, func(at string, f *baseline.File, _ int, err error) error {
		switch {
		case broken(err):
			bad = append(bad, err)
			return nil
		case err != nil:
			return err
		}
		return all.add(at, f)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(bad, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if skipped == nil && len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	for _, err := range bad {
		skipped(err)
	}
	return all.merge()
}

// pile merges files as they come, so that thousands of them take little more memory than what comes of them.
type pile struct {
	files  []*baseline.File
	merged int      // how many of files cannot be merged yet
	folded []string // locations of files with folded digests
}

// pileSize is how many files wait for being merged.
const pileSize = 64

func (p *pile) add(at string, f *baseline.File) error {
	p.files = append(p.files, f)
	if slices.ContainsFunc(f.Nodes(), func(n baseline.NodeInfo) bool { return len(n.Includes) > 0 }) {
		p.folded = append(p.folded, at)
	}
	if len(p.files)-p.merged < pileSize {
		return nil
	}
	f, err := baseline.Merge(p.files...)
	if errors.Is(err, baseline.ErrOverlap) {
		p.merged = len(p.files) // one that comes may hold both
		return nil
	}
	if err != nil {
		return err
	}
	p.files, p.merged = []*baseline.File{f}, 1
	return nil
}

func (p *pile) merge() (*baseline.File, error) {
	f, err := baseline.Merge(p.files...)
	if errors.Is(err, baseline.ErrOverlap) {
		slices.Sort(p.folded)
		err = fmt.Errorf("merge: %w; leave out what was folded with --compact: %s", err, profile.Few(p.folded, 200))
	}
	return f, err
}

// readOne reads the baselines that one argument names as one.
func readOne(ctx context.Context, files *location.Files, at string) (*baseline.File, error) {
	locations, err := files.Expand(ctx, []string{at}, "")
	if err != nil {
		return nil, err
	}
	return readMerged(ctx, files, locations, nil)
}

// globs match workloads: * within a part of the name, ** across parts.
type globs []string

func (g globs) check() error {
	for _, glob := range g {
		if !doublestar.ValidatePattern(glob) {
			return fmt.Errorf("%q is not a glob of workloads; want one such as shop/** or shop/web/*", glob)
		}
	}
	return nil
}

func (g globs) match(workload string) bool {
	return slices.ContainsFunc(g, func(glob string) bool { return doublestar.MatchUnvalidated(glob, workload) })
}

// unmatched returns the globs that no workload matches.
func (g globs) unmatched(workloads []baseline.Workload) []string {
	var out []string
	for _, glob := range g {
		if !slices.ContainsFunc(workloads, func(w baseline.Workload) bool { return globs{glob}.match(w.Name) }) {
			out = append(out, glob)
		}
	}
	return out
}

// someOf is the error of globs that no workload matches: it names workloads to choose from.
func (g globs) someOf(workloads []baseline.Workload) error {
	missing := g.unmatched(workloads)
	if len(missing) == 0 {
		return nil
	}
	var names []string
	for i := range workloads {
		names = append(names, workloads[i].Name)
	}
	return fmt.Errorf("no workload matches %s; there are %s", strings.Join(missing, ", "), profile.Few(names, 200))
}

// closing closes files and adds its error to what a command returns.
func closing(c io.Closer, err *error) { *err = errors.Join(*err, c.Close()) }
