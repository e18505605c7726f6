package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
)

// learnCmd learns a baseline from captures of what is normal.
type learnCmd struct {
	Captures []string `arg:"" name:"capture" help:"Capture files (.scap) and audit logs of normal work, in any order."`
	Out      string   `required:"" placeholder:"FILE" help:"Baseline file to write. One that is there is learned on."`
	Node     string   `placeholder:"NAME" help:"Node that the baseline is of, for merging. Default: this host's name."`
	Config   string   `placeholder:"FILE" help:"The plugin's init_config, as YAML or JSON."`
	Plugin   string   `type:"existingfile" placeholder:"FILE" help:"The plugin. Default: libdatastaging.so beside stagectl."`

	Engine engineFlags `embed:""`
}

// Rules files whose rule never fires, for a syscall capture and for an audit log: learning needs no alert, and an engine needs
// a rule.
const (
	noSyscall = `- rule: Nothing
  desc: Never fires.
  condition: evt.type = close and evt.num = 0
  output: never
  priority: DEBUG
`
	noAuditEvent = `- rule: Nothing
  desc: Never fires.
  source: k8s_audit
  condition: evt.num = 0
  output: never
  priority: DEBUG
`
)

// Run replays the captures one after the other through a plugin that learns, and writes the baseline when all are read.
func (c learnCmd) Run(ctx context.Context, con console) error {
	initConfig, err := readInitConfig(c.Config)
	if err != nil {
		return err
	}
	if c.Node != "" {
		if initConfig, err = withBaseline(initConfig, map[string]any{"node": c.Node}, nil); err != nil {
			return err
		}
	}
	plugin, err := (bundleFlags{Plugin: c.Plugin}).pluginPath()
	if err != nil {
		return err
	}
	eng, err := c.Engine.open(ctx, con)
	if err != nil {
		return err
	}
	if err := learn(ctx, eng.Replay, plugin, initConfig, c.Captures, c.Out); err != nil {
		return err
	}
	fmt.Fprintf(con.stderr, "baseline: %s\n", c.Out)
	return nil
}

// learn replays captures through a plugin that learns and writes the baseline to out, all of it or nothing. A baseline
// that is at out already is learned on. replay is that of an engine.
func learn(ctx context.Context, replay func(context.Context, engine.Request) ([]alert.Alert, error), plugin string,
	initConfig json.RawMessage, captures []string, out string,
) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("learn: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(out), ".learn-")
	if err != nil {
		return fmt.Errorf("learn: make room beside %s: %w", out, err)
	}
	defer os.RemoveAll(work)
	learned := filepath.Join(work, "baseline")
	syscallRules, auditRules := filepath.Join(work, "syscall.yaml"), filepath.Join(work, "k8s_audit.yaml")
	err = errors.Join(
		os.WriteFile(syscallRules, []byte(noSyscall), 0o600),
		os.WriteFile(auditRules, []byte(noAuditEvent), 0o600))
	if err != nil {
		return fmt.Errorf("learn: %w", err)
	}
	if err := carryOn(out, learned); err != nil {
		return fmt.Errorf("learn: %w", err)
	}
	req := engine.Request{Plugin: plugin, State: learned}
	if req.InitConfig, err = withBaseline(initConfig, map[string]any{"mode": "learn"}, nil); err != nil {
		return err
	}
	for _, req.Capture = range captures {
		req.Rules = []string{syscallRules}
		if engine.SourceOf(req.Capture) == auditlog.Source {
			req.Rules = []string{auditRules}
		}
		if _, err := replay(ctx, req); err != nil {
			return err
		}
	}
	if _, err := os.Stat(learned); err != nil {
		return errors.New("learn: nothing was learned; a baseline is made of whole minutes, and these captures have none")
	}
	if err := os.Rename(learned, out); err != nil {
		return fmt.Errorf("learn: %w", err)
	}
	return nil
}

// carryOn copies a baseline that is there, so that a failure leaves it as it was.
func carryOn(from, to string) error {
	content, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

// withBaseline returns an init_config whose baseline section has the values of set, and those of unless where it has
// none of its own.
func withBaseline(initConfig json.RawMessage, set, unless map[string]any) (json.RawMessage, error) {
	var config, section map[string]any
	if len(initConfig) > 0 {
		dec := json.NewDecoder(bytes.NewReader(initConfig))
		dec.UseNumber() // numbers keep their digits
		if err := dec.Decode(&config); err != nil {
			return nil, fmt.Errorf("read the plugin's configuration: %w", err)
		}
	}
	switch value := config["baseline"].(type) {
	case nil:
		section = map[string]any{}
	case map[string]any:
		section = value
	default:
		return nil, errors.New("read the plugin's configuration: baseline: want a mapping of option: value")
	}
	for key, value := range unless {
		if _, ok := section[key]; !ok {
			section[key] = value
		}
	}
	for key, value := range set {
		section[key] = value
	}
	if config == nil {
		config = map[string]any{}
	}
	config["baseline"] = section
	return json.Marshal(config)
}

// compareWith returns an init_config that compares with a baseline and learns nothing. A baseline that somebody names is
// one to compare with, however short it was learned; without one nothing is read from or written to a file.
func compareWith(baseline string, initConfig json.RawMessage) (json.RawMessage, error) {
	if baseline == "" {
		return initConfig, nil
	}
	path, err := filepath.Abs(baseline)
	if err != nil {
		return nil, fmt.Errorf("read baseline: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("read baseline: %w", err)
	}
	return withBaseline(initConfig,
		map[string]any{"mode": "detect", "file": path, "audit_file": path},
		map[string]any{"min_windows": 1, "learning_period": "0s"})
}

// refuseBaselineFile refuses an init_config that would write a baseline: a replay runs the plugin several times at once.
func refuseBaselineFile(initConfig json.RawMessage) error {
	var config struct {
		Baseline struct {
			Mode string `json:"mode"`
			File string `json:"file"`
		} `json:"baseline"`
	}
	if len(initConfig) == 0 {
		return nil
	}
	if err := json.Unmarshal(initConfig, &config); err != nil {
		return fmt.Errorf("read the plugin's configuration: %w", err)
	}
	if config.Baseline.File != "" && config.Baseline.Mode != "detect" {
		return errors.New("the plugin's configuration: baseline.file would be written; learn with stagectl learn, and compare with --baseline FILE or mode detect")
	}
	return nil
}
