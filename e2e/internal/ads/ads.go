// Package ads reads the documents of rules, in Palantir's Alerting and Detection Strategy form: what a rule is for, how it
// works, and what to do when it fires.
package ads

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Sections are the headings of a document, in their order.
var Sections = []string{
	"Goal", "Categorization", "Strategy Abstract", "Technical Context", "Blind Spots and Assumptions",
	"False Positives", "Priority", "Validation", "Response",
}

// Document is one document.
type Document struct {
	Title    string
	Headings []Heading
	sections map[string]string
}

// Heading is a heading of the second level.
type Heading struct {
	Text string
	Line int // from 1
}

// FileName is the name of a rule's document.
func FileName(rule string) string { return strings.ToLower(strings.ReplaceAll(rule, " ", "-")) + ".md" }

// Read reads the document of a rule in a folder.
func Read(dir, rule string) (Document, error) {
	text, err := os.ReadFile(filepath.Join(dir, FileName(rule)))
	if err != nil {
		return Document{}, fmt.Errorf("read document: %w", err)
	}
	return Parse(string(text)), nil
}

// Parse splits a document at its headings.
func Parse(text string) Document {
	d := Document{sections: map[string]string{}}
	var body []string
	heading := ""
	end := func() { d.sections[heading] = strings.TrimSpace(strings.Join(body, "\n")) }
	for i, line := range strings.Split(text, "\n") {
		switch next, ok := strings.CutPrefix(line, "## "); {
		case i == 0:
			d.Title = strings.TrimSpace(strings.TrimPrefix(line, "# "))
		case ok:
			end()
			heading, body = strings.TrimSpace(next), nil
			d.Headings = append(d.Headings, Heading{heading, i + 1})
		default:
			body = append(body, line)
		}
	}
	end()
	delete(d.sections, "")
	return d
}

// Section is what stands under a heading; "" where there is none.
func (d Document) Section(heading string) string { return d.sections[heading] }

// Line is the line of a heading, 1 where there is none.
func (d Document) Line(heading string) int {
	i := slices.IndexFunc(d.Headings, func(h Heading) bool { return h.Text == heading })
	if i < 0 {
		return 1
	}
	return d.Headings[i].Line
}

// Technique is a technique of ATT&CK as a document names it.
type Technique struct{ ID, Name string }

var technique = regexp.MustCompile(`\b(T\d{4}(?:\.\d{3})?) \(([^)]+)\)`)

// Techniques are those that the rule is for.
func (d Document) Techniques() (out []Technique) {
	for _, m := range technique.FindAllStringSubmatch(d.item("Categorization", "ATT&CK: "), -1) {
		out = append(out, Technique{m[1], m[2]})
	}
	return out
}

// Tactic is the text on the rule's tactics.
func (d Document) Tactic() string { return d.item("Categorization", "Tactic: ") }

// Priority is the word that the section on it begins with.
func (d Document) Priority() string {
	word, _, _ := strings.Cut(d.sections["Priority"], "\n")
	return strings.TrimSpace(word)
}

// item returns the list item of a section that begins with a text, its lines joined.
func (d Document) item(section, start string) string {
	_, item, _ := strings.Cut(d.sections[section], "- "+start)
	item, _, _ = strings.Cut(item, "\n- ")
	return strings.Join(strings.Fields(item), " ")
}
