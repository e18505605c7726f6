package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
)

// replayCmd replays captures and prints the alerts.
type replayCmd struct {
	Captures []string `arg:"" name:"capture" help:"Capture files (.scap) and logs of Kubernetes audit events, replayed one after the other, each by a fresh engine."`
	Format   string   `enum:"table,json" default:"table" help:"Format of the alerts: ${enum}. json is one alert a line as Falco prints it, and nothing else."`
	Config   string   `placeholder:"FILE" help:"The plugin's init_config, as YAML or JSON."`
	Baseline string   `placeholder:"FILE" help:"Baseline to compare with, as stagectl learn or the plugin wrote it."`

	Bundle bundleFlags `embed:""`
	Engine engineFlags `embed:""`
}

// Run replays the captures in order and ends at the first that cannot be replayed whole.
func (c replayCmd) Run(ctx context.Context, con console) error {
	req := engine.Request{}
	var err error
	if req.InitConfig, err = readInitConfig(c.Config); err != nil {
		return err
	}
	if err := refuseBaselineFile(req.InitConfig); err != nil {
		return err
	}
	if req.InitConfig, err = compareWith(c.Baseline, req.InitConfig); err != nil {
		return err
	}
	if req.Rules, err = c.Bundle.rulesPaths(); err != nil {
		return err
	}
	if req.Plugin, err = c.Bundle.pluginPath(); err != nil {
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
