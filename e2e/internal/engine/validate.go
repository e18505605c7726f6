package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// Validation is what Falco says of one rules file.
type Validation struct {
	File     string
	Loads    bool
	Errors   []Complaint
	Warnings []Complaint
	Schema   []string // where it departs from Falco's schema of rules files
}

// Complaint is an error or a warning of Falco.
type Complaint struct {
	Code    string // LOAD_UNUSED_MACRO
	Message string
	File    string // one of those that were loaded so far: Falco goes through all of them again with each
	Line    int    // from 1
	Column  int
}

// Release is Falco's version: 0.44.1.
func (f *Falco) Release() string { return f.version }

// Validate lets Falco load rules files, one after the other, beside the plugin.
func (f *Falco) Validate(ctx context.Context, plugin string, files []string) ([]Validation, error) {
	dir, err := os.MkdirTemp("", "datastaging-falco-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	// Named as rules, the files are looked for and mounted.
	config, mounts, err := f.config(Request{Plugin: plugin, Rules: files}, ruleset.SyscallSource)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "falco.yaml")
	if err := os.WriteFile(path, config, 0o644); err != nil {
		return nil, err
	}
	args := []string{"-c", path}
	named := map[string]string{} // as Falco gets to see them
	for _, file := range files {
		abs, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		named[abs] = file
		args = append(args, "-V", abs)
	}
	// Falco ends with a failure where a file does not load, and tells why all the same.
	out, runErr := f.command(ctx, append(mounts, dir), "", "", args...).Output()
	validations, err := parseValidations(out, files, named)
	var exit *exec.ExitError
	if err != nil && (runErr == nil || !errors.As(runErr, &exit)) {
		err = errors.Join(err, runErr)
	} else if err != nil {
		err = explain(ctx, runErr)
	}
	if err != nil {
		return nil, fmt.Errorf("let %s validate the rules: %w", f.path, err)
	}
	return validations, nil
}

// parseValidations reads Falco's answer to -V with json_output. Its results are in the order of the files, which named has by
// the names that Falco has for them.
func parseValidations(out []byte, files []string, named map[string]string) ([]Validation, error) {
	type complaint struct {
		Code, Message string
		Context       struct {
			Locations []struct {
				Position struct {
					Name         string
					Line, Column int // from 0
				}
			}
		}
	}
	var answer struct {
		Results []struct {
			Successful       bool
			Errors, Warnings []complaint
			SchemaWarnings   []string `json:"schema_warnings"`
			SchemaValid      bool     `json:"schema_valid"`
		} `json:"falco_load_results"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	if len(answer.Results) != len(files) {
		return nil, fmt.Errorf("read its answer: it is about %d files, not %d", len(answer.Results), len(files))
	}
	convert := func(file string, in []complaint) (out []Complaint) {
		for _, c := range in {
			at := Complaint{Code: c.Code, Message: c.Message, File: file, Line: 1, Column: 1}
			if n := len(c.Context.Locations); n > 0 {
				inner := c.Context.Locations[n-1].Position
				at.Line, at.Column = inner.Line+1, inner.Column+1
				if known, ok := named[inner.Name]; ok {
					at.File = known
				}
			}
			out = append(out, at)
		}
		return out
	}
	var validations []Validation
	for i, r := range answer.Results {
		v := Validation{File: files[i], Loads: r.Successful, Errors: convert(files[i], r.Errors), Warnings: convert(files[i], r.Warnings)}
		if !r.SchemaValid {
			v.Schema = r.SchemaWarnings
		}
		validations = append(validations, v)
	}
	return validations, nil
}
