package e2e_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

const sidekickConfig = "../examples/falcosidekick/config.yaml"

// alertmanagerNames are labels that Falcosidekick adds; a field of that name is lost.
var alertmanagerNames = []string{"source", "rule", "alertname", "eventsource", "hostname", "tags", "priority", "severity"}

// Above maxAlert bytes of JSON, strings above maxValue are cut.
const maxAlert, maxValue = 4096, 512

// added are the fields that a live Falco with the container plugin adds to every alert on system calls.
var added = map[string]any{
	"container.id": "452d5e93273f", "container.name": "web", "container.image.repository": "localhost/lab/base", "container.image.tag": nil,
	"k8s.ns.name": "shop", "k8s.pod.name": "web-0", "evt.time.iso8601": json.Number("1795569257347684467"),
}

func TestEveryAlertPassesFalcosidekickWhole(t *testing.T) {
	alerts := alertsOfAllRules(t)
	long := alerts[0]
	long.Rule = "Long"
	long.OutputFields = maps.Clone(long.OutputFields)
	long.OutputFields["staging.story"] = strings.Repeat("collected 1 MiB from /data, ", 100)
	long.OutputFields["proc.cmdline"] = strings.Repeat("x", maxValue+1)
	long.OutputFields["proc.name"] = strings.Repeat("x", maxValue)
	alerts = append(alerts, long)

	outputs := newOutputs(t)
	receiver := startSidekick(t, outputs, func(config map[string]any) {
		config["alertmanager"].(map[string]any)["minimumpriority"] = ""
	})
	receiver.send(t, alerts)
	outputs.wait(t, map[string]int{"alertmanager": len(alerts), "loki": len(alerts), "elasticsearch": len(alerts), "webhook": len(alerts)})

	metrics := receiver.metrics(t)
	for _, a := range alerts {
		t.Run(a.Rule, func(t *testing.T) {
			want := asForwarded(t, a)

			// Every text and number is a label; of its name only the dots change. The annotation has the rest.
			labels := outputs.alertmanager[a.Rule]
			require.NotNil(t, labels)
			wantLabels := map[string]string{
				"alertname": a.Rule, "rule": a.Rule, "source": "falco", "eventsource": a.Source, "hostname": a.Hostname,
				"priority": a.Priority, "severity": severity(a), "tags": strings.Join(a.Tags, ","),
			}
			for key, value := range want {
				name := strings.ReplaceAll(key, ".", "_")
				assert.NotContains(t, alertmanagerNames, name, "the name is taken")
				assert.Regexp(t, `^[a-zA-Z_][a-zA-Z0-9_]*$`, name)
				if _, truth := value.(bool); value != nil && !truth {
					assert.NotContains(t, wantLabels, name, "two fields have one name")
					wantLabels[name] = fmt.Sprint(value)
				}
			}
			assert.Equal(t, wantLabels, labels, "Alertmanager")

			// Loki indexes few, and has the whole alert as its line.
			stream := outputs.loki[a.Rule]
			wantStream := map[string]string{
				"rule": a.Rule, "source": a.Source, "priority": a.Priority, "hostname": a.Hostname, "tags": strings.Join(a.Tags, ","),
				"cluster": "prod-1", "team": "platform-security",
			}
			for _, key := range []string{"baseline.workload", "k8s.ns.name", "k8s.pod.name"} {
				if value, ok := a.OutputFields[key].(string); ok {
					wantStream[strings.ReplaceAll(key, ".", "_")] = value
				}
			}
			assert.Equal(t, wantStream, stream, "Loki")

			for name, got := range map[string]map[string]any{
				"Loki": outputs.lokiLine[a.Rule], "Elasticsearch": outputs.elasticsearch[a.Rule], "webhook": outputs.webhook[a.Rule],
			} {
				require.NotNil(t, got, name)
				assert.Equal(t, want, got["output_fields"], name)
				assert.Equal(t, a.Rule, got["rule"], name)
				assert.Equal(t, a.Priority, got["priority"], name)
				assert.NotEmpty(t, got["output"], name)
			}
			assert.NotEmpty(t, outputs.elasticsearch[a.Rule]["@timestamp"])

			line := regexp.MustCompile(`(?m)^falcosecurity_falcosidekick_falco_events_total\{[^\n]*rule="` + a.Rule + `"[^\n]*\} 1$`).FindString(metrics)
			require.NotEmpty(t, line, metrics)
			for _, label := range []string{
				`baseline_workload="` + text(a.OutputFields["baseline.workload"]) + `"`, `cluster="prod-1"`, `team="platform-security"`,
				`priority_raw="` + strings.ToLower(a.Priority) + `"`, `k8s_ns_name="` + text(a.OutputFields["k8s.ns.name"]) + `"`,
			} {
				assert.Contains(t, line, label)
			}
		})
	}
}

func TestTheExampleWakesForWarningsAndKeepsNotices(t *testing.T) {
	alerts := alertsBuilt(t, shippedRules(t))
	info := alerts[0]
	info.Rule, info.Priority = "Below", "Informational"
	warnings := 0
	for _, a := range alerts {
		if wakes(a) {
			warnings++
		}
	}
	require.Positive(t, warnings)

	outputs := newOutputs(t)
	receiver := startSidekick(t, outputs, func(map[string]any) {})
	receiver.send(t, append([]alert.Alert{info}, alerts...)) // the last one has been forwarded, so all before have
	outputs.wait(t, map[string]int{"alertmanager": warnings, "loki": len(alerts), "elasticsearch": len(alerts), "webhook": len(alerts)})
	for _, a := range alerts {
		assert.Equal(t, wakes(a), outputs.alertmanager[a.Rule] != nil, a.Rule)
	}
	for name, got := range map[string]bool{
		"alertmanager": outputs.alertmanager["Below"] != nil, "loki": outputs.loki["Below"] != nil,
		"elasticsearch": outputs.elasticsearch["Below"] != nil, "webhook": outputs.webhook["Below"] != nil,
	} {
		assert.False(t, got, "%s got an alert below its minimum priority", name)
	}
}

// TestAFieldIsOneThingInAnIndex: a store that builds its schema from what comes takes a key with dots for objects within
// objects, and the first value for the type of all.
func TestAFieldIsOneThingInAnIndex(t *testing.T) {
	types := map[string]string{}
	for _, a := range alertsOfAllRules(t) {
		for key, value := range a.OutputFields {
			if value == nil {
				continue
			}
			kind := fmt.Sprintf("%T", value)
			assert.Equal(t, cmp.Or(types[key], kind), kind, "%s of %s", key, a.Rule)
			types[key] = kind
			if n, ok := value.(json.Number); ok {
				_, err := n.Int64()
				assert.NoError(t, err, "%s of %s: indexes keep 63 bits", key, a.Rule)
			}
		}
	}
	for key := range types {
		for other := range types {
			assert.False(t, strings.HasPrefix(other, key+"."), "%s would have to be a value and hold %s", key, other)
		}
	}
}

// severity is Alertmanager's word for an alert's priority.
func severity(a alert.Alert) string {
	switch p, _ := ruleset.ParsePriority(a.Priority); {
	case p.AtLeast(ruleset.PriorityCritical):
		return "critical"
	case p.AtLeast(ruleset.PriorityWarning):
		return "warning"
	default:
		return "information"
	}
}

// wakes tells whether an alert is meant to wake somebody.
func wakes(a alert.Alert) bool { return severity(a) != "information" }

// asForwarded is what an alert's fields are to be at the other end: the custom fields join them, long strings are cut where
// the alert as a whole is long, and nothing else changes.
func asForwarded(t *testing.T, a alert.Alert) map[string]any {
	fields := maps.Clone(a.OutputFields)
	fields["cluster"], fields["team"] = "prod-1", "platform-security"
	a.OutputFields = fields
	text, err := json.Marshal(a)
	require.NoError(t, err)
	if a.Rule == "Long" {
		require.Greater(t, len(text), maxAlert+100)
		for key, value := range fields {
			if s, ok := value.(string); ok && len(s) > maxValue {
				fields[key] = s[:maxValue-5] + "[...]"
			}
		}
		return fields
	}
	require.Less(t, len(text), maxAlert-100, "%s: it would be cut, and it is an ordinary alert", a.Rule)
	return fields
}

// alertsOfAllRules is one alert for each shipped rule: a recorded one where a case has one, else one of the rule's fields.
func alertsOfAllRules(t *testing.T) []alert.Alert {
	rules := shippedRules(t)
	recorded := recordedAlerts(t, rules)
	built := alertsBuilt(t, rules)
	for i, r := range rules {
		if a, ok := recorded[r.Name]; ok {
			built[i] = a
		}
	}
	return built
}

// alertsBuilt makes alerts of what the rules put out.
func alertsBuilt(t *testing.T, rules []ruleset.Rule) (alerts []alert.Alert) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for _, r := range rules {
		a := alert.Alert{
			Hostname: "node-1", Rule: r.Name, Priority: priorityText(r.Priority), Source: r.Source, Tags: r.Tags,
			Time: time.Date(2026, 11, 25, 1, 14, 17, 347684467, time.UTC), OutputFields: map[string]any{},
		}
		complete(&a)
		for _, token := range r.Format {
			if token.Key == "" {
				continue
			}
			switch kind := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(token.Key) + "(?:\\[\\w+\\])?` \\| (\\w+) ").FindSubmatch(readme); {
			case kind == nil || string(kind[1]) == "string":
				a.OutputFields[token.Key] = "value of " + token.Key
			case string(kind[1]) == "bool":
				a.OutputFields[token.Key] = true
			default:
				a.OutputFields[token.Key] = json.Number("1099511627776")
			}
		}
		a.Output = r.Format.Render(func(field string) (string, bool) { return fmt.Sprint(a.OutputFields[field]), true })
		alerts = append(alerts, a)
	}
	return alerts
}

// complete adds the fields that a live Falco adds. With an audit event it adds none but the time.
func complete(a *alert.Alert) {
	if a.Source == ruleset.SyscallSource {
		maps.Copy(a.OutputFields, added)
	} else {
		a.OutputFields["evt.time.iso8601"] = added["evt.time.iso8601"]
	}
}

// priorityText is how Falco writes a priority in JSON.
func priorityText(p ruleset.Priority) string {
	text := strings.ToLower(p.String())
	return strings.ToUpper(text[:1]) + text[1:]
}

// recordedAlerts replays cases until each rule that any of them expects has an alert, small captures first. Without what
// `make build` makes there are none.
func recordedAlerts(t *testing.T, rules []ruleset.Rule) map[string]alert.Alert {
	recording.Do(func() { recorded, recordedErr = replayForAlerts(rules) })
	if os.Getenv("CI") != "" {
		require.NoError(t, recordedErr)
	}
	if recordedErr != nil {
		t.Logf("alerts are built, not recorded: %v", recordedErr)
		return nil
	}
	for _, r := range rules {
		for _, c := range readCases(t) {
			if expects(c, r.Name) {
				assert.Contains(t, recorded, r.Name, "case %s expects it", c.Name)
			}
		}
	}
	return recorded
}

// What was replayed serves all tests.
var (
	recording   sync.Once
	recorded    map[string]alert.Alert
	recordedErr error
)

func replayForAlerts(rules []ruleset.Rule) (map[string]alert.Alert, error) {
	found, err := cases.Find("cases")
	if err != nil {
		return nil, err
	}
	// A case that learns costs most, and alone has the alerts that need a baseline.
	size := func(c cases.Case) (n int64) {
		for _, path := range slices.Concat(c.Learn, c.Captures) {
			if info, err := os.Stat(path); err == nil {
				n += info.Size()
			}
		}
		return n
	}
	slices.SortFunc(found, func(a, b cases.Case) int { return cmp.Compare(size(a), size(b)) })
	alerts := map[string]alert.Alert{}
	for _, r := range rules {
		i := slices.IndexFunc(found, func(c cases.Case) bool { return expects(c, r.Name) })
		if _, have := alerts[r.Name]; have || i < 0 {
			continue
		}
		got, err := replayCase(found[i])
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", found[i].Name, err)
		}
		for _, a := range got {
			if _, have := alerts[a.Rule]; !have {
				alerts[a.Rule] = a
			}
		}
	}
	return alerts, nil
}

// replayCase replays as a user does, and completes the alerts as a live Falco would have made them.
func replayCase(c cases.Case) ([]alert.Alert, error) {
	dir, err := os.MkdirTemp("", "falcosidekick-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	args := []string{"replay", "--format", "json"}
	if len(c.InitConfig) > 0 {
		path := filepath.Join(dir, "init_config.json")
		if err := os.WriteFile(path, c.InitConfig, 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--config", path)
	}
	if len(c.Learn) > 0 {
		baseline := filepath.Join(dir, "baseline")
		if _, err := stagectl(append([]string{"learn", "--out", baseline}, c.Learn...)...); err != nil {
			return nil, err
		}
		args = append(args, "--baseline", baseline)
	}
	for _, rules := range c.Rules {
		args = append(args, "--rules", rules)
	}
	out, err := stagectl(append(args, c.Captures...)...)
	if err != nil {
		return nil, err
	}
	var alerts []alert.Alert
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var a alert.Alert
		if err := dec.Decode(&a); err == io.EOF {
			return alerts, nil
		} else if err != nil {
			return nil, err
		}
		delete(a.OutputFields, alert.FieldEventNumber) // of replays
		complete(&a)
		alerts = append(alerts, a)
	}
}

func stagectl(args ...string) ([]byte, error) {
	var stderr strings.Builder
	cmd := exec.Command("../bin/stagectl", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("stagectl %s: %w: %s", args[0], err, stderr.String())
	}
	return out, nil
}

// outputs receives what Falcosidekick sends to its outputs, by rule.
type outputs struct {
	url string

	mu                               sync.Mutex
	alertmanager, loki               map[string]map[string]string
	lokiLine, elasticsearch, webhook map[string]map[string]any
	bad                              []string
}

func newOutputs(t *testing.T) *outputs {
	o := &outputs{
		alertmanager: map[string]map[string]string{}, loki: map[string]map[string]string{},
		lokiLine: map[string]map[string]any{}, elasticsearch: map[string]map[string]any{}, webhook: map[string]map[string]any{},
	}
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	o.url = server.URL
	return o
}

func (o *outputs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		o.mu.Lock()
		err = o.receive(r.URL.Path, body)
		o.mu.Unlock()
	}
	if err != nil {
		o.mu.Lock()
		o.bad = append(o.bad, fmt.Sprintf("%s: %v: %s", r.URL.Path, err, body))
		o.mu.Unlock()
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (o *outputs) receive(path string, body []byte) error {
	switch {
	case strings.HasPrefix(path, "/alertmanager/"):
		var posted []struct{ Labels map[string]string }
		if err := json.Unmarshal(body, &posted); err != nil {
			return err
		}
		for _, p := range posted {
			o.alertmanager[p.Labels["rule"]] = p.Labels
		}
	case strings.HasPrefix(path, "/loki/"):
		var posted struct {
			Streams []struct {
				Stream map[string]string
				Values [][2]string
			}
		}
		if err := json.Unmarshal(body, &posted); err != nil {
			return err
		}
		for _, s := range posted.Streams {
			line, err := unmarshalAlert([]byte(s.Values[0][1]))
			if err != nil {
				return err
			}
			o.loki[s.Stream["rule"]], o.lokiLine[s.Stream["rule"]] = s.Stream, line
		}
	default:
		posted, err := unmarshalAlert(body)
		if err != nil {
			return err
		}
		into := map[bool]map[string]map[string]any{true: o.elasticsearch, false: o.webhook}[strings.HasPrefix(path, "/elasticsearch/falco")]
		rule, _ := posted["rule"].(string)
		into[rule] = posted
	}
	return nil
}

func unmarshalAlert(data []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var out map[string]any
	return out, dec.Decode(&out)
}

// wait waits until each output has had so many alerts.
func (o *outputs) wait(t *testing.T, want map[string]int) {
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		o.mu.Lock()
		defer o.mu.Unlock()
		assert.Equal(c, want, map[string]int{
			"alertmanager": len(o.alertmanager), "loki": len(o.loki), "elasticsearch": len(o.elasticsearch), "webhook": len(o.webhook),
		})
	}, 20*time.Second, 50*time.Millisecond)
	o.mu.Lock()
	defer o.mu.Unlock()
	require.Empty(t, o.bad)
}

// sidekick is a running Falcosidekick.
type sidekick struct{ url string }

// startSidekick starts the real program with the example's configuration where FALCOSIDEKICK_BIN or the PATH has one, and what follows
// its documentation elsewhere. Only the addresses are others, and what change does.
func startSidekick(t *testing.T, o *outputs, change func(config map[string]any)) sidekick {
	data, err := os.ReadFile(sidekickConfig)
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, yaml.Unmarshal(data, &config))
	for output, key := range map[string]string{"alertmanager": "hostport", "loki": "hostport", "elasticsearch": "hostport", "webhook": "address"} {
		config[output].(map[string]any)[key] = o.url + "/" + output
	}
	change(config)

	program := os.Getenv("FALCOSIDEKICK_BIN")
	if program == "" {
		program, _ = exec.LookPath("falcosidekick")
	}
	if program == "" {
		settings, err := readSidekickSettings(config)
		require.NoError(t, err)
		server := httptest.NewServer(newSidekickByTheBook(settings))
		t.Cleanup(server.Close)
		return sidekick{server.URL}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().(*net.TCPAddr)
	require.NoError(t, listener.Close())
	config["listenaddress"], config["listenport"] = "127.0.0.1", addr.Port
	changed, err := yaml.Marshal(config)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, changed, 0o600))
	log := &strings.Builder{}
	cmd := exec.Command(program, "-c", path)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		assert.NotContains(t, log.String(), "panic")
		assert.NotContains(t, log.String(), "[ERROR]")
	})
	s := sidekick{"http://" + addr.String()}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		resp, err := http.Get(s.url + "/ping")
		if assert.NoError(c, err) {
			resp.Body.Close()
		}
	}, 20*time.Second, 50*time.Millisecond, program)
	return s
}

// send posts alerts as Falco's http_output does.
func (s sidekick) send(t *testing.T, alerts []alert.Alert) {
	for _, a := range alerts {
		body, err := json.Marshal(a)
		require.NoError(t, err)
		resp, err := http.Post(s.url, "application/json", bytes.NewReader(body))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode, a.Rule)
	}
}

func (s sidekick) metrics(t *testing.T) string {
	resp, err := http.Get(s.url + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(text)
}

// TestTheExampleSaysWhatBecomesOfEveryKey holds the table of its README against the rules' outputs.
func TestTheExampleSaysWhatBecomesOfEveryKey(t *testing.T) {
	text, err := os.ReadFile("../examples/falcosidekick/README.md")
	require.NoError(t, err)
	told := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.0-9]+)` \\| (.*) \\|$").FindAllStringSubmatch(string(text), -1) {
		told[m[1]] = strings.Split(strings.ReplaceAll(m[2], "`", ""), " | ")
	}
	want := map[string][]string{}
	for _, a := range alertsBuilt(t, shippedRules(t)) {
		for key, value := range a.OutputFields {
			kind, indexed, label, few := "text", "text", strings.ReplaceAll(key, ".", "_"), "–"
			switch value.(type) {
			case json.Number:
				kind, indexed = "number", "long"
			case bool:
				kind, indexed, label = "truth", "boolean", "–"
			}
			if key == "baseline.workload" || strings.HasPrefix(key, "k8s.") {
				few = label
			}
			want[key] = []string{kind, label, few, indexed, few}
		}
	}
	assert.Equal(t, want, told)
}
