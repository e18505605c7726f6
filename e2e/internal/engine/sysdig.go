package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/debian"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Sysdig is the engine of Debian's sysdig package. It is the libsinsp that Falco embeds, without Falco's rules: all rules are run
// as one filter in a pass over the capture, and a plugin of the harness, the witness, tells which of them matched.
type Sysdig struct {
	tree    debian.Tree
	loader  []string // the tree's own dynamic loader with its library path, and the program
	version string   // of sysdig
	libs    string   // of falcosecurity/libs
	audit   string   // path of the plugin that reads audit logs; empty for none
	witness string   // path of libwitness.so
	sums    sums
	plugins sync.Map // what plugins say of themselves, pluginInfo by the SHA-256 of their files
	log     *journal
	slots   chan struct{} // one for each process that may run at once, whatever the number of replays
}

// SysdigOptions are what a sysdig is used with.
type SysdigOptions struct {
	AuditPlugin string    // path of the plugin that reads audit logs; empty: none are read
	Witness     string    // path of libwitness.so
	Log         io.Writer // gets the warnings about rules and captures
}

// NewSysdig makes the engine of an unpacked sysdig package and starts it to ask its version.
func NewSysdig(ctx context.Context, tree debian.Tree, opts SysdigOptions) (*Sysdig, error) {
	one := func(pattern string) (string, error) {
		found, err := filepath.Glob(filepath.Join(tree.Root, pattern))
		if err != nil || len(found) == 0 {
			return "", fmt.Errorf("start sysdig: the package has no %s; remove %s to have it downloaded again", pattern, tree.Root)
		}
		return found[0], nil
	}
	libs, err := one("usr/lib/*-linux-gnu")
	if err != nil {
		return nil, err
	}
	// libc6's loader lies at one place in the libraries' folder and is linked from the place of the ABI.
	loader, err := one("usr/lib/*-linux-gnu/ld-linux-*.so.*")
	if err != nil {
		return nil, err
	}
	if opts.Witness == "" {
		return nil, errNoWitness
	}
	s := &Sysdig{
		tree:    tree,
		audit:   opts.AuditPlugin,
		witness: opts.Witness,
		log:     newJournal(opts.Log),
		slots:   make(chan struct{}, runtime.GOMAXPROCS(0)),
		loader:  []string{loader, "--library-path", libs, filepath.Join(tree.Root, "usr/bin/sysdig")},
	}
	if s.version, err = s.ask(ctx, "--version"); err != nil {
		return nil, err
	}
	if s.libs, err = s.ask(ctx, "--libs-version"); err != nil {
		return nil, err
	}
	return s, nil
}

// ask gives the last word of sysdig's answer to an option, a version.
func (s *Sysdig) ask(ctx context.Context, option string) (string, error) {
	out, err := s.command(ctx, option).Output()
	if err != nil {
		return "", fmt.Errorf("start sysdig %s: %w", option, explain(ctx, err))
	}
	words := strings.Fields(string(out))
	if len(words) == 0 {
		return "", fmt.Errorf("ask sysdig %s: no answer", option)
	}
	return words[len(words)-1], nil
}

// Name is "sysdig".
func (s *Sysdig) Name() string { return "sysdig" }

// Version names sysdig, its libs and the Debian package.
func (s *Sysdig) Version(context.Context) (string, error) {
	return fmt.Sprintf("%s (libs %s, Debian package %s)", s.version, s.libs, s.tree.Version(s.tree.Package)), nil
}

// Replay runs all rules, in a pass for their alerts' values and, where there are any, one for their text. A capture that is cut off gives the alerts of its good part and the *capture.Error.
func (s *Sysdig) Replay(ctx context.Context, req Request) ([]alert.Alert, error) {
	in, err := open(ctx, req, s.libs, s.audit, s.log)
	if err != nil {
		return nil, err
	}
	defer in.clean()
	set, err := ruleset.Load(req.Rules...)
	if err != nil {
		return nil, err
	}
	for _, w := range set.Warnings {
		s.log.tell(req, w.String()+"\n")
	}
	rules := runnable(set, in.source)
	replay, err := s.start(in, req)
	if err != nil {
		return nil, err
	}
	defer replay.clean()
	if len(rules) == 0 {
		return nil, errors.Join(replay.probe(ctx), replay.checkPlugins(ctx, set), replay.end())
	}
	err = replay.checkPlugins(ctx, set)
	var alerts []alert.Alert
	if err == nil {
		alerts, err = replay.run(ctx, rules)
	}
	if err != nil {
		// A plugin that does not load or refuses its configuration is no rule's fault.
		if its := replay.probe(ctx); its != nil {
			err = its
		}
		return nil, err
	}
	sortByEvent(alerts)
	return alerts, replay.end()
}

// runnable are the rules of a set that can fire on events of a source.
func runnable(set *ruleset.Set, source string) []ruleset.Rule {
	return slices.DeleteFunc(set.Rules(), func(r ruleset.Rule) bool { return !r.Enabled || r.Source != source })
}

// Ask runs all queries in one pass, or in as few as their length allows.
func (s *Sysdig) Ask(ctx context.Context, req Request, queries []Query, each func(query int, s Sample) error) error {
	in, err := open(ctx, req, s.libs, s.audit, s.log)
	if err != nil {
		return err
	}
	defer in.clean()
	replay, err := s.start(in, req)
	if err != nil {
		return err
	}
	defer replay.clean()
	if err := replay.ask(ctx, queries, each); err != nil {
		return err
	}
	return in.cut
}

// ask runs queries.
func (r *sysdigReplay) ask(ctx context.Context, queries []Query, each func(query int, s Sample) error) error {
	if len(queries) == 0 {
		return nil
	}
	conditions := make([]filter.Expr, len(queries))
	fields := []string{alert.FieldEventNumber, fieldTime, fieldWhich}
	if r.source == ruleset.SyscallSource {
		fields = append(fields, fieldCgroups)
	}
	for i, q := range queries {
		var err error
		if conditions[i], err = filter.Parse(q.Filter); err != nil {
			return fmt.Errorf("read the condition %s: %w", q.Filter, err)
		}
		for _, f := range q.Fields {
			if !slices.Contains(fields, f) {
				fields = append(fields, f)
			}
		}
	}
	asked, format := witnessed(conditions), "*"+queryFormat(fields)
	if len(asked) > maxArg || len(format) > maxArg {
		if len(queries) == 1 {
			return fmt.Errorf("ask sysdig: a condition is %d bytes long with its lists, and sysdig takes %d: use --engine falco",
				len(queries[0].Filter), maxArg)
		}
		half := len(queries) / 2
		if err := r.ask(ctx, queries[:half], each); err != nil {
			return err
		}
		return r.ask(ctx, queries[half:], func(i int, s Sample) error { return each(half+i, s) })
	}
	return r.values(ctx, asked, format, len(queries), func(values map[string]any, at time.Time, which []int) error {
		number, ok := alert.Alert{OutputFields: values}.EventNumber()
		if !ok {
			return errors.New("read sysdig's output: an event has no number")
		}
		for _, i := range which {
			own := map[string]any{}
			for _, f := range queries[i].Fields {
				own[f] = values[f]
			}
			if err := each(i, Sample{Event: number, Time: at, Container: containerOf(values), Values: own}); err != nil {
				return err
			}
		}
		return nil
	})
}

// values runs a pass for the values of fields with their JSON types. asked is of conditions together, see witnessed, and each gets
// those that an event meets.
func (r *sysdigReplay) values(ctx context.Context, asked, format string, conditions int, each func(values map[string]any, at time.Time, which []int) error) error {
	return r.pass(ctx, asked, format, true, func(out *bufio.Reader) error {
		for {
			line, err := out.ReadBytes('\n')
			if len(bytes.TrimSpace(line)) > 0 {
				values, at, err := decodeValues(line)
				if err != nil {
					return err
				}
				notes, _ := values[fieldWhich].(string)
				which, err := parseWhich(notes, conditions)
				if err != nil {
					return err
				}
				if err := each(values, at, which); err != nil {
					return err
				}
			}
			if err != nil {
				return endOfOutput(err)
			}
		}
	})
}

// queryFormat is an output of fields alone.
func queryFormat(fields []string) string { return "%" + strings.Join(fields, " %") }

// sysdigReplay is one replay.
type sysdigReplay struct {
	*Sysdig
	input
	plugin     plugin
	initConfig json.RawMessage // of the plugin
	reader     plugin          // that reads the capture, where it is an audit log
	witness    witness
	read       []string // the option that names the capture
	state      *state
	noText     bool
}

// start makes a replay ready to run passes. The caller cleans up after it, and closes the input.
func (s *Sysdig) start(in input, req Request) (*sysdigReplay, error) {
	r := &sysdigReplay{
		Sysdig: s, input: in, initConfig: req.InitConfig, noText: req.NoText, read: []string{"-r", in.path},
		plugin: plugin{clean: func() {}}, reader: plugin{clean: func() {}}, state: &state{},
		witness: witness{plugin{clean: func() {}}, req.Limit},
	}
	err := r.open(req)
	if err != nil {
		r.clean()
		return nil, err
	}
	return r, nil
}

// open finds the plugins and makes room for the state.
func (r *sysdigReplay) open(req Request) (err error) {
	if r.plugin, err = openPlugin(req.Plugin); err != nil {
		return err
	}
	if r.witness.plugin, err = openPlugin(r.Sysdig.witness); err != nil {
		return err
	}
	if r.source != ruleset.SyscallSource {
		if r.reader, err = openPlugin(r.audit); err != nil {
			return err
		}
		r.read = []string{"-I", pluginName(r.audit) + ":" + r.path}
	}
	var st *state
	if st, err = openState(req); err == nil {
		r.state = st
	}
	return err
}

func (r *sysdigReplay) clean() {
	r.plugin.clean()
	r.reader.clean()
	r.witness.clean()
	r.state.clean()
}

// end keeps what the plugin learned, unless the capture was cut off: that is the error then.
func (r *sysdigReplay) end() error {
	if r.cut != nil {
		return r.cut
	}
	return r.state.commit()
}

// maxArg is what Linux lets one argument hold (MAX_ARG_STRLEN), in bytes, without the NUL.
const maxArg = 32*4096 - 1

// probe reads one event, to tell a plugin that does not load or refuses its configuration.
func (r *sysdigReplay) probe(ctx context.Context) error {
	return r.pass(ctx, alert.FieldEventNumber+" > 0", "%"+alert.FieldEventNumber, false, func(*bufio.Reader) error {
		return errEnough
	})
}

// checkPlugins holds the plugin against the rules' required_plugin_versions, as Falco does.
func (r *sysdigReplay) checkPlugins(ctx context.Context, set *ruleset.Set) error {
	if len(set.RequiredPlugins()) == 0 {
		return nil
	}
	loaded := map[string]ruleset.Version{}
	for _, p := range []plugin{r.plugin, r.reader} {
		if p.path == "" {
			continue
		}
		info, err := r.pluginInfo(ctx, p.path)
		if err != nil {
			return fmt.Errorf("ask the plugin its version: %w", err)
		}
		loaded[info.name] = info.version
	}
	return set.CheckPlugins(loaded)
}

// pluginInfo is what a plugin says of itself.
type pluginInfo struct {
	name    string
	version ruleset.Version
}

// pluginInfo asks a plugin, once for each content of its file.
func (s *Sysdig) pluginInfo(ctx context.Context, path string) (pluginInfo, error) {
	sum, err := s.sums.of(path)
	if err != nil {
		return pluginInfo{}, err
	}
	if known, ok := s.plugins.Load(sum); ok {
		return known.(pluginInfo), nil
	}
	out, err := s.command(ctx, "--plugin-info", path).Output()
	if err != nil {
		return pluginInfo{}, explain(ctx, err)
	}
	info, err := parsePluginInfo(out)
	if err != nil {
		return pluginInfo{}, err
	}
	s.plugins.Store(sum, info)
	return info, nil
}

// parsePluginInfo reads the lines "Name: NAME" and "Version: VERSION" of sysdig's --plugin-info.
func parsePluginInfo(out []byte) (info pluginInfo, err error) {
	text := ""
	for line := range strings.Lines(string(out)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ": "); {
		case key == "Name" && info.name == "":
			info.name = value
		case key == "Version" && text == "":
			text = value
		}
	}
	info.version, err = ruleset.ParseVersion(text)
	return info, err
}

// run runs rules, in one pass where that can be and else each half of them, and gives the alerts of one pass after those of
// another. So it is the pass of a rule alone that tells what is wrong with it.
func (r *sysdigReplay) run(ctx context.Context, rules []ruleset.Rule) ([]alert.Alert, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	alerts, err := r.together(ctx, rules)
	if len(rules) == 1 {
		return r.alone(rules[0], alerts, err)
	}
	if err == nil || ctx.Err() != nil {
		return alerts, err
	}
	half := len(rules) / 2
	var first, second []alert.Alert
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) { first, err = r.run(inner, rules[:half]); return err })
	group.Go(func() (err error) { second, err = r.run(inner, rules[half:]); return err })
	err = group.Wait()
	return append(first, second...), err
}

// alone is what the pass of one rule comes to.
func (r *sysdigReplay) alone(rule ruleset.Rule, alerts []alert.Alert, err error) ([]alert.Alert, error) {
	switch {
	case err == nil:
		return alerts, nil
	case errors.Is(err, errTooLong):
		err = fmt.Errorf("its condition is %d bytes long with its lists, and sysdig takes %d: split the rule, "+
			"or use --engine falco", len(rule.Filter), maxArg)
	case strings.Contains(err.Error(), unknownField):
		if rule.SkipUnknownFilter {
			return nil, nil
		}
		err = fmt.Errorf("%w; sysdig has only core fields and those of our plugin: use --engine falco for others", err)
	}
	return nil, fmt.Errorf("%s: run the rule %q: %w", rule.Pos, rule.Name, err)
}

// Errors of rules that cannot be run together.
var (
	errTooLong = errors.New("the conditions are too long for one argument")
	errSameKey = errors.New("different fields of the rules have the same name in alerts")
)

// together runs rules in a pass for the values with their JSON types, and where any matched, in a pass for the text. Values are
// not turned into text here, because libsinsp writes times, lists, numbers and transformed values in ways of its own.
func (r *sysdigReplay) together(ctx context.Context, rules []ruleset.Rule) ([]alert.Alert, error) {
	conditions := make([]filter.Expr, len(rules))
	for i, rule := range rules {
		conditions[i] = rule.Expr
	}
	asked := witnessed(conditions)
	format, err := valuesFormat(rules)
	if err != nil {
		return nil, err
	}
	if len(asked) > maxArg || len(format) > maxArg {
		return nil, errTooLong
	}
	var alerts []alert.Alert
	var fired []int // index of each alert's rule
	err = r.values(ctx, asked, format, len(rules), func(values map[string]any, at time.Time, which []int) error {
		for _, i := range which {
			alerts, fired = append(alerts, r.alert(rules[i], values, at)), append(fired, i)
		}
		return nil
	})
	if err != nil || len(alerts) == 0 || r.noText {
		return alerts, err
	}
	return alerts, r.addTexts(ctx, asked, rules, alerts, fired)
}

// valuesFormat prints the fields of all rules' outputs, and those that every alert has.
func valuesFormat(rules []ruleset.Rule) (string, error) {
	fields := []string{alert.FieldEventNumber, fieldTime, fieldWhich}
	if rules[0].Source == ruleset.SyscallSource {
		fields = append(fields, fieldCgroups)
	}
	byKey := map[string]string{}
	for _, f := range fields {
		byKey[f] = f
	}
	for _, rule := range rules {
		own := map[string]string{} // of two fields of a rule that have the same name, engines print the last
		for _, t := range rule.Format {
			own[t.Key] = t.Field
		}
		delete(own, "") // literal text
		for _, key := range slices.Sorted(maps.Keys(own)) {
			switch other, ok := byKey[key]; {
			case !ok:
				byKey[key] = own[key]
				fields = append(fields, own[key])
			case other != own[key]:
				return "", errSameKey
			}
		}
	}
	return "*" + queryFormat(fields), nil
}

// addTexts runs rules that gave alerts, in event order, once more for their text; fired is each alert's rule.
func (r *sysdigReplay) addTexts(ctx context.Context, asked string, rules []ruleset.Rule, alerts []alert.Alert, fired []int) error {
	// A value may hold line ends: a mark that no capture holds begins each text.
	mark := "\x1e" + rand.Text()
	var format strings.Builder
	format.WriteString("*")
	column := map[int]int{} // by rule: where its text stands
	for _, i := range fired {
		if _, ok := column[i]; !ok {
			column[i] = len(column)
			format.WriteString(mark + textFormat(rules[i]))
		}
	}
	format.WriteString(mark + "%" + fieldWhich)
	return r.pass(ctx, asked, format.String(), false, func(out *bufio.Reader) error {
		parts, err := splitTexts(out, mark)
		if err != nil {
			return err
		}
		next := 0
		for event := range slices.Chunk(parts, len(column)+1) {
			which, err := parseWhich(strings.TrimSuffix(event[len(event)-1], "\n"), len(rules))
			if err != nil {
				return err
			}
			for _, i := range which {
				if next == len(fired) || fired[next] != i {
					return errors.New("read sysdig's output: the matches of one pass are not those of the next")
				}
				alerts[next].Output = event[column[i]]
				next++
			}
		}
		if next != len(alerts) {
			return fmt.Errorf("read sysdig's output: %d matches in one pass and %d in the next", len(alerts), next)
		}
		return nil
	})
}

// textFormat is the format of a rule's text, as Falco begins it.
func textFormat(rule ruleset.Rule) string {
	return "%" + fieldTime + ": " + rule.Priority.String() + " " + strings.TrimPrefix(rule.Output, "*")
}

// unknownField is in libsinsp's error about a condition with a field that no plugin has.
const unknownField = "unknown field"

// Fields that every alert is asked for.
const (
	fieldTime        = "evt.time.iso8601" // what Falco adds with time_format_iso_8601; a number of nanoseconds in JSON
	fieldCgroups     = "thread.cgroups"
	fieldContainerID = "container.id"
)

// alert makes Falco's alert, but for its output, of the values of all rules' fields.
func (r *sysdigReplay) alert(rule ruleset.Rule, all map[string]any, at time.Time) alert.Alert {
	values := map[string]any{alert.FieldEventNumber: all[alert.FieldEventNumber], fieldTime: all[fieldTime]}
	for _, t := range rule.Format {
		if t.Field != "" {
			values[t.Key] = all[t.Key]
		}
	}
	if rule.Source == ruleset.SyscallSource {
		// Falco has it of its container plugin.
		cgroups, _ := all[fieldCgroups].(string)
		values[fieldContainerID] = containerID(cgroups)
	}
	tags := rule.Tags
	if tags == nil {
		tags = []string{}
	}
	return alert.Alert{
		Hostname:     r.hostname,
		Priority:     rule.Priority.String(),
		Rule:         rule.Name,
		Source:       rule.Source,
		Tags:         tags,
		Time:         at,
		OutputFields: values,
	}
}

// decodeValues reads a line of sysdig's JSON and the event's time in it.
func decodeValues(line []byte) (values map[string]any, at time.Time, err error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if err := dec.Decode(&values); err != nil {
		return nil, time.Time{}, fmt.Errorf("read sysdig's output: %w", err)
	}
	number, _ := values[fieldTime].(json.Number)
	ns, err := strconv.ParseInt(number.String(), 10, 64)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read sysdig's output: the event's time: %w", err)
	}
	return values, time.Unix(0, ns).UTC(), nil
}

// containerOf is the container of an event whose cgroups were asked for; empty for an audit event, which has none.
func containerOf(values map[string]any) string {
	cgroups, ok := values[fieldCgroups].(string)
	if !ok {
		return ""
	}
	return containerID(cgroups)
}

// cgroupID finds a container's id at the end of a cgroup path, as Docker, containerd, CRI-O and Podman name theirs.
var cgroupID = regexp.MustCompile(`[/-]([0-9a-f]{64})(?:\.scope)?(?:[ /]|$)`)

// containerID is the id that Falco's container plugin gives a thread of these cgroups: 12 characters, or "host".
func containerID(cgroups string) string {
	if m := cgroupID.FindStringSubmatch(cgroups); m != nil {
		return m[1][:12]
	}
	return "host"
}

// splitTexts reads what sysdig printed into what follows each mark.
func splitTexts(out *bufio.Reader, mark string) ([]string, error) {
	var all bytes.Buffer
	if _, err := out.WriteTo(&all); err != nil {
		return nil, fmt.Errorf("read sysdig's output: %w", err)
	}
	texts := strings.Split(all.String(), mark)[1:]
	for i := range texts {
		texts[i] = strings.ToValidUTF8(texts[i], "\uFFFD")
	}
	return texts, nil
}

// errEnough ends a pass that has seen enough.
var errEnough = errors.New("enough")

// pass runs sysdig over the capture once; read gets what it prints, from the first byte on, and is not called where it
// prints nothing.
func (r *sysdigReplay) pass(ctx context.Context, filter, format string, asJSON bool, read func(*bufio.Reader) error) error {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	config, copied, err := r.state.give(r.initConfig)
	if err != nil {
		return err
	}
	args, err := r.plugin.args(config)
	if err != nil {
		return err
	}
	reader, err := r.reader.args(nil)
	if err != nil {
		return err
	}
	witness, err := r.witness.args()
	if err != nil {
		return err
	}
	args = slices.Concat(args, reader, witness, r.read)
	if asJSON {
		args = append(args, "-j")
	}
	// "--" keeps a filter that begins with a minus sign from being an option.
	cmd := r.command(ctx, append(args, "-p", format, "--", filter)...)
	if r.source != ruleset.SyscallSource {
		// sysdig reads this machine's /proc before a plugin's events, and no user from them.
		cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "HOST_ROOT=") })
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start sysdig: %w", err)
	}
	out := bufio.NewReaderSize(stdout, 64<<10)
	var readErr error
	if _, err := out.Peek(1); err == nil {
		readErr = read(out)
	}
	if readErr != nil {
		cancel() // it may be blocked writing what nobody reads
	}
	err = cmd.Wait()
	complaint := brief(stderr.String())
	switch {
	case errors.Is(readErr, errEnough):
		return nil
	case readErr != nil:
		return readErr
	case err != nil && complaint != "" && ctx.Err() == nil:
		return fmt.Errorf("sysdig: %s", complaint)
	case err != nil:
		return fmt.Errorf("sysdig: %w", explain(ctx, err))
	case complaint != "":
		// sysdig ends with status 0 also where it stopped in the middle.
		return fmt.Errorf("sysdig stopped early: %s", complaint)
	}
	r.state.keep(copied)
	return nil
}

// command is sysdig with arguments, started through its own loader: the machine's libraries are of no use to it.
func (s *Sysdig) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.loader[0], append(s.loader[1:len(s.loader):len(s.loader)], args...)...)
	cmd.Env = engineEnv(os.Environ())
	return cmd
}

// Command is the pass that prints the rule's alerts, through the package's own loader.
func (s *Sysdig) Command(req Request, rule string) (string, error) {
	if err := refuseAudit(req); err != nil {
		return "", err
	}
	capture, err := filepath.Abs(req.Capture)
	if err != nil {
		return "", err
	}
	config := req.InitConfig
	if req.State != "" {
		if config, err = withBaselineFile(config, req.State); err != nil {
			return "", err
		}
	}
	library := req.Plugin
	if library != "" {
		if library, err = filepath.Abs(library); err != nil {
			return "", err
		}
	}
	if strings.Contains(library, ":") {
		return "", fmt.Errorf("pass sysdig the plugin %s: the first colon ends its path; move it", library)
	}
	args, err := plugin{path: library}.args(config)
	if err != nil {
		return "", err
	}
	args = append([]string{"-r", capture}, args...)
	filter, format := alert.FieldEventNumber+" = 0", "%"+alert.FieldEventNumber
	if rule != "" {
		set, err := ruleset.Load(req.Rules...)
		if err != nil {
			return "", err
		}
		r, ok := set.Rule(rule)
		if !ok {
			return "", fmt.Errorf("find the rule %q: it is not among the loaded ones", rule)
		}
		filter, format = r.Filter, "*(%"+alert.FieldEventNumber+") "+textFormat(r)
	}
	return shellLine(replayEnv, slices.Concat(s.loader, args, []string{"-p", format, "--", filter})...), nil
}

// Fingerprint writes the packages that sysdig is made of, the plugins beside ours, and the rules as they are expanded for it.
func (s *Sysdig) Fingerprint(_ context.Context, req Request, w io.Writer) error {
	for _, file := range []string{s.audit, s.witness} {
		if err := s.sums.write(w, file); err != nil {
			return err
		}
	}
	set, err := ruleset.Load(req.Rules...)
	if err != nil {
		return err
	}
	type rule struct {
		Name, Source, Output, Filter string
		Priority                     ruleset.Priority
		Tags                         []string
		SkipUnknownFilter            bool
	}
	var rules []rule
	for _, r := range set.Rules() {
		if !r.Enabled {
			continue
		}
		rules = append(rules, rule{r.Name, r.Source, r.Output, r.Filter, r.Priority, r.Tags, r.SkipUnknownFilter})
	}
	return json.NewEncoder(w).Encode(map[string]any{
		"packages": s.tree, "rules": rules, "plugins": set.RequiredPlugins(), "warnings": set.Warnings,
	})
}
