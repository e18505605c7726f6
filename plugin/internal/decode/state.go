// Package decode turns the bytes of Falco events into typed events. It reads every length and count against the bytes
// that are there, allocates nothing, and keeps nothing of the buffers it is given.
package decode

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// HeaderSize is the size of struct ppm_evt_hdr, which is packed.
//
//	0        8        16        20         22             26
//	| ts u64 | tid u64 | len u32 | type u16 | nparams u32 | lengths u16 (u32 for large payloads) ... | parameters ...
const HeaderSize = 26

// Kind says what a state event changed.
type Kind uint8

const (
	KindOpen       Kind = iota + 1 // FD now names a file or anonymous memory
	KindClose                      // FD is gone
	KindDup                        // FD2 now names what FD names
	KindPipe                       // FD and FD2 are the ends of the pipe with inode Ino
	KindSocket                     // FD now names a socket, or its ends changed
	KindListen                     // FD now takes connections
	KindSocketPair                 // FD and FD2 are the ends of a socket pair
	KindClone                      // a task was made: in the parent Ret is the child's tid in its own namespace, in the child 0
	KindExec                       // the task runs a new program
	KindExit                       // the task is gone
	KindAsync                      // a plugin reported Name with Data
	KindPlugin                     // an event of a source plugin: Data
)

// State is one state event. Slices point into the event's buffer and are valid only during the call that delivers it.
type State struct {
	Kind Kind
	Type schema.Type
	TS   uint64 // ns since the epoch
	TID  int64  // -1 for none
	Num  uint64 // event number, as evt.num shows it

	FD, FD2 int32
	Ino     uint64
	Fresh   bool // KindOpen: the open created the file or emptied it

	Ret             int64
	PID, PTID, VTID int64
	CloneFlags      uint32 // PPM_CL_*
	Comm            []byte
	Exe             []byte // KindExec: absolute path of the program, as the kernel knows it
	Cgroups         []byte // "subsystem=path" entries, each ended by a NUL
	Capabilities    uint64 // KindExec: effective ones, PPM_CAP_*
	UID             uint32 // KindExec: as the initial user namespace numbers it

	Name []byte
	Data []byte
}

var (
	// ErrShort is wrapped when an event ends before what it announces.
	ErrShort = errors.New("event is cut short")
	// ErrType is wrapped when a caller asks for an event type that is no state event.
	ErrType = errors.New("not a state event")
)

// Parse reads one raw event into s and says whether it changed anything: a call that failed did not.
func Parse(raw []byte, num uint64, s *State) (bool, error) {
	*s = State{Num: num}
	var p params
	if err := p.open(raw, s); err != nil {
		return false, err
	}
	changed := true
	switch s.Type {
	case schema.Open:
		s.Kind, s.FD, s.Fresh = KindOpen, p.fd(0), p.uint(2)&schema.OpenFresh != 0
		changed = s.FD >= 0
	case schema.OpenAt, schema.OpenAt2:
		s.Kind, s.FD, s.Fresh = KindOpen, p.fd(0), p.uint(3)&schema.OpenFresh != 0
		changed = s.FD >= 0
	case schema.OpenByHandleAt:
		s.Kind, s.FD = KindOpen, p.fd(0)
		changed = s.FD >= 0
	case schema.Creat, schema.MemfdCreate:
		s.Kind, s.FD, s.Fresh = KindOpen, p.fd(0), true
		changed = s.FD >= 0
	case schema.Socket, schema.Accept, schema.Accept4, schema.PidfdGetfd:
		s.Kind, s.FD = KindSocket, p.fd(0)
		changed = s.FD >= 0
	case schema.Connect:
		s.Kind, s.Ret, s.FD = KindSocket, p.int(0), p.fd(2)
	case schema.Listen:
		s.Kind, s.Ret, s.FD = KindListen, p.int(0), p.fd(1)
		changed = s.Ret >= 0
	case schema.Close:
		s.Kind, s.Ret, s.FD = KindClose, p.int(0), p.fd(1)
		changed = s.Ret >= 0
	case schema.Dup, schema.Dup2, schema.Dup3:
		s.Kind, s.FD2, s.FD = KindDup, p.fd(0), p.fd(1)
		changed = s.FD2 >= 0
	case schema.Fcntl:
		s.Kind, s.FD2, s.FD = KindDup, p.fd(0), p.fd(1)
		cmd := p.uint(2)
		changed = s.FD2 >= 0 && (cmd == schema.FcntlDupFD || cmd == schema.FcntlDupFDCloexec)
	case schema.Pipe, schema.Pipe2:
		s.Kind, s.Ret, s.FD, s.FD2, s.Ino = KindPipe, p.int(0), p.fd(1), p.fd(2), p.uint(3)
		changed = s.Ret >= 0
	case schema.SocketPair:
		s.Kind, s.Ret, s.FD, s.FD2 = KindSocketPair, p.int(0), p.fd(1), p.fd(2)
		changed = s.Ret >= 0
	case schema.Clone, schema.Clone3, schema.Fork, schema.VFork:
		s.Kind, s.Ret, s.PID, s.PTID = KindClone, p.int(0), p.int(4), p.int(5)
		s.Comm, s.Cgroups, s.CloneFlags, s.VTID = p.text(13), p.bytes(14), uint32(p.uint(15)), p.int(18)
		changed = s.Ret >= 0
	case schema.Execve, schema.ExecveAt:
		s.Kind, s.Ret, s.PID, s.PTID = KindExec, p.int(0), p.int(4), p.int(5)
		s.Comm, s.Cgroups, s.Capabilities, s.UID, s.Exe = p.text(13), p.bytes(14), p.uint(22), uint32(p.uint(26)), p.text(27)
		changed = s.Ret >= 0
	case schema.ProcExit:
		s.Kind = KindExit
	case schema.PluginEvent:
		s.Kind, s.Data = KindPlugin, p.bytes(1)
	case schema.Async:
		s.Kind, s.Name, s.Data = KindAsync, p.text(1), p.bytes(2)
	default:
		return false, fmt.Errorf("decode %v event: %w", s.Type, ErrType)
	}
	if p.err != nil {
		return false, fmt.Errorf("decode %v event: %w", s.Type, p.err)
	}
	return changed, nil
}

// TID reads the thread id of a raw event, of which at least the header must be there.
func TID(raw []byte) int64 { return int64(binary.NativeEndian.Uint64(raw[8:HeaderSize])) }

// params reads the parameters of one event in ascending order; the first that is not there is remembered in err.
type params struct {
	lens   []byte // the array of lengths
	width  int    // bytes of one length
	data   []byte // the parameters not yet passed
	next   int    // index of the first of data
	nparam int
	err    error
}

func (p *params) open(raw []byte, s *State) error {
	if len(raw) < HeaderSize {
		return fmt.Errorf("decode header: %w: %d bytes of %d", ErrShort, len(raw), HeaderSize)
	}
	le := binary.NativeEndian
	s.TS = le.Uint64(raw)
	s.TID = int64(le.Uint64(raw[8:]))
	s.Type = schema.Type(le.Uint16(raw[20:]))
	n := le.Uint32(raw[22:])
	p.width = 2
	if s.Type == schema.Async || s.Type == schema.PluginEvent {
		p.width = 4 // EF_LARGE_PAYLOAD
	}
	rest := raw[HeaderSize:]
	if uint64(n)*uint64(p.width) > uint64(len(rest)) {
		return fmt.Errorf("decode %v event: %w: %d parameters in %d bytes", s.Type, ErrShort, n, len(rest))
	}
	p.nparam = int(n)
	p.lens, p.data = rest[:p.nparam*p.width], rest[p.nparam*p.width:]
	return nil
}

// bytes returns parameter i, which must not be below an index already asked for.
func (p *params) bytes(i int) []byte {
	if p.err != nil {
		return nil
	}
	if i >= p.nparam {
		p.err = fmt.Errorf("%w: no parameter %d of %d", ErrShort, i, p.nparam)
		return nil
	}
	for ; ; p.next++ {
		size := p.size(p.next)
		if size > uint64(len(p.data)) {
			p.err = fmt.Errorf("%w: parameter %d wants %d bytes of %d", ErrShort, p.next, size, len(p.data))
			return nil
		}
		value := p.data[:size]
		if p.next == i {
			return value
		}
		p.data = p.data[size:]
	}
}

func (p *params) size(i int) uint64 {
	if p.width == 4 {
		return uint64(binary.NativeEndian.Uint32(p.lens[4*i:]))
	}
	return uint64(binary.NativeEndian.Uint16(p.lens[2*i:]))
}

// uint reads parameter i as an unsigned number of its own width; an empty one, which is how libs says "not known", is 0.
func (p *params) uint(i int) uint64 {
	switch b := p.bytes(i); len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(b))
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	case 8:
		return binary.NativeEndian.Uint64(b)
	default:
		return 0
	}
}

func (p *params) int(i int) int64 { return int64(p.uint(i)) }

// fd reads parameter i as a descriptor or a negative errno.
func (p *params) fd(i int) int32 {
	if b := p.bytes(i); len(b) == 0 {
		return -1
	}
	return int32(p.int(i))
}

// text reads parameter i without the NUL that ends it.
func (p *params) text(i int) []byte {
	b := p.bytes(i)
	if n := len(b); n > 0 && b[n-1] == 0 {
		return b[:n-1]
	}
	return b
}
