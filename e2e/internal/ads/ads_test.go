package ads_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ads"
)

const text = `# A Rule

## Goal

To be read.

## Categorization

- ATT&CK: T1041 (Exfiltration Over C2 Channel), T1074.001 (Data Staged: Local Data
  Staging)
- Tactic: Collection (TA0009)

## Priority

NOTICE

For hunting.
`

func TestDocumentsAreSplitAtTheirHeadings(t *testing.T) {
	d := ads.Parse(text)
	assert.Equal(t, "A Rule", d.Title)
	assert.Equal(t, []ads.Heading{{Text: "Goal", Line: 3}, {Text: "Categorization", Line: 7}, {Text: "Priority", Line: 13}}, d.Headings)
	assert.Equal(t, "To be read.", d.Section("Goal"))
	assert.Empty(t, d.Section("Response"))
	assert.Equal(t, 13, d.Line("Priority"))
	assert.Equal(t, 1, d.Line("Response"))
	assert.Equal(t, []ads.Technique{{"T1041", "Exfiltration Over C2 Channel"}, {"T1074.001", "Data Staged: Local Data Staging"}}, d.Techniques())
	assert.Equal(t, "Collection (TA0009)", d.Tactic())
	assert.Equal(t, "NOTICE", d.Priority())
}

func TestDocumentsAreNamedAfterTheirRules(t *testing.T) {
	assert.Equal(t, "egress-of-staged-data.md", ads.FileName("Egress of Staged Data"))
	_, err := ads.Read(t.TempDir(), "Egress of Staged Data")
	require.ErrorContains(t, err, "read document: ")
}
