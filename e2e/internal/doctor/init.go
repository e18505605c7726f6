package doctor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sys/unix"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/settings"
	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// initConfig holds the plugin's init_config against its JSON schema, as Falco does.
func (e *exam) initConfig() {
	p, _, ok := e.find(pluginName)
	if !ok {
		return
	}
	init := p.entry.Get("init_config")
	value, err := decodeInit(init)
	if err != nil {
		e.say(Fail, checkInit, init.Pos, "init_config is text and no JSON: %v; write it as a mapping", err)
		return
	}
	problems, err := e.validate(value)
	if err != nil {
		e.say(Skip, checkInit, e.at(init), "%v", err)
		return
	}
	for _, problem := range problems {
		e.say(Fail, checkInit, placeOf(init, p.entry, problem.path), "init_config%s: %s; the README lists the keys and what they take", keyOf(problem.path), problem.msg)
	}
	if len(problems) == 0 {
		e.say(OK, checkInit, placeOf(init, p.entry, nil), "init_config has keys and values of the right kind")
	}
}

// decodeInit gives an init_config, which may be text, as a JSON value.
func decodeInit(init *settings.Value) (any, error) {
	text := init.Text()
	if init.IsMapping() || strings.TrimSpace(text) == "" {
		if v, ok := init.JSON().(map[string]any); ok {
			return v, nil
		}
		return map[string]any{}, nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// problem is a value that the schema does not accept.
type problem struct {
	path []string
	msg  string
}

func (e *exam) validate(value any) ([]problem, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.needs.InitConfig))
	if err != nil {
		return nil, fmt.Errorf("read the schema of init_config: %w", err)
	}
	c := jsonschema.NewCompiler()
	const url = "init_config.json"
	if err := c.AddResource(url, doc); err != nil {
		return nil, fmt.Errorf("read the schema of init_config: %w", err)
	}
	schema, err := c.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("read the schema of init_config: %w", err)
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(schema.Validate(value), &invalid) {
		return nil, nil
	}
	var problems []problem
	for _, unit := range invalid.BasicOutput().Errors {
		if unit.Error == nil {
			continue
		}
		var path []string
		if unit.InstanceLocation != "" {
			path = strings.Split(strings.TrimPrefix(unit.InstanceLocation, "/"), "/")
		}
		problems = append(problems, problem{path, unit.Error.String()})
	}
	slices.SortFunc(problems, func(a, b problem) int { return cmp.Or(slices.Compare(a.path, b.path), cmp.Compare(a.msg, b.msg)) })
	return problems, nil
}

func keyOf(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return "." + strings.Join(path, ".")
}

// placeOf is the place of a part of the init_config, or of the last part on the way to it that is there.
func placeOf(init, entry *settings.Value, path []string) ruleset.Position {
	v := init
	if v == nil {
		return entry.Pos
	}
	for _, key := range path {
		next := v.Get(key)
		if next == nil {
			break
		}
		v = next
	}
	return v.Pos
}

// baseline looks at the files that the plugin keeps its baselines in.
func (e *exam) baseline() {
	p, _, ok := e.find(pluginName)
	if !ok {
		return
	}
	init := p.entry.Get("init_config")
	path, mode := baselineOf(init)
	at := placeOf(init, p.entry, []string{"baseline", "file"})
	switch {
	case path != "":
		if workloads, ok := e.readBaseline(keptIn{"file", path, mode, at, "the plugin does not start"}); ok {
			e.say(OK, checkBaseline, at, "%s has %d workloads", path, len(workloads))
		}
	case e.auditAlone() && baselineSetting(init, "audit_file") != "": // all that is learned is kept there
	case mode == "detect":
		e.nameBaseline(e.say(Fail, checkBaseline, at, "init_config says mode: detect and names no baseline.file to compare with"), p)
	default:
		e.nameBaseline(e.say(Warn, checkBaseline, at, "init_config names no baseline.file: what is learned is lost at a restart, and everything is learned anew"), p)
	}
	e.auditBaseline(init, p.entry)
}

func (e *exam) nameBaseline(l *Line, p plugin) {
	l.fix(p.entry.Pos.File, "plugins:\n  - name: datastaging\n    init_config:\n      baseline:\n        file: /var/lib/falco/datastaging.baseline\n")
}

// keptIn is a file that the plugin keeps a baseline in.
type keptIn struct {
	key, path, mode string // baseline.KEY is PATH
	at              ruleset.Position
	otherwise       string // what the plugin does where it cannot use the file
}

// readBaseline reads a baseline. It is not ok where there is none, which is said.
func (e *exam) readBaseline(k keptIn) (workloads []baseline.Workload, ok bool) {
	dir := filepath.Dir(k.path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir():
		e.say(Fail, checkBaseline, k.at, "the directory of baseline.%s, %s, is not there: %s", k.key, dir, k.otherwise).run("install -d -m 700 " + dir)
		return nil, false
	case err != nil:
		e.say(Skip, checkBaseline, k.at, "the directory of baseline.%s: %v", k.key, err)
		return nil, false
	}
	if k.mode != "detect" && unix.Access(dir, unix.W_OK|unix.X_OK) != nil {
		if os.Geteuid() == 0 {
			e.say(Fail, checkBaseline, k.at, "nothing can be written to %s: what is learned is not saved; mount it writable", dir)
		} else {
			e.say(Skip, checkBaseline, k.at, "this user cannot write to %s: run doctor as the user that Falco runs as to see whether that one can", dir)
		}
		return nil, false
	}
	f, err := baseline.ReadFile(k.path)
	if err == nil {
		workloads, err = f.Workloads()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && k.mode == "detect":
		e.say(Fail, checkBaseline, k.at, "%s is not there, and mode: detect compares with nothing else: copy a baseline there", k.path)
	case errors.Is(err, fs.ErrNotExist):
		e.say(OK, checkBaseline, k.at, "%s will be written: nothing is learned yet", k.path)
	case errors.Is(err, baseline.ErrDamaged):
		e.say(Warn, checkBaseline, k.at, "%v: the plugin puts it aside and takes %s.prev", err, k.path)
	case err != nil:
		e.say(Fail, checkBaseline, k.at, "%v: %s", err, k.otherwise)
	default:
		return workloads, true
	}
	return nil, false
}

// baselineOf is the file and the mode of the baseline that an init_config names.
func baselineOf(init *settings.Value) (file, mode string) {
	return baselineSetting(init, "file"), baselineSetting(init, "mode")
}

// baselineSetting is a text below "baseline" in an init_config; "" where there is none.
func baselineSetting(init *settings.Value, key string) string {
	value, err := decodeInit(init)
	if err != nil {
		return ""
	}
	object, _ := value.(map[string]any)
	below, _ := object["baseline"].(map[string]any)
	text, _ := below[key].(string)
	return text
}
