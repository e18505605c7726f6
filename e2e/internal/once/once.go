// Package once knows staging.once, the field with a memory: it is true the first time that it is asked in an interval. The memory is
// kept by key, for a container or, where the argument says so, for all containers of a workload that have the same image and access.
package once

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Field is its name.
const Field = "staging.once"

// In reports whether an expression asks it.
func In(e filter.Expr) bool {
	return slices.ContainsFunc(filter.Fields(e), func(f *filter.Field) bool { return f.Name == Field })
}

// Apart is a check that keeps its memory apart from those of other owners: its key is the owner's. What asks another field is as it was.
func Apart(c *filter.Check, owner int) *filter.Check {
	f, ok := c.Left.(*filter.Field)
	if !ok || f.Name != Field {
		return c
	}
	own, check := *f, *c
	own.Arg = strconv.Itoa(owner) + "#" + own.Arg // an interval and whom it is kept for stand at the end
	check.Left = &own
	return &check
}

// perWorkload ends an argument whose key is kept for a workload.
const perWorkload = "workload"

// Key is its argument: NAME, NAME/INTERVAL, NAME/workload or NAME/INTERVAL/workload.
type Key struct {
	Name     string
	Interval time.Duration // 0 for once_interval
	Shared   bool          // by the containers of a workload
}

// Parse reads an argument. Whether the plugin takes so long or short an interval it does not say.
func Parse(arg string) (Key, error) {
	name, rest, more := strings.Cut(arg, "/")
	if name == "" {
		return Key{}, fmt.Errorf("%s needs a key: write %s[mine], or %s[mine/1h] for an interval of its own", Field, Field, Field)
	}
	k := Key{Name: name}
	if !more {
		return k, nil
	}
	interval, scope, scoped := strings.Cut(rest, "/")
	if interval == perWorkload && !scoped {
		k.Shared = true
		return k, nil
	}
	var err error
	if k.Interval, err = time.ParseDuration(interval); err != nil || k.Interval <= 0 {
		return Key{}, fmt.Errorf("%s[%s]: %q is no interval: write one such as 30m or 6h", Field, arg, interval)
	}
	if k.Shared = scoped; scoped && scope != perWorkload {
		return Key{}, fmt.Errorf("%s[%s]: %q says not whom the key is kept for: write %s where the containers of a workload share it, or nothing",
			Field, arg, scope, perWorkload)
	}
	return k, nil
}
