package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/falco-datastaging/datastaging/e2e/internal/doctor"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
)

// doctorCmd looks at an installed Falco.
type doctorCmd struct {
	Config     string `default:"/etc/falco/falco.yaml" placeholder:"FILE" help:"Falco's main configuration file. Default: ${default}."`
	Falco      string `env:"FALCO_BIN" placeholder:"FILE" help:"Falco program. Default: falco on the PATH; without one only the configuration is looked at."`
	PluginsDir string `default:"/usr/share/falco/plugins" placeholder:"DIR" help:"Where this Falco looks for plugins that are named without a folder. Default: ${default}."`
	Format     string `enum:"text,json" default:"text" help:"Format of the report: ${enum}."`
}

// Run reports on stdout, and returns errFindings where something is wrong.
func (c doctorCmd) Run(ctx context.Context, con console) error {
	path, err := engine.FindFalco(engine.Options{FalcoBin: c.Falco})
	if err != nil {
		return err
	}
	report, err := doctor.Examine(ctx, doctor.Options{Config: c.Config, Falco: path, PluginsDir: c.PluginsDir, Getenv: os.LookupEnv})
	if err != nil {
		return err
	}
	write := doctor.WriteJSON
	if c.Format == "text" {
		write = func(w io.Writer, r doctor.Report) error { return doctor.WriteText(w, r, con.stdoutTerminal) }
	}
	if err := write(con.stdout, report); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if report.Count(doctor.Fail) > 0 {
		return errFindings
	}
	return nil
}
