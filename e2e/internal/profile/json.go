package profile

import (
	"encoding/json"
	"io"
	"time"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// The JSON documents. Every key is always there; times that are not known are null, lists without anything are [].

type document struct {
	Nodes     []jsonNode     `json:"nodes"`
	Workloads []jsonWorkload `json:"workloads"`
}

type jsonNode struct {
	ID        string    `json:"id"`
	Saved     time.Time `json:"saved"`
	Workloads int       `json:"workloads"`
	Bytes     int       `json:"bytes"`
	Includes  []string  `json:"includes"` // nodes that were folded into this
}

type jsonWorkload struct {
	Workload     string                `json:"workload"`
	Image        string                `json:"image"`
	FirstSeen    *time.Time            `json:"first_seen"`
	LastSeen     *time.Time            `json:"last_seen"`
	AgeSeconds   int64                 `json:"age_seconds"`
	Windows      uint64                `json:"windows"`
	LaterAge     int64                 `json:"later_age_seconds"`
	LaterWindows uint64                `json:"later_windows"`
	Quarantined  map[string]uint64     `json:"quarantined"`
	Hours        bool                  `json:"hours"`
	Digests      int                   `json:"digests"`
	Bytes        int                   `json:"bytes"`
	Metrics      map[string]jsonMetric `json:"metrics"`
	Values       map[string]jsonValues `json:"values"`
}

type jsonMetric struct {
	Unit string `json:"unit"`
	jsonQuantiles
	Bins []jsonBin `json:"bins"`
}

type jsonQuantiles struct {
	Active  uint64 `json:"active_windows"`
	Median  uint64 `json:"median"`
	P84     uint64 `json:"p84"`
	Typical uint64 `json:"typical"`
}

type jsonBin struct {
	Value   uint64 `json:"value"`
	Windows uint64 `json:"windows"`
}

type jsonValues struct {
	jsonSet
	Known      []string `json:"known"`
	Candidates []string `json:"candidates"`
}

type jsonSet struct {
	Form  string `json:"form"` // listed, hashed or full
	Count int    `json:"count"`
}

// WriteJSON writes workloads as one JSON document.
func WriteJSON(w io.Writer, nodes []baseline.NodeInfo, workloads []baseline.Workload) error {
	doc := document{Nodes: []jsonNode{}, Workloads: []jsonWorkload{}}
	for _, n := range nodes {
		doc.Nodes = append(doc.Nodes, jsonNode{n.ID, n.Saved, n.Workloads, n.Bytes, listOf(n.Includes)})
	}
	for i := range workloads {
		doc.Workloads = append(doc.Workloads, workloadOf(&workloads[i]))
	}
	return encode(w, doc)
}

func encode(w io.Writer, doc any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

func listOf(values []string) []string {
	if values == nil {
		return []string{}
	}
	return values
}

func workloadOf(w *baseline.Workload) jsonWorkload {
	out := jsonWorkload{
		Workload: w.Name, Image: w.Image,
		AgeSeconds: int64(w.Age.Seconds()), Windows: w.Windows,
		LaterAge: int64(w.LaterAge.Seconds()), LaterWindows: w.LaterWindows,
		Quarantined: w.Quarantined, Hours: w.Hours, Digests: w.Digests, Bytes: w.Bytes,
		Metrics: map[string]jsonMetric{}, Values: map[string]jsonValues{},
	}
	if w.Windows > 0 {
		out.FirstSeen, out.LastSeen = &w.FirstSeen, &w.LastSeen
	}
	if out.Quarantined == nil {
		out.Quarantined = map[string]uint64{}
	}
	for i := range w.Metrics {
		m := baseline.Metric(i)
		bins := []jsonBin{}
		for _, b := range w.Metrics[i].Bins {
			bins = append(bins, jsonBin{b.Value, b.Count})
		}
		out.Metrics[m.String()] = jsonMetric{unitOf(m), quantilesOf(&w.Metrics[i]), bins}
	}
	for i := range w.Values {
		v := &w.Values[i]
		out.Values[baseline.Dimension(i).String()] = jsonValues{setOf(v), listOf(v.Known), listOf(v.Candidates)}
	}
	return out
}

func unitOf(m baseline.Metric) string {
	if m.InBytes() {
		return "bytes"
	}
	return "things"
}

func quantilesOf(d *baseline.Distribution) jsonQuantiles {
	return jsonQuantiles{d.Active, d.P50, d.P84, d.P99}
}

func setOf(v *baseline.Values) jsonSet {
	form := "listed"
	switch {
	case v.Full:
		form = "full"
	case v.Approximate:
		form = "hashed"
	}
	return jsonSet{form, v.NumKnown}
}
