// Command auditsource is a Falco source plugin (libauditsource.so) that reads a log of Kubernetes audit events. It is for the
// tests of this project where Falco's own k8saudit plugin is not installed: it gives the same events, and no fields.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/falcosecurity/plugin-sdk-go/pkg/sdk"
	"github.com/falcosecurity/plugin-sdk-go/pkg/sdk/plugins"
	"github.com/falcosecurity/plugin-sdk-go/pkg/sdk/plugins/source"

	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
)

func init() {
	plugins.SetFactory(func() plugins.Plugin {
		p := &plugin{}
		source.Register(p)
		return p
	})
}

func main() {}

// plugin opens logs.
type plugin struct {
	plugins.BasePlugin
}

// Info is who the plugin is. 999 is the id that Falco's registry leaves to tests: k8saudit has 1, and an engine that loads
// both wants them to differ.
func (*plugin) Info() *plugins.Info {
	return &plugins.Info{
		ID:          999,
		Name:        "auditsource",
		Description: "Reads a log of Kubernetes audit events, for tests",
		Contact:     "github.com/falco-datastaging/datastaging",
		Version:     "0.1.0",
		EventSource: auditlog.Source,
	}
}

// Init has nothing to configure.
func (*plugin) Init(string) error { return nil }

// String is what evt.plugininfo shows of an event.
func (*plugin) String(event sdk.EventReader) (string, error) {
	text, err := io.ReadAll(event.Reader())
	return string(text), err
}

// Limits of one batch of events. The framework holds room for the largest event, as often as a batch has events.
const (
	maxBatchEvents = 128
	maxBatchBytes  = 32 << 20
)

// Open opens the log at path. It reads it once to learn the size of its largest event.
func (*plugin) Open(path string) (source.Instance, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	in := &instance{file: f}
	if err := in.open(); err != nil {
		f.Close()
		return nil, fmt.Errorf("read the audit log %s: %w", path, err)
	}
	return in, nil
}

// instance is one reading of a log.
type instance struct {
	source.BaseInstance
	file *os.File
	log  *auditlog.Reader
}

func (in *instance) open() error {
	if err := in.rewind(); err != nil {
		return err
	}
	largest := 0
	for {
		event, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		largest = max(largest, len(event.JSON))
	}
	events := min(max(maxBatchBytes/max(largest, 1), 1), maxBatchEvents)
	writers, err := sdk.NewEventWriters(int64(events), int64(largest))
	if err != nil {
		return err
	}
	in.SetEvents(writers)
	return in.rewind()
}

func (in *instance) rewind() error {
	if _, err := in.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var err error
	in.log, err = auditlog.NewReader(in.file)
	return err
}

// next is the next event. Lines that hold none are passed over, as k8saudit does.
func (in *instance) next() (auditlog.Event, error) {
	for {
		event, err := in.log.Next()
		var line *auditlog.LineError
		if !errors.As(err, &line) {
			return event, err
		}
	}
}

// NextBatch gives the framework the next events.
func (in *instance) NextBatch(_ sdk.PluginState, events sdk.EventWriters) (int, error) {
	for n := range events.Len() {
		event, err := in.next()
		if errors.Is(err, io.EOF) {
			return n, sdk.ErrEOF
		}
		if err != nil {
			return n, fmt.Errorf("read the audit log: %w", err)
		}
		to := events.Get(n)
		if _, err := to.Writer().Write(event.JSON); err != nil {
			return n, fmt.Errorf("hand over the event of line %d: %w", event.Line, err)
		}
		to.SetTimestamp(uint64(event.Time.UnixNano()))
	}
	return events.Len(), nil
}

// Close ends the reading.
func (in *instance) Close() { in.file.Close() }
