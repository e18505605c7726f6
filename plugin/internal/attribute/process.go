package attribute

import (
	"bytes"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/place"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// Process is a thread group: what shares descriptors and memory.
type Process struct {
	PID       int64
	Exe       string // absolute path of the program, empty when it is not known
	Container *Container

	// Where its data is from: the directories of the files it read as data, and who sent it some.
	Sources place.Dirs
	Senders place.Few[Sender]

	run    uint64 // of a program: that which it was forked in, shared by a server and its workers; 0 where that was not watched
	inside bool   // it is in a PID namespace of its own, as a container's processes are; runtimes that set one up are not yet

	worksFor *run   // who stored what it makes something of, where that came from peers; nil for nobody
	others   uint64 // bytes that it collected of anything else

	entered uint64 // ns since the epoch: when a runtime sent it into the container's group; 0 where it has run a program since

	fds   map[int32]*Resource
	holds ledger
	left  Amounts // of what it holds, what it has sent to external peers
	bare  lately  // what it has sent there of which nobody knows where it came from

	lastFile, lastSocket *Resource // that it wrote to
}

// Last returns the file and the socket that the process wrote to last, nil for none. When it ends, the kernel closes them
// without an event, so this is the last word on them.
func (p *Process) Last() (file, socket *Resource) { return p.lastFile, p.lastSocket }

// Sender is who sent data: an address, and the container that has it where that is known.
type Sender struct {
	Addr      netip.Addr
	Container *Container
}

// wrote reports whether a file was written by this run of a program: by the process itself or by another worker of the same
// server. Of those that were there before they were watched, all of one program are taken for one run.
func (p *Process) wrote(f *File) bool {
	if f.Writer == nil || f.Writer == p {
		return f.Writer == p
	}
	r := f.Writer.current()
	return p.is(&r)
}

// run is one run of a program, by all its workers.
type run struct {
	number    uint64 // 0 where its start was not watched
	pid       int64
	exe       string
	container *Container
}

// several are runs that are not one.
var several = &run{}

func (p *Process) current() run { return run{p.run, p.PID, p.Exe, p.Container} }

func (p *Process) is(r *run) bool {
	return r.container == p.Container && r.number == p.run && (r.pid == p.PID || r.exe == p.Exe && p.Exe != "")
}

// serve notes that a process takes what another one stored of what peers sent.
func (p *Process) serve(w *Process) {
	switch {
	case w == nil || p.worksFor == several:
	case p.others > maxOthers:
		p.worksFor = several
	case p.worksFor == nil:
		r := w.current()
		p.worksFor = &r
	case !w.is(p.worksFor):
		p.worksFor = several
	}
}

// collected gives a process n bytes that no peer sent.
func (p *Process) collected(n, ts uint64, window time.Duration) {
	p.mix(n)
	p.holds.add(Local, n, ts, window)
}

// spend takes up to n bytes of each origin out of what a process holds, as far as they were not spent on the same before.
func (p *Process) spend(spent *Amounts, n, ts uint64, window time.Duration, from *Amounts) {
	for o := range numOrigins {
		if p.holds[o].numBytes == 0 { // as most are
			spent[o] = 0
			continue
		}
		held := p.holds.get(o, ts, window)
		if held < spent[o] { // what was held is forgotten: so is what was spent of it
			spent[o] = 0
		}
		from[o] = min(n, held-spent[o])
		spent[o] += from[o]
	}
}

// maxOthers is how much a converter may read beside what it converts: settings, templates and fonts.
const maxOthers = 1 << 18

// mix notes that a process collected something that no peer sent.
func (p *Process) mix(n uint64) {
	if p.others += n; p.others > maxOthers && p.worksFor != nil {
		p.worksFor = several
	}
}

// makes notes for whom something is made that the process writes to; unless it is empty it was made for somebody before.
func (p *Process) makes(madeFor **run, empty bool) {
	switch {
	case *madeFor == p.worksFor:
	case empty:
		*madeFor = p.worksFor
	default:
		*madeFor = several
	}
}

// ordered reports whether something was made for this process, of what it had stored itself: it had another program convert it and takes
// the result back.
func (p *Process) ordered(madeFor *run) bool { return madeFor != nil && p.is(madeFor) }

// maxSetUp is how long a runtime may take, in ns, to run a container's program.
const maxSetUp = uint64(5 * time.Second)

// setsUp reports whether a process sets the container up and is none of its own yet: what it reads and writes is the runtime's.
func (p *Process) setsUp(now uint64) bool { return p.entered != 0 && now < p.entered+maxSetUp }

// birth is what a child inherits, kept from its parent's fork to the child's own first event.
type birth struct {
	parent, vtid int64
	ts           uint64
	fds          map[int32]*Resource
}

// State follows one event that changed a thread or a descriptor. It returns the process and the resource that the event
// is about, either of them nil where there is none.
func (a *Attributor) State(s *decode.State) (*Process, *Resource) {
	switch s.Kind {
	case decode.KindAsync:
		a.metadata(s)
		return nil, nil
	case decode.KindClone:
		return a.clone(s), nil
	case decode.KindExit:
		p := a.Process(s.TID)
		a.threads.Remove(s.TID)
		a.lastProcess = nil
		if p != nil && s.TID == p.PID {
			p.fds = map[int32]*Resource{} // files remember who wrote them, and need not keep what else that had open
		}
		return p, nil
	case decode.KindExec:
		return a.exec(s), nil
	}
	p := a.Process(s.TID)
	if p == nil {
		return nil, nil
	}
	var r *Resource
	switch s.Kind {
	case decode.KindOpen, decode.KindSocket:
		delete(p.fds, s.FD) // looked up when bytes move
		if s.Fresh {        // or now, for none may be seen to
			r = a.lookUpFD(p, s.TID, s.FD, true)
		}
		// Servers hand a connection to a child and close their own end at once, see inherit; and both ends are told who the
		// other is by what the first one says.
		switch s.Type {
		case schema.Connect:
			r = a.Resource(p, s.TID, s.FD)
		case schema.Accept, schema.Accept4:
			r = a.Resource(p, s.TID, s.FD)
			p.Container.serves = p.Container.serves || r != nil && r.Kind == SocketKind && r.peer.Class != Loopback
		}
	case decode.KindListen:
		p.Container.serves = true
	case decode.KindClose:
		r = p.fds[s.FD]
		delete(p.fds, s.FD)
	case decode.KindDup:
		if s.FD == s.FD2 {
			break
		}
		r = a.Resource(p, s.TID, s.FD)
		if r == nil {
			r = &Resource{} // libs may still show what the number named before
		}
		p.fds[s.FD2] = r
	case decode.KindPipe:
		r = &Resource{Kind: PipeKind, channel: &channel{joins: true}}
		a.channels.Add(channelKey{pipe: s.Ino}, r.channel) // an inode number may be used again
		p.fds[s.FD], p.fds[s.FD2] = r, r
	case decode.KindSocketPair:
		r = &Resource{Kind: PipeKind, channel: &channel{joins: true}} // both ways at once, but to the same other process
		p.fds[s.FD], p.fds[s.FD2] = r, r
	}
	return p, r
}

func (a *Attributor) clone(s *decode.State) *Process {
	if s.Ret > 0 { // in the parent
		p := a.Process(s.TID)
		if p != nil && s.CloneFlags&schema.CloneThread == 0 {
			a.births[a.nextBirth] = birth{parent: s.TID, vtid: s.Ret, ts: s.TS, fds: inherit(p)}
			a.nextBirth = (a.nextBirth + 1) % maxBirths
		}
		return p
	}
	if s.PID != s.TID { // a thread
		p, ok := a.threads.Get(s.PID)
		if !ok {
			p = a.newProcess(s.PID, a.containerOf(s.TID, s.Cgroups, false))
			a.addThread(s.PID, p)
		}
		a.addThread(s.TID, p)
		return p
	}
	parent, ok := a.threads.Get(s.PTID)
	inside := s.VTID != s.TID
	// What a runtime sends into a container is in the runtime's own group until it runs a program.
	p := a.newProcess(s.PID, a.containerOf(s.TID, s.Cgroups, inside && ok && parent.inside))
	p.inside = inside
	if ok {
		switch {
		case p.Container.OnHost():
		case parent.Container.OnHost():
			p.entered = s.TS
		default:
			p.entered = parent.entered
		}
		p.Exe, p.run, p.holds, p.left = parent.Exe, parent.run, parent.holds, parent.left // the child has its parent's memory
		p.worksFor, p.others = parent.worksFor, parent.others
		p.Sources = parent.Sources.Clone()
		p.fds = a.born(s)
		if p.fds == nil {
			p.fds = inherit(parent)
		}
	}
	a.addThread(s.TID, p)
	return p
}

// born takes what the parent's fork set aside for this child; nil when the parent's event did not come first.
func (a *Attributor) born(s *decode.State) map[int32]*Resource {
	for i := range a.births {
		b := &a.births[i]
		if b.fds != nil && b.parent == s.PTID && b.vtid == s.VTID && s.TS-b.ts < maxBirthAge {
			fds := b.fds
			b.fds = nil
			return fds
		}
	}
	return nil
}

func inherit(p *Process) map[int32]*Resource {
	fds := make(map[int32]*Resource, min(len(p.fds), maxInheritedFDs))
	for fd, r := range p.fds {
		if len(fds) == maxInheritedFDs {
			break
		}
		fds[fd] = r
	}
	return fds
}

func (a *Attributor) exec(s *decode.State) *Process {
	p := a.Process(s.TID)
	if p == nil {
		p = a.newProcess(s.PID, a.containerOf(s.TID, s.Cgroups, false))
		a.addThread(s.TID, p)
	}
	a.runs++
	// Runtimes run themselves anew on the way in, from a copy of their file.
	anew := p.Container.OnHost() && !p.inside && (path.Base(string(s.Exe)) == path.Base(p.Exe) || bytes.HasPrefix(s.Exe, []byte("memfd:")))
	p.Exe, p.run = string(s.Exe), a.runs
	p.holds, p.left, p.bare, p.worksFor, p.others = ledger{}, Amounts{}, lately{}, nil, 0 // the memory is gone
	p.Sources, p.Senders = place.Dirs{}, place.Few[Sender]{}
	var in groups // a runtime or systemd moves the process before it runs the program
	if in.readAll(s.Cgroups); in.container != "" || (p.Container.OnHost() || p.Container.guessed) && (in.service != "" || p.inside && in.name != "") {
		p.Container = a.container(in.key(p.inside))
	}
	if p.entered = 0; anew && !p.Container.OnHost() {
		p.entered = s.TS
	}
	if p.inside {
		p.Container.guessed = false
		p.Container.Posture.ran(s.UID, s.Capabilities)
	}
	if p.Container.since == 0 {
		p.Container.since = s.TS
	}
	return p
}

// Unmanaged reports whether a container was started beside the orchestrator: it has no pod though others of the node have,
// and has been known for long enough that its metadata has come.
func (a *Attributor) Unmanaged(c *Container, now uint64) bool {
	switch {
	case c.OnHost() || c.Pod != "" || c.guessed || !a.graceOver(c, now):
		return false
	case a.cfg.Orchestrator == OrchestratorAuto:
		return a.orchestrated != 0
	default:
		return a.cfg.Orchestrator == OrchestratorExpected
	}
}

func (a *Attributor) newProcess(pid int64, c *Container) *Process {
	return &Process{PID: pid, Container: c, fds: map[int32]*Resource{}}
}

func (a *Attributor) addThread(tid int64, p *Process) {
	if a.threads.Add(tid, p) {
		a.Stats.ThreadsEvicted.Add(1)
	}
	a.lastProcess = nil
}

// Process returns the process of a thread, nil where nobody knows it.
func (a *Attributor) Process(tid int64) *Process {
	if a.lastProcess != nil && a.lastTID == tid {
		return a.lastProcess
	}
	p, ok := a.threads.Get(tid)
	if !ok {
		if p = a.lookUp(tid); p == nil {
			return nil
		}
		a.addThread(tid, p)
	}
	a.lastTID, a.lastProcess = tid, p
	return p
}

// lookUp asks the engine about a thread whose start was not seen.
func (a *Attributor) lookUp(tid int64) *Process {
	t, ok := a.table.Thread(tid)
	if !ok {
		return nil
	}
	if t.PID != tid {
		if p, ok := a.threads.Get(t.PID); ok {
			return p
		}
	}
	exe, id, inside := strings.Clone(t.Exe), strings.Clone(t.ContainerID), t.VPID != t.PID
	p := a.newProcess(t.PID, a.containerOf(tid, nil, inside))
	p.Exe, p.inside = exe, inside
	if id != "" && id != Host && p.Container.OnHost() {
		p.Container = a.container(id)
	}
	if c := p.Container; inside && c.since == 0 && !isHex(c.ID, 12) {
		c.guessed = true
	}
	if t.PID != tid {
		a.addThread(t.PID, p)
	}
	return p
}

// containerOf finds a thread's container from the cgroups of its event, or from the engine where the event has none. inside tells
// whether it is in a PID namespace of its own.
func (a *Attributor) containerOf(tid int64, cgroups []byte, inside bool) *Container {
	var in groups
	if in.readAll(cgroups); in.none() {
		for i := 0; in.container == ""; i++ {
			path, ok := a.table.Cgroup(tid, i)
			if !ok {
				break
			}
			in.read(strings.Clone(path)) // the table's string does not last
		}
	}
	return a.container(in.key(inside))
}

// Identity returns the pseudo-container that a user of the orchestrator acts as; of all of them together where the name is
// empty.
func (a *Attributor) Identity(user string) *Container {
	if user == "" {
		return a.container("users")
	}
	return a.container("user/" + user)
}

// container returns the one kept under a key (see groups), a new one if there is none.
func (a *Attributor) container(key string) *Container {
	c, ok := a.containers.Get(key)
	if !ok {
		id, _, _ := strings.Cut(key, "/")
		c = &Container{ID: id, Workload: key, ownNetwork: id != Host}
		if a.containers.Add(key, c) {
			a.Stats.ContainersEvicted.Add(1)
		}
	}
	return c
}

// metadata takes what the container plugin tells about a container.
func (a *Attributor) metadata(s *decode.State) {
	if string(s.Name) != "container" && string(s.Name) != "container_removed" {
		return
	}
	told, addr, err := parseMetadata(s.Data)
	if err != nil {
		a.Stats.BadMetadata.Add(1)
		return
	}
	if string(s.Name) == "container_removed" {
		if h, ok := a.addresses.Get(addr); ok && h.container.ID == told.ID {
			a.addresses.Remove(addr)
		}
		return
	}
	c := a.container(told.ID)
	told.told, told.serves, told.since, told.layered = true, c.serves, c.since, c.layered
	told.uploads = c.uploads
	told.beyond, told.beyondSince = c.beyond, c.beyondSince
	told.Posture.Root, told.Posture.Capabilities = c.Posture.Root, c.Posture.Capabilities
	told.Posture.NodeFiles, told.Posture.NodeDevices = c.Posture.NodeFiles, c.Posture.NodeDevices
	told.Posture.Mounted(told.Mounts, a.cfg.Paths.Sensitive)
	if told.Pod != "" && a.orchestrated == 0 {
		a.orchestrated = s.TS
	}
	if told.sandbox != "" { // which has no metadata of its own where a runtime of pods tells it
		s := a.container(told.sandbox)
		s.Pod, s.ownNetwork = told.Pod, told.ownNetwork
	}
	*c = *told // processes already point to c
	if addr.IsValid() {
		a.addresses.Add(addr, home{container: c, told: true})
	}
}

// Known reports whether what a container is has been told, or will not be any more.
func (a *Attributor) Known(c *Container, now uint64) bool { return c.told || a.graceOver(c, now) }

func (a *Attributor) graceOver(c *Container, now uint64) bool {
	if c.since == 0 {
		c.since = now
	}
	return now >= c.since+uint64(a.cfg.Grace)
}
