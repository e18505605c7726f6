package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/falcosecurity/client-go/pkg/api/outputs"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/catalogue"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// responses reads what Falco's gRPC output sends. The zero value is not ready for use.
type responses struct{ fields *catalogue.Catalogue }

func newResponses() (responses, error) {
	fields, err := catalogue.New()
	return responses{fields}, err
}

// alert is the alert of a response.
//
// Falco sends all fields as text there. With json_output the output is the whole alert in JSON, which is taken then. Without it,
// a field's type is looked up, and what reads like a number, or like true or false, is taken for one where the field is not known.
func (s responses) alert(r *outputs.Response) (alert.Alert, error) {
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
		a.OutputFields[name] = s.value(name, text)
	}
	if field := timeField(a.Output); field != "" {
		a.OutputFields[field] = json.Number(strconv.FormatInt(a.Time.UnixNano(), 10))
	}
	return a, nil
}

// prefix is what Falco puts before a rule's output: the time alone, or with time_format_iso_8601 the date as well.
var prefix = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2}T)?[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}`)

// timeField is the field of the time before an alert's text, which Falco's JSON has, in nanoseconds, and its gRPC output does not;
// "" where there is no such time, as in Falco's own alerts.
func timeField(output string) string {
	switch at := prefix.FindStringSubmatch(output); {
	case at == nil:
		return ""
	case at[1] != "":
		return "evt.time.iso8601"
	default:
		return "evt.time"
	}
}

// number is how Falco writes numbers: as JSON does, without an exponent.
var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// value is the value of a field that was sent as text.
func (s responses) value(field, text string) any {
	switch {
	case text == alert.NoValue:
		return nil
	case s.isText(field):
		return text
	case text == "null": // Falco's own alerts, such as metrics, have JSON values as text
		return nil
	case number.MatchString(text):
		return json.Number(text)
	case text == "true", text == "false":
		return text == "true"
	default:
		return text
	}
}

// writtenAsText are Falco's numbers that its JSON holds as text, because they have ten digits with zeros in front, or are hexadecimal.
var writtenAsText = []string{"evt.latency.ns", "evt.deltatime.ns", "evt.rawtime.ns", "evt.reltime", "evt.reltime.ns", "fd.dev"}

// isText reports whether a field is known to be text, which may read like something else: a container's id of digits alone, a
// process with the argument 443. Fields of audit events are where the catalogue does not know them, for nearly all of them are.
func (s responses) isText(field string) bool {
	name, _, _ := strings.Cut(field, "[")
	if f, ok := s.fields.Field(name); ok {
		switch f.Type {
		case "reltime", "abstime", "int32":
			return slices.Contains(writtenAsText, name)
		case "string", "charbuf", "bytebuf", "fspath", "fsrelpath", "ipaddr", "ipnet":
			return true
		}
		return false
	}
	return strings.HasPrefix(name, "ka.")
}
