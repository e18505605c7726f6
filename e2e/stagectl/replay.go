package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
)

// replayCmd replays captures and prints the alerts.
type replayCmd struct {
	Captures []string `arg:"" name:"capture" help:"Capture files (.scap) and logs of Kubernetes audit events, replayed one after the other, each by a fresh engine."`
	Format   string   `enum:"table,json" default:"table" help:"Format of the alerts: ${enum}. json is one alert a line as Falco prints it, and nothing else."`

	With   replayFlags `embed:""`
	Engine engineFlags `embed:""`
}

// Run replays the captures in order and ends at the first that cannot be replayed whole.
func (c replayCmd) Run(ctx context.Context, con console) error {
	req, err := c.With.request()
	if err != nil {
		return err
	}
	eng, err := c.Engine.open(ctx, con)
	if err != nil {
		return err
	}
	show := newAlertTable(con).show
	if c.Format == "json" {
		show = func(_ string, alerts []alert.Alert) error { return writeJSON(con.stdout, alerts) }
	}
	for _, req.Capture = range c.Captures {
		alerts, replayErr := eng.Replay(ctx, req)
		// What was found before a cut is shown, too; a capture that could not be replayed at all has nothing to show.
		if replayErr == nil || len(alerts) > 0 {
			if err := show(req.Capture, alerts); err != nil {
				return fmt.Errorf("print the alerts: %w", err)
			}
		}
		if replayErr != nil {
			return replayErr
		}
	}
	return nil
}

// writeJSON writes one alert a line, as Falco does.
func writeJSON(w io.Writer, alerts []alert.Alert) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, a := range alerts {
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
	return nil
}
