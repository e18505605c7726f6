package kernel

import (
	"fmt"
	"net/netip"
	"slices"
)

// call is a system call that moves bytes between a process and a descriptor. Its parameters are in the order of params: the
// result r, data d, descriptor f, size s, position p, tuple t and control message c.
type call struct {
	name   string
	typ    uint16
	write  bool
	socket bool // sockets only
	params string
}

var calls = []call{
	{"read", typeRead, false, false, "rdfs"},
	{"pread", typePRead, false, false, "rdfsp"},
	{"readv", typeReadV, false, false, "rsdf"},
	{"recv", typeRecvFrom, false, true, "rdtfs"},
	{"recvmsg", typeRecvMsg, false, true, "rsdtcf"},
	{"write", typeWrite, true, false, "rdfs"},
	{"pwrite", typePWrite, true, false, "rdfsp"},
	{"writev", typeWriteV, true, false, "rdfs"},
	{"send", typeSendTo, true, true, "rdfst"},
	{"sendmsg", typeSendMsg, true, true, "rdfst"},
}

// Calls are the names of the calls that Move makes.
func Calls() []string {
	names := make([]string, len(calls))
	for i, c := range calls {
		names[i] = c.name
	}
	return names
}

// Transfer is one move of bytes.
type Transfer struct {
	Size    uint64
	Content *Content // nil for what is in the file, or comes next
	At      uint64   // offset in Content
	Peer    string   // of a datagram: where to or where from; empty for the connection's
	Errno   int64    // of a call that fails, else 0
}

// Move moves bytes between a process and a descriptor by a call of Calls.
func (k *Kernel) Move(t *Thread, name, ref string, m Transfer) error {
	c := &calls[slices.IndexFunc(calls, func(c call) bool { return c.name == name })]
	want := forRead
	if c.write {
		want = forWrite
	}
	fd, d, err := t.process.table.find(ref, want)
	if err != nil {
		return err
	}
	if c.socket && d.kind != socketDescriptor && d.kind != unknownDescriptor {
		verb := map[bool]string{false: "read", true: "write"}[c.write]
		return fmt.Errorf("%s is no socket: write %s", ref, verb)
	}
	var peer netip.AddrPort
	if m.Peer != "" {
		if d.kind != socketDescriptor || d.sock.unix {
			return fmt.Errorf("%s is no datagram socket: leave out the address %s", ref, m.Peer)
		}
		if peer, err = k.resolve(m.Peer); err != nil {
			return err
		}
	}
	result := int64(m.Size)
	if m.Errno != 0 {
		result = -m.Errno
	} else {
		k.pass(d, c.write, &m)
	}
	e := k.event(c.typ)
	for _, p := range []byte(c.params) {
		switch p {
		case 'r':
			e.i64(result)
		case 'd':
			if m.Errno != 0 {
				e.empty()
			} else {
				e.bytes(k.shown)
			}
		case 'f':
			e.i64(int64(fd))
		case 's':
			e.u32(uint32(m.Size))
		case 'p':
			e.u64(d.off - min(d.off, m.Size))
		case 'c':
			e.empty()
		case 't':
			d.tuple(e, c.write, peer)
		}
	}
	k.emit(t)
	return nil
}

func (d *descriptor) tuple(e *event, write bool, peer netip.AddrPort) {
	s := d.sock
	if d.kind != socketDescriptor || !s.unix && !s.remote.IsValid() && !peer.IsValid() {
		e.empty()
		return
	}
	if s.unix {
		src, dst := s.src, s.dst
		if !write {
			src, dst = dst, src
		}
		e.unixTuple(src, dst, s.path)
		return
	}
	from, to := s.local, s.remote
	if peer.IsValid() {
		to = peer
	}
	if !write {
		from, to = to, from
	}
	e.tuple(from, to)
}

// pass moves bytes and leaves in k.shown what is seen of them.
func (k *Kernel) pass(d *descriptor, write bool, m *Transfer) {
	source, at := d.source(write)
	if write && d.file != nil && d.flags&Append != 0 {
		d.off = d.file.content.off
		at = d.off
	}
	content, off := source.content, at
	if m.Content != nil {
		content, off = *m.Content, m.At
		if content.source == 0 {
			content.source = source.content.source
		}
		if d.file != nil && content.Kind {
			off = at
		}
		if off == 0 && (at == 0 || d.file == nil) {
			source.content = content
		}
	}
	k.shown = content.head(k.shown[:0], &k.rng, k.cfg.Seed, off, int(min(m.Size, uint64(k.cfg.Snaplen))))
	d.advance(write, m.Size)
}

// source is what a descriptor's bytes come from or go to, and where in it the next are.
func (d *descriptor) source(write bool) (*stream, uint64) {
	switch {
	case d.file != nil:
		return &d.file.content, d.off
	case d.pipe != nil && write:
		return &d.pipe.in, d.pipe.in.off
	case d.pipe != nil:
		return &d.pipe.in, d.pipe.read
	case d.sock != nil && write:
		return &d.sock.out, d.sock.out.off
	case d.sock != nil && d.sock.peer != nil:
		return &d.sock.peer.out, d.sock.received
	case d.sock != nil:
		return &d.sock.in, d.sock.received
	default:
		return &stream{}, 0
	}
}

func (d *descriptor) advance(write bool, n uint64) {
	switch {
	case d.file != nil:
		if d.off += n; write {
			d.file.content.off = max(d.file.content.off, d.off)
		}
	case d.pipe != nil && write:
		d.pipe.in.off += n
	case d.pipe != nil:
		d.pipe.read += n
	case d.sock != nil && write:
		d.sock.out.off += n
	case d.sock != nil:
		d.sock.received += n
	}
}

// Contents is what comes next from a descriptor that is read, for who writes it on.
func (k *Kernel) Contents(t *Thread, ref string) (Content, uint64, error) {
	_, d, err := t.process.table.find(ref, forRead)
	if err != nil {
		return Content{}, 0, err
	}
	source, at := d.source(false)
	return source.content, at, nil
}

// relay is a system call that moves bytes from one descriptor to another inside the kernel, its parameters after the
// result in the order of params: the one that is read i, the one that is written o, size s, an offset p, flags f.
type relay struct {
	name   string
	typ    uint16
	params string
}

var relays = []relay{
	{"sendfile", typeSendFile, "pois"},
	{"splice", typeSplice, "iosf"},
	{"copy_file_range", typeCopyFileRange, "opips"},
}

// Relays are the names of the calls that Relay makes.
func Relays() []string {
	names := make([]string, len(relays))
	for i, r := range relays {
		names[i] = r.name
	}
	return names
}

// Relay moves bytes from one descriptor to another by a call of Relays.
func (k *Kernel) Relay(t *Thread, name, from, to string, size uint64) error {
	r := &relays[slices.IndexFunc(relays, func(r relay) bool { return r.name == name })]
	in, source, err := t.process.table.find(from, forRead)
	if err != nil {
		return err
	}
	out, target, err := t.process.table.find(to, forWrite)
	if err != nil {
		return err
	}
	content, at := source.source(false)
	copied := content.content
	k.pass(target, true, &Transfer{Size: size, Content: &copied, At: at})
	source.advance(false, size)
	e := k.event(r.typ)
	e.i64(int64(size))
	for _, p := range []byte(r.params) {
		switch p {
		case 'i':
			e.i64(int64(in))
		case 'o':
			e.i64(int64(out))
		case 's':
			e.u64(size)
		case 'p':
			e.u64(0)
		case 'f':
			e.u32(0)
		}
	}
	k.emit(t)
	return nil
}
