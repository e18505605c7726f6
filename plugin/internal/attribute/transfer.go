package attribute

import (
	"time"

	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// Transfer is one movement of bytes. Pointers in it stay valid; whoever keeps one keeps the memory.
type Transfer struct {
	TS        uint64 // ns since the epoch
	Container *Container
	Process   *Process
	Resource  *Resource
	Write     bool   // from the process to the resource
	Staged    bool   // of a read: from a file that local bytes were gathered in
	NumBytes  uint64 // 0 where they were counted before and From is told now
	Peer      Peer
	From      Amounts // of a write: the bytes by origin, each at most NumBytes
	Found     uint64  // of a read: bytes of the file that nobody was seen to write
	// HandedOver is, of a read of what another container wrote to a file or into a connection within the machine, that
	// container; Handed of the bytes are data that was staged, packed or piped.
	HandedOver *Container
	Handed     uint64
}

// Transfers attributes one event that moved bytes. It fills out and returns how many of it: two where bytes moved from
// one descriptor to another, or where another transfer is explained by this one, which is the last then; none where the thread or the
// descriptor is unknown.
func (a *Attributor) Transfers(io *decode.IO, out *[2]Transfer) int {
	p := a.Process(io.TID)
	if p == nil {
		a.Stats.UnknownThreads.Add(1)
		return 0
	}
	if p.setsUp(io.TS) {
		return 0
	}
	n := 0
	if io.Op == schema.OpRead || io.Op == schema.OpMove {
		if r := a.Resource(p, io.TID, io.FD); r != nil {
			a.read(p, r, io, &out[n])
			n++
		}
	}
	if io.Op == schema.OpWrite || io.Op == schema.OpMove {
		fd := io.FD
		if io.Op == schema.OpMove {
			fd = io.FD2
		}
		if r := a.Resource(p, io.TID, fd); r != nil {
			a.write(p, r, io, &out[n])
			n++
			if n < len(out) && r.channel != nil && a.late(r, io, &out[n]) {
				out[n-1], out[n] = out[n], out[n-1]
				n++
			}
		}
	}
	if n == 0 {
		a.Stats.UnknownFDs.Add(1)
	}
	return n
}

func (a *Attributor) read(p *Process, r *Resource, io *decode.IO, t *Transfer) {
	*t = Transfer{TS: io.TS, Container: p.Container, Process: p, Resource: r, NumBytes: io.NumBytes}
	switch r.Kind {
	case FileKind:
		a.readFile(p, r, io, t)
	case PipeKind:
		a.receive(p, r, io, t)
	case SocketKind:
		t.Peer = a.peer(r, io)
		if r.channel != nil {
			a.receive(p, r, io, t)
		} else {
			from := Received
			switch {
			case t.Peer.Class == External:
				from = Fetched
			case t.Peer.Remote():
				sender := Sender{t.Peer.Addr.Addr(), t.Peer.Container}
				p.Senders.Add(sender, io.NumBytes)
				if r.Inbound {
					from = Uploaded
					p.Container.uploaded(sender, io.NumBytes, io.TS, a.cfg.Window)
				}
			}
			p.holds.add(from, io.NumBytes, io.TS, a.cfg.Window)
		}
	}
}

func (a *Attributor) readFile(p *Process, r *Resource, io *decode.IO, t *Transfer) {
	f, w, m := r.File, a.cfg.Window, a.cfg.Memory
	if f.Runtime = f.Runtime || f.Size == 0 && program(io.Head()); f.Runtime {
		return
	}
	if f.beyond || f.device {
		p.Container.strayed(f, io.NumBytes, io.TS, w)
	}
	t.Found = a.discover(r, io)
	if f.Size > 0 {
		t.HandedOver = p.Container.from(f.Container)
	}
	// What a web server came with is public; packing it anew, as servers do ahead of requests, makes it no less so.
	if f.Location == WebRoot && !f.Packed && (f.Size == 0 || f.deployed) {
		return
	}
	if f.Size == 0 && !f.whole { // it was there before, as most that is read was
		p.collected(io.NumBytes, io.TS, w)
		p.Sources.Add(f.Dir(), io.NumBytes)
		return
	}
	own := p.wrote(f)
	back := !own && !f.Packed && f.Location != Hidden && p.ordered(f.madeFor)
	passedOn := own || back
	made := f.madeOf(io.TS, m)
	if back { // it is a peer's still
		made.local, made.received = 0, made.local+made.received
	}
	a.collect(p, f, &made, io, passedOn)
	stock, sent := made.local, made.received
	if t.Staged = stock > 0; !t.Staged && sent+made.uploaded == 0 { // gathered here, it is no source
		p.Sources.Add(f.Dir(), io.NumBytes)
	}
	if !passedOn && !f.page() { // what peers sent in was gathered, too, if it was not just passed on
		if made.uploaded > 0 && a.amassed(p.Container, f, io.TS) {
			sent += made.uploaded
		}
		stock = min(f.Size, stock+sent)
	}
	// The same bytes again and again are no more data.
	left := maxGiven*stock - min(maxGiven*stock, f.given.get(Local, io.TS, m))
	gathered := min(share(io.NumBytes, stock, f.Size), left)
	if gathered == 0 {
		return
	}
	f.given.add(Local, gathered, io.TS, m)
	if t.HandedOver != nil && (f.Packed || f.Location.scratch()) {
		t.Handed = gathered
	}
	// A service that reads back what it keeps on its own volume stages nothing, packed or not.
	itsOwn := passedOn && f.Location.OwnPlace()
	if f.Packed && (!itsOwn || f.Location != Volume) {
		from := Packed
		if own {
			from = OwnPacked
		}
		p.holds.add(from, gathered, io.TS, w)
	}
	if (f.Location != NoLocation || f.settings) && !itsOwn {
		p.holds.add(Staged, gathered, io.TS, w)
	}
	if f.concealed && !passedOn {
		p.holds.add(Concealed, gathered, io.TS, w)
	}
}

// maxPage is how large a page is that a web application keeps of what its database answered.
const maxPage = 1 << 20

// page reports whether a file may be one of those, as far as peers sent what it is made of.
func (f *File) page() bool { return f.Location == WebRoot && f.Size < maxPage }

// discover books and returns what is read of a file that was made while it was watched but that nothing was seen to be written to: it
// came in through a mapping of the file, or by io_uring. Who did that made it from data that was collected, as far as anybody
// can tell.
func (a *Attributor) discover(r *Resource, io *decode.IO) uint64 {
	f := r.File
	if !f.whole || f.Size > 0 && !f.unseen {
		return 0
	}
	if !f.unseen {
		f.unseen, f.Packed = true, packed(io.Head(), io.NumBytes)
	}
	r.taken += io.NumBytes
	grown := r.taken - min(r.taken, f.Size)
	f.Size += grown
	f.contents.add(Local, grown, io.TS, a.cfg.Memory)
	return grown
}

// maxGiven is how often a file's staged bytes count as taken while they are remembered: once, and once more for a second try.
const maxGiven = 2

// amassed reports whether uploads in a file were gathered there. A service behind a proxy stores uploads, has another program convert,
// unpack or deliver them, and sends the result away; that is its work unless it hides them, packs them or gets them from many, or they
// came packed.
func (a *Attributor) amassed(c *Container, f *File, ts uint64) bool {
	return f.Location == Hidden || f.Packed && (f.madeFor != nil || !f.document) || c.manySent(a.cfg.PeerBytes, ts, a.cfg.Window)
}

// collect gives a process what it reads of a file, by what the file is made of. What the machine's peers sent in is
// collected by a program that takes it, unless that is the one that stored it: an upload that is passed on stays an
// upload. What was fetched from outside stays that, whoever unpacks it. What nobody saw coming is collected.
func (a *Attributor) collect(p *Process, f *File, made *makeUp, io *decode.IO, passedOn bool) {
	n, ts, w := io.NumBytes, io.TS, a.cfg.Window
	if !f.whole {
		p.collected(n, ts, w)
		return
	}
	all := made.grown(f.Size)
	p.holds.add(Fetched, share(n, all.fetched, f.Size), ts, w)
	if passedOn {
		p.holds.add(Local, share(n, all.local, f.Size), ts, w)
		p.holds.add(Received, share(n, all.received, f.Size), ts, w)
		p.holds.add(Uploaded, share(n, all.uploaded, f.Size), ts, w)
		return
	}
	unseen := f.Size - min(f.Size, all.known())
	p.mix(share(n, all.local+unseen, f.Size))
	if all.received+all.uploaded > 0 {
		p.serve(f.Writer)
	}
	collected := all.local + all.received + unseen
	if all.uploaded > 0 {
		if f.Location == Hidden {
			collected += all.uploaded
		} else {
			p.holds.add(Uploaded, share(n, all.uploaded, f.Size), ts, w)
		}
	}
	p.holds.add(Local, share(n, collected, f.Size), ts, w)
}

// Packing is how many times smaller packing makes data at most, and unpacking larger, as far as anybody counts.
const Packing = 20

// makeUp is how many bytes of a file came from where, as far as that is known.
type makeUp struct{ local, received, uploaded, fetched uint64 }

func (f *File) madeOf(ts uint64, m time.Duration) makeUp {
	return makeUp{f.contents.get(Local, ts, m), f.contents.get(Received, ts, m), f.contents.get(Uploaded, ts, m), f.contents.get(Fetched, ts, m)}
}

func (m *makeUp) known() uint64 { return m.local + m.received + m.uploaded + m.fetched }

// grown is the make-up of a whole file. What is unpacked or converted is larger than what it was made of: the rest of it has the origins
// of the part that is known, up to a limit.
func (m *makeUp) grown(size uint64) makeUp {
	known := m.known()
	if known == 0 || known >= size {
		return *m
	}
	all := min(size, Packing*known)
	return makeUp{share(all, m.local, known), share(all, m.received, known), share(all, m.uploaded, known), share(all, m.fetched, known)}
}

// receive gives a process what comes out of a channel.
func (a *Attributor) receive(p *Process, r *Resource, io *decode.IO, t *Transfer) {
	w, f := a.cfg.Window, r.receives()
	if f.passed > 0 {
		if t.HandedOver = p.Container.from(f.giver.Container); t.HandedOver != nil {
			staged := max(f.carries.get(Staged, io.TS, w), f.carries.get(Packed, io.TS, w), f.carries.get(OwnPacked, io.TS, w), f.carries.get(Piped, io.TS, w))
			t.Handed = share(io.NumBytes, staged, f.passed)
		}
	}
	f.taken, f.reader = f.taken+io.NumBytes, p
	a.take(p, r.channel, f, io.NumBytes, io.TS)
}

// take gives a process n bytes of what goes through a channel.
func (a *Attributor) take(p *Process, c *channel, f *flow, n, ts uint64) {
	w := a.cfg.Window
	received, uploaded := f.carries.get(Received, ts, w), f.carries.get(Uploaded, ts, w)
	gathered := f.carries.get(Local, ts, w)
	if f.packed || !p.ordered(f.madeFor) {
		gathered += received
	}
	if f.packed && f.madeFor != nil { // else perhaps a filter of what a proxy passes on
		gathered += uploaded
	}
	gathered = min(gathered, f.passed)
	if received+uploaded > 0 && f.giver != p {
		p.serve(f.giver)
	}
	for o := range numOrigins {
		amount := f.carries.get(o, ts, w)
		if o == Packed && f.packed || o == Piped && c.joins {
			amount = gathered
		}
		p.holds.add(o, share(n, amount, f.passed), ts, w)
	}
}

func (a *Attributor) write(p *Process, r *Resource, io *decode.IO, t *Transfer) {
	*t = Transfer{TS: io.TS, Container: p.Container, Process: p, Resource: r, Write: true, NumBytes: io.NumBytes}
	w := a.cfg.Window
	if r.Kind == SocketKind {
		t.Peer = a.peer(r, io)
	}
	if r.spender != p {
		r.spender, r.spent = p, Amounts{}
	}
	spent := &r.spent
	if t.Peer.Class == External {
		spent = &p.left // the outside is one place, however many connections lead there
	}
	p.spend(spent, io.NumBytes, io.TS, w, &t.From)
	if spent == &p.left {
		p.bare.add(io.NumBytes-t.From.Gathered(), io.TS, w)
	}
	switch r.Kind {
	case FileKind:
		p.lastFile = r
		f := r.File
		p.makes(&f.madeFor, f.Size == 0)
		if f.Size == 0 {
			// By its own first bytes, or as a copy or a part of an archive; what comes out of one is none.
			f.Packed = packed(io.Head(), io.NumBytes) ||
				t.From[Packed]+t.From[OwnPacked] > io.NumBytes/2 && (io.Op == schema.OpMove || noisy(io.Head()) || encoded(io.Head()))
			f.deployed = !p.Container.serves
			f.document = document(io.Head())
			if f.ino != 0 {
				a.written.Add(f.ino, f)
			}
		}
		if !f.sampled && len(io.Head()) == decode.HeadSize {
			f.sampled = true
			// Elsewhere services keep files in formats of their own, and version control its objects.
			f.Packed = f.Packed || f.Location.scratch() && !a.cfg.Paths.project(f.Path) && noisy(io.Head())
		}
		f.Size += io.NumBytes
		f.Container, f.Writer = p.Container, p
		f.contents.addAll(&t.From, io.TS, a.cfg.Memory)
	case PipeKind:
		a.send(p, r, io, &t.From)
	case SocketKind:
		p.lastSocket = r
		if r.channel != nil {
			a.send(p, r, io, &t.From)
		}
	}
}

// send puts what a process writes into a channel.
func (a *Attributor) send(p *Process, r *Resource, io *decode.IO, from *Amounts) {
	f := r.sends()
	if f.passed == 0 {
		f.packed = packed(io.Head(), io.NumBytes) || written(io.Head())
	}
	p.makes(&f.madeFor, f.passed == 0)
	f.passed += io.NumBytes
	f.giver = p
	f.carries.addAll(from, io.TS, a.cfg.Window)
}

// pipeCapacity is what a pipe or socket holds at least: a write of more is told after some of it was taken.
const pipeCapacity = 64 << 10

// late settles what was taken out of a channel before the write that put it in was told: that of a blocked writer ends when the last byte
// has room. Whoever took it holds it now; t is filled with what that has sent to an external peer meanwhile, if it has.
func (a *Attributor) late(r *Resource, io *decode.IO, t *Transfer) bool {
	f, w := r.sends(), a.cfg.Window
	before := f.passed - io.NumBytes
	if io.NumBytes <= pipeCapacity || f.taken <= before || f.reader == nil {
		return false
	}
	early := min(f.taken-before, io.NumBytes)
	f.taken = before + early // what was taken of writes that nobody saw is forgotten
	p := f.reader
	a.take(p, r.channel, f, early, io.TS)
	s := p.lastSocket
	if s == nil || s.peer.Class != External {
		return false
	}
	*t = Transfer{TS: io.TS, Container: p.Container, Process: p, Resource: s, Write: true, Peer: s.peer}
	p.spend(&p.left, min(early, p.bare.get(io.TS, w)), io.TS, w, &t.From)
	found := t.From.Gathered()
	p.bare.numBytes -= found
	return found > 0
}

// maxSearches is how many transfers of a socket look for its peer among the containers: a peer on the same node shows
// itself when it accepts, which may be after the first bytes were sent.
const maxSearches = 8

// peer returns a socket's remote end: the event's own where it names one, as datagrams do, else the connection's.
func (a *Attributor) peer(r *Resource, io *decode.IO) Peer {
	remote := r.peer.Addr
	if tuple, ok := io.Tuple(); ok {
		if remote = tuple.Src; io.Op == schema.OpWrite {
			remote = tuple.Dst
		}
	}
	switch {
	case remote != r.peer.Addr:
		r.peer = a.peerAt(remote)
	case r.peer.Class == Cluster && r.searches < maxSearches:
		r.searches++
		r.peer = a.peerAt(remote)
	}
	return r.peer
}
