package mutation

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// An Explanation says why no case can notice a mutant.
type Explanation struct {
	Mutant string // as Mutant.String gives it
	Reason string
	Pos    ruleset.Position // of the mutant in the file
}

// ReadExplanations reads a file of explanations: a list of entries, each with a reason and the mutants that it is for, as
// Mutant.String gives them. The error joins what is wrong with the file.
func ReadExplanations(file string) ([]Explanation, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read explanations: %w", err)
	}
	return ParseExplanations(file, source)
}

// ParseExplanations is ReadExplanations of text; file is its name.
func ParseExplanations(file string, source []byte) ([]Explanation, error) {
	at := func(t *token.Token) ruleset.Position {
		return ruleset.Position{File: file, Line: t.Position.Line, Column: t.Position.Column}
	}
	parsed, err := parser.ParseBytes(source, 0)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			return nil, fmt.Errorf("%s: read YAML: %s", at(syntax.GetToken()), syntax.GetMessage())
		}
		return nil, fmt.Errorf("%s: read YAML: %w", file, err)
	}
	var list []Explanation
	var errs []error
	refuse := func(n ast.Node, msg string) { errs = append(errs, fmt.Errorf("%s: %s", at(n.GetToken()), msg)) }
	for _, doc := range parsed.Docs {
		entries, ok := doc.Body.(*ast.SequenceNode)
		if !ok {
			return nil, fmt.Errorf("%s:1:1: no list: write entries with the keys reason and mutants", file)
		}
		for _, n := range entries.Values {
			reason, mutants := entry(n, refuse)
			for _, m := range mutants {
				text, ok := m.(*ast.StringNode)
				switch {
				case !ok:
					refuse(m, "a mutant is text: write it in quotes, as stagectl mutate prints it")
				case slices.ContainsFunc(list, func(e Explanation) bool { return e.Mutant == text.Value }):
					refuse(m, "the mutant is explained above already: take it out")
				default:
					list = append(list, Explanation{text.Value, reason, at(m.GetToken())})
				}
			}
		}
	}
	return list, errors.Join(errs...)
}

// entry reads one entry of the list.
func entry(n ast.Node, refuse func(ast.Node, string)) (reason string, mutants []ast.Node) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		refuse(n, "an entry is a mapping: write the keys reason and mutants")
		return "", nil
	}
	for _, pair := range m.Values {
		switch key := pair.Key.GetToken().Value; value := pair.Value.(type) {
		case *ast.StringNode:
			if key == "reason" {
				reason = value.Value
				continue
			}
		case *ast.LiteralNode: // with | or >
			if key == "reason" {
				reason = value.Value.Value
				continue
			}
		case *ast.SequenceNode:
			if key == "mutants" {
				mutants = value.Values
				continue
			}
		}
		refuse(pair.Key, "write reason with text, and mutants with a list of them")
	}
	if reason == "" || len(mutants) == 0 {
		refuse(n, "an entry needs a reason and at least one of mutants")
	}
	return reason, mutants
}
