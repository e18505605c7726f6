package alert_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
)

// falcoLine is a line that Falco 0.44.1 printed, hostname aside.
const falcoLine = `{"hostname":"node","output":"2026-11-23T17:02:23.801166850+0000: Notice write <& (file=/tmp/.x proc=a\nb)",` +
	`"output_fields":{"evt.num":9007199254740993,"evt.time.iso8601":1795453343801166850,"fd.name":null,"proc.name":"a\nb"},` +
	`"priority":"Notice","rule":"Tiny","source":"syscall","tags":["T1074","demo"],"time":"2026-11-23T17:02:23.801166850Z"}`

func TestAlertIsWrittenByteForByteAsFalcoWritesIt(t *testing.T) {
	var a alert.Alert
	require.NoError(t, json.Unmarshal([]byte(falcoLine), &a))

	assert.Equal(t, "Tiny", a.Rule)
	assert.Equal(t, time.Date(2026, 11, 23, 17, 2, 23, 801166850, time.UTC), a.Time)
	assert.Equal(t, json.Number("9007199254740993"), a.OutputFields["evt.num"], "a float64 would round it")
	num, ok := a.EventNumber()
	assert.True(t, ok)
	assert.Equal(t, uint64(9007199254740993), num)

	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	require.NoError(t, enc.Encode(a))
	assert.Equal(t, falcoLine+"\n", buf.String())
}

func TestAlertWithoutTagsAndFieldsKeepsItsKeys(t *testing.T) {
	out, err := json.Marshal(alert.Alert{Rule: "r", Time: time.Unix(0, 0)})
	require.NoError(t, err)
	assert.Equal(t,
		`{"output":"","output_fields":{},"priority":"","rule":"r","source":"","tags":[],"time":"1970-01-01T00:00:00.000000000Z"}`,
		string(out))
}

func TestEventNumberIsMissingWhereNoEngineAddedIt(t *testing.T) {
	_, ok := alert.Alert{OutputFields: map[string]any{"evt.num": "7"}}.EventNumber()
	assert.False(t, ok)
}

func TestAlertOfAnotherTimeFormatIsRefused(t *testing.T) {
	var a alert.Alert
	assert.ErrorContains(t, json.Unmarshal([]byte(`{"rule":"r","time":"17:02:23"}`), &a), "read the alert's time")
}

func TestAFieldWithoutAValueIsNilHoweverItIsWritten(t *testing.T) {
	var a alert.Alert
	require.NoError(t, json.Unmarshal([]byte(`{"rule":"r","time":"2026-11-23T17:02:23Z","output_fields":{"a":null,"b":"<NA>","c":""}}`), &a))
	assert.Equal(t, map[string]any{"a": nil, "b": nil, "c": ""}, a.OutputFields)
}

func TestJSONWithoutARuleIsNoAlert(t *testing.T) {
	var a alert.Alert
	assert.EqualError(t, json.Unmarshal([]byte(`{"time":"2026-11-23T17:02:23Z","message":"started"}`), &a), "it names no rule")
}

func TestJSONOfOtherKindsIsNoAlert(t *testing.T) {
	var a alert.Alert
	assert.EqualError(t, json.Unmarshal([]byte(`{"rule":7}`), &a), "its rule has the JSON kind number")
	assert.EqualError(t, json.Unmarshal([]byte(`{"rule":"r","output_fields":[]}`), &a), "its output_fields has the JSON kind array")
}

func TestKeysThatAlertHasNoPlaceForArePassedOver(t *testing.T) {
	var a alert.Alert
	require.NoError(t, json.Unmarshal([]byte(`{"uuid":"x","rule":"r","time":"2026-11-23T17:02:23Z","message":"m","later":{"k":[1]}}`), &a))
	assert.Equal(t, alert.Alert{Rule: "r", Time: time.Date(2026, 11, 23, 17, 2, 23, 0, time.UTC)}, a)
}
