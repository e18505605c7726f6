package attack_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/falco-datastaging/datastaging/e2e/internal/attack"
)

// The figures and names are those of https://attack.mitre.org/versions/v18/techniques/enterprise/.
func TestEnterpriseIsWhole(t *testing.T) {
	m := attack.Enterprise()
	techniques, tactics := 0, map[string]bool{}
	for id, v := range m {
		assert.Equal(t, id, v.ID)
		assert.True(t, attack.IsID(id), id)
		assert.False(t, strings.HasPrefix(v.Name, ": "), "%s has no parent", id)
		assert.NotEmpty(t, v.Tactics, id)
		for _, tactic := range v.Tactics {
			tactics[tactic] = true
			assert.True(t, m.HasTactic(tactic))
		}
		if !strings.Contains(id, ".") {
			techniques++
		}
	}
	assert.Equal(t, 216, techniques)
	assert.Len(t, m, 216+475)
	assert.Len(t, tactics, 14)
	assert.False(t, m.HasTactic("theft"))
}

func TestSubTechniquesCarryTheNameOfTheirParent(t *testing.T) {
	m := attack.Enterprise()
	assert.Equal(t, attack.Technique{ID: "T1074.002", Name: "Data Staged: Remote Data Staging", Tactics: []string{"collection"}}, m["T1074.002"])
	assert.Equal(t, "Archive Collected Data", m["T1560"].Name)
	assert.ElementsMatch(t, []string{"defense_evasion", "persistence", "privilege_escalation", "initial_access"}, m["T1078"].Tactics)
	assert.NotContains(t, m, "T1022", "revoked by T1560")
}

func TestIDs(t *testing.T) {
	for text, want := range map[string]bool{
		"T1074": true, "T1074.001": true, "T107": false, "T1074.1": false, "t1074": false, "T1074.001x": false, "Txxxx": false,
	} {
		assert.Equal(t, want, attack.IsID(text), text)
	}
}
