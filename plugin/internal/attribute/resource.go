package attribute

import (
	"net/netip"
	"strings"

	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// Kind is what a descriptor leads to.
type Kind uint8

const (
	Unknown Kind = iota // not told by any event nor known to the engine
	FileKind
	PipeKind
	SocketKind
	Other // devices and the like: nothing that bytes are counted for
)

// Resource is what one descriptor names. Processes that inherited or duplicated the descriptor share it.
type Resource struct {
	Kind    Kind
	File    *File
	Inbound bool           // of a socket: the peer connected to us
	Local   netip.AddrPort // of a socket: our end
	Learned uint64         // when this was last told to the baseline, in minutes since the epoch, kept here for that

	channel  *channel // nil where the other end is not on this machine
	end      int      // of a channel of two ends: which one this is
	peer     Peer
	searches int // how often the peer was looked for among the containers
	spender  *Process
	spent    Amounts // of what spender holds, what it has written here
	taken    uint64  // bytes read of a file that grows unseen
}

// Peer returns a socket's remote end as last seen; the zero Peer for anything else.
func (r *Resource) Peer() Peer { return r.peer }

// File is one file, by device and inode, whichever containers see it under whichever names.
type File struct {
	Path     string // as the last process that opened it sees it
	Location Location
	Mount    string // where the mount that the file lies in appears in the container; empty for its own file system
	OfHost   bool   // lies on the node's own file system or is a device of it
	Runtime  bool   // part of what programs need to run, and not written while it was watched
	document bool   // is a zip of the kind that office documents are
	Packed   bool   // starts like an archive, a compressed or an encrypted file

	dev       uint32
	ino       uint64
	Container *Container // that wrote it last, or made it
	Writer    *Process   // likewise
	madeFor   *run       // who stored what it was made of, as far as that came from peers; nil for nobody
	Size      uint64     // bytes written while it was watched
	beyond    bool       // a file of the node that lies in none of the container's mounts
	device    bool       // a device of the node
	whole     bool       // Size is all there is in it: it was watched since it was made
	unseen    bool       // something was in it before anything was seen to be written
	sampled   bool       // it is known whether it looks random
	concealed bool       // hidden within a place where nothing is meant to stay
	settings  bool       // lies where programs keep settings and caches, which says nothing by itself
	deployed  bool       // written before the container had served anybody
	contents  ledger     // of Size, by origin
	given     ledger     // of the local part of contents, what was taken as staged

	// When the file was last counted as read and as written, kept here for the counting.
	Read, Written Touch
}

// Dir returns the directory that the file lies in; the file's own name where it has none, and that of a device of the node,
// which is a whole disk or the like.
func (f *File) Dir() string {
	switch i := strings.LastIndexByte(f.Path, '/'); {
	case i == -1 || f.device:
		return f.Path
	case i == 0:
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

// fileKey names a file: by device and inode, or where the engine does not know them by container and path.
type fileKey struct {
	dev  uint32
	ino  uint64
	path string
}

// channel is a pipe or a connection within the machine: what goes in at one end comes out at the other.
type channel struct {
	flows  [2]flow // by the end that bytes go in at; where the ends cannot be told apart all are in the first
	duplex bool    // the ends can be told apart
	ends   [2]*Container
	joins  bool // joins two programs by their descriptors, as a shell's pipeline does
}

// The ends of a connection.
const (
	clientEnd = 0
	serverEnd = 1
)

// flow is one direction of a channel.
type flow struct {
	carries ledger
	passed  uint64   // bytes that went in
	taken   uint64   // bytes that came out, which can be more for as long as a writer is blocked, see late
	reader  *Process // that took some last
	packed  bool     // they began like an archive, or like one that is written as text
	giver   *Process // that put bytes in last
	madeFor *run     // as of a file
}

// sends is the flow that what is written to a resource goes into.
func (r *Resource) sends() *flow { return &r.channel.flows[r.end] }

// receives is the flow that what is read of a resource comes out of.
func (r *Resource) receives() *flow {
	if r.channel.duplex {
		return &r.channel.flows[1-r.end]
	}
	return &r.channel.flows[0]
}

// channelKey names a pipe by its inode and a connection by its two ends. Loopback addresses mean something in one network
// namespace only, which events do not tell; two that use the same ports at the same time are told apart by their
// containers, see connection.
type channelKey struct {
	pipe             uint64
	unixSrc, unixDst uint64
	src, dst         netip.AddrPort
}

// Resource returns what a descriptor of a process names, nil where nobody knows it.
func (a *Attributor) Resource(p *Process, tid int64, fd int32) *Resource {
	if r, ok := p.fds[fd]; ok {
		if r.Kind == Unknown {
			return nil
		}
		return r
	}
	return a.lookUpFD(p, tid, fd, false)
}

// lookUpFD asks the engine what a descriptor names. fresh says that it is a file which has just been made or emptied.
func (a *Attributor) lookUpFD(p *Process, tid int64, fd int32, fresh bool) *Resource {
	told, known := a.table.FD(tid, fd)
	if !known {
		return nil
	}
	r := a.newResource(p, &told, fresh)
	p.fds[fd] = r
	return r
}

func (a *Attributor) newResource(p *Process, fd *FD, fresh bool) *Resource {
	r := &Resource{}
	switch fd.Type {
	case schema.FDFile, schema.FDFileV2, schema.FDMemfd, schema.FDDir:
		r.Kind, r.File = FileKind, a.file(p, fd, fresh)
	case schema.FDFifo:
		r.Kind, r.channel = PipeKind, a.pipe(fd.Ino)
	case schema.FDUnix:
		r.Kind = PipeKind
		a.connect(r, p, fd, channelKey{unixSrc: fd.UnixSrc, unixDst: fd.UnixDst})
	case schema.FDIPv4, schema.FDIPv6:
		r.Kind, r.Inbound = SocketKind, fd.Flags&schema.FDRoleServer != 0
		remote := fd.Dst
		if r.Local = fd.Src; r.Inbound {
			remote, r.Local = fd.Src, fd.Dst
		}
		a.lives(p.Container, r.Local)
		r.peer = a.peerAt(remote)
		if r.peer.Class != NoPeer && remote.Addr() == r.Local.Addr() { // the container's own address is as good as 127.0.0.1
			r.peer.Class = Loopback
		}
		if r.peer.Class == Loopback {
			a.connect(r, p, fd, channelKey{src: fd.Src, dst: fd.Dst})
		}
	default:
		r.Kind = Other
	}
	return r
}

// pipe returns the pipe with an inode; a new one of its own where that is not told.
func (a *Attributor) pipe(ino uint64) *channel {
	c, ok := a.channels.Get(channelKey{pipe: ino})
	if !ok || ino == 0 {
		c = &channel{joins: true}
		if ino != 0 {
			a.channels.Add(channelKey{pipe: ino}, c)
		}
	}
	return c
}

// connect makes a resource one end of the connection that key names. An end that another container holds already means
// that this is another connection: of another network namespace, or later.
func (a *Attributor) connect(r *Resource, p *Process, fd *FD, key channelKey) {
	if fd.Flags&schema.FDRoleServer != 0 {
		r.end = serverEnd
	}
	if key.unixSrc == 0 && !key.src.IsValid() {
		r.channel = &channel{duplex: true}
		return
	}
	c, ok := a.channels.Get(key)
	if !ok || c.ends[r.end] != nil && c.ends[r.end] != p.Container {
		c = &channel{duplex: true}
		a.channels.Add(key, c)
	}
	c.ends[r.end] = p.Container
	r.channel = c
}

func (a *Attributor) file(p *Process, fd *FD, fresh bool) *File {
	key := fileKey{dev: fd.Dev, ino: fd.Ino}
	if fd.Ino == 0 {
		key = fileKey{path: p.Container.ID + ":" + fd.Name}
	}
	f, ok := a.files.Get(key)
	if !ok {
		if f = a.sameFile(fd); f == nil {
			f = &File{dev: fd.Dev, ino: fd.Ino}
		}
		if a.files.Add(key, f) {
			a.Stats.FilesEvicted.Add(1)
		}
	}
	if fresh { // an inode number may be used again, and what was in an emptied file is gone
		*f = File{Path: f.Path, dev: fd.Dev, ino: fd.Ino, whole: true, Container: p.Container, Writer: p, Read: f.Read, Written: f.Written}
	}
	if f.Path == "" || !openedAgain(fd.Name) {
		f.rename(fd)
	}
	if fd.Type == schema.FDMemfd {
		f.Location = Memfd
	}
	a.find(p.Container, f)
	return f
}

// rename gives a file the name that a descriptor has for it.
func (f *File) rename(fd *FD) {
	dir, nameless := strings.CutSuffix(f.Path, "/")
	switch {
	case fd.Type == schema.FDDir: // a file without a name (O_TMPFILE): directories move no bytes
		if !nameless || dir != fd.Name {
			f.Path = fd.Name + "/"
		}
	case f.Path != fd.Name:
		f.Path = strings.Clone(fd.Name) // the table's string does not last
	}
}

// sameFile finds a written file that a descriptor names without the device, or that was written through one which did. The
// engine does not know the device of descriptors that it read from /proc: those from before it started, and those that a
// process was sent over a Unix socket.
func (a *Attributor) sameFile(fd *FD) *File {
	f, ok := a.written.Get(fd.Ino)
	if !ok || fd.Dev != 0 && f.dev != 0 || baseName(f.Path) != baseName(fd.Name) {
		return nil
	}
	return f
}

func baseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
