package timeline

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
)

// did is an audit event.
func did(second int, user, action, target string, more ...string) engine.Sample {
	values := map[string]any{"audit.user": user, "audit.action": action, "audit.target": target}
	for i := 0; i+1 < len(more); i += 2 {
		values[more[i]] = more[i+1]
	}
	return engine.Sample{Time: begin.Add(time.Duration(second) * time.Second), Values: values}
}

func logged(t *testing.T, samples ...engine.Sample) (*Replay, *recorded) {
	t.Helper()
	r := &Replay{Begin: begin, End: begin.Add(time.Hour)}
	eng := &recorded{samples: samples}
	require.NoError(t, r.SampleLog(t.Context(), eng, engine.Request{}))
	r.Sort()
	return r, eng
}

func TestDeedsAreCountedByIdentityActionAndObject(t *testing.T) {
	r, _ := logged(t,
		did(700, "eve", "exec", "shop/web/web", "audit.command", "sh"),
		did(10, "eve", "read-secret", "shop/db"), // a log is not in the order of its events
		did(30, "eve", "list-secrets", ""),
		did(20, "eve", "read-secret", "shop/tls"),
		did(900, "eve", "read-secret", "shop/db"),
		did(800, "eve", "deploy", "shop/probe", "audit.images", "alpine", "posture.reasons", "privileged"),
		did(40, "adam", "request-token", "shop/runner"),
		did(50, "adam", "something-new", "shop/runner"),
	)
	require.Len(t, r.Identities, 2)
	eve, adam := r.Identities[0], r.Identities[1]
	assert.Equal(t, []string{"eve", "adam"}, []string{eve.User, adam.User}, "who did most comes first")
	at := func(second int) time.Time { return begin.Add(time.Duration(second) * time.Second) }
	assert.Equal(t, []Deed{
		{"read-secret", "shop/db", "", at(10), at(900), 2},
		{"read-secret", "shop/tls", "", at(20), at(20), 1},
		{"list-secrets", "", "", at(30), at(30), 1},
		{"exec", "shop/web/web", "sh", at(700), at(700), 1},
		{"deploy", "shop/probe", "alpine; privileged", at(800), at(800), 1},
	}, eve.Deeds)
	assert.Equal(t, []int{4, 0, 1, 1}, []int{eve.Count(Secrets), eve.Count(Tokens), eve.Count(Entries), eve.Count(Deployments)})
	assert.Equal(t, []Moment{{at(10), 1}, {at(20), 2}, {at(900), 1}}, eve.Moments[Secrets])
	assert.Equal(t, []int{0, 1, 0, 0}, []int{adam.Count(Secrets), adam.Count(Tokens), adam.Count(Entries), adam.Count(Deployments)})
}

func TestMomentsAndDeedsAreBounded(t *testing.T) {
	var samples []engine.Sample
	for i := range 20000 {
		s := did(0, "eve", "read-secret", fmt.Sprintf("shop/s%05d", i))
		s.Time = begin.Add(time.Duration(i) * time.Hour / 20000)
		samples = append(samples, s)
	}
	samples = append(samples, did(3599, "eve", "exec", "shop/web/web"))
	r, _ := logged(t, samples...)
	eve := r.Identities[0]
	assert.LessOrEqual(t, len(eve.Moments[Secrets]), Buckets)
	assert.Equal(t, 20000, eve.Count(Secrets), "and none is lost")
	assert.Len(t, eve.Deeds, maxDeeds+1)
	assert.Equal(t, "exec", eve.Deeds[maxDeeds].Action, "many reads do not hide what came of them")
	assert.Equal(t, 20000-maxDeeds, eve.Left)
}

func TestIdentitiesWithTheMostUrgentAlertComeFirst(t *testing.T) {
	r, _ := logged(t, did(1, "busy", "exec", "a"), did(2, "busy", "exec", "b"), did(3, "quiet", "exec", "c"), did(4, "caught", "exec", "d"))
	r.Alerts = []alert.Alert{
		{Priority: "Notice", OutputFields: map[string]any{"audit.user": "quiet"}},
		{Priority: "Warning", OutputFields: map[string]any{"baseline.workload": "user/caught"}},
	}
	r.Sort()
	var order []string
	for _, i := range r.Identities {
		order = append(order, i.User)
	}
	assert.Equal(t, []string{"caught", "quiet", "busy"}, order)
}
