package filter

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// EventTypes is the set of evt.type names that a condition can match. Falco activates the syscalls in it and runs the rule
// on no other event. The zero value is the empty set.
type EventTypes struct {
	names  map[string]bool
	except bool // the set is every name but these
}

// AllEventTypes is the set of every event type.
func AllEventTypes() EventTypes { return EventTypes{except: true} }

// All reports whether nothing restricts the event type.
func (t EventTypes) All() bool { return t.except && len(t.names) == 0 }

// Empty reports whether the condition can match no event.
func (t EventTypes) Empty() bool { return !t.except && len(t.names) == 0 }

// IsBroad reports whether the set is more than a list of names.
func (t EventTypes) IsBroad() bool { return t.except }

// Contains reports whether the set holds the event type of this name.
func (t EventTypes) Contains(name string) bool { return t.names[name] != t.except }

// Overlaps reports whether a name is in both sets.
func (t EventTypes) Overlaps(u EventTypes) bool { return !t.intersect(u).Empty() }

// Names returns the names, sorted. Where except is true, the set is every event type but those.
func (t EventTypes) Names() (names []string, except bool) {
	return slices.Sorted(maps.Keys(t.names)), t.except
}

// String prints "all", "none", "a, b" or "all but a, b".
func (t EventTypes) String() string {
	switch {
	case t.All():
		return "all"
	case t.Empty():
		return "none"
	}
	text := strings.Join(slices.Sorted(maps.Keys(t.names)), ", ")
	if t.except {
		return "all but " + text
	}
	return text
}

func typesOf(names ...string) EventTypes {
	t := EventTypes{names: map[string]bool{}}
	for _, n := range names {
		t.names[n] = true
	}
	return t
}

func (t EventTypes) complement() EventTypes { return EventTypes{t.names, !t.except} }

func (t EventTypes) union(u EventTypes) EventTypes {
	return t.complement().intersect(u.complement()).complement()
}

func (t EventTypes) intersect(u EventTypes) EventTypes {
	out := EventTypes{names: map[string]bool{}, except: t.except && u.except}
	for _, set := range []EventTypes{t, u} {
		for n := range set.names {
			if out.except || t.Contains(n) && u.Contains(n) {
				out.names[n] = true
			}
		}
	}
	return out
}

// TypesOf returns the event types that a condition on the syscall source can match, as Falco works them out: from its
// checks of evt.type and syscall.type by =, ==, !=, in and exists. Any other check matches every type, negated or not,
// except that evt.num starts at 1: "evt.num = 0" matches none (Falco with libs 0.25; an older one takes it for every type).
// An evt.type inside a transformer or compared with another field is an error, as it is in Falco.
func TypesOf(e Expr) (EventTypes, error) { return typesUnder(e, false) }

// typesUnder is TypesOf(e), or of its negation: "not" is pushed down to the checks, because only a check that names event
// types has a complement.
func typesUnder(e Expr, negated bool) (EventTypes, error) {
	switch e := e.(type) {
	case *Not:
		return typesUnder(e.Term, !negated)
	case *And:
		return typesOfTerms(e.Terms, negated, negated)
	case *Or:
		return typesOfTerms(e.Terms, negated, !negated)
	case *Check:
		t, restricts, err := typesOfCheck(e)
		if restricts && negated {
			t = t.complement()
		}
		return t, err
	}
	return AllEventTypes(), nil
}

func typesOfTerms(terms []Expr, negated, union bool) (EventTypes, error) {
	out := EventTypes{except: !union}
	for _, term := range terms {
		t, err := typesUnder(term, negated)
		if err != nil {
			return EventTypes{}, err
		}
		if union {
			out = out.union(t)
		} else {
			out = out.intersect(t)
		}
	}
	return out, nil
}

// typesOfCheck also reports whether the check says anything about the event type.
func typesOfCheck(c *Check) (t EventTypes, restricts bool, err error) {
	if t, ok := typesOfEventNumber(c); ok {
		return t, true, nil
	}
	switch c.Op {
	case "=", "==", "!=", "in", "exists":
	default:
		return AllEventTypes(), false, nil
	}
	if tr, ok := c.Left.(*Transform); ok && slices.ContainsFunc(AppendFields(nil, tr), isTypeField) {
		return EventTypes{}, false, fmt.Errorf("%s hides the event type: compare evt.type without a transformer", tr)
	}
	f, ok := c.Left.(*Field)
	if !ok || !isTypeField(f) {
		return AllEventTypes(), false, nil
	}
	switch right := c.Right.(type) {
	case nil:
		return AllEventTypes(), true, nil
	case *Value:
		t = typesOf(right.Text)
	case *List:
		names := make([]string, len(right.Items))
		for i, v := range right.Items {
			names[i] = v.Text
		}
		t = typesOf(names...)
	default:
		return EventTypes{}, false, fmt.Errorf("%s is compared with %s: compare it with names of event types", f, right)
	}
	if c.Op == "!=" {
		t = t.complement()
	}
	return t, true, nil
}

func isTypeField(f *Field) bool {
	return (f.Name == "evt.type" || f.Name == "syscall.type") && !f.HasArg
}

// typesOfEventNumber decides checks of evt.num that hold for no event or for every event, since the first event has number 1.
func typesOfEventNumber(c *Check) (t EventTypes, decided bool) {
	f, ok := c.Left.(*Field)
	if !ok || f.Name != "evt.num" || f.HasArg {
		return EventTypes{}, false
	}
	none, all := EventTypes{}, AllEventTypes()
	switch right := c.Right.(type) {
	case *List:
		for _, v := range right.Items {
			if n, err := strconv.ParseUint(v.Text, 0, 64); err != nil || n != 0 {
				return EventTypes{}, false
			}
		}
		return none, c.Op == "in"
	case *Value:
		n, err := strconv.ParseUint(right.Text, 0, 64)
		switch {
		case err != nil:
			return EventTypes{}, false
		case n == 0 && (c.Op == "=" || c.Op == "==" || c.Op == "<="), n <= 1 && c.Op == "<":
			return none, true
		case n == 0 && (c.Op == "!=" || c.Op == ">"), n <= 1 && c.Op == ">=":
			return all, true
		}
	}
	return EventTypes{}, false
}
