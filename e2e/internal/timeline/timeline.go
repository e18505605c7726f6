// Package timeline samples over one pass of an engine how much data each container collects, staged, packed and sent, with
// whom it talked and what its story became; and of an audit log, what each identity did.
package timeline

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// Volume is one of the sampled counts of bytes.
type Volume int

// The volumes, in the order that data takes.
const (
	Collected Volume = iota
	Staged
	Archived
	Sent
	External
	NumVolumes
)

// volumes are their fields, and their names among the metrics of a baseline.
var volumes = [NumVolumes]struct{ field, metric string }{
	{"staging.source_bytes", "source_bytes"},
	{"staging.bytes", "staged_bytes"},
	{"staging.archive_bytes", "archive_bytes"},
	{"staging.egress_bytes", "egress_bytes"},
	{"staging.external_bytes", "external_bytes"},
}

// Replay is what one replay showed.
type Replay struct {
	Capture    string
	Begin, End time.Time
	Window     string        // that the volumes are summed over, such as 1m; empty for the plugin's default
	Containers []*Container  // of a capture of system calls
	Identities []*Identity   // of an audit log
	Alerts     []alert.Alert // in event order
}

// Container is what one container did.
type Container struct {
	ID       string
	Workload string
	Points   []Point // ascending, at most Buckets
	Typical  [NumVolumes]uint64
	Learned  bool   // Typical holds what a baseline learned
	Story    string // as it was at the end
	Senders  []Peer // that it received most from
	Givers   []Peer // containers whose data it took over on the node
	Receives []Peer // that it sent most to, and others that it talked to

	peers map[string]Peer
	// As the plugin told them last.
	senders, destinations string
}

// Point is the volumes at a time, the highest of each in a bucket.
type Point struct {
	At      time.Time
	Volumes [NumVolumes]uint64
}

// Peer is the other end.
type Peer struct {
	Name    string
	Address string // and port; empty where only the name is known
	Class   string // container, cluster, host, external; empty where not known
	Amount  string // of data, in units; empty where not known
}

// Buckets is how many points of a container are kept, whatever the length of the capture.
const Buckets = 240

// Peers kept of a container; those that come later are left out.
const maxPeers = 64

// checkpoints are the events at which is looked: whenever something ends, and in the first 20 ms of every second.
const checkpoints = "(evt.type in (close, procexit) or (evt.rawtime.ns < 20000000 and evt.type in (read, pread, readv, recvfrom, recvmsg, " +
	"write, pwrite, writev, sendto, sendmsg, sendfile, splice, copy_file_range, openat, connect, accept, accept4, execve))) " +
	"and staging.in_container = true"

// Sample runs the capture of req through the engine once and fills in the containers of r, whose Begin and End are set. With a
// window, the volumes are those of the window.
func (r *Replay) Sample(ctx context.Context, eng engine.Engine, req engine.Request) error {
	q := engine.Query{Filter: checkpoints, Fields: []string{
		"baseline.workload", "baseline.status", "staging.story", "staging.top_senders", "staging.top_destinations",
		"staging.handoff_peer", "staging.peer", "staging.peer_name", "staging.peer_class",
	}}
	for v := range NumVolumes {
		q.Fields = append(q.Fields, r.field(v), typical(v))
	}
	found := map[string]*Container{}
	err := eng.Ask(ctx, req, []engine.Query{q}, func(_ int, s engine.Sample) error {
		c := found[s.Container]
		if c == nil {
			c = &Container{ID: s.Container, peers: map[string]Peer{}}
			found[s.Container] = c
		}
		r.add(c, s)
		return nil
	})
	for _, c := range found {
		c.finish()
	}
	r.Containers = slices.Collect(maps.Values(found))
	return err
}

// field is what a volume is asked with.
func (r *Replay) field(v Volume) string {
	if r.Window == "" {
		return volumes[v].field
	}
	return volumes[v].field + "[" + r.Window + "]"
}

func typical(v Volume) string { return "baseline.typical[" + volumes[v].metric + "]" }

func (r *Replay) add(c *Container, s engine.Sample) {
	text := func(field string) string {
		value, _ := s.Values[field].(string)
		return value
	}
	c.Workload = cmp.Or(text("baseline.workload"), c.Workload)
	c.Story = cmp.Or(text("staging.story"), c.Story)
	c.senders = cmp.Or(text("staging.top_senders"), c.senders)
	c.destinations = cmp.Or(text("staging.top_destinations"), c.destinations)
	var at Point
	at.At = s.Time
	for v := range NumVolumes {
		at.Volumes[v], _ = number(s.Values[r.field(v)])
		if n, ok := number(s.Values[typical(v)]); ok && text("baseline.status") == "active" {
			c.Typical[v], c.Learned = n, true
		}
	}
	c.merge(at, r.bucket(s.Time), r.bucket)
	if giver := text("staging.handoff_peer"); giver != "" && !slices.ContainsFunc(c.Givers, func(p Peer) bool { return p.Name == giver }) &&
		len(c.Givers) < maxPeers {
		c.Givers = append(c.Givers, Peer{Name: giver, Class: "container"})
	}
	address, class := text("staging.peer"), text("staging.peer_class")
	if address != "" && class != "loopback" && len(c.peers) < maxPeers {
		c.peers[address] = Peer{Name: cmp.Or(text("staging.peer_name"), address), Address: address, Class: class}
	}
}

// bucket numbers the part of the capture that a time lies in.
func (r *Replay) bucket(at time.Time) int64 {
	length := max(r.End.Sub(r.Begin), 1)
	return int64(float64(at.Sub(r.Begin)) / float64(length) * (Buckets - 1))
}

// merge keeps the highest of each volume in a bucket, at the time of the last sample in it.
func (c *Container) merge(at Point, bucket int64, bucketOf func(time.Time) int64) {
	if n := len(c.Points); n > 0 && bucketOf(c.Points[n-1].At) == bucket {
		last := &c.Points[n-1]
		last.At = at.At
		for v := range NumVolumes {
			last.Volumes[v] = max(last.Volumes[v], at.Volumes[v])
		}
		return
	}
	c.Points = append(c.Points, at)
}

func number(value any) (uint64, bool) {
	n, ok := value.(json.Number)
	if !ok {
		return 0, false
	}
	u, err := strconv.ParseUint(n.String(), 10, 64)
	return u, err == nil
}

// finish makes the peers of what was told last and of those seen.
func (c *Container) finish() {
	c.Senders = c.named(c.senders, "")
	c.Receives = c.named(c.destinations, "external")
	known := map[string]bool{}
	for _, p := range slices.Concat(c.Senders, c.Receives, c.Givers) {
		known[p.Name], known[p.Address] = true, true
	}
	for _, address := range slices.Sorted(maps.Keys(c.peers)) {
		p := c.peers[address]
		// The client end of a connection has a port of the moment; its name is told once.
		if !known[p.Name] && !known[p.Address] {
			c.Receives = append(c.Receives, p)
			known[p.Name] = true
		}
	}
}

// named reads a list such as "17 MiB shop/db/db, 1.2 KiB 10.0.0.1, 3 MiB elsewhere", of peers whose class is the one
// given unless they were seen with another.
func (c *Container) named(list, class string) []Peer {
	var peers []Peer
	for part := range strings.SplitSeq(list, ", ") {
		amount, name, ok := cutAmount(part)
		switch {
		case ok:
			p := Peer{Name: name, Class: class, Amount: amount}
			if seen, ok := c.peers[name]; ok {
				p.Address, p.Class = seen.Address, seen.Class
				p.Name = seen.Name
			}
			peers = append(peers, p)
		case len(peers) > 0:
			peers[len(peers)-1].Name += ", " + part // a name with a comma
		}
	}
	return peers
}

// cutAmount cuts "17 MiB" off the front.
func cutAmount(s string) (amount, rest string, ok bool) {
	n, s, _ := strings.Cut(s, " ")
	unit, rest, _ := strings.Cut(s, " ")
	if _, err := strconv.ParseFloat(n, 64); err != nil || rest == "" || !strings.HasSuffix(unit, "B") {
		return "", "", false
	}
	return n + " " + unit, rest, true
}

// Peak is the highest value of a volume.
func (c *Container) Peak(v Volume) uint64 {
	var peak uint64
	for _, p := range c.Points {
		peak = max(peak, p.Volumes[v])
	}
	return peak
}

// Is tells whether an alert is of the container.
func (c *Container) Is(a alert.Alert) bool {
	if id, ok := a.OutputFields["container.id"].(string); ok && id != "" {
		return id == c.ID
	}
	workload, _ := a.OutputFields["baseline.workload"].(string)
	return workload != "" && workload == c.Workload
}

// Sort puts the containers with the most urgent alerts first, then those that sent, packed and staged most, and identities likewise,
// then those that did most.
func (r *Replay) Sort() {
	urgency := map[any]ruleset.Priority{}
	rank := func(who any, is func(alert.Alert) bool) {
		urgency[who] = ruleset.PriorityDebug + 1
		for _, a := range r.Alerts {
			if p, err := ruleset.ParsePriority(a.Priority); err == nil && is(a) {
				urgency[who] = min(urgency[who], p)
			}
		}
	}
	for _, c := range r.Containers {
		rank(c, c.Is)
	}
	for _, i := range r.Identities {
		rank(i, i.Is)
	}
	slices.SortFunc(r.Identities, func(a, b *Identity) int {
		done := 0
		for lane := range NumLanes {
			done += b.Count(lane) - a.Count(lane)
		}
		return cmp.Or(cmp.Compare(urgency[a], urgency[b]), done, strings.Compare(a.User, b.User))
	})
	weight := func(c *Container) uint64 { return c.Peak(External) + c.Peak(Archived) + c.Peak(Staged) }
	slices.SortFunc(r.Containers, func(a, b *Container) int {
		return cmp.Or(cmp.Compare(urgency[a], urgency[b]), cmp.Compare(weight(b), weight(a)), strings.Compare(a.ID, b.ID))
	})
}
