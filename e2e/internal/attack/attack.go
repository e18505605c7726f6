// Package attack knows the techniques of MITRE ATT&CK for Enterprise, which rules name in their tags. Version and origin are
// in enterprise.tsv, MITRE's licence beside it.
package attack

import (
	_ "embed"
	"regexp"
	"strings"
)

// Version is that of the bundled techniques.
const Version = "18.1"

//go:embed enterprise.tsv
var enterprise string

// Technique is a technique or a sub-technique.
type Technique struct {
	ID      string // T1074.002
	Name    string // Data Staged: Remote Data Staging
	Tactics []string
}

// Matrix is the techniques by id.
type Matrix map[string]Technique

// Enterprise returns the techniques that are neither revoked nor deprecated.
func Enterprise() Matrix {
	m := Matrix{}
	for line := range strings.Lines(enterprise) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		column := strings.Split(strings.TrimSpace(line), "\t")
		t := Technique{column[0], column[1], strings.Fields(column[2])}
		if parent, _, isSub := strings.Cut(t.ID, "."); isSub { // a parent's line comes before
			t.Name = m[parent].Name + ": " + t.Name
		}
		m[t.ID] = t
	}
	return m
}

// HasTactic reports whether any technique serves the tactic, in the spelling of tags: command_and_control.
func (m Matrix) HasTactic(name string) bool {
	for _, t := range m {
		for _, tactic := range t.Tactics {
			if tactic == name {
				return true
			}
		}
	}
	return false
}

var idPattern = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)

// IsID reports whether a text has the form of a technique's id.
func IsID(text string) bool { return idPattern.MatchString(text) }
