// Package engine runs captures through a real Falco engine. An engine replays one capture with the plugin and the rules
// loaded and returns the alerts in event order. There are two: a Falco where one is found, and sysdig, which embeds the
// same libsinsp and comes from Debian's packages.
package engine

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
)

// An Engine replays captures. Every engine gives the same alerts, (rule, event number) pair by pair, for one Request.
type Engine interface {
	// Name is the engine's short name: "falco" or "sysdig".
	Name() string
	// Version is the engine's own version line, for people.
	Version(ctx context.Context) (string, error)
	// Replay runs one capture to its end and returns its alerts in event order, those of one event in rule order.
	Replay(ctx context.Context, req Request) ([]alert.Alert, error)
	// Ask runs one capture to its end and gives the events that each query matches, with the values of its fields, as they
	// are read; the request's rules are not asked. Calls of each for one query come one after the other in event order, those of
	// different queries may come at once. An error of each ends the replay and is returned.
	Ask(ctx context.Context, req Request, queries []Query, each func(query int, s Sample) error) error
	// Met tells for each condition, a whole filter without macros and lists, whether any event of the request's capture meets it.
	// The request's rules do not count, and its State stays as it is.
	Met(ctx context.Context, req Request, conditions []string) ([]bool, error)
	// Command is what to paste into a shell to run one rule of the request, or where rule is empty, to run the plugin alone.
	// It writes the request's State as a replay does.
	Command(req Request, rule string) (string, error)
	// Fingerprint writes everything of the engine that a replay of these rules depends on: the programs that run, and the
	// rules as the engine reads them.
	Fingerprint(ctx context.Context, req Request, w io.Writer) error
}

// Query asks for fields of the events that match a filter.
type Query struct {
	Filter string   // a whole condition, without macros and lists
	Fields []string // like staging.bytes[5m]
}

// Sample is an event that a query matches.
type Sample struct {
	Event     uint64 // its number in the capture, from 1
	Time      time.Time
	Container string         // id of the container, 12 characters, or "host"; empty for an audit event
	Values    map[string]any // as alert.Alert's OutputFields; nil for a field without a value
}

// Request is one replay.
type Request struct {
	Capture    string          // path of a syscall capture (.scap) or of an audit log, told by its content
	Plugin     string          // path of libdatastaging.so
	InitConfig json.RawMessage // the plugin's init_config, a JSON object; empty for the defaults
	Rules      []string        // paths of rules files, in load order; those of the capture's event source run
	// State is the path of the file in which the plugin keeps its baseline from one capture to the next, instead of
	// InitConfig's baseline.file; empty for none. It need not be there before. It changes only when the capture was
	// replayed to its end, and not where the plugin's mode is detect.
	State string
	// Limit is how many alerts of each rule are read, from the first on; 0 for all.
	Limit int
	// NoText says that nobody reads the alerts' Output: an engine to which it is work leaves it out.
	NoText bool
	// Log gets what the engine says that is no alert, such as warnings about rules; nil: the engine's own log, which
	// says the same thing once.
	Log io.Writer
}
