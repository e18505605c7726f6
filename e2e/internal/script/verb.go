package script

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/kernel"
)

// verb is something that a process does.
type verb struct {
	usage string
	opens bool // gives a descriptor or thread, which may have been there before the recording
	read  func(r *reader, who subject) op
}

// subject is who does something, and the place of it in the script.
type subject struct {
	name string
	word word
}

// act is a call, or a few, that take one turn.
type act struct {
	who    subject
	events uint64
	had    bool // it was before the recording
	do     func(k *kernel.Kernel, t *kernel.Thread) error
}

func (a *act) cost() uint64 {
	if a.had {
		return 0
	}
	return a.events
}

func (a *act) play(t *track) bool {
	if !a.had && !t.tick() {
		return false
	}
	return t.attempt(a.who, func(thread *kernel.Thread) error { return a.do(t.kernel, thread) })
}

// attempt has a process do something.
func (t *track) attempt(who subject, do func(thread *kernel.Thread) error) bool {
	thread, err := t.kernel.Thread(who.name)
	if err == nil {
		err = do(thread)
	}
	if err != nil {
		return t.fail(failAt(who.word.pos, "%v", err))
	}
	return true
}

// simple is a verb of one turn.
func simple(events uint64, usage string, read func(r *reader) func(k *kernel.Kernel, t *kernel.Thread) error) verb {
	return verb{usage: usage, read: func(r *reader, who subject) op {
		return &act{who: who, events: events, do: read(r)}
	}}
}

func opening(v verb) verb {
	v.opens = true
	return v
}

type do = func(k *kernel.Kernel, t *kernel.Thread) error

// verbs by name. The readers take the words after the verb.
var verbs = makeVerbs()

func makeVerbs() map[string]verb {
	all := map[string]verb{
		"start": simple(3, "PROCESS start NAME "+startOptions+" [exe PATH] runs PROGRAM [ARGUMENT]...", readStart),
		"fork":  simple(2, "PROCESS fork NAME "+startOptions, readFork),
		"exec":  simple(1, "PROCESS exec [exe PATH] runs PROGRAM [ARGUMENT]...", readExec),
		"thread": opening(simple(2, "PROCESS thread NAME [cpu NUMBER] [pid NUMBER]", func(r *reader) do {
			n := readNewcomer(r, false)
			return func(k *kernel.Kernel, t *kernel.Thread) error {
				_, err := k.NewThread(t, n.start)
				return err
			}
		})),
		"exit": simple(1, "PROCESS exit [CODE]", func(r *reader) do {
			code := int64(0)
			if r.more() {
				code = r.number("the code", 0, 255)
			}
			return func(k *kernel.Kernel, t *kernel.Thread) error {
				k.Exit(t, int(code))
				return nil
			}
		}),
		"open": opening(simple(1, "PROCESS open PATH [read|write|rw] [create] [truncate] [append] [excl] [directory] [tmpfile] "+
			"[as NAME] [fails ERROR]", readOpen)),
		"close": simple(1, "PROCESS close WHAT", func(r *reader) do {
			what := r.take("what to close")
			return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Close(t, what) }
		}),
		"dup": opening(simple(1, "PROCESS dup WHAT [to DESCRIPTOR] [as NAME]", readDup)),
		"seek": simple(1, "PROCESS seek WHAT OFFSET", func(r *reader) do {
			what, offset := r.take("a file"), uint64(r.number("the offset", 0, 1<<62))
			return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Seek(t, what, offset) }
		}),
		"pipe": opening(simple(1, "PROCESS pipe NAME", func(r *reader) do {
			name := r.name("a name")
			return func(k *kernel.Kernel, t *kernel.Thread) error { k.Pipe(t, name); return nil }
		})),
		"socketpair": opening(simple(1, "PROCESS socketpair NAME", func(r *reader) do {
			name := r.name("a name")
			return func(k *kernel.Kernel, t *kernel.Thread) error { k.SocketPair(t, name); return nil }
		})),
		"memfd": opening(simple(1, "PROCESS memfd NAME [as NAME]", func(r *reader) do {
			name, handle := r.take("a name"), readHandle(r)
			return func(k *kernel.Kernel, t *kernel.Thread) error { k.Memfd(t, name, handle); return nil }
		})),
		"mmap": simple(1, "PROCESS mmap WHAT SIZE [write]", func(r *reader) do {
			what, size := r.take("a file"), r.size("the size")
			write := r.next("write")
			return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Mmap(t, what, size, write) }
		}),
		"io_uring_setup": opening(simple(1, "PROCESS io_uring_setup NAME [entries NUMBER] [fails ERROR]", func(r *reader) do {
			name, entries, errno := r.name("a name"), int64(64), int64(0)
			for r.more() {
				if r.option("entries", "fails") == "entries" {
					entries = r.number("the entries", 1, 1<<15)
				} else {
					errno = r.errno()
				}
			}
			return func(k *kernel.Kernel, t *kernel.Thread) error { k.IOUring(t, name, uint32(entries), errno); return nil }
		})),
		"io_uring_enter": simple(1, "PROCESS io_uring_enter WHAT NUMBER", func(r *reader) do {
			what, n := r.take("a ring"), r.number("how many", 0, 1<<15)
			return func(k *kernel.Kernel, t *kernel.Thread) error { return k.IOUringEnter(t, what, uint32(n)) }
		}),
		"unlink": simple(1, "PROCESS unlink PATH", func(r *reader) do {
			path := r.take("a path")
			return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Unlink(t, path) }
		}),
		"rename": simple(1, "PROCESS rename FROM TO", func(r *reader) do {
			from, to := r.take("a path"), r.take("a path")
			return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Rename(t, from, to) }
		}),
		"connect": opening(simple(2, "PROCESS connect HOST:PORT|unix:PATH [udp] [nonblocking] [as NAME] [fails ERROR]", readConnect)),
		"socket": opening(simple(1, "PROCESS socket NAME [ipv6]", func(r *reader) do {
			name := r.name("a name")
			v6 := r.next("ipv6")
			return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Datagram(t, name, v6) }
		})),
		"listen": opening(simple(3, "PROCESS listen :PORT|HOST:PORT|unix:PATH [as NAME]", func(r *reader) do {
			at, handle := r.take("an address"), readHandle(r)
			return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Listen(t, at, handle) }
		})),
		"accept": opening(simple(1, "PROCESS accept :PORT|HOST:PORT|unix:PATH [from CONTAINER|ADDRESS] [as NAME]", readAccept)),
	}
	for _, name := range kernel.Calls() {
		all[name] = moveVerb(name)
	}
	for _, name := range append(kernel.Relays(), copyVerb) {
		all[name] = verb{
			usage: "PROCESS " + name + " SIZE from WHAT to WHAT [in PIECES] [over DURATION] " + contentUsage,
			read:  func(r *reader, who subject) op { return readRelay(r, who, name) },
		}
	}
	return all
}

// readVerb reads PROCESS VERB ... and PROCESS had VERB ...
func readVerb(words line) (op, error) {
	who := subject{name: words[0].text, word: words[0]}
	name, rest := words[1], words[2:]
	had := name.text == "had" && !name.quoted
	if had {
		if len(rest) == 0 {
			return nil, failAt(name.pos, "had what? write `PROCESS had open PATH`, or another verb that opens something")
		}
		name, rest = rest[0], rest[1:]
	}
	v, ok := verbs[name.text]
	if !ok || name.quoted {
		known := slices.Sorted(maps.Keys(verbs))
		if first := words[0].text; !had {
			if hint := meant(first, keywords()); hint != "" && meant(name.text, known) == "" {
				return nil, failAt(words[0].pos, "unknown statement %q%s", first, hint)
			}
		}
		return nil, failAt(name.pos, "unknown verb %q%s: write one of %s", name.text, meant(name.text, known), strings.Join(known, ", "))
	}
	if had && !v.opens {
		return nil, failAt(name.pos, "nothing is left of %s that a process could have had: "+
			"write open, connect, listen, accept, pipe or thread", name.text)
	}
	r := &reader{words: rest, usage: v.usage, at: name.pos}
	o := v.read(r, who)
	r.done()
	if r.err != nil {
		return nil, r.err
	}
	if a, ok := o.(*act); ok {
		a.had = had
	}
	return o, nil
}

func readHandle(r *reader) string {
	if r.next("as") {
		return r.name("a name")
	}
	return ""
}

func readStart(r *reader) do {
	n := readNewcomer(r, true, "service")
	return func(k *kernel.Kernel, t *kernel.Thread) error {
		child, err := k.Fork(t, n.start)
		if err != nil {
			return err
		}
		k.Exec(child, n.program)
		return nil
	}
}

func readFork(r *reader) do {
	n := readNewcomer(r, false)
	return func(k *kernel.Kernel, t *kernel.Thread) error {
		_, err := k.Fork(t, n.start)
		return err
	}
}

func readExec(r *reader) do {
	exe := ""
	if r.next("exe") {
		exe = r.take("a path")
	}
	r.expect("runs")
	program := r.program(exe)
	return func(k *kernel.Kernel, t *kernel.Thread) error {
		k.Exec(t, program)
		return nil
	}
}

func readOpen(r *reader) do {
	path := r.take("a path")
	var flags kernel.OpenFlags
	handle, errno := "", int64(0)
	for r.more() {
		switch r.option("read", "write", "rw", "create", "truncate", "append", "excl", "directory", "tmpfile", "as", "fails") {
		case "read":
			flags |= kernel.ForReading
		case "write":
			flags |= kernel.ForWriting
		case "rw":
			flags |= kernel.ForReading | kernel.ForWriting
		case "create":
			flags |= kernel.Create
		case "truncate":
			flags |= kernel.Truncate
		case "append":
			flags |= kernel.Append
		case "excl":
			flags |= kernel.Exclusive
		case "directory":
			flags |= kernel.Directory
		case "tmpfile":
			flags |= kernel.Nameless
		case "as":
			handle = r.name("a name")
		case "fails":
			errno = r.errno()
		}
	}
	if flags&(kernel.ForReading|kernel.ForWriting) == 0 {
		const writing = kernel.Create | kernel.Truncate | kernel.Append
		switch {
		case flags&kernel.Nameless != 0:
			flags |= kernel.ForReading | kernel.ForWriting
		case flags&writing != 0:
			flags |= kernel.ForWriting
		default:
			flags |= kernel.ForReading
		}
	}
	return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Open(t, path, handle, flags, errno) }
}

func readDup(r *reader) do {
	what := r.take("what to copy")
	to, handle := "", ""
	for r.more() {
		if r.option("to", "as") == "to" {
			to = r.take("a descriptor")
		} else {
			handle = r.name("a name")
		}
	}
	return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Dup(t, what, to, handle) }
}

func readConnect(r *reader) do {
	to := r.take("an address")
	var how kernel.Connecting
	for r.more() {
		switch r.option("udp", "nonblocking", "as", "fails") {
		case "udp":
			how.UDP = true
		case "nonblocking":
			how.NonBlocking = true
		case "as":
			how.Handle = r.name("a name")
		case "fails":
			how.Errno = r.errno()
		}
	}
	return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Connect(t, to, how) }
}

func readAccept(r *reader) do {
	at := r.take("an address")
	from, handle := "", ""
	for r.more() {
		if r.option("from", "as") == "from" {
			from = r.take("a peer")
		} else {
			handle = r.name("a name")
		}
	}
	return func(k *kernel.Kernel, t *kernel.Thread) error { return k.Accept(t, at, from, handle) }
}

// pieces is how a transfer is cut.
type pieces struct {
	size, in uint64
	over     time.Duration
}

// piece is what one call moves where none is written: what most programs use at most.
const piece = 64 << 10

// maxPiece is what one call can move: the size in an event has 32 bits and the result a sign.
const maxPiece = 1<<31 - 1

func (p *pieces) count() uint64 { return (p.size + p.in - 1) / p.in }

func (p *pieces) readIn(r *reader) {
	if p.in = r.size("the piece"); p.in > maxPiece {
		r.fail("a piece of %d bytes: write 2GB or less", p.in)
	}
}

// each plays one piece after another; move does the one of n bytes at an offset.
func (p *pieces) each(t *track, move func(n, at uint64) bool) bool {
	interval := uint64(p.over) / p.count()
	for at := uint64(0); at < p.size; at += p.in {
		if at > 0 && p.over > 0 {
			t.at = t.last + interval
		}
		if !move(min(p.in, p.size-at), at) {
			return false
		}
	}
	return true
}

// moving reads or writes.
type moving struct {
	who     subject
	call    string
	what    string
	pieces  pieces
	content *kernel.Content
	peer    string
	errno   int64
}

func moveVerb(call string) verb {
	usage := "PROCESS " + call + " WHAT SIZE [in PIECES] [over DURATION] " + contentUsage + " [fails ERROR]"
	switch {
	case strings.HasPrefix(call, "send"):
		usage += " [to ADDRESS]"
	case strings.HasPrefix(call, "recv"):
		usage += " [from ADDRESS]"
	}
	return verb{usage: usage, read: func(r *reader, who subject) op { return readMoving(r, who, call) }}
}

func readMoving(r *reader, who subject, call string) op {
	m := &moving{who: who, call: call, what: r.take("a file, pipe or socket"), pieces: pieces{size: r.size("the size"), in: piece}}
	options := []string{"in", "over", "fails"}
	switch {
	case strings.HasPrefix(call, "send"):
		options = append(options, "to")
	case strings.HasPrefix(call, "recv"):
		options = append(options, "from")
	}
	for r.more() {
		if c := r.content(); c != nil {
			m.content = c
			continue
		}
		switch r.option(options...) {
		case "in":
			m.pieces.readIn(r)
		case "over":
			m.pieces.over = r.span("the time")
		case "fails":
			m.errno = r.errno()
		case "to", "from":
			m.peer = r.take("an address")
		}
	}
	if m.pieces.in == 0 {
		m.pieces.in = piece
	}
	if m.errno != 0 {
		m.pieces.size = min(m.pieces.size, m.pieces.in)
	}
	return m
}

func (m *moving) cost() uint64 { return m.pieces.count() }

func (m *moving) play(t *track) bool {
	return m.pieces.each(t, func(n, at uint64) bool {
		return t.tick() && t.attempt(m.who, func(thread *kernel.Thread) error {
			return t.kernel.Move(thread, m.call, m.what, kernel.Transfer{
				Size: n, Content: m.content, At: at, Peer: m.peer, Errno: m.errno,
			})
		})
	})
}

// copyVerb is a read and a write for each piece, as programs copy.
const copyVerb = "copy"

// relaying moves bytes from one descriptor to another. What is not open is opened before and closed after.
type relaying struct {
	who      subject
	call     string
	from, to string
	pieces   pieces
	content  *kernel.Content
}

func readRelay(r *reader, who subject, call string) op {
	m := &relaying{who: who, call: call, pieces: pieces{size: r.size("the size"), in: piece}}
	r.expect("from")
	m.from = r.take("what to read")
	r.expect("to")
	m.to = r.take("what to write")
	for r.more() {
		if c := r.content(); c != nil {
			m.content = c
			continue
		}
		if r.option("in", "over") == "in" {
			m.pieces.readIn(r)
		} else {
			m.pieces.over = r.span("the time")
		}
	}
	if m.pieces.in == 0 {
		m.pieces.in = piece
	}
	return m
}

func (m *relaying) cost() uint64 {
	calls := m.pieces.count()
	if m.call == copyVerb {
		calls = multiply(calls, 2)
	}
	const around = 5 // open, socket and connect, two closes
	return add(calls, around)
}

func (m *relaying) play(t *track) bool {
	closeFrom, ok := m.openIfNot(t, m.from, false)
	if !ok {
		return false
	}
	closeTo, ok := m.openIfNot(t, m.to, true)
	if !ok || !m.pieces.each(t, func(n, at uint64) bool { return m.one(t, n, at) }) {
		return false
	}
	for _, c := range []struct {
		what string
		open bool
	}{{m.from, closeFrom}, {m.to, closeTo}} {
		if c.open && !(t.tick() && t.attempt(m.who, func(thread *kernel.Thread) error { return t.kernel.Close(thread, c.what) })) {
			return false
		}
	}
	return true
}

// openIfNot opens a path or connects to an address that is not open, and reports that it did.
func (m *relaying) openIfNot(t *track, what string, toWrite bool) (opened, ok bool) {
	path := strings.HasPrefix(what, "/")
	if address := toWrite && strings.Contains(what, ":"); !path && !address {
		return false, true
	}
	thread, err := t.kernel.Thread(m.who.name)
	if err == nil && thread.Opened(what, toWrite) {
		return false, true
	}
	return true, t.tick() && t.attempt(m.who, func(thread *kernel.Thread) error {
		switch {
		case !path:
			return t.kernel.Connect(thread, what, kernel.Connecting{})
		case toWrite:
			return t.kernel.Open(thread, what, "", kernel.ForWriting|kernel.Create|kernel.Truncate, 0)
		default:
			return t.kernel.Open(thread, what, "", kernel.ForReading, 0)
		}
	})
}

func (m *relaying) one(t *track, n, at uint64) bool {
	if m.call != copyVerb {
		return t.tick() && t.attempt(m.who, func(thread *kernel.Thread) error {
			return t.kernel.Relay(thread, m.call, m.from, m.to, n)
		})
	}
	var content kernel.Content
	var offset uint64
	read := t.tick() && t.attempt(m.who, func(thread *kernel.Thread) (err error) {
		if err = t.kernel.Move(thread, "read", m.from, kernel.Transfer{Size: n, Content: m.content, At: at}); err != nil {
			return err
		}
		if content, offset, err = t.kernel.Contents(thread, m.from); m.content != nil {
			content.Head, content.Filler = m.content.Head, m.content.Filler
		}
		return err
	})
	content.Kind = false // a copy goes on as what it was copied from
	return read && t.tick() && t.attempt(m.who, func(thread *kernel.Thread) error {
		return t.kernel.Move(thread, "write", m.to, kernel.Transfer{Size: n, Content: &content, At: offset - n})
	})
}
