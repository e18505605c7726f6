package fields_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	orderedmap "github.com/wk8/go-ordered-map/v2"

	"github.com/falco-datastaging/datastaging/plugin/internal/config"
	"github.com/falco-datastaging/datastaging/plugin/internal/fields"
)

var update = flag.Bool("update", false, "rewrite the generated parts of README.md")

const readme = "../../../README.md"

// TestREADME holds the generated tables of the README against the catalogue and the schema.
func TestREADME(t *testing.T) {
	old, err := os.ReadFile(readme)
	require.NoError(t, err)
	text := replaceSection(t, old, "fields", fieldTable())
	text = replaceSection(t, text, "settings", settingsTable(t))
	if *update {
		require.NoError(t, os.WriteFile(readme, text, 0o644))
		return
	}
	assert.True(t, bytes.Equal(text, old), "README.md is not what the catalogue and the schema say: run make generate")
}

// replaceSection puts body between the comment lines that begin and end a section.
func replaceSection(t *testing.T, text []byte, name, body string) []byte {
	begin := bytes.Index(text, []byte("<!-- "+name+":"))
	end := bytes.Index(text, []byte("<!-- end of "+name+" -->"))
	require.True(t, begin >= 0 && end > begin, "no section %s in the README", name)
	begin += bytes.IndexByte(text[begin:], '\n') + 1
	return bytes.Join([][]byte{text[:begin], []byte(body), text[end:]}, nil)
}

func fieldTable() string {
	var b strings.Builder
	b.WriteString("| field | type | meaning |\n|---|---|---|\n")
	for _, f := range fields.Catalogue() {
		arg := map[fields.ArgKind]string{
			fields.WindowArg: "[w]", fields.KeyArg: "[key]", fields.MetricArg: "[metric]", fields.DimensionArg: "[dimension]",
		}[f.Arg]
		fmt.Fprintf(&b, "| `%s%s` | %s | %s |\n", f.Name, arg, f.Type, f.Desc)
	}
	return b.String()
}

// property is one key of the JSON schema.
type property struct {
	Description string                                    `json:"description"`
	Properties  *orderedmap.OrderedMap[string, *property] `json:"properties"`
}

func settingsTable(t *testing.T) string {
	var root property
	require.NoError(t, json.Unmarshal([]byte(config.Schema()), &root))
	var defaults map[string]any
	text, err := json.Marshal(config.Default())
	require.NoError(t, err)
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	require.NoError(t, d.Decode(&defaults))
	var b strings.Builder
	b.WriteString("| key | default | meaning |\n|---|---|---|\n")
	writeSettings(&b, "", &root, defaults)
	return b.String()
}

func writeSettings(b *strings.Builder, prefix string, p *property, defaults map[string]any) {
	for pair := p.Properties.Oldest(); pair != nil; pair = pair.Next() {
		key, value := prefix+pair.Key, defaults[pair.Key]
		if pair.Value.Properties != nil {
			writeSettings(b, key+".", pair.Value, value.(map[string]any))
			continue
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, showDefault(value), pair.Value.Description)
	}
}

func showDefault(value any) string {
	list, ok := value.([]any)
	switch {
	case value == nil:
		return "none"
	case !ok:
		return fmt.Sprintf("`%v`", value)
	}
	items := make([]string, len(list))
	for i, item := range list {
		items[i] = fmt.Sprintf("`%v`", item)
	}
	return strings.Join(items, " ")
}
