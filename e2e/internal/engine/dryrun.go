package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"
)

// SchemaComplaint is what Falco's schema of configurations does not know.
type SchemaComplaint struct{ File, Msg string }

// Trial is what a Falco says that starts with a configuration.
type Trial struct {
	Schema []SchemaComplaint
}

// schemaLine is Falco's line about a configuration file.
var schemaLine = regexp.MustCompile(`(?m) {3}(\S.*?) \| schema validation: (.*)$`)

// errorLine is what Falco begins the reason with for which it ends.
var errorLine = regexp.MustCompile(`(?m)^(?:Runtime error|Error): `)

// DryRun lets a Falco load its configuration, plugins and rules and end before the first event. options are of the form
// KEY=VALUE and go before what the configuration says. A Falco that does not come that far is an error with its reason.
func DryRun(ctx context.Context, path, config string, options []string, limit time.Duration) (Trial, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := []string{"-c", config, "--dry-run"}
	for _, o := range options {
		args = append(args, "-o", o)
	}
	f := &Falco{path: path}
	cmd := f.command(ctx, nil, "", "", args...)
	cmd.Env = callersEnv(os.Environ()) // its configuration may name variables
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	log := readable(stderr.String())
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Trial{}, fmt.Errorf("start %s with %s: it takes longer than %v", path, config, limit)
	}
	if err != nil {
		if at := errorLine.FindStringIndex(log); at != nil {
			return Trial{}, fmt.Errorf("start %s with %s: %s", path, config, brief(log[at[1]:]))
		}
		return Trial{}, fmt.Errorf("start %s with %s: %w: %s", path, config, err, brief(log))
	}
	var t Trial
	for _, m := range schemaLine.FindAllStringSubmatch(log, -1) {
		if m[2] != "ok" && m[2] != "none" {
			t.Schema = append(t.Schema, SchemaComplaint{m[1], m[2]})
		}
	}
	return t, nil
}
