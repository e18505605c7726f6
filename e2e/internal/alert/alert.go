// Package alert is Falco's JSON alert: the one record that engines produce, cases assert on and reports show.
// Its shape is Falco's own (json_output of falco_outputs), so that every consumer of Falco alerts reads ours.
package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Alert is one alert as Falco prints it with json_output, json_include_output_property and json_include_tags_property.
type Alert struct {
	Hostname string    `json:"hostname,omitempty"`
	Output   string    `json:"output"`   // the rule's output, fields resolved, as one line of text
	Priority string    `json:"priority"` // Emergency, Alert, Critical, Error, Warning, Notice, Informational or Debug
	Rule     string    `json:"rule"`
	Source   string    `json:"source"` // event source: syscall, k8s_audit
	Tags     []string  `json:"tags"`   // sorted
	Time     time.Time `json:"time"`   // the event's time
	// OutputFields holds the value of each field of the output by its name. Numbers are json.Number, so that 64-bit
	// counters keep their precision; a field without a value is nil.
	OutputFields map[string]any `json:"output_fields"`
}

// FieldEventNumber is the output field that engines add to every alert: the event's number in the capture, from 1.
const FieldEventNumber = "evt.num"

// NoValue is how Falco writes a field without a value as text. In JSON it is null as a rule; both are read as nil.
const NoValue = "<NA>"

// timeLayout is Falco's: UTC, always nine digits of a second. RFC3339Nano would cut trailing zeros.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// wire is the alert in the order in which Falco writes its keys.
type wire struct {
	Hostname     string         `json:"hostname,omitempty"`
	Output       string         `json:"output"`
	OutputFields map[string]any `json:"output_fields"`
	Priority     string         `json:"priority"`
	Rule         string         `json:"rule"`
	Source       string         `json:"source"`
	Tags         []string       `json:"tags"`
	Time         string         `json:"time"`
}

// MarshalJSON writes the alert as Falco does: its key order, its time layout, an empty list for no tags and an empty
// object for no fields.
func (a Alert) MarshalJSON() ([]byte, error) {
	w := wire{
		Hostname:     a.Hostname,
		Output:       a.Output,
		OutputFields: a.OutputFields,
		Priority:     a.Priority,
		Rule:         a.Rule,
		Source:       a.Source,
		Tags:         a.Tags,
		Time:         a.Time.UTC().Format(timeLayout),
	}
	if w.Tags == nil {
		w.Tags = []string{}
	}
	if w.OutputFields == nil {
		w.OutputFields = map[string]any{}
	}
	// Falco writes <, > and & as they are; json.Marshal would not.
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(w); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// UnmarshalJSON reads an alert that Falco wrote. Keys that Alert has no place for, such as message, are passed over.
func (a *Alert) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var w wire
	err := dec.Decode(&w)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("its %s has the JSON kind %s", kind.Field, kind.Value)
	}
	if err != nil {
		return err
	}
	if w.Rule == "" {
		return errors.New("it names no rule")
	}
	for field, value := range w.OutputFields {
		if value == NoValue {
			w.OutputFields[field] = nil
		}
	}
	t, err := time.Parse(time.RFC3339Nano, w.Time)
	if err != nil {
		return fmt.Errorf("read the alert's time: %w", err)
	}
	*a = Alert{
		Hostname:     w.Hostname,
		Output:       w.Output,
		Priority:     w.Priority,
		Rule:         w.Rule,
		Source:       w.Source,
		Tags:         w.Tags,
		Time:         t.UTC(),
		OutputFields: w.OutputFields,
	}
	return nil
}

// EventNumber is the number of the alert's event in its capture, from 1; false where no engine added it.
func (a Alert) EventNumber() (uint64, bool) {
	n, ok := a.OutputFields[FieldEventNumber].(json.Number)
	if !ok {
		return 0, false
	}
	num, err := strconv.ParseUint(n.String(), 10, 64)
	return num, err == nil
}
