// Package sweep tries values of thresholds on labelled cases without replaying them again. The captures of a case, of system
// calls or of audit events, are replayed once, one after the other, with the thresholds taken out of each rule; what is kept of that is enough to tell the alerts at every point of a grid that
// was fixed before. Thresholds that meet in a rule, or over several rules, form a group and are tried together; groups do not
// touch each other's rules, so their joint grid needs nothing more than theirs.
package sweep

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/threshold"
)

// Point is one setting of everything that is tried.
type Point struct {
	Values   []uint64      // of all thresholds of the grid
	Interval time.Duration // once_interval; 0 for what the replay was configured with
}

// Grid is what is tried.
type Grid struct {
	Thresholds []threshold.Threshold
	Rules      []*threshold.Rule
	Groups     []Group
	Shipped    Point

	projected [][]Point // by rule: the distinct points of the grid with the values of its own thresholds alone
}

// Group is thresholds that rules share, and those rules.
type Group struct {
	Thresholds []int   // indexes in the grid
	Rules      []int   // indexes in the grid
	Joint      []Point // every combination of the values that the bound on points leaves; Shipped among them
	Tried      []int   // values for each of Thresholds in Joint
}

// Intervals of staging.once that are tried at the shipped thresholds.
var Intervals = []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 24 * time.Hour}

// jointFactors are what Joint is made of, the finest first, where fewer must do.
var jointFactors = [][]float64{threshold.Factors, {0.25, 0.5, 1, 2, 4}, {0.5, 1, 2}, {1}}

// NewGrid makes the grid of the rules' thresholds. No group gets more than maxPoints joint points.
func NewGrid(set *ruleset.Set, maxPoints int) (*Grid, error) {
	g := &Grid{Thresholds: threshold.Find(set)}
	for _, t := range g.Thresholds {
		g.Shipped.Values = append(g.Shipped.Values, t.Value)
	}
	for _, r := range threshold.Rules(set) {
		rule, err := threshold.Compile(r, g.Thresholds)
		if err != nil {
			return nil, err
		}
		g.Rules = append(g.Rules, rule)
	}
	g.group(maxPoints)
	g.project()
	return g, nil
}

// group joins the thresholds of each rule, and rules that share one.
func (g *Grid) group(maxPoints int) {
	for i, rule := range g.Rules {
		if len(rule.Uses) == 0 {
			continue
		}
		joined := Group{Thresholds: slices.Clone(rule.Uses), Rules: []int{i}}
		g.Groups = slices.DeleteFunc(g.Groups, func(other Group) bool {
			shares := slices.ContainsFunc(other.Thresholds, func(t int) bool { return slices.Contains(rule.Uses, t) })
			if shares {
				joined.Thresholds = append(joined.Thresholds, other.Thresholds...)
				joined.Rules = append(joined.Rules, other.Rules...)
			}
			return shares
		})
		slices.Sort(joined.Thresholds)
		joined.Thresholds = slices.Compact(joined.Thresholds)
		slices.Sort(joined.Rules)
		g.Groups = append(g.Groups, joined)
	}
	slices.SortFunc(g.Groups, func(a, b Group) int { return cmp.Compare(a.Thresholds[0], b.Thresholds[0]) })
	for i := range g.Groups {
		g.join(&g.Groups[i], maxPoints)
	}
}

// join makes the group's joint points from as many values of each threshold as the bound leaves.
func (g *Grid) join(group *Group, maxPoints int) {
	for _, factors := range jointFactors {
		candidates := make([][]uint64, len(group.Thresholds))
		points := 1
		for i, t := range group.Thresholds {
			candidates[i] = threshold.Scale(g.Thresholds[t].Value, factors)
			points *= len(candidates[i])
		}
		if points > maxPoints && len(factors) > 1 {
			continue
		}
		group.Joint = []Point{g.Shipped}
		group.Tried = nil
		for i, t := range group.Thresholds {
			group.Tried = append(group.Tried, len(candidates[i]))
			var wider []Point
			for _, p := range group.Joint {
				for _, value := range candidates[i] {
					wider = append(wider, p.With(t, value))
				}
			}
			group.Joint = wider
		}
		return
	}
}

// With is the point with one value changed.
func (p Point) With(threshold int, value uint64) Point {
	p.Values = slices.Clone(p.Values)
	p.Values[threshold] = value
	return p
}

// Equal tells whether two points are the same.
func (p Point) Equal(other Point) bool {
	return p.Interval == other.Interval && slices.Equal(p.Values, other.Values)
}

// Single are the points that differ from a point in one threshold alone, one for each candidate, ascending.
func (g *Grid) Single(at Point, threshold int) []Point {
	var points []Point
	for _, value := range g.Thresholds[threshold].Candidates {
		points = append(points, at.With(threshold, value))
	}
	return points
}

// OnceIntervals are the points that differ from the shipped one in once_interval.
func (g *Grid) OnceIntervals() []Point {
	var points []Point
	for _, interval := range Intervals {
		points = append(points, Point{Values: g.Shipped.Values, Interval: interval})
	}
	return points
}

// own are the values of a rule's own thresholds at a point.
func (g *Grid) own(rule int, p Point) Point {
	own := Point{Interval: p.Interval, Values: make([]uint64, len(g.Rules[rule].Uses))}
	for i, t := range g.Rules[rule].Uses {
		own.Values[i] = p.Values[t]
	}
	return own
}

// project lists for each rule the points that it can tell apart.
func (g *Grid) project() {
	g.projected = make([][]Point, len(g.Rules))
	seen := make([]map[string]bool, len(g.Rules))
	add := func(rule int, p Point) {
		own := g.own(rule, p)
		key := fmt.Sprint(own)
		if seen[rule] == nil {
			seen[rule] = map[string]bool{}
		}
		if !seen[rule][key] {
			seen[rule][key] = true
			g.projected[rule] = append(g.projected[rule], own)
		}
	}
	for i := range g.Rules {
		add(i, g.Shipped)
		for _, p := range g.OnceIntervals() {
			add(i, p)
		}
	}
	for _, group := range g.Groups {
		for _, i := range group.Rules {
			for _, t := range group.Thresholds {
				for _, p := range g.Single(g.Shipped, t) {
					add(i, p)
				}
			}
			for _, p := range group.Joint {
				add(i, p)
			}
		}
	}
}

// Case is what is labelled: a capture, or several that follow each other.
type Case struct {
	Name     string
	Attack   bool
	Interval time.Duration // once_interval that it is replayed with

	Candidates, Kept uint64 // events that could fire with the most permissive values, and those that were kept
	replays          []replay
}

// Span is the time of a capture.
type Span struct {
	Begin, End time.Time
	Hours      float64 // that it stands for, on one node; 0 for its length
}

// replay is one capture of a case.
type replay struct {
	source string
	begin  time.Time
	before time.Duration // of the captures before it
	length time.Duration
	hours  float64
	traces [][]threshold.Event // by rule; those of another source have none
}

// Replay runs the next capture of a case, that of req, which holds events of a source, through the engine, and keeps what the grid needs.
func (g *Grid) Replay(ctx context.Context, eng engine.Engine, req engine.Request, c *Case, source string, span Span) error {
	r := replay{
		source: source, begin: span.Begin, length: span.End.Sub(span.Begin), hours: span.Hours, traces: make([][]threshold.Event, len(g.Rules)),
	}
	if r.hours == 0 {
		r.hours = r.length.Hours()
	}
	for _, earlier := range c.replays {
		r.before += earlier.length
	}
	var queries []engine.Query
	var asked []int // the rule of each query
	var thinners []*thinner
	for i, rule := range g.Rules {
		if rule.Source == source {
			queries, asked = append(queries, rule.Query), append(asked, i)
			thinners = append(thinners, newThinner(rule, g.projected[i], c.Interval))
		}
	}
	err := eng.Ask(ctx, req, queries, func(i int, s engine.Sample) error {
		event, err := g.Rules[asked[i]].Event(s)
		if err == nil {
			thinners[i].add(event)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("replay %s: %w", c.Name, err)
	}
	for i, t := range thinners {
		r.traces[asked[i]] = t.kept
		c.Candidates += t.seen
		c.Kept += uint64(len(t.kept))
	}
	c.replays = append(c.replays, r)
	return nil
}

// hours are how many a case stands for where rules of some sources are asked; it is not ok where none of its captures has events of
// these.
func (c *Case) hours(sources []string) (hours float64, ok bool) {
	for _, r := range c.replays {
		if slices.Contains(sources, r.source) {
			hours += r.hours
			ok = true
		}
	}
	return hours, ok
}

// Alert is one of a rule in a case.
type Alert struct {
	threshold.Event
	Capture int           // of the case, from 1
	After   time.Duration // the case's begin, in the time of its captures
}

// Alerts are those of a rule at a point of the grid, in the order of the captures and their events. staging.once remembers nothing
// from one capture to the next.
func (g *Grid) Alerts(c *Case, rule int, p Point) []Alert {
	r, own := g.Rules[rule], g.own(rule, p)
	interval := cmp.Or(r.Interval, p.Interval, c.Interval)
	var alerts []Alert
	for n, one := range c.replays {
		spent := map[string]time.Time{}
		for i := range one.traces[rule] {
			event := &one.traces[rule][i]
			if !r.Spends(event, own.Values) {
				continue
			}
			if r.Once {
				if last, ok := spent[event.Account]; ok && event.Time.Before(last.Add(interval)) {
					continue
				}
				spent[event.Account] = event.Time
			}
			if r.Alerts(event) {
				alerts = append(alerts, Alert{*event, n + 1, one.before + event.Time.Sub(one.begin)})
			}
		}
	}
	return alerts
}
