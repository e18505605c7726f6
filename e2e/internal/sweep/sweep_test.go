package sweep

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/threshold"
)

const text = `
- macro: gathered
  condition: ((staging.location = shm and staging.bytes >= 1000) or staging.bytes >= 8000)
- macro: leaves
  condition: (staging.external_bytes >= 1000)
- rule: Gathered
  desc: d
  condition: evt.type = close and gathered and staging.once[a] = true and not baseline.workload = quiet
  output: o
  priority: NOTICE
- rule: Left
  desc: d
  condition: evt.type = close and leaves and staging.once[b/2m] = true
  output: o
  priority: WARNING
- rule: Both
  desc: d
  condition: evt.type = close and leaves and gathered
  output: o
  priority: NOTICE
`

func grid(t *testing.T, rules string) *Grid {
	t.Helper()
	set, err := ruleset.Parse(ruleset.File{Name: "r.yaml", Data: []byte(rules)})
	require.NoError(t, err)
	g, err := NewGrid(set, 200)
	require.NoError(t, err)
	return g
}

// recorded is an engine that gives the samples it has to every query.
type recorded struct {
	engine.Engine
	samples []engine.Sample
}

func (r recorded) Ask(_ context.Context, _ engine.Request, queries []engine.Query, each func(int, engine.Sample) error) error {
	for i := range queries {
		for _, s := range r.samples {
			if err := each(i, s); err != nil {
				return err
			}
		}
	}
	return nil
}

var begin = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

func randomSamples(seed uint64, n int) []engine.Sample {
	r := rand.New(rand.NewPCG(seed, 1))
	number := func() any {
		if r.IntN(9) == 0 {
			return nil
		}
		return json.Number(strconv.Itoa(1 << r.IntN(16)))
	}
	samples := make([]engine.Sample, n)
	at := begin
	for i := range samples {
		at = at.Add(time.Duration(r.IntN(20)) * time.Second)
		samples[i] = engine.Sample{
			Event: uint64(i + 1), Time: at, Container: "c" + strconv.Itoa(r.IntN(3)),
			Values: map[string]any{
				"staging.location": []any{"shm", "tmp", nil}[r.IntN(3)], "staging.bytes": number(), "staging.external_bytes": number(),
				"baseline.workload": []any{"quiet", "web"}[r.IntN(2)],
			},
		}
	}
	return samples
}

// replayed is what Falco would do: every event, in order, with a memory of staging.once.
func replayed(t *testing.T, rule *threshold.Rule, own []uint64, interval time.Duration, samples []engine.Sample) (alerts []uint64) {
	spent := map[string]time.Time{}
	for _, s := range samples {
		e, err := rule.Event(s)
		require.NoError(t, err)
		if !rule.Spends(&e, own) {
			continue
		}
		if last, ok := spent[e.Account]; rule.Once && ok && e.Time.Sub(last) < interval {
			continue
		}
		spent[e.Account] = e.Time
		if rule.Alerts(&e) {
			alerts = append(alerts, e.Number)
		}
	}
	return alerts
}

func TestThinnedEventsGiveTheAlertsOfAllEventsAtEveryPoint(t *testing.T) {
	g := grid(t, text)
	for seed := range uint64(5) {
		samples := randomSamples(seed, 1500)
		c := &Case{Name: "random", Interval: 10 * time.Minute}
		require.NoError(t, g.Replay(t.Context(), recorded{samples: samples}, engine.Request{}, c, ruleset.SyscallSource, Span{Begin: begin, End: begin}))
		assert.Less(t, c.Kept, c.Candidates, "something is thinned out")
		alerts := 0
		for i, rule := range g.Rules {
			for _, p := range g.projected[i] {
				interval := c.Interval
				if p.Interval > 0 {
					interval = p.Interval
				}
				if rule.Interval > 0 {
					interval = rule.Interval
				}
				full := g.Shipped
				for k, use := range rule.Uses {
					full = full.With(use, p.Values[k])
				}
				full.Interval = p.Interval
				var got []uint64
				for _, e := range g.Alerts(c, i, full) {
					got = append(got, e.Number)
				}
				require.Equal(t, replayed(t, rule, p.Values, interval, samples), got, "%s at %v", rule.Name, p)
				alerts += len(got)
			}
		}
		assert.NotZero(t, alerts)
	}
}

func TestThresholdsThatMeetInARuleAreTriedTogether(t *testing.T) {
	g := grid(t, text)
	require.Len(t, g.Groups, 1)
	assert.Len(t, g.Groups[0].Thresholds, 3)
	assert.Equal(t, []int{5, 5, 5}, g.Groups[0].Tried, "9 values each would be more than 200 points")
	assert.Len(t, g.Groups[0].Joint, 125)

	without, _, _ := strings.Cut(text, "- rule: Both")
	apart := grid(t, without)
	assert.Len(t, apart.Groups, 2)
}

// capture replays samples of one container: bytes out at seconds since the begin.
func capture(t *testing.T, g *Grid, attack bool, sent ...int) *Case {
	t.Helper()
	c := &Case{Attack: attack, Interval: 10 * time.Minute}
	follow(t, g, c, ruleset.SyscallSource, sent...)
	return c
}

// follow replays one capture more of a case, a minute long, which stands for 12 hours.
func follow(t *testing.T, g *Grid, c *Case, source string, sent ...int) {
	t.Helper()
	var samples []engine.Sample
	for i, n := range sent {
		samples = append(samples, engine.Sample{
			Event: uint64(i + 1), Time: begin.Add(time.Duration(i) * time.Second), Container: "c",
			Values: map[string]any{"staging.external_bytes": json.Number(strconv.Itoa(n))},
		})
	}
	span := Span{Begin: begin, End: begin.Add(time.Minute), Hours: 12}
	require.NoError(t, g.Replay(t.Context(), recorded{samples: samples}, engine.Request{}, c, source, span))
}

// leaves is a rule on the bytes that leave.
const leaves = `
- macro: leaves
  condition: (staging.external_bytes >= 1000)
- rule: Left
  desc: d
  condition: evt.type = close and leaves and staging.once[b] = true
  output: o
  priority: WARNING
`

func leaving(t *testing.T) *Grid {
	return grid(t, leaves)
}

func TestScoreCountsCapturesAlertsAndTheTimeToTheFirst(t *testing.T) {
	g := leaving(t)
	captures := []*Case{capture(t, g, true, 10, 500, 2000), capture(t, g, true, 300), capture(t, g, false, 1200), capture(t, g, false, 5)}
	s := g.Score(captures, []int{0}, g.Shipped)
	assert.Equal(t, Score{
		Attacks: 2, Detected: 1, Benign: 2, Disturbed: 1, False: 1, Hours: 24, First: 2 * time.Second,
	}, s)
	assert.InDelta(t, 0.5, s.Recall(), 1e-9)
	assert.InDelta(t, 0.5, s.Precision(), 1e-9)
	assert.InDelta(t, 1, s.Daily(), 1e-9)
}

func TestACaseOfSeveralCapturesCountsOnce(t *testing.T) {
	g := leaving(t)
	c := &Case{Attack: true, Interval: 10 * time.Minute}
	follow(t, g, c, ruleset.SyscallSource, 10, 20)
	follow(t, g, c, ruleset.SyscallSource, 30, 3000, 4000)
	follow(t, g, c, ruleset.SyscallSource, 5000)
	alerts := g.Alerts(c, 0, g.Shipped)
	require.Len(t, alerts, 2, "the second in a capture is too soon, but a restart forgets")
	assert.Equal(t, []any{2, time.Minute + time.Second}, []any{alerts[0].Capture, alerts[0].After})
	assert.Equal(t, []any{3, 2 * time.Minute}, []any{alerts[1].Capture, alerts[1].After})
	assert.Equal(t, Score{Attacks: 1, Detected: 1, First: time.Minute + time.Second}, g.Score([]*Case{c}, []int{0}, g.Shipped))
	benign := &Case{}
	follow(t, g, benign, ruleset.SyscallSource, 10)
	follow(t, g, benign, ruleset.SyscallSource, 10)
	assert.Equal(t, Score{Benign: 1, Hours: 24}, g.Score([]*Case{benign}, []int{0}, g.Shipped))
}

func TestRulesAreAskedAndCountedOnEventsOfTheirSource(t *testing.T) {
	g := grid(t, leaves+`
- macro: many
  condition: (staging.sources >= 20)
- rule: Collected
  desc: d
  source: k8s_audit
  condition: audit.action = read-secret and many and staging.once[c] = true
  output: o
  priority: WARNING
`)
	calls, log, both := &Case{Attack: true}, &Case{Attack: true}, &Case{}
	follow(t, g, calls, ruleset.SyscallSource, 3000)
	follow(t, g, both, ruleset.SyscallSource, 10)
	for _, c := range []*Case{log, both} {
		var samples []engine.Sample
		for i, user := range []string{"user/a", "user/b", "user/a"} {
			samples = append(samples, engine.Sample{Event: uint64(i + 1), Time: begin.Add(time.Duration(i) * time.Second),
				Values: map[string]any{"baseline.workload": user, "staging.sources": json.Number("25")}})
		}
		span := Span{Begin: begin, End: begin.Add(time.Hour)}
		require.NoError(t, g.Replay(t.Context(), recorded{samples: samples}, engine.Request{}, c, "k8s_audit", span))
	}
	cases := []*Case{calls, log, both}
	assert.Equal(t, Score{Attacks: 1, Detected: 1, Benign: 1, Hours: 12}, g.Score(cases, []int{0}, g.Shipped))
	assert.Len(t, g.Alerts(log, 1, g.Shipped), 3, "without an interval nothing is spent")
	log.Interval, both.Interval = time.Minute, time.Minute
	assert.Len(t, g.Alerts(log, 1, g.Shipped), 2, "one for each identity")
	assert.Equal(t, Score{Attacks: 1, Detected: 1, Benign: 1, Disturbed: 1, False: 2, Hours: 1}, g.Score(cases, []int{1}, g.Shipped))
	all := g.Score(cases, []int{0, 1}, g.Shipped)
	assert.Equal(t, Score{Attacks: 2, Detected: 2, Benign: 1, Disturbed: 1, False: 2, Hours: 13}, all)
}

func TestChoiceMovesAThresholdOnlyForAGain(t *testing.T) {
	for _, tc := range []struct {
		name           string
		attack, benign []int
		budget         float64
		want           uint64
	}{
		{"nothing to gain: the shipped value stays", []int{5000}, []int{10}, 0, 1000},
		{"an attack that a lower value detects without noise", []int{600}, []int{10}, 0, 500},
		{"not at the price of noise", []int{600}, []int{700}, 0, 1000},
		{"at the price of noise that is worth it", []int{600}, []int{700}, 2, 500},
		{"noise that a higher value spares, no higher than needed", []int{9000}, []int{1800}, 0, 2000},
		{"not at the price of a detection", []int{1100}, []int{1800}, 0, 1000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := leaving(t)
			captures := []*Case{capture(t, g, true, tc.attack...), capture(t, g, false, tc.benign...)}
			choice := g.Choose(captures, tc.budget)
			assert.Equal(t, []uint64{tc.want}, choice.Point.Values, choice.Reasons)
			if tc.want == 1000 {
				assert.Contains(t, choice.Reasons[0], "stays")
			} else {
				assert.Contains(t, choice.Reasons[0], "moves")
			}
		})
	}
}

func TestChoiceKeepsWhatARuleDetectsThoughAnotherDetectsItToo(t *testing.T) {
	g := grid(t, leaves+`
- rule: Anything
  desc: d
  condition: evt.type = close and staging.once[c] = true
  output: o
  priority: WARNING
`)
	captures := []*Case{capture(t, g, true, 1100), capture(t, g, false, 1800)}
	assert.Equal(t, g.Shipped, g.Choose(captures, 0).Point, "2000 would spare an alert")
	captures = []*Case{capture(t, g, true, 2100), capture(t, g, false, 1800)}
	assert.Equal(t, []uint64{2000}, g.Choose(captures, 0).Point.Values)
}

func TestTableNamesTheRecommendation(t *testing.T) {
	g := leaving(t)
	captures := []*Case{capture(t, g, true, 600), capture(t, g, false, 10)}
	var b strings.Builder
	require.NoError(t, NewStudy(g, captures, g.Choose(captures, 0)).WriteTable(&b))
	assert.Contains(t, b.String(), "Recommended: leaves: staging.external_bytes from 1000 B to 500 B")
	assert.Regexp(t, `recommended +500 B +100 % \(1/1\) +100 % +0\.0 +0s`, b.String())
	assert.Regexp(t, `shipped +1000 B +0 % \(0/1\) +- +0\.0 +-`, b.String())
}
