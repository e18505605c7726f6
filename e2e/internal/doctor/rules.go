package doctor

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
	"github.com/falco-datastaging/datastaging/e2e/internal/settings"
)

// rulesFile is a rules file that Falco loads.
type rulesFile struct {
	ruleset.File
	entry *settings.Value // of rules_files
}

// rules looks at which rules Falco loads, in which order, and whether ours are among them.
func (e *exam) rules() {
	list := e.settings.Get("rules_files")
	if list == nil {
		list = e.settings.Get("rules_file")
	}
	files, gone := e.readRules(list)
	for _, entry := range gone {
		l := e.say(Warn, checkRules, entry.Pos, "%s is not there, and Falco passes over it without a word: make it, or remove the entry", entry.Text())
		if ext := filepath.Ext(entry.Text()); ext == ".yaml" || ext == ".yml" {
			l.run("install -m 644 /dev/null " + entry.Text())
		}
	}
	bundle := slices.IndexFunc(files, func(f rulesFile) bool { return requiresPlugin(f.File) })
	if bundle < 0 {
		e.say(Fail, checkRules, e.at(list), "none of the rules files is that of the plugin: nothing fires, and Falco captures nothing for it").
			fix(e.dropIn(), "rules_files:\n  - /etc/falco/datastaging_rules.yaml\n")
		return
	}
	found := len(e.report.Lines)
	all := make([]ruleset.File, len(files))
	for i, f := range files {
		all[i] = f.File
	}
	set, err := ruleset.Parse(all...)
	for _, err := range unjoin(err) {
		var at *ruleset.Error
		if errors.As(err, &at) {
			e.say(Fail, checkRules, at.Pos, "Falco does not load this: %s", at.Msg)
		}
	}
	audit := e.auditBundle(files, set)
	e.order(files, set, bundle)
	if audit >= 0 {
		e.order(files, set, audit)
	}
	e.selections(files[bundle:])
	e.matching(files, set)
	if len(e.report.Lines) == found {
		e.say(OK, checkRules, files[bundle].entry.Pos, "%s and %d other rules files load", files[bundle].Name, len(files)-1)
	}
	e.audit(files, audit, err == nil)
}

// readRules reads the rules files as Falco lists them. gone are entries that lead nowhere.
func (e *exam) readRules(list *settings.Value) (files []rulesFile, gone []*settings.Value) {
	for _, entry := range list.Items() {
		if missing(entry.Text()) {
			gone = append(gone, entry)
			continue
		}
		read, err := ruleset.ReadFiles(entry.Text())
		if err != nil {
			e.say(Fail, checkRules, entry.Pos, "%v", err)
			continue
		}
		for _, f := range read {
			files = append(files, rulesFile{f, entry})
		}
	}
	return files, gone
}

// requiresPlugin reports whether a rules file says that it needs the plugin: of ours, the first does.
func requiresPlugin(f ruleset.File) bool {
	set, _ := ruleset.Parse(f)
	return slices.ContainsFunc(set.RequiredPlugins(), func(p ruleset.PluginRequirement) bool {
		return slices.ContainsFunc(p.Alternatives, func(v ruleset.PluginVersion) bool { return v.Name == pluginName })
	})
}

// order tells what goes wrong because of where one of our files is loaded.
func (e *exam) order(files []rulesFile, set *ruleset.Set, bundle int) {
	alone, _ := ruleset.Parse(files[bundle].File)
	ours := map[string]bool{}
	for _, d := range alone.Definitions {
		ours[d.Kind+d.Name] = true
	}
	for _, d := range set.Definitions {
		if !ours[d.Kind+d.Name] || d.Pos.File == files[bundle].Name {
			if ours[d.Kind+d.Name] && d.Known && !d.Appends && !d.Replaces {
				e.say(Warn, checkRules, d.Pos, "the plugin's rules file is loaded after something that defines its %s %q, or twice: load it once, before what tunes it", d.Kind, d.Name)
				return // the others are the same
			}
			continue
		}
		switch {
		case indexOf(files, d.Pos) < bundle:
			e.say(Fail, checkRules, d.Pos, "%s is loaded before %s, which takes back what it says of %s %q: load it after", d.Pos.File, files[bundle].Name, d.Kind, d.Name).
				fix(e.fileOf(files[bundle].entry), "rules_files:\n  - "+files[bundle].Name+"\n  - "+d.Pos.File+"\n")
			return
		case d.Known && !d.Appends && !d.Replaces:
			e.say(Warn, checkRules, d.Pos, "%s takes the place of %s %q of %s: write \"override\" with what is replaced, or it misses what comes with updates",
				d.Pos.File, d.Kind, d.Name, files[bundle].Name)
		}
	}
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// selections looks for rules of ours that "rules" switches off.
func (e *exam) selections(files []rulesFile) {
	set, _ := ruleset.Parse(files[0].File)
	for _, entry := range e.settings.Get("rules").Items() {
		disable := entry.Get("disable")
		if disable == nil {
			continue
		}
		before := enabled(set)
		set.Select(ruleset.Selection{Rule: disable.Get("rule").Text(), Tag: disable.Get("tag").Text()})
		if off := before - enabled(set); off > 0 {
			e.say(Warn, checkRules, entry.Pos, "this switches off %d of the plugin's rules, and with them the system calls that only they name: leave workloads out in macros instead", off)
		}
	}
}

func enabled(set *ruleset.Set) (n int) {
	for _, r := range set.Rules() {
		if r.Enabled {
			n++
		}
	}
	return n
}

// matching looks at whether other rules hide ours. Without rule_matching: all, Falco asks the rules on events of a source in the
// order in which they were first defined, and no further one once a rule fires.
func (e *exam) matching(files []rulesFile, set *ruleset.Set) {
	v := e.settings.Get("rule_matching")
	if v.Text() == "all" {
		return
	}
	var others []ruleset.Rule // loaded so far
	told := map[string]bool{} // sources
	for _, r := range set.Rules() {
		switch {
		case !r.Enabled || told[r.Source]:
		case !e.asksPlugin(r):
			others = append(others, r)
		default:
			hiding := slices.DeleteFunc(slices.Clone(others), func(o ruleset.Rule) bool {
				return o.Source != r.Source || !o.EventTypes.Overlaps(r.EventTypes)
			})
			if len(hiding) == 0 {
				continue
			}
			told[r.Source] = true
			first, ours := files[indexOf(files, hiding[0].Pos)], files[indexOf(files, r.Pos)]
			more := ""
			if n := len(hiding) - 1; n > 0 {
				more = fmt.Sprintf(", and of %s before it the same holds", profile.Count(n, "more rule"))
			}
			l := e.say(Warn, checkRules, e.at(v), "rule_matching is first: of an event on which %q in %s fires, %q and what comes after it never hear%s; "+
				"let all match, or load %s before %s", hiding[0].Name, first.Name, r.Name, more, ours.Name, first.Name)
			l.fix(e.fileOf(v), "rule_matching: all\n")
		}
	}
}

// asksPlugin reports whether a rule is on what the plugin tells of events.
func (e *exam) asksPlugin(r ruleset.Rule) bool {
	fields, _ := r.Fields()
	return slices.ContainsFunc(fields, func(f *filter.Field) bool { return e.fields.IsPlugin(f.Name) })
}

// indexOf is the file that a place is in, or -1.
func indexOf(files []rulesFile, at ruleset.Position) int {
	return slices.IndexFunc(files, func(f rulesFile) bool { return f.Name == at.File })
}
