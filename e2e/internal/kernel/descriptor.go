package kernel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
)

type descriptorKind uint8

const (
	unknownDescriptor descriptorKind = iota // standard input and the like, of which nothing is known
	fileDescriptor
	memfdDescriptor
	pipeDescriptor
	socketDescriptor
	ringDescriptor
)

// descriptor is what was opened; processes that inherited it, and copies of it, share it.
type descriptor struct {
	kind  descriptorKind
	name  string // path or address as the script has it
	flags OpenFlags
	shown uint32 // of a file: the flags as the driver shows them
	file  *inode
	off   uint64
	pipe  *pipe
	end   byte // of a pipe 'r' or 'w', of a socket pair '1' or '2'
	sock  *socket
	held  int // in how many places of how many tables it is
}

// pipe is an anonymous pipe.
type pipe struct {
	ino  uint64
	in   stream
	read uint64
}

// entry is one number in a descriptor table.
type entry struct {
	fd     int
	handle string // what the script calls it
	d      *descriptor
}

// table is a process's descriptors, the latest last.
type table struct {
	open []entry
	used []bool // by number
}

// lowestFD is the first number given: 0, 1 and 2 are taken.
const lowestFD = 3

func (t *table) clone() table {
	for _, e := range t.open {
		e.d.held++
	}
	return table{open: slices.Clone(t.open), used: slices.Clone(t.used)}
}

// add gives a descriptor the lowest free number.
func (t *table) add(d *descriptor, handle string) int {
	fd := lowestFD
	for fd < len(t.used) && t.used[fd] {
		fd++
	}
	t.set(fd, d, handle)
	return fd
}

func (t *table) set(fd int, d *descriptor, handle string) {
	t.remove(fd)
	for fd >= len(t.used) {
		t.used = append(t.used, false)
	}
	t.used[fd] = true
	d.held++
	t.open = append(t.open, entry{fd: fd, handle: handle, d: d})
}

func (t *table) remove(fd int) {
	if fd < len(t.used) && t.used[fd] {
		t.used[fd] = false
		i := slices.IndexFunc(t.open, func(e entry) bool { return e.fd == fd })
		t.open[i].d.held--
		t.open = slices.Delete(t.open, i, i+1)
	}
}

// direction is what somebody wants a descriptor for.
type direction byte

const (
	forAny   direction = 0
	forRead  direction = 'r'
	forWrite direction = 'w'
)

var standard = map[string]int{"stdin": 0, "stdout": 1, "stderr": 2}

// find finds the descriptor that a script names: by number, stdin, stdout, stderr, the name that it was given, or else
// the path or address; of several the latest that can do what is wanted. NAME.r and NAME.w are the ends of a pipe, NAME.1 and
// NAME.2 those of a socket pair.
func (t *table) find(ref string, want direction) (int, *descriptor, error) {
	number, isNumber := standard[ref]
	if n, err := strconv.Atoi(ref); err == nil && n >= 0 {
		number, isNumber = n, true
	}
	if isNumber {
		for _, e := range t.open {
			if e.fd == number {
				return e.fd, e.d, nil
			}
		}
		return number, &descriptor{}, nil
	}
	var unfit *descriptor
	found := -1
	for i, e := range slices.Backward(t.open) {
		switch {
		case !e.named(ref):
		case !e.d.can(want):
			unfit = e.d
		case found < 0:
			found = i
			if want != forAny || e.d.end == 0 || e.handle != ref {
				return e.fd, e.d, nil
			}
		case t.open[found].d.end != e.d.end:
			return 0, nil, fmt.Errorf("both ends of %s are open: write %s.%c or %s.%c", ref, ref, e.d.end, ref, t.open[found].d.end)
		}
	}
	if found >= 0 {
		return t.open[found].fd, t.open[found].d, nil
	}
	if unfit != nil {
		verb := map[direction]string{forRead: "read", forWrite: "write"}[want]
		return 0, nil, fmt.Errorf("%s is not open to %s: open it with `%s` or `rw`", ref, verb, verb)
	}
	return 0, nil, fmt.Errorf("%s is not open%s", ref, t.known())
}

// known lists what is open, to be written instead.
func (t *table) known() string {
	var names []string
	for _, e := range t.open {
		name := e.handle
		if name == "" {
			name = e.d.name
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	const most = 8
	switch {
	case len(names) == 0:
		return ": the process has nothing open"
	case len(names) > most:
		return fmt.Sprintf(": write one of %s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	default:
		return ": write one of " + strings.Join(names, ", ")
	}
}

func (e *entry) named(ref string) bool {
	if e.d.end != 0 {
		if name, ok := strings.CutSuffix(ref, "."+string(rune(e.d.end))); ok {
			return e.handle == name
		}
	}
	return e.handle == ref || e.d.name == ref
}

func (d *descriptor) can(want direction) bool {
	switch {
	case want == forAny || d.kind == socketDescriptor && !d.sock.listens:
		return true
	case d.kind == pipeDescriptor:
		return d.end == byte(want)
	case want == forRead:
		return d.flags&ForReading != 0
	default:
		return d.flags&ForWriting != 0
	}
}

// Opened reports whether a process has something open under this name that it can read from or write to.
func (t *Thread) Opened(ref string, toWrite bool) bool {
	want := forRead
	if toWrite {
		want = forWrite
	}
	_, _, err := t.process.table.find(ref, want)
	return err == nil
}

// Close closes a descriptor.
func (k *Kernel) Close(t *Thread, ref string) error {
	fd, d, err := t.process.table.find(ref, forAny)
	if err != nil {
		return err
	}
	t.process.table.remove(fd)
	k.forget(d)
	e := k.event(typeClose)
	e.i64(0)
	e.i64(int64(fd))
	k.emit(t)
	return nil
}

// closeAll is the end of a process: the kernel closes without an event.
func (k *Kernel) closeAll(p *process) {
	for _, e := range p.table.open {
		e.d.held--
		k.forget(e.d)
	}
	p.table = table{}
}

// forget drops a connection that nobody accepted when nobody has it open any more.
func (k *Kernel) forget(d *descriptor) {
	if d.held > 0 || d.sock == nil || d.sock.talk == nil {
		return
	}
	key := d.sock.talk.where
	if list := slices.DeleteFunc(k.waiting[key], func(c *conversation) bool { return c == d.sock.talk }); len(list) > 0 {
		k.waiting[key] = list
	} else {
		delete(k.waiting, key)
	}
}

// Dup copies a descriptor to the lowest free number, or to another one that is closed for it.
func (k *Kernel) Dup(t *Thread, ref, to, handle string) error {
	p := t.process
	fd, d, err := p.table.find(ref, forAny)
	if err != nil {
		return err
	}
	if to == "" {
		copied := p.table.add(d, handle)
		e := k.event(typeDup)
		e.i64(int64(copied))
		e.i64(int64(fd))
		k.emit(t)
		return nil
	}
	target, _, err := p.table.find(to, forAny)
	if err != nil {
		return err
	}
	p.table.set(target, d, handle)
	e := k.event(typeDup2)
	e.i64(int64(target))
	e.i64(int64(fd))
	e.i64(int64(target))
	k.emit(t)
	return nil
}

// Pipe makes a pipe, whose ends are called handle.r and handle.w.
func (k *Kernel) Pipe(t *Thread, handle string) {
	k.nextIno++
	p := &pipe{ino: k.nextIno}
	p.in.content.source = p.ino
	r := t.process.table.add(&descriptor{kind: pipeDescriptor, name: "pipe", pipe: p, end: byte(forRead)}, handle)
	w := t.process.table.add(&descriptor{kind: pipeDescriptor, name: "pipe", pipe: p, end: byte(forWrite)}, handle)
	e := k.event(typePipe2)
	e.i64(0)
	e.i64(int64(r))
	e.i64(int64(w))
	e.u64(p.ino)
	e.u32(0)
	k.emit(t)
}

// entries are the descriptors in the descriptor list of a capture, which has no place for what was never told.
func (p *process) entries() []capture.Descriptor {
	var list []capture.Descriptor
	for _, e := range p.table.open {
		d := e.d
		told := capture.Descriptor{FD: int64(e.fd), Name: d.name}
		switch d.kind {
		case fileDescriptor:
			told.Type, told.Flags, told.Dev, told.Ino = capture.DescriptorFile, d.shown, d.file.dev, d.file.ino
			if d.flags&Directory != 0 {
				told.Type = capture.DescriptorDirectory
			}
		case memfdDescriptor:
			told.Type, told.Ino = capture.DescriptorMemfd, d.file.ino
		case pipeDescriptor:
			told.Type, told.Ino = capture.DescriptorFIFO, d.pipe.ino
		case ringDescriptor:
			told.Type = capture.DescriptorIOUring
		case socketDescriptor:
			d.sock.describe(&told)
		default:
			continue
		}
		list = append(list, told)
	}
	return list
}
