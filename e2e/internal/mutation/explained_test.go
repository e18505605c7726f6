package mutation

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

func TestExplanationsGiveEachMutantTheReasonOfItsEntry(t *testing.T) {
	got, err := ParseExplanations("e.yaml", []byte(`# why
- reason: >-
    for
    readers
  mutants:
    - "macro a: drop fd.num > 3"
    - 'rule B: flip evt.type in (read, pread)'
- {reason: declared, mutants: ["rule C: drop a"]}
`))
	require.NoError(t, err)
	assert.Equal(t, []Explanation{
		{"macro a: drop fd.num > 3", "for readers", ruleset.Position{File: "e.yaml", Line: 6, Column: 7}},
		{"rule B: flip evt.type in (read, pread)", "for readers", ruleset.Position{File: "e.yaml", Line: 7, Column: 7}},
		{"rule C: drop a", "declared", ruleset.Position{File: "e.yaml", Line: 8, Column: 32}},
	}, got)
}

func TestExplanationsThatAreNoneAreRefusedWithTheirPlace(t *testing.T) {
	for name, tc := range map[string]struct{ source, want string }{
		"no list":                 {"reason: r\n", "e.yaml:1:1: no list: write entries with the keys reason and mutants"},
		"an entry of text":        {"- r\n", "e.yaml:1:3: an entry is a mapping: write the keys reason and mutants"},
		"an entry without reason": {"- mutants: [\"a: drop b\"]\n", "e.yaml:1:10: an entry needs a reason and at least one of mutants"},
		"an entry without mutant": {"- reason: r\n  mutants: []\n", "e.yaml:1:9: an entry needs a reason and at least one of mutants"},
		"another key":             {"- reason: r\n  mutants: [a]\n  why: b\n", "e.yaml:3:3: write reason with text, and mutants with a list of them"},
		"mutants that are text":   {"- reason: r\n  mutants: a\n", "e.yaml:2:3: write reason with text, and mutants with a list of them\ne.yaml:1:9: an entry needs a reason and at least one of mutants"},
		"a mutant that is a map":  {"- reason: r\n  mutants: [{a: b}]\n", "e.yaml:2:13: a mutant is text: write it in quotes, as stagectl mutate prints it"},
		"a mutant twice":          {"- reason: r\n  mutants: [a, a]\n", "e.yaml:2:16: the mutant is explained above already: take it out"},
		"no YAML":                 {"- [\n", "e.yaml:1:3: read YAML: sequence end token ']' not found"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseExplanations("e.yaml", []byte(tc.source))
			require.EqualError(t, err, tc.want)
		})
	}
}
