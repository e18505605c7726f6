// Command stagectl replays syscall captures through a real Falco engine with the datastaging plugin and its rules, and
// tests that the right rules fire.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/mattn/go-isatty"
)

// Exit statuses. A finding of the tool's own, such as a failed case, is 1; what could not be done is 2.
const (
	exitOK       = 0
	exitFindings = 1
	exitError    = 2
)

// errFindings ends a command that did its work and found what must not be. It has been reported already.
var errFindings = errors.New("findings")

// cli is the command line.
type cli struct {
	Replay   replayCmd   `cmd:"" help:"Replay captures and print the alerts."`
	Test     testCmd     `cmd:"" help:"Replay the captures of test cases and compare the alerts with those that the cases expect."`
	Coverage coverageCmd `cmd:"" help:"Tell which terms of the rules no case exercises, and which rules lack a case."`
	Mutate   mutateCmd   `cmd:"" help:"Change the rules' conditions a little and tell which changes no case notices."`
	Learn    learnCmd    `cmd:"" help:"Learn a baseline of what is normal from captures."`
	Tune     tuneCmd     `cmd:"" help:"Try values of the rules' thresholds on labelled captures and recommend some."`
	Report   reportCmd   `cmd:"" help:"Replay captures and write an HTML page of what each container did with data, and each identity through the API server."`
	Watch    watchCmd    `cmd:"" help:"Show the alerts of a running Falco as they come, or hold them against those that are expected."`
	Compose  composeCmd  `cmd:"" help:"Write a script as a capture."`
	Emulate  emulateCmd  `cmd:"" help:"Do what the rules are to detect, and its benign twins, with made-up data in throw-away containers."`
	Baseline baselineCmd `cmd:"" help:"Show, compare, merge, trim and check baselines."`
	Lint     lintCmd     `cmd:"" help:"Check rules files for mistakes: what Falco refuses or warns of, and what it takes but should not be written."`
	Doctor   doctorCmd   `cmd:"" help:"Check an installed Falco: version, configuration, plugin, rules and outputs, and say what to change."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version and exit."`
}

// console is what commands write to.
type console struct {
	stdout, stderr io.Writer
	stdoutTerminal bool // stdout is a terminal
	stderrTerminal bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], console{
		stdout:         os.Stdout,
		stderr:         os.Stderr,
		stdoutTerminal: isatty.IsTerminal(os.Stdout.Fd()),
		stderrTerminal: isatty.IsTerminal(os.Stderr.Fd()),
	})
	stop()
	os.Exit(status)
}

// run is main with its surroundings as parameters; it returns the exit status.
func run(ctx context.Context, args []string, con console) int {
	var c cli
	status := -1
	parser, err := kong.New(&c,
		kong.Name("stagectl"),
		kong.Description("Replays syscall captures through a real Falco engine and tests which rules fire."),
		kong.Vars{"version": version()},
		kong.Writers(con.stdout, con.stderr),
		kong.Exit(func(code int) { status = code }), // after --help and --version
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(con),
	)
	if err != nil {
		fmt.Fprintf(con.stderr, "stagectl: %v\n", err)
		return exitError
	}
	kctx, err := parser.Parse(args)
	if status >= 0 {
		return status
	}
	if err != nil {
		fmt.Fprintf(con.stderr, "stagectl: %v (see stagectl --help)\n", err)
		return exitError
	}
	switch err := kctx.Run(); {
	case err == nil:
		return exitOK
	case errors.Is(err, errFindings):
		return exitFindings
	case ctx.Err() != nil:
		fmt.Fprintln(con.stderr, "stagectl: interrupted")
		return exitError
	default:
		fmt.Fprintf(con.stderr, "stagectl: %v\n", err)
		return exitError
	}
}

// versionCmd prints the version.
type versionCmd struct{}

func (versionCmd) Run(con console) error {
	_, err := fmt.Fprintln(con.stdout, version())
	return err
}

// version is the module's version as the Go linker recorded it, with the commit where it is a development build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "stagectl (unknown version)"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	return "stagectl " + v
}
