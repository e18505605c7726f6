package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/falco-datastaging/datastaging/e2e/internal/once"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// withOwnKeys parses conditions and gives each keys of its own: those that are asked in one process must not share a key of the
// field with a memory.
func withOwnKeys(conditions []string) ([]filter.Expr, error) {
	out := make([]filter.Expr, len(conditions))
	for i, c := range conditions {
		e, err := filter.Parse(c)
		if err != nil {
			return nil, fmt.Errorf("read the condition %s: %w", c, err)
		}
		for _, check := range filter.Checks(e) {
			*check = *once.Apart(check, i)
		}
		out[i] = e
	}
	return out, nil
}

// Met asks for all conditions in one pass, in which each is noted the first time that it is met, or in as few as their length allows.
func (s *Sysdig) Met(ctx context.Context, req Request, conditions []string) ([]bool, error) {
	in, err := open(ctx, req, s.libs, s.audit, s.log)
	if err != nil {
		return nil, err
	}
	defer in.clean()
	if in.cut != nil {
		return nil, in.cut
	}
	own, err := withOwnKeys(conditions)
	if err != nil {
		return nil, err
	}
	req.Limit = 1
	replay, err := s.start(in, req)
	if err != nil {
		return nil, err
	}
	defer replay.clean()
	met := make([]bool, len(own))
	return met, replay.met(ctx, own, met)
}

// met says in out which conditions are met.
func (r *sysdigReplay) met(ctx context.Context, conditions []filter.Expr, out []bool) error {
	if len(conditions) == 0 {
		return nil
	}
	asked := witnessed(conditions)
	if len(conditions) > 1 && len(asked) > maxArg {
		half := len(conditions) / 2
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return r.met(ctx, conditions[:half], out[:half]) })
		group.Go(func() error { return r.met(ctx, conditions[half:], out[half:]) })
		return group.Wait()
	}
	open := len(conditions)
	err := r.pass(ctx, asked, "%"+fieldWhich, false, func(lines *bufio.Reader) error {
		for scan := bufio.NewScanner(lines); ; {
			if !scan.Scan() {
				return scan.Err()
			}
			which, err := parseWhich(scan.Text(), len(conditions))
			if err != nil {
				return err
			}
			for _, i := range which {
				out[i] = true
			}
			if open -= len(which); open == 0 {
				return errEnough
			}
		}
	})
	if err != nil {
		return fmt.Errorf("ask which conditions are met: %w", err)
	}
	return nil
}

// Met asks for all conditions at once, each as a rule. That most of them are met by thousands of events is no matter: a rule is
// let fire once per container.
func (f *Falco) Met(ctx context.Context, req Request, conditions []string) ([]bool, error) {
	own, err := withOwnKeys(conditions)
	if err != nil {
		return nil, err
	}
	type rule struct {
		Rule      string `json:"rule"`
		Desc      string `json:"desc"`
		Source    string `json:"source"`
		Condition string `json:"condition"`
		Output    string `json:"output"`
		Priority  string `json:"priority"`
		Warn      bool   `json:"warn_evttypes"`
	}
	source := SourceOf(req.Capture)
	rules := make([]rule, len(own))
	for i, e := range own {
		c := e.String()
		if req.Plugin != "" {
			c = "(" + c + ") and " + once.Field + "[met#" + strconv.Itoa(i) + "] = true"
		}
		rules[i] = rule{Rule: strconv.Itoa(i), Desc: "is it met", Source: source, Condition: c, Output: "met", Priority: "DEBUG"}
	}
	text, err := json.Marshal(rules) // which YAML includes
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "datastaging-falco-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "rules.yaml")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return nil, err
	}
	if req, err = borrowing(req, dir); err != nil {
		return nil, err
	}
	req.Rules, req.Log = []string{path}, io.Discard
	alerts, err := f.Replay(ctx, req)
	if err != nil {
		return nil, err
	}
	met := make([]bool, len(conditions))
	for _, a := range alerts {
		i, err := strconv.Atoi(a.Rule)
		if err != nil || i < 0 || i >= len(met) {
			return nil, fmt.Errorf("read Falco's alert: no rule is named %q", a.Rule)
		}
		met[i] = true
	}
	return met, nil
}

// Met is eng.Met, or what it gave before.
func (c *Cache) Met(ctx context.Context, eng Engine, req Request, conditions []string) ([]bool, error) {
	req.Rules = nil
	if c == nil {
		return eng.Met(ctx, req, conditions)
	}
	k, err := c.key(ctx, eng, req)
	if err != nil {
		return eng.Met(ctx, req, conditions)
	}
	met := make([]bool, len(conditions))
	var missing []int
	var ask []string
	entry := func(condition string) string { return key{k.inputs + " met " + condition, k.state}.sum() }
	for i, condition := range conditions {
		data, ok := c.dir.Get(entry(condition))
		if ok && json.Unmarshal(data, &met[i]) == nil {
			continue
		}
		missing = append(missing, i)
		ask = append(ask, condition)
	}
	if len(ask) == 0 {
		return met, nil
	}
	asked, err := eng.Met(ctx, req, ask)
	if err != nil {
		return nil, err
	}
	now, err := c.key(ctx, eng, req)
	keep := err == nil && now == k
	for j, i := range missing {
		met[i] = asked[j]
		if keep {
			keep = c.dir.Put(entry(conditions[i]), strconv.AppendBool(nil, asked[j])) == nil
		}
	}
	return met, nil
}
