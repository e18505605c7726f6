package fields_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
	"github.com/falco-datastaging/datastaging/plugin/internal/abi"
	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/audit"
	"github.com/falco-datastaging/datastaging/plugin/internal/config"
	"github.com/falco-datastaging/datastaging/plugin/internal/fields"
	"github.com/falco-datastaging/datastaging/plugin/internal/measure"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
	"github.com/falco-datastaging/datastaging/plugin/internal/window"
)

// harnessCatalogue is where the harness, which cannot import this package, finds the catalogue.
const harnessCatalogue = "../../../e2e/internal/catalogue/datastaging.json"

// harnessField is a field as the harness reads it.
type harnessField struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Arg    string   `json:"arg,omitempty"`    // window, key, metric or dimension
	Words  []string `json:"words,omitempty"`  // the metrics or dimensions that it takes
	Least  string   `json:"least,omitempty"`  // shortest and
	Most   string   `json:"most,omitempty"`   // longest window, or interval after a key
	Values []string `json:"values,omitempty"` // all that a text can be, where they are few
}

// TestHarnessKnowsTheCatalogue holds the generated file of the harness against the catalogue.
func TestHarnessKnowsTheCatalogue(t *testing.T) {
	values := map[string][]string{
		"staging.location":   texts(attribute.Location(0), attribute.Location(attribute.NumLocations-1)),
		"staging.peer_class": texts(attribute.Loopback, attribute.External),
		"staging.phase":      texts(measure.Phase(0), measure.Exfiltrate),
		"baseline.status":    texts(baseline.Learning, baseline.Disabled),
		"audit.action":       texts(audit.Other, audit.Token),
	}
	var catalogue []harnessField
	for _, f := range fields.Catalogue() {
		h := harnessField{Name: f.Name, Type: f.Type, Values: values[f.Name]}
		switch f.Arg {
		case fields.WindowArg:
			h.Arg, h.Least, h.Most = "window", "1s", window.Max.String()
		case fields.KeyArg:
			h.Arg, h.Least, h.Most = "key", "1s", window.Max.String()
		case fields.MetricArg:
			h.Arg, h.Words = "metric", words(f.Accepts())
		case fields.DimensionArg:
			h.Arg, h.Words = "dimension", words(f.Accepts())
		}
		catalogue = append(catalogue, h)
	}
	for name := range values {
		byName(t, name)
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	require.NoError(t, enc.Encode(catalogue))
	if *update {
		require.NoError(t, os.WriteFile(harnessCatalogue, text.Bytes(), 0o644))
		return
	}
	old, err := os.ReadFile(harnessCatalogue)
	require.NoError(t, err)
	assert.Equal(t, text.String(), string(old), "run make generate")
}

// harnessPlugin is what the harness knows of the plugin as a library.
type harnessPlugin struct {
	API         string          `json:"api"`          // version of the plugin API that it needs
	EventSchema string          `json:"event_schema"` // version of the event schema that it needs
	InitConfig  json.RawMessage `json:"init_config"`  // JSON schema of its init_config
}

// TestHarnessKnowsThePlugin holds the generated file of the harness against the plugin.
func TestHarnessKnowsThePlugin(t *testing.T) {
	const path = "../../../e2e/internal/catalogue/plugin.json"
	text, err := json.MarshalIndent(harnessPlugin{abi.APIVersion, schema.Version, json.RawMessage(config.Schema())}, "", "  ")
	require.NoError(t, err)
	text = append(text, '\n')
	if *update {
		require.NoError(t, os.WriteFile(path, text, 0o644))
		return
	}
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(text), string(old), "run make generate")
}

// texts are the names of an enumeration from first to last.
func texts[E interface {
	~uint8
	String() string
}](first, last E) (names []string) {
	for e := first; e <= last; e++ {
		names = append(names, e.String())
	}
	return names
}

// words are the names in "a metric: one, two or three".
func words(accepts string) []string {
	_, list, _ := strings.Cut(accepts, ": ")
	return strings.Split(strings.ReplaceAll(list, " or ", ", "), ", ")
}
