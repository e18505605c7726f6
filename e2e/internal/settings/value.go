package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

type kind int

const (
	null kind = iota
	scalar
	sequence
	mapping
)

// Value is a value of the configuration. A nil Value is one that is not there, and has no text, items and fields.
type Value struct {
	Pos ruleset.Position

	kind   kind
	text   string
	quoted bool // never a number or a boolean
	list   []*Value
	fields []Field
}

// Field is an entry of a mapping.
type Field struct {
	Key   string
	Pos   ruleset.Position // of the key
	Value *Value
}

// Get returns the value of a key, or nil.
func (v *Value) Get(key string) *Value {
	for _, f := range v.Fields() {
		if f.Key == key {
			return f.Value
		}
	}
	return nil
}

func (v *Value) set(key string, at ruleset.Position, value *Value) {
	for i := range v.fields {
		if v.fields[i].Key == key {
			v.fields[i].Pos, v.fields[i].Value = at, value
			return
		}
	}
	v.fields = append(v.fields, Field{key, at, value})
}

// Text is a single value's text.
func (v *Value) Text() string {
	if v == nil {
		return ""
	}
	return v.text
}

// Bool reads a boolean as Falco does; fallback is for what is none.
func (v *Value) Bool(fallback bool) bool {
	if v == nil {
		return fallback
	}
	if b, ok := parseBool(v.text); ok {
		return b
	}
	return fallback
}

// parseBool knows the spellings of YAML 1.1: all small, all capital, or capitalised.
func parseBool(text string) (value, ok bool) {
	lower := strings.ToLower(text)
	if text != lower && text != strings.ToUpper(text) && text[1:] != lower[1:] {
		return false, false
	}
	switch lower {
	case "true", "yes", "on", "y":
		return true, true
	case "false", "no", "off", "n":
		return false, true
	}
	return false, false
}

// IsMapping reports whether the value is a mapping.
func (v *Value) IsMapping() bool { return v != nil && v.kind == mapping }

// Items are the entries of a sequence.
func (v *Value) Items() []*Value {
	if v == nil {
		return nil
	}
	return v.list
}

// Fields are the entries of a mapping.
func (v *Value) Fields() []Field {
	if v == nil {
		return nil
	}
	return v.fields
}

// JSON is the value as Falco hands a mapping to a plugin: what reads like a number or a boolean is one, unless it is quoted.
func (v *Value) JSON() any {
	switch {
	case v == nil || v.kind == null:
		return nil
	case v.kind == sequence:
		list := []any{}
		for _, item := range v.list {
			list = append(list, item.JSON())
		}
		return list
	case v.kind == mapping:
		object := map[string]any{}
		for _, f := range v.fields {
			object[f.Key] = f.Value.JSON()
		}
		return object
	case v.quoted:
		return v.text
	}
	if _, err := strconv.ParseInt(v.text, 0, 64); err == nil {
		return json.Number(v.text)
	}
	if f, err := strconv.ParseFloat(v.text, 64); err == nil {
		return f
	}
	if b, ok := parseBool(v.text); ok {
		return b
	}
	return v.text
}

// parse reads the first document of a file. An error in it is a *ruleset.Error.
func parse(path string, getenv func(string) (string, bool)) (*Value, []Problem, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at := &ruleset.Error{Pos: ruleset.Position{File: path, Line: 1, Column: 1}, Msg: "not YAML: " + err.Error()}
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil {
			at.Pos.Line, at.Pos.Column = syntax.Token.Position.Line, max(syntax.Token.Position.Column, 1)
			at.Msg = "not YAML: " + syntax.Message
		}
		return nil, nil, at
	}
	r := &reader{path: path, getenv: getenv, anchors: map[string]ast.Node{}}
	root := &Value{Pos: ruleset.Position{File: path, Line: 1, Column: 1}, kind: mapping}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		ast.Walk(r, doc.Body)
		if v := r.value(doc.Body, 0); v.kind == mapping {
			root = v
		} else if v.kind != null {
			return nil, nil, &ruleset.Error{Pos: v.Pos, Msg: "a configuration is a mapping: write KEY: VALUE"}
		}
		break
	}
	return root, r.problems, nil
}

// reader turns the nodes of one file into values.
type reader struct {
	path     string
	getenv   func(string) (string, bool)
	anchors  map[string]ast.Node
	problems []Problem
}

// Visit collects the anchors.
func (r *reader) Visit(n ast.Node) ast.Visitor {
	if anchor, ok := n.(*ast.AnchorNode); ok {
		r.anchors[anchor.Name.GetToken().Value] = anchor.Value
	}
	return r
}

// maxDepth is more than any configuration nests.
const maxDepth = 32

func (r *reader) value(n ast.Node, depth int) *Value {
	v := &Value{Pos: r.at(n)}
	if depth > maxDepth { // an anchor that holds itself
		return v
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		return r.value(n.Value, depth+1)
	case *ast.AliasNode:
		return r.value(r.anchors[n.Value.GetToken().Value], depth+1)
	case *ast.TagNode:
		return r.value(n.Value, depth+1)
	case *ast.StringNode:
		v.kind, v.text = scalar, expand(n.Value, r.getenv)
		v.quoted = strings.ContainsAny(n.GetToken().Origin, `"'`)
	case *ast.LiteralNode:
		v.kind, v.text, v.quoted = scalar, expand(n.Value.Value, r.getenv), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		v.kind, v.text = scalar, n.GetToken().Value
	case *ast.SequenceNode:
		v.kind = sequence
		for _, item := range n.Values {
			v.list = append(v.list, r.value(item, depth+1))
		}
	case *ast.MappingNode:
		v.kind = mapping
		for _, pair := range n.Values {
			r.add(v, pair, depth)
		}
	case *ast.MappingValueNode:
		v.kind = mapping
		r.add(v, n, depth)
	}
	return v
}

func (r *reader) add(v *Value, pair *ast.MappingValueNode, depth int) {
	at := r.at(pair.Key)
	key := pair.Key.GetToken().Value
	if first := v.Get(key); first != nil {
		r.problems = append(r.problems, Problem{at, fmt.Sprintf("%s is there twice, first in line %d, and only one of them counts: remove one", key, first.Pos.Line), false})
		return
	}
	v.fields = append(v.fields, Field{key, at, r.value(pair.Value, depth+1)})
}

func (r *reader) at(n ast.Node) ruleset.Position {
	at := ruleset.Position{File: r.path, Line: 1, Column: 1}
	switch v := n.(type) {
	case *ast.MappingNode:
		if len(v.Values) > 0 && !v.IsFlowStyle {
			return r.at(v.Values[0])
		}
	case *ast.MappingValueNode:
		return r.at(v.Key)
	}
	if n != nil && n.GetToken() != nil {
		at.Line, at.Column = n.GetToken().Position.Line, max(n.GetToken().Position.Column, 1)
	}
	return at
}
