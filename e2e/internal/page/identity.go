package page

import (
	"fmt"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
	"github.com/falco-datastaging/datastaging/e2e/internal/timeline"
)

type shownIdentity struct {
	ID, Name string
	Alerts   []shownAlert
	Plot     chart
	Counts   []string
	Deeds    []shownDeed
	Open     bool // whether the deeds are shown at once
	Left     int  // deeds that are left out
}

type shownDeed struct {
	At, Until              string // since the begin; Until is empty for what was done once
	Action, Target, Detail string
	Count                  int
}

// laneNames are the lanes in words, for one and for many.
var laneNames = [timeline.NumLanes]struct{ key, axis, one, many string }{
	timeline.Secrets:     {"secrets", "secrets", "read of secrets or config maps", "reads of secrets or config maps"},
	timeline.Tokens:      {"tokens", "tokens", "token requested", "tokens requested"},
	timeline.Entries:     {"entries", "entries", "entry into a pod", "entries into pods"},
	timeline.Deployments: {"deployments", "deployments", "deployment", "deployments"},
}

func newShownIdentity(id string, r *timeline.Replay, who *timeline.Identity, alerts []shownAlert) shownIdentity {
	shown := shownIdentity{ID: id, Name: profile.Printable(who.User), Alerts: alerts, Plot: laneChart(id, r, who, alerts), Left: who.Left}
	for lane, name := range laneNames {
		if n := who.Count(timeline.Lane(lane)); n == 1 {
			shown.Counts = append(shown.Counts, "1 "+name.one)
		} else if n > 1 {
			shown.Counts = append(shown.Counts, fmt.Sprintf("%d %s", n, name.many))
		}
	}
	for _, d := range who.Deeds {
		row := shownDeed{
			At: since(r.Begin, d.First), Action: profile.Printable(d.Action), Target: profile.Printable(d.Target),
			Detail: profile.Printable(d.Detail), Count: d.Count,
		}
		if d.Count > 1 {
			row.Until = since(r.Begin, d.Last)
		}
		shown.Deeds = append(shown.Deeds, row)
	}
	const few = 12
	shown.Open = len(shown.Deeds) <= few
	return shown
}

// laneChart shows when an identity did what, one lane for each kind, with its alerts.
func laneChart(id string, r *timeline.Replay, who *timeline.Identity, alerts []shownAlert) chart {
	const width, height = 1000, 200
	p := chart{ID: id + "-lanes", Title: "What " + profile.Printable(who.User) + " did", W: width, H: height, Box: box{92, 28, width - 26, height - 28}}
	x := p.timeAxis(r)
	y := scale{from: -0.5, to: float64(timeline.NumLanes) - 0.5, start: p.Box.Top, end: p.Box.Bottom}
	var words []string
	for lane, name := range laneNames {
		at := y.at(float64(lane))
		p.Y = append(p.Y, tick{at, name.axis})
		for _, m := range who.Moments[lane] {
			what := "1 " + name.one
			if m.Count > 1 {
				what = fmt.Sprintf("%d %s", m.Count, name.many)
			}
			p.Dots = append(p.Dots, dot{x.at(m.At.Sub(r.Begin).Seconds()), at, name.key, what + " from " + since(r.Begin, m.At) + " on"})
		}
		words = append(words, fmt.Sprintf("%s: %d", name.axis, who.Count(timeline.Lane(lane))))
	}
	words = append(words, p.mark(x, r, alerts, true)...)
	p.Text = strings.Join(words, "; ")
	return p
}
