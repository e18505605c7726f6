package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// minFalco is the oldest Falco whose libs have event schema 4, which the plugin is built for.
var minFalco = [2]int{0, 42}

// Falco is the engine of a Falco program, or of a Falco container image.
type Falco struct {
	path      string // of the program; of docker or podman where image is set
	image     string // container image; empty for a program
	container string // path of Falco's container plugin; empty for none
	audit     string // path of the plugin that reads audit logs; empty for none
	log       *journal
	version   string // of Falco
	libs      string // of falcosecurity/libs
	engine    string // of its rule engine, what rules require; empty where it does not tell
	sums      sums
}

// FalcoOptions is which Falco to use.
type FalcoOptions struct {
	Path  string // of the program
	Image string // container image, instead of a program
	// ContainerPlugin is the path of Falco's container plugin, which adds the container's name, image and pod to alerts.
	// Empty: the one in Falco's plugin folder if there is one. "none": without.
	ContainerPlugin string
	AuditPlugin     string    // path of the plugin that reads audit logs; empty: none are read
	Log             io.Writer // what Falco says that is no alert
}

// NewFalco makes the engine of a Falco and asks its version. A Falco that is too old is an error.
func NewFalco(ctx context.Context, opts FalcoOptions) (*Falco, error) {
	f := &Falco{
		path: opts.Path, image: opts.Image, container: opts.ContainerPlugin, audit: opts.AuditPlugin, log: newJournal(opts.Log),
	}
	if f.image != "" {
		runner, err := containerRunner()
		if err != nil {
			return nil, err
		}
		f.path = runner
	}
	if err := f.askVersion(ctx); err != nil {
		return nil, err
	}
	switch f.container {
	case "none":
		f.container = ""
	case "":
		f.container = f.findContainerPlugin()
	}
	return f, nil
}

// containerRunner finds the program that runs container images.
func containerRunner() (string, error) {
	for _, name := range []string{"docker", "podman"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("run Falco's container image: neither docker nor podman is on the PATH")
}

// Release is what a Falco says of itself with --version and json_output.
type Release struct {
	Falco       string `json:"falco_version"`
	Libs        string `json:"libs_version"`
	EventSchema string `json:"driver_schema_version"`
	PluginAPI   string `json:"plugin_api_version"`
	Engine      string `json:"engine_version_semver"` // of its rule engine, what rules require; empty where it does not tell
}

// AskRelease asks the Falco of this path its version.
func AskRelease(ctx context.Context, path string) (Release, error) {
	f := &Falco{path: path}
	return f.askRelease(ctx)
}

func (f *Falco) askRelease(ctx context.Context) (Release, error) {
	dir, err := os.MkdirTemp("", "datastaging-falco-")
	if err != nil {
		return Release{}, err
	}
	defer os.RemoveAll(dir)
	// A configuration of our own: the machine's may be unreadable, or load plugins.
	config := filepath.Join(dir, "falco.yaml")
	if err := os.WriteFile(config, []byte("{\"json_output\": true}\n"), 0o644); err != nil {
		return Release{}, err
	}
	out, err := f.command(ctx, []string{dir}, "", "", "-c", config, "--version").Output()
	if err != nil {
		return Release{}, fmt.Errorf("ask %s its version: %w", f.path, explain(ctx, err))
	}
	v, err := parseRelease(out)
	if err != nil {
		return Release{}, fmt.Errorf("ask %s its version: %w", f.path, err)
	}
	return v, nil
}

// IsTooOld reports whether the Falco is older than the oldest that is supported.
func (r Release) IsTooOld() (bool, error) { return isBefore(r.Falco, minFalco) }

// askVersion asks Falco its version and refuses one before minFalco.
func (f *Falco) askVersion(ctx context.Context) error {
	v, err := f.askRelease(ctx)
	if err != nil {
		return err
	}
	f.version, f.libs, f.engine = v.Falco, v.Libs, v.Engine
	if old, err := v.IsTooOld(); err != nil {
		return fmt.Errorf("ask %s its version: %w", f.path, err)
	} else if old {
		return fmt.Errorf("use %s: Falco %s is too old, the plugin needs %d.%d or later; name another one with FALCO_BIN, "+
			"or use --engine sysdig", f.path, v.Falco, minFalco[0], minFalco[1])
	}
	return nil
}

// Lines of a Falco that answers --version as text.
var (
	falcoVersionLine  = regexp.MustCompile(`(?m)^Falco version:\s*(\S+)`)
	libsVersionLine   = regexp.MustCompile(`(?m)^Libs version:\s*(\S+)`)
	pluginAPILine     = regexp.MustCompile(`(?m)^Plugin API:\s*(\S+)`)
	schemaVersionLine = regexp.MustCompile(`(?m)^\s*Schema version:\s*(\S+)`)
	engineLine        = regexp.MustCompile(`(?m)^Engine:\s*(\d+\.\d+\.\d+)`)
)

// parseRelease reads Falco's answer to --version, a JSON object or lines of text.
func parseRelease(out []byte) (Release, error) {
	var v Release
	if err := json.Unmarshal(out, &v); err == nil && v.Falco != "" {
		return v, nil
	}
	m := falcoVersionLine.FindSubmatch(out)
	if m == nil {
		return v, fmt.Errorf("its answer names no Falco version: %q", bytes.TrimSpace(out[:min(len(out), 200)]))
	}
	v.Falco = string(m[1])
	lines := map[*string]*regexp.Regexp{
		&v.Libs: libsVersionLine, &v.PluginAPI: pluginAPILine, &v.EventSchema: schemaVersionLine, &v.Engine: engineLine,
	}
	for into, line := range lines {
		if m := line.FindSubmatch(out); m != nil {
			*into = string(m[1])
		}
	}
	return v, nil
}

// isBefore compares the first two numbers of a version with those of another. A development build, such as
// 0.45.0-12+abc, counts as its release.
func isBefore(version string, other [2]int) (bool, error) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return false, fmt.Errorf("read the version %q: want MAJOR.MINOR.PATCH", version)
	}
	for i, want := range other {
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return false, fmt.Errorf("read the version %q: %w", version, err)
		}
		if n != want {
			return n < want, nil
		}
	}
	return false, nil
}

// findContainerPlugin looks for the container plugin where Falco's packages put it, from the program on.
func (f *Falco) findContainerPlugin() string {
	const name = "libcontainer.so"
	if f.image != "" {
		return name // Falco's image has it in its plugin folder
	}
	return findIn(pluginFolders(f.path), name)
}

// pluginFolders are where Falco's packages put plugins, from the program on; empty for no program.
func pluginFolders(program string) []string {
	const packaged = "/usr/share/falco/plugins"
	if program == "" {
		return []string{packaged}
	}
	if path, err := filepath.EvalSymlinks(program); err == nil {
		program = path
	}
	prefix := filepath.Dir(filepath.Dir(program)) // of bin/falco
	return []string{filepath.Join(prefix, "share/falco/plugins"), filepath.Join(prefix, "plugins"), packaged}
}

// Name is "falco".
func (f *Falco) Name() string { return "falco" }

// Version names Falco, its libs, and where it came from.
func (f *Falco) Version(context.Context) (string, error) {
	from := f.path
	if f.image != "" {
		from = f.image
	}
	return fmt.Sprintf("%s (libs %s, %s)", f.version, f.libs, from), nil
}

// Replay runs Falco over the capture with nothing but the request's plugin and rules. A capture that is cut off gives the
// alerts of its good part and the *capture.Error.
func (f *Falco) Replay(ctx context.Context, req Request) ([]alert.Alert, error) {
	in, err := open(ctx, req, f.libs, f.audit, f.log)
	if err != nil {
		return nil, err
	}
	defer in.clean()
	req.Capture = in.path
	if err := f.checkEngine(req.Rules); err != nil {
		return nil, err
	}
	var alerts []alert.Alert
	came := map[string]int{} // by rule
	err = f.run(ctx, req, in, func(a alert.Alert) error {
		if came[a.Rule]++; req.Limit == 0 || came[a.Rule] <= req.Limit {
			alerts = append(alerts, a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sortByEvent(alerts)
	return alerts, in.cut
}

// Ask runs Falco over the capture with one rule for each query.
func (f *Falco) Ask(ctx context.Context, req Request, queries []Query, each func(query int, s Sample) error) error {
	in, err := open(ctx, req, f.libs, f.audit, f.log)
	if err != nil {
		return err
	}
	defer in.clean()
	dir, err := os.MkdirTemp("", "datastaging-falco-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rules, err := queryRules(queries, in.source)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "queries.yaml")
	if err := os.WriteFile(path, rules, 0o644); err != nil {
		return err
	}
	req.Capture, req.Rules = in.path, []string{path}
	if req, err = borrowing(req, dir); err != nil {
		return err
	}
	err = f.run(ctx, req, in, func(a alert.Alert) error {
		query, err := strconv.Atoi(a.Rule)
		if err != nil {
			return fmt.Errorf("read Falco's alert: the query's number: %w", err)
		}
		number, ok := a.EventNumber()
		if !ok {
			return errors.New("read Falco's alert: it has no event number")
		}
		return each(query, Sample{Event: number, Time: a.Time, Container: containerOf(a.OutputFields), Values: a.OutputFields})
	})
	if err != nil {
		return err
	}
	return in.cut
}

// queryRules are rules files' rules on events of a source, as JSON, named by the queries' numbers.
func queryRules(queries []Query, source string) ([]byte, error) {
	var fields []string
	if source == ruleset.SyscallSource {
		fields = append(fields, fieldCgroups)
	}
	type rule struct {
		Rule      string   `json:"rule"`
		Desc      string   `json:"desc"`
		Condition string   `json:"condition"`
		Output    string   `json:"output"`
		Priority  string   `json:"priority"`
		Source    string   `json:"source"`
		Tags      []string `json:"tags"`
	}
	rules := make([]rule, len(queries))
	for i, q := range queries {
		rules[i] = rule{
			Rule: strconv.Itoa(i), Desc: "asks for fields", Condition: q.Filter, Priority: "DEBUG", Source: source, Tags: []string{},
			Output: queryFormat(slices.Concat(fields, q.Fields)),
		}
	}
	return json.Marshal(rules)
}

// run runs Falco over an input and gives each alert as Falco prints it.
func (f *Falco) run(ctx context.Context, req Request, in input, each func(alert.Alert) error) error {
	dir, err := os.MkdirTemp("", "datastaging-falco-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	st, err := openState(req)
	if err != nil {
		return err
	}
	defer st.clean()
	var copied string
	if req.InitConfig, copied, err = st.give(req.InitConfig); err != nil {
		return err
	}
	config, mounts, err := f.config(req, in.source)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "falco.yaml")
	if err := os.WriteFile(path, config, 0o644); err != nil {
		return err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := f.command(running, append(mounts, dir), st.dir, in.hostname, append([]string{"-c", path}, sourceArgs(in.source)...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Falco: %w", err)
	}
	readErr := readAlerts(stdout, each)
	if readErr != nil {
		cancel() // it may be blocked writing what nobody reads
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case readErr != nil:
		return readErr
	case err != nil:
		return fmt.Errorf("run Falco: %w\n%s", err, brief(readable(stderr.String())))
	}
	f.log.tell(req, readable(stderr.String()))
	if in.cut != nil {
		return nil
	}
	st.keep(copied)
	return st.commit()
}

// sourceArgs are the arguments that leave out all other event sources, which are live ones that never end.
func sourceArgs(source string) []string {
	if source == ruleset.SyscallSource {
		return nil
	}
	return []string{"--enable-source", source}
}

// checkEngine holds what the rules require of the engine against what Falco says of itself. Rules that we cannot read are
// Falco's to judge.
func (f *Falco) checkEngine(rules []string) error {
	version, err := ruleset.ParseVersion(f.engine)
	if err != nil {
		return nil //nolint:nilerr // it does not tell
	}
	set, _ := ruleset.Load(rules...)
	if err := set.CheckEngine(version); err != nil {
		return fmt.Errorf("run Falco %s: %w", f.version, err)
	}
	return nil
}

// logTime begins the lines of Falco's log.
var logTime = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}: `)

// live are the beginnings of lines about a live capture, which a replay has not: which syscalls the driver was asked for,
// and what it dropped.
var live = []string{
	"Loaded rules match syscalls that are not activated",
	"[libs]: Cannot read host init process proc root", // see replayEnv
	"If syscalls in rules include high volume syscalls",
	"Syscall event drop monitoring:",
	"   - event drop detected: 0",
	"   - num times actions taken: 0",
}

// otherSources are Falco's warnings about rules of a source that the capture is not of: no fault of the rules. What is left of
// a file's warnings when these are gone may be its heading alone.
var (
	otherSources = regexp.MustCompile(`(?m)^In rules content: .*\n(?: .*\n)*------\n(?:.*\n){1,3}?------\nLOAD_UNKNOWN_SOURCE .*\n`)
	bareHeading  = regexp.MustCompile(`(?m)^.*: Ok, with warnings\n\d+ Warnings:\n(\n|\z)`)
)

// readable is Falco's log without the times, which are those of the replay, and without what is no matter here: rules of
// other sources, and live captures.
func readable(log string) string {
	log = logTime.ReplaceAllString(log, "")
	log = bareHeading.ReplaceAllString(otherSources.ReplaceAllString(log, ""), "")
	var b strings.Builder
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(live, func(start string) bool { return strings.HasPrefix(line, start) }) {
			b.WriteString(line)
		}
	}
	if text := strings.Trim(b.String(), "\n"); text != "" {
		return text + "\n"
	}
	return ""
}

// readAlerts reads Falco's standard output: an alert a line, and at the end statistics as text.
func readAlerts(r io.Reader, each func(alert.Alert) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if bytes.HasPrefix(line, []byte("{")) {
			var a alert.Alert
			if err := json.Unmarshal(line, &a); err != nil {
				return fmt.Errorf("read Falco's alert: %w", err)
			}
			if err := each(a); err != nil {
				return err
			}
		}
		if err != nil {
			return endOfOutput(err)
		}
	}
}

// command is Falco with arguments, in the container image if there is one. paths are what it reads, state is the folder that
// it writes to, empty for none.
func (f *Falco) command(ctx context.Context, paths []string, state, hostname string, args ...string) *exec.Cmd {
	env := engineEnv(os.Environ())
	if hostname != "" {
		env = append(env, "FALCO_HOSTNAME="+hostname) // what Falco puts into alerts
	}
	if f.image != "" {
		args = f.imageArgs(paths, state, hostname, args)
	}
	cmd := exec.CommandContext(ctx, f.path, args...)
	cmd.Env = env
	// Falco ends by itself on an interrupt, and docker passes it on.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killDelay
	return cmd
}

// imageArgs are docker's arguments: every path lies at its own place in the container, read-only but for the state.
func (f *Falco) imageArgs(paths []string, state, hostname string, args []string) []string {
	run := []string{"run", "--rm", "--network=none", "--entrypoint=falco"}
	for _, v := range append(slices.Clone(replayEnv), "FALCO_HOSTNAME="+hostname) {
		run = append(run, "--env="+v)
	}
	for _, path := range paths {
		run = append(run, "--mount=type=bind,readonly,source="+path+",target="+path)
	}
	if state != "" {
		run = append(run, "--mount=type=bind,source="+state+",target="+state)
	}
	return append(append(run, f.image), args...)
}

// falcoConfig is the part of falco.yaml that a replay sets. Everything that Falco would do beside printing alerts is off.
type falcoConfig struct {
	ConfigFiles      []string            `json:"config_files"`
	WatchConfigFiles bool                `json:"watch_config_files"`
	RulesFiles       []string            `json:"rules_files"`
	Engine           falcoEngine         `json:"engine"`
	LoadPlugins      []string            `json:"load_plugins"`
	Plugins          []falcoPlugin       `json:"plugins"`
	PluginsHostinfo  bool                `json:"plugins_hostinfo"`
	Priority         string              `json:"priority"`
	RuleMatching     string              `json:"rule_matching"`
	TimeISO8601      bool                `json:"time_format_iso_8601"`
	JSONOutput       bool                `json:"json_output"`
	JSONWithOutput   bool                `json:"json_include_output_property"`
	JSONWithFields   bool                `json:"json_include_output_fields_property"`
	JSONWithTags     bool                `json:"json_include_tags_property"`
	JSONWithMessage  bool                `json:"json_include_message_property"`
	BufferedOutputs  bool                `json:"buffered_outputs"`
	AppendOutput     []falcoAppendOutput `json:"append_output"`
	StdoutOutput     enabled             `json:"stdout_output"`
	SyslogOutput     enabled             `json:"syslog_output"`
	FileOutput       enabled             `json:"file_output"`
	HTTPOutput       enabled             `json:"http_output"`
	Webserver        enabled             `json:"webserver"`
	Metrics          enabled             `json:"metrics"`
	LogStderr        bool                `json:"log_stderr"`
	LogSyslog        bool                `json:"log_syslog"`
	LogLevel         string              `json:"log_level"`
	LibsLogger       libsLogger          `json:"libs_logger"`
}

type falcoEngine struct {
	Kind   string       `json:"kind"`
	Replay *falcoReplay `json:"replay,omitempty"`
}

type falcoReplay struct {
	CaptureFile string `json:"capture_file"`
}

type falcoPlugin struct {
	Name        string `json:"name"`
	LibraryPath string `json:"library_path"`
	InitConfig  string `json:"init_config"`
	OpenParams  string `json:"open_params,omitempty"` // of the plugin that is the source
}

type falcoAppendOutput struct {
	ExtraFields []string `json:"extra_fields"`
}

type enabled struct {
	Enabled bool `json:"enabled"`
}

type libsLogger struct {
	Enabled  bool   `json:"enabled"`
	Severity string `json:"severity"`
}

// containerFields are the fields of Falco's container plugin that alerts get where it is loaded.
var containerFields = []string{
	fieldContainerID, "container.name", "container.image.repository", "k8s.ns.name", "k8s.pod.name",
}

// config writes falco.yaml, as JSON, which YAML includes, and gives the files that it names. source is the event source of
// the request's capture.
func (f *Falco) config(req Request, source string) (config []byte, paths []string, err error) {
	c := falcoConfig{
		ConfigFiles:    []string{},
		LoadPlugins:    []string{},
		Plugins:        []falcoPlugin{},
		Priority:       "debug",
		RuleMatching:   "all",
		TimeISO8601:    true,
		JSONOutput:     true,
		JSONWithOutput: true,
		JSONWithFields: true,
		JSONWithTags:   true,
		StdoutOutput:   enabled{true},
		LogStderr:      true,
		LogLevel:       "warning",
		LibsLogger:     libsLogger{Enabled: true, Severity: "warning"},
	}
	path := func(p string) (string, error) {
		abs, err := filepath.Abs(p)
		if err != nil {
			return "", err
		}
		if strings.Contains(abs, "${") {
			return "", fmt.Errorf("pass Falco the path %s: it would take ${ for a variable; rename it", abs)
		}
		// Falco passes over rules files that are not there.
		if _, err := os.Stat(abs); err != nil {
			return "", fmt.Errorf("pass Falco its files: %w", err)
		}
		paths = append(paths, abs)
		return abs, nil
	}
	capture := "" // none: the rules are only validated
	if req.Capture != "" {
		if capture, err = path(req.Capture); err != nil {
			return nil, nil, err
		}
	}
	for _, p := range req.Rules {
		rules, err := path(p)
		if err != nil {
			return nil, nil, err
		}
		c.RulesFiles = append(c.RulesFiles, rules)
	}
	fields := []string{alert.FieldEventNumber}
	if f.container != "" {
		library := f.container
		if f.image == "" { // the one of an image lies in the image
			if library, err = path(library); err != nil {
				return nil, nil, err
			}
		}
		init, err := containerConfig(filepath.Join(nowhere, "none.sock"))
		if err != nil {
			return nil, nil, err
		}
		c.LoadPlugins = append(c.LoadPlugins, "container")
		c.Plugins = append(c.Plugins, falcoPlugin{Name: "container", LibraryPath: library, InitConfig: init})
		if source == ruleset.SyscallSource && capture != "" {
			fields = append(fields, containerFields...)
		}
	}
	if capture != "" && source == ruleset.SyscallSource {
		c.Engine = falcoEngine{Kind: "replay", Replay: &falcoReplay{capture}}
	} else {
		// A plugin that is a source reads its events itself, which is a live capture to Falco.
		c.Engine = falcoEngine{Kind: "nodriver"}
	}
	// Without that plugin Falco leaves out rules of its source, which are validated, too.
	if f.audit != "" && capture == "" || source != ruleset.SyscallSource {
		library, err := path(f.audit)
		if err != nil {
			return nil, nil, err
		}
		name := pluginName(library)
		c.LoadPlugins = append(c.LoadPlugins, name)
		c.Plugins = append(c.Plugins, falcoPlugin{Name: name, LibraryPath: library, OpenParams: capture})
	}
	// Rules on audit events may name its fields, too.
	if library := findIn(pluginFolders(f.path), "libjson.so"); library != "" && capture == "" && f.image == "" {
		if library, err = path(library); err != nil {
			return nil, nil, err
		}
		c.LoadPlugins = append(c.LoadPlugins, "json")
		c.Plugins = append(c.Plugins, falcoPlugin{Name: "json", LibraryPath: library})
	}
	if req.Plugin != "" {
		library, err := path(req.Plugin)
		if err != nil {
			return nil, nil, err
		}
		c.LoadPlugins = append(c.LoadPlugins, "datastaging")
		c.Plugins = append(c.Plugins, falcoPlugin{
			Name:        "datastaging",
			LibraryPath: library,
			// Falco replaces ${NAME} in any value. In JSON a dollar sign stands in strings only, where it has another spelling.
			InitConfig: strings.ReplaceAll(string(req.InitConfig), "$", `\u0024`),
		})
	}
	c.AppendOutput = []falcoAppendOutput{{ExtraFields: fields}}
	config, err = json.Marshal(c)
	return config, paths, err
}

// containerConfig is the container plugin's init_config, which has to name every runtime. The plugin tells containers by
// their cgroups only for runtimes that are on; the sockets are moved away, because the containers of this machine have no
// place in a replay.
func containerConfig(socket string) (string, error) {
	type runtime struct {
		Enabled bool     `json:"enabled"`
		Sockets []string `json:"sockets,omitempty"`
	}
	runtimes := map[string]runtime{}
	for _, name := range []string{"bpm", "lxc", "libvirt_lxc"} {
		runtimes[name] = runtime{Enabled: true}
	}
	for _, name := range []string{"docker", "podman", "containerd", "cri"} {
		runtimes[name] = runtime{Enabled: true, Sockets: []string{socket}}
	}
	init, err := json.Marshal(map[string]any{"engines": runtimes})
	return string(init), err
}

// Command writes the configuration of the replay into a temporary file and runs Falco with it. Falco runs all rules at
// once, whichever is asked for; where none is, their alerts are not shown.
func (f *Falco) Command(req Request, rule string) (string, error) {
	state := ""
	var err error
	if req.State != "" {
		state = filepath.Dir(req.State)
		if req.InitConfig, err = withBaselineFile(req.InitConfig, req.State); err != nil {
			return "", err
		}
	}
	if err := refuseAudit(req); err != nil {
		return "", err
	}
	config, paths, err := f.config(req, ruleset.SyscallSource)
	if err != nil {
		return "", err
	}
	file := filepath.Join(os.TempDir(), "stagectl-falco.yaml")
	args := []string{"-c", file}
	if f.image != "" {
		args = f.imageArgs(append(paths, file), state, "", args)
	}
	line := shellLine(nil, "printf", `%s\n`, string(config)) + " > " + ShellWord(file) + " && " +
		shellLine(replayEnv, append([]string{f.path}, args...)...)
	if rule == "" {
		line += " > /dev/null"
	}
	return line, nil
}

// Fingerprint writes the versions that Falco tells, the content of the program and of its plugins, and the rules files as they
// are, since Falco expands them itself. Of a program that is a script it cannot see what the script starts; the versions stand for it.
func (f *Falco) Fingerprint(ctx context.Context, req Request, w io.Writer) error {
	fmt.Fprintf(w, "%q %q %q %q %q\n", f.version, f.libs, f.engine, f.container, f.audit)
	if f.image != "" {
		out, err := exec.CommandContext(ctx, f.path, "image", "inspect", "--format", "{{.Id}}", f.image).Output()
		if err != nil {
			return fmt.Errorf("identify the image %s: %w", f.image, explain(ctx, err))
		}
		fmt.Fprintf(w, "image %s\n", bytes.TrimSpace(out))
	} else if err := f.sums.write(w, f.path); err != nil {
		return err
	}
	if f.image == "" { // else they lie in the image
		for _, plugin := range []string{f.container, f.audit} {
			if err := f.sums.write(w, plugin); err != nil {
				return err
			}
		}
	}
	for _, path := range req.Rules {
		names, err := ruleset.Files(path)
		if err != nil {
			return fmt.Errorf("read rules: %w", err)
		}
		for _, name := range names {
			if err := f.sums.write(w, name); err != nil {
				return err
			}
		}
	}
	return nil
}
