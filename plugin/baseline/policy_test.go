package baseline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func at(t *testing.T, text string) uint64 {
	t.Helper()
	ts, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return uint64(ts.UnixNano())
}

func TestMaintenanceCovers(t *testing.T) {
	absolute := func(from, to string) Maintenance {
		return Maintenance{Workloads: "**", From: time.Unix(0, int64(at(t, from))), To: time.Unix(0, int64(at(t, to)))}
	}
	newYork, err := time.LoadLocation("America/New_York")
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		m    Maintenance
		ts   string
		want bool
	}{
		{"from is inside", absolute("2026-03-01T02:00:00Z", "2026-03-01T04:00:00Z"), "2026-03-01T02:00:00Z", true},
		{"a minute that ends at from is outside", absolute("2026-03-01T02:00:00Z", "2026-03-01T04:00:00Z"), "2026-03-01T01:59:00Z", false},
		{"a minute that reaches into it is inside", absolute("2026-03-01T02:00:30Z", "2026-03-01T04:00:00Z"), "2026-03-01T02:00:00Z", true},
		{"to is outside", absolute("2026-03-01T02:00:00Z", "2026-03-01T04:00:00Z"), "2026-03-01T04:00:00Z", false},
		{"cron: the start is inside", Maintenance{Workloads: "**", Start: "30 2 * * *", Duration: time.Hour}, "2026-03-01T02:30:00Z", true},
		{"cron: the last minute is inside", Maintenance{Workloads: "**", Start: "30 2 * * *", Duration: time.Hour}, "2026-03-01T03:29:00Z", true},
		{"cron: the end is outside", Maintenance{Workloads: "**", Start: "30 2 * * *", Duration: time.Hour}, "2026-03-01T03:30:00Z", false},
		{"cron: before the start is outside", Maintenance{Workloads: "**", Start: "30 2 * * *", Duration: time.Hour}, "2026-03-01T02:29:00Z", false},
		{"cron: over midnight", Maintenance{Workloads: "**", Start: "0 23 * * 6", Duration: 4 * time.Hour}, "2026-03-01T01:00:00Z", true},
		{"cron: another weekday", Maintenance{Workloads: "**", Start: "0 23 * * 6", Duration: 4 * time.Hour}, "2026-03-02T01:00:00Z", false},
		{"cron: in its own time zone", Maintenance{Workloads: "**", Start: "0 2 * * *", Duration: time.Hour, Location: newYork}, "2026-01-15T07:30:00Z", true},
		{"cron: not in ours", Maintenance{Workloads: "**", Start: "0 2 * * *", Duration: time.Hour, Location: newYork}, "2026-01-15T02:30:00Z", false},
		{"cron: a day that never comes", Maintenance{Workloads: "**", Start: "0 2 31 2 *", Duration: time.Hour}, "2026-03-01T02:30:00Z", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cal, err := newCalendar(c.m)
			require.NoError(t, err)
			for range 2 { // the second time from what is remembered
				assert.Equal(t, c.want, cal.covers(at(t, c.ts), at(t, c.ts)+uint64(time.Minute)))
			}
		})
	}
}

func TestMaintenanceIsTheSameWhateverWasAskedBefore(t *testing.T) {
	m := Maintenance{Workloads: "**", Start: "15 */5 * * *", Duration: 90 * time.Minute}
	remembers, err := newCalendar(m)
	require.NoError(t, err)
	base := at(t, "2026-03-01T00:00:00Z")
	for i := range 5000 {
		ts := base + uint64(i*7919%20000)*uint64(time.Minute) // back and forth
		fresh, err := newCalendar(m)
		require.NoError(t, err)
		require.Equal(t, fresh.covers(ts, ts+1), remembers.covers(ts, ts+1), "minute %d", i)
	}
}

func TestConfigIsRefused(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"without a node", func(c *Config) { c.Node = "" }, "node: want a name that no other node has"},
		{"with an unknown mode", func(c *Config) { c.Mode = 9 }, "mode: want learn, detect or both"},
		{"with a negative duration", func(c *Config) { c.Learning = -1 }, "want durations that are not negative"},
		{"without a least number of windows", func(c *Config) { c.MinWindows = 0 }, "minimum windows: want at least 1"},
		{"without room", func(c *Config) { c.MaxWorkloads = 0 }, "maximum workloads: want at least 1"},
		{"with a drift below one", func(c *Config) { c.Drift.Total = 0.5 }, "drift: 1.25 a month and 0.5 in total are not accepted"},
		{"with a bad glob", func(c *Config) { c.Exclude = []string{"a", "[x"} }, `exclude[1]: "[x" is not a glob`},
		{"with maintenance of nothing", func(c *Config) { c.Maintenance = []Maintenance{{From: now, To: now.Add(1)}} }, `maintenance[0]: workloads: "" is not a glob`},
		{"with a time that ends before it begins", func(c *Config) { c.Maintenance = []Maintenance{{Workloads: "*", From: now, To: now}} }, "want from before to"},
		{"with a bad start", func(c *Config) { c.Maintenance = []Maintenance{{Workloads: "*", Start: "at night", Duration: 1}} }, `maintenance[0]: start: "at night" is not accepted`},
		{"with a zone in the start", func(c *Config) { c.Maintenance = []Maintenance{{Workloads: "*", Start: "TZ=UTC", Duration: 1}} }, "want the time zone in its own key"},
		{"with a start and no duration", func(c *Config) { c.Maintenance = []Maintenance{{Workloads: "*", Start: "@daily"}} }, "duration: 0s is not accepted"},
		{"with both kinds of time", func(c *Config) {
			c.Maintenance = []Maintenance{{Workloads: "*", From: now, To: now.Add(1), Start: "@daily", Duration: 1}}
		}, "both a start and from or to are set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig()
			c.change(&cfg)
			_, _, err := Open(cfg, "")
			assert.ErrorContains(t, err, c.want)
		})
	}
}
