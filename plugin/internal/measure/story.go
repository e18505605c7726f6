package measure

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/place"
)

// story is what happened along the chain in a container: of the data that was staged, packed, piped or sent, where it was
// collected and who sent or handed it over, and where it went. Each step covers between half and all of Config.Memory.
type story struct {
	collected recent[place.Dirs]
	received  recent[place.Few[attribute.Sender]]
	taken     recent[place.Few[*attribute.Container]]
	staged    recent[place.Dirs]
	packed    recent[place.Dirs] // by file
	sent      recent[place.Few[attribute.Peer]]
}

// recent is a count that starts anew every half of a time and keeps the half before.
type recent[T any] struct {
	count, before      T
	since, sinceBefore uint64 // ns since the epoch, of the first addition; 0 for none
	half               uint64 // number of the half that count is of
}

// at returns the count that ts belongs to.
func (r *recent[T]) at(ts uint64, memory time.Duration) *T {
	r.turn(ts, memory)
	if r.since == 0 {
		r.since = ts
	}
	return &r.count
}

func (r *recent[T]) turn(ts uint64, memory time.Duration) {
	half := ts / uint64(memory/2)
	if half <= r.half {
		return
	}
	var none T
	if half == r.half+1 {
		r.before, r.sinceBefore = r.count, r.since
	} else {
		r.before, r.sinceBefore = none, 0
	}
	r.count, r.since, r.half = none, 0, half
}

// start is when the step began, 0 when it did not.
func (r *recent[T]) start() uint64 { return cmp.Or(r.sinceBefore, r.since) }

// wrote follows a write to a file that lies in a staging location or is an archive.
func (a *Account) wrote(t *attribute.Transfer) {
	f, m := t.Resource.File, a.cfg.Memory
	n := t.From[attribute.Local] + t.From[attribute.Received] + t.From[attribute.Uploaded]
	if n == 0 {
		return
	}
	s := a.tell(t)
	if f.Packed {
		s.packed.at(t.TS, m).Add(f.Path, min(n, t.NumBytes))
	} else {
		s.staged.at(t.TS, m).Add(f.Dir(), min(n, t.NumBytes))
	}
}

// tell begins or goes on with the story and adds to it where the bytes of a write came from. What a process read is
// told once.
func (a *Account) tell(t *attribute.Transfer) *story {
	if a.story == nil {
		a.story = &story{}
	}
	s, m := a.story, a.cfg.Memory
	larger := uint64(1) // how much more was read than is written
	if t.Resource.Kind == attribute.FileKind && t.Resource.File.Packed {
		larger = attribute.Packing
	}
	if n := t.From[attribute.Local]; n > 0 {
		t.Process.Sources.MoveTo(s.collected.at(t.TS, m), larger*n)
	}
	if n := t.From[attribute.Received] + t.From[attribute.Uploaded]; n > 0 {
		t.Process.Senders.MoveTo(s.received.at(t.TS, m), larger*n)
	}
	return s
}

// took follows a read of what another container wrote.
func (a *Account) took(t *attribute.Transfer) {
	if a.story == nil {
		a.story = &story{}
	}
	a.story.taken.at(t.TS, a.cfg.Memory).Add(t.HandedOver, t.NumBytes)
}

// exfiltrated follows bytes of the chain to an external peer. Ports of clients that connected say nothing.
func (a *Account) exfiltrated(t *attribute.Transfer, n uint64) {
	peer := t.Peer
	if t.Resource.Inbound {
		peer.Addr = netip.AddrPortFrom(peer.Addr.Addr(), 0)
	}
	a.tell(t).sent.at(t.TS, a.cfg.Memory).Add(peer, n)
}

// Entry is somebody who reached into the container through the orchestrator.
type Entry struct {
	TS      uint64 // ns since the epoch
	By, How string
}

// Story tells the steps in the order in which they began, each with its places and their bytes, and who reached into the container;
// empty when there is nothing to tell.
func (a *Account) Story(now uint64, entries []Entry) string {
	if a.story == nil {
		return ""
	}
	s := a.story
	steps := []step{
		{"collected", s.collected.start(), a.tellSources(now)},
		{"received", s.received.start(), a.tellSenders(now)},
		{"took over", s.taken.start(), a.tellGivers(now)},
		{"staged", s.staged.start(), a.tellDirs(&s.staged, now)},
		{"packed", s.packed.start(), a.tellDirs(&s.packed, now)},
		{"sent", s.sent.start(), a.tellDestinations(now)},
	}
	var most uint64
	for i := range steps {
		most = max(most, steps[i].told.total)
	}
	if len(entries) > maxTold {
		entries = entries[len(entries)-maxTold:]
	}
	for _, e := range entries {
		steps = append(steps, step{"entered", e.TS, told{[]string{"by " + e.By + " (" + place.Shorten(e.How) + ")"}, most}})
	}
	steps = slices.DeleteFunc(steps, func(s step) bool { return s.told.total == 0 || s.told.total < most/negligible })
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.start, b.start) })
	var b strings.Builder
	for i, s := range steps {
		if i > 0 {
			b.WriteString("; +" + elapsed(steps[0].start, s.start) + " ")
		}
		b.WriteString(s.verb + " " + s.told.String())
	}
	return b.String()
}

type step struct {
	verb  string
	start uint64 // ns since the epoch
	told  told
}

// elapsed is a time between two events as people read it: 2.5s, 4m10s, 6h2m0s.
func elapsed(from, to uint64) string {
	d := time.Duration(to - min(from, to))
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// TopSources tells the directories that most of the data was read from; empty for none.
func (a *Account) TopSources(now uint64) string { return a.ifAny(a.tellSources, now) }

// TopSenders tells the peers that most of the data was received from; empty for none.
func (a *Account) TopSenders(now uint64) string { return a.ifAny(a.tellSenders, now) }

// TopArchives tells the archives that most of the data was packed into; empty for none.
func (a *Account) TopArchives(now uint64) string {
	return a.ifAny(func(now uint64) told { return a.tellDirs(&a.story.packed, now) }, now)
}

// TopDestinations tells the external peers that most of the data was sent to; empty for none.
func (a *Account) TopDestinations(now uint64) string { return a.ifAny(a.tellDestinations, now) }

func (a *Account) ifAny(tell func(uint64) told, now uint64) string {
	if a.story == nil {
		return ""
	}
	return tell(now).String()
}

func (a *Account) tellSources(now uint64) told { return a.tellDirs(&a.story.collected, now) }

func (a *Account) tellSenders(now uint64) told {
	return tellFew(&a.story.received, now, a.cfg.Memory, func(s attribute.Sender) string {
		if s.Container != nil {
			return s.Container.Workload
		}
		return s.Addr.String()
	})
}

func (a *Account) tellGivers(now uint64) told {
	return tellFew(&a.story.taken, now, a.cfg.Memory, func(c *attribute.Container) string { return c.Workload })
}

func (a *Account) tellDestinations(now uint64) told {
	return tellFew(&a.story.sent, now, a.cfg.Memory, func(p attribute.Peer) string {
		if p.Addr.Port() == 0 {
			return p.Addr.Addr().String()
		}
		return p.Addr.String()
	})
}

func (a *Account) tellDirs(r *recent[place.Dirs], now uint64) told {
	r.turn(now, a.cfg.Memory)
	all := r.before.Clone()
	r.count.AddTo(&all)
	return tell(all.All(), 0, place.Shorten)
}

func tellFew[K comparable](r *recent[place.Few[K]], now uint64, memory time.Duration, name func(K) string) told {
	r.turn(now, memory)
	var all place.Few[K]
	r.before.AddTo(&all)
	r.count.AddTo(&all)
	counts, rest := all.All()
	return tell(counts, rest, name)
}

// told is one step in words: "19 MiB /srv/customers, 2 MiB /etc, 1 MiB elsewhere".
type told struct {
	places []string
	total  uint64
}

func (t told) String() string { return strings.Join(t.places, ", ") }

// maxTold is how many places of a step are told. Of what is less than one in negligible nothing is.
const (
	maxTold    = 3
	negligible = 100
)

func tell[K comparable](counts []place.Count[K], rest uint64, name func(K) string) told {
	t := told{total: rest}
	for i, c := range counts {
		t.total += c.NumBytes
		if i < maxTold && c.NumBytes >= counts[0].NumBytes/negligible {
			t.places = append(t.places, humanize.IBytes(c.NumBytes)+" "+name(c.Place))
		} else {
			rest += c.NumBytes
		}
	}
	if rest > t.total/negligible {
		t.places = append(t.places, humanize.IBytes(rest)+" elsewhere")
	}
	return t
}
