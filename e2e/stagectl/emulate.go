package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/falco-datastaging/datastaging/e2e/internal/emulate"
)

// emulateCmd does what adversaries do, with made-up data and in containers of its own.
type emulateCmd struct {
	Technique []string `short:"t" placeholder:"NAME" help:"Techniques to emulate, see --list. Default: all that need no privileges."`
	List      bool     `help:"List the techniques and what must come of them."`
	Yes       bool     `help:"Do it. Without this, print what would be done."`

	AllowPrivileged bool          `help:"Allow techniques that start a privileged container with a directory of the node, a new and empty one."`
	Interval        time.Duration `default:"1s" placeholder:"DURATION" help:"Time between the pieces of slow-pieces. From 40s on they are too slow for the rule on egress, and the rule on slow egress must fire."`
	Timeout         time.Duration `default:"10m" placeholder:"DURATION" help:"Time limit of each technique."`
	WriteExpect     string        `placeholder:"FILE" help:"Write the alerts that must come to FILE, for stagectl watch --expect, also without --yes."`

	Runtime   string   `enum:"auto,podman,docker,kubectl,process" default:"auto" help:"What runs the containers: ${enum}. auto is the first that is found; process is plain processes of this machine." group:"Where"`
	Image     string   `default:"docker.io/library/buildpack-deps:stable-curl" help:"Image with sh, coreutils, tar, gzip, openssl and perl." group:"Where"`
	Namespace string   `default:"stagectl-emulate" help:"Namespace of the pods, with the scene's name behind it; in the labels of containers that are no pods." group:"Where"`
	Context   string   `placeholder:"NAME" help:"Context of kubectl." group:"Where"`
	RunArg    []string `sep:"none" placeholder:"ARG" help:"Another argument for podman run or docker run, as --run-arg=--runtime=runc. Can be repeated." group:"Where"`
}

// Help says what it does and what it leaves alone.
func (emulateCmd) Help() string {
	return `Each technique has a benign twin, which runs first and must cause no alert that is not listed. All data is made up. It goes to
a sink in the same network namespace, which has no other interface (in a pod: to addresses of its loopback interface): 203.0.113.10,
which is outside the cluster for the rules unless you put it into cluster_networks, and 10.213.113.10, which is inside.

The containers, volumes, directories and namespaces that it makes are removed at the end, after a failure, a time limit and an
interrupt, too. Let stagectl watch run beside it:

  stagectl emulate --write-expect expect.yaml
  stagectl watch --http 127.0.0.1:2801 --expect expect.yaml --timeout 15m &
  stagectl emulate --yes`
}

// Validate is called by kong.
func (c emulateCmd) Validate() error {
	switch {
	case c.Interval < 0:
		return fmt.Errorf("--interval=%s: write a duration such as 1s", c.Interval)
	case c.Timeout <= 0:
		return fmt.Errorf("--timeout=%s: write a duration such as 10m", c.Timeout)
	case c.Runtime == emulate.Kubectl && len(c.RunArg) > 0:
		return errors.New("--run-arg is for podman and docker")
	}
	return nil
}

// Run lists, prints or does.
func (c emulateCmd) Run(ctx context.Context, con console) error {
	chosen, left, err := c.choose()
	if err != nil {
		return err
	}
	if c.List {
		return listTechniques(con.stdout, chosen)
	}
	for _, t := range left {
		fmt.Fprintf(con.stderr, "%s is left out: it starts a privileged container, which takes --allow-privileged\n", t.Name)
	}
	name, err := emulate.Choose(c.Runtime)
	if err != nil && (c.Yes || c.Runtime == emulate.Auto) {
		return err
	}
	if err != nil { // a plan can be looked at where it cannot be run
		name = c.Runtime
		fmt.Fprintf(con.stderr, "warning: %v\n", err)
	}
	run := make([]byte, 3)
	if _, err := rand.Read(run); err != nil {
		return err
	}
	stage := stage{
		runtime: emulate.Open(name, emulate.Config{
			Image: c.Image, Namespace: c.Namespace, Context: c.Context, RunArgs: c.RunArg, Limit: c.Timeout, Dir: strings.TrimRight(os.TempDir(), "/"),
		}),
		run: hex.EncodeToString(run), con: con, limit: c.Timeout,
	}
	var expect bytes.Buffer
	if err := emulate.WriteExpect(&expect, chosen, stage.runtime); err != nil {
		return err
	}
	if c.WriteExpect != "" {
		if err := os.WriteFile(c.WriteExpect, expect.Bytes(), 0o666); err != nil {
			return fmt.Errorf("write the expected alerts: %w", err)
		}
	}
	if !c.Yes {
		if err := stage.print(name, chosen); err != nil {
			return err
		}
		_, err := fmt.Fprintf(con.stdout, "\nThese alerts must come, and no others:\n\n%s", expect.Bytes())
		fmt.Fprintln(con.stderr, "nothing was done: add --yes to do it")
		return err
	}
	for _, t := range chosen {
		if err := stage.perform(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	_, err = con.stdout.Write(expect.Bytes())
	return err
}

// choose gives the techniques, and those that are left out because nobody asked for them.
func (c emulateCmd) choose() (chosen, left []emulate.Technique, err error) {
	found, err := emulate.Find(emulate.Catalogue(emulate.Options{Interval: c.Interval}), c.Technique)
	if err != nil || c.List {
		return found, nil, err
	}
	for _, t := range found {
		switch {
		case t.Name == "slow-pieces" && emulate.PiecesTime(c.Interval) > c.Timeout:
			takes := emulate.PiecesTime(c.Interval)
			return nil, nil, fmt.Errorf("slow-pieces takes %s at this --interval: add --timeout %s", takes, takes+5*time.Minute)
		case !t.Privileged:
			chosen = append(chosen, t)
		case c.Runtime == emulate.Process:
			if len(c.Technique) > 0 {
				return nil, nil, fmt.Errorf("%s needs a container: choose another --runtime", t.Name)
			}
		case c.AllowPrivileged:
			chosen = append(chosen, t)
		case len(c.Technique) > 0:
			return nil, nil, fmt.Errorf("%s starts a privileged container: add --allow-privileged", t.Name)
		default:
			left = append(left, t)
		}
	}
	return chosen, left, nil
}

func listTechniques(w io.Writer, techniques []emulate.Technique) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options.SeparateRows = true
	t.AppendHeader(table.Row{"Technique", "ATT&CK", "Scene", "What happens", "Alerts"})
	for _, technique := range techniques {
		for i, s := range []emulate.Scene{technique.Adversary, technique.Twin} {
			var alerts []string
			for _, e := range s.Expect {
				alerts = append(alerts, fmt.Sprintf("%s: %s", strings.ToUpper(e.Priority.String()), e.Rule))
			}
			row := table.Row{technique.Name, strings.Join(technique.Attack, " "), s.Name, technique.Does, strings.Join(alerts, "\n")}
			if i == 1 {
				row[0], row[1], row[3] = "", "", s.Does
			}
			if len(alerts) == 0 {
				row[4] = "none"
			}
			t.AppendRow(row)
		}
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}

// stage is where techniques are performed.
type stage struct {
	runtime emulate.Runtime
	run     string // names what is made
	con     console
	limit   time.Duration
}

// print shows the commands of the techniques.
func (s stage) print(runtime string, techniques []emulate.Technique) error {
	var b strings.Builder
	fmt.Fprintf(&b, "With %s. The scripts call these functions, which are part of them:\n\n    %s\n", runtime,
		strings.ReplaceAll(strings.TrimSpace(emulate.Functions()), "\n", "\n    "))
	for _, t := range techniques {
		for _, scene := range t.Scenes() {
			does := scene.Does
			if does == "" {
				does = t.Does + " (" + strings.Join(t.Attack, ", ") + ")"
			}
			fmt.Fprintf(&b, "\n%s: %s\n", scene.Name, does)
			if err := s.runtime.Plan(scene, s.run).Print(&b); err != nil {
				return err
			}
		}
	}
	_, err := io.WriteString(s.con.stdout, b.String())
	return err
}

// perform runs both scenes of a technique.
func (s stage) perform(ctx context.Context, t emulate.Technique) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("it took longer than %s: see --timeout", s.limit))
	defer cancel()
	for _, scene := range t.Scenes() {
		fmt.Fprintf(s.con.stderr, "%s\n", scene.Name)
		err := s.runtime.Plan(scene, s.run).Run(ctx, s.con.stderr)
		if errors.Is(err, context.DeadlineExceeded) {
			return errors.Join(context.Cause(ctx), err)
		}
		if err != nil {
			return fmt.Errorf("scene %s: %w", scene.Name, err)
		}
	}
	return nil
}
