// Package pipeline wires the stages of the plugin and owns all their state: events in, decode, attribute, measure,
// fields out.
package pipeline

import (
	"cmp"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/audit"
	"github.com/falco-datastaging/datastaging/plugin/internal/config"
	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/fields"
	"github.com/falco-datastaging/datastaging/plugin/internal/measure"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// Engine is what the pipeline asks of the engine that it runs in.
type Engine interface {
	attribute.Table
	Warn(message string)
}

// Pipeline is one instance of the plugin. It has a single owner; only Counters may be called from elsewhere.
type Pipeline struct {
	window     time.Duration
	engine     Engine
	catalogue  []fields.Field
	attributor *attribute.Attributor
	accounts   *measure.Registry
	baselines  *baseline.Store
	saveEvery  uint64 // ns of event time
	savedAt    uint64 // ns since the epoch, event time
	learnsAll  bool   // mode learn
	saveFailed string // the last error of saving that was told
	minute     tally  // of the minute that ended last

	entries        *Entries
	audits         auditCounts
	sensitive      []string // directories
	baselineFile   string   // of system calls
	auditFile      string   // of audit events
	baselineConfig baseline.Config

	blind     blindness
	current   current
	view      fields.View
	badArgs   map[string]bool // arguments already complained about
	transfers atomic.Uint64
}

// current is what is known of the latest event that was seen, for the fields that are about the event itself.
type current struct {
	num      uint64
	process  *attribute.Process
	resource *attribute.Resource
	socket   *attribute.Resource // of the end of a process, beside the file
	fd       int32               // to be looked up when resource is nil; -1 for none
	peer     attribute.Peer

	audit    *audit.Event // of an audit event that could be read
	identity *attribute.Container

	shown bool // the view shows it
}

// New builds a pipeline from an init_config. entries is shared with the other instances of the plugin.
func New(initConfig string, engine Engine, entries *Entries) (*Pipeline, error) {
	cfg, err := config.Parse(initConfig)
	if err != nil {
		return nil, err
	}
	settings, err := cfg.Settings()
	if err != nil {
		return nil, err
	}
	attributor, err := attribute.New(settings.Attribute, engine)
	if err != nil {
		return nil, fmt.Errorf("start attribution: %w", err)
	}
	accounts, err := measure.New(settings.Measure)
	if err != nil {
		return nil, fmt.Errorf("start measuring: %w", err)
	}
	baselines, warnings, err := baseline.Open(settings.Baseline, settings.File)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		engine.Warn(w.Error())
	}
	return &Pipeline{
		entries:        entries,
		sensitive:      settings.Attribute.Paths.Sensitive,
		baselineFile:   settings.File,
		auditFile:      settings.AuditFile,
		baselineConfig: settings.Baseline,
		baselines:      baselines,
		saveEvery:      uint64(settings.Save),
		learnsAll:      settings.Baseline.Mode == baseline.Learn,
		window:         settings.Window,
		engine:         engine,
		catalogue:      fields.Catalogue(),
		attributor:     attributor,
		accounts:       accounts,
		badArgs:        map[string]bool{},
	}, nil
}

// IO takes events that moved bytes, oldest first.
func (p *Pipeline) IO(batch []decode.IO) {
	var moved [2]attribute.Transfer
	for i := range batch {
		p.accounts.Advance(batch[i].TS, p.closed)
		n := p.attributor.Transfers(&batch[i], &moved)
		for j := range n {
			p.accounts.Add(&moved[j])
			p.see(&moved[j])
			// Falco shows what moves bytes inside the kernel even where it leaves reads and writes out.
			p.blind.sees = p.blind.sees || moved[j].Resource.Kind == attribute.FileKind && batch[i].Op != schema.OpMove
		}
		p.transfers.Store(p.transfers.Load() + uint64(n))
		p.current = current{num: batch[i].Num, fd: -1}
		if n > 0 {
			t := &moved[n-1] // of two the one that was written
			p.current.process, p.current.resource = t.Process, t.Resource
			p.current.peer = t.Peer
		}
	}
}

// State takes one event that changed a thread or a descriptor.
func (p *Pipeline) State(s *decode.State) {
	if s.Kind == decode.KindPlugin {
		p.audit(s)
		return
	}
	if p.blind.opened(s) {
		p.baselines.SetBlind(true)
		p.engine.Warn("files are opened but no read or write of them is seen: set base_syscalls.all to true in Falco's configuration")
	}
	p.accounts.Advance(s.TS, p.closed)
	process, resource := p.attributor.State(s)
	if s.Kind == decode.KindExec && process != nil {
		p.baselines.See(process.Container.Workload, process.Container.ID, baseline.Exe, process.Exe)
	}
	var socket *attribute.Resource
	if s.Kind == decode.KindExit && process != nil {
		resource, socket = process.Last()
	}
	p.current = current{num: s.Num, process: process, resource: resource, socket: socket, fd: -1}
	if s.Kind == decode.KindOpen || s.Kind == decode.KindSocket {
		p.current.fd = s.FD
	}
	switch {
	case socket != nil:
		p.current.peer = socket.Peer()
	case resource != nil:
		p.current.peer = resource.Peer()
	}
}

// Extract returns the value of a field on the event with the given number, time and thread; nil for no value.
func (p *Pipeline) Extract(num, ts uint64, tid int64, field int, key string, hasKey bool) any {
	if field < 0 || field >= len(p.catalogue) {
		return nil
	}
	if !p.look(num, ts, tid) {
		return nil
	}
	f := &p.catalogue[field]
	value, ok := f.Value(&p.view, key, hasKey)
	if !ok {
		p.complain(f, key)
	}
	return value
}

// look makes the view show the event and reports whether there is anything to see.
func (p *Pipeline) look(num, ts uint64, tid int64) bool {
	c := &p.current
	if c.num == num && c.shown && p.view.Now == ts { // a rule asks for many fields
		return true
	}
	if c.num == num && c.audit != nil {
		p.auditView(ts)
		c.shown = true
		return true
	}
	if c.num != num { // an event of a type that the plugin does not read, or one that moved nothing
		*c = current{num: num, fd: -1}
	}
	if c.process == nil {
		c.process = p.attributor.Process(tid)
	}
	if c.process == nil {
		return false
	}
	if c.resource == nil && c.fd >= 0 {
		if c.resource = p.attributor.Resource(c.process, tid, c.fd); c.resource != nil {
			c.peer = c.resource.Peer()
		}
		c.fd = -1
	}
	p.view = fields.View{
		Now: ts, Window: p.window, Container: c.process.Container, Process: c.process,
		Account: p.accounts.Account(c.process.Container), Accounts: p.accounts, Baseline: p.baselines.View(c.process.Container.Workload, ts),
		Posture:   &c.process.Container.Posture,
		Entries:   p.entered,
		Known:     p.attributor.Known(c.process.Container, ts),
		Unmanaged: p.attributor.Unmanaged(c.process.Container, ts),
		Resource:  c.resource, Socket: cmp.Or(c.socket, c.resource), Peer: c.peer,
	}
	c.shown = true
	return true
}

// entered returns who reached into the container that the view shows.
func (p *Pipeline) entered() []measure.Entry {
	return p.entries.of(p.view.Container, p.view.Now, p.window)
}

// learnedDimensions are those that a transfer shows.
var learnedDimensions = [...]baseline.Dimension{baseline.Dir, baseline.Mount, baseline.Peer, baseline.Port, baseline.Listen}

// see notes where a transfer went, once a minute for each descriptor.
func (p *Pipeline) see(t *attribute.Transfer) {
	minute := t.TS / uint64(baseline.WindowLength)
	r := t.Resource
	if r.Learned == minute || !t.Write || r.Kind == attribute.FileKind && r.File.Location == attribute.NoLocation {
		return
	}
	r.Learned = minute
	c := t.Container
	for _, d := range learnedDimensions {
		p.baselines.See(c.Workload, c.ID, d, fields.Seen(d, c, t.Process, r, t.Peer))
	}
}

// closed takes a minute of a container that has ended.
func (p *Pipeline) closed(m *measure.Minute) {
	c := m.Container
	p.baselines.See(c.Workload, c.ID, baseline.Image, c.Image)
	if c.Posture.Sensitive() {
		p.baselines.See(c.Workload, c.ID, baseline.Privilege, c.Posture.Reasons())
	}
	p.baselines.Observe(&baseline.Window{
		Workload: c.Workload, Image: c.Image, Instance: c.ID, Start: m.Start, Totals: m.Totals,
		// Nobody is taught a theft, but who learns by hand knows what the capture shows.
		Reported: m.Phase == measure.Exfiltrate && !p.learnsAll,
		Drops:    p.minute.ended(m.Start, p.transfers.Load(), p.attributor.Stats.Lost()),
	})
	if m.Start >= p.savedAt+p.saveEvery {
		p.savedAt = m.Start
		p.save()
	}
}

// tally tells whether a minute lost events: nothing counts the events that the kernel dropped for a plugin, but where
// opens and forks are missing, transfers cannot be attributed.
type tally struct {
	start           uint64 // of the minute, ns since the epoch
	transfers, lost uint64 // up to its end
	drops           bool
}

// A minute may lose this many transfers, and beyond that 1 in so many: a few always are lost, of descriptors older than
// the engine.
const (
	maxLost      = 500
	maxLostShare = 20
)

func (t *tally) ended(start, transfers, lost uint64) bool {
	if start != t.start {
		gone := lost - t.lost
		t.drops = gone > maxLost && gone*maxLostShare > transfers-t.transfers+gone
		t.start, t.transfers, t.lost = start, transfers, lost
	}
	return t.drops
}

// Flush saves what was learned. The engine's capture has ended.
func (p *Pipeline) Flush() { p.save() }

// save begins a save, beside the events, and tells when the one before it went wrong, once for each reason.
func (p *Pipeline) save() {
	if err := p.baselines.SaveError(); err != nil && err.Error() != p.saveFailed {
		p.saveFailed = err.Error()
		p.engine.Warn(p.saveFailed)
	}
	p.baselines.Save(time.Now())
}

// Close saves what was learned and waits for it to be written.
func (p *Pipeline) Close() {
	if err := p.baselines.Close(time.Now()); err != nil {
		p.engine.Warn(err.Error())
	}
}

// maxComplaints bounds the log lines about arguments; rules are loaded from files, so there are few.
const maxComplaints = 64

func (p *Pipeline) complain(f *fields.Field, key string) {
	name := f.Name + "[" + key + "]"
	if p.badArgs[name] || len(p.badArgs) >= maxComplaints {
		return
	}
	p.badArgs[strings.Clone(name)] = true
	p.engine.Warn(fmt.Sprintf("%s has no value: %s takes %s", name, f.Name, f.Accepts()))
}

// Counter is one of the pipeline's own counts.
type Counter struct {
	Name  string
	Value uint64
}

// Counters returns what was counted, dropped and not understood. Safe to call from any thread.
func (p *Pipeline) Counters() []Counter {
	s, b := &p.attributor.Stats, &p.baselines.Stats
	counters := []Counter{
		{"transfers", p.transfers.Load()},
		{"unknown_threads", s.UnknownThreads.Load()},
		{"unknown_fds", s.UnknownFDs.Load()},
		{"container_metadata_malformed", s.BadMetadata.Load()},
		{"threads_evicted", s.ThreadsEvicted.Load()},
		{"files_evicted", s.FilesEvicted.Load()},
		{"containers_evicted", s.ContainersEvicted.Load()},
		{"accounts_evicted", p.accounts.AccountsEvicted.Load()},
		{"baseline_workloads_evicted", b.WorkloadsEvicted.Load()},
		{"baseline_values_dropped", b.ValuesDropped.Load()},
		{"audit_events", p.audits.events.Load()},
		{"audit_events_malformed", p.audits.malformed.Load()},
		{"audit_events_of_unknown_version", p.audits.version.Load()},
		{"baseline_saves", b.Saves.Load()},
		{"baseline_save_errors", b.SaveErrors.Load()},
	}
	for outcome := range b.Windows {
		name := "baseline_windows_" + baseline.Outcome(outcome).String()
		counters = append(counters, Counter{name, b.Windows[outcome].Load()})
	}
	return counters
}
