package once_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/once"
)

func TestParse(t *testing.T) {
	for arg, want := range map[string]once.Key{
		"mine":             {Name: "mine"},
		"mine/6h":          {Name: "mine", Interval: 6 * time.Hour},
		"mine/workload":    {Name: "mine", Shared: true},
		"mine/6h/workload": {Name: "mine", Interval: 6 * time.Hour, Shared: true},
		"workload":         {Name: "workload"},
	} {
		got, err := once.Parse(arg)
		require.NoError(t, err, arg)
		assert.Equal(t, want, got, arg)
	}
	for arg, want := range map[string]string{
		"":                  "staging.once needs a key: write staging.once[mine], or staging.once[mine/1h] for an interval of its own",
		"/6h":               "staging.once needs a key: write staging.once[mine], or staging.once[mine/1h] for an interval of its own",
		"mine/":             `staging.once[mine/]: "" is no interval: write one such as 30m or 6h`,
		"mine/2d":           `staging.once[mine/2d]: "2d" is no interval: write one such as 30m or 6h`,
		"mine/-1h":          `staging.once[mine/-1h]: "-1h" is no interval: write one such as 30m or 6h`,
		"mine/6h/node":      `staging.once[mine/6h/node]: "node" says not whom the key is kept for: write workload where the containers of a workload share it, or nothing`,
		"mine/workload/6h":  `staging.once[mine/workload/6h]: "workload" is no interval: write one such as 30m or 6h`,
		"mine/6h/workload/": `staging.once[mine/6h/workload/]: "workload/" says not whom the key is kept for: write workload where the containers of a workload share it, or nothing`,
	} {
		_, err := once.Parse(arg)
		assert.EqualError(t, err, want, arg)
	}
}
