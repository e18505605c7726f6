package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// killDelay is how long an engine that was told to stop may take before it is killed.
const killDelay = 5 * time.Second

// input is a capture that was looked through before an engine gets it.
type input struct {
	path     string // of what the engine reads: the capture, or a copy of what is good of it
	source   string // event source of its events: syscall, k8s_audit
	hostname string // what alerts name as their host: where it was recorded
	cut      error  // what is missing of it, a *capture.Error for syscalls, for the end of the replay
	clean    func()
}

// SourceOf is the event source of a capture or script; syscall for what cannot be read, which a replay tells.
func SourceOf(path string) string {
	if isLog, err := auditlog.Is(path); err == nil && isLog {
		return auditlog.Source
	}
	return ruleset.SyscallSource
}

// open looks through a request's capture for an engine of these libs, which reads audit logs with the plugin auditPlugin. A capture
// that is cut off is no reason not to replay it. The engine gets only its good part then: engines end at the cut in different
// ways, one of them silently.
func open(ctx context.Context, req Request, libs, auditPlugin string, log *journal) (input, error) {
	path := req.Capture
	if SourceOf(path) == auditlog.Source {
		return openAudit(ctx, path, auditPlugin, func(text string) { log.tell(req, text) })
	}
	sum, err := capture.Check(ctx, path, capture.LimitsOf(libs))
	in := input{path: path, source: ruleset.SyscallSource, hostname: hostname(sum), clean: func() {}}
	var problem *capture.Error
	if !errors.As(err, &problem) || problem.Problem != capture.Truncated || problem.Events == 0 {
		return in, err
	}
	f, err := os.CreateTemp("", "datastaging-*.scap")
	if err != nil {
		return in, err
	}
	in.path, in.cut = f.Name(), problem
	in.clean = func() { os.Remove(f.Name()) }
	err = problem.Salvage(f)
	if err := errors.Join(err, f.Close()); err != nil {
		in.clean()
		return in, err
	}
	return in, nil
}

// hostname is what alerts of a capture name as their host: where it was recorded.
func hostname(sum capture.Summary) string {
	if sum.Machine.Hostname != "" {
		return sum.Machine.Hostname
	}
	return localHostname()
}

func localHostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// sortByEvent sorts alerts by their event's number; those of one event keep their order.
func sortByEvent(alerts []alert.Alert) {
	slices.SortStableFunc(alerts, func(a, b alert.Alert) int {
		m, _ := a.EventNumber()
		n, _ := b.EventNumber()
		return cmp.Compare(m, n)
	})
}

// engineEnv is the environment of an engine: of the caller's, only what programs and container runtimes are found with. A
// replay gives the same on every machine: times are in UTC, and libsinsp looks for users that the capture does not name in
// a folder that is not there, instead of in this machine's /etc/passwd and in the roots of its processes.
func engineEnv(env []string) []string {
	kept := slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains(inherited, name) && !strings.HasPrefix(name, "DOCKER_") && !strings.HasPrefix(name, "CONTAINER_")
	})
	return append(kept, replayEnv...)
}

// callersEnv is the environment of an engine that runs as people run theirs: the caller's, in UTC, without what changes which
// libraries it loads.
func callersEnv(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "LD_") })
	return append(env, "TZ=UTC")
}

var (
	inherited = []string{"PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"}
	replayEnv = []string{"TZ=UTC", "HOST_ROOT=" + nowhere}
)

// nowhere is a folder that is on no machine, by Debian's policy.
const nowhere = "/nonexistent"

// plugin is a library as sysdig's option -H takes it.
type plugin struct {
	path  string // without a colon, which would end it; empty for none
	clean func()
}

// openPlugin finds a plugin's library, or nothing where there is no path. clean removes what it needs.
func openPlugin(library string) (plugin, error) {
	p := plugin{clean: func() {}}
	if library == "" {
		return p, nil
	}
	path, err := filepath.Abs(library)
	if err != nil {
		return p, fmt.Errorf("find the plugin: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return p, fmt.Errorf("find the plugin: %w", err)
	}
	if strings.Contains(path, ":") {
		dir, err := os.MkdirTemp("", "datastaging-")
		if err != nil {
			return p, err
		}
		p.clean = func() { os.RemoveAll(dir) }
		link := filepath.Join(dir, "plugin.so")
		if err := os.Symlink(path, link); err != nil {
			p.clean()
			return p, err
		}
		path = link
	}
	p.path = path
	return p, nil
}

// args are sysdig's arguments for the plugin with an init_config.
func (p plugin) args(initConfig json.RawMessage) ([]string, error) {
	if p.path == "" {
		return nil, nil
	}
	arg := p.path
	if len(initConfig) > 0 {
		arg += ":" + string(initConfig)
	}
	if len(arg) > maxArg {
		return nil, fmt.Errorf("pass the plugin its configuration: it is %d bytes long, and sysdig takes %d", len(arg), maxArg)
	}
	return []string{"-H", arg}, nil
}

// explain adds what a failed program wrote to its standard error, and turns the kill of a cancelled context into the
// context's error.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, brief(string(exit.Stderr)))
	}
	return err
}

// maxComplaint is the number of lines of an engine's complaint that people get to see. A crash prints hundreds.
const maxComplaint = 20

// brief is a complaint without what comes after its first lines.
func brief(complaint string) string {
	lines := strings.Split(strings.TrimSpace(complaint), "\n")
	if len(lines) <= maxComplaint {
		return strings.Join(lines, "\n")
	}
	return fmt.Sprintf("%s\n(%d more lines)", strings.Join(lines[:maxComplaint], "\n"), len(lines)-maxComplaint)
}

// endOfOutput is nil for the end of a program's output.
func endOfOutput(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
