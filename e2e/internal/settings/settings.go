// Package settings reads the configuration of a Falco as Falco 0.42 and later do: falco.yaml, and the files and folders that
// its config_files names, merged key by key at the top. It keeps the place of every value. What Falco does with it all is in
// userspace/engine/yaml_helper.h and userspace/falco/configuration.cpp of falcosecurity/falco.
package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// Strategy is how a file is merged into what was read before.
type Strategy string

const (
	// Append adds the entries of sequences to those that are there, and replaces all else.
	Append Strategy = "append"
	// Override replaces what is there.
	Override Strategy = "override"
	// AddOnly keeps what is there.
	AddOnly Strategy = "add-only"
)

// File is a file that was read.
type File struct {
	Path     string
	Strategy Strategy // empty for the first
}

// Problem is something in a file that Falco does not start with, or takes for something else than it seems.
type Problem struct {
	Pos   ruleset.Position
	Msg   string // what is wrong and what to write instead
	Fatal bool   // Falco does not start
}

// Settings is the merged configuration.
type Settings struct {
	Files    []File
	Folders  []string // of config_files that are there
	Problems []Problem

	root *Value
}

const includes = "config_files"

// Read reads a falco.yaml and what it includes. getenv looks up the variables that Falco puts in place of ${NAME}. The error
// is about the first file; those of others are problems.
func Read(path string, getenv func(string) (string, bool)) (*Settings, error) {
	root, problems, err := parse(path, getenv)
	if err != nil {
		return nil, err
	}
	s := &Settings{Files: []File{{Path: path}}, Problems: problems, root: root}
	for _, entry := range s.Get(includes).Items() {
		s.include(path, entry, getenv)
	}
	return s, nil
}

// include reads one entry of config_files.
func (s *Settings) include(main string, entry *Value, getenv func(string) (string, bool)) {
	path, strategy := entry.Text(), Append
	if entry.IsMapping() {
		path = entry.Get("path").Text()
		if given := entry.Get("strategy"); given != nil {
			switch strategy = Strategy(given.Text()); strategy {
			case Append, Override, AddOnly:
			default:
				s.problem(given.Pos, false, "the strategy %q is none, and Falco takes it for append: write append, override or add-only", strategy)
				strategy = Append
			}
		}
	}
	info, err := os.Stat(path)
	switch {
	case path == main:
		s.problem(entry.Pos, true, "config_files names the file that it stands in: remove it")
	case err != nil:
		return // Falco passes over it, too
	case info.Mode().IsRegular():
		s.merge(path, strategy, getenv)
	case info.IsDir():
		s.Folders = append(s.Folders, path)
		files, err := filesIn(path)
		if err != nil {
			s.problem(entry.Pos, true, "%v", err)
		}
		for _, file := range files {
			if ext := filepath.Ext(file); ext != ".yaml" && ext != ".yml" {
				s.problem(ruleset.Position{File: file, Line: 1, Column: 1}, false, "Falco reads every file of this folder, whatever its name: move it elsewhere if it is "+
					"no configuration, or only a copy of one")
			}
			s.merge(file, strategy, getenv)
		}
	}
}

// filesIn are the regular files of a folder by name, as Falco reads them.
func filesIn(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path) // links count as what they lead to
		if err == nil && info.Mode().IsRegular() {
			files = append(files, path)
		}
	}
	return files, nil
}

func (s *Settings) merge(path string, strategy Strategy, getenv func(string) (string, bool)) {
	s.Files = append(s.Files, File{path, strategy})
	root, problems, err := parse(path, getenv)
	s.Problems = append(s.Problems, problems...)
	if err != nil {
		s.Problems = append(s.Problems, problemOf(path, err))
		return
	}
	for _, f := range root.fields {
		switch had := s.root.Get(f.Key); {
		case f.Key == includes:
			s.problem(f.Pos, true, "only the main configuration file may have config_files: remove it")
		case strategy == AddOnly && had != nil:
		case strategy == Append && f.Value.kind == sequence && had != nil && had.kind != null:
			if had.kind != sequence {
				s.problem(f.Value.Pos, true, "%s is a list here and none in %s, so that it cannot be appended to: write the same kind in both", f.Key, had.Pos)
				continue
			}
			merged := *had
			merged.list = slices.Concat(had.list, f.Value.list)
			s.root.set(f.Key, f.Pos, &merged)
		default:
			s.root.set(f.Key, f.Pos, f.Value)
		}
	}
}

func (s *Settings) problem(at ruleset.Position, fatal bool, format string, args ...any) {
	s.Problems = append(s.Problems, Problem{at, fmt.Sprintf(format, args...), fatal})
}

// problemOf is the problem that a file cannot be read.
func problemOf(path string, err error) Problem {
	var at *ruleset.Error
	if errors.As(err, &at) {
		return Problem{at.Pos, at.Msg, true}
	}
	return Problem{ruleset.Position{File: path, Line: 1, Column: 1}, err.Error(), true}
}

// Get returns a value by the keys that lead to it, or nil.
func (s *Settings) Get(keys ...string) *Value {
	v := s.root
	for _, key := range keys {
		v = v.Get(key)
	}
	return v
}

// Main is the path of the first file.
func (s *Settings) Main() string { return s.Files[0].Path }

// expand puts the values of variables in place of ${NAME}, as Falco does: nothing where there is none. $${NAME} is ${NAME}.
func expand(text string, getenv func(string) (string, bool)) string {
	for from := 0; ; {
		at := strings.IndexByte(text[from:], '$')
		if at < 0 {
			return text
		}
		at += from
		rest := text[at:]
		escaped := strings.HasPrefix(rest, "$${")
		end := strings.IndexByte(rest, '}')
		switch {
		case (escaped || strings.HasPrefix(rest, "${")) && end < 0:
			return text
		case escaped:
			text = text[:at] + rest[1:]
			from = at + 1
		case strings.HasPrefix(rest, "${"):
			value, _ := getenv(rest[2:end])
			text = text[:at] + value + rest[end+1:]
			from = at
		default:
			return text // Falco looks no further either
		}
	}
}
