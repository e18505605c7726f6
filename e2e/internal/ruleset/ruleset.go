// Package ruleset loads Falco rules files as Falco 0.42 and later do, and expands every rule to one filter of libsinsp, so
// that an engine without a rule language can run the rule.
//
// A rules file is a YAML sequence of lists (values), macros (named conditions), rules, and the versions they require. Files
// are loaded in order and change what earlier ones defined. A rule's condition names lists and macros; its exceptions are
// conditions that it must not meet. What Falco does with all that is in userspace/engine/rule_loader_*.cpp of
// falcosecurity/falco.
//
// Falco puts the items of a list wherever the list's name stands as a word, even inside a quoted string. Here a list is
// expanded as a value alone; a condition in which that makes a difference is an error, never another meaning.
package ruleset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// SyscallSource is the source of a rule that names none.
const SyscallSource = "syscall"

// File is the content of a rules file.
type File struct {
	Name string // for positions
	Data []byte
}

// Set is the rules of some rules files.
type Set struct {
	// Warnings are what Falco warns about: first what was found while reading, then while expanding. Rules run all the same.
	Warnings []Warning
	// Definitions are the entries of the files that define or change something, in order. Those with an error are left out.
	Definitions []Definition

	lists   []List
	macros  []Macro
	rules   []Rule
	engine  []engineRequirement
	plugins []PluginRequirement
}

// Rule is a rule ready to run.
type Rule struct {
	Name      string
	Desc      string
	Condition string // as written, with what was appended
	Output    string // as written, with what was appended
	Priority  Priority
	Source    string   // event source: syscall, k8s_audit
	Tags      []string // sorted
	Enabled   bool
	// TagsInOrder are the tags as written.
	TagsInOrder []Tag
	// Exceptions are part of Filter already.
	Exceptions []Exception

	WarnEventTypes    bool   // warn_evttypes: warn about a condition that many event types match
	SkipUnknownFilter bool   // skip-if-unknown-filter: leave the rule out where a field or event type is unknown
	Capture           bool   // capture: record events when the rule fires
	CaptureDuration   uint32 // capture_duration, in milliseconds

	Filter     string                   // the whole condition as one filter: lists, macros and exceptions expanded
	Expr       filter.Expr              // Filter as a tree; shared between rules, not to be changed. Offsets mean nothing in it.
	Format     Format                   // Output, parsed
	Macros     map[filter.Expr][]string // the macros that nodes of Expr stand for, the one that is named there first
	EventTypes filter.EventTypes        // those that Filter can match; all of them on other sources than syscall
	Pos        Position                 // of its last whole definition

	// Body is Condition as a tree, its lists expanded and its macros not. Offsets are bytes of Condition. Not to be changed.
	Body filter.Expr

	condition, output text
}

// ConditionAt is the place in the rules files of a byte of Condition.
func (r Rule) ConditionAt(offset int) Position { return r.condition.position(offset) }

// OutputAt is the place in the rules files of a byte of Output.
func (r Rule) OutputAt(offset int) Position { return r.output.position(offset) }

// Tag is a tag of a rule where it is written.
type Tag struct {
	Name string
	Pos  Position
}

// Macro is a macro with what was appended.
type Macro struct {
	Name      string
	Condition string
	Body      filter.Expr // like Rule.Body; nil where the condition has an error
	Pos       Position    // of its last whole definition

	condition text
}

// ConditionAt is the place in the rules files of a byte of Condition.
func (m Macro) ConditionAt(offset int) Position { return m.condition.position(offset) }

// List is a list with what was appended, the lists that it names expanded.
type List struct {
	Name  string
	Items []string
	Pos   Position // of its last whole definition
}

// Definition is an entry of a file that defines or changes a list, a macro or a rule.
type Definition struct {
	Kind string // list, macro or rule
	Name string
	Pos  Position
	// Known says that an earlier entry defines it. Falco takes an entry for a list or macro that replaces what is not known.
	Known     bool
	Appends   bool     // to what was known
	Replaces  bool     // parts of what was known; false for a whole definition
	Unchanged []string // the keys that it replaces by what they were
}

// Fields returns the fields that the condition names, each once, and those of the output.
func (r Rule) Fields() (condition, output []*filter.Field) {
	return filter.Fields(r.Expr), r.Format.fields()
}

// Load reads rules files in order; of a directory, its .yaml and .yml files by name. All errors of the files are returned
// together, each a *Error with its position. Even then the set holds the rules that could be loaded.
func Load(paths ...string) (*Set, error) {
	files, err := ReadFiles(paths...)
	if err != nil {
		return &Set{}, err
	}
	return Parse(files...)
}

// ReadFiles reads the files that Load loads.
func ReadFiles(paths ...string) ([]File, error) {
	var files []File
	for _, path := range paths {
		names, err := Files(path)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("read rules: %w", err)
			}
			files = append(files, File{name, data})
		}
	}
	return files, nil
}

// Files are the rules files that a path names: itself, or a folder's .yaml and .yml files by name.
func Files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		if !isRulesFile(path) {
			return nil, fmt.Errorf("%s: Falco loads only files named .yaml or .yml: rename it", path)
		}
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && isRulesFile(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func isRulesFile(path string) bool {
	return strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")
}

// Parse is Load for files in memory.
func Parse(files ...File) (*Set, error) {
	l := newLoader()
	for _, f := range files {
		l.load(f)
	}
	l.set.Warnings = append(l.set.Warnings, l.compileWarnings...)
	return l.set, errors.Join(l.errs...)
}

// Rules returns the rules, also the disabled ones, in the order in which they were first defined.
func (s *Set) Rules() []Rule { return slices.Clone(s.rules) }

// Macros returns the macros in the order in which they were first defined.
func (s *Set) Macros() []Macro { return slices.Clone(s.macros) }

// Lists returns the lists in the order in which they were first defined.
func (s *Set) Lists() []List { return slices.Clone(s.lists) }

// Rule returns the rule of this name.
func (s *Set) Rule(name string) (Rule, bool) {
	for _, r := range s.rules {
		if r.Name == name {
			return r, true
		}
	}
	return Rule{}, false
}

// Selection is one entry of Falco's "rules" setting: it enables or disables the rules whose name matches Rule, where "*"
// stands for any text, and those that have the tag Tag. Empty parts select nothing.
type Selection struct {
	Enable bool
	Rule   string
	Tag    string
}

// Select enables and disables rules, one selection after the other.
func (s *Set) Select(selections ...Selection) {
	for _, sel := range selections {
		for i := range s.rules {
			r := &s.rules[i]
			if sel.Rule != "" && matchesWildcard(sel.Rule, r.Name) || sel.Tag != "" && slices.Contains(r.Tags, sel.Tag) {
				r.Enabled = sel.Enable
			}
		}
	}
}

// matchesWildcard matches as Falco does: each piece between stars is looked for once, at its first place.
func matchesWildcard(pattern, name string) bool {
	pieces := strings.Split(pattern, "*")
	rest, ok := strings.CutPrefix(name, pieces[0])
	if !ok || len(pieces) == 1 {
		return ok && rest == ""
	}
	last := ""
	for _, piece := range pieces[1:] {
		if last = piece; piece == "" {
			continue
		}
		if _, rest, ok = strings.Cut(rest, piece); !ok {
			return false
		}
	}
	return last == "" || rest == ""
}
