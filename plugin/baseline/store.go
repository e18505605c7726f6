package baseline

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/cespare/xxhash/v2"
	"github.com/elastic/go-freelru"
)

// Window is one closed minute of one container.
//
// The containers of a workload close theirs minute by minute, silent ones as well: a workload that is quiet at noon is
// known to be quiet only when it says so.
type Window struct {
	Workload string
	Image    string // without tag and digest
	Instance string // the container's id: tells replicas apart
	Start    uint64 // ns since the epoch; anywhere in the minute
	Totals   Totals
	Drops    bool // events were lost, so the totals are too low
	Reported bool // a rule has reported it
}

// Outcome says what became of a window.
type Outcome uint8

// The outcomes. The first four are the reasons for which a window is quarantined: counted and not learned.
const (
	LostEvents        Outcome = iota
	DuringMaintenance         // in maintenance
	Deviating                 // a rule would report its deviation
	AlreadyReported           // a rule has reported it
	Learned
	Repeated // was seen before, or its minute was
	Excluded // the workload is excluded or has no name
	Compared // mode is Detect

	numReasons = Learned
)

var outcomeNames = [...]string{"lost_events", "maintenance", "deviating", "reported", "learned", "repeated", "excluded", "compared"}

func (o Outcome) String() string { return outcomeNames[o] }

// Stats counts what a Store did. Safe to read from any thread.
type Stats struct {
	Windows          [len(outcomeNames)]atomic.Uint64 // by Outcome
	WorkloadsEvicted atomic.Uint64
	ValuesDropped    atomic.Uint64 // seen in windows that had too many new ones, or whose window never closed
	Saves            atomic.Uint64
	SaveErrors       atomic.Uint64
	SaveBytes        atomic.Uint64 // size of the last file
}

// Store learns workloads and compares them. It has a single owner; only Stats and SaveError may be used from elsewhere.
type Store struct {
	Stats Stats

	cfg       Config
	leaning   leaning
	probation minute
	calendars []*calendar
	profiles  map[string]*profile
	images    map[string]*aggregate
	pool      aggregate
	pending   *freelru.LRU[container, *pending]
	blind     bool
	disk      keeper
}

// container names a container whose window is open.
type container struct{ workload, instance string }

// pending are the unknown values seen in an open window.
type pending struct {
	values []value
}

type value struct {
	dimension Dimension
	text      string
}

const (
	maxPending    = 128  // values of one window
	maxContainers = 8192 // with pending values
)

// profile is all that is known of a workload.
type profile struct {
	own       *record // learned here
	others    *record // learned by other nodes, folded; nil when there are none
	image     *aggregate
	excluded  bool
	calendars []*calendar
	drops     float64 // share of the latest windows that lost events, an exponential average over dropWindows

	version uint64 // grows with every change
	cached  struct {
		normals
		has                  uint16 // the metrics that are in it, as bits
		version, image, pool uint64
		hour                 int
	}
	saved uint64 // the last save that this profile is in
}

const dropWindows = 60

// newStore makes a store of what a file holds.
func newStore(cfg Config, f *File) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, leaning: leaningOf(cfg.MinWindows), probation: minute(cfg.Probation / WindowLength),
		profiles: map[string]*profile{}, images: map[string]*aggregate{},
	}
	var problems []error
	for i, m := range cfg.Maintenance {
		c, err := newCalendar(m)
		if err != nil {
			problems = append(problems, fmt.Errorf("maintenance[%d]: %w", i, err))
			continue
		}
		s.calendars = append(s.calendars, c)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	seed := maphash.MakeSeed()
	var err error
	s.pending, err = freelru.New[container, *pending](maxContainers, func(c container) uint32 { return uint32(maphash.Comparable(seed, c)) })
	if err != nil {
		return nil, fmt.Errorf("start learning: %w", err)
	}
	s.pending.SetOnEvict(func(_ container, p *pending) { s.Stats.ValuesDropped.Add(uint64(len(p.values))) })

	own, others, err := f.split(cfg.Node)
	if err != nil {
		return nil, err
	}
	for _, r := range others {
		p := s.newProfile(r.workload, r.image)
		p.others = r
	}
	for _, r := range own {
		p, ok := s.profiles[r.workload]
		if !ok {
			p = s.newProfile(r.workload, r.image)
		}
		p.own = r
	}
	for _, p := range s.profiles {
		for _, r := range p.records() {
			for _, part := range []*series{&r.day.reference, &r.day.later} {
				s.pool.merge(part)
				if p.image != nil {
					p.image.merge(part)
				}
			}
		}
	}
	return s, nil
}

func (s *Store) newProfile(workload, image string) *profile {
	p := &profile{own: &record{workload: workload, image: image}, version: 1}
	p.excluded = anyMatch(s.cfg.Exclude, workload)
	for _, c := range s.calendars {
		if doublestar.MatchUnvalidated(c.glob, workload) {
			p.calendars = append(p.calendars, c)
		}
	}
	if image != "" {
		a, ok := s.images[image]
		if !ok {
			a = &aggregate{image: image}
			s.images[image] = a
		}
		a.users++
		p.image = a
	}
	s.profiles[workload] = p
	return p
}

func (p *profile) records() []*record {
	if p.others == nil {
		return []*record{p.own}
	}
	return []*record{p.own, p.others}
}

func (p *profile) windows() uint64 {
	n := p.own.windows()
	if p.others != nil {
		n += p.others.windows()
	}
	return n
}

func (p *profile) age() minute {
	if p.others != nil {
		return max(p.own.age, p.others.age)
	}
	return p.own.age
}

func (p *profile) laterAge() minute {
	if p.others != nil {
		return max(p.own.laterAge, p.others.laterAge)
	}
	return p.own.laterAge
}

func (p *profile) knows(d Dimension, v string) bool {
	return p.own.sets[d].has(v) || p.others != nil && p.others.sets[d].has(v)
}

func (p *profile) full(d Dimension) bool {
	return p.own.sets[d].form == full || p.others != nil && p.others.sets[d].form == full
}

func (s *Store) learned(p *profile) bool {
	return p.age().duration() >= s.cfg.Learning && p.windows() >= s.cfg.MinWindows
}

func (p *profile) inMaintenance(from, to uint64) bool {
	for _, c := range p.calendars {
		if c.covers(from, to) {
			return true
		}
	}
	return false
}

// See notes a value of a workload's container, to be learned when the window that it was seen in is.
func (s *Store) See(workload, instance string, d Dimension, text string) {
	if s.cfg.Mode == Detect || text == "" {
		return
	}
	text = canonical(text)
	if p, ok := s.profiles[workload]; ok && (p.excluded || p.knows(d, text)) {
		return
	}
	key := container{workload, instance}
	open, ok := s.pending.Get(key)
	if !ok {
		open = &pending{}
		s.pending.Add(container{strings.Clone(workload), strings.Clone(instance)}, open)
	}
	if slices.Contains(open.values, value{d, text}) {
		return
	}
	if len(open.values) >= maxPending {
		s.Stats.ValuesDropped.Add(1)
		return
	}
	open.values = append(open.values, value{d, strings.Clone(text)})
}

// Observe takes a closed window and reports what became of it.
func (s *Store) Observe(w *Window) Outcome {
	outcome := s.observe(w)
	s.Stats.Windows[outcome].Add(1)
	s.saveSome()
	return outcome
}

func (s *Store) observe(w *Window) Outcome {
	key := container{w.Workload, w.Instance}
	var values []value
	if open, ok := s.pending.Peek(key); ok {
		values = open.values
		open.values = nil
		s.pending.Remove(key)
	}
	p, ok := s.profiles[w.Workload]
	switch {
	case w.Workload == "" || ok && p.excluded:
		return Excluded
	case !ok && anyMatch(s.cfg.Exclude, w.Workload):
		return Excluded
	case s.cfg.Mode == Detect:
		if ok {
			p.noteDrops(w.Drops)
		}
		return Compared
	case !ok:
		if len(s.profiles) >= s.cfg.MaxWorkloads {
			s.evict()
		}
		p = s.newProfile(strings.Clone(w.Workload), strings.Clone(w.Image))
	}
	s.keep(p)
	at := minuteOf(w.Start)
	if !p.own.seen.take(at, xxhash.Sum64String(w.Instance)) {
		return Repeated
	}
	s.disk.changed = true
	p.noteDrops(w.Drops)
	learned := s.learned(p)
	if reason, bad := s.judge(p, w, learned); bad {
		p.own.quarantined[reason]++
		return reason
	}
	later := learned && s.cfg.Mode == Both
	totals := indicesOf(&w.Totals)
	p.own.learn(at, &totals, s.cfg.Hours, later)
	s.pool.add(&totals)
	if p.image != nil {
		p.image.add(&totals)
	}
	for _, v := range values {
		if set := &p.own.sets[v.dimension]; later {
			set.try(v.text, at, s.probation)
		} else {
			set.add(v.text)
		}
	}
	p.version++
	return Learned
}

// judge finds the reason for which a window is not learned.
func (s *Store) judge(p *profile, w *Window, learned bool) (Outcome, bool) {
	switch {
	case w.Drops:
		return LostEvents, true
	case p.inMaintenance(w.Start, w.Start+uint64(WindowLength)):
		return DuringMaintenance, true
	case w.Reported:
		return AlreadyReported, true
	case learned && s.cfg.Mode == Both && s.reportable(p, w):
		return Deviating, true
	default:
		return Learned, false
	}
}

func (s *Store) reportable(p *profile, w *Window) bool {
	view := View{s, p, w.Start}
	for m, x := range w.Totals {
		m := Metric(m)
		least := s.cfg.Reportable.Count
		if m.InBytes() {
			least = s.cfg.Reportable.Bytes
		}
		if x < least {
			continue
		}
		deviation, _ := view.Deviation(m, x)
		ratio, _ := view.Ratio(m, x)
		if deviation >= s.cfg.Reportable.Deviation && ratio >= s.cfg.Reportable.Ratio {
			return true
		}
	}
	return false
}

func (p *profile) noteDrops(drops bool) {
	p.drops -= p.drops / dropWindows
	if drops {
		p.drops += 1.0 / dropWindows
	}
}

// evict drops a profile: one that is not learned yet, or else any, and of those the one not seen for longest. So a flood
// of new workloads drives out itself.
func (s *Store) evict() {
	var victim *profile
	for _, p := range s.profiles {
		if victim == nil || s.sooner(p, victim) {
			victim = p
		}
	}
	delete(s.profiles, victim.own.workload)
	if a := victim.image; a != nil {
		if a.users--; a.users == 0 {
			delete(s.images, a.image)
		}
	}
	s.Stats.WorkloadsEvicted.Add(1)
}

func (s *Store) sooner(p, q *profile) bool {
	if a, b := s.learned(p), s.learned(q); a != b {
		return b
	}
	if a, b := p.last(), q.last(); a != b {
		return a < b
	}
	return p.own.workload < q.own.workload // a replay evicts the same
}

func (p *profile) last() minute {
	if p.others != nil {
		return max(p.own.last, p.others.last)
	}
	return p.own.last
}

// SetBlind says that file I/O events do not reach the plugin, so volumes are too low.
func (s *Store) SetBlind(blind bool) { s.blind = blind }

// Len returns how many workloads are known.
func (s *Store) Len() int { return len(s.profiles) }

// normal returns what is normal of a profile's metric in an hour of the day.
func (s *Store) normal(p *profile, m Metric, hour int) normal {
	c := &p.cached
	if !s.cfg.Hours {
		hour = 0
	}
	var image uint64
	if p.image != nil {
		image = p.image.version
	}
	independent := s.leaning.independent(p.windows())
	if c.version != p.version || c.hour != hour || !independent && (c.pool != s.pool.version || c.image != image) {
		c.has, c.version, c.hour, c.pool, c.image = 0, p.version, hour, s.pool.version, image
	}
	if c.has&(1<<m) == 0 {
		c.has |= 1 << m
		c.normals[m] = s.compute(p, m, hour)
	}
	return c.normals[m]
}

func (s *Store) compute(p *profile, m Metric, hour int) normal {
	var all, reference, hourAll, hourReference parts
	for _, r := range [...]*record{p.own, p.others} {
		if r == nil {
			continue
		}
		reference.add(&r.day.reference)
		all.add(&r.day.reference)
		all.add(&r.day.later)
		if s.cfg.Hours && r.hours != nil && r.hours[hour] != nil {
			h := r.hours[hour]
			hourReference.add(&h.reference)
			hourAll.add(&h.reference)
			hourAll.add(&h.later)
		}
	}
	n := of(&hourAll, &all, m, s.leaning)
	if reference.n > 0 && all.n > reference.n {
		n = within(n, of(&hourReference, &reference, m, s.leaning), s.cfg.Drift.bits(p.laterAge().duration()))
	}
	w := s.leaning.weight(all.windows())
	if w == 1 {
		return n
	}
	if p.image != nil && p.image.windows > 0 {
		return mix(n, p.image.normals(&s.pool, s.leaning)[m], w)
	}
	return mix(n, s.pool.normals(nil, s.leaning)[m], w)
}

// of returns the normal of an hour that leans on the day.
func of(hour, day *parts, m Metric, l leaning) normal {
	if hour.n == 0 {
		return day.normal(m)
	}
	w := l.weight(hour.windows())
	if w == 1 {
		return hour.normal(m)
	}
	return mix(hour.normal(m), day.normal(m), w)
}

// View is a workload at a time. It is valid until the next Observe. Looking allocates nothing.
type View struct {
	store *Store
	p     *profile // nil for an unknown workload
	now   uint64
}

// View returns what is known of a workload at a time, ns since the epoch.
func (s *Store) View(workload string, now uint64) View {
	p, ok := s.profiles[workload]
	if !ok && anyMatch(s.cfg.Exclude, workload) {
		p = &excludedProfile
	}
	return View{s, p, now}
}

// excludedProfile stands for workloads that are excluded and were never learned. It is never changed.
var excludedProfile = profile{own: &record{}, excluded: true}

// Status is how far a workload is learned.
type Status uint8

const (
	Learning      Status = iota // too little is known to judge by, or mode is Learn
	Active                      // learned
	InMaintenance               // in maintenance, learned or not
	Disabled                    // excluded
)

func (s Status) String() string {
	return [...]string{"learning", "active", "maintenance", "disabled"}[s]
}

// Status returns the workload's status.
func (v View) Status() Status {
	switch {
	case v.p == nil:
		return Learning
	case v.p.excluded:
		return Disabled
	case v.p.inMaintenance(v.now, v.now+1):
		return InMaintenance
	case v.store.cfg.Mode == Learn || !v.store.learned(v.p):
		return Learning
	default:
		return Active
	}
}

// comparable reports whether there is anything to compare with.
func (v View) comparable() bool { return v.p != nil && !v.p.excluded && v.p.windows() > 0 }

// Deviation returns how many robust standard deviations x, the metric's total in a minute, lies above the median,
// rounded down; 0 below it. It reports false when nothing is known of the workload or it is excluded, like all below.
func (v View) Deviation(m Metric, x uint64) (uint64, bool) {
	if !v.comparable() {
		return 0, false
	}
	return uint64(max(v.deviation(m, x), 0)), true
}

func (v View) deviation(m Metric, x uint64) float64 {
	n := v.normal(m)
	return (lg(float64(x)) - n.median) / n.spread
}

func (v View) normal(m Metric) normal { return v.store.normal(v.p, m, minuteOf(v.now).hour()) }

// Typical returns the metric's learned 99th percentile of active minutes.
func (v View) Typical(m Metric) (uint64, bool) {
	if !v.comparable() {
		return 0, false
	}
	return toUint(math.Exp2(v.normal(m).tail) - 1), true
}

// Ratio returns x in percent of Typical, or of 1 where that is 0; the largest uint64 when it is more than that.
func (v View) Ratio(m Metric, x uint64) (uint64, bool) {
	typical, ok := v.Typical(m)
	return toUint(100 * float64(x) / float64(max(typical, 1))), ok
}

func toUint(x float64) uint64 {
	if x >= math.MaxUint64 {
		return math.MaxUint64
	}
	return uint64(math.Round(x))
}

// New reports whether a value was never learned. It has no answer for unknown and excluded workloads, and for a
// dimension with too many values to tell.
func (v View) New(d Dimension, text string) (bool, bool) {
	if !v.comparable() || v.p.full(d) {
		return false, false
	}
	return !v.p.knows(d, canonical(text)), true
}

// Age returns the event time learned.
func (v View) Age() time.Duration {
	if v.p == nil {
		return 0
	}
	return v.p.age().duration()
}

// Windows returns the number of windows learned.
func (v View) Windows() uint64 {
	if v.p == nil {
		return 0
	}
	return v.p.windows()
}

// Confidence returns how far the comparison can be trusted, from 0 to 100, rounded down:
//
//	100 * evidence * (1 - drops) * sight
//
// evidence is n/(n+120) for the workload's own n windows, and what is missing to 1 is made up for by half of the same
// share of its image's windows. drops is the share of its latest windows, an exponential average over 60, that lost
// events. sight is 1, or 1/4 when file I/O events do not reach the plugin.
func (v View) Confidence() uint64 {
	if v.p == nil || v.p.excluded {
		return 0
	}
	evidence := trust(v.p.windows())
	if v.p.image != nil {
		evidence += (1 - evidence) * trust(v.p.image.windows-min(v.p.image.windows, v.p.windows())) / 2
	}
	c := 100 * evidence * (1 - min(v.p.drops, 1))
	if v.store.blind {
		c /= 4
	}
	return uint64(c)
}

func trust(windows uint64) float64 { return float64(windows) / (float64(windows) + 120) }
