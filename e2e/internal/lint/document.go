package lint

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/ads"
	"github.com/falco-datastaging/datastaging/e2e/internal/attack"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// documents is the folder of the documents, beside the rules that it is about.
const documents = "ads"

// minSection is less than any sentence that says something.
const minSection = 40

// checkDocuments looks at rules files that have a folder of documents beside them.
func (r *run) checkDocuments() {
	rules := map[string][]ruleset.Rule{} // by that folder
	for _, rule := range r.set.Rules() {
		if !slices.Contains(r.report.Files, rule.Pos.File) {
			continue
		}
		dir := filepath.Join(filepath.Dir(rule.Pos.File), documents)
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			rules[dir] = append(rules[dir], rule)
		}
	}
	for dir, documented := range rules {
		var names []string
		for _, rule := range documented {
			names = append(names, ads.FileName(rule.Name))
			r.checkDocument(dir, rule)
		}
		r.checkOrphans(dir, names)
	}
}

// checkOrphans looks for documents of no rule, where all rules files of the folder are checked.
func (r *run) checkOrphans(dir string, names []string) {
	files, err := ruleset.ReadFiles(filepath.Dir(dir))
	if err != nil || slices.ContainsFunc(files, func(f ruleset.File) bool { return !slices.Contains(r.report.Files, f.Name) }) {
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".md") && !slices.Contains(names, e.Name()) {
			r.add(ruleset.Position{File: filepath.Join(dir, e.Name()), Line: 1, Column: 1}, Document,
				"no rule has this document's name: rename or remove it")
		}
	}
}

func (r *run) checkDocument(dir string, rule ruleset.Rule) {
	path := filepath.Join(dir, ads.FileName(rule.Name))
	doc, err := ads.Read(dir, rule.Name)
	if err != nil {
		r.add(rule.Pos, Document, fmt.Sprintf("rule %q has no document: write %s, with the sections %s", rule.Name, path, strings.Join(ads.Sections, ", ")))
		return
	}
	find := func(heading, format string, args ...any) {
		r.add(ruleset.Position{File: path, Line: doc.Line(heading), Column: 1}, Document, fmt.Sprintf(format, args...))
	}
	if doc.Title != rule.Name {
		find("", "the title is %q: write \"# %s\"", doc.Title, rule.Name)
	}
	var headings []string
	for _, h := range doc.Headings {
		headings = append(headings, h.Text)
	}
	if !slices.Equal(headings, ads.Sections) {
		find("", "the sections are %s: write %s", strings.Join(headings, ", "), strings.Join(ads.Sections, ", "))
		return
	}
	for _, s := range ads.Sections {
		if len(doc.Section(s)) < minSection {
			find(s, "the section %q says less than a sentence: write what it is for", s)
		}
	}
	if want := strings.ToUpper(rule.Priority.String()); doc.Priority() != want {
		find("Priority", "the section begins with %q: write the rule's priority, %s", doc.Priority(), want)
	}
	r.checkCategories(rule, doc, find)
}

// checkCategories holds techniques and tactics of the document against the rule's tags.
func (r *run) checkCategories(rule ruleset.Rule, doc ads.Document, find func(heading, format string, args ...any)) {
	const heading = "Categorization"
	var named, tagged []string
	for _, t := range doc.Techniques() {
		named = append(named, t.ID)
		if known, ok := r.techniques[t.ID]; ok && known.Name != t.Name {
			find(heading, "%s is named %q: write %q, as ATT&CK %s does", t.ID, t.Name, known.Name, attack.Version)
		}
	}
	for _, tag := range rule.Tags {
		if tactic, ok := strings.CutPrefix(tag, tacticPrefix); ok {
			if !strings.Contains(strings.ToLower(doc.Tactic()), strings.ReplaceAll(tactic, "_", " ")) {
				find(heading, "the tactic %s is missing, which the rule's tags name: add it", tactic)
			}
		} else if attack.IsID(tag) {
			tagged = append(tagged, tag)
		}
	}
	slices.SortFunc(tagged, cmp.Compare)
	if !slices.Equal(named, tagged) {
		find(heading, "the techniques are %s: write those of the rule's tags, %s", strings.Join(named, ", "), strings.Join(tagged, ", "))
	}
}
