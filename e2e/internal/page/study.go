package page

import (
	"fmt"
	"io"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/sweep"
)

var studyTemplate = parse("study.html")

// studyPage is a study with its plots.
type studyPage struct {
	*sweep.Study
	Groups    []studyGroup
	Intervals []studyRow
}

type studyGroup struct {
	ID string
	sweep.Joint
	Plot   chart // of its combinations; drawn where it has several thresholds
	Curves []studyCurve
}

type studyCurve struct {
	sweep.Curve
	Quality, Noise chart
	Table          []studyRow
}

type studyRow struct {
	sweep.Row
	Mark string
}

// Study writes the page of a study.
func Study(w io.Writer, s *sweep.Study) error {
	p := studyPage{Study: s}
	byName := map[string]sweep.Curve{}
	for _, c := range s.Curves {
		byName[c.Name] = c
	}
	for i, j := range s.Joints {
		g := studyGroup{ID: fmt.Sprintf("g%d", i), Joint: j}
		g.Plot = jointChart(g.ID, j)
		for k, name := range j.Names {
			id := fmt.Sprintf("%s-%d", g.ID, k)
			c := byName[name]
			g.Curves = append(g.Curves, studyCurve{c, qualityChart(id, c), noiseChart(id, c), studyRows(c.Rows)})
		}
		p.Groups = append(p.Groups, g)
	}
	p.Intervals = studyRows(s.Intervals)
	return write(w, studyTemplate, "Thresholds on labelled captures", p)
}

func studyRows(rows []sweep.Row) []studyRow {
	out := make([]studyRow, len(rows))
	for i, r := range rows {
		out[i] = studyRow{r, sweep.Mark(r.Shipped, r.Chosen)}
	}
	return out
}

const curveWidth, curveHeight = 440, 210

// valueAxis is the axis of a threshold's values, in factors, as they were chosen.
func valueAxis(c sweep.Curve, b box) (x scale, ticks []tick, marks []mark) {
	x = scale{from: c.Rows[0].Number, to: c.Rows[len(c.Rows)-1].Number, start: b.Left, end: b.Right, log: true}
	last := -1e9
	for _, r := range c.Rows {
		at := x.at(r.Number)
		label := ""
		if at-last > 52 || r.Shipped && at-last > 40 {
			label, last = r.Value, at
		}
		ticks = append(ticks, tick{at, label})
		switch {
		case r.Chosen && !r.Shipped:
			marks = append(marks, mark{X: at, LabelX: at, Class: "chosen", Label: "recommended"})
		case r.Shipped:
			marks = append(marks, mark{X: at, LabelX: at, Class: "shipped", Label: "shipped"})
		}
	}
	return x, ticks, marks
}

func qualityChart(id string, c sweep.Curve) chart {
	b := box{44, 24, curveWidth - 40, curveHeight - 34}
	p := chart{ID: id + "-quality", Title: "Recall and precision of " + c.Name, W: curveWidth, H: curveHeight, Box: b}
	var x scale
	x, p.X, p.Marks = valueAxis(c, b)
	y := scale{from: 0, to: 1, start: b.Bottom, end: b.Top}
	for _, v := range []float64{0, 0.5, 1} {
		p.Y = append(p.Y, tick{y.at(v), fmt.Sprintf("%.0f %%", 100*v)})
	}
	var xs, recall, precise, precision []float64
	var text strings.Builder
	for _, r := range c.Rows {
		at := x.at(r.Number)
		xs, recall = append(xs, at), append(recall, y.at(r.Score.Recall()))
		p.Dots = append(p.Dots, dot{at, y.at(r.Score.Recall()), "recall", fmt.Sprintf("%s: recall %.0f %%", r.Value, 100*r.Score.Recall())})
		fmt.Fprintf(&text, "%s: recall %.0f %%, precision %s; ", r.Value, 100*r.Score.Recall(), r.Score.PrecisionText())
		if r.Score.Detected+r.Score.Disturbed > 0 {
			precise, precision = append(precise, at), append(precision, y.at(r.Score.Precision()))
			p.Dots = append(p.Dots, dot{at, y.at(r.Score.Precision()), "precision",
				fmt.Sprintf("%s: precision %.0f %%", r.Value, 100*r.Score.Precision())})
		}
	}
	p.Text = text.String()
	p.Lines = []line{{"recall", polyline(xs, recall)}, {"precision", polyline(precise, precision)}}
	return p
}

func noiseChart(id string, c sweep.Curve) chart {
	b := box{58, 24, curveWidth - 40, curveHeight - 34}
	p := chart{ID: id + "-noise", Title: "Alerts on ordinary work, per node and day, of " + c.Name, W: curveWidth, H: curveHeight, Box: b}
	var x scale
	x, p.X, p.Marks = valueAxis(c, b)
	most := 0.0
	for _, r := range c.Rows {
		most = max(most, r.Score.Daily())
	}
	y := scale{from: 0, to: ceiling(most), start: b.Bottom, end: b.Top}
	for _, v := range []float64{0, y.to / 2, y.to} {
		p.Y = append(p.Y, tick{y.at(v), fmt.Sprintf("%.4g", v)})
	}
	var xs, ys []float64
	var text strings.Builder
	for _, r := range c.Rows {
		xs, ys = append(xs, x.at(r.Number)), append(ys, y.at(r.Score.Daily()))
		p.Dots = append(p.Dots, dot{x.at(r.Number), y.at(r.Score.Daily()), "noise",
			fmt.Sprintf("%s: %.1f alerts a node and day", r.Value, r.Score.Daily())})
		fmt.Fprintf(&text, "%s: %.1f; ", r.Value, r.Score.Daily())
	}
	p.Text = text.String()
	p.Lines = []line{{"noise", polyline(xs, ys)}}
	return p
}

// jointChart plots recall over alerts on ordinary work, a dot for each outcome.
func jointChart(id string, j sweep.Joint) chart {
	b := box{44, 24, curveWidth - 40, curveHeight - 40}
	p := chart{
		ID: id + "-joint", Title: "Outcomes of all combinations", W: curveWidth, H: curveHeight, Box: b,
		XName: "alerts on ordinary work, per node and day",
	}
	most := 0.0
	for _, point := range j.Points {
		most = max(most, point.Score.Daily())
	}
	x := scale{from: 0, to: ceiling(most), start: b.Left, end: b.Right}
	y := scale{from: 0, to: 1, start: b.Bottom, end: b.Top}
	for _, v := range []float64{0, x.to / 2, x.to} {
		p.X = append(p.X, tick{x.at(v), fmt.Sprintf("%.4g", v)})
	}
	for _, v := range []float64{0, 0.5, 1} {
		p.Y = append(p.Y, tick{y.at(v), fmt.Sprintf("%.0f %%", 100*v)})
	}
	var xs, ys []float64
	var text strings.Builder
	for _, point := range j.Points {
		class := "other"
		at, up := x.at(point.Score.Daily()), y.at(point.Score.Recall())
		if point.Front {
			class = "front"
			xs, ys = append(xs, at), append(ys, up)
		}
		if point.Shipped {
			class = "shipped"
		}
		if point.Chosen {
			class = "chosen"
		}
		words := fmt.Sprintf("recall %.0f %% at %.1f alerts", 100*point.Score.Recall(), point.Score.Daily())
		if mark := sweep.Mark(point.Shipped, point.Chosen); mark != "" {
			words = mark + ": " + words
		}
		p.Dots = append(p.Dots, dot{at, up, class, words})
		text.WriteString(words + "; ")
	}
	p.Text = text.String()
	p.Lines = []line{{"front", polyline(xs, ys)}}
	return p
}
