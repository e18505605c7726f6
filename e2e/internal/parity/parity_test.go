package parity

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

func one(rule, event string, fields map[string]any) verdict.Alert {
	all := map[string]any{"evt.num": json.Number(event), "proc.name": "tar"}
	maps.Copy(all, fields)
	return verdict.Alert{Capture: 1, Alert: alert.Alert{
		Rule: rule, Priority: "Notice", Source: "syscall", Hostname: "node", Tags: []string{"a"}, Output: "text of " + event,
		Time: time.Unix(1, 0), OutputFields: all,
	}}
}

func TestAlertsThatAreTheSameAreCounted(t *testing.T) {
	alerts := []verdict.Alert{one("A", "7", nil), one("B", "9", map[string]any{"fd.name": nil})}
	assert.Equal(t, Comparison{Alerts: 2}, Compare(alerts, alerts))
	assert.Equal(t, Comparison{}, Compare(nil, nil))
}

func TestWhatIsKnownIsCountedAndIsNoFailure(t *testing.T) {
	falco := one("A", "7", map[string]any{"container.name": "web", "k8s.ns.name": "shop", "user.name": "<NA>", "container.id": "host"})
	sysdig := one("A", "7", map[string]any{"user.name": "www-data", "container.id": "host"})
	sysdig.Output = "another text, for the user is in it"
	c := Compare([]verdict.Alert{falco, falco}, []verdict.Alert{sysdig, sysdig})
	assert.Nil(t, c.Difference)
	assert.Equal(t, 2, c.Alerts)
	require.Len(t, c.Known, 2)
	assert.Equal(t, []string{"container.name", "k8s.ns.name"}, c.Known[0].Fields)
	assert.Equal(t, 2, c.Known[0].Alerts)
	assert.Equal(t, []string{"user.name"}, c.Known[1].Fields)
}

func TestAKnownFieldThatDiffersOtherwiseIsAFailure(t *testing.T) {
	for _, tc := range []struct {
		name          string
		falco, sysdig map[string]any
		field         string
	}{
		{"two users", map[string]any{"user.name": "root"}, map[string]any{"user.name": "www-data"}, "user.name"},
		{"a user that sysdig does not find", map[string]any{"user.name": "root"}, map[string]any{"user.name": "<NA>"}, "user.name"},
		{"two containers", map[string]any{"container.id": "a"}, map[string]any{"container.id": "host"}, "container.id"},
		{"a container's name that only sysdig has", nil, map[string]any{"container.name": "web"}, "container.name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Compare([]verdict.Alert{one("A", "7", tc.falco)}, []verdict.Alert{one("A", "7", tc.sysdig)})
			require.NotNil(t, c.Difference)
			require.Len(t, c.Difference.Fields, 1)
			assert.Equal(t, tc.field, c.Difference.Fields[0].Name)
			assert.Zero(t, c.Alerts)
		})
	}
}

func TestTheFirstDifferenceIsToldWithBothAlerts(t *testing.T) {
	same := one("A", "7", nil)
	change := func(do func(*verdict.Alert)) verdict.Alert {
		a := one("B", "9", nil)
		do(&a)
		return a
	}
	base := change(func(*verdict.Alert) {})
	for _, tc := range []struct {
		name   string
		sysdig []verdict.Alert
		fields []string
		second bool // sysdig has an alert there
	}{
		{"none there", nil, nil, false},
		{"another event", []verdict.Alert{one("B", "10", nil)}, nil, true},
		{"another rule", []verdict.Alert{one("C", "9", nil)}, nil, true},
		{"another capture", []verdict.Alert{change(func(a *verdict.Alert) { a.Capture = 2 })}, nil, true},
		{"a value", []verdict.Alert{one("B", "9", map[string]any{"proc.name": "cat"})}, []string{"proc.name"}, true},
		{"no value and no field", []verdict.Alert{one("B", "9", map[string]any{"fd.name": nil})}, []string{"fd.name"}, true},
		{"a number and a text", []verdict.Alert{one("B", "9", map[string]any{"proc.name": json.Number("1")})}, []string{"proc.name"}, true},
		{"the text", []verdict.Alert{change(func(a *verdict.Alert) { a.Output = "x" })}, []string{"output"}, true},
		{"everything else", []verdict.Alert{change(func(a *verdict.Alert) {
			a.Priority, a.Source, a.Tags, a.Hostname, a.Time = "Error", "x", nil, "other", time.Unix(2, 0)
		})}, []string{"priority", "source", "tags", "hostname", "time"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Compare([]verdict.Alert{same, base, base}, append([]verdict.Alert{same}, tc.sysdig...))
			require.NotNil(t, c.Difference)
			assert.Equal(t, 1, c.Alerts)
			assert.Equal(t, &base, c.Difference.Falco)
			assert.Equal(t, tc.second, c.Difference.Sysdig != nil)
			assert.Equal(t, []int{3, 1 + len(tc.sysdig)}, []int{c.Difference.NumFalco, c.Difference.NumSysdig})
			var names []string
			for _, f := range c.Difference.Fields {
				names = append(names, f.Name)
			}
			assert.Equal(t, tc.fields, names)
		})
	}
	assert.Equal(t, "no alert", Line(nil))
	assert.Contains(t, Line(&same), `"rule":"A"`)
}
