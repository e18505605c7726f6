package timeline

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
)

// recorded is an engine that gives the samples it has, and keeps what it was asked for.
type recorded struct {
	engine.Engine
	samples []engine.Sample
	fields  []string
}

func (r *recorded) Ask(_ context.Context, _ engine.Request, queries []engine.Query, each func(int, engine.Sample) error) error {
	r.fields = queries[0].Fields
	for _, s := range r.samples {
		if err := each(0, s); err != nil {
			return err
		}
	}
	return nil
}

var begin = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

func sampled(t *testing.T, window string, samples ...engine.Sample) (*Replay, *recorded) {
	t.Helper()
	r := &Replay{Begin: begin, End: begin.Add(time.Hour), Window: window}
	eng := &recorded{samples: samples}
	require.NoError(t, r.Sample(t.Context(), eng, engine.Request{}))
	return r, eng
}

func TestPointsAreBoundedAndKeepEveryPeak(t *testing.T) {
	var samples []engine.Sample
	for i := range 20000 {
		n := 100
		if i == 7777 {
			n = 5000
		}
		samples = append(samples, engine.Sample{
			Time: begin.Add(time.Duration(i) * time.Hour / 20000), Container: "a",
			Values: map[string]any{"staging.bytes": json.Number(strconv.Itoa(n))},
		})
	}
	r, _ := sampled(t, "", samples...)
	require.Len(t, r.Containers, 1)
	assert.LessOrEqual(t, len(r.Containers[0].Points), Buckets)
	assert.Greater(t, len(r.Containers[0].Points), Buckets/2)
	assert.Equal(t, uint64(5000), r.Containers[0].Peak(Staged))
}

func TestWindowIsAskedForAndWhatIsUsualCountsOnceLearned(t *testing.T) {
	values := map[string]any{"staging.bytes[1m]": json.Number("9"), "baseline.typical[staged_bytes]": json.Number("4"), "baseline.status": "learning"}
	r, eng := sampled(t, "1m", engine.Sample{Time: begin, Container: "a", Values: values})
	assert.Contains(t, eng.fields, "staging.external_bytes[1m]")
	assert.Equal(t, uint64(9), r.Containers[0].Peak(Staged))
	assert.False(t, r.Containers[0].Learned)
	values["baseline.status"] = "active"
	r, _ = sampled(t, "1m", engine.Sample{Time: begin, Container: "a", Values: values})
	assert.True(t, r.Containers[0].Learned)
	assert.Equal(t, uint64(4), r.Containers[0].Typical[Staged])
}

func TestPeersAreThoseOfTheVolumesThenThoseSeen(t *testing.T) {
	at := func(address, name, class string) engine.Sample {
		return engine.Sample{Time: begin, Container: "a", Values: map[string]any{
			"staging.peer": address, "staging.peer_name": name, "staging.peer_class": class,
			"staging.top_senders":      "17 MiB shop/db/db, 1.2 KiB odd, name, 3 MiB elsewhere",
			"staging.top_destinations": "22 MiB 203.0.113.10:8080, 1 MiB 203.0.113.11:22", "staging.handoff_peer": "shop/api/api",
		}}
	}
	r, _ := sampled(t, "", at("203.0.113.10:8080", "", "external"), at("10.0.0.5:53", "node-local-dns", "cluster"),
		at("127.0.0.1:9", "", "loopback"), at("10.0.0.7:1", "shop/db/db", "container"))
	c := r.Containers[0]
	assert.Equal(t, []Peer{{Name: "shop/db/db", Amount: "17 MiB"}, {Name: "odd, name", Amount: "1.2 KiB"}, {Name: "elsewhere", Amount: "3 MiB"}}, c.Senders)
	assert.Equal(t, []Peer{{Name: "shop/api/api", Class: "container"}}, c.Givers)
	assert.Equal(t, []Peer{
		{Name: "203.0.113.10:8080", Address: "203.0.113.10:8080", Class: "external", Amount: "22 MiB"},
		{Name: "203.0.113.11:22", Class: "external", Amount: "1 MiB"},
		{Name: "node-local-dns", Address: "10.0.0.5:53", Class: "cluster"},
	}, c.Receives)
}

func TestContainersWithTheMostUrgentAlertsComeFirst(t *testing.T) {
	of := func(id, bytes string) engine.Sample {
		return engine.Sample{Time: begin, Container: id, Values: map[string]any{"staging.bytes": json.Number(bytes), "baseline.workload": "w/" + id}}
	}
	r, _ := sampled(t, "", of("little", "1"), of("much", "100"), of("noticed", "2"), of("woke", "3"))
	r.Alerts = []alert.Alert{
		{Priority: "Notice", OutputFields: map[string]any{"container.id": "noticed"}},
		{Priority: "Warning", OutputFields: map[string]any{"baseline.workload": "w/woke"}},
	}
	r.Sort()
	var ids []string
	for _, c := range r.Containers {
		ids = append(ids, c.ID)
	}
	assert.Equal(t, []string{"woke", "noticed", "much", "little"}, ids)
}
