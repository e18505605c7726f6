package engine

import (
	"fmt"
	"io"
	"sync"
)

// A journal passes on what engines and rules have to say beside alerts. Replays of the same rules say the same: each text
// is written once.
type journal struct {
	mu   sync.Mutex
	w    io.Writer
	said map[string]bool
}

// newJournal writes to w; nil for nowhere.
func newJournal(w io.Writer) *journal {
	if w == nil {
		w = io.Discard
	}
	return &journal{w: w, said: map[string]bool{}}
}

// say writes a text of whole lines. A log that cannot be written is no reason to lose alerts.
func (j *journal) say(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if text == "" || j.said[text] {
		return
	}
	j.said[text] = true
	fmt.Fprint(j.w, text)
}

// tell writes a text to the request's own log, or says it in the journal where the request has none.
func (j *journal) tell(req Request, text string) {
	if req.Log == nil {
		j.say(text)
	} else if text != "" {
		fmt.Fprint(req.Log, text)
	}
}
