// Package live receives the alerts of a Falco that runs: as lines that it prints, from a file that it writes, by HTTP or,
// up to Falco 0.43, by gRPC. Each source is run once and sends what it receives, one after another, to one channel.
package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
)

// Received is what a source sends: an alert, where neither Bad nor Note is set.
type Received struct {
	Alert alert.Alert
	Bad   error  // why something that came is not an alert; begins with where it came, such as "stdin:3: "
	Note  string // what people should know about the source: a file that was rotated
}

// send hands r over and waits until it is taken. It returns false where ctx ended first.
func send(ctx context.Context, out chan<- Received, r Received) bool {
	select {
	case out <- r:
		return true
	case <-ctx.Done():
		return false
	}
}

// parse reads an alert that Falco wrote as JSON.
func parse(text []byte) (alert.Alert, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[0] != '{' {
		return alert.Alert{}, errors.New("not an alert in JSON: set json_output: true in Falco's configuration")
	}
	var a alert.Alert
	if err := json.Unmarshal(text, &a); err != nil {
		return alert.Alert{}, fmt.Errorf("not an alert: %w", err)
	}
	return a, nil
}
