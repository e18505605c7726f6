package pipeline

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/audit"
	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/fields"
	"github.com/falco-datastaging/datastaging/plugin/internal/measure"
)

// auditCounts counts audit events. Safe to read from any thread.
type auditCounts struct{ events, malformed, version atomic.Uint64 }

// audit takes one audit event. Each identity has an account of its own, as a container has.
func (p *Pipeline) audit(s *decode.State) {
	p.current = current{num: s.Num, fd: -1}
	if p.audits.events.Add(1) == 1 {
		p.openAuditBaseline()
	}
	p.accounts.Advance(s.TS, p.closed)
	e, err := audit.Parse(s.Data, p.sensitive)
	switch {
	case errors.Is(err, audit.ErrVersion):
		p.audits.version.Add(1)
		return
	case err != nil:
		p.audits.malformed.Add(1)
		return
	}
	identity := p.attributor.Identity(e.User)
	p.current.audit, p.current.identity = e, identity
	account := p.accounts.Account(identity)
	account.Running()
	switch {
	case e.Action == audit.ReadSecret:
		account.ReadObject(e.Object(), s.TS)
	case e.Wrote:
		account.WroteObject(e.Object())
	}
	if e.Action.Entry() && !p.entries.add(s.TS, e) {
		e.Action = audit.Other // the end of what was told when it began
	}
	everybody := p.attributor.Identity("")
	p.accounts.Account(everybody).Running()
	p.baselines.See(everybody.Workload, everybody.ID, baseline.User, e.User)
	for _, d := range auditDimensions {
		for _, seen := range fields.Audited(d, e) {
			p.baselines.See(identity.Workload, identity.ID, d, seen)
		}
	}
}

// auditDimensions are what is learned of an identity.
var auditDimensions = [...]baseline.Dimension{baseline.Namespace, baseline.Verb, baseline.Image, baseline.Privilege}

// openAuditBaseline goes over to the file for audit events. Falco runs one instance of the plugin for each event source, with the
// same configuration, and two must not write one file.
func (p *Pipeline) openAuditBaseline() {
	if p.auditFile == p.baselineFile {
		return
	}
	store, warnings, err := baseline.Open(p.baselineConfig, p.auditFile)
	if err != nil {
		p.engine.Warn(err.Error() + "; what is learned of audit events is not kept")
		store, warnings, err = baseline.Open(p.baselineConfig, "") // the store that is open now has the other instance's file
	}
	if err != nil {
		p.engine.Warn(err.Error())
		return
	}
	for _, w := range warnings {
		p.engine.Warn(w.Error())
	}
	p.baselines = store
}

// auditView makes the view show an audit event.
func (p *Pipeline) auditView(ts uint64) {
	c := p.current.identity
	p.view = fields.View{
		Now: ts, Window: p.window, Known: true, Audit: p.current.audit, Container: c, Account: p.accounts.Account(c), Accounts: p.accounts,
		Posture: &p.current.audit.Posture, Baseline: p.baselines.View(c.Workload, ts),
		Everybody: p.baselines.View(p.attributor.Identity("").Workload, ts),
	}
}

// Entries remembers who reached into which pod through the API server. It is shared by the instances of one Falco, each of which
// sees one event source, and safe for use by several threads.
type Entries struct {
	mu   sync.Mutex
	ring []entry
	next int
}

type entry struct {
	id             string // of the request
	pod, container string // container empty where the request named none
	measure.Entry
}

// maxEntries bounds the entries that are remembered.
const maxEntries = 1024

// add remembers one entry. It returns false where the request is known already: a connection is told when it begins and when it ends.
func (l *Entries) add(ts uint64, e *audit.Event) bool {
	how := e.Action.String()
	if e.Command != "" {
		how += " " + e.Command
	}
	add := entry{e.ID, e.Namespace + "/" + e.Name, e.Container, measure.Entry{TS: ts, By: e.User, How: how}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.ID != "" && slices.ContainsFunc(l.ring, func(known entry) bool { return known.id == e.ID }) {
		return false
	}
	if len(l.ring) < maxEntries {
		l.ring = append(l.ring, add)
		return true
	}
	l.ring[l.next] = add
	l.next = (l.next + 1) % maxEntries
	return true
}

// of returns who reached into a container within the last w.
func (l *Entries) of(c *attribute.Container, now uint64, w time.Duration) (found []measure.Entry) {
	if c.Pod == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.ring {
		e := &l.ring[i]
		if e.pod == c.Pod && (e.container == "" || e.container == c.PodContainer) && e.TS+uint64(w) >= now {
			found = append(found, e.Entry)
		}
	}
	return found
}
