package cases

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// A Condition is what the value of an alert's field must be.
type Condition interface {
	// Match tells whether a value meets the condition. Values are those of alert.Alert.OutputFields: json.Number, string,
	// bool, or nil where the field has no value.
	Match(value any) bool
	// String reads after "want".
	String() string
}

// Equal wants exactly this value. Text is never equal to a number; numbers compare by value, so 1 is 1.0.
type Equal struct{ Value any }

// Between wants a number within bounds, both included; a nil bound is open.
type Between struct{ Min, Max *Bound }

// Contains wants text with this text in it.
type Contains string

// Matches wants text in which the expression (RE2) matches somewhere.
type Matches struct{ *regexp.Regexp }

// OneOf wants any of these values.
type OneOf []Equal

// Match implements Condition.
func (e Equal) Match(value any) bool {
	want, ok := e.Value.(json.Number)
	if !ok {
		return e.Value == value
	}
	got, ok := value.(json.Number)
	return ok && compare(want, got, func(order int) bool { return order == 0 })
}

func (e Equal) String() string { return FormatValue(e.Value) }

// Match implements Condition.
func (b Between) Match(value any) bool {
	got, ok := value.(json.Number)
	if !ok {
		return false
	}
	atLeast := func(order int) bool { return order >= 0 }
	atMost := func(order int) bool { return order <= 0 }
	return (b.Min == nil || compare(got, b.Min.Number, atLeast)) && (b.Max == nil || compare(got, b.Max.Number, atMost))
}

func (b Between) String() string {
	switch {
	case b.Min == nil:
		return "at most " + b.Max.String()
	case b.Max == nil:
		return "at least " + b.Min.String()
	default:
		return b.Min.String() + " to " + b.Max.String()
	}
}

// Match implements Condition.
func (c Contains) Match(value any) bool {
	s, ok := value.(string)
	return ok && strings.Contains(s, string(c))
}

func (c Contains) String() string { return "contains " + strconv.Quote(string(c)) }

// Match implements Condition.
func (m Matches) Match(value any) bool {
	s, ok := value.(string)
	return ok && m.MatchString(s)
}

func (m Matches) String() string { return "matches " + strconv.Quote(m.Regexp.String()) }

// Match implements Condition.
func (o OneOf) Match(value any) bool {
	for _, e := range o {
		if e.Match(value) {
			return true
		}
	}
	return false
}

func (o OneOf) String() string {
	values := make([]string, len(o))
	for i, e := range o {
		values[i] = e.String()
	}
	return "one of " + strings.Join(values, ", ")
}

// A Bound is one end of Between.
type Bound struct {
	Number  json.Number
	Literal string // as the case file's author wrote it: 20MB
}

func (b Bound) String() string {
	if b.Literal == b.Number.String() {
		return b.Literal
	}
	return fmt.Sprintf("%s (%s)", b.Literal, b.Number)
}

// FormatValue is a field's value for people: text quoted, so that "443" and 443 are told apart.
func FormatValue(value any) string {
	switch v := value.(type) {
	case nil:
		return "no value"
	case string:
		return strconv.Quote(v)
	default:
		return fmt.Sprint(v)
	}
}

// compare tells whether the order of two numbers (-1, 0, 1) is accepted. What is not a number has no order.
func compare(a, b json.Number, accept func(order int) bool) bool {
	x, okX := parseNumber(a)
	y, okY := parseNumber(b)
	return okX && okY && accept(x.Cmp(y))
}

// parseNumber keeps 128 bits: 64-bit counters are exact, which they would not be as float64 above 2^53.
func parseNumber(n json.Number) (*big.Float, bool) {
	return new(big.Float).SetPrec(128).SetString(n.String())
}
