package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/falco-datastaging/datastaging/e2e/internal/debian"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
)

// engineFlags choose one engine.
type engineFlags struct {
	Engine string       `enum:"auto,falco,sysdig" default:"auto" help:"Engine to replay with: ${enum}. auto is Falco where one is found, else sysdig from Debian's packages, downloaded once into the user's cache." group:"Engine"`
	Source engineSource `embed:""`
}

// engineSource is where engines come from. Every command that replays has these flags.
type engineSource struct {
	FalcoBin        string `env:"FALCO_BIN" placeholder:"FILE" help:"Falco program, 0.42 or later. Default: falco on the PATH." group:"Engine"`
	FalcoImage      string `env:"FALCO_IMAGE" placeholder:"IMAGE" help:"Falco container image to run with docker or podman instead of a program." group:"Engine"`
	ContainerPlugin string `env:"DATASTAGING_CONTAINER_PLUGIN" placeholder:"FILE" help:"Falco's container plugin, or none. Default: the one in Falco's plugin folder, if there." group:"Engine"`
	K8SAudit        string `name:"k8saudit" env:"K8SAUDIT_LIB" placeholder:"FILE" help:"Falco's k8saudit plugin, to read audit logs with. Default: the one in Falco's plugin folder, else the one for tests beside stagectl, which has no fields." group:"Engine"`
	Witness         string `env:"WITNESS_LIB" placeholder:"FILE" help:"The plugin that lets sysdig ask many rules at once. Default: libwitness.so beside stagectl." group:"Engine"`
	Mirror          string `env:"DATASTAGING_MIRROR" placeholder:"URL" help:"Debian archive to download sysdig from. Default: the one that this machine's apt uses." group:"Engine"`
}

// open gives the engine and says on stderr which one it is.
func (f engineFlags) open(ctx context.Context, con console) (engine.Engine, error) {
	return f.Source.open(ctx, f.Engine, con)
}

// open gives the engine of a kind and says on stderr which one it is.
func (f engineSource) open(ctx context.Context, kind string, con console) (engine.Engine, error) {
	// Without a home folder there is no cache; only the engine that needs one minds.
	cache, err := os.UserCacheDir()
	if err == nil {
		cache = filepath.Join(cache, "datastaging", "engine")
	}
	eng, err := engine.Open(ctx, engine.Options{
		Kind:            kind,
		FalcoBin:        f.FalcoBin,
		FalcoImage:      f.FalcoImage,
		ContainerPlugin: f.ContainerPlugin,
		K8SAudit:        f.K8SAudit,
		AuditSource:     auditSource(),
		Witness:         cmp.Or(f.Witness, witness()),
		CacheDir:        cache,
		Mirror:          f.Mirror,
		Progress:        debian.NewProgress(con.stderr, con.stderrTerminal),
		Log:             con.stderr,
	})
	if err != nil {
		return nil, err
	}
	version, err := eng.Version(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(con.stderr, "engine: %s %s\n", eng.Name(), version)
	return composer{eng}, nil
}

// bundleFlags choose the plugin and the rules. The release puts both beside stagectl.
type bundleFlags struct {
	Plugin         string   `type:"existingfile" placeholder:"FILE" help:"The plugin. Default: libdatastaging.so beside stagectl." group:"Plugin and rules"`
	Rules          []string `sep:"none" placeholder:"FILE" help:"Rules file or folder, loaded after the default rules and in the order given, so that it can tune them." group:"Plugin and rules"`
	NoDefaultRules bool     `help:"Leave out the default rules, datastaging_rules.yaml and datastaging_k8s_audit_rules.yaml beside stagectl." group:"Plugin and rules"`
}

// Files of the release.
const (
	pluginFile     = "libdatastaging.so"
	rulesFile      = "datastaging_rules.yaml"
	auditRulesFile = "datastaging_k8s_audit_rules.yaml"
	witnessFile    = "libwitness.so"
)

// pluginPath is the plugin to load.
func (f bundleFlags) pluginPath() (string, error) {
	if f.Plugin != "" {
		return f.Plugin, nil
	}
	return beside(pluginFile, "--plugin FILE")
}

// rulesPaths are the rules files in load order.
func (f bundleFlags) rulesPaths() ([]string, error) {
	if f.NoDefaultRules {
		if len(f.Rules) == 0 {
			return nil, errors.New("--no-default-rules leaves no rules: name some with --rules FILE")
		}
		return f.Rules, nil
	}
	paths, err := defaultRules("--no-default-rules and --rules FILE")
	if err != nil {
		return nil, err
	}
	return append(paths, f.Rules...), nil
}

// defaultRules are the rules files of the release in load order. instead names the flags that do without.
func defaultRules(instead string) ([]string, error) {
	var paths []string
	for _, file := range []string{rulesFile, auditRulesFile} {
		path, err := beside(file, instead)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// auditSource is the plugin that reads audit logs where Falco's own is not found; empty where it was not built.
func auditSource() string {
	path, err := beside("libauditsource.so", "K8SAUDIT_LIB")
	if err != nil {
		return "" // an audit log is refused with what to do about it
	}
	return path
}

// witness is the plugin that tells sysdig which of many conditions an event meets; empty where it was not built.
func witness() string {
	path, err := beside(witnessFile, "--engine falco")
	if err != nil {
		return "" // only sysdig needs it, and is refused with what to do about it
	}
	return path
}

// beside gives the path of a file of the release, which lies beside the program. instead names the flags that do without.
func beside(file, instead string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", file, err)
	}
	if exe, err = filepath.EvalSymlinks(exe); err != nil {
		return "", fmt.Errorf("find %s: %w", file, err)
	}
	path := filepath.Join(filepath.Dir(exe), file)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find %s beside stagectl: %w; build it with make, or use %s", file, err, instead)
	}
	return path, nil
}

// replayFlags choose what a capture is replayed with.
type replayFlags struct {
	Config   string `placeholder:"FILE" help:"The plugin's init_config, as YAML or JSON."`
	Baseline string `placeholder:"FILE" help:"Baseline to compare with, as stagectl learn or the plugin wrote it."`

	Bundle bundleFlags `embed:""`
}

// request is a replay without its capture.
func (f replayFlags) request() (engine.Request, error) {
	var req engine.Request
	var err error
	if req.InitConfig, err = readInitConfig(f.Config); err != nil {
		return engine.Request{}, err
	}
	if err := refuseBaselineFile(req.InitConfig); err != nil {
		return engine.Request{}, err
	}
	if req.InitConfig, err = compareWith(f.Baseline, req.InitConfig); err != nil {
		return engine.Request{}, err
	}
	if req.Rules, err = f.Bundle.rulesPaths(); err != nil {
		return engine.Request{}, err
	}
	if req.Plugin, err = f.Bundle.pluginPath(); err != nil {
		return engine.Request{}, err
	}
	return req, nil
}

// readInitConfig reads the plugin's init_config, YAML or JSON, from a file as JSON. No file is no configuration.
func readInitConfig(path string) (json.RawMessage, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the plugin's configuration: %w", err)
	}
	converted, err := yaml.YAMLToJSON(data)
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		at := syntax.GetToken().Position
		return nil, fmt.Errorf("read the plugin's configuration: %s:%d:%d: %s", path, at.Line, at.Column, syntax.GetMessage())
	}
	if err != nil {
		return nil, fmt.Errorf("read the plugin's configuration %s: %w", path, err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(converted, &object); err != nil {
		return nil, fmt.Errorf("read the plugin's configuration %s: want a mapping of option: value", path)
	}
	if len(object) == 0 {
		return nil, nil
	}
	return json.RawMessage(converted), nil
}
