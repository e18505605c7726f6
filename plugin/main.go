// Command plugin is libdatastaging.so: a Falco plugin that adds data-staging volume and baseline fields to syscall
// and k8s_audit events.
// It is built with -buildmode=c-shared.
package main

import (
	"github.com/falco-datastaging/datastaging/plugin/internal/abi"
	"github.com/falco-datastaging/datastaging/plugin/internal/config"
	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/fields"
	"github.com/falco-datastaging/datastaging/plugin/internal/pipeline"
)

// version is the plugin's, in the form that required_plugin_versions compares.
const version = "0.1.0"

func init() {
	entries := &pipeline.Entries{}
	abi.Register(abi.Plugin{
		Name:        "datastaging",
		Description: "Data-staging volume and baseline deviation per container, from syscall and k8s_audit events",
		Contact:     "github.com/falco-datastaging/datastaging",
		Version:     version,
		Fields:      fields.Entries(fields.Catalogue()),
		Schema:      config.Schema(),
		New: func(initConfig string, host abi.Host) (abi.Handler, error) {
			p, err := pipeline.New(initConfig, engine{host}, entries)
			if err != nil {
				return nil, err
			}
			return handler{p}, nil
		},
	})
}

func main() {}

// engine is the C boundary as the pipeline sees it.
type engine struct{ abi.Host }

func (e engine) Warn(message string) { e.Log(abi.Warning, message) }

// handler is the pipeline as the C boundary sees it.
type handler struct{ p *pipeline.Pipeline }

func (h handler) IO(batch []decode.IO)  { h.p.IO(batch) }
func (h handler) State(s *decode.State) { h.p.State(s) }
func (h handler) Flush()                { h.p.Flush() }
func (h handler) Close()                { h.p.Close() }

func (h handler) Extract(evt abi.Event, field int, key string, hasKey bool) any {
	return h.p.Extract(evt.Num, evt.TS, evt.TID, field, key, hasKey)
}

func (h handler) Metrics() []abi.Metric {
	counters := h.p.Counters()
	metrics := make([]abi.Metric, len(counters))
	for i, c := range counters {
		metrics[i] = abi.Metric{Name: c.Name, Value: c.Value}
	}
	return metrics
}
