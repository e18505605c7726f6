package baseline

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

// File is the content of a baseline file: digests of nodes, sorted by node. It is never changed once made.
type File struct {
	digests []digest
}

// NodeInfo describes one digest of a File.
type NodeInfo struct {
	ID        string
	Saved     time.Time // by the wall clock
	Workloads int
	Bytes     int      // as kept in the file
	Includes  []string // of a compacted digest: the nodes in it
}

// Nodes describes whose digests the file holds.
func (f *File) Nodes() []NodeInfo {
	out := make([]NodeInfo, len(f.digests))
	for i, d := range f.digests {
		out[i] = NodeInfo{ID: d.id, Saved: time.Unix(0, int64(min(d.generation, math.MaxInt64))).UTC(), Workloads: d.numRecords, Bytes: len(d.compressed)}
		for _, n := range d.includes {
			out[i].Includes = append(out[i].Includes, n.id)
		}
	}
	return out
}

// Merge returns a file with the newest digest of every node in the files. It is commutative, associative and
// idempotent: Merge(a, a) is a, and files may be merged by any tree.
//
// A compacted digest stands for the nodes in it, as they were. What is not newer of those is left out; of what is
// newer a part is counted already, so ErrOverlap is returned with the node's name: merge the nodes' own files instead.
func Merge(files ...*File) (*File, error) {
	var all []*digest
	for _, f := range files {
		for i := range f.digests {
			all = append(all, &f.digests[i])
		}
	}
	slices.SortFunc(all, func(a, b *digest) int {
		return cmp.Or(strings.Compare(a.id, b.id), -a.compare(b))
	})
	all = slices.CompactFunc(all, func(a, b *digest) bool { return a.id == b.id }) // keeps the newest
	var folded []*digest
	for _, d := range all {
		if len(d.includes) > 0 {
			folded = append(folded, d)
		}
	}
	covered := map[string]bool{} // ids of digests that a compacted one stands for
	for _, d := range all {
		for _, c := range folded {
			if c != d && c.holds(d) {
				covered[d.id] = true
			}
		}
	}
	for _, c := range folded {
		for _, d := range all {
			if c == d || covered[c.id] || covered[d.id] {
				continue
			}
			if id, shared := c.shares(d); shared {
				return nil, fmt.Errorf("%w: %s is a part of %s and cannot be taken out, and of %s too; merge the nodes' own files", ErrOverlap, id, c.id, d.id)
			}
		}
	}
	out := &File{}
	for _, d := range all {
		if !covered[d.id] {
			out.digests = append(out.digests, *d)
		}
	}
	return out, nil
}

// compare orders digests of one node: the newer is the greater. Of the same save, trimmed apart, any will do as long as
// it is always the same one.
func (d *digest) compare(o *digest) int {
	return cmp.Or(cmp.Compare(d.generation, o.generation), cmp.Compare(len(d.compressed), len(o.compressed)),
		bytes.Compare(d.compressed, o.compressed))
}

// nodes returns whose contributions a digest counts.
func (d *digest) nodes() []node {
	if len(d.includes) > 0 {
		return d.includes
	}
	return []node{d.node}
}

// part returns a compacted digest's generation of a node.
func (d *digest) part(id string) (generation uint64, found bool) {
	i, found := slices.BinarySearchFunc(d.includes, id, func(n node, id string) int { return strings.Compare(n.id, id) })
	if found {
		generation = d.includes[i].generation
	}
	return generation, found
}

// holds reports whether a compacted digest counts everything that another one does.
func (d *digest) holds(o *digest) bool {
	return !slices.ContainsFunc(o.nodes(), func(n node) bool {
		generation, found := d.part(n.id)
		return !found || generation < n.generation
	})
}

// shares returns a node that a compacted digest and another one both count.
func (d *digest) shares(o *digest) (id string, shared bool) {
	for _, n := range o.nodes() {
		if _, found := d.part(n.id); found {
			return n.id, true
		}
	}
	return "", false
}

// Compact folds the digests into one, much smaller where nodes run the same workloads. Single nodes cannot be replaced
// in it any more.
func (f *File) Compact() (*File, error) {
	if len(f.digests) < 2 {
		return f, nil
	}
	records, err := f.fold()
	if err != nil {
		return nil, err
	}
	var includes []node
	var newest uint64
	for i := range f.digests {
		newest = max(newest, f.digests[i].generation)
		includes = append(includes, f.digests[i].nodes()...)
	}
	slices.SortFunc(includes, func(a, b node) int { return strings.Compare(a.id, b.id) })
	h := xxhash.New()
	for _, n := range includes {
		_, _ = h.WriteString(n.id) // a digest takes everything
		_, _ = h.Write(binary.LittleEndian.AppendUint64([]byte{0}, n.generation))
	}
	for _, r := range records {
		r.seen = coverage{}
	}
	d, err := newDigestOf(node{fmt.Sprintf("compact-%016x", h.Sum64()), newest}, includes, records)
	if err != nil {
		return nil, err
	}
	return &File{[]digest{d}}, nil
}

// fold returns all digests' records folded, sorted by workload.
func (f *File) fold() ([]*record, error) {
	byName := map[string]*record{}
	for i := range f.digests {
		records, err := f.digests[i].records()
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			if known, ok := byName[r.workload]; ok {
				known.fold(r)
			} else {
				byName[r.workload] = r
			}
		}
	}
	records := make([]*record, 0, len(byName))
	for _, r := range byName {
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b *record) int { return strings.Compare(a.workload, b.workload) })
	return records, nil
}

// split returns a node's own records and those of all others folded.
func (f *File) split(id string) (own, others []*record, err error) {
	rest := &File{}
	for i := range f.digests {
		if f.digests[i].id != id {
			rest.digests = append(rest.digests, f.digests[i])
			continue
		}
		if own, err = f.digests[i].records(); err != nil {
			return nil, nil, err
		}
	}
	others, err = rest.fold()
	return own, others, err
}

// Trim returns the file without the workloads that keep does not want. A trimmed digest is one generation newer, so it
// wins over the one it was made of, and the node's next save wins over it.
func (f *File) Trim(keep func(*Workload) bool) (*File, error) {
	return f.edit(func(r *record) bool { return keep(r.describe()) })
}

// Accept returns the file with what the matching workloads did after their learning period made part of their
// reference, and the time of drift begun anew.
func (f *File) Accept(match func(workload string) bool) (*File, error) {
	return f.edit(func(r *record) bool {
		if match(r.workload) {
			r.accept()
		}
		return true
	})
}

// edit changes records in place and drops those that change does not keep.
func (f *File) edit(change func(*record) bool) (*File, error) {
	out := &File{digests: make([]digest, len(f.digests))}
	for i := range f.digests {
		d := &f.digests[i]
		records, err := d.records()
		if err != nil {
			return nil, err
		}
		records = slices.DeleteFunc(records, func(r *record) bool { return !change(r) })
		edited, err := newDigestOf(d.node, d.includes, records)
		if err != nil {
			return nil, err
		}
		if !edited.equal(d) {
			edited.generation++
		}
		out.digests[i] = edited
	}
	return out, nil
}

// Workload is what a file knows of a workload, all nodes together.
type Workload struct {
	Name, Image         string
	Digests             int           // of the file, that know of it
	Bytes               int           // as encoded, before compression
	FirstSeen, LastSeen time.Time     // of learned windows
	Age                 time.Duration // event time learned
	LaterAge            time.Duration // of that, since the learning period
	Windows             uint64        // learned
	LaterWindows        uint64        // of that, since the learning period
	Quarantined         map[string]uint64
	Hours               bool // the hours of the day were learned as well
	Metrics             [NumMetrics]Distribution
	Values              [NumDimensions]Values
}

// Distribution is what was learned of a metric, as counted: nothing is leaned on and drift is not bounded.
type Distribution struct {
	Active        uint64 // windows in which it was not 0
	P50, P84, P99 uint64 // of those
	Bins          []Bin  // of those, by value
}

// Bin is how many windows had a total within 1 % of a value.
type Bin struct{ Value, Count uint64 }

// Values is what was learned of a dimension.
type Values struct {
	Known      []string // nil when Approximate
	NumKnown   int
	Candidates []string // first seen after the learning period, still new

	Approximate bool // known by hash
	Full        bool // too many to tell
}

// Workloads describes the workloads of the file, all nodes folded, sorted by name.
func (f *File) Workloads() ([]Workload, error) {
	records, err := f.fold()
	if err != nil {
		return nil, err
	}
	out := make([]Workload, len(records))
	for i, r := range records {
		out[i] = *r.describe()
	}
	return out, nil
}

func (r *record) describe() *Workload {
	var encoded writer
	r.encode(&encoded)
	w := &Workload{
		Name: r.workload, Image: r.image,
		Digests: 1 + r.folded, Bytes: len(encoded.buf),
		Age: r.age.duration(), LaterAge: r.laterAge.duration(),
		Windows: r.windows(), LaterWindows: r.day.later.windows,
		Hours:       r.hours != nil,
		Quarantined: map[string]uint64{},
	}
	if w.Windows > 0 {
		w.FirstSeen = time.Unix(0, int64(r.first.start())).UTC()
		w.LastSeen = time.Unix(0, int64(r.last.start())).UTC().Add(WindowLength)
	}
	for i, n := range r.quarantined {
		if n > 0 {
			w.Quarantined[Outcome(i).String()] = n
		}
	}
	for m := range w.Metrics {
		var all sketch
		for _, part := range []*sketch{r.day.reference.sketches[m], r.day.later.sketches[m]} {
			if part != nil {
				all.merge(part)
			}
		}
		q := quantiles([]*sketch{&all})
		d := Distribution{Active: all.count, P50: toUint(q[0]), P84: toUint(q[1]), P99: toUint(q[2])}
		for _, b := range all.bins {
			d.Bins = append(d.Bins, Bin{toUint(valueOf(b.index)), uint64(b.count)})
		}
		w.Metrics[m] = d
	}
	for d := range w.Values {
		s := &r.sets[d]
		v := Values{Known: slices.Clone(s.values), NumKnown: len(s.values) + len(s.hashes), Approximate: s.form != listed, Full: s.form == full}
		for _, c := range s.trial {
			v.Candidates = append(v.Candidates, c.value)
		}
		w.Values[d] = v
	}
	return w
}

// Change is how a workload differs between two files.
type Change struct {
	Workload      string
	Before, After *Workload // nil where the workload is not in the file
	Metrics       []Metric  // whose median or 99th percentile differs by more than notable, or that were silent in one file only
	Values        []ValueChange
}

// ValueChange is how a dimension's known values differ.
type ValueChange struct {
	Dimension      Dimension
	Added, Removed []string // as far as they are listed
	Form           bool     // one file lists or hashes what the other does not, the numbers of hashes differ, or it is full
}

// notable is a factor that no rounding of the sketches makes: both are 1 % off at most.
const notable = 1.05

// Diff returns the workloads that differ, sorted by name.
func Diff(a, b *File) ([]Change, error) {
	before, err := a.Workloads()
	if err != nil {
		return nil, err
	}
	after, err := b.Workloads()
	if err != nil {
		return nil, err
	}
	var changes []Change
	for len(before) > 0 || len(after) > 0 {
		var c Change
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Name < after[0].Name:
			c = Change{Workload: before[0].Name, Before: &before[0]}
			before = before[1:]
		case len(before) == 0 || after[0].Name < before[0].Name:
			c = Change{Workload: after[0].Name, After: &after[0]}
			after = after[1:]
		default:
			c = compare(&before[0], &after[0])
			before, after = before[1:], after[1:]
			if len(c.Metrics) == 0 && len(c.Values) == 0 {
				continue
			}
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func compare(a, b *Workload) Change {
	c := Change{Workload: a.Name, Before: a, After: b}
	for m := range a.Metrics {
		if x, y := &a.Metrics[m], &b.Metrics[m]; differ(x.P50, y.P50) || differ(x.P99, y.P99) {
			c.Metrics = append(c.Metrics, Metric(m))
		}
	}
	for d := range a.Values {
		x, y := &a.Values[d], &b.Values[d]
		v := ValueChange{Dimension: Dimension(d), Form: x.Approximate != y.Approximate || x.Full != y.Full || x.Approximate && x.NumKnown != y.NumKnown}
		if !x.Approximate && !y.Approximate {
			v.Added, v.Removed = without(y.Known, x.Known), without(x.Known, y.Known)
		}
		if v.Form || len(v.Added) > 0 || len(v.Removed) > 0 {
			c.Values = append(c.Values, v)
		}
	}
	return c
}

func differ(x, y uint64) bool {
	lo, hi := float64(min(x, y)), float64(max(x, y))
	return hi > lo*notable
}

// without returns the values of a that are not in b, both sorted.
func without(a, b []string) []string {
	var out []string
	for _, v := range a {
		if _, found := slices.BinarySearch(b, v); !found {
			out = append(out, v)
		}
	}
	return out
}
