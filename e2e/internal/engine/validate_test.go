package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestValidationsAreReadFromFalcosAnswer(t *testing.T) {
	const answer = `{"falco_load_results":[
	{"name":"/w/a.yaml","successful":true,"errors":[],"schema_valid":true,"schema_warnings":[],"warnings":[]},
	{"name":"/w/b.yaml","successful":false,"schema_valid":false,"schema_warnings":["failed for <root>[2]"],
	 "errors":[{"code":"LOAD_ERR_COMPILE_OUTPUT","message":"unknown filter","context":{"locations":[
	   {"position":{"line":0,"column":0,"name":"/w/b.yaml"}},{"position":{"line":5,"column":10,"name":"/w/b.yaml"}}]}}],
	 "warnings":[{"code":"LOAD_UNUSED_MACRO","message":"not used","context":{"locations":[{"position":{"line":2,"column":2,"name":"/w/a.yaml"}}]}},
	   {"code":"LOAD_ODD","message":"odd","context":{"locations":[]}}]}]}`
	named := map[string]string{"/w/a.yaml": "a.yaml", "/w/b.yaml": "b.yaml"}
	got, err := parseValidations([]byte(answer), []string{"a.yaml", "b.yaml"}, named)
	require.NoError(t, err)
	assert.Equal(t, []Validation{
		{File: "a.yaml", Loads: true},
		{
			File: "b.yaml", Schema: []string{"failed for <root>[2]"},
			Errors: []Complaint{{Code: "LOAD_ERR_COMPILE_OUTPUT", Message: "unknown filter", File: "b.yaml", Line: 6, Column: 11}},
			Warnings: []Complaint{
				{Code: "LOAD_UNUSED_MACRO", Message: "not used", File: "a.yaml", Line: 3, Column: 3},
				{Code: "LOAD_ODD", Message: "odd", File: "b.yaml", Line: 1, Column: 1},
			},
		},
	}, got)

	_, err = parseValidations([]byte(answer), []string{"a.yaml"}, named)
	require.ErrorContains(t, err, "it is about 2 files, not 1")
	_, err = parseValidations([]byte("no JSON"), nil, named)
	require.Error(t, err)
}

func TestFalcoValidatesFilesOneAfterTheOther(t *testing.T) {
	path := os.Getenv("FALCO_BIN")
	if path == "" {
		t.Skip("no Falco in FALCO_BIN")
	}
	falco, err := NewFalco(t.Context(), FalcoOptions{Path: path, ContainerPlugin: "none"})
	require.NoError(t, err)
	assert.Regexp(t, `^\d+\.\d+\.\d+`, falco.Release())
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	macro := write("macro.yaml", "- macro: opens\n  condition: (evt.type = open)\n")
	const rule = "- rule: R\n  desc: d\n  output: o\n  priority: INFO\n  condition: "
	good := write("good.yaml", rule+"opens\n")
	bad := write("bad.yaml", rule+"openz\n")

	got, err := falco.Validate(t.Context(), "", []string{macro, good})
	require.NoError(t, err)
	require.Len(t, got, 2)
	assert.Equal(t, Validation{File: good, Loads: true}, got[1])
	require.Len(t, got[0].Warnings, 1, "no rule uses it before the next file")
	assert.Equal(t, "LOAD_UNUSED_MACRO", got[0].Warnings[0].Code)
	assert.Equal(t, 1, got[0].Warnings[0].Line)

	got, err = falco.Validate(t.Context(), "", []string{bad})
	require.NoError(t, err)
	assert.False(t, got[0].Loads)
	require.NotEmpty(t, got[0].Errors)
	assert.Equal(t, bad, got[0].Errors[0].File)
}
