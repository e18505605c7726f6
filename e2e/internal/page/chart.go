package page

import (
	"fmt"
	"math"
	"strings"
)

// chart is a plot in an SVG of its own, ready to be drawn; all places are in its pixels.
type chart struct {
	ID          string // unique on the page
	Title, Text string // of the plot, and what it shows in words
	W, H        float64
	Box         box // of the axes
	X, Y        []tick
	XName       string
	Bands       []band
	Lines       []line
	Dots        []dot
	Marks       []mark
}

type box struct{ Left, Top, Right, Bottom float64 }

// tick is a place on an axis.
type tick struct {
	At    float64
	Label string
}

// band is a shaded area from the bottom up.
type band struct {
	Top, Height float64
	Class       string
}

// line is a polyline; Class gives its colour and dashes.
type line struct {
	Class, Points string
}

type dot struct {
	X, Y        float64
	Class, Text string
}

// mark is a vertical line with a label on top. With a Link it can be followed by mouse and keyboard.
type mark struct {
	X, LabelX         float64 // of the line and of the label; labels keep apart
	Class, Label, Tip string
	Link              string
}

// scale maps values to pixels.
type scale struct {
	from, to   float64 // values
	start, end float64 // pixels
	log        bool
}

func (s scale) at(v float64) float64 {
	from, to := s.from, s.to
	if s.log {
		from, to, v = math.Log(from), math.Log(to), math.Log(v)
	}
	if to == from {
		return (s.start + s.end) / 2
	}
	return s.start + (v-from)/(to-from)*(s.end-s.start)
}

// polyline joins places.
func polyline(xs, ys []float64) string {
	var b strings.Builder
	for i := range xs {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.1f,%.1f", xs[i], ys[i])
	}
	return b.String()
}

// ceiling is the least of 1, 2, 5, 10 ... times a power of ten that is at least v; 1 for nothing.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 5} {
		if v <= step*power {
			return step * power
		}
	}
	return 10 * power
}

// byteCeiling is ceiling in units of 1024, one of them at least.
func byteCeiling(v float64) float64 {
	v = max(v, 1024)
	unit := 1.0
	for v >= 1024*unit {
		unit *= 1024
	}
	if v > 500*unit {
		return 1024 * unit
	}
	return ceiling(v/unit) * unit
}

// Places that follow from the axes, for the template.

func (c chart) Width() float64   { return c.Box.Right - c.Box.Left }
func (c chart) Middle() float64  { return (c.Box.Left + c.Box.Right) / 2 }
func (c chart) YLabel() float64  { return c.Box.Left - 6 }
func (c chart) TickEnd() float64 { return c.Box.Bottom + 4 }
func (c chart) XLabel() float64  { return c.Box.Bottom + 17 }
func (c chart) XNameAt() float64 { return c.Box.Bottom + 34 }
func (c chart) MarkAt() float64  { return c.Box.Top - 10 }
