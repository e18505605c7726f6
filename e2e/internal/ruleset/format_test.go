package ruleset

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset/filter"
)

func TestFormat(t *testing.T) {
	values := map[string]string{"proc.name": "sh", "evt.arg[0]": "zero", "staging.bytes[5m]": "17", "toupper(proc.name)": "SH"}
	tests := []struct {
		name   string
		text   string
		fields []string
		want   string
	}{
		{"text without fields stays", "nothing here", nil, "nothing here"},
		{"fields are put in place", "a %proc.name, (%evt.arg[0])", []string{"proc.name", "evt.arg[0]"}, "a sh, (zero)"},
		{"fields may touch", "%proc.name%staging.bytes[5m]", []string{"proc.name", "staging.bytes[5m]"}, "sh17"},
		{"a field without a value reads as such", "user=%user.name", []string{"user.name"}, "user=<NA>"},
		{"a dot at the end is text", "by %proc.name.", []string{"proc.name"}, "by sh."},
		{"a dot and a digit are text", "%proc.name.1", []string{"proc.name"}, "sh.1"},
		{"a field is asked for once", "%proc.name %proc.name", []string{"proc.name"}, "sh sh"},
		{"a star at the start is dropped", "*%proc.name", []string{"proc.name"}, "sh"},
		{"a star elsewhere is text", "a * %proc.name*", []string{"proc.name"}, "a * sh*"},
		{"a width pads", "%4proc.name|", []string{"proc.name"}, "sh  |"},
		{"a width cuts", "%1proc.name|", []string{"proc.name"}, "s|"},
		{"a transformer changes the value", "%toupper(proc.name)!", []string{"toupper(proc.name)"}, "SH!"},
		{"transformers nest", "%tolower(toupper(proc.name))!", []string{"tolower(toupper(proc.name))"}, "<NA>!"},
		{"an argument reaches to the first bracket", "%proc.env[A B]]", []string{"proc.env[A B]"}, "<NA>]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := ParseFormat(tt.text)
			require.NoError(t, err)
			assert.Equal(t, tt.fields, f.Fields())
			assert.Equal(t, tt.want, f.Render(func(field string) (string, bool) {
				v, ok := values[field]
				return v, ok
			}))
		})
	}
}

func TestFormatKeyLeavesTransformersOut(t *testing.T) {
	f, err := ParseFormat("%toupper(evt.arg[0])")
	require.NoError(t, err)
	assert.Equal(t, "toupper(evt.arg[0])", f[0].Field)
	assert.Equal(t, "evt.arg[0]", f[0].Key)
}

func TestParseFormatRejects(t *testing.T) {
	tests := []struct {
		name   string
		text   string
		offset int
	}{
		{"a percent sign at the end", "100%", 3},
		{"a percent sign before a blank", "100% of", 3},
		{"two percent signs", "100%% of", 3},
		{"a width without a field", "%10", 0},
		{"a width without end", "%99999999999999999999proc.name", 0},
		{"a word that is no field", "%name", 0},
		{"an open argument", "x %evt.arg[0", 10},
		{"an open transformer", "%toupper(proc.name", 18},
		{"a blank in a transformer", "%toupper(proc.name )", 18},
		{"an unknown transformer", "%trim(proc.name)", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseFormat(tt.text)
			var syntax *filter.SyntaxError
			require.ErrorAs(t, err, &syntax)
			assert.Equal(t, tt.offset, syntax.Offset)
		})
	}
}
