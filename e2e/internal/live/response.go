package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/falcosecurity/client-go/pkg/api/outputs"
	"github.com/falcosecurity/client-go/pkg/api/schema"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// FromResponse is the alert that Falco's gRPC output sends.
//
// Falco sends all fields as text there. With json_output the output is the whole alert in JSON, which is taken then. Without
// it, what reads like a number or true or false is taken for one, unless the field is known to be text.
func FromResponse(r *outputs.Response) (alert.Alert, error) {
	if strings.HasPrefix(r.GetOutput(), "{") {
		if a, err := parse([]byte(r.GetOutput())); err == nil {
			return a, nil
		}
	}
	if r.GetRule() == "" {
		return alert.Alert{}, errors.New("not an alert: it names no rule")
	}
	if err := r.GetTime().CheckValid(); err != nil {
		return alert.Alert{}, fmt.Errorf("not an alert: read its time: %w", err)
	}
	a := alert.Alert{
		Hostname:     r.GetHostname(),
		Output:       r.GetOutput(),
		Priority:     ruleset.Priority(r.GetPriority()).String(),
		Rule:         r.GetRule(),
		Source:       r.GetSource(),
		Tags:         r.GetTags(),
		Time:         r.GetTime().AsTime(),
		OutputFields: make(map[string]any, len(r.GetOutputFields())),
	}
	for name, text := range r.GetOutputFields() {
		a.OutputFields[name] = valueOf(name, text)
	}
	return a, nil
}

// ToResponse is the response by which Falco sends an alert without json_output. It is an error where the alert has a
// priority that is not Falco's or a field that is not a single value.
func ToResponse(a alert.Alert) (*outputs.Response, error) {
	priority, err := ruleset.ParsePriority(a.Priority)
	if err != nil {
		return nil, fmt.Errorf("send an alert of rule %q: %w", a.Rule, err)
	}
	r := &outputs.Response{
		Time:         timestamppb.New(a.Time),
		Priority:     schema.Priority(priority),
		Rule:         a.Rule,
		Output:       a.Output,
		OutputFields: make(map[string]string, len(a.OutputFields)),
		Hostname:     a.Hostname,
		Tags:         a.Tags,
		Source:       a.Source,
	}
	for name, value := range a.OutputFields {
		switch v := value.(type) {
		case nil:
			r.OutputFields[name] = alert.NoValue
		case string:
			r.OutputFields[name] = v
		case json.Number:
			r.OutputFields[name] = v.String()
		case bool:
			r.OutputFields[name] = strconv.FormatBool(v)
		default:
			return nil, fmt.Errorf("send an alert of rule %q: the field %s is %T, not a single value", a.Rule, name, value)
		}
	}
	return r, nil
}

var (
	// number is how Falco writes numbers: as JSON does, without an exponent.
	number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)
	// textField are Falco's fields of text whose values can read like something else: a container's id of digits alone, a
	// process with the argument 443.
	textField = regexp.MustCompile(`^(k8s\.|container\.(id|full_id|name|image|type|label|mount|env)|evt\.(type|args?\b|info)|` +
		`proc\.(p|a)?(name|args|cmdline|exe|exepath|cwd|env)\b|fd\.(name|path|directory|filename)|(user|group)\.name|` +
		`staging\.(dir|location|handoff_peer|peer|peer_class|phase)$|baseline\.(workload|status)$)`)
)

// valueOf is the value of a field that was sent as text.
func valueOf(field, text string) any {
	switch {
	case text == alert.NoValue, text == "null":
		return nil
	case textField.MatchString(field):
		return text
	case number.MatchString(text):
		return json.Number(text)
	case text == "true", text == "false":
		return text == "true"
	default:
		return text
	}
}
