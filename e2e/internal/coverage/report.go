package coverage

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// A Report is what a set of cases covers.
type Report struct {
	Owners []*Owner
	Rules  []Roles
}

// Roles are the cases that pass and that show something about a rule, by name.
type Roles struct {
	Rule      string
	Pos       ruleset.Position
	Terms     int         // operands of its condition
	Attack    []string    // in which it must fire
	LookAlike []LookAlike // in which it must stay silent though the events that it looks at are there
	Tuning    []string    // whose own rules change a macro or list of it
}

// A LookAlike is a case, and how many of the rule's terms one of its events meets.
type LookAlike struct {
	Case  string `json:"case"`
	Terms int    `json:"terms"`
}

// nearest is the look-alike that comes nearest to firing.
func (r Roles) nearest() string {
	if len(r.LookAlike) == 0 {
		return "-"
	}
	best := slices.MaxFunc(r.LookAlike, func(a, b LookAlike) int { return a.Terms - b.Terms })
	return fmt.Sprintf("%s, %d of %d terms", best.Case, best.Terms, r.Terms)
}

// Lacks names what no case shows of the rule.
func (r Roles) Lacks() []string {
	var lacks []string
	for _, role := range []struct {
		what  string
		cases int
	}{{"an attack", len(r.Attack)}, {"a look-alike", len(r.LookAlike)}, {"tuning", len(r.Tuning)}} {
		if role.cases == 0 {
			lacks = append(lacks, role.what)
		}
	}
	return lacks
}

// counts are how many terms there are, and how many are exercised.
func (r Report) counts() (terms, exercised int) {
	for _, o := range r.Owners {
		for _, t := range o.Terms {
			terms++
			if t.Exercised() {
				exercised++
			}
		}
	}
	return terms, exercised
}

// WriteTable writes for people: what is not exercised, each with its place, and with check what each rule lacks.
func WriteTable(w io.Writer, r Report, check bool) error {
	var b strings.Builder
	for _, o := range r.Owners {
		if o.Exercised() {
			continue
		}
		fmt.Fprintf(&b, "%s: %s", o.Pos, o)
		if len(o.Terms) == 0 {
			b.WriteString(": no rule uses it\n")
			continue
		}
		b.WriteString("\n")
		for _, t := range o.Terms {
			if !t.Exercised() {
				fmt.Fprintf(&b, "  %-13s %s\n", t.lacks(), t.Text)
			}
		}
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.AppendHeader(table.Row{"RULE", "ATTACKS", "LOOK-ALIKES", "TUNINGS", "NEAREST LOOK-ALIKE"})
	for _, rule := range r.Rules {
		t.AppendRow(table.Row{rule.Rule, len(rule.Attack), len(rule.LookAlike), len(rule.Tuning), rule.nearest()})
	}
	b.WriteString(t.Render() + "\n")
	lacking := 0
	for _, rule := range r.Rules {
		if lacks := rule.Lacks(); len(lacks) > 0 && check {
			lacking++
			fmt.Fprintf(&b, "%s: rule %s: no case of %s\n", rule.Pos, rule.Rule, strings.Join(lacks, ", none of "))
		}
	}
	terms, exercised := r.counts()
	fmt.Fprintf(&b, "\n%d of %d terms exercised\n", exercised, terms)
	if check {
		fmt.Fprintf(&b, "%d of %d rules lack a case\n", lacking, len(r.Rules))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// lacks tells which outcome of a term was not seen.
func (t *Term) lacks() string {
	switch {
	case t.SawTrue:
		return "never false:"
	case t.SawFalse:
		return "never true:"
	default:
		return "never asked:"
	}
}

// The JSON document. Its keys are an interface, as those of the report of stagectl test.
type document struct {
	Terms     int         `json:"terms"`
	Exercised int         `json:"exercised"`
	Owners    []ownerJSON `json:"owners"`
	Rules     []rolesJSON `json:"rules"`
}

type ownerJSON struct {
	Kind      string     `json:"kind"`
	Name      string     `json:"name"`
	Rule      string     `json:"rule,omitempty"`
	File      string     `json:"file"`
	Line      int        `json:"line"`
	Exercised bool       `json:"exercised"`
	Terms     []termJSON `json:"terms"`
}

type termJSON struct {
	Text      string `json:"text"`
	SawTrue   bool   `json:"true"`
	SawFalse  bool   `json:"false"`
	Exercised bool   `json:"exercised"`
}

type rolesJSON struct {
	Rule      string      `json:"rule"`
	File      string      `json:"file"`
	Line      int         `json:"line"`
	Attack    []string    `json:"attack"`
	LookAlike []LookAlike `json:"look_alike"`
	Tuning    []string    `json:"tuning"`
	Lacks     []string    `json:"lacks"`
}

// WriteJSON writes one JSON document, in which a list is never null.
func WriteJSON(w io.Writer, r Report) error {
	d := document{Owners: []ownerJSON{}, Rules: []rolesJSON{}}
	d.Terms, d.Exercised = r.counts()
	for _, o := range r.Owners {
		j := ownerJSON{o.Kind, o.Name, o.Rule, o.Pos.File, o.Pos.Line, o.Exercised(), []termJSON{}}
		for _, t := range o.Terms {
			j.Terms = append(j.Terms, termJSON{t.Text, t.SawTrue, t.SawFalse, t.Exercised()})
		}
		d.Owners = append(d.Owners, j)
	}
	list := func(names []string) []string { return append([]string{}, names...) }
	for _, rule := range r.Rules {
		d.Rules = append(d.Rules, rolesJSON{
			rule.Rule, rule.Pos.File, rule.Pos.Line, list(rule.Attack), append([]LookAlike{}, rule.LookAlike...), list(rule.Tuning), list(rule.Lacks()),
		})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
