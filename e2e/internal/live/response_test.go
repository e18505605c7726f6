package live

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/falcosecurity/client-go/pkg/api/outputs"
	"github.com/falcosecurity/client-go/pkg/api/schema"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
)

var at = time.Date(2026, 11, 23, 17, 2, 23, 801166850, time.UTC)

// response is what Falco 0.43 sends without json_output.
func response() *outputs.Response {
	return &outputs.Response{
		Time:     &timestamppb.Timestamp{Seconds: at.Unix(), Nanos: 801166850},
		Priority: schema.Priority_WARNING,
		Rule:     "Egress",
		Output:   "17:02:23.801166850: Warning sent (bytes=18446744073709551615)",
		OutputFields: map[string]string{
			"staging.bytes":  "18446744073709551615",
			"evt.rawres":     "-2",
			"evt.latency":    "0.25",
			"fd.is_server":   "true",
			"staging.dir":    "/tmp/.x",
			"fd.sip":         "<NA>",
			"proc.name":      "443",
			"container.id":   "123456789012",
			"proc.aname[2]":  "7",
			"thread.hex":     "0x7f",
			"user.loginname": "007",
			"evt.arg.data":   "12",

			"staging.peer_name":  "443",
			"staging.top_dir[1]": "7",
			"baseline.age":       "60000000000",
			"user.uid":           "4294967295",
			"user.loginuid":      "-1",
			"fd.sport":           "443",
			"fd.dev":             "10",
			"evt.deltatime.ns":   "1234567890",
			"ka.response.code":   "200",
			"scap.n_evts":        "12",
		},
		Hostname: "n1",
		Tags:     []string{"T1048", "T1074"},
		Source:   "syscall",
	}
}

func readResponse(t *testing.T, r *outputs.Response) (alert.Alert, error) {
	t.Helper()
	s, err := newResponses()
	require.NoError(t, err)
	return s.alert(r)
}

func received() alert.Alert {
	return alert.Alert{
		Hostname: "n1", Output: "17:02:23.801166850: Warning sent (bytes=18446744073709551615)", Priority: "Warning",
		Rule: "Egress", Source: "syscall", Tags: []string{"T1048", "T1074"}, Time: at,
		OutputFields: map[string]any{
			"staging.bytes":  json.Number("18446744073709551615"),
			"evt.rawres":     json.Number("-2"),
			"evt.latency":    json.Number("0.25"),
			"fd.is_server":   true,
			"staging.dir":    "/tmp/.x",
			"fd.sip":         nil,
			"proc.name":      "443",
			"container.id":   "123456789012",
			"proc.aname[2]":  "7",
			"thread.hex":     "0x7f",
			"user.loginname": "007",
			"evt.arg.data":   "12",

			"evt.time": json.Number(strconv.FormatInt(at.UnixNano(), 10)), // of the text before the output

			"staging.peer_name":  "443",
			"staging.top_dir[1]": json.Number("7"), // of no field that is known
			"baseline.age":       json.Number("60000000000"),
			"user.uid":           json.Number("4294967295"),
			"user.loginuid":      json.Number("-1"),
			"fd.sport":           json.Number("443"),
			"fd.dev":             "10", // hexadecimal
			"evt.deltatime.ns":   "1234567890",
			"ka.response.code":   "200",
			"scap.n_evts":        json.Number("12"),
		},
	}
}

func TestAResponseIsReadAsAnAlert(t *testing.T) {
	got, err := readResponse(t, response())
	require.NoError(t, err)
	assert.Equal(t, received(), got)
}

func TestEveryPriorityIsConverted(t *testing.T) {
	for number, name := range []string{"Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"} {
		r := response()
		r.Priority = schema.Priority(number)
		a, err := readResponse(t, r)
		require.NoError(t, err)
		assert.Equal(t, name, a.Priority)
	}
}

// With json_output the fields' types and the output are those of Falco's JSON.
func TestAResponseWithAnAlertInJSONIsThatAlert(t *testing.T) {
	r := response()
	r.Output = `{"output":"sent","output_fields":{"staging.bytes":9007199254740993,"proc.args":"443","fd.name":null},` +
		`"priority":"Notice","rule":"Staged","source":"syscall","time":"2026-11-23T17:02:23.801166850Z"}`
	got, err := readResponse(t, r)
	require.NoError(t, err)
	assert.Equal(t, alert.Alert{
		Output: "sent", Priority: "Notice", Rule: "Staged", Source: "syscall", Time: at,
		OutputFields: map[string]any{"staging.bytes": json.Number("9007199254740993"), "proc.args": "443", "fd.name": nil},
	}, got)

	r.Output = "{not an alert}"
	got, err = readResponse(t, r)
	require.NoError(t, err)
	assert.Equal(t, "Egress", got.Rule)
}

func TestTheTimeBeforeAnOutputIsAField(t *testing.T) {
	for output, want := range map[string]string{
		"17:02:23.801166850: Warning sent":                 "evt.time",
		"2026-11-23T17:02:23.801166850+0000: Warning sent": "evt.time.iso8601",
		"Falco metrics snapshot":                           "", "2026-11-23 something": "",
	} {
		assert.Equal(t, want, timeField(output), output)
	}
}

// Falco's own alerts, such as metrics, have fields of JSON values as text.
func TestANullOfFalcosOwnAlertsIsNoValue(t *testing.T) {
	r := response()
	r.Output, r.OutputFields = "Falco metrics snapshot", map[string]string{"falco.version": "null"}
	got, err := readResponse(t, r)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"falco.version": nil}, got.OutputFields)
}

func TestWhatIsNoAlertIsNotConverted(t *testing.T) {
	r := response()
	r.Rule = ""
	_, err := readResponse(t, r)
	require.EqualError(t, err, "not an alert: it names no rule")
	r = response()
	r.Time = nil
	_, err = readResponse(t, r)
	require.ErrorContains(t, err, "not an alert: read its time: ")
}
