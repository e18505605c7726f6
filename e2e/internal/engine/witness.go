package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/once"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Fields of the witness, a plugin of the harness (libwitness.so): the first, asked in a filter, notes that a condition is met and is
// never true; the other is the notes of an event, as numbers with commas between them.
const (
	fieldSaw   = "witness.saw"
	fieldWhich = "witness.which"
)

// witnessed is one filter that asks many conditions, in their order: it matches the events that meet one of them, on which the
// witness has noted them by their index. Terms that a condition has in common with the one before it, from the first on, are
// asked once; those with a memory are not shared.
func witnessed(conditions []filter.Expr) string {
	var root branch
	for i, c := range conditions {
		at := &root
		for _, term := range termsOf(c) {
			at = at.child(term)
		}
		at.children = append(at.children, &branch{term: saw(i)})
	}
	root.children = append(root.children, &branch{term: &filter.Check{Left: &filter.Field{Name: fieldWhich}, Op: "exists"}})
	return root.expr().String()
}

func saw(condition int) filter.Expr {
	arg := strconv.Itoa(condition)
	return &filter.Check{
		Left: &filter.Field{Name: fieldSaw, Arg: arg, HasArg: true}, Op: "=", Right: &filter.Value{Text: "true"},
	}
}

// branch is a term, and what is asked where it is met.
type branch struct {
	term     filter.Expr // nil at the root
	text     string      // of the term; empty where it is not shared
	children []*branch
}

// child is the branch of a term: the last one, where it is the same and has no memory, or else a new one. An earlier one would
// change the order in which the conditions are asked.
func (b *branch) child(term filter.Expr) *branch {
	text := term.String()
	if once.In(term) {
		text = ""
	}
	if n := len(b.children); n > 0 && text != "" && b.children[n-1].text == text {
		return b.children[n-1]
	}
	c := &branch{term: term, text: text}
	b.children = append(b.children, c)
	return c
}

// expr is the condition of a branch. A chain of branches is one "and", however long: engines bound how deep conditions nest.
func (b *branch) expr() filter.Expr {
	var chain []filter.Expr
	for ; ; b = b.children[0] {
		if b.term != nil {
			chain = append(chain, b.term)
		}
		if len(b.children) != 1 {
			break
		}
	}
	if len(b.children) > 1 {
		either := &filter.Or{}
		for _, c := range b.children {
			either.Terms = append(either.Terms, c.expr())
		}
		chain = append(chain, either)
	}
	if len(chain) == 1 {
		return chain[0]
	}
	return &filter.And{Terms: chain}
}

// termsOf are the operands of an "and", or the condition itself.
func termsOf(e filter.Expr) []filter.Expr {
	if and, ok := e.(*filter.And); ok {
		return and.Terms
	}
	return []filter.Expr{e}
}

// parseWhich reads the witness's notes of an event on some conditions.
func parseWhich(notes string, conditions int) ([]int, error) {
	var which []int
	for number := range strings.SplitSeq(notes, ",") {
		i, err := strconv.Atoi(number)
		if err != nil || i < 0 || i >= conditions {
			return nil, fmt.Errorf("read sysdig's output: the witness notes %q of %d conditions", notes, conditions)
		}
		which = append(which, i)
	}
	return which, nil
}

// witness is the witness's plugin as it is loaded: it notes each condition on the first so many events, or on all where limit is 0.
type witness struct {
	plugin
	limit int
}

func (w witness) args() ([]string, error) {
	return w.plugin.args(json.RawMessage(strconv.Itoa(w.limit)))
}

// errNoWitness is for a stagectl that lies alone.
var errNoWitness = errors.New("use sysdig: libwitness.so is not beside stagectl: build it with make, or name it with WITNESS_LIB")
