package debian

import (
	"fmt"
	"io"

	"github.com/schollz/progressbar/v3"
)

// Progress is told how far the work is. Its methods are called by one goroutine at a time.
type Progress interface {
	Start(step string)       // a step begins
	Percent(percent float64) // of the step, 0 to 100
	Done()                   // the step is over
	Note(text string)        // something worth a line
}

// NewProgress shows progress on w: a bar where w is a terminal, else one line a step.
func NewProgress(w io.Writer, terminal bool) Progress {
	if terminal {
		return &bar{w: w}
	}
	return lines{w: w}
}

// lines writes one line a step, for logs.
type lines struct{ w io.Writer }

func (l lines) Start(step string) { fmt.Fprintf(l.w, "engine: %s\n", step) }
func (l lines) Percent(float64)   {}
func (l lines) Done()             {}
func (l lines) Note(text string)  { fmt.Fprintf(l.w, "engine: %s\n", text) }

// bar draws a bar in one line of a terminal.
type bar struct {
	w   io.Writer
	bar *progressbar.ProgressBar // of the current step
}

func (b *bar) Start(step string) {
	b.bar = progressbar.NewOptions(100,
		progressbar.OptionSetWriter(b.w),
		progressbar.OptionSetDescription("engine: "+step),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(false),
	)
	_ = b.bar.RenderBlank() // a bar that cannot be drawn is no reason to stop
}

func (b *bar) Percent(percent float64) { _ = b.bar.Set(int(percent)) }
func (b *bar) Done()                   { _ = b.bar.Finish() }
func (b *bar) Note(text string)        { fmt.Fprintf(b.w, "engine: %s\n", text) }
