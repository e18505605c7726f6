// Package engine runs captures through a real Falco engine. An engine replays one capture with the plugin and the rules
// loaded and returns the alerts in event order. There are two: a Falco where one is found, and sysdig, which embeds the
// same libsinsp and comes from Debian's packages.
package engine

import (
	"context"
	"encoding/json"

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
}

// Request is one replay.
type Request struct {
	Capture    string          // path of a syscall capture (.scap) or of an audit log, told by its content
	Plugin     string          // path of libdatastaging.so
	InitConfig json.RawMessage // the plugin's init_config, a JSON object; empty for the defaults
	Rules      []string        // paths of rules files, in load order; those of the capture's event source run
}
