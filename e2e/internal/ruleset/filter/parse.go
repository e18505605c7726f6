package filter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds nested parentheses and transformers, so that no input exhausts the stack. Falco's own bound (1000 parser
// steps) is reached at about this depth.
const maxDepth = 200

var (
	// wordOperators compare with one value, and take a modifier.
	wordOperators = []string{
		"contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith", "glob", "iglob", "regex",
	}
	listOperators   = []string{"in", "intersects", "pmatch"}
	symbolOperators = []string{"<=", "<", ">=", ">", "==", "=", "!="} // longest first where one starts another
	modifiers       = []string{"oneof", "anyof", "allof"}             // libs 0.25
	transformers    = []string{"tolower", "toupper", "b64", "basename", "len", "join", "concat", "getopt"}
	reserved        = []string{"and", "or", "not"}
)

// IsOperator reports whether op may stand in a check, a modifier included: "=", "in", "startswith oneof".
func IsOperator(op string) bool {
	if base, modifier, ok := cutModifier(op); ok {
		return slices.Contains(modifiers, modifier) && takesModifier(base)
	}
	return op == "exists" || slices.Contains(symbolOperators, op) ||
		slices.Contains(wordOperators, op) || slices.Contains(listOperators, op)
}

// IsListOperator reports whether op takes a parenthesised list: in, intersects, pmatch, or any operator with a modifier.
func IsListOperator(op string) bool {
	if _, _, ok := cutModifier(op); ok {
		return IsOperator(op)
	}
	return slices.Contains(listOperators, op)
}

func cutModifier(op string) (base, modifier string, ok bool) {
	words := strings.Fields(op)
	if len(words) != 2 {
		return "", "", false
	}
	return words[0], words[1], true
}

func takesModifier(op string) bool {
	return op == "=" || op == "==" || op == "!=" || slices.Contains(wordOperators, op)
}

// SyntaxError is a condition that cannot be parsed.
type SyntaxError struct {
	Offset int    // bytes into the text
	Msg    string // what is wrong and what to write instead
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("offset %d: %s", e.Offset, e.Msg) }

// Parse parses a condition. The error is a *SyntaxError.
func Parse(text string) (Expr, error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	p.blank()
	if p.atEnd() {
		return nil, p.errorf("the condition is empty: write at least one check, like proc.name = sh")
	}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	p.blank()
	if !p.atEnd() {
		return nil, p.unexpected("and", "or")
	}
	return e, nil
}

// ParseItems parses what may stand between the parentheses of a list: values separated by commas, or nothing.
// The error is a *SyntaxError.
func ParseItems(text string) ([]*Value, error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	items, err := p.items()
	if err != nil {
		return nil, err
	}
	if !p.atEnd() {
		return nil, p.errorf("unexpected %s in a list item: quote the item", p.next())
	}
	return items, nil
}

// ParseField parses a field with its argument, in transformers or not. The error is a *SyntaxError.
func ParseField(text string) (Operand, error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	p.blank()
	o, err := p.left()
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, p.errorf("%s is not a field: write one like proc.name", p.next())
	}
	p.blank()
	if !p.atEnd() {
		return nil, p.errorf("unexpected %s after the field", p.next())
	}
	return o, nil
}

// parser reads the text once, from left to right. What a word means depends on where it stands, so there is no
// tokeniser: each production takes what it can use.
type parser struct {
	text  string
	pos   int
	depth int
}

func newParser(text string) (*parser, error) {
	if i := strings.IndexByte(text, 0); i >= 0 {
		return nil, &SyntaxError{i, "the text contains a NUL byte: remove it"}
	}
	if !utf8.ValidString(text) {
		at := strings.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError })
		return nil, &SyntaxError{at, "the text is not valid UTF-8"}
	}
	return &parser{text: text}, nil
}

func (p *parser) errorf(format string, args ...any) error {
	return &SyntaxError{p.pos, fmt.Sprintf(format, args...)}
}

func (p *parser) atEnd() bool  { return p.pos == len(p.text) }
func (p *parser) rest() string { return p.text[p.pos:] }

// next describes what stands at the cursor, for errors.
func (p *parser) next() string {
	if p.atEnd() {
		return "the end of the condition"
	}
	rest := p.rest()
	if rest[0] == '"' || rest[0] == '\'' {
		return "a quoted string"
	}
	if end := strings.IndexFunc(rest, notBare); end > 0 {
		return strconv.Quote(rest[:end])
	} else if end < 0 {
		return strconv.Quote(rest)
	}
	return strconv.Quote(rest[:1])
}

// unexpected says that none of the words stands at the cursor.
func (p *parser) unexpected(words ...string) error {
	rest := p.rest()
	switch lower := strings.ToLower(p.word()); {
	case strings.HasPrefix(rest, "&&"):
		return p.errorf(`unexpected "&&": write "and"`)
	case strings.HasPrefix(rest, "||"):
		return p.errorf(`unexpected "||": write "or"`)
	case lower != "" && lower != p.word() && slices.Contains(reserved, lower):
		return p.errorf("unexpected %q: write %q", p.word(), lower)
	case lower != "" && slices.Contains(reserved, lower):
		return p.errorf("unexpected %q: write a blank and a check after it", lower)
	case strings.HasPrefix(rest, ")"):
		return p.errorf(`unexpected ")": it closes nothing, remove it`)
	}
	return p.errorf("unexpected %s: write %q or %q before it, or quote a value with blanks", p.next(), words[0], words[1])
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\b' || c == '\r' || c == '\n' }

func (p *parser) blank() bool {
	start := p.pos
	for !p.atEnd() && isBlank(p.text[p.pos]) {
		p.pos++
	}
	return p.pos > start
}

func (p *parser) take(s string) bool {
	if strings.HasPrefix(p.rest(), s) {
		p.pos += len(s)
		return true
	}
	return false
}

// word is the identifier at the cursor, or "": [a-zA-Z]+[a-zA-Z0-9_]*.
func (p *parser) word() string {
	rest := p.rest()
	n := 0
	for n < len(rest) && isWordByte(rest[n], n == 0) {
		n++
	}
	return rest[:n]
}

func isWordByte(c byte, first bool) bool {
	letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	return letter || !first && ('0' <= c && c <= '9' || c == '_')
}

// takeKeyword takes and, or, not where a blank or a parenthesis follows.
func (p *parser) takeKeyword(keyword string) bool {
	if p.word() != keyword {
		return false
	}
	after := p.rest()[len(keyword):]
	if after == "" || !isBlank(after[0]) && after[0] != '(' {
		return false
	}
	p.pos += len(keyword)
	return true
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return p.errorf("the condition nests deeper than %d levels: split it into macros with fewer parentheses", maxDepth)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

func (p *parser) or() (Expr, error) {
	terms, at, err := p.chain("or", p.and)
	if err != nil {
		return nil, err
	}
	if len(terms) == 1 {
		return terms[0], nil
	}
	return &Or{terms, at}, nil
}

func (p *parser) and() (Expr, error) {
	terms, at, err := p.chain("and", p.not)
	if err != nil {
		return nil, err
	}
	if len(terms) == 1 {
		return terms[0], nil
	}
	return &And{terms, at}, nil
}

// chain reads terms that a keyword separates, and where the first one starts.
func (p *parser) chain(keyword string, term func() (Expr, error)) (terms []Expr, at int, err error) {
	p.blank()
	at = p.pos
	for {
		t, err := term()
		if err != nil {
			return nil, 0, err
		}
		terms = append(terms, t)
		p.blank()
		if !p.takeKeyword(keyword) {
			return terms, at, nil
		}
	}
}

func (p *parser) not() (Expr, error) {
	p.blank()
	at := p.pos
	negated := false
	for p.takeKeyword("not") {
		negated = !negated
		p.blank()
	}
	e, err := p.primary()
	if err != nil || !negated {
		return e, err
	}
	return &Not{e, at}, nil
}

func (p *parser) primary() (Expr, error) {
	at := p.pos
	if p.take("(") {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer p.leave()
		e, err := p.or()
		if err != nil {
			return nil, err
		}
		p.blank()
		switch {
		case p.take(")"):
			return e, nil
		case p.atEnd():
			p.pos = at
			return nil, p.errorf(`this "(" is never closed: add a ")"`)
		}
		return nil, p.unexpected("and", "or")
	}
	left, err := p.left()
	if err != nil {
		return nil, err
	}
	if left != nil {
		return p.check(left, at)
	}
	switch w := p.word(); {
	case w == "":
		return nil, p.errorf("expected a check, a macro or \"(\" here, not %s", p.next())
	case slices.Contains(reserved, w):
		return nil, p.errorf("expected a check, a macro or \"(\" before %q", w)
	default:
		p.pos += len(w)
		return &Macro{w, at}, nil
	}
}

// left reads a field or a transformer, and returns nil where neither starts.
func (p *parser) left() (Operand, error) {
	if f, err := p.field(); f != nil || err != nil {
		return f, err
	}
	if name := p.takeTransformer(transformers); name != "" {
		return p.transform(name, p.pos-len(name)-1)
	}
	return nil, nil
}

// field returns a nil Operand where no field starts.
func (p *parser) field() (Operand, error) {
	start := p.pos
	first := p.word()
	p.pos += len(first)
	for !p.atEnd() && p.text[p.pos] == '.' {
		p.pos++
		part := p.word()
		if part == "" {
			p.pos--
			break
		}
		p.pos += len(part)
	}
	if first == "" || p.pos == start+len(first) {
		p.pos = start
		return nil, nil
	}
	f := &Field{Name: p.text[start:p.pos], At: start}
	var err error
	f.Arg, f.HasArg, err = p.arg()
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (p *parser) arg() (arg string, has bool, err error) {
	open := p.pos
	if !p.take("[") {
		return "", false, nil
	}
	quoted := p.atQuote()
	if arg, err = p.quotedOr(notBareArg); err != nil {
		return "", false, err
	}
	if !quoted && arg == "" || !p.take("]") {
		if p.atEnd() {
			p.pos = open
			return "", false, p.errorf(`this "[" is never closed: add a "]"`)
		}
		return "", false, p.errorf("expected a field argument and \"]\", not %s: quote an argument with blanks or brackets", p.next())
	}
	return arg, true, nil
}

// takeTransformer takes one of the names with its opening parenthesis.
func (p *parser) takeTransformer(names []string) string {
	w := p.word()
	if w == "" || !slices.Contains(names, w) || !strings.HasPrefix(p.rest()[len(w):], "(") {
		return ""
	}
	p.pos += len(w) + 1
	return w
}

func (p *parser) transform(name string, at int) (Operand, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	t := &Transform{Name: name, At: at}
	for {
		p.blank()
		arg, err := p.transformArg(name, true)
		if err != nil {
			return nil, err
		}
		t.Args = append(t.Args, arg)
		p.blank()
		if !p.take(",") {
			break
		}
	}
	if !p.take(")") {
		return nil, p.errorf("expected \")\" after the argument of %s, not %s", name, p.next())
	}
	var err error
	t.Arg, t.HasArg, err = p.arg()
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (p *parser) transformArg(name string, tuples bool) (Operand, error) {
	at := p.pos
	if name != "val" {
		if n := p.number(); n != "" {
			return &Value{Text: n, At: at}, nil
		}
		if p.atQuote() {
			text, err := p.quoted()
			return &Value{Text: text, Quoted: true, At: at}, err
		}
		if tuples && p.take("(") {
			return p.tuple(name, at)
		}
	}
	o, err := p.left()
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, p.errorf("expected a field in %s(...), not %s", name, p.next())
	}
	if _, isField := o.(*Field); name == "val" && !isField {
		p.pos = at
		return nil, p.errorf("val(...) takes a plain field: write the transformer without val")
	}
	return o, nil
}

func (p *parser) tuple(name string, at int) (Operand, error) {
	t := &Tuple{At: at}
	p.blank()
	if p.take(")") {
		return t, nil
	}
	for {
		p.blank()
		item, err := p.transformArg(name, false)
		if err != nil {
			return nil, err
		}
		t.Items = append(t.Items, item)
		p.blank()
		if !p.take(",") {
			break
		}
	}
	if !p.take(")") {
		return nil, p.errorf("expected \",\" or \")\" in the list of %s, not %s", name, p.next())
	}
	return t, nil
}

// check reads the operator and the right side.
func (p *parser) check(left Operand, at int) (Expr, error) {
	p.blank()
	for _, op := range symbolOperators {
		if p.take(op) {
			return p.compare(left, op, at)
		}
	}
	op := p.word()
	start := p.pos
	p.pos += len(op)
	switch {
	case op == "exists":
		return &Check{left, op, nil, at}, nil
	case slices.Contains(wordOperators, op):
		if p.atEnd() || !isBlank(p.text[p.pos]) {
			return nil, p.errorf("expected a blank after %q", op)
		}
		return p.compare(left, op, at)
	case slices.Contains(listOperators, op):
		p.blank()
		right, err := p.listOrTransformer(op, true)
		if err != nil {
			return nil, err
		}
		return &Check{left, op, right, at}, nil
	}
	p.pos = start
	return nil, p.errorf("expected an operator after %s, not %s: write one of exists %s %s %s", left, p.next(),
		strings.Join(symbolOperators, " "), strings.Join(wordOperators, " "), strings.Join(listOperators, " "))
}

// compare reads the right side of an operator that takes one value, or of its modifier.
func (p *parser) compare(left Operand, op string, at int) (Expr, error) {
	spaced := p.blank()
	if spaced && takesModifier(op) {
		if modifier := p.takeModifier(); modifier != "" {
			op += " " + modifier
			right, err := p.listOrTransformer(op, false)
			if err != nil {
				return nil, err
			}
			return &Check{left, op, right, at}, nil
		}
	}
	right, err := p.transformerOrVal()
	if err != nil {
		return nil, err
	}
	if right == nil {
		start := p.pos
		if strings.ContainsAny(op, "<>") {
			n := p.number()
			if n == "" {
				return nil, p.errorf("expected a number after %q, not %s: compare text with = or in", op, p.next())
			}
			right = &Value{Text: n, At: start}
		} else if right, err = p.value(op); err != nil {
			return nil, err
		}
	}
	return &Check{left, op, right, at}, nil
}

// takeModifier takes oneof, anyof or allof where a list follows: elsewhere it is a plain value.
func (p *parser) takeModifier() string {
	w := p.word()
	if !slices.Contains(modifiers, w) {
		return ""
	}
	start := p.pos
	p.pos += len(w)
	if p.blank() && (strings.HasPrefix(p.rest(), "(") || p.word() != "" && !slices.Contains(reserved, p.word())) {
		return w
	}
	p.pos = start
	return ""
}

func (p *parser) listOrTransformer(op string, transformer bool) (Operand, error) {
	start := p.pos
	if p.take("(") {
		items, err := p.items()
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			if p.atEnd() {
				p.pos = start
				return nil, p.errorf(`this "(" is never closed: add a ")"`)
			}
			return nil, p.errorf("expected \",\" or \")\" in the list, not %s: quote a value with special characters", p.next())
		}
		return &List{items, start}, nil
	}
	if transformer {
		if t, err := p.transformerOrVal(); t != nil || err != nil {
			return t, err
		}
	}
	w := p.word()
	if w == "" {
		return nil, p.errorf("expected a list after %q, not %s: write (a, b)", op, p.next())
	}
	p.pos += len(w)
	return &Value{Text: w, At: start}, nil
}

// transformerOrVal returns a nil Operand where neither starts.
func (p *parser) transformerOrVal() (Operand, error) {
	at := p.pos
	if name := p.takeTransformer(transformers); name != "" {
		return p.transform(name, at)
	}
	if p.takeTransformer([]string{"val"}) != "" {
		return p.transform("val", at)
	}
	return nil, nil
}

// items reads values separated by commas up to the first thing that is neither.
func (p *parser) items() ([]*Value, error) {
	p.blank()
	if p.atEnd() || p.text[p.pos] == ')' {
		return nil, nil
	}
	var items []*Value
	for {
		p.blank()
		v, err := p.value(",")
		if err != nil {
			return nil, err
		}
		items = append(items, v.(*Value))
		p.blank()
		if !p.take(",") {
			return items, nil
		}
	}
}

func (p *parser) value(after string) (Operand, error) {
	start := p.pos
	quoted := p.atQuote()
	text, err := p.quotedOr(notBare)
	if err != nil {
		return nil, err
	}
	if !quoted && text == "" {
		return nil, p.errorf("expected a value after %q, not %s", after, p.next())
	}
	return &Value{Text: text, Quoted: quoted, At: start}, nil
}

func (p *parser) atQuote() bool {
	return !p.atEnd() && (p.text[p.pos] == '"' || p.text[p.pos] == '\'')
}

// quotedOr reads a quoted string, or a bare one up to the first rune that stop reports.
func (p *parser) quotedOr(stop func(rune) bool) (string, error) {
	if p.atQuote() {
		return p.quoted()
	}
	rest := p.rest()
	if end := strings.IndexFunc(rest, stop); end >= 0 {
		rest = rest[:end]
	}
	p.pos += len(rest)
	return rest, nil
}

// quoted reads a quoted string and resolves its escapes. As in libsinsp, a quote that follows any backslash does not
// end the string.
func (p *parser) quoted() (string, error) {
	open := p.pos
	quote := p.text[open]
	for i := open + 1; i < len(p.text); i++ {
		if p.text[i] != quote || p.text[i-1] == '\\' {
			continue
		}
		text, err := p.unescape(open+1, i, quote)
		p.pos = i + 1
		return text, err
	}
	return "", p.errorf("this string is never closed: add a %c, and note that \\%c does not end it", quote, quote)
}

func (p *parser) unescape(start, end int, quote byte) (string, error) {
	in := p.text[start:end]
	if !strings.Contains(in, `\`) {
		return in, nil
	}
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); i++ {
		c := in[i]
		if c != '\\' {
			out = append(out, c)
			continue
		}
		i++ // the last byte is never a lone backslash: it would have escaped the closing quote
		switch c = in[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case ' ', '\\':
			out = append(out, '\\')
		case '/':
			out = append(out, '/')
		case '"', '\'':
			if c != quote {
				p.pos = start + i - 1
				return "", p.errorf(`\%c is no escape inside %c quotes: write %c alone`, c, quote, c)
			}
			out = append(out, c)
		case 'x':
			if i+2 >= len(in) {
				p.pos = start + i - 1
				return "", p.errorf(`\x needs two hexadecimal digits`)
			}
			n, err := strconv.ParseUint(in[i+1:i+3], 16, 8)
			if err != nil {
				p.pos = start + i - 1
				return "", p.errorf(`\x needs two hexadecimal digits, not %q`, in[i+1:i+3])
			}
			out = append(out, byte(n))
			i += 2
		default:
			p.pos = start + i - 1
			return "", p.errorf(`\%s is no escape: write \\%[1]s for a backslash`, firstRune(in[i:]))
		}
	}
	return string(out), nil
}

func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

// number takes 0x1F, 12, -3, 1.5 or 1e+6, and returns "" where none starts.
func (p *parser) number() string {
	rest := p.rest()
	n := 0
	if len(rest) > 2 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X') {
		for n = 2; n < len(rest) && isHexDigit(rest[n]); n++ {
		}
		if n > 2 {
			p.pos += n
			return rest[:n]
		}
		n = 0
	}
	if n < len(rest) && (rest[n] == '+' || rest[n] == '-') {
		n++
	}
	digits := n
	n = skipDigits(rest, n)
	if n == digits {
		return ""
	}
	if n < len(rest) && rest[n] == '.' {
		n = skipDigits(rest, n+1)
	}
	if n+1 < len(rest) && (rest[n] == 'e' || rest[n] == 'E') && (rest[n+1] == '+' || rest[n+1] == '-') {
		if end := skipDigits(rest, n+2); end > n+2 {
			n = end
		}
	}
	p.pos += n
	return rest[:n]
}

func skipDigits(s string, n int) int {
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
