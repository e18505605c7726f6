package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// sidekickSettings are the settings of Falcosidekick that the example uses.
type sidekickSettings struct {
	CustomFields    map[string]string `yaml:"customfields"`
	BracketReplacer string            `yaml:"bracketreplacer"`
	Alertmanager    outputSettings    `yaml:"alertmanager"`
	Loki            outputSettings    `yaml:"loki"`
	Elasticsearch   outputSettings    `yaml:"elasticsearch"`
	Webhook         outputSettings    `yaml:"webhook"`
	Prometheus      outputSettings    `yaml:"prometheus"`
}

type outputSettings struct {
	HostPort        string `yaml:"hostport"`
	Address         string `yaml:"address"`
	Endpoint        string `yaml:"endpoint"`
	Index           string `yaml:"index"`
	MinimumPriority string `yaml:"minimumpriority"`
	ExtraLabels     string `yaml:"extralabels"`
	FlattenFields   bool   `yaml:"flattenfields"`
}

func readSidekickSettings(config map[string]any) (s sidekickSettings, err error) {
	text, err := yaml.Marshal(config)
	if err != nil {
		return s, err
	}
	return s, yaml.Unmarshal(text, &s)
}

// wants tells whether an output takes alerts of a priority.
func (o outputSettings) wants(priority string) bool {
	least, err := ruleset.ParsePriority(o.MinimumPriority)
	if err != nil {
		return true
	}
	p, err := ruleset.ParsePriority(priority)
	return err == nil && p.AtLeast(least)
}

func (o outputSettings) extra() []string {
	return strings.FieldsFunc(o.ExtraLabels, func(r rune) bool { return r == ',' || r == ' ' })
}

// sidekickByTheBook stands in for Falcosidekick where there is none: it takes alerts and sends them on by the rules that
// Falcosidekick 2.34 follows. The tests say the same of it and of the real program.
type sidekickByTheBook struct {
	settings sidekickSettings

	mu     sync.Mutex
	counts map[string]int // of events, by their labels
}

func newSidekickByTheBook(s sidekickSettings) *sidekickByTheBook {
	return &sidekickByTheBook{settings: s, counts: map[string]int{}}
}

func (s *sidekickByTheBook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/metrics" {
		s.mu.Lock()
		defer s.mu.Unlock()
		for labels, n := range s.counts {
			fmt.Fprintf(w, "falcosecurity_falcosidekick_falco_events_total{%s} %d\n", labels, n)
		}
		return
	}
	a, err := readForwarded(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for key, value := range s.settings.CustomFields {
		a.OutputFields[key] = value
	}
	s.count(a) // with the names as they came
	s.replaceBrackets(a.OutputFields)
	cut(&a)
	if err := s.forward(a); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}

// readForwarded reads an alert. One without priority, rule, time or fields is refused.
func readForwarded(body io.Reader) (a alert.Alert, err error) {
	if err := json.NewDecoder(body).Decode(&a); err != nil {
		return a, err
	}
	if _, err := ruleset.ParsePriority(a.Priority); err != nil {
		return a, err
	}
	if a.Time.IsZero() || len(a.OutputFields) == 0 {
		return a, fmt.Errorf("%s: no time or no fields", a.Rule)
	}
	return a, nil
}

var prometheusLabel = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)

// count adds to the metric: a field is a label of it where it is asked for, a string, and named well with its dots replaced.
func (s *sidekickByTheBook) count(a alert.Alert) {
	labels := map[string]string{
		"hostname": a.Hostname, "rule": a.Rule, "source": a.Source, "priority_raw": strings.ToLower(a.Priority),
		"k8s_ns_name": text(a.OutputFields["k8s.ns.name"]), "k8s_pod_name": text(a.OutputFields["k8s.pod.name"]),
	}
	for _, key := range slices.Concat(slices.Collect(maps.Keys(s.settings.CustomFields)), s.settings.Prometheus.extra()) {
		name := strings.ReplaceAll(key, ".", "_")
		if prometheusLabel.MatchString(name) {
			labels[name] = text(a.OutputFields[key])
		}
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", name, labels[name]))
	}
	s.mu.Lock()
	s.counts[strings.Join(pairs, ",")]++
	s.mu.Unlock()
}

// text is a value that is a string, and nothing of others.
func text(value any) string {
	s, _ := value.(string)
	return s
}

func (s *sidekickByTheBook) replaceBrackets(fields map[string]any) {
	if s.settings.BracketReplacer == "" {
		return
	}
	for key, value := range maps.Clone(fields) {
		if strings.Contains(key, "[") {
			delete(fields, key)
			fields[strings.NewReplacer("]", "", "[", s.settings.BracketReplacer).Replace(key)] = value
		}
	}
}

// cut shortens the long strings of a long alert, in its text, too.
func cut(a *alert.Alert) {
	whole, err := json.Marshal(a)
	if err != nil || len(whole) <= maxAlert {
		return
	}
	for key, value := range a.OutputFields {
		if long := text(value); len(long) > maxValue {
			short := long[:maxValue-len("[...]")] + "[...]"
			a.OutputFields[key] = short
			a.Output = strings.ReplaceAll(a.Output, long, short)
		}
	}
}

func (s *sidekickByTheBook) forward(a alert.Alert) error {
	if o := s.settings.Alertmanager; o.wants(a.Priority) {
		if err := post(o.HostPort+o.Endpoint, []any{map[string]any{"labels": alertmanagerLabels(a)}}); err != nil {
			return err
		}
	}
	if o := s.settings.Loki; o.wants(a.Priority) {
		line, err := json.Marshal(a)
		if err != nil {
			return err
		}
		err = post(o.HostPort+"/loki/api/v1/push", map[string]any{"streams": []any{map[string]any{
			"stream": s.lokiLabels(a), "values": [][2]string{{strconv.FormatInt(a.Time.UnixNano(), 10), string(line)}},
		}}})
		if err != nil {
			return err
		}
	}
	if o := s.settings.Elasticsearch; o.wants(a.Priority) {
		fields := map[string]any{}
		for key, value := range a.OutputFields {
			if o.FlattenFields {
				key = strings.ReplaceAll(key, ".", "_")
			}
			fields[key] = value
		}
		err := post(o.HostPort+"/"+o.Index+a.Time.Format("-2006.01.02")+"/_doc", map[string]any{
			"rule": a.Rule, "priority": a.Priority, "output": a.Output, "output_fields": fields, "@timestamp": a.Time,
		})
		if err != nil {
			return err
		}
	}
	if o := s.settings.Webhook; o.wants(a.Priority) {
		return post(o.Address, a)
	}
	return nil
}

// alertmanagerLabels are all strings and numbers. Everything but letters, digits and _ in a name becomes _, two of which become one,
// and none stays at the ends. Falcosidekick's own labels replace those of fields.
func alertmanagerLabels(a alert.Alert) map[string]string {
	labels := map[string]string{}
	for key, value := range a.OutputFields {
		name := regexp.MustCompile(`[^a-zA-Z0-9_]`).ReplaceAllString(key, "_")
		name = strings.Trim(strings.ReplaceAll(name, "__", "_"), "_")
		switch v := value.(type) {
		case string:
			labels[name] = v
		case json.Number:
			labels[name] = v.String()
		}
	}
	maps.Copy(labels, map[string]string{
		"source": "falco", "rule": a.Rule, "alertname": a.Rule, "eventsource": a.Source, "hostname": a.Hostname, "priority": a.Priority,
		"severity": severity(a), "tags": strings.Join(a.Tags, ","),
	})
	return labels
}

// lokiLabels are few: strings that are custom fields or asked for, without quotes; in names dots become _ and brackets go.
func (s *sidekickByTheBook) lokiLabels(a alert.Alert) map[string]string {
	labels := map[string]string{
		"rule": a.Rule, "source": a.Source, "priority": a.Priority, "hostname": a.Hostname, "tags": strings.Join(a.Tags, ","),
	}
	wanted := slices.Concat(slices.Collect(maps.Keys(s.settings.CustomFields)), s.settings.Loki.extra(), []string{"k8s.ns.name", "k8s.pod.name"})
	for _, key := range wanted {
		if value, ok := a.OutputFields[key].(string); ok {
			labels[strings.NewReplacer(".", "_", "[", "", "]", "").Replace(key)] = strings.ReplaceAll(value, `"`, "")
		}
	}
	return labels
}

func post(url string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	resp, err := http.Post(url, "application/json", bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
