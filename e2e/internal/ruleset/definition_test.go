package ruleset

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

func TestDefinitionsTellWhatAnEntryDoes(t *testing.T) {
	const base = `- list: l
  items: [a, b]
- macro: m
  condition: (evt.type = open)
- rule: r
  desc: d
  condition: m and proc.name in (l)
  output: o
  priority: INFO
  tags: [b, a]
`
	for _, tt := range []struct {
		name, text string
		want       Definition // but for Pos
	}{
		{"a new macro", "- macro: n\n  condition: m\n", Definition{Kind: "macro", Name: "n"}},
		{"a macro of a known name", "- macro: m\n  condition: evt.type = close\n", Definition{Kind: "macro", Name: "m", Known: true}},
		{"a macro that replaces", "- macro: m\n  condition: evt.type = close\n  override: {condition: replace}\n",
			Definition{Kind: "macro", Name: "m", Known: true, Replaces: true}},
		{"a macro that replaces what it was, in other lines", "- macro: m\n  condition: >\n    (evt.type\n    = open)\n  override: {condition: replace}\n",
			Definition{Kind: "macro", Name: "m", Known: true, Replaces: true, Unchanged: []string{"condition"}}},
		{"a macro that replaces nothing", "- macro: mm\n  condition: evt.type = close\n  override: {condition: replace}\n",
			Definition{Kind: "macro", Name: "mm", Replaces: true}},
		{"a macro that appends", "- macro: m\n  condition: and a.b = 1\n  override: {condition: append}\n",
			Definition{Kind: "macro", Name: "m", Known: true, Appends: true}},
		{"a list that replaces what it was", "- list: l\n  items: [a, b]\n  override: {items: replace}\n",
			Definition{Kind: "list", Name: "l", Known: true, Replaces: true, Unchanged: []string{"items"}}},
		{"a list that appends", "- list: l\n  items: [a, b]\n  override: {items: append}\n",
			Definition{Kind: "list", Name: "l", Known: true, Appends: true}},
		{"a rule that is changed in part", "- rule: r\n  desc: e\n  priority: informational\n  tags: [a, b]\n  override: {desc: append, priority: replace, tags: replace}\n",
			Definition{Kind: "rule", Name: "r", Known: true, Appends: true, Replaces: true, Unchanged: []string{"priority", "tags"}}},
		{"a rule that is switched off", "- rule: r\n  enabled: false\n  override: {enabled: replace}\n",
			Definition{Kind: "rule", Name: "r", Known: true, Replaces: true}},
		{"a rule of a known name", ruleText("evt.type = open"), Definition{Kind: "rule", Name: "r", Known: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parse(base, tt.text)
			require.NoError(t, err)
			require.Len(t, s.Definitions, 4)
			got := s.Definitions[3]
			assert.Equal(t, Position{"b.yaml", 1, 3}, got.Pos)
			got.Pos = Position{}
			assert.ElementsMatch(t, tt.want.Unchanged, got.Unchanged)
			got.Unchanged = tt.want.Unchanged
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestTreesAndTagsKnowTheirPlaces(t *testing.T) {
	s, err := parse(`- list: l
  items: [a, b]
- macro: m
  condition: >
    evt.type = open
    and proc.name in (l)
- rule: r
  desc: d
  condition: m
  output: to %proc.name
  priority: INFO
  tags: [z, y]
`, `- rule: r
  condition: and fd.name = x
  output: at %fd.name
  tags: [a]
  override: {condition: append, output: append, tags: append}
`)
	require.NoError(t, err)
	require.Len(t, s.Macros(), 1)
	m := s.Macros()[0]
	checks := filter.Checks(m.Body)
	require.Len(t, checks, 2)
	assert.Equal(t, "proc.name in (a, b)", checks[1].String())
	assert.Equal(t, "a.yaml:6:9", m.ConditionAt(checks[1].At).String())
	assert.Equal(t, []List{{"l", []string{"a", "b"}, Position{"a.yaml", 1, 3}}}, s.Lists())

	r, ok := s.Rule("r")
	require.True(t, ok)
	body, ok := r.Body.(*filter.And)
	require.True(t, ok)
	require.Len(t, body.Terms, 2)
	assert.Equal(t, "m", body.Terms[0].String(), "macros stay")
	assert.Equal(t, "a.yaml:9:14", r.ConditionAt(body.Terms[0].Offset()).String())
	assert.Equal(t, "b.yaml:2:18", r.ConditionAt(body.Terms[1].Offset()).String())
	assert.Equal(t, []Tag{{"z", Position{"a.yaml", 12, 10}}, {"y", Position{"a.yaml", 12, 13}}, {"a", Position{"b.yaml", 4, 10}}}, r.TagsInOrder)
	assert.Equal(t, []string{"a", "y", "z"}, r.Tags)
	var fields []string
	for _, token := range r.Format {
		if token.Field != "" {
			fields = append(fields, token.Field+" "+r.OutputAt(token.At).String())
		}
	}
	assert.Equal(t, []string{"proc.name a.yaml:10:14", "fd.name b.yaml:3:14"}, fields)
}

func TestBlanksBehindAPlainValueDoNotMoveIt(t *testing.T) {
	s, err := parse("- rule: r\n  desc: d\n  condition: evt.type = open and proc.name = sh  \n  output: o\n  priority: INFO\n")
	require.NoError(t, err)
	r, ok := s.Rule("r")
	require.True(t, ok)
	assert.Equal(t, "a.yaml:3:14", r.ConditionAt(0).String())
	assert.Equal(t, "a.yaml:3:34", r.ConditionAt(filter.Checks(r.Body)[1].At).String())
}
