package config_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/config"
)

func TestAnEmptyConfigIsTheDefault(t *testing.T) {
	for _, text := range []string{"", "  \n", "{}"} {
		cfg, err := config.Parse(text)
		require.NoError(t, err)
		assert.Equal(t, config.Default(), cfg)
	}
	s, err := config.Default().Settings()
	require.NoError(t, err)
	assert.Equal(t, 10*time.Minute, s.Window)
}

func TestKeysThatAreSetReplaceTheDefault(t *testing.T) {
	cfg, err := config.Parse(`{"window": "90s", "cluster_networks": ["2001:db8::/32", "192.0.2.7"], "locations": {"tmp": ["/scratch"]}}`)
	require.NoError(t, err)
	s, err := cfg.Settings()
	require.NoError(t, err)
	assert.Equal(t, 90*time.Second, s.Window)
	assert.Equal(t, 90*time.Second, s.Attribute.Window)
	assert.Equal(t, []netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.7/32")}, s.Attribute.Networks.Cluster)
	assert.Equal(t, []string{"/scratch"}, s.Attribute.Paths.Tmp)
	assert.Equal(t, []string{"/dev/shm", "/run/shm", "/dev/mqueue"}, s.Attribute.Paths.Shm, "its neighbours keep theirs")
}

func TestABadConfigIsRefusedWithKeyValueAndWhatIsAccepted(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a window that is no duration":           {`{"window": "soon"}`, `window: "soon" is not accepted; want a duration from 10s to 24h0m0s such as 90s, 10m or 1h30m`},
		"a window that is too long":              {`{"window": "25h"}`, `window: "25h" is not accepted`},
		"a window that is too short":             {`{"window": "1s"}`, `window: "1s" is not accepted`},
		"an interval below a second":             {`{"once_interval": "1ms"}`, `once_interval: "1ms" is not accepted; want a duration from 1s`},
		"no bytes for a phase":                   {`{"phase_bytes": 0}`, `phase_bytes: "0" is not accepted; want a number of bytes above 0`},
		"a negative number of bytes":             {`{"phase_bytes": -1}`, `phase_bytes: want uint64, got a JSON number -1`},
		"a number where text belongs":            {`{"window": 600}`, `window: want string, got a JSON number`},
		"a network that is none":                 {`{"cluster_networks": ["ten"]}`, `cluster_networks: "ten" is not accepted; want a CIDR prefix`},
		"a relative directory":                   {`{"locations": {"tmp": ["tmp"]}}`, `locations.tmp: "tmp" is not accepted; want an absolute path`},
		"a trailing slash":                       {`{"runtime_paths": ["/usr/"]}`, `runtime_paths: "/usr/" is not accepted`},
		"a pattern in the middle of a home":      {`{"home_dirs": ["/home/*/x"]}`, `home_dirs: "/home/*/x" is not accepted; want an absolute path, with /* at its end`},
		"a project directory that is not hidden": {`{"project_dirs": ["git"]}`, `project_dirs: "git" is not accepted; want a name that starts with "."`},
		"room for no container":                  {`{"max_containers": 1}`, `max_containers: "1" is not accepted; want a number from 16 to 65536`},
		"an unknown key":                         {`{"windows": "5m"}`, `unknown key "windows"`},
		"an unknown key further in":              {`{"locations": {"temp": []}}`, `unknown key "temp"`},
		"something after the object":             {`{} {}`, `want one JSON object, but more follows it`},
		"no JSON":                                {`window: 5m`, `init_config: invalid character`},
		"an object that is cut off":              {`{"window": "5m"`, `init_config: unexpected EOF`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse(test.text)
			assert.ErrorContains(t, err, test.want)
		})
	}
	t.Run("every problem is told at once", func(t *testing.T) {
		_, err := config.Parse(`{"window": "x", "max_files": 1}`)
		assert.ErrorContains(t, err, "window")
		assert.ErrorContains(t, err, "max_files")
	})
}

// The engine checks an init_config against the schema before the plugin sees it, so both must agree.
func TestTheSchemaAcceptsWhatParseAccepts(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(config.Schema()))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", doc))
	schema, err := c.Compile("schema.json")
	require.NoError(t, err)
	validate := func(text string) error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		require.NoError(t, err)
		return schema.Validate(v)
	}
	whole, err := json.Marshal(config.Default())
	require.NoError(t, err)
	assert.NoError(t, validate(string(whole)))
	assert.NoError(t, validate("{}"))
	for _, text := range []string{`{"windows": "5m"}`, `{"window": 5}`, `{"phase_bytes": 0}`, `{"max_containers": 1}`, `{"locations": {"temp": []}}`} {
		assert.Error(t, validate(text), text)
		_, err := config.Parse(text)
		assert.Error(t, err, text)
	}
}
