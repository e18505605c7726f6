package timeline

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
)

// Lane is a kind of what an identity does through the API server.
type Lane int

// The lanes, in the order in which data is reached.
const (
	Secrets Lane = iota
	Tokens
	Entries
	Deployments
	NumLanes
)

// lanes are the values of audit.action in each.
var lanes = [NumLanes][]string{
	{"read-secret", "list-secrets"},
	{"request-token"},
	{"exec", "attach", "copy", "port-forward"},
	{"deploy"},
}

// Identity is what one identity did.
type Identity struct {
	User    string
	Moments [NumLanes][]Moment // ascending, at most Buckets each
	Deeds   []Deed             // ascending by First, at most maxDeeds of each lane
	Left    int                // deeds that are left out

	deeds map[deed]*Deed
}

// Moment is when something was done, in a bucket.
type Moment struct {
	At    time.Time // of the first
	Count int
}

// Deed is one action on one object.
type Deed struct {
	Action, Target string
	Detail         string // the last one's command, or images and what they can reach
	First, Last    time.Time
	Count          int
}

type deed struct{ action, target string }

// maxDeeds are listed of an identity's lane, so that many reads of secrets do not hide what came of them.
const maxDeeds = 64

// SampleLog runs the audit log of req through the engine once and fills in the identities of r, whose Begin and End are set.
func (r *Replay) SampleLog(ctx context.Context, eng engine.Engine, req engine.Request) error {
	q := engine.Query{
		Filter: "audit.action in (" + strings.Join(slices.Concat(lanes[:]...), ", ") + ")",
		Fields: []string{"audit.user", "audit.action", "audit.target", "audit.command", "audit.images", "posture.reasons"},
	}
	found := map[string]*Identity{}
	err := eng.Ask(ctx, req, []engine.Query{q}, func(_ int, s engine.Sample) error {
		user, _ := s.Values["audit.user"].(string)
		if found[user] == nil {
			found[user] = &Identity{User: user, deeds: map[deed]*Deed{}}
		}
		r.note(found[user], s)
		return nil
	})
	for _, i := range found {
		i.finish()
	}
	r.Identities = slices.Collect(maps.Values(found))
	return err
}

// note counts what an event shows of an identity.
func (r *Replay) note(i *Identity, s engine.Sample) {
	text := func(field string) string {
		value, _ := s.Values[field].(string)
		return value
	}
	action := text("audit.action")
	lane, ok := laneOf(action)
	if !ok {
		return
	}
	moments := &i.Moments[lane]
	at := slices.IndexFunc(*moments, func(m Moment) bool { return r.bucket(m.At) == r.bucket(s.Time) })
	if at < 0 {
		*moments = append(*moments, Moment{At: s.Time})
		at = len(*moments) - 1
	}
	(*moments)[at].Count++
	(*moments)[at].At = earlier((*moments)[at].At, s.Time)
	key := deed{action, text("audit.target")}
	d := i.deeds[key]
	if d == nil {
		d = &Deed{Action: key.action, Target: key.target, First: s.Time, Last: s.Time}
		i.deeds[key] = d
	}
	d.Count++
	d.First = earlier(d.First, s.Time)
	if s.Time.After(d.Last) {
		d.Last = s.Time
	}
	var parts []string
	for _, field := range []string{"audit.command", "audit.images", "posture.reasons"} {
		if value := text(field); value != "" {
			parts = append(parts, value)
		}
	}
	if len(parts) > 0 {
		d.Detail = strings.Join(parts, "; ")
	}
}

// laneOf is the lane of an action.
func laneOf(action string) (Lane, bool) {
	lane := slices.IndexFunc(lanes[:], func(actions []string) bool { return slices.Contains(actions, action) })
	return Lane(lane), lane >= 0
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// finish orders what was counted: logs are written when requests end, and so not in the order of their events.
func (i *Identity) finish() {
	for lane := range i.Moments {
		slices.SortFunc(i.Moments[lane], func(a, b Moment) int { return a.At.Compare(b.At) })
	}
	for _, d := range i.deeds {
		i.Deeds = append(i.Deeds, *d)
	}
	slices.SortFunc(i.Deeds, func(a, b Deed) int {
		if order := a.First.Compare(b.First); order != 0 {
			return order
		}
		return strings.Compare(a.Action+" "+a.Target, b.Action+" "+b.Target)
	})
	var kept [NumLanes]int
	i.Deeds = slices.DeleteFunc(i.Deeds, func(d Deed) bool {
		lane, _ := laneOf(d.Action)
		if kept[lane] == maxDeeds {
			i.Left++
			return true
		}
		kept[lane]++
		return false
	})
}

// Count is how much was done in a lane.
func (i *Identity) Count(lane Lane) (n int) {
	for _, m := range i.Moments[lane] {
		n += m.Count
	}
	return n
}

// Is tells whether an alert is of the identity.
func (i *Identity) Is(a alert.Alert) bool {
	if user, ok := a.OutputFields["audit.user"].(string); ok && user != "" {
		return user == i.User
	}
	workload, _ := a.OutputFields["baseline.workload"].(string)
	return workload == "user/"+i.User
}
