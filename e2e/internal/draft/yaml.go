package draft

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// document is a case file that is being edited. Positions of YAML's tokens are lines and characters; edits are in bytes.
type document struct {
	source []byte
	lines  []int // where each line starts, and the end of the file
	nodes  map[string]*ast.MappingNode
	edits  []edit
	eol    string
}

// An edit puts text in place of source[from:to].
type edit struct {
	from, to int
	text     string
}

func parse(file string, source []byte) (*document, error) {
	parsed, err := parser.ParseBytes(source, 0)
	if err != nil {
		return nil, fmt.Errorf("read case file %s: %w", file, err)
	}
	d := &document{source: source, lines: []int{0}, nodes: map[string]*ast.MappingNode{}, eol: "\n"}
	for i, b := range source {
		if b == '\n' && i+1 < len(source) {
			d.lines = append(d.lines, i+1)
		}
	}
	d.lines = append(d.lines, len(source))
	if bytes.Contains(source, []byte("\r\n")) {
		d.eol = "\r\n"
	}
	nodes := []ast.Node{parsed.Docs[0].Body}
	if list, ok := nodes[0].(*ast.SequenceNode); ok {
		nodes = list.Values
	}
	for _, n := range nodes {
		if m, ok := n.(*ast.MappingNode); ok {
			if v := value(m, "name"); v != nil {
				d.nodes[v.GetToken().Value] = m
			}
		}
	}
	return d, nil
}

func pair(m *ast.MappingNode, key string) *ast.MappingValueNode {
	for _, v := range m.Values {
		if v.Key.GetToken().Value == key {
			return v
		}
	}
	return nil
}

func value(m *ast.MappingNode, key string) ast.Node {
	if v := pair(m, key); v != nil {
		return v.Value
	}
	return nil
}

// at is where a token starts, in bytes.
func (d *document) at(t *token.Token) int {
	offset := d.lines[t.Position.Line-1]
	for range t.Position.Column - 1 {
		_, size := utf8.DecodeRune(d.source[offset:])
		offset += size
	}
	return offset
}

func (d *document) line(i int) string { return string(d.source[d.lines[i]:d.lines[i+1]]) }

// blockEnd is the line after the last one with content of a block that begins in a line and is indented by more than
// indent. Blank lines and comments at its end are not part of it.
func (d *document) blockEnd(first, indent int) int {
	end := first + 1
	for i := first + 1; i < len(d.lines)-1; i++ {
		text := strings.TrimRight(d.line(i), " \t\r\n")
		content := strings.TrimLeft(text, " ")
		if content == "" || content[0] == '#' {
			continue
		}
		if len(text)-len(content) <= indent {
			break
		}
		end = i + 1
	}
	return end
}

func (d *document) edited() []byte {
	slices.SortStableFunc(d.edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	var out []byte
	at := 0
	for _, e := range d.edits {
		out = append(out, d.source[at:e.from]...)
		out = append(out, strings.ReplaceAll(e.text, "\n", d.eol)...)
		at = e.to
	}
	return append(out, d.source[at:]...)
}

func (d *document) replace(from, to int, text string) {
	d.edits = append(d.edits, edit{from, to, text})
}

// insertLines puts whole lines before a line, or after the last one, which may lack its end.
func (d *document) insertLines(before int, text string) {
	at := d.lines[before]
	if at > 0 && d.source[at-1] != '\n' {
		text = "\n" + strings.TrimSuffix(text, "\n")
	}
	d.replace(at, at, text)
}

// change drafts the expect of one case.
func (d *document) change(c Change) error {
	m := d.nodes[c.Case.Name]
	if m == nil {
		return fmt.Errorf("%s: find the case %s again", c.Case.Pos, c.Case.Name)
	}
	list := entries(c)
	expect := pair(m, "expect")
	if m.IsFlowStyle {
		text := "[" + strings.Join(d.flowEntries(list, c), ", ") + "]"
		if expect == nil {
			d.replace(d.at(m.End), d.at(m.End), ", expect: "+text)
			return nil
		}
		seq := expect.Value.(*ast.SequenceNode)
		d.replace(d.at(seq.Start), d.at(seq.End)+1, text)
		return nil
	}
	key := m.Values[0].Key.GetToken().Position
	indent := strings.Repeat(" ", key.Column-1)
	if expect == nil {
		d.insertLines(d.blockEnd(key.Line-1, key.Column-2), indent+"expect:"+d.blockEntries(list, c, indent))
		return nil
	}
	seq := expect.Value.(*ast.SequenceNode)
	if seq.IsFlowStyle {
		// A comment behind the list stays behind the key.
		end := d.at(seq.End) + 1
		lineEnd := d.lines[seq.End.Position.Line]
		rest := strings.TrimRight(string(d.source[end:lineEnd]), " \t\r\n")
		from := d.at(expect.Key.GetToken()) + len("expect")
		text := ":" + rest + d.blockEntries(list, c, indent)
		if len(list) == 0 {
			text = ": []" + rest + "\n"
		}
		d.replace(from, lineEnd, text)
		return nil
	}
	d.changeBlock(list, c, seq, expect)
	return nil
}

// changeBlock edits the entries of a list in block style one by one.
func (d *document) changeBlock(list []entry, c Change, seq *ast.SequenceNode, expect *ast.MappingValueNode) {
	column := seq.Entries[0].Start.Position.Column
	indent := strings.Repeat(" ", column-1)
	last := 0 // line after the last entry
	for i, e := range seq.Entries {
		first := e.Start.Position.Line - 1
		last = d.blockEnd(first, column-1)
		at := slices.IndexFunc(list, func(e entry) bool { return e.old == i })
		switch {
		case at < 0:
			d.replace(d.lines[first], d.lines[last], "")
		case !list[at].raw:
			d.replace(d.lines[first], d.lines[last], blockEntry(list[at].alerts, c.Case, indent))
		}
	}
	var added strings.Builder
	for _, e := range list {
		if e.old < 0 {
			added.WriteString(blockEntry(e.alerts, c.Case, indent))
		}
	}
	if added.Len() > 0 {
		d.insertLines(last, added.String())
	}
	if len(list) == 0 {
		at := d.at(expect.Key.GetToken()) + len("expect:")
		d.replace(at, at, " []")
	}
}

// blockEntries are the entries of a new list behind its key, each on lines of its own.
func (d *document) blockEntries(list []entry, c Change, indent string) string {
	if len(list) == 0 {
		return " []\n"
	}
	var text strings.Builder
	text.WriteString("\n")
	for _, e := range list {
		if e.raw {
			text.WriteString(indent + "  - " + d.raw(c.Case, e.old) + "\n")
		} else {
			text.WriteString(blockEntry(e.alerts, c.Case, indent+"  "))
		}
	}
	return text.String()
}

func (d *document) flowEntries(list []entry, c Change) []string {
	texts := make([]string, len(list))
	for i, e := range list {
		if e.raw {
			texts[i] = d.raw(c.Case, e.old)
			continue
		}
		parts := head(e.alerts, c.Case)
		if fields := fieldsOf(e.alerts); len(fields) > 0 {
			var inner []string
			for _, f := range fields {
				inner = append(inner, f.name+": "+f.want)
			}
			parts = append(parts, "fields: {"+strings.Join(inner, ", ")+"}")
		}
		texts[i] = "{" + strings.Join(parts, ", ") + "}"
	}
	return texts
}

// raw is an entry of a list in flow style as it is in the file.
func (d *document) raw(c cases.Case, i int) string {
	seq := value(d.nodes[c.Name], "expect").(*ast.SequenceNode)
	m := seq.Values[i].(*ast.MappingNode)
	return string(d.source[d.at(m.Start) : d.at(m.End)+1])
}

// head are the keys of an entry before its fields.
func head(alerts []verdict.Alert, c cases.Case) []string {
	keys := []string{"rule: " + scalar(alerts[0].Rule), "priority: " + strings.ToUpper(alerts[0].Priority)}
	if len(c.Captures) > 1 && !slices.ContainsFunc(alerts, func(a verdict.Alert) bool { return a.Capture != alerts[0].Capture }) {
		keys = append(keys, "capture: "+strconv.Itoa(alerts[0].Capture))
	}
	if len(alerts) > 1 {
		keys = append(keys, "count: "+strconv.Itoa(len(alerts)))
	}
	return keys
}

func blockEntry(alerts []verdict.Alert, c cases.Case, indent string) string {
	var b strings.Builder
	for i, line := range head(alerts, c) {
		mark := "  "
		if i == 0 {
			mark = "- "
		}
		b.WriteString(indent + mark + line + "\n")
	}
	if fields := fieldsOf(alerts); len(fields) > 0 {
		b.WriteString(indent + "  fields:\n")
		for _, f := range fields {
			b.WriteString(indent + "    " + f.name + ": " + f.want + "\n")
		}
	}
	return b.String()
}

var plain = regexp.MustCompile(`^[A-Za-z0-9/.][A-Za-z0-9 /._:@%+-]*$`)

// scalar is a text as YAML: as it is where that is read as the same text, else in double quotes, as in JSON.
func scalar(text string) string {
	if plain.MatchString(text) {
		var back any
		if err := yaml.Unmarshal([]byte(text), &back); err == nil && back == text {
			return text
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a text can be encoded
	return strings.TrimSuffix(b.String(), "\n")
}
