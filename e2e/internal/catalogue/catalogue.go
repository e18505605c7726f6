// Package catalogue knows which fields and event types a rule can name: those of Falco with its container, k8saudit and json
// plugins, and those of the datastaging plugin. Versions and origins are in the data files.
package catalogue

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"

	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
	"github.com/falco-datastaging/datastaging/e2e/internal/once"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

// Versions that the fields and event types are from: of Falco, and of its plugins for audit events.
const (
	Falco    = "0.44.1"
	K8SAudit = "0.18.0"
	JSON     = "0.7.4"
)

var (
	//go:embed fields.tsv
	falcoFields string
	//go:embed k8s_audit.tsv
	auditFields string
	//go:embed events.tsv
	eventTypes string
	//go:embed datastaging.json
	pluginFields []byte
	//go:embed plugin.json
	pluginLibrary []byte
)

// Plugin is what the datastaging plugin asks of the Falco that loads it, and of its init_config.
type Plugin struct {
	API         string          `json:"api"`          // version of the plugin API
	EventSchema string          `json:"event_schema"` // version of the event schema
	InitConfig  json.RawMessage `json:"init_config"`  // JSON schema
}

// ReadPlugin reads the bundled data.
func ReadPlugin() (Plugin, error) {
	var p Plugin
	if err := json.Unmarshal(pluginLibrary, &p); err != nil {
		return p, fmt.Errorf("read the plugin's data: %w", err)
	}
	return p, nil
}

// Field is one field.
type Field struct {
	Name string
	Type string // uint64, charbuf, bool ...
	List bool   // whether it has several values
	// Values are all that the field can be, where they are few and known.
	Values []string
	Plugin bool // whether it is the datastaging plugin's

	sources     []string // of the events that have it
	arg         argument
	words       []string      // that the argument can be
	least, most time.Duration // of an argument that is a window, or of the interval after a key
}

// argument says what stands in brackets after a field's name.
type argument string

const (
	noArgument       argument = "none"
	optionalArgument argument = "optional"
	indexArgument    argument = "index"
	requiredArgument argument = "required"
	windowArgument   argument = "window"
	keyArgument      argument = "key"
	metricArgument   argument = "metric"
	dimensionArg     argument = "dimension"
)

// Catalogue is all fields and event types.
type Catalogue struct {
	fields map[string]Field
	events map[string]int // codes of each event type
}

const (
	// allEventCodes is the number of event codes that a condition matches which names no event type.
	allEventCodes = 454
	// genericEventCodes is the number of event codes that all system calls share that have none of their own.
	genericEventCodes = 2
)

// New reads the bundled data.
func New() (*Catalogue, error) {
	c := &Catalogue{map[string]Field{}, map[string]int{}}
	for _, list := range []struct{ source, table string }{{ruleset.SyscallSource, falcoFields}, {auditlog.Source, auditFields}} {
		for _, row := range rows(list.table) {
			f, ok := c.fields[row[0]]
			if !ok {
				f = Field{Name: row[0], arg: argument(row[1]), Type: row[2], List: len(row) > 3}
				if f.Type == "bool" {
					f.Values = bools
				}
			}
			f.sources = append(f.sources, list.source)
			c.fields[f.Name] = f
		}
	}
	for _, row := range rows(eventTypes) {
		n, err := strconv.Atoi(row[1])
		if err != nil {
			return nil, fmt.Errorf("read the event types: %w", err)
		}
		c.events[row[0]] = n
	}
	var ours []struct {
		Name, Type, Arg, Least, Most string
		Words, Values                []string
	}
	if err := json.Unmarshal(pluginFields, &ours); err != nil {
		return nil, fmt.Errorf("read the plugin's fields: %w", err)
	}
	for _, f := range ours {
		field := Field{Name: f.Name, Type: f.Type, Values: f.Values, Plugin: true, sources: Sources, arg: argument(f.Arg), words: f.Words}
		switch field.arg {
		case "":
			field.arg = noArgument
		case windowArgument, keyArgument:
			var err error
			if field.least, err = time.ParseDuration(f.Least); err == nil {
				field.most, err = time.ParseDuration(f.Most)
			}
			if err != nil {
				return nil, fmt.Errorf("read the plugin's fields: %s: %w", f.Name, err)
			}
		}
		if f.Type == "bool" {
			field.Values = bools
		}
		c.fields[f.Name] = field
	}
	return c, nil
}

func rows(table string) (out [][]string) {
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
		}
	}
	return out
}

// Sources are the event sources whose fields are all known.
var Sources = []string{ruleset.SyscallSource, auditlog.Source}

// IsOf reports whether events of a source can have the field.
func (f Field) IsOf(source string) bool { return slices.Contains(f.sources, source) }

// dotted are fields whose argument may follow a dot: evt.arg.flags.
var dotted = []string{"evt.arg", "evt.rawarg", "evt.abspath"}

// Field returns the field of this name, or false.
func (c *Catalogue) Field(name string) (Field, bool) {
	for _, base := range dotted {
		if strings.HasPrefix(name, base+".") {
			f := c.fields[base]
			f.arg = noArgument
			return f, true
		}
	}
	f, ok := c.fields[name]
	return f, ok
}

// Nearest returns the name of a field that is spelt almost like this, or "".
func (c *Catalogue) Nearest(name string) string { return nearest(name, c.fields) }

// HasClass reports whether fields are known whose names begin like this one up to its first dot.
func (c *Catalogue) HasClass(name string) bool {
	class, _, _ := strings.Cut(name, ".")
	for known := range c.fields {
		if strings.HasPrefix(known, class+".") {
			return true
		}
	}
	return false
}

// IsPlugin reports whether a field is of a class of the plugin's, whether or not the plugin has it.
func (c *Catalogue) IsPlugin(name string) bool {
	class, _, _ := strings.Cut(name, ".")
	for known, f := range c.fields {
		if f.Plugin && strings.HasPrefix(known, class+".") {
			return true
		}
	}
	return false
}

// IsEventType reports whether evt.type can be this.
func (c *Catalogue) IsEventType(name string) bool {
	_, ok := c.events[name]
	return ok
}

// NearestEventType returns the event type that is spelt almost like this, or "".
func (c *Catalogue) NearestEventType(name string) string { return nearest(name, c.events) }

// EventCodes counts the event codes of a set of event types as Falco counts them.
func (c *Catalogue) EventCodes(types filter.EventTypes) int {
	names, except := types.Names()
	codes, generic := 0, 0
	for _, name := range names {
		n, ok := c.events[name]
		codes += n
		if ok && n == 0 {
			generic = genericEventCodes
		}
	}
	if except {
		return allEventCodes - codes - generic
	}
	return codes + generic
}

// ordered are the operators of what is more or less, beside exists.
var ordered = []string{"=", "==", "!=", "<", "<=", ">", ">=", "in", "intersects"}

// operators are those that a field of a type takes, beside exists. A type that is not here takes any.
var operators = map[string][]string{
	"bool":  {"=", "==", "!=", "in", "intersects"},
	"int16": ordered, "int32": ordered, "int64": ordered, "uint32": ordered, "uint64": ordered, "abstime": ordered, "reltime": ordered,
	"charbuf": append(slices.Clone(ordered), "contains", "icontains", "startswith", "endswith", "glob", "iglob", "pmatch", "regex"),
}

// bools are the values of a field that is true or false.
var bools = []string{"true", "false"}

// Operators are those that can compare the field, beside exists; nil for any.
func (f Field) Operators() []string {
	if f.List {
		return []string{"in", "intersects"}
	}
	return operators[f.Type]
}

// IsNumber reports whether text is a value of the field, where that is a number.
func (f Field) IsNumber(text string) bool {
	switch f.Type {
	case "abstime", "reltime", "uint32", "uint64":
		return isNumber(text)
	case "int16", "int32", "int64":
		return isNumber(strings.TrimPrefix(text, "-"))
	}
	return true
}

// isNumber reports whether text is a whole number as Falco reads one: decimal, or hexadecimal after 0x.
func isNumber(text string) bool {
	base := 10
	if hex, ok := strings.CutPrefix(text, "0x"); ok {
		text, base = hex, 16
	}
	_, err := strconv.ParseUint(text, base, 64)
	return err == nil
}

// CheckArg returns what is wrong with a field's argument, and what it takes; "" where it is right.
func (f Field) CheckArg(arg string, has bool) string {
	switch f.arg {
	case noArgument:
		if has {
			return f.Name + " takes no argument: remove the brackets"
		}
	case requiredArgument:
		if !has || arg == "" {
			return fmt.Sprintf("%s needs an argument: write %s[...]", f.Name, f.Name)
		}
	case indexArgument:
		if n, err := strconv.ParseUint(arg, 10, 64); has && (err != nil || strconv.FormatUint(n, 10) != arg) {
			return fmt.Sprintf("%s[%s]: %q is no index: write a whole number, or leave the brackets out for all", f.Name, arg, arg)
		}
	case keyArgument:
		key, err := once.Parse(arg)
		if err != nil {
			return err.Error()
		}
		if key.Interval != 0 && !f.inRange(key.Interval) {
			return fmt.Sprintf("%s[%s]: %q is no interval that it takes: write one from %s to %s, such as 30m or 6h", f.Name, arg, brief(key.Interval),
				brief(f.least), brief(f.most))
		}
	case metricArgument, dimensionArg:
		if !has || !slices.Contains(f.words, arg) {
			return fmt.Sprintf("%s needs a %s in brackets: write one of %s", f.Name, f.arg, strings.Join(f.words, ", "))
		}
	case windowArgument:
		if has && !f.isWindow(arg) {
			return fmt.Sprintf("%s[%s] is no window: write one from %s to %s, such as 30s, 5m or 1h", f.Name, arg, brief(f.least), brief(f.most))
		}
	}
	return ""
}

func (f Field) isWindow(text string) bool {
	w, err := time.ParseDuration(text)
	return err == nil && f.inRange(w)
}

func (f Field) inRange(d time.Duration) bool { return d >= f.least && d <= f.most }

// brief is a duration without parts that are zero: 24h.
func brief(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// maxEdits is how many letters may differ between a misspelling and what was meant.
const maxEdits = 2

func nearest[V any](name string, names map[string]V) string {
	best, least := "", maxEdits+1
	for candidate := range names {
		switch d := levenshtein.Distance(name, candidate, nil); {
		case d < least, d == least && candidate < best:
			best, least = candidate, d
		}
	}
	if least > maxEdits {
		return ""
	}
	return best
}
