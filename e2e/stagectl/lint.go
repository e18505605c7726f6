package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/lint"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// lintCmd checks rules files for those who write them.
type lintCmd struct {
	Files      []string `arg:"" optional:"" name:"file" help:"Rules files or folders of them, in the order in which Falco loads them after the default rules. Default: the default rules themselves, in a checkout the folders macros and rules."`
	Format     string   `enum:"text,json,github" default:"text" help:"Format of the findings: ${enum}. github is annotations of a pull request."`
	Disable    []string `placeholder:"CHECK" help:"Leave out a check, or several with commas between them."`
	ListChecks bool     `help:"List the checks and exit."`

	Plugin          string `type:"existingfile" placeholder:"FILE" help:"The plugin, for Falco's own check. Default: libdatastaging.so beside stagectl." group:"Plugin and rules"`
	NoDefaultRules  bool   `help:"Do not load the default rules, datastaging_rules.yaml and datastaging_k8s_audit_rules.yaml beside stagectl, before the files." group:"Plugin and rules"`
	FalcoBin        string `env:"FALCO_BIN" placeholder:"FILE" help:"Falco that validates the files, too. Default: falco on the PATH, if there." group:"Engine"`
	ContainerPlugin string `env:"DATASTAGING_CONTAINER_PLUGIN" placeholder:"FILE" help:"Falco's container plugin, or none. Default: the one in Falco's plugin folder, if there." group:"Engine"`
	K8SAudit        string `name:"k8saudit" env:"K8SAUDIT_LIB" placeholder:"FILE" help:"Falco's k8saudit plugin, for rules on audit events. Default: the one in Falco's plugin folder, else the one for tests beside stagectl." group:"Engine"`
}

// Validate is called by kong.
func (c lintCmd) Validate() error {
	var names []string
	for _, check := range lint.Checks() {
		names = append(names, check.Name)
	}
	for _, name := range c.Disable {
		if !slices.Contains(names, name) {
			near := slices.MinFunc(names, func(a, b string) int {
				return levenshtein.Distance(name, a, nil) - levenshtein.Distance(name, b, nil)
			})
			return fmt.Errorf("--disable=%s: no check has this name: write %s, or see --list-checks", name, near)
		}
	}
	return nil
}

// Run reports what it finds on stdout, and returns errFindings then.
func (c lintCmd) Run(ctx context.Context, con console) error {
	if c.ListChecks {
		return listChecks(con.stdout)
	}
	before, files, err := c.read()
	if err != nil {
		return err
	}
	linter, err := lint.New()
	if err != nil {
		return err
	}
	report := linter.Files(before, files)
	if err := c.askFalco(ctx, con, slices.Concat(before, files), &report); err != nil {
		return err
	}
	report.Disable(c.Disable...)
	write := map[string]func(io.Writer, lint.Report) error{
		"text": lint.WriteText, "json": lint.WriteJSON, "github": lint.WriteGitHub,
	}[c.Format]
	if err := write(con.stdout, report); err != nil {
		return fmt.Errorf("print the findings: %w", err)
	}
	if len(report.Findings) > 0 {
		return errFindings
	}
	return nil
}

func listChecks(w io.Writer) error {
	for _, check := range lint.Checks() {
		if _, err := fmt.Fprintf(w, "%-19s %s\n", check.Name, check.Looks); err != nil {
			return err
		}
	}
	return nil
}

// read gives the files to check, and those that Falco loads before them.
func (c lintCmd) read() (before, files []ruleset.File, err error) {
	paths := c.Files
	switch bundled, missing := defaultRules("--no-default-rules"); {
	case len(paths) == 0 && isFolder("macros") && isFolder("rules"):
		paths = []string{"macros", "rules"}
	case len(paths) == 0 && missing != nil:
		return nil, nil, missing
	case len(paths) == 0:
		paths = bundled
	case c.NoDefaultRules:
	case missing != nil:
		return nil, nil, missing
	default:
		if before, err = ruleset.ReadFiles(bundled...); err != nil {
			return nil, nil, err
		}
	}
	files, err = ruleset.ReadFiles(paths...)
	return before, files, err
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// askFalco lets a Falco validate the files, where there is one, and adds where it disagrees.
func (c lintCmd) askFalco(ctx context.Context, con console, files []ruleset.File, report *lint.Report) error {
	path, err := engine.FindFalco(engine.Options{FalcoBin: c.FalcoBin})
	if err != nil || path == "" {
		return err
	}
	source := auditSource()
	if report.AuditFields {
		source = "" // it has none of them: Falco would refuse the rules, and leaves them out without a plugin of their source
	}
	validations, release, err := c.validate(ctx, path, source, files)
	if err != nil {
		if c.FalcoBin != "" || ctx.Err() != nil {
			return err
		}
		// Found by chance: the machine's Falco may be of another kind, and the findings stand without it.
		first, _, _ := strings.Cut(err.Error(), "\n")
		fmt.Fprintf(con.stderr, "stagectl: without Falco's own check: %s\n", first)
		return nil
	}
	report.Compare(release, validations)
	return nil
}

// validate lets the Falco at path validate files. auditSource is the plugin for audit events where Falco's own is not found.
func (c lintCmd) validate(ctx context.Context, path, auditSource string, files []ruleset.File) ([]engine.Validation, string, error) {
	plugin, err := bundleFlags{Plugin: c.Plugin}.pluginPath()
	if err != nil {
		return nil, "", err
	}
	eng, err := engine.Open(ctx, engine.Options{
		Kind: engine.KindFalco, FalcoBin: path, ContainerPlugin: c.ContainerPlugin, K8SAudit: c.K8SAudit, AuditSource: auditSource,
	})
	if err != nil {
		return nil, "", err
	}
	falco, ok := eng.(*engine.Falco)
	if !ok {
		return nil, "", fmt.Errorf("validate with %s: it is no Falco", eng.Name())
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
	}
	validations, err := falco.Validate(ctx, plugin, names)
	return validations, falco.Release(), err
}
