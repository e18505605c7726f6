package cases

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// DefaultDir is where cases are looked for, from the repository's root.
const DefaultDir = "e2e/cases"

// Find reads the cases that args name: case files, folders (searched to any depth for *.yaml), or names of cases in
// DefaultDir, where * ? and [] match as in path.Match. Without args it is DefaultDir. A case named twice comes once.
// The error joins everything that is wrong with the files.
func Find(args ...string) ([]Case, error) {
	if len(args) == 0 {
		args = []string{DefaultDir}
	}
	var found []Case
	var errs []error
	var named []Case // all of DefaultDir, read when the first name asks for it
	for _, arg := range args {
		cases, err := readPath(arg)
		if errors.Is(err, fs.ErrNotExist) && arg != DefaultDir {
			if named == nil {
				if named, err = readPath(DefaultDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return nil, err
				}
			}
			cases, err = byName(named, arg)
		}
		if err != nil {
			errs = append(errs, err)
		}
		found = append(found, cases...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return unique(found)
}

// byName picks the cases whose name matches pattern.
func byName(all []Case, pattern string) ([]Case, error) {
	var found []Case
	names := make([]string, 0, len(all))
	for _, c := range all {
		match, err := path.Match(pattern, c.Name)
		if err != nil {
			return nil, fmt.Errorf("read case name %q: %w: write * ? or [a-z]", pattern, err)
		}
		if match {
			found = append(found, c)
		}
		names = append(names, c.Name)
	}
	if len(found) > 0 {
		return found, nil
	}
	advice := fmt.Sprintf("write the path of a case file, or run where %s is", DefaultDir)
	if len(names) > 0 {
		advice = "the cases are " + strings.Join(names, ", ")
	}
	return nil, fmt.Errorf("no file, folder or case is named %q%s", pattern, didYouMean(pattern, names, advice))
}

// readPath reads one file, or the *.yaml files of a folder, where the rules files that cases load may lie beside them.
func readPath(root string) ([]Case, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, fmt.Errorf("find cases: %w", err)
	}
	if !info.IsDir() {
		return readFile(root)
	}
	var files []string
	err = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && filepath.Ext(p) == ".yaml" {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find cases: %w", err)
	}
	var found []Case
	var errs []error
	for _, file := range files {
		cases, err := readFile(file)
		if err != nil && !errors.Is(err, errRulesFile) {
			errs = append(errs, err)
		}
		found = append(found, cases...)
	}
	if len(errs) == 0 && len(found) == 0 {
		return nil, fmt.Errorf("find cases: no case file (*.yaml) in %s", root)
	}
	return found, errors.Join(errs...)
}

func readFile(file string) ([]Case, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read case file: %w", err)
	}
	return Parse(file, source)
}

// unique drops what two args named both, and refuses two cases of one name: results are told apart by it.
func unique(all []Case) ([]Case, error) {
	first := map[string]ruleset.Position{}
	var errs []error
	all = slices.DeleteFunc(all, func(c Case) bool {
		pos, ok := first[c.Name]
		if !ok {
			first[c.Name] = c.Pos
			return false
		}
		if pos != c.Pos {
			errs = append(errs, fmt.Errorf("%s: the name %s is taken by the case at %s: write another", c.Pos, c.Name, pos))
		}
		return true
	})
	return all, errors.Join(errs...)
}
