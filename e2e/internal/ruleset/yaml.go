package ruleset

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// file is a rules file while it is read.
type file struct {
	name    string
	text    string
	anchors map[string]ast.Node
}

// duplicateKey is the parser's message about a key that a mapping has twice.
var duplicateKey = regexp.MustCompile(`^mapping key (".*") already defined at \[(\d+):`)

var documentMarker = regexp.MustCompile(`(?m)^---(?:\s|$)`)

// documents parses the file and returns the root of each YAML document in it. The documents are parsed one by one, because
// the parser loses what follows an empty one; blank lines before each keep its line numbers.
func (f *file) documents() ([]ast.Node, error) {
	var roots []ast.Node
	start := 0
	parse := func(end int) error {
		text := strings.Repeat("\n", strings.Count(f.text[:start], "\n"))
		if rest, marked := strings.CutPrefix(f.text[start:end], "---"); marked {
			text += "   " + rest
		} else {
			text += rest
		}
		parsed, err := parser.ParseBytes([]byte(text), 0)
		if err != nil {
			return f.syntaxError(err)
		}
		for _, doc := range parsed.Docs {
			if f.resolve(doc.Body) != nil {
				roots = append(roots, doc.Body)
				ast.Walk(f, doc.Body)
			}
		}
		start = end
		return nil
	}
	for _, marker := range documentMarker.FindAllStringIndex(f.text, -1) {
		if err := parse(marker[0]); err != nil {
			return nil, err
		}
	}
	return roots, parse(len(f.text))
}

// Visit collects the anchors.
func (f *file) Visit(n ast.Node) ast.Visitor {
	if anchor, ok := n.(*ast.AnchorNode); ok {
		f.anchors[anchor.Name.GetToken().Value] = anchor.Value
	}
	return f
}

func (f *file) syntaxError(err error) error {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) || syntax.Token == nil {
		return &Error{Position{f.name, 1, 1}, "not YAML: " + err.Error()}
	}
	at := syntax.Token.Position
	message := "not YAML: " + syntax.Message
	if m := duplicateKey.FindStringSubmatch(syntax.Message); m != nil {
		message = fmt.Sprintf("key %s is there twice, first in line %s, and readers of YAML differ in which one they take: remove one", m[1], m[2])
	}
	return &Error{Position{f.name, at.Line, max(at.Column, 1)}, message}
}

// resolve follows anchors, aliases and tags to the node that holds the value. It returns nil for null.
func (f *file) resolve(n ast.Node) ast.Node {
	for range 16 { // an alias may name an anchor on another alias, or on itself
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			n = f.anchors[v.Value.GetToken().Value]
		case *ast.TagNode:
			n = v.Value
		case *ast.NullNode, *ast.CommentGroupNode, nil:
			return nil
		default:
			return n
		}
	}
	return nil
}

// at is where a node starts.
func (f *file) at(n ast.Node) Position {
	switch v := n.(type) {
	case *ast.MappingNode:
		if len(v.Values) > 0 && !v.IsFlowStyle {
			return f.at(v.Values[0])
		}
	case *ast.MappingValueNode:
		return f.at(v.Key)
	}
	if n == nil || n.GetToken() == nil {
		return Position{f.name, 1, 1}
	}
	at := n.GetToken().Position
	return Position{f.name, at.Line, max(at.Column, 1)}
}

func (f *file) errorf(n ast.Node, format string, args ...any) error {
	return &Error{f.at(n), fmt.Sprintf(format, args...)}
}

// scalar is a text in a rules file.
type scalar struct {
	value string
	file  *file
	node  ast.Node
}

// scalar returns false for null, sequences and mappings. Numbers and booleans are taken as they are written.
func (f *file) scalar(n ast.Node) (scalar, bool) {
	switch v := f.resolve(n).(type) {
	case *ast.StringNode:
		return scalar{v.Value, f, v}, true
	case *ast.LiteralNode:
		return scalar{v.Value.Value, f, v}, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return scalar{v.GetToken().Value, f, v}, true
	}
	return scalar{}, false
}

// sequence returns false for anything else.
func (f *file) sequence(n ast.Node) ([]ast.Node, bool) {
	if s, ok := f.resolve(n).(*ast.SequenceNode); ok {
		return s.Values, true
	}
	return nil, false
}

func (s scalar) pos() Position {
	at := s.file.at(s.node)
	if _, plain := s.node.(*ast.StringNode); !plain || at.Line == 0 {
		return at
	}
	// The parser takes blanks behind a plain value for blanks before it.
	from := s.file.offset(at)
	line := strings.LastIndexByte(s.file.text[:from], '\n') + 1
	if i := strings.LastIndex(s.file.text[line:min(from+len(s.value), len(s.file.text))], s.value); i >= 0 {
		return s.file.place(line + i)
	}
	return at
}

// position finds the place in the file of a byte of the value. YAML drops indentation and folds lines, but keeps all that is
// not blank, so value and file are read side by side and blanks are skipped in both. Where an escape breaks that, the
// place is where the value starts.
func (s scalar) position(offset int) Position {
	start := s.pos()
	if start.Line == 0 {
		return start
	}
	from := s.file.offset(start)
	if _, block := s.node.(*ast.LiteralNode); block {
		newline := strings.IndexByte(s.file.text[from:], '\n')
		if newline < 0 {
			return start
		}
		from += newline + 1
	}
	text := s.file.text
	next := func(c byte) bool { // moves from to the next place of c
		for from < len(text) && text[from] != c {
			if !isSpace(text[from]) && !strings.ContainsRune(`"'\`, rune(text[from])) {
				return false
			}
			from++
		}
		return from < len(text)
	}
	for i := range len(s.value) {
		if isSpace(s.value[i]) {
			continue
		}
		if i >= offset {
			if !next(s.value[i]) {
				return start
			}
			return s.file.place(from)
		}
		if !next(s.value[i]) {
			return start
		}
		from++
	}
	return s.file.place(from)
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\n\r\f\v", c) >= 0 }

// offset is the byte at a position.
func (f *file) offset(at Position) int {
	offset := 0
	for range at.Line - 1 {
		newline := strings.IndexByte(f.text[offset:], '\n')
		if newline < 0 {
			return len(f.text)
		}
		offset += newline + 1
	}
	for range at.Column - 1 {
		_, size := utf8.DecodeRuneInString(f.text[offset:])
		offset += size
	}
	return offset
}

// place is the position of a byte.
func (f *file) place(offset int) Position {
	before := f.text[:offset]
	line := strings.LastIndexByte(before, '\n') + 1
	return Position{f.name, strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[line:]) + 1}
}

// mapping reads one YAML mapping. The first problem sticks in err, and what is read after it is empty.
type mapping struct {
	file  *file
	node  ast.Node
	what  string // how errors call it
	pairs []*ast.MappingValueNode
	err   error
}

// mapping returns false where n is none.
func (f *file) mapping(n ast.Node, what string) (*mapping, bool) {
	switch v := f.resolve(n).(type) {
	case *ast.MappingNode:
		return &mapping{file: f, node: v, what: what, pairs: v.Values}, true
	case *ast.MappingValueNode:
		return &mapping{file: f, node: v, what: what, pairs: []*ast.MappingValueNode{v}}, true
	}
	return nil, false
}

func (m *mapping) pos() Position { return m.file.at(m.node) }

func (m *mapping) fail(n ast.Node, format string, args ...any) {
	if m.err == nil {
		m.err = m.file.errorf(n, "%s: %s", m.what, fmt.Sprintf(format, args...))
	}
}

// find returns a key and its value, or nil.
func (m *mapping) find(key string) (k, value ast.Node) {
	for _, pair := range m.pairs {
		if m.key(pair) == key {
			return pair.Key, pair.Value
		}
	}
	return nil, nil
}

func (m *mapping) key(pair *ast.MappingValueNode) string {
	if s, ok := m.file.scalar(pair.Key); ok {
		return s.value
	}
	return pair.Key.String()
}

func (m *mapping) has(key string) bool {
	k, _ := m.find(key)
	return k != nil
}

// text reads a key that must be there.
func (m *mapping) text(key string) scalar {
	if !m.has(key) {
		m.fail(m.node, "has no %q: add it", key)
		return scalar{}
	}
	return m.optional(key)
}

// optional reads a key that must not be empty where it is there.
func (m *mapping) optional(key string) scalar {
	k, n := m.find(key)
	if k == nil {
		return scalar{}
	}
	if m.file.resolve(n) == nil {
		m.fail(k, "%q is empty: write its value or remove it", key)
		return scalar{}
	}
	s, ok := m.file.scalar(n)
	switch {
	case !ok:
		m.fail(n, "%q is no text: write a single value", key)
	case s.value == "":
		m.fail(n, "%q is empty: write its value or remove it", key)
	}
	return s
}

// flag reads an optional boolean, in any of YAML 1.1's spellings.
func (m *mapping) flag(key string, fallback bool) bool {
	s := m.optional(key)
	if s.value == "" {
		return fallback
	}
	spelling := s.value
	if lower := strings.ToLower(spelling); spelling == strings.ToUpper(spelling) || spelling[1:] == lower[1:] {
		spelling = lower
	}
	switch spelling {
	case "true", "yes", "on", "y":
		return true
	case "false", "no", "off", "n":
		return false
	}
	m.fail(s.node, "%q is %q: write true or false", key, s.value)
	return fallback
}

// number reads an optional count.
func (m *mapping) number(key string) uint32 {
	s := m.optional(key)
	if s.value == "" {
		return 0
	}
	n, err := strconv.ParseUint(s.value, 0, 32)
	if err != nil {
		m.fail(s.node, "%q is %q: write a number from 0 to 4294967295", key, s.value)
	}
	return uint32(n)
}

// texts reads a sequence of single values; an absent key is an empty one.
func (m *mapping) texts(key string) []string {
	k, n := m.find(key)
	if k == nil {
		return nil
	}
	items, ok := m.file.sequence(n)
	if !ok {
		m.fail(k, "%q is no list: write [a, b]", key)
		return nil
	}
	values := make([]string, len(items))
	for i, item := range items {
		s, ok := m.file.scalar(item)
		if !ok {
			m.fail(item, "an entry of %q is no text: write a single value", key)
			return nil
		}
		values[i] = s.value
	}
	return values
}

// unknownKeys returns the keys that are not among those known.
func (m *mapping) unknownKeys(known []string) (keys []ast.Node, names []string) {
	for _, pair := range m.pairs {
		if name := m.key(pair); !slices.Contains(known, name) {
			keys, names = append(keys, pair.Key), append(names, name)
		}
	}
	return keys, names
}
