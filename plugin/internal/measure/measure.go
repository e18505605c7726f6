// Package measure keeps the account of each container: what it collected, staged, packed and sent, over sliding windows
// of event time.
package measure

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/elastic/go-freelru"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/window"
)

// Metric is one sliding count of an account. Bytes unless it says otherwise.
type Metric uint8

const (
	StagedBytes          Metric = iota // written to files in staging locations
	StagedFiles                        // distinct files written there
	Sources                            // distinct files read as data
	SourceBytes                        // read from them
	HostBytes                          // of those, on the node, through host paths
	EgressBytes                        // sent over the network, loopback left out
	ExternalBytes                      // of those, to external peers
	InternalEgressBytes                // of egress, to containers and other systems of the cluster
	InternalIngressBytes               // received from them
	ArchiveBytes                       // written to archives, compressed or encrypted files
	RemotePeers                        // distinct remote peers that each sent at least PeerBytes
	RemoteBytes                        // received from remote peers, loopback left out
	RemoteStagedBytes                  // of those, written to staging locations or into archives
	HandoffBytes                       // that another container wrote, read from files or over a local socket
	HandedBytes                        // of those, bytes that had been staged, packed or piped

	// The steps of the chain count only bytes whose origin fits, see Phase.
	gathered         // local bytes written to staging locations
	bundled          // local bytes written to archives
	ExfiltratedBytes // staged, packed or piped bytes sent to external peers
	numMetrics
)

// byLearned gives for each metric of a baseline the one counted here.
var byLearned = [baseline.NumMetrics]Metric{
	baseline.StagedBytes:          StagedBytes,
	baseline.StagedFiles:          StagedFiles,
	baseline.SourceBytes:          SourceBytes,
	baseline.RemotePeers:          RemotePeers,
	baseline.RemoteBytes:          RemoteBytes,
	baseline.EgressBytes:          EgressBytes,
	baseline.ExternalBytes:        ExternalBytes,
	baseline.ArchiveBytes:         ArchiveBytes,
	baseline.HandoffBytes:         HandoffBytes,
	baseline.InternalEgressBytes:  InternalEgressBytes,
	baseline.InternalIngressBytes: InternalIngressBytes,
}

// learned is the other way around.
var learned = func() (to [numMetrics]struct {
	metric baseline.Metric
	ok     bool
}) {
	for m, counted := range byLearned {
		to[counted].metric, to[counted].ok = baseline.Metric(m), true
	}
	return to
}()

// Phase is the furthest step of the chain that a container has reached.
type Phase uint8

const (
	None       Phase = iota
	Collect          // read files as data
	Stage            // wrote what it read from files to a staging location
	Archive          // packed or encrypted what it read from files
	Exfiltrate       // sent what it staged or packed, or piped from program to program, to an external peer
)

func (p Phase) String() string {
	return [...]string{"none", "collect", "stage", "archive", "exfiltrate"}[p]
}

// Config is what a Registry needs to know.
type Config struct {
	Window        time.Duration // the default window
	Memory        time.Duration // how long the story goes back
	OnceInterval  time.Duration // how long Once stays silent
	PhaseBytes    uint64        // how much data makes a step of the chain
	PeerBytes     uint64        // how much a remote peer must send in the window to count
	MaxContainers int
}

// Registry holds the accounts, the least recently used ones of too many containers dropped. It has a single owner.
type Registry struct {
	// AccountsEvicted is safe to read from any thread.
	AccountsEvicted atomic.Uint64

	cfg      Config
	accounts *freelru.LRU[*attribute.Container, *Account]
	last     *Account // of lastOf
	lastOf   *attribute.Container
	minute   uint64 // that runs, in minutes since the epoch
	once     occasions
}

// New makes an empty registry.
func New(cfg Config) (*Registry, error) {
	seed := maphash.MakeSeed()
	accounts, err := freelru.New[*attribute.Container, *Account](uint32(cfg.MaxContainers),
		func(c *attribute.Container) uint32 { return uint32(maphash.Comparable(seed, c)) })
	if err != nil {
		return nil, err
	}
	return &Registry{cfg: cfg, accounts: accounts}, nil
}

// Account returns a container's account, a new one if it has none.
func (r *Registry) Account(c *attribute.Container) *Account {
	if c == r.lastOf {
		return r.last
	}
	a, ok := r.accounts.Get(c)
	if !ok {
		a = &Account{cfg: &r.cfg}
		if r.accounts.Add(c, a) {
			r.AccountsEvicted.Add(1)
		}
	}
	r.last, r.lastOf = a, c
	return a
}

// Minute is one closed minute of a container.
type Minute struct {
	Container *attribute.Container
	Start     uint64 // ns since the epoch
	Totals    baseline.Totals
	Phase     Phase // at its end
}

// maxSilence is how many minutes in a row a container may be silent and still count as running.
const maxSilence = 60

// Advance takes the time of an event and calls closed for every running container whenever a minute has ended. Minutes
// that nothing at all happened in are passed over.
func (r *Registry) Advance(ts uint64, closed func(*Minute)) {
	minute := ts / uint64(baseline.WindowLength)
	if minute <= r.minute {
		return
	}
	ended := r.minute
	r.minute = minute
	if ended == 0 {
		return
	}
	for _, c := range r.accounts.Keys() {
		a, _ := r.accounts.Peek(c)
		if a.silent++; a.silent > maxSilence {
			continue
		}
		start := ended * uint64(baseline.WindowLength)
		end := start + uint64(baseline.WindowLength)
		closed(&Minute{Container: c, Start: start, Totals: a.minute, Phase: a.Phase(end)})
		a.minute = baseline.Totals{}
	}
}

// Add counts one transfer.
func (r *Registry) Add(t *attribute.Transfer) {
	a := r.Account(t.Container)
	if t.HandedOver != nil {
		a.add(HandoffBytes, t.TS, t.NumBytes)
		a.add(HandedBytes, t.TS, t.Handed)
		a.giver = t.HandedOver
		a.took(t)
	}
	switch t.Resource.Kind {
	case attribute.FileKind:
		if t.Write {
			a.fileWritten(t)
		} else {
			a.fileRead(t)
		}
	case attribute.PipeKind:
		if t.Write && t.From[attribute.Local] > 0 {
			a.tell(t)
		}
	case attribute.SocketKind:
		if t.Write {
			a.sent(t)
		} else {
			a.received(t)
		}
	}
}

// Account is what one container did.
type Account struct {
	cfg      *Config
	counters [numMetrics]*window.Counter             // nil until there is something to count
	located  [attribute.NumLocations]*window.Counter // StagedBytes by location, likewise
	dirs     topDirs
	peers    map[sender]*peer
	giver    *attribute.Container // that wrote what was read last of another container's
	once     occasions
	story    *story            // nil until there is something to tell
	objects  map[string]uint64 // ns since the epoch of the last reading, or own, by name

	minute baseline.Totals // of the minute that runs
	silent int             // minutes that ended since something was counted
}

func (a *Account) counter(m Metric) *window.Counter {
	if a.counters[m] == nil {
		a.counters[m] = &window.Counter{}
	}
	return a.counters[m]
}

func (a *Account) add(m Metric, ts, n uint64) {
	if n > 0 {
		a.counter(m).Add(ts, n)
		a.tally(m, n)
	}
}

// tally counts n in the minute that runs.
func (a *Account) tally(m Metric, n uint64) {
	a.silent = 0
	if l := learned[m]; l.ok {
		a.minute[l.metric] += n
	}
}

func (a *Account) fileRead(t *attribute.Transfer) {
	f := t.Resource.File
	if t.Found > 0 { // told now, for it was not seen then
		w := *t
		w.Write, w.NumBytes, w.From = true, t.Found, attribute.Amounts{attribute.Local: t.Found}
		a.fileWritten(&w)
	}
	// Reading back what was gathered here adds no source.
	if f.Runtime || t.Staged {
		return
	}
	a.add(SourceBytes, t.TS, t.NumBytes)
	if f.OfHost {
		a.add(HostBytes, t.TS, t.NumBytes)
	}
	a.touch(Sources, &f.Read, t)
}

// Giver returns the container that wrote what was read last of another container's, nil when nothing was.
func (a *Account) Giver() *attribute.Container { return a.giver }

func (a *Account) fileWritten(t *attribute.Transfer) {
	f := t.Resource.File
	if f.Location != attribute.NoLocation {
		a.add(StagedBytes, t.TS, t.NumBytes)
		if a.located[f.Location] == nil {
			a.located[f.Location] = &window.Counter{}
		}
		a.located[f.Location].Add(t.TS, t.NumBytes)
		a.touch(StagedFiles, &f.Written, t)
		a.dirs.add(f.Dir(), t.NumBytes, t.TS, a.cfg.Window)
		// A service that rewrites its own data where it keeps it gathers nothing.
		if !f.Location.OwnPlace() {
			a.add(gathered, t.TS, t.From[attribute.Local])
		}
	}
	if f.Packed {
		a.add(ArchiveBytes, t.TS, t.NumBytes)
		a.add(bundled, t.TS, t.From[attribute.Local])
	}
	if f.Packed || f.Location != attribute.NoLocation && !f.Location.OwnPlace() {
		a.add(RemoteStagedBytes, t.TS, min(t.NumBytes, t.From[attribute.Received]+t.From[attribute.Uploaded]))
		a.wrote(t)
	}
}

func (a *Account) sent(t *attribute.Transfer) {
	if !t.Peer.Remote() {
		return
	}
	a.add(EgressBytes, t.TS, t.NumBytes)
	if t.Peer.Internal() {
		a.add(InternalEgressBytes, t.TS, t.NumBytes)
	}
	if t.Peer.Class != attribute.External {
		return
	}
	a.add(ExternalBytes, t.TS, t.NumBytes)
	// Answering a request with files is what servers do, also with one that they packed for it; with an archive that another program
	// packed a moment ago, or with what somebody has hidden, it is not.
	n := max(t.From[attribute.Packed], t.From[attribute.Concealed])
	if !t.Resource.Inbound {
		n = t.From.Gathered()
	}
	if n > 0 {
		a.add(ExfiltratedBytes, t.TS, n)
		a.exfiltrated(t, n)
	}
}

// touch counts a file among the distinct ones by the time it was last touched.
func (a *Account) touch(m Metric, last *attribute.Touch, t *attribute.Transfer) {
	const fine = uint64(time.Second) // finer than any window needs
	if last.By != t.Container || last.TS/uint64(baseline.WindowLength) != t.TS/uint64(baseline.WindowLength) {
		a.tally(m, 1)
	}
	switch {
	case last.By != t.Container:
		a.counter(m).Add(t.TS, 1)
	case t.TS < last.TS+fine:
		return
	default:
		a.counter(m).Move(last.TS, t.TS)
	}
	*last = attribute.Touch{By: t.Container, TS: t.TS}
}

// Running notes that the account's owner does something, though it moves no bytes.
func (a *Account) Running() { a.silent = 0 }

// Sum returns a metric's value over the window of length w that ends at now.
func (a *Account) Sum(m Metric, now uint64, w time.Duration) uint64 {
	if a.counters[m] == nil {
		return 0
	}
	return a.counters[m].Sum(now, w)
}

// Located returns the part of StagedBytes that went to locations of one class.
func (a *Account) Located(l attribute.Location, now uint64, w time.Duration) uint64 {
	if a.located[l] == nil {
		return 0
	}
	return a.located[l].Sum(now, w)
}

// LastMinute returns a baseline's metric over the minute that ends at now.
func (a *Account) LastMinute(m baseline.Metric, now uint64) uint64 {
	return a.Sum(byLearned[m], now, baseline.WindowLength)
}

// Phase returns the furthest step that at least PhaseBytes took within the default window.
func (a *Account) Phase(now uint64) Phase {
	for _, step := range [...]struct {
		phase  Phase
		metric Metric
	}{{Exfiltrate, ExfiltratedBytes}, {Archive, bundled}, {Stage, gathered}, {Collect, SourceBytes}} {
		if a.Sum(step.metric, now, a.cfg.Window) >= a.cfg.PhaseBytes {
			return step.phase
		}
	}
	return None
}

// Dir returns the staging directory with the most bytes in the default window, empty when nothing was staged.
func (a *Account) Dir(now uint64) string { return a.dirs.top(now, a.cfg.Window) }
