package fields_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/fields"
	"github.com/falco-datastaging/datastaging/plugin/internal/measure"
)

const now = uint64(1_795_453_342_000_000_000) // ns since the epoch

func newView(t *testing.T) *fields.View {
	r, err := measure.New(measure.Config{Window: time.Minute, OnceInterval: time.Minute, PhaseBytes: 1, MaxContainers: 16})
	require.NoError(t, err)
	c := &attribute.Container{ID: "367a841b0e49", Workload: "shop/web/web"}
	cfg := baseline.DefaultConfig()
	cfg.Node = "test"
	store, _, err := baseline.Open(cfg, "")
	require.NoError(t, err)
	return &fields.View{
		Now: now, Window: time.Minute, Container: c, Posture: &c.Posture, Account: r.Account(c), Accounts: r,
		Entries: func() []measure.Entry { return nil }, Baseline: store.View(c.Workload, now),
	}
}

func byName(t *testing.T, name string) *fields.Field {
	for _, f := range fields.Catalogue() {
		if f.Name == name {
			return &f
		}
	}
	require.Fail(t, "no field "+name)
	return nil
}

func TestEveryFieldAnswersOnAnEventThatMovedNothing(t *testing.T) {
	v := newView(t)
	for _, f := range fields.Catalogue() {
		t.Run(f.Name, func(t *testing.T) {
			key := map[fields.ArgKind]string{fields.KeyArg: "k", fields.MetricArg: "egress_bytes", fields.DimensionArg: "peer"}[f.Arg]
			value, ok := f.Value(v, key, key != "")
			require.True(t, ok)
			switch f.Type {
			case "uint64":
				switch f.Name {
				case "staging.location_bytes":
					assert.Nil(t, value, "the event has no file")
				case "baseline.typical", "baseline.deviation", "baseline.ratio":
					assert.Nil(t, value, "nothing was learned")
				default:
					assert.Equal(t, uint64(0), value)
				}
			case "bool":
				if f.Arg == fields.DimensionArg {
					assert.Nil(t, value, "the event has none")
				} else {
					assert.IsType(t, false, value)
				}
			case "reltime":
				assert.Equal(t, time.Duration(0), value)
			case "string":
				if value != nil {
					assert.IsType(t, "", value)
				}
			}
		})
	}
}

func TestNamesThatAreNoTextAreMadeLegible(t *testing.T) {
	v := newView(t)
	v.Container.Workload = "shop/\xff\x1b[31m/wëb\n"
	value, ok := byName(t, "baseline.workload").Value(v, "", false)
	require.True(t, ok)
	assert.Equal(t, "shop/??[31m/wëb?", value)
}

func TestWindowArguments(t *testing.T) {
	v, f := newView(t), byName(t, "staging.bytes")
	for _, arg := range []string{"1s", "30s", "5m", "1h", "1h30m", "24h"} {
		_, ok := f.Value(v, arg, true)
		assert.True(t, ok, arg)
	}
	for _, arg := range []string{"", "5", "m", "1d", "25h", "-5m", "0s", "1ms", "5m ", "ten"} {
		value, ok := f.Value(v, arg, true)
		assert.False(t, ok, "%q", arg)
		assert.Nil(t, value, "%q", arg)
	}
}

func TestOnceNeedsAKey(t *testing.T) {
	v, f := newView(t), byName(t, "staging.once")
	_, ok := f.Value(v, "", false)
	assert.False(t, ok)
	for _, bad := range []string{"/1h", "key/", "key/0s", "key/25h", "key/other", "key/workload/1h", "key/1h/other", "key/1h/workload/1h", "/workload"} {
		_, ok := f.Value(v, bad, true)
		assert.False(t, ok, bad)
	}
	ask := func(key string, after time.Duration) any {
		v.Now = now + uint64(after)
		value, ok := f.Value(v, key, true)
		assert.True(t, ok)
		return value
	}
	assert.Equal(t, true, ask("key", 0))
	assert.Equal(t, true, ask("slow/1h", 0))
	assert.Equal(t, true, ask("key", 2*time.Minute), "the configured interval is over")
	assert.Equal(t, false, ask("slow/1h", 2*time.Minute))
	assert.Equal(t, true, ask("slow/1h", time.Hour))
}

func TestOnceMayBeKeptForAWorkload(t *testing.T) {
	v, f := newView(t), byName(t, "staging.once")
	ask := func(c *attribute.Container, key string) any {
		v.Container, v.Posture, v.Account = c, &c.Posture, v.Accounts.Account(c)
		value, ok := f.Value(v, key, true)
		assert.True(t, ok)
		return value
	}
	first := &attribute.Container{ID: "367a841b0e49", Workload: "shop/web/web", Image: "shop/web"}
	again := &attribute.Container{ID: "9b1f6cbd2a07", Workload: "shop/web/web", Image: "shop/web"}
	other := &attribute.Container{ID: "1c0e4b7f1de2", Workload: "shop/api/api", Image: "shop/web"}
	built := &attribute.Container{ID: "5a3b87d2c90f", Workload: "shop/web/web", Image: "shop/web2"}
	power := &attribute.Container{ID: "77f01ab4e3c5", Workload: "shop/web/web", Image: "shop/web", Posture: attribute.Posture{Privileged: true}}

	assert.Equal(t, true, ask(first, "key/1h/workload"))
	assert.Equal(t, false, ask(again, "key/1h/workload"), "another container of the workload")
	assert.Equal(t, true, ask(again, "key/1h"), "by itself")
	assert.Equal(t, true, ask(again, "other/1h/workload"), "another key")
	used := &attribute.Container{ID: "04ccf1a6d9b8", Workload: "shop/web/web", Image: "shop/web", Posture: attribute.Posture{NodeFiles: true}}
	assert.Equal(t, false, ask(used, "key/1h/workload"), "it uses what none of them was given")
	for _, c := range []*attribute.Container{other, built, power} {
		assert.Equal(t, true, ask(c, "key/1h/workload"), "another workload, image or access")
		assert.Equal(t, false, ask(c, "key/1h/workload"))
	}
	v.Now += uint64(time.Hour)
	assert.Equal(t, true, ask(again, "key/1h/workload"), "the interval is over")
	assert.Equal(t, true, ask(again, "brief/workload"))
	v.Now += uint64(time.Minute)
	assert.Equal(t, true, ask(again, "brief/workload"), "the configured interval is over")
}

func TestTheCatalogueIsWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for i, entry := range fields.Entries(fields.Catalogue()) {
		f := fields.Catalogue()[i]
		assert.False(t, seen[f.Name], "%s twice", f.Name)
		seen[f.Name] = true
		assert.Regexp(t, `^(staging|baseline|posture|audit)\.[a-z_]+$`, f.Name)
		assert.Contains(t, []string{"uint64", "string", "bool", "reltime"}, f.Type, f.Name)
		assert.NotEmpty(t, f.Desc, f.Name)
		assert.False(t, strings.HasSuffix(f.Desc, "."), "%s: lists of fields show it as a phrase", f.Name)
		assert.Equal(t, f.Arg != fields.NoArg, entry.Arg.IsKey, f.Name)
		assert.Equal(t, f.Arg.Required(), entry.Arg.IsRequired, f.Name)
	}
}
