// Package doctor looks at an installed Falco as the datastaging plugin needs it: its version, its configuration as it is
// merged, the plugin's file, the rules and their order, and what audit events need. Each line of its report says what is right,
// or where it is wrong and what to write instead. Where no Falco is at hand, the configuration is looked at all the same.
package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/catalogue"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/settings"
)

// Status is what a line says of what it is about.
type Status string

const (
	OK   Status = "ok"
	Warn Status = "warn" // works, but likely not as it is meant
	Fail Status = "fail"
	Skip Status = "skip" // could not be looked at
)

// Line is one thing that was looked at.
type Line struct {
	Status Status
	Check  string
	Pos    ruleset.Position // zero where it is about no place in a file
	Msg    string
	File   string // where to write Write
	Write  string // YAML, or a command where File is empty
}

// Report is all lines, in the order in which Falco comes upon what they are about.
type Report struct{ Lines []Line }

// Count is how many lines have a status.
func (r Report) Count(s Status) int {
	n := 0
	for _, l := range r.Lines {
		if l.Status == s {
			n++
		}
	}
	return n
}

// Options is which Falco is looked at.
type Options struct {
	Config     string // path of falco.yaml
	Falco      string // path of Falco; empty for none
	PluginsDir string // where Falco looks for plugins that are named without a folder
	Getenv     func(string) (string, bool)
}

const (
	pluginName    = "datastaging"
	containerName = "container"
)

// Names of the checks.
const (
	checkFalco     = "falco"
	checkConfig    = "config"
	checkEngine    = "engine"
	checkPlugin    = "plugin"
	checkLibrary   = "library"
	checkContainer = "container"
	checkInit      = "init-config"
	checkBaseline  = "baseline"
	checkSyscalls  = "base-syscalls"
	checkRules     = "rules"
	checkAudit     = "audit"
	checkOutputs   = "outputs"
	checkDryRun    = "dry-run"
)

// Examine looks at the Falco of these options. The error says why the configuration cannot be read at all.
func Examine(ctx context.Context, opts Options) (Report, error) {
	read, err := settings.Read(opts.Config, opts.Getenv)
	if err != nil {
		return Report{}, err
	}
	needs, err := catalogue.ReadPlugin()
	if err != nil {
		return Report{}, err
	}
	known, err := catalogue.New()
	if err != nil {
		return Report{}, err
	}
	e := &exam{ctx: ctx, opts: opts, settings: read, needs: needs, fields: known, falcoLives: true}
	e.load()
	e.falco()
	e.config()
	e.engine()
	e.plugin()
	e.container()
	e.initConfig()
	e.baseline()
	e.syscalls()
	e.rules()
	e.outputs()
	e.dryRun()
	return e.report, ctx.Err()
}

// exam is one examination.
type exam struct {
	ctx      context.Context
	opts     Options
	settings *settings.Settings
	needs    catalogue.Plugin
	fields   *catalogue.Catalogue
	report   Report

	release    engine.Release
	falcoLives bool // it captures from the kernel, by its configuration

	loaded []plugin // in the order in which Falco loads them
}

func (e *exam) say(s Status, check string, at ruleset.Position, format string, args ...any) *Line {
	e.report.Lines = append(e.report.Lines, Line{Status: s, Check: check, Pos: at, Msg: fmt.Sprintf(format, args...)})
	return &e.report.Lines[len(e.report.Lines)-1]
}

// fix says what to write, and where.
func (l *Line) fix(file, yaml string) { l.File, l.Write = file, yaml }

func (l *Line) run(command string) { l.Write = command }

var nowhere ruleset.Position

// at is the place of a value, or the main file where there is none.
func (e *exam) at(v *settings.Value) ruleset.Position {
	if v == nil {
		return ruleset.Position{File: e.settings.Main()}
	}
	return v.Pos
}

// fileOf is the file to change a value in: where it stands, or the plugin's drop-in where there is none.
func (e *exam) fileOf(v *settings.Value) string {
	if v != nil {
		return v.Pos.File
	}
	return e.dropIn()
}

// dropIn is the file of the plugin's settings, or where it should be.
func (e *exam) dropIn() string {
	for _, p := range e.settings.Get("plugins").Items() {
		if p.Get("name").Text() == pluginName {
			return p.Pos.File
		}
	}
	if len(e.settings.Folders) > 0 {
		return filepath.Join(e.settings.Folders[0], "datastaging.yaml")
	}
	return e.settings.Main()
}

// falco looks at the program.
func (e *exam) falco() {
	if e.opts.Falco == "" {
		e.say(Skip, checkFalco, nowhere, "no Falco is on the PATH: its version, and whether it starts with this configuration, is not known; name it with --falco FILE")
		return
	}
	var err error
	if e.release, err = engine.AskRelease(e.ctx, e.opts.Falco); err != nil {
		e.say(Fail, checkFalco, nowhere, "%v", err)
		return
	}
	r := e.release
	old, err := r.IsTooOld()
	switch {
	case err != nil:
		e.say(Fail, checkFalco, nowhere, "%v", err)
	case old:
		e.say(Fail, checkFalco, nowhere, "%s is Falco %s, and the plugin needs 0.42 or later: update it", e.opts.Falco, r.Falco)
	case !satisfies(r.EventSchema, e.needs.EventSchema):
		e.say(Fail, checkFalco, nowhere, "%s has event schema %s, and the plugin needs %s: use a Falco of that schema's major version", e.opts.Falco, r.EventSchema, e.needs.EventSchema)
	case !satisfies(r.PluginAPI, e.needs.API):
		e.say(Fail, checkFalco, nowhere, "%s has plugin API %s, and the plugin needs %s: update it", e.opts.Falco, r.PluginAPI, e.needs.API)
	default:
		e.say(OK, checkFalco, nowhere, "%s is Falco %s, with event schema %s and plugin API %s", e.opts.Falco, r.Falco, r.EventSchema, r.PluginAPI)
	}
}

// satisfies reports whether a version serves what needs another one: the same major, and no older.
func satisfies(version, needed string) bool {
	have, err := ruleset.ParseVersion(version)
	if err != nil {
		return false
	}
	want, err := ruleset.ParseVersion(needed)
	return err == nil && have.Satisfies(want)
}

// config tells what was read and what is wrong with the files as such.
func (e *exam) config() {
	for _, p := range e.settings.Problems {
		status := Warn
		if p.Fatal {
			status = Fail
		}
		e.say(status, checkConfig, p.Pos, "%s", p.Msg)
	}
	var files []string
	for _, f := range e.settings.Files {
		files = append(files, f.Path)
	}
	e.say(OK, checkConfig, nowhere, "read %s", strings.Join(files, ", "))
}

// engine looks at where events come from.
func (e *exam) engine() {
	kind := e.settings.Get("engine", "kind")
	at := e.at(kind)
	switch text := kind.Text(); text {
	case "modern_ebpf":
		e.say(OK, checkEngine, at, "engine.kind is modern_ebpf")
	case "", "kmod": // Falco's default
		e.say(OK, checkEngine, at, "engine.kind is kmod: Falco needs its kernel module")
	case "replay":
		e.falcoLives = false
		e.say(Warn, checkEngine, at, "engine.kind is replay: Falco reads a capture and ends, and sees nothing of this machine").
			fix(e.fileOf(kind), "engine:\n  kind: modern_ebpf\n")
	case "nodriver":
		e.falcoLives = false
		if p, ok := e.auditSource(); ok {
			e.say(OK, checkEngine, at, "engine.kind is nodriver: Falco looks at the audit events of %s alone", p.name)
			return
		}
		e.say(Fail, checkEngine, at, "engine.kind is nodriver: Falco sees no system calls, and the plugin has nothing to count").
			fix(e.fileOf(kind), "engine:\n  kind: modern_ebpf\n")
	default:
		e.say(Fail, checkEngine, at, "engine.kind is %s, which Falco does not have any more", text).
			fix(e.fileOf(kind), "engine:\n  kind: modern_ebpf\n")
	}
}

// minSnaplen is how many bytes of each buffer the plugin's archive detection is made for: Falco's default.
const minSnaplen = 80

// syscalls looks at which system calls Falco captures.
func (e *exam) syscalls() {
	base := e.settings.Get("base_syscalls")
	all := base.Get("all")
	if !e.falcoLives {
		e.say(Skip, checkSyscalls, e.at(all), "Falco captures nothing, so base_syscalls has no say")
		return
	}
	at := e.at(base)
	if all != nil {
		at = all.Pos
	}
	if !all.Bool(false) {
		e.say(Fail, checkSyscalls, at, "base_syscalls.all is not true: Falco leaves out read, write and their kin, and the plugin sees no byte of file I/O").
			fix(e.fileOf(base), "base_syscalls:\n  all: true\n")
	} else {
		e.say(OK, checkSyscalls, at, "base_syscalls.all is true: file I/O is captured")
	}
	for _, name := range base.Get("custom_set").Items() {
		if strings.HasPrefix(name.Text(), "!") {
			e.say(Warn, checkSyscalls, name.Pos, "base_syscalls.custom_set leaves out %s: what moves through it is not counted, if it moves data; remove it",
				strings.TrimPrefix(name.Text(), "!"))
		}
	}
	if snaplen := e.settings.Get("falco_libs", "snaplen"); snaplen != nil {
		var n int
		if _, err := fmt.Sscan(snaplen.Text(), &n); err == nil && n > 0 && n < minSnaplen {
			e.say(Warn, checkSyscalls, snaplen.Pos, "falco_libs.snaplen is %d: archives are told by the first bytes of what is written, for which %d are needed", n, minSnaplen).
				fix(snaplen.Pos.File, fmt.Sprintf("falco_libs:\n  snaplen: %d\n", minSnaplen))
		}
	}
}

// outputs looks at how alerts leave Falco, as Falcosidekick needs them.
func (e *exam) outputs() {
	get := e.settings.Get
	sends := get("http_output", "enabled").Bool(false)
	status := Warn // nobody may want Falcosidekick
	if sends {
		status = Fail
	}
	found := len(e.report.Lines)
	on := func(output string) bool { return get(output, "enabled").Bool(false) }
	if !slices.ContainsFunc([]string{"stdout_output", "syslog_output", "file_output", "program_output", "http_output"}, on) {
		e.say(Fail, checkOutputs, e.at(get("stdout_output")), "no output is enabled: Falco does not start").fix(e.fileOf(get("stdout_output")), "stdout_output:\n  enabled: true\n")
	}
	if v := get("json_output"); !v.Bool(false) {
		e.say(status, checkOutputs, e.at(v), "json_output is not true: Falcosidekick takes alerts as JSON alone").fix(e.fileOf(v), "json_output: true\n")
	}
	for _, key := range []string{"json_include_output_property", "json_include_output_fields_property", "json_include_tags_property"} {
		if v := get(key); !v.Bool(true) {
			what := map[string]string{
				"json_include_output_property":        "the alert's text",
				"json_include_output_fields_property": "the fields, without which Falcosidekick refuses it",
				"json_include_tags_property":          "the tags, by which alerts are routed",
			}[key]
			e.say(status, checkOutputs, v.Pos, "%s is false: an alert comes without %s", key, what).fix(v.Pos.File, key+": true\n")
		}
	}
	url := get("http_output", "url")
	if sends && url.Text() == "" {
		e.say(Fail, checkOutputs, e.at(url), "http_output is enabled and has no url: Falco does not start").
			fix(e.fileOf(get("http_output")), "http_output:\n  enabled: true\n  url: http://falcosidekick:2801/\n")
	}
	if p := get("priority"); p != nil {
		if least, err := ruleset.ParsePriority(p.Text()); err != nil {
			e.say(Fail, checkOutputs, p.Pos, "priority: %v", err)
		} else if !ruleset.PriorityNotice.AtLeast(least) {
			e.say(Warn, checkOutputs, p.Pos, "priority is %s: rules of a lesser priority, such as those that are for hunting (NOTICE), are not loaded", p.Text()).
				fix(p.Pos.File, "priority: notice\n")
		}
	}
	if len(e.report.Lines) > found {
		return
	}
	if sends {
		e.say(OK, checkOutputs, url.Pos, "alerts go to %s as JSON", url.Text())
	} else {
		e.say(OK, checkOutputs, e.at(get("json_output")), "alerts are JSON, and http_output is off: nothing is sent to Falcosidekick")
	}
}

// plugin is a plugin that Falco loads.
type plugin struct {
	name    string
	library string // path
	entry   *settings.Value
	index   int // in plugins
}

// load finds the plugins that Falco loads: of load_plugins the first of that name, or all where it is not there.
func (e *exam) load() {
	var all []plugin
	for i, entry := range e.settings.Get("plugins").Items() {
		library := entry.Get("library_path").Text()
		if library != "" && !filepath.IsAbs(library) {
			library = filepath.Join(e.opts.PluginsDir, library)
		}
		all = append(all, plugin{entry.Get("name").Text(), library, entry, i})
	}
	names := e.settings.Get("load_plugins")
	if names == nil {
		e.loaded = all
		return
	}
	for _, name := range names.Items() {
		if i := slices.IndexFunc(all, func(p plugin) bool { return p.name == name.Text() }); i >= 0 {
			e.loaded = append(e.loaded, all[i])
		}
	}
}

// find returns a plugin that is loaded and its place in the order.
func (e *exam) find(name string) (p plugin, place int, ok bool) {
	i := slices.IndexFunc(e.loaded, func(p plugin) bool { return p.name == name })
	if i < 0 {
		return plugin{}, 0, false
	}
	return e.loaded[i], i, true
}

// entries are those of "plugins" with a name.
func (e *exam) entries(name string) (out []*settings.Value) {
	for _, entry := range e.settings.Get("plugins").Items() {
		if entry.Get("name").Text() == name {
			out = append(out, entry)
		}
	}
	return out
}

// loadPlugins looks for names that Falco ends at.
func (e *exam) loadPlugins() {
	seen := map[string]ruleset.Position{}
	for _, name := range e.settings.Get("load_plugins").Items() {
		first, twice := seen[name.Text()]
		switch {
		case len(e.entries(name.Text())) == 0:
			e.say(Fail, checkPlugin, name.Pos, "load_plugins names %s, which no entry of plugins describes: Falco does not start; add the entry, or remove the name", name.Text())
		case twice:
			e.say(Fail, checkPlugin, name.Pos, "load_plugins names %s a second time, after %s: Falco does not start; remove one", name.Text(), first)
		default:
			seen[name.Text()] = name.Pos
		}
	}
}

// plugin looks at whether the plugin is there, is named to be loaded, and can be.
func (e *exam) plugin() {
	e.loadPlugins()
	entries := e.entries(pluginName)
	if len(entries) == 0 {
		msg := "no entry of plugins is named " + pluginName
		if hidden := e.hiddenDropIn(); hidden != "" {
			e.say(Fail, checkPlugin, e.at(e.settings.Get("config_files")), "%s, and %s, which has one, is not read: config_files does not name its folder", msg, hidden).
				fix(e.settings.Main(), "config_files:\n  - "+filepath.Dir(hidden)+"\n")
			return
		}
		e.say(Fail, checkPlugin, e.at(e.settings.Get("plugins")), "%s", msg).
			fix(e.dropIn(), "plugins:\n  - name: datastaging\n    library_path: libdatastaging.so\nload_plugins: [datastaging]\n")
		return
	}
	if len(entries) > 1 {
		e.say(Warn, checkPlugin, entries[1].Pos, "plugins has a second entry for %s, and Falco takes the first, in %s: remove one", pluginName, entries[0].Pos)
	}
	p, _, ok := e.find(pluginName)
	if !ok {
		names := e.settings.Get("load_plugins")
		e.say(Fail, checkPlugin, e.at(names), "load_plugins does not name %s, so that it is not loaded", pluginName).
			fix(entries[0].Pos.File, "load_plugins: [datastaging]\n")
		return
	}
	e.say(OK, checkPlugin, p.entry.Pos, "%s is loaded", pluginName)
	e.library(p)
}

// hiddenDropIn is a file with settings of the plugin beside falco.yaml that Falco does not read.
func (e *exam) hiddenDropIn() string {
	files, err := filepath.Glob(filepath.Join(filepath.Dir(e.settings.Main()), "*", "*.yaml"))
	if err != nil {
		return ""
	}
	for _, file := range files {
		read := slices.ContainsFunc(e.settings.Files, func(f settings.File) bool { return f.Path == file })
		text, err := os.ReadFile(file)
		if !read && err == nil && strings.Contains(string(text), "name: "+pluginName) && strings.Contains(string(text), "library_path:") {
			return file
		}
	}
	return ""
}

// container looks at the plugin that knows containers, which ours asks.
func (e *exam) container() {
	_, ours, loaded := e.find(pluginName)
	p, theirs, ok := e.find(containerName)
	switch {
	case !ok && e.auditAlone(): // there are no containers to name
	case !ok && len(e.entries(containerName)) > 0:
		e.say(Warn, checkContainer, e.at(e.settings.Get("load_plugins")), "load_plugins does not name container: workloads have no names but container ids, and alerts no pods").
			fix(e.settings.Main(), "load_plugins: [container]\n")
	case !ok:
		e.say(Warn, checkContainer, e.at(e.settings.Get("plugins")), "no entry of plugins is named container: workloads have no names but container ids, and alerts no pods").
			fix(e.settings.Main(), "plugins:\n  - name: container\n    library_path: libcontainer.so\nload_plugins: [container]\n")
	case missing(p.library):
		e.say(Fail, checkContainer, p.entry.Pos, "the library of the container plugin, %s, is not there: Falco does not start", p.library)
	case loaded && theirs > ours:
		e.loadedAfter()
	case loaded:
		e.say(OK, checkContainer, p.entry.Pos, "container is loaded, before %s", pluginName)
	default:
		e.say(OK, checkContainer, p.entry.Pos, "container is loaded")
	}
}

// loadedAfter tells that the container plugin comes after ours, and how to change that: lists are put together from files in
// the order of their names, so it may be those that have to change.
func (e *exam) loadedAfter() {
	where := func(name string) *settings.Value {
		for _, item := range e.settings.Get("load_plugins").Items() {
			if item.Text() == name {
				return item
			}
		}
		return e.entries(name)[0] // without load_plugins the order is that of plugins
	}
	ours, theirs := where(pluginName), where(containerName)
	l := e.say(Warn, checkContainer, ours.Pos, "%s is loaded before container, in %s, and sees each process before it is known whose container that is in", pluginName, theirs.Pos)
	switch file := ours.Pos.File; {
	case file == theirs.Pos.File && e.settings.Get("load_plugins") != nil:
		l.fix(file, "load_plugins: [container, datastaging]\n")
	case file == theirs.Pos.File:
		l.fix(file, "plugins:\n  - name: container\n    # ...\n  - name: datastaging\n    # ...\n")
	default:
		dir, name := filepath.Split(file)
		l.run("mv " + file + " " + filepath.Join(dir, "zz-"+name))
	}
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return err != nil
}
