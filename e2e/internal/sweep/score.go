package sweep

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// Score is how some rules did at a point.
type Score struct {
	Attacks, Detected int     // cases of attacks, and those with an alert
	Benign, Disturbed int     // cases of ordinary work, and those with an alert
	False             int     // alerts in cases of ordinary work
	Hours             float64 // of one node that those cases stand for
	// First is the median, over the attacks that were detected, of the event time from the case's begin to the first alert.
	First time.Duration
}

// Recall is the part of the attacks that are detected; 1 where there is none.
func (s Score) Recall() float64 { return ratio(s.Detected, s.Attacks) }

// Precision is the part of the cases with an alert that are attacks; 1 where none has one.
func (s Score) Precision() float64 { return ratio(s.Detected, s.Detected+s.Disturbed) }

// Daily is how many alerts ordinary work gives on one node in a day; 0 where none was replayed.
func (s Score) Daily() float64 {
	if s.Hours == 0 {
		return 0
	}
	return float64(s.False) / s.Hours * 24
}

func ratio(part, whole int) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}

// Score counts the alerts of rules at a point, in the cases that hold events of their sources. rules are indexes.
func (g *Grid) Score(cases []*Case, rules []int, p Point) Score {
	var s Score
	var firsts []time.Duration
	var sources []string
	for _, rule := range rules {
		sources = append(sources, g.Rules[rule].Source)
	}
	for _, c := range cases {
		hours, ok := c.hours(sources)
		if !ok {
			continue
		}
		alerts := 0
		var first time.Duration
		for _, rule := range rules {
			found := g.Alerts(c, rule, p)
			if len(found) == 0 {
				continue
			}
			if alerts == 0 || found[0].After < first {
				first = found[0].After
			}
			alerts += len(found)
		}
		if c.Attack {
			s.Attacks++
			if alerts > 0 {
				s.Detected++
				firsts = append(firsts, first)
			}
			continue
		}
		s.Benign++
		s.Hours += hours
		s.False += alerts
		if alerts > 0 {
			s.Disturbed++
		}
	}
	if len(firsts) > 0 {
		slices.Sort(firsts)
		s.First = firsts[len(firsts)/2]
	}
	return s
}

// AtLeast are the rules of this priority or a more urgent one.
func (g *Grid) AtLeast(priority ruleset.Priority) []int {
	var rules []int
	for i, r := range g.Rules {
		if r.Priority <= priority {
			rules = append(rules, i)
		}
	}
	return rules
}

// Choice is the point that is recommended, and why.
type Choice struct {
	Point   Point
	Reasons []string // one for each group, in words; in the order of the groups
}

// Choose looks for a better point than the shipped one, group by group, each with what was chosen for the others, until
// nothing changes. Of a group's points it takes those that keep every pair of a rule and an attack that the rule fires in, and whose
// alerts on ordinary work are at most budget a node and day, or not more than at the shipped point. Of these the best
// detects the most attacks, counted over all rules at least as urgent as the group's most urgent one; then the one with the fewest alerts
// on ordinary work, then the one that moves the fewest thresholds, and those the least. Without a gain nothing is moved: a few cases
// say little about a threshold on which they do not depend.
func (g *Grid) Choose(cases []*Case, budget float64) Choice {
	choice := Choice{Point: g.Shipped, Reasons: make([]string, len(g.Groups))}
	const rounds = 4 // two groups that take turns would go on for ever
	for range rounds {
		before := choice.Point
		for i := range g.Groups {
			choice.Point, choice.Reasons[i] = g.better(cases, g.Groups[i], choice.Point, budget)
		}
		if choice.Point.Equal(before) {
			break
		}
	}
	return choice
}

// better is the best point of a group where the other groups' thresholds stay as they are at a point.
func (g *Grid) better(cases []*Case, group Group, at Point, budget float64) (Point, string) {
	urgent := g.Rules[group.Rules[0]].Priority
	for _, r := range group.Rules {
		urgent = min(urgent, g.Rules[r].Priority)
	}
	all := g.AtLeast(urgent)
	others := slices.DeleteFunc(slices.Clone(all), func(r int) bool { return slices.Contains(group.Rules, r) })
	detected := map[*Case]bool{} // by the other rules
	for _, c := range cases {
		for _, r := range others {
			detected[c] = detected[c] || len(g.Alerts(c, r, at)) > 0
		}
	}
	attacks := func(p Point) (n int) {
		for _, c := range cases {
			found := detected[c]
			for _, r := range group.Rules {
				found = found || g.Rules[r].Priority <= urgent && len(g.Alerts(c, r, p)) > 0
			}
			if c.Attack && found {
				n++
			}
		}
		return n
	}
	restore := func(p Point) Point { // the shipped values of the group's own thresholds
		for _, t := range group.Thresholds {
			p = p.With(t, g.Shipped.Values[t])
		}
		return p
	}
	shipped := restore(at)
	base := g.Score(cases, group.Rules, shipped)
	limit := max(budget, base.Daily())
	best, bestScore, bestAttacks := shipped, base, attacks(shipped)
	baseAttacks := bestAttacks
	for _, joint := range g.points(group) {
		p := shipped
		for _, t := range group.Thresholds {
			p = p.With(t, joint.Values[t])
		}
		s := g.Score(cases, group.Rules, p)
		if s.Daily() > limit || !g.keeps(cases, group, shipped, p) {
			continue
		}
		n := attacks(p)
		if n > bestAttacks || n == bestAttacks && (s.False < bestScore.False ||
			s.False == bestScore.False && g.distance(p) < g.distance(best)) {
			best, bestScore, bestAttacks = p, s, n
		}
	}
	if best.Equal(shipped) {
		return best, fmt.Sprintf("stays: no other point detects more than the %d of %d attacks, or gives fewer than the %.1f alerts "+
			"a node and day on ordinary work, and keeps every detection of its rules", baseAttacks, base.Attacks, base.Daily())
	}
	var gains []string
	if bestAttacks > baseAttacks {
		gains = append(gains, fmt.Sprintf("%d instead of %d of %d attacks are detected", bestAttacks, baseAttacks, base.Attacks))
	}
	if bestScore.False != base.False {
		gains = append(gains, fmt.Sprintf("ordinary work gives %.1f instead of %.1f alerts a node and day", bestScore.Daily(), base.Daily()))
	}
	return best, "moves: " + strings.Join(gains, ", and ") + "; every detection of its rules is kept"
}

// points are all points of the grid that move the group's thresholds alone.
func (g *Grid) points(group Group) []Point {
	points := slices.Clone(group.Joint)
	for _, t := range group.Thresholds {
		points = append(points, g.Single(g.Shipped, t)...)
	}
	return points
}

// keeps tells whether every rule of the group fires at p in all attacks in which it fires at the base point.
func (g *Grid) keeps(cases []*Case, group Group, base, p Point) bool {
	for _, c := range cases {
		for _, r := range group.Rules {
			if c.Attack && len(g.Alerts(c, r, base)) > 0 && len(g.Alerts(c, r, p)) == 0 {
				return false
			}
		}
	}
	return true
}

// distance is how many steps of its candidates a point's thresholds lie from the shipped ones, and above all how many moved.
func (g *Grid) distance(p Point) int {
	const moved = 100 // more than any number of candidates
	total := 0
	for i, t := range g.Thresholds {
		if p.Values[i] == t.Value {
			continue
		}
		steps := slices.Index(t.Candidates, p.Values[i]) - slices.Index(t.Candidates, t.Value)
		total += moved + max(steps, -steps)
	}
	return total
}
