// Package filter is libsinsp's filter language, the one that rule conditions are written in: it parses a condition into a
// tree, prints the tree back as text that libsinsp accepts, and tells which fields and event types the tree names.
//
// The grammar is that of falcosecurity/libs, userspace/libsinsp/filter/parser.h, up to libs 0.25:
//
//	expr    = and { "or" and }                       and   = not { "and" not }
//	not     = { "not" } ( "(" expr ")" | check | macro )
//	check   = operand "exists" | operand operator ( value | transformer | list )
//	operand = field [ "[" arg "]" ] | transformer "(" operand { "," operand } ")"
package filter

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Expr is a node of the condition: *And, *Or, *Not, *Macro or *Check.
type Expr interface {
	// String prints the condition as libsinsp reads it, on one line. Parse gives the same tree back.
	String() string
	// Offset is where the expression starts, in bytes of the text that was parsed.
	Offset() int
	expr()
}

// And holds when all its terms hold.
type And struct {
	Terms []Expr
	At    int
}

// Or holds when any of its terms holds.
type Or struct {
	Terms []Expr
	At    int
}

// Not holds when its term does not.
type Not struct {
	Term Expr
	At   int
}

// Macro is a bare word: the name of a macro that is yet to be expanded.
type Macro struct {
	Name string
	At   int
}

// Check compares an operand with a value.
type Check struct {
	Left  Operand // *Field or *Transform
	Op    string  // "exists", "=", "in" ...; with a modifier, "startswith oneof"
	Right Operand // *Value, *List or *Transform; nil after exists
	At    int
}

// Operand is a side of a check or an argument of a transformer: *Field, *Transform, *Value, *List or *Tuple.
type Operand interface {
	String() string
	Offset() int
	operand()
}

// Field is a field of the event, like proc.aname[2].
type Field struct {
	Name   string
	Arg    string // the text between the brackets, unquoted
	HasArg bool
	At     int
}

// Transform applies a transformer, like tolower(proc.name), or lets a field stand on the right: val(proc.pname).
type Transform struct {
	Name   string
	Args   []Operand
	Arg    string // getopt(...)[arg], libs 0.24
	HasArg bool
	At     int
}

// Value is a text or a number.
type Value struct {
	Text   string // unquoted, escapes resolved
	Quoted bool   // written in quotes: never the name of a list
	At     int
	List   string // the list that it is an item of; empty for one that is written out
}

// List is the right side of in, intersects, pmatch and of operators with a modifier.
type List struct {
	Items []*Value
	At    int
}

// Tuple is the parenthesised list that join and concat take (libs 0.24).
type Tuple struct {
	Items []Operand
	At    int
}

func (*And) expr()   {}
func (*Or) expr()    {}
func (*Not) expr()   {}
func (*Macro) expr() {}
func (*Check) expr() {}

func (*Field) operand()     {}
func (*Transform) operand() {}
func (*Value) operand()     {}
func (*List) operand()      {}
func (*Tuple) operand()     {}

// Offset is where the node begins, in bytes.
func (e *And) Offset() int { return e.At }

// Offset is where the node begins, in bytes.
func (e *Or) Offset() int { return e.At }

// Offset is where the node begins, in bytes.
func (e *Not) Offset() int { return e.At }

// Offset is where the node begins, in bytes.
func (e *Macro) Offset() int { return e.At }

// Offset is where the node begins, in bytes.
func (e *Check) Offset() int { return e.At }

// Offset is where the node begins, in bytes.
func (o *Field) Offset() int { return o.At }

// Offset is where the node begins, in bytes.
func (o *Transform) Offset() int { return o.At }

// Offset is where the node begins, in bytes.
func (o *Value) Offset() int { return o.At }

// Offset is where the node begins, in bytes.
func (o *List) Offset() int { return o.At }

// Offset is where the node begins, in bytes.
func (o *Tuple) Offset() int { return o.At }

func (e *And) String() string { return joinTerms(e.Terms, " and ") }

func (e *Or) String() string {
	// "and" binds tighter: only a nested "or" needs its parentheses, to keep its shape.
	parts := make([]string, len(e.Terms))
	for i, t := range e.Terms {
		if _, nested := t.(*Or); nested {
			parts[i] = "(" + t.String() + ")"
		} else {
			parts[i] = t.String()
		}
	}
	return strings.Join(parts, " or ")
}

func (e *Not) String() string {
	// A doubled "not" cancels out while it is parsed, so a nested one needs parentheses too.
	switch e.Term.(type) {
	case *And, *Or, *Not:
		return "not (" + e.Term.String() + ")"
	}
	return "not " + e.Term.String()
}

func (e *Macro) String() string { return e.Name }

func (e *Check) String() string {
	if e.Right == nil {
		return e.Left.String() + " " + e.Op
	}
	return e.Left.String() + " " + e.Op + " " + e.Right.String()
}

func (o *Field) String() string { return o.Name + printArg(o.Arg, o.HasArg) }

func (o *Transform) String() string {
	return o.Name + "(" + joinOperands(o.Args) + ")" + printArg(o.Arg, o.HasArg)
}

func (o *Value) String() string {
	if o.Quoted || !isBare(o.Text) {
		return Quote(o.Text)
	}
	return o.Text
}

func (o *List) String() string  { return "(" + joinOperands(o.Items) + ")" }
func (o *Tuple) String() string { return "(" + joinOperands(o.Items) + ")" }

func joinTerms(terms []Expr, sep string) string {
	parts := make([]string, len(terms))
	for i, t := range terms {
		switch t.(type) {
		case *And, *Or:
			parts[i] = "(" + t.String() + ")"
		default:
			parts[i] = t.String()
		}
	}
	return strings.Join(parts, sep)
}

func joinOperands[O Operand](items []O) string {
	parts := make([]string, len(items))
	for i, o := range items {
		parts[i] = o.String()
	}
	return strings.Join(parts, ", ")
}

func printArg(arg string, has bool) string {
	switch {
	case !has:
		return ""
	case isBareArg(arg):
		return "[" + arg + "]"
	}
	return "[" + Quote(arg) + "]"
}

// Quote writes text as a quoted string of the filter language.
func Quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		at := i
		i += size
		switch {
		case r == '\\' && i == len(text):
			// libsinsp takes a quote after any backslash for an escaped one, even after \\, so a text cannot end in \\.
			// It reads "\ " as a backslash.
			b.WriteString(`\ `)
		case r == '\\':
			b.WriteString(`\\`)
		case r == '"':
			b.WriteString(`\"`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == 0, r == utf8.RuneError && size == 1:
			b.WriteString(`\x` + hexByte(text[at]))
		default:
			b.WriteString(text[at:i])
		}
	}
	b.WriteByte('"')
	return b.String()
}

func hexByte(c byte) string {
	s := strconv.FormatUint(uint64(c), 16)
	if len(s) == 1 {
		return "0" + s
	}
	return s
}

// isBare reports whether text can stand without quotes as a value.
func isBare(text string) bool {
	return text != "" && utf8.ValidString(text) && strings.IndexFunc(text, notBare) < 0
}

func notBare(r rune) bool { return r <= ' ' || strings.ContainsRune(`()"'=,`, r) }

func isBareArg(text string) bool {
	return text != "" && utf8.ValidString(text) && strings.IndexFunc(text, notBareArg) < 0
}

func notBareArg(r rune) bool { return r <= ' ' || strings.ContainsRune(`[]"'`, r) }
