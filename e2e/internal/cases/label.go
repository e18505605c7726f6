package cases

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// Label is what a capture shows.
type Label string

// The labels.
const (
	Attack Label = "attack"
	Benign Label = "benign"
)

// IsAttack tells what the case's capture shows: what its label says, or else an attack where an alert at WARNING or above must
// come. priorities are those of the rules, for entries that name none.
func (c Case) IsAttack(priorities map[string]ruleset.Priority) bool {
	if c.Label != "" {
		return c.Label == Attack
	}
	for _, e := range c.Expect {
		priority, known := priorities[e.Rule]
		if e.Priority != nil {
			priority, known = *e.Priority, true
		}
		if known && priority <= ruleset.PriorityWarning && e.Count.Min > 0 {
			return true
		}
	}
	return false
}

// Labelled is an entry of a labels file: a capture, and what it shows.
type Labelled struct {
	Capture   string // path of the .scap file, resolved against the file's folder
	Label     Label
	NodeHours float64 // that the capture stands for; 0 for its own length
	Pos       ruleset.Position
}

// ReadLabels reads a labels file, a list of
//
//   - capture: monday.scap
//     label: benign
//     node_hours: 24
//
// The error joins everything that is wrong with it.
func ReadLabels(file string) ([]Labelled, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read labels: %w", err)
	}
	d := decoder{file: file}
	nodes, err := d.caseNodes(source)
	if err != nil {
		return nil, err
	}
	var all []Labelled
	for _, n := range nodes {
		all = append(all, d.labelled(n))
	}
	if len(d.errs) > 0 {
		return nil, errors.Join(d.errs...)
	}
	return all, nil
}

func (d *decoder) labelled(n ast.Node) Labelled {
	l := Labelled{Pos: d.pos(n)}
	m, ok := d.mapping(n, "a labelled capture", []string{"capture", "label", "node_hours"})
	if !ok {
		return l
	}
	if v := d.required(n, m, "capture", "write the path of a .scap file, relative to this file"); v != nil {
		l.Capture = d.path(v, "capture")
	}
	if v := d.required(n, m, "label", "write attack or benign"); v != nil {
		l.Label = d.label(v)
	}
	if v := m["node_hours"]; v != nil {
		hours, err := strconv.ParseFloat(v.GetToken().Value, 64)
		if err != nil || !(hours > 0) {
			d.refuse(v, "node_hours %s: write a number of hours above 0", v)
		}
		l.NodeHours = hours
	}
	return l
}

func (d *decoder) label(n ast.Node) Label {
	switch l := Label(d.text(n, "label")); l {
	case Attack, Benign, "":
		return l
	default:
		d.refuse(n, "label %q: write attack or benign", l)
		return ""
	}
}
