package page

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/profile"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/timeline"
)

var replayTemplate = parse("replay.html", "graph.html")

// maxShown containers or identities are drawn; a node may have run thousands in which nothing happened.
const maxShown = 40

type replayPage struct {
	ID         string
	Capture    string
	Begin      time.Time
	Length     string
	Window     string
	Alerts     []shownAlert
	Containers []shownContainer
	Hidden     int // containers without an alert and without volumes, or beyond maxShown
	Identities []shownIdentity
	Others     int // identities beyond maxShown
}

type shownAlert struct {
	ID, Number     string
	Rule, Priority string
	Class          string // wake or hunt
	At             string // since the begin
	Time           time.Time
	In, By         string // the container, the identity
	Text           string
	Fields         []shownField
}

type shownField struct{ Name, Value string }

type shownContainer struct {
	ID, Name, Container string
	Alerts              []shownAlert
	Learned             bool
	Charts              []shownChart
	Steps               []string // of the story
	Graph               graph
	Rows                []shownPoint
}

type shownChart struct {
	Plot    chart
	Key     string // class of the line
	Caption string
	Outside bool // a second line for what left the cluster
}

type shownPoint struct {
	At     string
	Values []uint64
}

// Replays writes the page of some replays.
func Replays(w io.Writer, replays []*timeline.Replay) error {
	pages := make([]replayPage, len(replays))
	names := make([]string, len(replays))
	for i, r := range replays {
		pages[i] = newReplayPage(fmt.Sprintf("r%d", i), r)
		names[i] = profile.Printable(r.Capture)
	}
	return write(w, replayTemplate, "What happened in "+strings.Join(names, ", "), pages)
}

func newReplayPage(id string, r *timeline.Replay) replayPage {
	p := replayPage{
		ID: id, Capture: profile.Printable(r.Capture), Begin: r.Begin.UTC(), Window: r.Window,
		Length: r.End.Sub(r.Begin).Round(time.Second).String(),
	}
	of, by := map[*timeline.Container][]shownAlert{}, map[*timeline.Identity][]shownAlert{}
	for i, a := range r.Alerts {
		shown := newShownAlert(fmt.Sprintf("%s-a%d", id, i+1), i+1, r.Begin, a)
		for _, c := range r.Containers {
			if c.Is(a) {
				shown.In = name(c)
				of[c] = append(of[c], shown)
				break
			}
		}
		for _, who := range r.Identities {
			if who.Is(a) {
				shown.By = profile.Printable(who.User)
				by[who] = append(by[who], shown)
				break
			}
		}
		p.Alerts = append(p.Alerts, shown)
	}
	for i, c := range r.Containers {
		moved := c.Peak(timeline.Staged) + c.Peak(timeline.Archived) + c.Peak(timeline.Collected) + c.Peak(timeline.Sent)
		if len(p.Containers) == maxShown || len(of[c]) == 0 && moved == 0 {
			p.Hidden++
			continue
		}
		p.Containers = append(p.Containers, newShownContainer(fmt.Sprintf("%s-c%d", id, i), r, c, of[c]))
	}
	for i, who := range r.Identities {
		if len(p.Identities) == maxShown {
			p.Others = len(r.Identities) - maxShown
			break
		}
		p.Identities = append(p.Identities, newShownIdentity(fmt.Sprintf("%s-i%d", id, i), r, who, by[who]))
	}
	return p
}

// name is what a container is called.
func name(c *timeline.Container) string {
	if c.Workload == "" {
		return profile.Printable(c.ID)
	}
	return profile.Printable(c.Workload)
}

// alertFields are shown of an alert beside its text, where it has them.
var alertFields = []string{"proc.cmdline", "proc.pname", "user.name", "fd.name", "audit.target", "audit.command", "posture.reasons", "staging.dir", "staging.peer", "staging.phase"}

func newShownAlert(id string, n int, begin time.Time, a alert.Alert) shownAlert {
	shown := shownAlert{
		ID: id, Number: strconv.Itoa(n), Rule: profile.Printable(a.Rule), Priority: profile.Printable(a.Priority), Class: "hunt",
		At: since(begin, a.Time), Time: a.Time.UTC(),
	}
	if p, err := ruleset.ParsePriority(a.Priority); err == nil && p <= ruleset.PriorityWarning {
		shown.Class = "wake"
	}
	shown.Text, _, _ = strings.Cut(a.Output, "(")
	if _, rest, ok := strings.Cut(shown.Text, ": "+a.Priority+" "); ok {
		shown.Text = rest
	}
	shown.Text = profile.Printable(strings.TrimSpace(shown.Text))
	for _, field := range alertFields {
		if value, ok := a.OutputFields[field].(string); ok && value != "" {
			shown.Fields = append(shown.Fields, shownField{field, profile.Printable(value)})
		}
	}
	return shown
}

func since(begin, at time.Time) string {
	return "+" + at.Sub(begin).Round(100*time.Millisecond).String()
}

func newShownContainer(id string, r *timeline.Replay, c *timeline.Container, alerts []shownAlert) shownContainer {
	shown := shownContainer{
		ID: id, Name: name(c), Container: profile.Printable(c.ID), Alerts: alerts, Learned: c.Learned,
		Graph: newGraph(id, c),
	}
	for i, step := range strings.Split(c.Story, "; +") {
		if i > 0 {
			step = "+" + step
		}
		if step != "" {
			shown.Steps = append(shown.Steps, profile.Printable(step))
		}
	}
	for _, panel := range []struct {
		key, caption string
		volumes      []timeline.Volume
	}{
		{"collected", "collected: read from files", []timeline.Volume{timeline.Collected}},
		{"staged", "staged: written where nothing is meant to stay", []timeline.Volume{timeline.Staged}},
		{"archived", "archived: packed, compressed or encrypted", []timeline.Volume{timeline.Archived}},
		{"sent", "sent over the network", []timeline.Volume{timeline.Sent, timeline.External}},
	} {
		shown.Charts = append(shown.Charts, shownChart{
			volumeChart(id, panel.key, r, c, alerts, panel.volumes), panel.key, panel.caption, len(panel.volumes) > 1,
		})
	}
	const rows = 24
	step := max(1, (len(c.Points)+rows-1)/rows)
	for i := range c.Points {
		if i%step == 0 || i == len(c.Points)-1 {
			shown.Rows = append(shown.Rows, shownPoint{since(r.Begin, c.Points[i].At), c.Points[i].Volumes[:]})
		}
	}
	return shown
}

func volumeChart(id, key string, r *timeline.Replay, c *timeline.Container, alerts []shownAlert, volumes []timeline.Volume) chart {
	const width, height = 500, 190
	b := box{66, 28, width - 26, height - 28}
	p := chart{ID: id + "-" + key, Title: fmt.Sprintf("Bytes %s by %s", key, name(c)), W: width, H: height, Box: b}
	x := p.timeAxis(r)
	most := uint64(0)
	for _, v := range volumes {
		most = max(most, c.Peak(v))
	}
	usual := c.Typical[volumes[len(volumes)-1]]
	if c.Learned {
		most = max(most, usual)
	}
	y := scale{from: 0, to: byteCeiling(float64(most)), start: b.Bottom, end: b.Top}
	for _, v := range []float64{0, y.to / 2, y.to} {
		p.Y = append(p.Y, tick{y.at(v), humanize.IBytes(uint64(v))})
	}
	words := []string{}
	if c.Learned {
		top := y.at(float64(usual))
		p.Bands = append(p.Bands, band{top, max(b.Bottom-top, 1), "usual"})
		words = append(words, fmt.Sprintf("usual are up to %s a minute", humanize.IBytes(usual)))
	}
	for _, v := range volumes {
		class := key
		if len(volumes) > 1 && v != timeline.External {
			class = "all"
		}
		var xs, ys []float64
		for _, point := range c.Points {
			xs, ys = append(xs, x.at(point.At.Sub(r.Begin).Seconds())), append(ys, y.at(float64(point.Volumes[v])))
		}
		p.Lines = append(p.Lines, line{class, polyline(xs, ys)})
	}
	words = append(words, fmt.Sprintf("at most %s", humanize.IBytes(c.Peak(volumes[0]))))
	if len(volumes) > 1 {
		words = append(words, fmt.Sprintf("of which out of the cluster at most %s", humanize.IBytes(c.Peak(timeline.External))))
	}
	words = append(words, p.mark(x, r, alerts, key == "collected")...) // once for each alert is enough for the keyboard
	p.Text = strings.Join(words, "; ")
	return p
}

// timeAxis makes the x axis the time of a replay.
func (c *chart) timeAxis(r *timeline.Replay) scale {
	length := max(r.End.Sub(r.Begin).Seconds(), 1e-3)
	x := scale{from: 0, to: length, start: c.Box.Left, end: c.Box.Right}
	step := timeStep(length)
	for v := 0.0; v <= length; v += step {
		c.X = append(c.X, tick{x.at(v), (time.Duration(v) * time.Second).String()})
	}
	return x
}

// mark marks alerts on the time axis, with links to them or without, and returns what that shows in words.
func (c *chart) mark(x scale, r *timeline.Replay, alerts []shownAlert, links bool) (words []string) {
	places := make([]float64, len(alerts))
	for i, a := range alerts {
		places[i] = x.at(a.Time.Sub(r.Begin).Seconds())
	}
	labels := spread(places, c.W-12)
	for i, a := range alerts {
		m := mark{X: places[i], LabelX: labels[i], Class: a.Class, Label: a.Number, Tip: fmt.Sprintf("Alert %s at %s: %s, %s", a.Number, a.At, a.Priority, a.Rule)}
		if links {
			m.Link = "#" + a.ID
		}
		c.Marks = append(c.Marks, m)
		words = append(words, fmt.Sprintf("alert %s at %s", a.Number, a.At))
	}
	return words
}

// markWidth is the room that a mark's label takes.
const markWidth = 20

// spread moves ascending places apart, as little to the right as it can and, where that is too far, to the left.
func spread(places []float64, last float64) []float64 {
	moved := make([]float64, len(places))
	for i, at := range places {
		moved[i] = at
		if i > 0 {
			moved[i] = max(at, moved[i-1]+markWidth)
		}
	}
	for i := len(moved) - 1; i >= 0; i-- {
		moved[i] = min(moved[i], last)
		last = moved[i] - markWidth
	}
	return moved
}

// timeStep is a round number of seconds of which at most eight fit.
func timeStep(seconds float64) float64 {
	for _, step := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200} {
		if seconds/step <= 8 {
			return step
		}
	}
	return ceiling(seconds/8/86400) * 86400
}

// graph is a container with those it had data from on the left and those it sent to on the right.
type graph struct {
	ID, Title, Text string
	W, H            float64
	Centre          node
	Nodes           []node
	Edges           []edge
	More            int // peers that are left out
}

type node struct {
	X, Y         float64 // of its middle
	W, H         float64
	Label, Class string
	Detail, Full string
}

// Left and Top are where the box begins.
func (n node) Left() float64 { return n.X - n.W/2 }

// Top is the upper edge.
func (n node) Top() float64 { return n.Y - n.H/2 }

// LabelY and DetailY are the base lines of its two lines of text.
func (n node) LabelY() float64 { return n.Y - 2 }

// DetailY is below LabelY.
func (n node) DetailY() float64 { return n.Y + 12 }

type edge struct {
	Path  string
	Class string
}

func newGraph(id string, c *timeline.Container) graph {
	const (
		width, nodeW, nodeH, gap = 700.0, 210.0, 38.0, 10.0
		maxNodes                 = 8
	)
	g := graph{ID: id + "-graph", Title: "Peers of " + name(c), W: width}
	left := append(peerNodes(c.Senders, "sent it "), peerNodes(c.Givers, "data taken over on the node")...)
	right := peerNodes(c.Receives, "got ")
	for _, side := range []*[]node{&left, &right} {
		if len(*side) > maxNodes {
			g.More += len(*side) - maxNodes
			*side = (*side)[:maxNodes]
		}
	}
	rows := max(len(left), len(right), 1)
	g.H = float64(rows)*(nodeH+gap) + gap
	g.Centre = node{X: width / 2, Y: g.H / 2, W: 190, H: nodeH, Label: short(name(c), 27), Full: name(c), Class: "self", Detail: "this container"}
	words := []string{}
	place := func(nodes []node, x float64, toCentre bool) {
		for i := range nodes {
			n := &nodes[i]
			n.X, n.W, n.H = x, nodeW, nodeH
			n.Y = g.H/2 + (float64(i)-float64(len(nodes)-1)/2)*(nodeH+gap)
			from, to := n.X+n.W/2, g.Centre.X-g.Centre.W/2-6
			y1, y2 := n.Y, g.Centre.Y
			if !toCentre {
				from, to = g.Centre.X+g.Centre.W/2, n.X-n.W/2-6
				y1, y2 = g.Centre.Y, n.Y
			}
			bend := (from + to) / 2
			g.Edges = append(g.Edges, edge{fmt.Sprintf("M%.1f,%.1f C%.1f,%.1f %.1f,%.1f %.1f,%.1f", from, y1, bend, y1, bend, y2, to, y2), n.Class})
			g.Nodes = append(g.Nodes, *n)
			direction := "from "
			if !toCentre {
				direction = "to "
			}
			words = append(words, direction+n.Full+" ("+n.Detail+")")
		}
	}
	place(left, nodeW/2+2, true)
	place(right, width-nodeW/2-2, false)
	g.Text = strings.Join(words, "; ")
	if len(words) == 0 {
		g.Text = "none"
	}
	return g
}

func peerNodes(peers []timeline.Peer, verb string) []node {
	nodes := make([]node, len(peers))
	for i, p := range peers {
		detail := strings.TrimSpace(p.Class)
		if p.Amount != "" {
			detail = verb + p.Amount
			if p.Class != "" {
				detail += ", " + p.Class
			}
		} else if !strings.HasSuffix(verb, " ") {
			detail = verb
		}
		full := profile.Printable(p.Name)
		nodes[i] = node{Label: short(full, 30), Full: full, Class: peerClass(p.Class), Detail: profile.Printable(detail)}
	}
	return nodes
}

// peerClass is the style of a class; the plugin's own names alone.
func peerClass(class string) string {
	switch class {
	case "container", "cluster", "host", "external":
		return class
	}
	return "unknown"
}

// short cuts a name in the middle: both ends tell something.
func short(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	half := (most - 1) / 2
	return string(runes[:half]) + "…" + string(runes[len(runes)-half:])
}
