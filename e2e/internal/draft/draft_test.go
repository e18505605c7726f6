package draft

import (
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

func came(rule string, capture int, fields map[string]any) verdict.Alert {
	return verdict.Alert{Capture: capture, Alert: alert.Alert{Rule: rule, Priority: "Warning", Time: time.Unix(1, 0), OutputFields: fields}}
}

var (
	sent   = came("Egress", 1, map[string]any{"baseline.workload": "shop/web", "staging.peer": "203.0.113.10:8080", "staging.external_bytes": json.Number("22564009")})
	staged = came("Local", 1, map[string]any{"baseline.workload": "shop/web", "staging.peer": nil, "staging.location": "tmp", "staging.dir": "/tmp/.x"})
)

// rewrite drafts every case of a file that does not hold for the alerts.
func rewrite(t *testing.T, source string, alerts ...verdict.Alert) (string, error) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.scap"), nil, 0o600))
	file := filepath.Join(dir, "case.yaml")
	found, err := cases.Parse(file, []byte(source))
	require.NoError(t, err)
	var changes []Change
	for _, c := range found {
		if v := verdict.Compare(c.Expect, alerts); c.Draft || !v.Passed() {
			changes = append(changes, Change{c, v, alerts})
		}
	}
	out, err := Rewrite(file, []byte(source), changes)
	return string(out), err
}

func TestADraftChangesNothingElse(t *testing.T) {
	for _, tc := range []struct {
		name         string
		source, want string
		alerts       []verdict.Alert
	}{
		{"an empty list keeps the comment behind it", `# head
name: n
expect: [] # silence
capture: a.scap  # ü
`, `# head
name: n
expect: # silence
  - rule: Egress
    priority: WARNING
    fields:
      baseline.workload: shop/web
      staging.peer: 203.0.113.10:8080
      staging.external_bytes: {min: 20MB}
capture: a.scap  # ü
`, []verdict.Alert{sent}},
		{"a new case gets its expect at its end", `- name: n
  capture: a.scap
  # the end

# of the next
- name: m
  capture: a.scap
  expect: []
`, `- name: n
  capture: a.scap
  expect: []
  # the end

# of the next
- name: m
  capture: a.scap
  expect: []
`, nil},
		{"a new case at the end of a file without a line end", "name: n\ncapture: a.scap", "name: n\ncapture: a.scap\nexpect: []", nil},
		{"what holds stays, what differs is drafted, what did not come goes, what is new comes last", `name: n
capture: a.scap
expect:
  # first
  - rule: Local   # holds
    fields: {staging.dir: "/tmp/.x"}
  # second
  - rule: Egress
    fields:
      staging.peer: 10.0.0.1:1

  - rule: Gone
    fields:
      a: |
        # text

        of two lines
  # last
description: >-
  text
`, `name: n
capture: a.scap
expect:
  # first
  - rule: Local   # holds
    fields: {staging.dir: "/tmp/.x"}
  # second
  - rule: Egress
    priority: WARNING
    fields:
      baseline.workload: shop/web
      staging.peer: 203.0.113.10:8080
      staging.external_bytes: {min: 20MB}

  - rule: Other
    priority: WARNING
    fields:
      proc.name: "12"
  # last
description: >-
  text
`, []verdict.Alert{staged, sent, came("Other", 1, map[string]any{"proc.name": "12"})}},
		{"entries that lie at the key's own column", `name: n
expect:
- rule: Gone
- rule: Egress
capture: a.scap
`, `name: n
expect:
- rule: Egress
capture: a.scap
`, []verdict.Alert{sent}},
		{"nothing is left", "name: n\nexpect: # none\n  - rule: Gone\ncapture: a.scap\n", "name: n\nexpect: [] # none\ncapture: a.scap\n", nil},
		{"more than an entry allows is counted, with the bounds of the least", `name: n
capture: a.scap
expect:
  - rule: Egress
`, `name: n
capture: a.scap
expect:
  - rule: Egress
    priority: WARNING
    count: 2
    fields:
      baseline.workload: shop/web
      staging.peer: 203.0.113.10:8080
      staging.external_bytes: {min: 3MB}
`, []verdict.Alert{sent, came("Egress", 1, map[string]any{"baseline.workload": "shop/web", "staging.peer": "203.0.113.10:8080", "staging.external_bytes": json.Number("3999999")})}},
		{"fewer than an entry wants", `name: n
capture: a.scap
expect:
  - rule: Local
    count: {min: 2}
`, `name: n
capture: a.scap
expect:
  - rule: Local
    priority: WARNING
    fields:
      baseline.workload: shop/web
      staging.location: tmp
      staging.dir: /tmp/.x
`, []verdict.Alert{staged}},
		{"alerts of one kind are one entry, those of two captures are two", `name: n
capture: [a.scap, a.scap]
expect: []
`, `name: n
capture: [a.scap, a.scap]
expect:
  - rule: R
    priority: WARNING
    capture: 1
    count: 2
  - rule: R
    priority: WARNING
    capture: 2
`, []verdict.Alert{came("R", 1, nil), came("R", 1, nil), came("R", 2, nil)}},
		{"a case on one line stays on it", `- {name: n, capture: a.scap, expect: [{rule: Local, count: 1}]} # one
- {name: m, capture: a.scap, expect: [{rule: Egress}, {rule: Local}]}
- {name: o, capture: a.scap} # three
`, `- {name: n, capture: a.scap, expect: [{rule: Local, count: 1}, {rule: Egress, priority: WARNING, fields: {baseline.workload: shop/web, staging.peer: 203.0.113.10:8080, staging.external_bytes: {min: 20MB}}}]} # one
- {name: m, capture: a.scap, expect: [{rule: Egress}, {rule: Local}]}
- {name: o, capture: a.scap, expect: [{rule: Local, priority: WARNING, fields: {baseline.workload: shop/web, staging.location: tmp, staging.dir: /tmp/.x}}, {rule: Egress, priority: WARNING, fields: {baseline.workload: shop/web, staging.peer: 203.0.113.10:8080, staging.external_bytes: {min: 20MB}}}]} # three
`, []verdict.Alert{staged, sent}},
		{"line ends of Windows stay", "name: n\r\ncapture: a.scap\r\nexpect: []\r\n",
			"name: n\r\ncapture: a.scap\r\nexpect:\r\n  - rule: R\r\n    priority: WARNING\r\n", []verdict.Alert{came("R", 1, nil)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := rewrite(t, tc.source, tc.alerts...)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
			again, err := rewrite(t, got, tc.alerts...)
			require.NoError(t, err)
			assert.Equal(t, got, again, "a draft holds")
		})
	}
}

func TestTheTextOfAlertsIsQuotedWhereItMustBe(t *testing.T) {
	for _, text := range []string{"/tmp/.x", "12", "true", "null", "~", "a: b", "a #b", "{a}", "x\ny", "\x1b[2J", "*", `"q"`, "it's", "ü", " x", "2026-11-25", "0x1F", "a,b", "<>&", "[::1]:80", "::1"} {
		got, err := rewrite(t, "name: n\ncapture: a.scap\nexpect: []\n", came("R", 1, map[string]any{"staging.dir": text}))
		require.NoError(t, err, text)
		assert.Contains(t, got, "staging.dir: ", text)
	}
	assert.Equal(t, "203.0.113.10:8080", scalar("203.0.113.10:8080"))
	assert.Equal(t, `"12"`, scalar("12"))
}

func TestVolumesAreRoundedDownToOneDigit(t *testing.T) {
	for numBytes, want := range map[string]string{
		"999999": "", "1000000": "{min: 1MB}", "22564009": "{min: 20MB}", "199999999": "{min: 100MB}", "18446744073709551615": "{min: 10000000000000MB}",
	} {
		n, ok := new(big.Float).SetPrec(128).SetString(numBytes)
		require.True(t, ok)
		assert.Equal(t, want, atLeast(n), numBytes)
	}
}

func TestACaseThatCannotBeDraftedLeavesTheFile(t *testing.T) {
	// An alert that no entry can name: its priority is none of Falco's.
	a := came("R", 1, nil)
	a.Priority = "Strange"
	_, err := rewrite(t, "name: n\ncapture: a.scap\nexpect: []\n", a)
	require.ErrorContains(t, err, "write their expect by hand")
	assert.True(t, strings.HasPrefix(err.Error(), "draft the cases of "), err)
}
