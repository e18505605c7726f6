package script

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// word is one word of a script, without its quotes.
type word struct {
	text   string
	pos    ruleset.Position
	quoted bool
}

// line is one statement's words; a backslash at the end of a line continues it on the next.
type line []word

// failure is an error at a place of the script.
type failure struct {
	pos ruleset.Position
	msg string
}

func (f *failure) Error() string { return f.pos.String() + ": " + f.msg }

func failAt(pos ruleset.Position, format string, args ...any) error {
	return &failure{pos, fmt.Sprintf(format, args...)}
}

// split divides a script into lines of words. Words are parted by blanks; in double quotes are blanks, and \" \\ \n \t \xHH.
// A # that begins a word begins a comment.
func split(file, source string) (lines []line, errs []error) {
	var current line
	for number, text := range strings.Split(source, "\n") {
		pos := ruleset.Position{File: file, Line: number + 1}
		text = strings.TrimSuffix(text, "\r")
		if !utf8.ValidString(text) {
			pos.Column = 1
			errs = append(errs, failAt(pos, "not UTF-8: write other bytes as \\xHH in quotes"))
			continue
		}
		words, continued, err := splitLine(pos, text)
		if err != nil {
			errs = append(errs, err)
			current = nil
			continue
		}
		if current = append(current, words...); continued {
			continue
		}
		if len(current) > 0 {
			lines = append(lines, current)
		}
		current = nil
	}
	if len(current) > 0 {
		lines = append(lines, current)
	}
	return lines, errs
}

func splitLine(pos ruleset.Position, text string) (words line, continued bool, err error) {
	rest := text
	for {
		rest = strings.TrimLeft(rest, " \t")
		pos.Column = utf8.RuneCountInString(text[:len(text)-len(rest)]) + 1
		switch {
		case rest == "" || rest[0] == '#':
			return words, false, nil
		case rest == `\`:
			return words, true, nil
		case rest[0] == '"':
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, false, failAt(pos, `a quote that does not end, or an unknown escape in it: write "..." with \" \\ \n \t or \xHH`)
			}
			value, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, false, failAt(pos, `an unknown escape: write \" \\ \n \t or \xHH`)
			}
			words = append(words, word{text: value, pos: pos, quoted: true})
			rest = rest[len(quoted):]
		default:
			end := strings.IndexAny(rest, " \t")
			if end < 0 {
				end = len(rest)
			}
			words = append(words, word{text: rest[:end], pos: pos})
			rest = rest[end:]
		}
	}
}

// binding is a loop's variable and its value, with those of the loops around it.
type binding struct {
	name, value string
	outer       *binding
}

func (b *binding) find(name string) (string, bool) {
	for ; b != nil; b = b.outer {
		if b.name == name {
			return b.value, true
		}
	}
	return "", false
}

// hasVariables reports whether a line has any.
func (l line) hasVariables() bool {
	for _, w := range l {
		if strings.Contains(w.text, "$") {
			return true
		}
	}
	return false
}

// expand replaces $i, ${i}, ${i+1} (also - * / %), each with a format such as ${i:04} or ${i/256:02x}; $$ is a dollar.
func (l line) expand(vars *binding) (line, error) {
	out := make(line, len(l))
	for i, w := range l {
		out[i] = w
		if strings.Contains(w.text, "$") {
			text, err := expand(w.text, vars)
			if err != nil {
				return nil, failAt(w.pos, "%v", err)
			}
			out[i].text = text
		}
	}
	return out, nil
}

func expand(text string, vars *binding) (string, error) {
	var out strings.Builder
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			out.WriteString(text)
			return out.String(), nil
		}
		out.WriteString(text[:i])
		text = text[i+1:]
		switch {
		case strings.HasPrefix(text, "$"):
			out.WriteByte('$')
			text = text[1:]
		case strings.HasPrefix(text, "{"):
			end := strings.IndexByte(text, '}')
			if end < 0 {
				return "", fmt.Errorf("${%s does not end: write ${i}", text[1:])
			}
			value, err := evaluate(text[1:end], vars)
			if err != nil {
				return "", err
			}
			out.WriteString(value)
			text = text[end+1:]
		default:
			n := 0
			for n < len(text) && isName(text[n]) {
				n++
			}
			value, ok := vars.find(text[:n])
			if !ok {
				return "", unknownVariable(text[:n], vars)
			}
			out.WriteString(value)
			text = text[n:]
		}
	}
}

func unknownVariable(name string, vars *binding) error {
	if vars == nil {
		return fmt.Errorf("no variable $%s: write `for %s in 1..10` around it, or $$ for a dollar", name, name)
	}
	return fmt.Errorf("no variable $%s: write $%s, or $$ for a dollar", name, vars.name)
}

func isName(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// evaluate gives the value of NAME, or NAME OPERATOR NUMBER, with :FORMAT of a whole number.
func evaluate(text string, vars *binding) (string, error) {
	expression, format, formatted := strings.Cut(text, ":")
	n := 0
	for n < len(expression) && isName(expression[n]) {
		n++
	}
	value, ok := vars.find(expression[:n])
	if !ok {
		return "", unknownVariable(expression[:n], vars)
	}
	rest := strings.TrimSpace(expression[n:])
	if rest == "" && !formatted {
		return value, nil
	}
	number, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return "", fmt.Errorf("${%s}: the value %q is no number: write ${%s}", text, value, expression[:n])
	}
	if rest != "" {
		operand, err := strconv.ParseInt(strings.TrimSpace(rest[1:]), 10, 64)
		if err != nil {
			return "", fmt.Errorf("${%s}: write ${%s+1}, with one of + - * / %% and a whole number", text, expression[:n])
		}
		switch op := rest[0]; {
		case op == '+':
			number += operand
		case op == '-':
			number -= operand
		case op == '*':
			number *= operand
		case op == '/' && operand != 0:
			number /= operand
		case op == '%' && operand != 0:
			number %= operand
		default:
			return "", fmt.Errorf("${%s}: write ${%s+1}, with one of + - * / %% and a whole number, not 0 for the last two",
				text, expression[:n])
		}
	}
	if !formatted {
		return strconv.FormatInt(number, 10), nil
	}
	hex := strings.HasSuffix(format, "x")
	width, err := strconv.Atoi("0" + strings.TrimSuffix(format, "x"))
	if err != nil || width > 64 {
		return "", fmt.Errorf("${%s}: the format %q is not known: write :04 for four digits or :02x for hexadecimal ones", text, format)
	}
	if hex {
		return fmt.Sprintf("%0*x", width, number), nil
	}
	return fmt.Sprintf("%0*d", width, number), nil
}
