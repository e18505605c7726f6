// Package attribute turns decoded events into transfers: how many bytes moved between which process of which container
// and which file or peer, and where those bytes came from in the first place.
//
// Threads and descriptors are libs' to know, and its tables are asked about everything that has not been told by an
// event. One thing is tracked here as well: descriptors across fork. Libs copies them when the child's own event comes,
// and by then a shell has often closed the pipe between the two programs it starts, so the copy here is taken at the
// moment of the fork.
//
// A process remembers what it read and a file or pipe what was written to it, by origin (see Origin). That is how a
// chain is followed from the files that were read, over copies, pipes, packers and other containers, to the peer that
// the bytes are sent to, whatever the programs are called.
package attribute

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/elastic/go-freelru"

	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// Config is what an Attributor needs to know.
type Config struct {
	Window        time.Duration // how long an origin is remembered
	Paths         Paths
	Networks      Networks
	MaxThreads    int
	MaxFiles      int
	MaxContainers int
}

// Transfer is one movement of bytes. Pointers in it stay valid; whoever keeps one keeps the memory.
type Transfer struct {
	TS        uint64 // ns since the epoch
	Container *Container
	Process   *Process
	Resource  *Resource
	Write     bool   // from the process to the resource
	NumBytes  uint64 // never 0
	Peer      netip.AddrPort
	PeerClass PeerClass
	From      Amounts // of a write: the bytes by origin, each at most NumBytes
	Staged    bool    // of a read: from a file that local bytes were gathered in
	// HandedOver is, of a read from a file that another container wrote, that container.
	HandedOver *Container
}

// Kind is what a descriptor leads to.
type Kind uint8

const (
	Unknown Kind = iota // not told by any event nor known to the engine
	FileKind
	PipeKind
	SocketKind
	Other // devices and the like: nothing that bytes are counted for
)

// channel is a pipe or a connection within the machine: what goes in at one end comes out at the other.
type channel struct {
	carries ledger
	passed  uint64 // bytes that went in
	joins   bool   // joins two programs by their descriptors, as a shell's pipeline does
}

// channelKey names a connection by its two ends.
type channelKey struct {
	unixSrc, unixDst uint64
	src, dst         netip.AddrPort
	container        *Container // loopback addresses mean something in one network namespace only
}

// Resource is what one descriptor names. Processes that inherited or duplicated the descriptor share it.
type Resource struct {
	Kind    Kind
	File    *File
	Inbound bool           // of a socket: the peer connected to us
	Local   netip.AddrPort // of a socket: our end
	Learned uint64         // when this was last told to the baseline, in minutes since the epoch, kept here for that

	channel   *channel // nil where the other end is not on this machine
	peer      netip.AddrPort
	peerClass PeerClass
	fresh     bool // the file was created or emptied when this was opened
	spender   *Process
	spent     Amounts // of what spender holds, what it has written here
}

// Remote returns a socket's remote end as last seen; NoPeer for anything else.
func (r *Resource) Remote() (netip.AddrPort, PeerClass) { return r.peer, r.peerClass }

// File is one file, by device and inode, whichever containers see it under whichever names.
type File struct {
	Path     string // as the last process that opened it sees it
	Location Location
	Mount    string // where the mount that the file lies in appears in the container; empty for its own file system
	Runtime  bool   // part of what programs need to run, and not written while it was watched
	Packed   bool   // starts like an archive, a compressed or an encrypted file

	Container *Container // that wrote it last
	Writer    *Process   // that wrote it last
	Size      uint64     // bytes written while it was watched
	whole     bool       // Size is all there is in it: it was watched since it was made
	settings  bool       // lies where programs keep settings and caches, which says nothing by itself
	contents  ledger     // of Size, by origin

	// When the file was last counted as read and as written, kept here for the counting.
	Read, Written Touch
}

// Dir returns the directory that the file lies in, the file's own name where it has none.
func (f *File) Dir() string {
	switch i := strings.LastIndexByte(f.Path, '/'); i {
	case -1:
		return f.Path
	case 0:
		return "/"
	default:
		return f.Path[:i]
	}
}

// Touch is the last time that a container touched a file.
type Touch struct {
	By *Container
	TS uint64 // ns since the epoch
}

// Process is a thread group: what shares descriptors and memory.
type Process struct {
	PID       int64
	Exe       string // absolute path of the program, empty when it is not known
	Container *Container

	fds   map[int32]*Resource
	holds ledger
	last  *Resource // the file or socket it wrote to last
}

// Stats counts what could not be attributed. Safe to read from any thread.
type Stats struct {
	UnknownThreads    atomic.Uint64 // transfers of threads that nobody knows
	UnknownFDs        atomic.Uint64 // transfers through descriptors that nobody knows
	BadMetadata       atomic.Uint64 // container events that could not be read
	ThreadsEvicted    atomic.Uint64
	FilesEvicted      atomic.Uint64
	ContainersEvicted atomic.Uint64
}

// Lost is how many transfers could not be attributed.
func (s *Stats) Lost() uint64 { return s.UnknownThreads.Load() + s.UnknownFDs.Load() }

// fileKey names a file: by device and inode, or where the engine does not know them by container and path.
type fileKey struct {
	dev  uint32
	ino  uint64
	path string
}

// birth is what a child inherits, kept from its parent's fork to the child's own first event.
type birth struct {
	parent, vtid int64
	ts           uint64
	fds          map[int32]*Resource
}

// Attributor attributes events. It has a single owner.
type Attributor struct {
	Stats Stats

	cfg        Config
	table      Table
	threads    *freelru.LRU[int64, *Process]
	files      *freelru.LRU[fileKey, *File]
	containers *freelru.LRU[string, *Container]
	channels   *freelru.LRU[channelKey, *channel]
	addresses  map[netip.Addr]string // container ids by address
	births     []birth               // a ring
	nextBirth  int

	lastTID     int64
	lastProcess *Process
}

// maxBirths bounds the forks whose child has not been seen; a child's event follows within milliseconds.
const (
	maxBirths       = 256
	maxBirthAge     = uint64(10 * time.Second)
	maxInheritedFDs = 1024

	// maxChannels bounds the Unix and loopback connections; one that is forgotten starts anew at both ends.
	maxChannels = 8192
)

// New makes an Attributor that asks table about what events did not tell.
func New(cfg Config, table Table) (*Attributor, error) {
	a := &Attributor{cfg: cfg, table: table, addresses: map[netip.Addr]string{}, births: make([]birth, maxBirths)}
	seed := maphash.MakeSeed()
	var err error
	if a.threads, err = newLRU[int64, *Process](seed, cfg.MaxThreads); err != nil {
		return nil, err
	}
	if a.files, err = newLRU[fileKey, *File](seed, cfg.MaxFiles); err != nil {
		return nil, err
	}
	if a.containers, err = newLRU[string, *Container](seed, cfg.MaxContainers); err != nil {
		return nil, err
	}
	if a.channels, err = newLRU[channelKey, *channel](seed, maxChannels); err != nil {
		return nil, err
	}
	return a, nil
}

func newLRU[K comparable, V any](seed maphash.Seed, capacity int) (*freelru.LRU[K, V], error) {
	return freelru.New[K, V](uint32(capacity), func(k K) uint32 { return uint32(maphash.Comparable(seed, k)) })
}

// Transfers attributes one event that moved bytes. It fills out and returns how many of it: two where bytes moved from
// one descriptor to another, none where the thread or the descriptor is unknown.
func (a *Attributor) Transfers(io *decode.IO, out *[2]Transfer) int {
	p := a.process(io.TID)
	if p == nil {
		a.Stats.UnknownThreads.Add(1)
		return 0
	}
	n := 0
	if io.Op == schema.OpRead || io.Op == schema.OpMove {
		if r := a.resource(p, io.TID, io.FD); r != nil {
			a.read(p, r, io, &out[n])
			n++
		}
	}
	if io.Op == schema.OpWrite || io.Op == schema.OpMove {
		fd := io.FD
		if io.Op == schema.OpMove {
			fd = io.FD2
		}
		if r := a.resource(p, io.TID, fd); r != nil {
			a.write(p, r, io, &out[n])
			n++
		}
	}
	if n == 0 {
		a.Stats.UnknownFDs.Add(1)
	}
	return n
}

func (a *Attributor) read(p *Process, r *Resource, io *decode.IO, t *Transfer) {
	*t = Transfer{TS: io.TS, Container: p.Container, Process: p, Resource: r, NumBytes: io.NumBytes}
	w := a.cfg.Window
	switch r.Kind {
	case FileKind:
		f := r.File
		if f.Runtime = f.Runtime || f.Size == 0 && program(io.Head()); f.Runtime {
			return
		}
		if f.Size > 0 && f.Container != p.Container {
			t.HandedOver = f.Container
		}
		// What a web server serves is public; packing it anew, as servers do ahead of requests, makes it no less so.
		if f.Location == WebRoot && !f.Packed {
			return
		}
		local := f.contents.get(Local, io.TS, w)
		// A program that reads back what it stored itself knows where that came from: an upload that it passes on is
		// an upload. Another program that takes it collects it.
		if received := f.contents.get(Received, io.TS, w); f.whole && f.Writer == p && local+received > 0 {
			p.holds.add(Local, share(io.NumBytes, local, f.Size), io.TS, w)
			p.holds.add(Received, share(io.NumBytes, received, f.Size), io.TS, w)
		} else {
			p.holds.add(Local, io.NumBytes, io.TS, w)
		}
		if local == 0 {
			return
		}
		t.Staged = true
		gathered := share(io.NumBytes, local, f.Size)
		// A service that reads back what it keeps on its own volume stages nothing, packed or not.
		itsOwn := f.Writer == p && f.Location.OwnPlace()
		if f.Packed && !(itsOwn && f.Location == Volume) {
			p.holds.add(Packed, gathered, io.TS, w)
		}
		if (f.Location != NoLocation || f.settings) && !itsOwn {
			p.holds.add(Staged, gathered, io.TS, w)
		}
	case PipeKind:
		a.receive(p, r.channel, io)
	case SocketKind:
		t.Peer, t.PeerClass = a.peer(r, io)
		if r.channel != nil {
			a.receive(p, r.channel, io)
		} else {
			p.holds.add(Received, io.NumBytes, io.TS, w)
		}
	}
}

// receive gives a process what comes out of a channel.
func (a *Attributor) receive(p *Process, c *channel, io *decode.IO) {
	w := a.cfg.Window
	for o := range Piped {
		p.holds.add(o, share(io.NumBytes, c.carries.get(o, io.TS, w), c.passed), io.TS, w)
	}
	piped := Piped
	if c.joins {
		piped = Local
	}
	p.holds.add(Piped, share(io.NumBytes, c.carries.get(piped, io.TS, w), c.passed), io.TS, w)
}

// send puts what a process writes into a channel.
func (a *Attributor) send(c *channel, io *decode.IO, from *Amounts) {
	c.passed += io.NumBytes
	for o := range numOrigins {
		c.carries.add(o, from[o], io.TS, a.cfg.Window)
	}
}

func (a *Attributor) write(p *Process, r *Resource, io *decode.IO, t *Transfer) {
	*t = Transfer{TS: io.TS, Container: p.Container, Process: p, Resource: r, Write: true, NumBytes: io.NumBytes}
	w := a.cfg.Window
	if r.spender != p {
		r.spender, r.spent = p, Amounts{}
	}
	for o := range numOrigins {
		held := p.holds.get(o, io.TS, w)
		if held < r.spent[o] { // what was held is forgotten: so is what was spent of it
			r.spent[o] = 0
		}
		t.From[o] = min(io.NumBytes, held-r.spent[o])
		r.spent[o] += t.From[o]
	}
	switch r.Kind {
	case FileKind:
		p.last = r
		f := r.File
		if f.Size == 0 {
			// By its own first bytes, or as a copy or a part of an archive.
			f.Packed = packed(io.Head()) || t.From[Packed] > io.NumBytes/2
		}
		f.Size += io.NumBytes
		f.Container, f.Writer = p.Container, p
		for o := range numOrigins {
			f.contents.add(o, t.From[o], io.TS, w)
		}
	case PipeKind:
		a.send(r.channel, io, &t.From)
	case SocketKind:
		p.last = r
		t.Peer, t.PeerClass = a.peer(r, io)
		if r.channel != nil {
			a.send(r.channel, io, &t.From)
		}
	}
}

// peer returns a socket's remote end: the event's own where it names one, as datagrams do, else the connection's.
func (a *Attributor) peer(r *Resource, io *decode.IO) (netip.AddrPort, PeerClass) {
	remote := r.peer
	if tuple, ok := io.Tuple(); ok {
		if remote = tuple.Src; io.Op == schema.OpWrite {
			remote = tuple.Dst
		}
	}
	if remote != r.peer {
		r.peer, r.peerClass = remote, a.class(remote.Addr())
	}
	return r.peer, r.peerClass
}

func (a *Attributor) class(addr netip.Addr) PeerClass {
	if _, ok := a.addresses[addr]; ok {
		return ContainerPeer
	}
	return a.cfg.Networks.class(addr)
}

// State follows one event that changed a thread or a descriptor. It returns the process and the resource that the event
// is about, either of them nil where there is none. An exit is about the file or socket that the process wrote to last:
// the kernel closes descriptors at exit without a close event, so it is the last word on them.
func (a *Attributor) State(s *decode.State) (*Process, *Resource) {
	switch s.Kind {
	case decode.KindAsync:
		a.metadata(s)
		return nil, nil
	case decode.KindClone:
		return a.clone(s), nil
	case decode.KindExit:
		p := a.process(s.TID)
		a.threads.Remove(s.TID)
		a.lastProcess = nil
		if p == nil {
			return nil, nil
		}
		return p, p.last
	case decode.KindExec:
		return a.exec(s), nil
	}
	p := a.process(s.TID)
	if p == nil {
		return nil, nil
	}
	var r *Resource
	switch s.Kind {
	case decode.KindOpen, decode.KindSocket:
		delete(p.fds, s.FD) // looked up when bytes move
		if s.Fresh {
			p.fds[s.FD] = pendingFresh
		}
		// Servers hand a connection to a child and close their own end at once, see inherit.
		if s.Type == schema.Accept || s.Type == schema.Accept4 {
			r = a.resource(p, s.TID, s.FD)
		}
	case decode.KindClose:
		if r = p.fds[s.FD]; r == pendingFresh {
			r = nil
		}
		delete(p.fds, s.FD)
	case decode.KindDup:
		if s.FD == s.FD2 {
			break
		}
		r = a.resource(p, s.TID, s.FD)
		if r == nil {
			r = &Resource{} // libs may still show what the number named before
		}
		p.fds[s.FD2] = r
	case decode.KindPipe:
		r = &Resource{Kind: PipeKind, channel: &channel{joins: true}}
		p.fds[s.FD], p.fds[s.FD2] = r, r
	case decode.KindSocketPair:
		r = &Resource{Kind: PipeKind, channel: &channel{joins: true}} // both ways at once, but to the same other process
		p.fds[s.FD], p.fds[s.FD2] = r, r
	}
	return p, r
}

// pendingFresh marks a descriptor of a file that its open created or emptied, to be looked up when bytes move.
var pendingFresh = &Resource{fresh: true}

func (a *Attributor) clone(s *decode.State) *Process {
	if s.Ret > 0 { // in the parent
		p := a.process(s.TID)
		if p != nil && s.CloneFlags&schema.CloneThread == 0 {
			a.births[a.nextBirth] = birth{parent: s.TID, vtid: s.Ret, ts: s.TS, fds: inherit(p)}
			a.nextBirth = (a.nextBirth + 1) % maxBirths
		}
		return p
	}
	if s.PID != s.TID { // a thread
		p, ok := a.threads.Get(s.PID)
		if !ok {
			p = a.newProcess(s.PID, a.containerOf(s.TID, s.Cgroups))
			a.addThread(s.PID, p)
		}
		a.addThread(s.TID, p)
		return p
	}
	p := a.newProcess(s.PID, a.containerOf(s.TID, s.Cgroups))
	if parent, ok := a.threads.Get(s.PTID); ok {
		p.Exe, p.holds = parent.Exe, parent.holds // the child has its parent's memory
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
		if r != pendingFresh && len(fds) < maxInheritedFDs {
			fds[fd] = r
		}
	}
	return fds
}

func (a *Attributor) exec(s *decode.State) *Process {
	p := a.process(s.TID)
	if p == nil {
		p = a.newProcess(s.PID, a.containerOf(s.TID, s.Cgroups))
		a.addThread(s.TID, p)
	}
	p.Exe = string(s.Exe)
	p.holds = ledger{} // the memory is gone
	if id := cgroupContainer(s.Cgroups); id != "" && id != p.Container.ID {
		p.Container = a.container(id)
	}
	return p
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
func (a *Attributor) Process(tid int64) *Process { return a.process(tid) }

func (a *Attributor) process(tid int64) *Process {
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
	id := t.ContainerID
	p := a.newProcess(t.PID, nil)
	p.Exe = strings.Clone(t.Exe)
	if p.Container = a.containerOf(tid, nil); p.Container.ID == Host && id != "" {
		p.Container = a.container(id)
	}
	if t.PID != tid {
		a.addThread(t.PID, p)
	}
	return p
}

// containerOf finds a thread's container from the cgroups of its event, or from the engine where the event has none.
func (a *Attributor) containerOf(tid int64, cgroups []byte) *Container {
	id := cgroupContainer(cgroups)
	for i := 0; id == ""; i++ {
		path, ok := a.table.Cgroup(tid, i)
		if !ok {
			return a.container(Host)
		}
		id = containerID(path)
	}
	return a.container(id)
}

func (a *Attributor) container(id string) *Container {
	c, ok := a.containers.Get(id)
	if !ok {
		c = &Container{ID: id, Workload: id}
		if a.containers.Add(id, c) {
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
		if a.addresses[addr] == told.ID {
			delete(a.addresses, addr)
		}
		return
	}
	c := a.container(told.ID)
	*c = *told // processes already point to c
	if addr.IsValid() {
		if len(a.addresses) >= a.cfg.MaxContainers {
			clear(a.addresses) // addresses of containers long gone; the others are told again when they restart
		}
		a.addresses[addr] = c.ID
	}
}

// Resource returns what a descriptor of a process names, nil where nobody knows it.
func (a *Attributor) Resource(p *Process, tid int64, fd int32) *Resource {
	return a.resource(p, tid, fd)
}

func (a *Attributor) resource(p *Process, tid int64, fd int32) *Resource {
	r, ok := p.fds[fd]
	if ok && r != pendingFresh {
		if r.Kind == Unknown {
			return nil
		}
		return r
	}
	told, known := a.table.FD(tid, fd)
	if !known {
		return nil
	}
	r = a.newResource(p, &told, ok)
	p.fds[fd] = r
	return r
}

func (a *Attributor) newResource(p *Process, fd *FD, fresh bool) *Resource {
	r := &Resource{}
	switch fd.Type {
	case schema.FDFile, schema.FDFileV2, schema.FDMemfd, schema.FDDir:
		r.Kind, r.File = FileKind, a.file(p, fd, fresh)
	case schema.FDFifo:
		r.Kind, r.channel = PipeKind, &channel{joins: true}
	case schema.FDUnix:
		r.Kind, r.channel = PipeKind, a.channel(channelKey{unixSrc: fd.UnixSrc, unixDst: fd.UnixDst})
	case schema.FDIPv4, schema.FDIPv6:
		r.Kind, r.Inbound = SocketKind, fd.Flags&schema.FDRoleServer != 0
		r.peer, r.Local = fd.Dst, fd.Src
		if r.Inbound {
			r.peer, r.Local = fd.Src, fd.Dst
		}
		if r.peerClass = a.class(r.peer.Addr()); r.peerClass == Loopback {
			r.channel = a.channel(channelKey{src: fd.Src, dst: fd.Dst, container: p.Container})
		}
	default:
		r.Kind = Other
	}
	return r
}

// channel returns the connection between two ends; a new one of its own where they are not told.
func (a *Attributor) channel(key channelKey) *channel {
	if key.unixSrc == 0 && !key.src.IsValid() {
		return &channel{}
	}
	c, ok := a.channels.Get(key)
	if !ok {
		c = &channel{}
		a.channels.Add(key, c)
	}
	return c
}

func (a *Attributor) file(p *Process, fd *FD, fresh bool) *File {
	key := fileKey{dev: fd.Dev, ino: fd.Ino}
	if fd.Ino == 0 {
		key = fileKey{path: p.Container.ID + ":" + fd.Name}
	}
	f, ok := a.files.Get(key)
	if !ok {
		f = &File{}
		if a.files.Add(key, f) {
			a.Stats.FilesEvicted.Add(1)
		}
	}
	if fresh { // an inode number may be used again, and what was in an emptied file is gone
		*f = File{whole: true, Read: f.Read, Written: f.Written}
	}
	if f.Path != fd.Name {
		f.Path = strings.Clone(fd.Name) // the table's string does not last
	}
	if fd.Type == schema.FDDir { // a file without a name (O_TMPFILE): directories move no bytes
		f.Path += "/"
	}
	mount := mountOf(f.Path, p.Container.Mounts)
	if f.Location = a.cfg.Paths.locate(f.Path, mount); fd.Type == schema.FDMemfd {
		f.Location = Memfd
	}
	f.settings = a.cfg.Paths.settings(f.Path)
	f.Mount = ""
	if mount != nil {
		f.Mount = mount.Destination
	}
	f.Runtime = f.Size == 0 && f.Location != Memfd && a.cfg.Paths.runtime(f.Path)
	return f
}
