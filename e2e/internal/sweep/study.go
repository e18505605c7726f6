package sweep

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/threshold"
)

// Study is everything that was found out, ready to be shown.
type Study struct {
	Attacks, Benign  int     // cases
	Hours            float64 // of one node that the benign cases stand for
	Candidates, Kept uint64  // events
	Overall          []Comparison
	Curves           []Curve
	Joints           []Joint
	Intervals        []Row // of once_interval, over all rules

	grid   *Grid
	choice Choice
}

// Comparison is how the rules of a priority and above do now and with what is recommended.
type Comparison struct {
	Priority        string
	Shipped, Chosen Score
}

// Row is one value and how it does.
type Row struct {
	Value           string  // for people
	Number          float64 // to plot
	Score           Score
	Shipped, Chosen bool
}

// Curve is one threshold alone, all others as shipped, and the rules that use it.
type Curve struct {
	Name, Field string
	Rules       []string
	Rows        []Row
}

// Joint is a group of thresholds.
type Joint struct {
	Names  []string // of its thresholds
	Rules  []string
	Points []JointPoint // ascending by alerts on ordinary work and falling by recall; each outcome once
	Tried  int          // combinations
	Reason string       // why its point is recommended
	Moved  []string     // thresholds that move, with both values
}

// JointPoint is the combination nearest to the shipped one that has an outcome.
type JointPoint struct {
	Values          []string
	Score           Score
	Front           bool // no other point detects as much with fewer alerts, or more with as few
	Shipped, Chosen bool
}

// Mark says what the point is.
func (p JointPoint) Mark() string { return Mark(p.Shipped, p.Chosen) }

// NewStudy computes the figures.
func NewStudy(g *Grid, cases []*Case, choice Choice) *Study {
	s := &Study{grid: g, choice: choice}
	for _, c := range cases {
		s.Candidates += c.Candidates
		s.Kept += c.Kept
		if c.Attack {
			s.Attacks++
		} else {
			s.Benign++
			for _, r := range c.replays {
				s.Hours += r.hours
			}
		}
	}
	for _, p := range []ruleset.Priority{ruleset.PriorityWarning, ruleset.PriorityNotice} {
		rules := g.AtLeast(p)
		s.Overall = append(s.Overall, Comparison{
			strings.ToUpper(p.String()), g.Score(cases, rules, g.Shipped), g.Score(cases, rules, choice.Point),
		})
	}
	for i, t := range g.Thresholds {
		s.Curves = append(s.Curves, s.curve(cases, i, t))
	}
	for i, group := range g.Groups {
		s.Joints = append(s.Joints, s.joint(cases, group, choice.Reasons[i]))
	}
	everything := g.AtLeast(ruleset.PriorityDebug)
	for _, p := range g.OnceIntervals() {
		s.Intervals = append(s.Intervals, Row{
			Value: shortDuration(p.Interval), Number: p.Interval.Seconds(), Score: g.Score(cases, everything, p),
		})
	}
	return s
}

func (s *Study) curve(cases []*Case, index int, t threshold.Threshold) Curve {
	c := Curve{Name: t.String(), Field: t.Field}
	var rules []int
	for i, r := range s.grid.Rules {
		if slices.Contains(r.Uses, index) {
			rules = append(rules, i)
			c.Rules = append(c.Rules, r.Name)
		}
	}
	for _, p := range s.grid.Single(s.grid.Shipped, index) {
		value := p.Values[index]
		c.Rows = append(c.Rows, Row{
			Value: Amount(t, value), Number: float64(value), Score: s.grid.Score(cases, rules, p),
			Shipped: value == t.Value, Chosen: value == s.choice.Point.Values[index],
		})
	}
	return c
}

func (s *Study) joint(cases []*Case, group Group, reason string) Joint {
	g := s.grid
	j := Joint{Tried: len(group.Joint), Reason: reason}
	chosen := g.Shipped
	for _, t := range group.Thresholds {
		j.Names = append(j.Names, g.Thresholds[t].String())
		value := s.choice.Point.Values[t]
		chosen = chosen.With(t, value)
		if value != g.Thresholds[t].Value {
			j.Moved = append(j.Moved, fmt.Sprintf("%s from %s to %s", g.Thresholds[t], Amount(g.Thresholds[t], g.Thresholds[t].Value),
				Amount(g.Thresholds[t], value)))
		}
	}
	for _, r := range group.Rules {
		j.Rules = append(j.Rules, g.Rules[r].Name)
	}
	type outcome struct{ detected, falsely int }
	nearest := map[outcome]Point{}
	var order []outcome
	for _, p := range append([]Point{chosen}, group.Joint...) {
		score := g.Score(cases, group.Rules, p)
		o := outcome{score.Detected, score.False}
		if old, ok := nearest[o]; !ok {
			nearest[o] = p
			order = append(order, o)
		} else if !old.Equal(chosen) && (p.Equal(chosen) || g.distance(p) < g.distance(old)) {
			nearest[o] = p
		}
	}
	slices.SortFunc(order, func(a, b outcome) int {
		return cmp.Or(cmp.Compare(a.falsely, b.falsely), cmp.Compare(b.detected, a.detected))
	})
	most := -1
	for _, o := range order {
		p := nearest[o]
		point := JointPoint{
			Score: g.Score(cases, group.Rules, p), Front: o.detected > most,
			Shipped: p.Equal(g.Shipped), Chosen: p.Equal(chosen),
		}
		most = max(most, o.detected)
		for _, t := range group.Thresholds {
			point.Values = append(point.Values, Amount(g.Thresholds[t], p.Values[t]))
		}
		j.Points = append(j.Points, point)
	}
	return j
}

// Amount is a threshold's value for people: bytes in units where that loses nothing.
func Amount(t threshold.Threshold, value uint64) string {
	if !t.IsBytes() {
		return strconv.FormatUint(value, 10)
	}
	units := []struct {
		size uint64
		name string
	}{{humanize.GiByte, "GiB"}, {humanize.MiByte, "MiB"}, {humanize.KiByte, "KiB"}}
	for _, u := range units {
		if value >= u.size {
			return strconv.FormatFloat(float64(value)/float64(u.size), 'f', -1, 64) + " " + u.name
		}
	}
	return strconv.FormatUint(value, 10) + " B"
}

// shortDuration is a duration of whole minutes without its zero parts.
func shortDuration(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

// Moves are the thresholds that are recommended to change, with both values.
func (s *Study) Moves() []string {
	var moves []string
	for _, j := range s.Joints {
		moves = append(moves, j.Moved...)
	}
	return moves
}

// Override is the rules file that sets what is recommended; comments alone where nothing moves.
func (s *Study) Override(set *ruleset.Set) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Thresholds that stagectl tune recommends, to load after the rules. Found on %d cases of attacks and %d of ordinary\n"+
		"work (%.3g node hours).\n", s.Attacks, s.Benign, s.Hours)
	for _, j := range s.Joints {
		if len(j.Moved) > 0 {
			fmt.Fprintf(&b, "%s:\n  %s\n", strings.Join(j.Moved, "; "), j.Reason)
		}
	}
	if len(s.Moves()) == 0 {
		fmt.Fprintln(&b, "Nothing moves: no other point of the grid is better on these cases.")
	}
	return threshold.Override(set, s.grid.Thresholds, s.choice.Point.Values, b.String())
}
