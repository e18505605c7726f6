// Package alert is Falco's JSON alert: the one record that engines produce, cases assert on and reports show.
// Its shape is Falco's own (json_output of falco_outputs), so that every consumer of Falco alerts reads ours.
package alert

import "time"

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
