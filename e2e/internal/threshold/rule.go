package threshold

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/once"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Rule is a rule whose thresholds are taken out. Of its condition
//
//	A and B and staging.once[key] = true and C
//
// the terms A without thresholds stay in the query, thresholds in the terms B are set to their most permissive candidate, and
// the query leaves out staging.once and what comes after it. B and C are evaluated here, on the values that the query asks for.
type Rule struct {
	Name     string
	Priority ruleset.Priority
	Source   string // of its events: syscall, k8s_audit
	Uses     []int  // indexes of the thresholds in the condition, ascending
	Query    engine.Query
	Once     bool          // an alert silences the rule for its container for an interval
	Interval time.Duration // of the rule alone, as in staging.once[key/6h]; 0 for once_interval

	shared     bool        // the containers of a workload with the same access count as one
	thresholds []Threshold // those of Uses
	before     term        // holds when the event spends staging.once
	after      term        // holds when it is an alert then
	facts      []fact
}

// Event is what of an event that could fire decides whether it does.
type Event struct {
	Number  uint64
	Time    time.Time
	Account string // what staging.once is kept for: a container, a service of the host, or an identity
	Values  []uint64
	Has     uint64 // bit i: Values[i] is there
	Facts   uint64 // bit i: the check i that has no threshold holds
}

// maxBits bounds the thresholds and the other checks of a rule: they are kept as bits.
const maxBits = 64

// term is a part of a condition. at holds the values of the rule's thresholds.
type term func(e *Event, at []uint64) bool

// fact is a check without a threshold whose answer matters beside one.
type fact struct {
	field string
	holds func(value any) bool
}

const (
	accountField = "baseline.workload"
	accessField  = "posture.reasons"
)

// Compile takes the thresholds out of a rule. It refuses a condition that cannot be evaluated afterwards.
func Compile(r ruleset.Rule, thresholds []Threshold) (*Rule, error) {
	c := &compiler{rule: &Rule{Name: r.Name, Priority: r.Priority, Source: r.Source}}
	for _, check := range filter.Checks(r.Expr) {
		if i := slices.IndexFunc(thresholds, func(t Threshold) bool { return t.check == check }); i >= 0 {
			c.rule.Uses = append(c.rule.Uses, i)
		}
	}
	slices.Sort(c.rule.Uses)
	c.rule.Uses = slices.Compact(c.rule.Uses)
	for _, i := range c.rule.Uses {
		c.rule.thresholds = append(c.rule.thresholds, thresholds[i])
	}
	if err := c.compile(r.Expr); err != nil {
		return nil, &ruleset.Error{Pos: r.Pos, Msg: fmt.Sprintf("rule %q: %v", r.Name, err)}
	}
	return c.rule, nil
}

type compiler struct {
	rule *Rule
}

func (c *compiler) compile(condition filter.Expr) error {
	terms := conjuncts(condition)
	asked := slices.IndexFunc(terms, isOnce)
	last := len(terms)
	if asked >= 0 {
		key, err := once.Parse(terms[asked].(*filter.Check).Left.(*filter.Field).Arg)
		if err != nil {
			return err
		}
		c.rule.Once, c.rule.Interval, c.rule.shared, last = true, key.Interval, key.Shared, asked
	}
	for i, t := range terms {
		if i != asked && once.In(t) {
			return fmt.Errorf("%s is inside another term: write it once, as \"and staging.once[key] = true\" at the end", once.Field)
		}
	}
	var query []filter.Expr
	var before, after []term
	for _, t := range terms[:last] {
		query = append(query, c.relax(t, false))
		if !c.hasThreshold(t) {
			continue
		}
		compiled, err := c.term(t)
		if err != nil {
			return err
		}
		before = append(before, compiled)
	}
	for _, t := range terms[min(last+1, len(terms)):] {
		compiled, err := c.term(t)
		if err != nil {
			return err
		}
		after = append(after, compiled)
	}
	if len(query) == 0 {
		return fmt.Errorf("nothing comes before %s: there is nothing to tune", once.Field)
	}
	if len(c.rule.facts) > maxBits || len(c.rule.thresholds) > maxBits {
		return fmt.Errorf("more than %d checks decide: split the rule", maxBits)
	}
	c.rule.before, c.rule.after = all(before), all(after)
	c.rule.Query = engine.Query{Filter: (&filter.And{Terms: query}).String(), Fields: c.fields()}
	return nil
}

// fields are what the query asks for.
func (c *compiler) fields() []string {
	fields := []string{accountField}
	if c.rule.shared {
		fields = append(fields, accessField)
	}
	for _, t := range c.rule.thresholds {
		fields = append(fields, t.Field)
	}
	for _, f := range c.rule.facts {
		fields = append(fields, f.field)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// conjuncts are the terms that all must hold.
func conjuncts(e filter.Expr) []filter.Expr {
	and, ok := e.(*filter.And)
	if !ok {
		return []filter.Expr{e}
	}
	var terms []filter.Expr
	for _, t := range and.Terms {
		terms = append(terms, conjuncts(t)...)
	}
	return terms
}

// isOnce tells whether a term is "staging.once[key] = true".
func isOnce(e filter.Expr) bool {
	check, ok := e.(*filter.Check)
	if !ok {
		return false
	}
	field, ok := check.Left.(*filter.Field)
	return ok && field.Name == once.Field && (check.Op == "=" || check.Op == "==") && check.Right.String() == "true"
}

// index is which of the rule's thresholds a check is; -1 for none.
func (c *compiler) index(check *filter.Check) int {
	return slices.IndexFunc(c.rule.thresholds, func(t Threshold) bool { return t.check == check })
}

func (c *compiler) hasThreshold(e filter.Expr) bool {
	return slices.ContainsFunc(filter.Checks(e), func(check *filter.Check) bool { return c.index(check) >= 0 })
}

// relax sets the thresholds to the candidate that lets the most events through: the least one, under a "not" the greatest.
func (c *compiler) relax(e filter.Expr, negated bool) filter.Expr {
	relaxAll := func(terms []filter.Expr) []filter.Expr {
		relaxed := make([]filter.Expr, len(terms))
		for i, t := range terms {
			relaxed[i] = c.relax(t, negated)
		}
		return relaxed
	}
	switch e := e.(type) {
	case *filter.And:
		return &filter.And{Terms: relaxAll(e.Terms)}
	case *filter.Or:
		return &filter.Or{Terms: relaxAll(e.Terms)}
	case *filter.Not:
		return &filter.Not{Term: c.relax(e.Term, !negated)}
	case *filter.Check:
		i := c.index(e)
		if i < 0 {
			return e
		}
		candidates := c.rule.thresholds[i].Candidates
		bound := candidates[0]
		if negated {
			bound = candidates[len(candidates)-1]
		}
		return &filter.Check{Left: e.Left, Op: e.Op, Right: &filter.Value{Text: strconv.FormatUint(bound, 10)}}
	}
	return e
}

// term compiles a part of the condition that is evaluated here.
func (c *compiler) term(e filter.Expr) (term, error) {
	several := func(exprs []filter.Expr) ([]term, error) {
		terms := make([]term, len(exprs))
		for i, e := range exprs {
			var err error
			if terms[i], err = c.term(e); err != nil {
				return nil, err
			}
		}
		return terms, nil
	}
	switch e := e.(type) {
	case *filter.And:
		terms, err := several(e.Terms)
		return all(terms), err
	case *filter.Or:
		terms, err := several(e.Terms)
		return func(event *Event, at []uint64) bool {
			return slices.ContainsFunc(terms, func(t term) bool { return t(event, at) })
		}, err
	case *filter.Not:
		inner, err := c.term(e.Term)
		return func(event *Event, at []uint64) bool { return !inner(event, at) }, err
	case *filter.Check:
		if i := c.index(e); i >= 0 {
			if e.Op == ">" {
				return func(event *Event, at []uint64) bool { return event.Has>>i&1 == 1 && event.Values[i] > at[i] }, nil
			}
			return func(event *Event, at []uint64) bool { return event.Has>>i&1 == 1 && event.Values[i] >= at[i] }, nil
		}
		holds, err := holds(e)
		if err != nil {
			return nil, err
		}
		i := len(c.rule.facts)
		c.rule.facts = append(c.rule.facts, fact{e.Left.String(), holds})
		return func(event *Event, _ []uint64) bool { return event.Facts>>i&1 == 1 }, nil
	}
	return nil, fmt.Errorf("%s cannot be evaluated", e)
}

// all holds when all terms hold.
func all(terms []term) term {
	return func(event *Event, at []uint64) bool {
		for _, t := range terms {
			if !t(event, at) {
				return false
			}
		}
		return true
	}
}

// holds compiles a check of a field's value as libsinsp does it, for the operators on which there is no doubt. No check holds
// for a field without a value.
func holds(check *filter.Check) (func(value any) bool, error) {
	if _, ok := check.Left.(*filter.Field); ok {
		var compare func(text, want string) bool
		switch check.Op {
		case "exists":
			return func(value any) bool { return value != nil }, nil
		case "=", "==", "in":
			compare = func(text, want string) bool { return text == want }
		case "startswith":
			compare = strings.HasPrefix
		case "endswith":
			compare = strings.HasSuffix
		case "contains":
			compare = strings.Contains
		}
		if order, ok := orders[check.Op]; ok {
			if want, err := strconv.ParseUint(check.Right.String(), 10, 64); err == nil {
				return func(value any) bool {
					text, _ := plain(value)
					n, err := strconv.ParseUint(text, 10, 64)
					return err == nil && order(cmp.Compare(n, want))
				}, nil
			}
		}
		var wanted []string
		switch right := check.Right.(type) {
		case *filter.Value:
			wanted = []string{right.Text}
		case *filter.List:
			for _, item := range right.Items {
				wanted = append(wanted, item.Text)
			}
		default:
			compare = nil
		}
		if compare != nil {
			return func(value any) bool {
				text, ok := plain(value)
				return ok && slices.ContainsFunc(wanted, func(want string) bool { return compare(text, want) })
			}, nil
		}
	}
	return nil, fmt.Errorf("%q stands beside a threshold or after staging.once, where =, in, exists, startswith, "+
		"endswith, contains and comparisons with whole numbers can be evaluated: write it as a term of its own, with \"and\", before staging.once", check)
}

// orders are the operators of whole numbers, told by how the value compares with the number.
var orders = map[string]func(int) bool{
	">":  func(c int) bool { return c > 0 },
	">=": func(c int) bool { return c >= 0 },
	"<":  func(c int) bool { return c < 0 },
	"<=": func(c int) bool { return c <= 0 },
}

// plain is a value as filters write it.
func plain(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case bool:
		return strconv.FormatBool(value), true
	case json.Number:
		return value.String(), true
	}
	return "", false
}

// Event reads what the query asked for. Two events of one container, or of one identity, have the same Account, and so have those of
// one workload with the same access where the rule's staging.once is kept for these.
func (r *Rule) Event(s engine.Sample) (Event, error) {
	e := Event{Number: s.Event, Time: s.Time, Account: s.Container, Values: make([]uint64, len(r.thresholds))}
	workload, _ := s.Values[accountField].(string)
	switch {
	case r.shared:
		access, _ := s.Values[accessField].(string)
		e.Account = workload + " " + access
	case (e.Account == "host" || e.Account == "") && workload != "":
		e.Account = workload
	}
	for i, t := range r.thresholds {
		value, ok := s.Values[t.Field].(json.Number)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(value.String(), 10, 64)
		if err != nil {
			return Event{}, fmt.Errorf("read the value of %s: %w", t.Field, err)
		}
		e.Values[i], e.Has = n, e.Has|1<<i
	}
	for i, f := range r.facts {
		if f.holds(s.Values[f.field]) {
			e.Facts |= 1 << i
		}
	}
	return e, nil
}

// Spends tells whether the event fulfils the condition up to staging.once with the thresholds of Uses at these values.
func (r *Rule) Spends(e *Event, at []uint64) bool { return r.before(e, at) }

// Alerts tells whether an event that Spends and that staging.once lets through is an alert: no exception holds.
func (r *Rule) Alerts(e *Event) bool { return r.after(e, nil) }

// Levels tells of each threshold how many candidates the event reaches. No values of the candidates tell events of the same
// levels and Facts apart.
func (r *Rule) Levels(e *Event) []uint8 {
	levels := make([]uint8, len(r.thresholds))
	for i, t := range r.thresholds {
		if e.Has>>i&1 == 0 {
			continue
		}
		for _, c := range t.Candidates {
			if e.Values[i] > c || e.Values[i] == c && t.Op == ">=" {
				levels[i]++
			}
		}
	}
	return levels
}
