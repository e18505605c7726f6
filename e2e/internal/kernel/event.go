package kernel

import (
	"encoding/binary"
	"net/netip"

	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
)

// Event types, PPME_* of driver/ppm_events_public.h. Parameters are those of driver/event_table.c of libs 0.23.2.
const (
	typeClose         = 5
	typeRead          = 7
	typeWrite         = 9
	typeSocket        = 19
	typeBind          = 21
	typeConnect       = 23
	typeListen        = 25
	typeSendTo        = 31
	typeRecvFrom      = 35
	typeSocketPair    = 43
	typeSendMsg       = 49
	typeRecvMsg       = 53
	typeLseek         = 87
	typePRead         = 113
	typePWrite        = 115
	typeReadV         = 117
	typeWriteV        = 119
	typeDropE         = 148 // the driver begins to drop
	typeDropX         = 149 // and ends
	typeMmap          = 161
	typeSplice        = 167
	typeRename        = 175
	typeProcExit      = 186
	typeSendFile      = 189
	typeClone         = 223
	typeExecve        = 293
	typeUnlinkAt      = 303
	typeOpenAt        = 307
	typeCopyFileRange = 333
	typeClone3        = 335
	typeIOUringSetup  = 339
	typeIOUringEnter  = 341
	typeDup2          = 363
	typeDup           = 367
	typeAccept4       = 389
	typePipe2         = 393
	typeAsync         = 402
	typeMemfdCreate   = 405
)

// Values of parameters, as the header numbers them (not as the kernel does).
const (
	atCWD = -100 // PPM_AT_FDCWD

	familyUnix  = 1
	familyInet  = 2
	familyInet6 = 10

	socketStream   = 1
	socketDatagram = 2

	oCreated    = 1 << 14 // PPM_O_F_CREATED
	oUpperLayer = 1 << 15 // PPM_FD_UPPER_LAYER
	oLowerLayer = 1 << 16 // PPM_FD_LOWER_LAYER

	cloneFiles      = 1 << 0
	cloneFS         = 1 << 1
	cloneSignals    = 1 << 10
	cloneSysV       = 1 << 12
	cloneThread     = 1 << 13
	cloneMemory     = 1 << 15
	cloneChildClear = 1 << 23
	cloneChildSet   = 1 << 24
	cloneInPIDNS    = 1 << 29 // PPM_CL_CHILD_IN_PIDNS

	exeWritable   = 1 << 0 // PPM_EXE_WRITABLE
	exeUpperLayer = 1 << 1 // PPM_EXE_UPPER_LAYER
	exeLowerLayer = 1 << 3 // PPM_EXE_LOWER_LAYER

	protRead, protWrite          = 1, 2
	mapShared, mapPrivate        = 1, 2
	memfdCloexec                 = 1
	fdLimit                      = 1024
	noLoginUID            uint32 = 1<<32 - 1
)

// event is the event that is being made: parameters are added in the order of the event table.
type event struct{ capture.Event }

func (e *event) begin(typ uint16) {
	e.Type, e.Large = typ, typ == typeAsync
	e.Lens, e.Data = e.Lens[:0], e.Data[:0]
}

func (e *event) added(size int) { e.Lens = append(e.Lens, size) }

func (e *event) empty() { e.added(0) }

// zero8 is a number of one byte, of which none here is anything else.
func (e *event) zero8() {
	e.Data = append(e.Data, 0)
	e.added(1)
}

func (e *event) u32(v uint32) {
	e.Data = binary.LittleEndian.AppendUint32(e.Data, v)
	e.added(4)
}

func (e *event) u64(v uint64) {
	e.Data = binary.LittleEndian.AppendUint64(e.Data, v)
	e.added(8)
}

func (e *event) i64(v int64) { e.u64(uint64(v)) }

func (e *event) bytes(b []byte) {
	e.Data = append(e.Data, b...)
	e.added(len(b))
}

// text ends with a NUL.
func (e *event) text(s string) {
	e.Data = append(append(e.Data, s...), 0)
	e.added(len(s) + 1)
}

// list is strings that each end with a NUL.
func (e *event) list(all []string) {
	before := len(e.Data)
	for _, s := range all {
		e.Data = append(append(e.Data, s...), 0)
	}
	e.added(len(e.Data) - before)
}

// tuple is the two ends of an internet socket, PT_SOCKTUPLE: family, then source address and port, then destination.
func (e *event) tuple(src, dst netip.AddrPort) {
	before := len(e.Data)
	e.Data = append(e.Data, family(src.Addr()))
	for _, end := range [...]netip.AddrPort{src, dst} {
		e.Data = appendAddr(e.Data, end)
	}
	e.added(len(e.Data) - before)
}

// unixTuple is the two ends of a Unix socket.
func (e *event) unixTuple(src, dst uint64, path string) {
	before := len(e.Data)
	e.Data = append(e.Data, familyUnix)
	e.Data = binary.LittleEndian.AppendUint64(e.Data, src)
	e.Data = binary.LittleEndian.AppendUint64(e.Data, dst)
	e.Data = append(append(e.Data, path...), 0)
	e.added(len(e.Data) - before)
}

// addr is one end, PT_SOCKADDR.
func (e *event) addr(a netip.AddrPort) {
	before := len(e.Data)
	e.Data = appendAddr(append(e.Data, family(a.Addr())), a)
	e.added(len(e.Data) - before)
}

func (e *event) unixAddr(path string) {
	e.Data = append(append(append(e.Data, familyUnix), path...), 0)
	e.added(1 + len(path) + 1)
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	if a.Addr().Is4() {
		v4 := a.Addr().As4()
		b = append(b, v4[:]...)
	} else {
		v6 := a.Addr().As16()
		b = append(b, v6[:]...)
	}
	return binary.LittleEndian.AppendUint16(b, a.Port())
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return familyInet
	}
	return familyInet6
}
