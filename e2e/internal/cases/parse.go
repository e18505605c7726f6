package cases

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

var (
	caseKeys  = []string{"name", "description", "label", "learn", "capture", "init_config", "rules", "expect"}
	alertKeys = []string{"rule", "priority", "capture", "count", "fields"}
	boundKeys = []string{"min", "max", "contains", "matches", "one_of"}
	countKeys = []string{"min", "max"}
)

// A name also works on a command line, unquoted and beside globs.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Parse reads a case file: one case or a list of them. Paths in it are resolved against the folder of file, and must
// exist. The error joins all that is wrong with the file, one line for each, in the order of the file.
func Parse(file string, source []byte) ([]Case, error) {
	d := decoder{file: file}
	nodes, err := d.caseNodes(source)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(nodes, isRulesItem) {
		return nil, fmt.Errorf("%s: %w: name it under the rules key of a case", d.start(), errRulesFile)
	}
	var cases []Case
	for _, n := range nodes {
		cases = append(cases, d.caseOf(n))
	}
	if len(d.errs) > 0 {
		return nil, errors.Join(d.errs...)
	}
	return cases, nil
}

// ParseExpect reads the expect list alone: of a case file with one case, whose other keys are passed over, or of a file that
// has no other key. It is for alerts that do not come of a capture.
func ParseExpect(file string, source []byte) ([]Expectation, error) {
	d := decoder{file: file}
	nodes, err := d.caseNodes(source)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(nodes, isRulesItem) {
		return nil, fmt.Errorf("%s: a list of rules or alerts: write the alerts under the key expect", d.start())
	}
	if len(nodes) > 1 {
		return nil, fmt.Errorf("%s: %d cases: write one, or a mapping with the key expect", d.start(), len(nodes))
	}
	var expected []Expectation
	if m, ok := d.mapping(nodes[0], "a case", caseKeys); ok {
		expected = d.expect(nodes[0], m, 0)
	}
	if len(d.errs) > 0 {
		return nil, errors.Join(d.errs...)
	}
	return expected, nil
}

// ReadExpect is ParseExpect of a file.
func ReadExpect(file string) ([]Expectation, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read what is expected: %w", err)
	}
	return ParseExpect(file, source)
}

// caseNodes are the nodes of a file that should be cases; there is at least one.
func (d *decoder) caseNodes(source []byte) ([]ast.Node, error) {
	parsed, err := parser.ParseBytes(source, 0)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			return nil, fmt.Errorf("%s: read YAML: %s", d.at(syntax.GetToken()), syntax.GetMessage())
		}
		return nil, fmt.Errorf("%s: read YAML: %w", d.file, err)
	}
	if len(parsed.Docs) != 1 || parsed.Docs[0].Body == nil {
		return nil, fmt.Errorf("%s: %d YAML documents: write one case, or one list of cases", d.start(), filledDocs(parsed))
	}
	nodes := []ast.Node{parsed.Docs[0].Body}
	if list, ok := parsed.Docs[0].Body.(*ast.SequenceNode); ok {
		nodes = list.Values
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%s: an empty list: write at least one case", d.start())
	}
	return nodes, nil
}

func (d *decoder) start() ruleset.Position { return ruleset.Position{File: d.file, Line: 1, Column: 1} }

// errRulesFile is a Falco rules file where a case file was looked for.
var errRulesFile = errors.New("this is a Falco rules file, not a case file")

func isRulesItem(n ast.Node) bool {
	m, ok := n.(*ast.MappingNode)
	return ok && slices.ContainsFunc(m.Values, func(v *ast.MappingValueNode) bool {
		return slices.Contains([]string{"rule", "macro", "list", "required_engine_version"}, keyText(v))
	})
}

func filledDocs(f *ast.File) (n int) {
	for _, d := range f.Docs {
		if d.Body != nil {
			n++
		}
	}
	return n
}

// decoder collects what is wrong with one file, so that its author sees all of it at once.
type decoder struct {
	file string
	errs []error
}

func (d *decoder) caseOf(n ast.Node) Case {
	c := Case{Pos: d.pos(n)}
	m, ok := d.mapping(n, "a case", caseKeys)
	if !ok {
		return c
	}
	if v := d.required(n, m, "name", "write a short name such as local-staging-upload"); v != nil {
		c.Name = d.text(v, "name")
		if c.Name != "" && !validName.MatchString(c.Name) {
			d.refuse(v, "name %q: write letters, digits, '-', '_' and '.' only", c.Name)
		}
	}
	if v := m["description"]; v != nil {
		c.Description = d.text(v, "description")
	}
	if v := m["label"]; v != nil {
		c.Label = d.label(v)
	}
	if v := m["learn"]; v != nil {
		captures, _ := d.list(v, "learn", "a list of paths of .scap or .script files, relative to this file")
		for _, l := range captures {
			c.Learn = append(c.Learn, d.path(l, "learn"))
		}
	}
	if v := d.required(n, m, "capture", "write the path of a .scap or .script file, relative to this file, or a list of them"); v != nil {
		if list, ok := v.(*ast.SequenceNode); !ok {
			c.Captures = []string{d.path(v, "capture")}
		} else {
			if len(list.Values) == 0 {
				d.refuse(v, "capture is an empty list: write at least one path")
			}
			for _, path := range list.Values {
				c.Captures = append(c.Captures, d.path(path, "capture"))
			}
		}
	}
	if v := m["init_config"]; v != nil {
		c.InitConfig = d.initConfig(v)
	}
	if v := m["rules"]; v != nil {
		files, _ := d.list(v, "rules", "a list of paths, relative to this file")
		for _, r := range files {
			c.Rules = append(c.Rules, d.path(r, "rules"))
		}
	}
	c.Draft = m["expect"] == nil
	if !c.Draft {
		c.Expect = d.expect(n, m, len(c.Captures))
	}
	return c
}

// expect reads the expect key of a case that replays so many captures.
func (d *decoder) expect(n ast.Node, m map[string]ast.Node, captures int) (expected []Expectation) {
	if v := d.required(n, m, "expect", "list every alert that must come, or write `expect: []` for silence"); v != nil {
		entries, _ := d.list(v, "expect", "a list of alerts, or [] for silence")
		for _, e := range entries {
			expected = append(expected, d.expectation(e, captures))
		}
	}
	return expected
}

// expectation reads an entry of a case that replays so many captures; 0 where none is replayed.
func (d *decoder) expectation(n ast.Node, captures int) Expectation {
	e := Expectation{Pos: d.pos(n), Count: Count{1, 1}}
	m, ok := d.mapping(n, "an expected alert", alertKeys)
	if !ok {
		return e
	}
	if v := d.required(n, m, "rule", "write the name of the rule that must fire"); v != nil {
		e.Rule, e.rulePos = d.text(v, "rule"), d.pos(v)
	}
	if v := m["priority"]; v != nil {
		s := d.text(v, "priority")
		if p, err := ruleset.ParsePriority(s); err == nil {
			e.Priority = &p
		} else if s != "" {
			d.refuse(v, "%v", err)
		}
	}
	if v := m["capture"]; v != nil {
		before := len(d.errs)
		e.Capture = d.whole(v, "capture", "which of the case's captures it comes in: 1 for the first")
		if len(d.errs) == before && captures > 0 && (e.Capture < 1 || e.Capture > captures) {
			d.refuse(v, "capture %d: write a number from 1 to %d, how many captures the case has", e.Capture, captures)
		}
	}
	if v := m["count"]; v != nil {
		e.Count = d.count(v)
	}
	if v := m["fields"]; v != nil {
		fields, ok := v.(*ast.MappingNode)
		if !ok {
			d.refuse(v, "fields is %s: write a mapping from output field to value", kind(v))
			return e
		}
		for _, f := range fields.Values {
			e.Fields = append(e.Fields, Field{Name: keyText(f), Want: d.condition(f.Value)})
		}
	}
	return e
}

func (d *decoder) count(n ast.Node) Count {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		exact := d.whole(n, "count", "a whole number, or bounds such as {min: 1, max: 3}")
		return Count{exact, exact}
	}
	c := Count{0, Unbounded}
	bounds, ok := d.mapping(m, "count", countKeys)
	if !ok || len(bounds) < len(m.Values) {
		return c
	}
	if len(bounds) == 0 {
		d.refuse(n, "count has no bound: write min, max or both")
	}
	if v := bounds["min"]; v != nil {
		c.Min = d.whole(v, "min", "a whole number")
	}
	if v := bounds["max"]; v != nil {
		c.Max = d.whole(v, "max", "a whole number")
	}
	if c.Min > c.Max {
		d.refuse(n, "min %d is greater than max %d: swap them", c.Min, c.Max)
	}
	return c
}

// whole reads a count of alerts.
func (d *decoder) whole(n ast.Node, what, instead string) int {
	if i, ok := n.(*ast.IntegerNode); ok {
		if v, ok := i.Value.(uint64); ok && v < Unbounded {
			return int(v)
		}
	}
	d.refuse(n, "%s is %s: write %s", what, kind(n), instead)
	return 0
}

func (d *decoder) condition(n ast.Node) Condition {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return d.equal(n, "a field's value")
	}
	bounds, ok := d.mapping(m, "a field's bound", boundKeys)
	if !ok || len(bounds) < len(m.Values) {
		return nil
	}
	only := func(key string) bool { return len(bounds) == 1 && bounds[key] != nil }
	minimum, maximum := bounds["min"], bounds["max"]
	switch {
	case only("contains"):
		return Contains(d.text(bounds["contains"], "contains"))
	case only("matches"):
		v := bounds["matches"]
		re, err := regexp.Compile(d.text(v, "matches"))
		if err != nil {
			d.refuse(v, "matches: %v: write an RE2 expression, quoted", err)
		}
		return Matches{re}
	case only("one_of"):
		var o OneOf
		values, ok := d.list(bounds["one_of"], "one_of", "a list of values")
		if ok && len(values) == 0 {
			d.refuse(bounds["one_of"], "one_of is empty: list at least one value")
		}
		for _, v := range values {
			o = append(o, d.equal(v, "a value of one_of"))
		}
		return o
	case only("min"), only("max"), len(bounds) == 2 && minimum != nil && maximum != nil:
		b := Between{d.bound(minimum, "min"), d.bound(maximum, "max")}
		if b.Min != nil && b.Max != nil && compare(b.Min.Number, b.Max.Number, func(order int) bool { return order > 0 }) {
			d.refuse(minimum, "min %s is greater than max %s: swap them", b.Min, b.Max)
		}
		return b
	default:
		d.refuse(n, "a field's bound is min, max or both, or else one of contains, matches, one_of")
		return nil
	}
}

// equal reads one value: text, a number, true, false or null.
func (d *decoder) equal(n ast.Node, what string) Equal {
	switch v := n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return Equal{scalarText(n)}
	case *ast.IntegerNode:
		return Equal{json.Number(fmt.Sprint(v.Value))}
	case *ast.FloatNode:
		return Equal{json.Number(strconv.FormatFloat(v.Value, 'g', -1, 64))}
	case *ast.BoolNode:
		return Equal{v.Value}
	case *ast.NullNode:
		return Equal{nil}
	}
	d.refuse(n, "%s is %s: write text, a number, true, false, null, or a bound such as {min: 20MB}", what, kind(n))
	return Equal{}
}

// bound reads a number, plain or with a unit of bytes; nil for an absent one.
func (d *decoder) bound(n ast.Node, what string) *Bound {
	switch v := n.(type) {
	case nil:
		return nil
	case *ast.IntegerNode:
		return &Bound{json.Number(fmt.Sprint(v.Value)), v.Token.Value}
	case *ast.FloatNode:
		return &Bound{json.Number(strconv.FormatFloat(v.Value, 'g', -1, 64)), v.Token.Value}
	case *ast.StringNode:
		if size, err := humanize.ParseBytes(strings.ReplaceAll(v.Value, "_", "")); err == nil {
			return &Bound{json.Number(strconv.FormatUint(size, 10)), v.Value}
		}
		d.refuse(n, "%s %q is not a number: write 20971520, 1_000_000, 20MB or 20MiB", what, v.Value)
	default:
		d.refuse(n, "%s is %s: write a number such as 1_000_000, 20MB or 20MiB", what, kind(n))
	}
	return &Bound{Number: "0"}
}

func (d *decoder) initConfig(n ast.Node) json.RawMessage {
	if _, ok := n.(*ast.MappingNode); !ok {
		d.refuse(n, "init_config is %s: write the plugin's init_config as a mapping", kind(n))
		return nil
	}
	var v any
	if err := yaml.NodeToValue(n, &v); err != nil {
		d.refuse(n, "init_config: %v", err)
		return nil
	}
	config, err := json.Marshal(v)
	if err != nil {
		d.refuse(n, "init_config: %v: write what JSON can hold", err)
	}
	return config
}

// path reads the path of a file that must exist.
func (d *decoder) path(n ast.Node, what string) string {
	if _, ok := n.(*ast.SequenceNode); ok {
		d.refuse(n, "%s is a list: write one path", what)
		return ""
	}
	written := d.text(n, what)
	if written == "" {
		return ""
	}
	path := filepath.FromSlash(written)
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(d.file), path)
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		d.refuse(n, "%s %q: no file %s: write a path relative to this file", what, written, path)
	}
	return path
}

// text reads text that is not empty. Where it is not text, it is refused and empty.
func (d *decoder) text(n ast.Node, what string) string {
	s := scalarText(n)
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		if strings.TrimSpace(s) == "" {
			d.refuse(n, "%s is empty: write some text", what)
		}
	default:
		d.refuse(n, "%s is %s: write text, in quotes where it looks like something else", what, kind(n))
	}
	return s
}

// list reads the items of a list. It is not ok where it is no list at all.
func (d *decoder) list(n ast.Node, what, instead string) (items []ast.Node, ok bool) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.refuse(n, "%s is %s: write %s", what, kind(n), instead)
		return nil, false
	}
	return list.Values, true
}

// mapping reads a mapping of known keys. It is not ok where it is no mapping at all.
func (d *decoder) mapping(n ast.Node, what string, keys []string) (values map[string]ast.Node, ok bool) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.refuse(n, "%s is %s: write a mapping with the keys %s", what, kind(n), strings.Join(keys, ", "))
		return nil, false
	}
	values = make(map[string]ast.Node, len(m.Values))
	for _, v := range m.Values {
		key := keyText(v)
		if !slices.Contains(keys, key) {
			d.refuse(v.Key, "unknown key %q in %s%s", key, what, didYouMean(key, keys, "its keys are "+strings.Join(keys, ", ")))
			continue
		}
		values[key] = v.Value
	}
	return values, true
}

func (d *decoder) required(n ast.Node, m map[string]ast.Node, key, instead string) ast.Node {
	v := m[key]
	if v == nil {
		d.refuse(n, "no %s: %s", key, instead)
	}
	return v
}

func (d *decoder) refuse(n ast.Node, format string, args ...any) {
	d.errs = append(d.errs, fmt.Errorf("%s: %s", d.pos(n), fmt.Sprintf(format, args...)))
}

// pos is where a node begins; a block mapping's own token is the first ':' in it.
func (d *decoder) pos(n ast.Node) ruleset.Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	return d.at(n.GetToken())
}

func (d *decoder) at(t *token.Token) ruleset.Position {
	return ruleset.Position{File: d.file, Line: t.Position.Line, Column: t.Position.Column}
}

func keyText(v *ast.MappingValueNode) string { return v.Key.GetToken().Value }

func scalarText(n ast.Node) string {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.LiteralNode:
		return v.Value.Value
	}
	return ""
}

// kind names what a node is, for "X is KIND: write ...".
func kind(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.NullNode:
		return "empty"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias, which case files do not have"
	case *ast.TagNode:
		return "tagged, which values of case files are not"
	default:
		return strings.ToLower(n.Type().String())
	}
}
