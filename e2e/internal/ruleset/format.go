package ruleset

import (
	"fmt"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Format is an output, like "shell in %container.id (file=%fd.name)", as literal text and fields in order.
type Format []Token

// Token is literal text, or a field where Field is set.
type Token struct {
	Text  string
	Field string // what to ask the engine for: "evt.arg[0]", "toupper(proc.name)"
	Key   string // its name in the alert's output_fields, without transformers: "evt.arg[0]", "proc.name"
	Width int    // bytes that the value is cut or padded to, as in %16proc.name; 0 for all of it
	At    int    // where it starts, in bytes of the output

	field *filter.Field
}

// missing is what stands for a field without a value.
const missing = "<NA>"

// ParseFormat parses an output. A field starts with "%" and ends where its name or argument ends, so a name may not run
// into text that could be part of it. A "*" at the start is dropped: it asks for the text even where a value is missing, and
// Falco always asks. The error is a *filter.SyntaxError.
func ParseFormat(text string) (Format, error) {
	var out Format
	pos := 0
	if strings.HasPrefix(text, "*") {
		pos = 1
	}
	for pos < len(text) {
		start := strings.IndexByte(text[pos:], '%')
		if start < 0 {
			return append(out, Token{Text: text[pos:], At: pos}), nil
		}
		if start > 0 {
			out = append(out, Token{Text: text[pos : pos+start], At: pos})
		}
		token, end, err := parseToken(text, pos+start)
		if err != nil {
			return nil, err
		}
		out = append(out, token)
		pos = end
	}
	return out, nil
}

// parseToken parses the field whose "%" is at start, and returns where it ends.
func parseToken(text string, start int) (t Token, end int, err error) {
	t.At = start
	pos := start + 1
	for ; pos < len(text) && '0' <= text[pos] && text[pos] <= '9'; pos++ {
		if t.Width = t.Width*10 + int(text[pos]-'0'); t.Width > maxWidth {
			return t, 0, &filter.SyntaxError{Offset: start, Msg: fmt.Sprintf("a width of more than %d: write a smaller one", maxWidth)}
		}
	}
	fieldStart := pos
	depth := 0
	for {
		open := pos + wordLen(text[pos:])
		if open == pos || open == len(text) || text[open] != '(' {
			break
		}
		pos = open + 1
		depth++
	}
	keyStart := pos
	pos += nameLen(text[pos:])
	if pos < len(text) && text[pos] == '[' && pos > keyStart {
		n := strings.IndexByte(text[pos:], ']')
		if n < 0 {
			return t, 0, &filter.SyntaxError{Offset: pos, Msg: `this "[" is never closed: add a "]"`}
		}
		pos += n + 1
	}
	t.Key = text[keyStart:pos]
	for ; depth > 0; depth-- {
		if pos == len(text) || text[pos] != ')' {
			return t, 0, &filter.SyntaxError{Offset: pos, Msg: `expected a ")" here: close the transformer, without blanks`}
		}
		pos++
	}
	t.Field = text[fieldStart:pos]
	operand, err := filter.ParseField(bareArg(t.Field, t.Key))
	if err != nil || !strings.Contains(t.Key, ".") {
		return t, 0, &filter.SyntaxError{Offset: start, Msg: fmt.Sprintf(
			"%q is no field: write one like %%proc.name, and no other %%, which cannot be escaped", text[start:max(pos, start+1)])}
	}
	t.field = filter.AppendFields(nil, operand)[0]
	return t, pos, nil
}

// maxWidth is far above any width in use, and small enough to pad a line to.
const maxWidth = 1 << 16

// bareArg is field with the argument of key, which an output writes plainly up to the first "]", as filters write it.
func bareArg(field, key string) string {
	name, arg, has := strings.Cut(strings.TrimSuffix(key, "]"), "[")
	if !has {
		return field
	}
	if strings.ContainsAny(arg, " \t\"'[") {
		arg = filter.Quote(arg)
	}
	return strings.Replace(field, key, name+"["+arg+"]", 1)
}

// wordLen is the length of the identifier that s starts with.
func wordLen(s string) int {
	n := 0
	for n < len(s) && ('a' <= s[n] && s[n] <= 'z' || 'A' <= s[n] && s[n] <= 'Z' || n > 0 && ('0' <= s[n] && s[n] <= '9' || s[n] == '_')) {
		n++
	}
	return n
}

// nameLen is the length of the field name that s starts with: words with dots between them.
func nameLen(s string) int {
	n := wordLen(s)
	for n > 0 && n < len(s) && s[n] == '.' {
		word := wordLen(s[n+1:])
		if word == 0 {
			break
		}
		n += 1 + word
	}
	return n
}

// Fields returns what to ask the engine for, each once, in order.
func (f Format) Fields() []string {
	var fields []string
	for _, t := range f {
		if t.Field != "" && !slices.Contains(fields, t.Field) {
			fields = append(fields, t.Field)
		}
	}
	return fields
}

func (f Format) fields() []*filter.Field {
	var fields []*filter.Field
	for _, t := range f {
		if t.field != nil {
			fields = filter.AppendFields(fields, t.field)
		}
	}
	return fields
}

// Render returns the text with the fields' values in place. value returns false where the event has none, which reads <NA>.
func (f Format) Render(value func(field string) (text string, ok bool)) string {
	var b strings.Builder
	for _, t := range f {
		if t.Field == "" {
			b.WriteString(t.Text)
			continue
		}
		text, ok := value(t.Field)
		if !ok {
			text = missing
		}
		if t.Width > 0 {
			text = (text + strings.Repeat(" ", max(0, t.Width-len(text))))[:t.Width]
		}
		b.WriteString(text)
	}
	return b.String()
}
