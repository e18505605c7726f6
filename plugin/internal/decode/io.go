package decode

import (
	"encoding/binary"
	"net/netip"

	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

const (
	// HeadSize is how many of the first bytes moved are kept: enough for the magic numbers of archives, and to tell
	// encrypted bytes from others.
	HeadSize = 64
	// TupleSize holds the longest internet tuple, IPv6.
	TupleSize = 37
)

// IO is one event that moved bytes. Batches of it come straight out of the shim's ring in C memory, so the layout is
// that of struct ds_io in shim.h, and a batch is valid only during the call that delivers it.
//
//	0        8        16       24       32     36     40     42  43   44     45  48        112       149  152
//	| ts u64 | tid i64| num u64| n u64  | fd   | fd2  | type | op| hl | tl   |pad| head[64]| tuple[37]| pad |
//	|        |        |        |        | i32  | i32  | u16  | u8| u8 | u8   |   |         |          |     |
type IO struct {
	TS       uint64 // ns since the epoch
	TID      int64
	Num      uint64 // event number, as evt.num shows it
	NumBytes uint64 // bytes moved, never 0
	FD       int32  // for schema.OpMove the descriptor that is read
	FD2      int32  // for schema.OpMove the descriptor that is written, else -1
	Type     schema.Type
	Op       schema.Op
	headLen  uint8
	tupleLen uint8
	_        [3]byte
	head     [HeadSize]byte
	tuple    [TupleSize]byte
	_        [3]byte
}

// Head is the first of the bytes moved, at most HeadSize of them. Valid as long as the batch.
func (io *IO) Head() []byte { return io.head[:min(io.headLen, HeadSize)] }

// Tuple is the event's own socket tuple; false where the event carries none of the internet families.
func (io *IO) Tuple() (Tuple, bool) { return decodeTuple(io.tuple[:min(io.tupleLen, TupleSize)]) }

// Tuple is the two ends of a socket. What is source and what is destination depends on who writes the tuple: the driver
// puts the sender of a message first, libs the client of a connection.
type Tuple struct {
	Src, Dst netip.AddrPort
}

// decodeTuple reads a PT_SOCKTUPLE parameter: family u8, then source address and port, then destination address and
// port; addresses in network order, ports in the machine's own.
func decodeTuple(b []byte) (Tuple, bool) {
	var size int
	switch {
	case len(b) == 0:
		return Tuple{}, false
	case b[0] == schema.FamilyInet && len(b) >= 1+2*(4+2):
		size = 4
	case b[0] == schema.FamilyInet6 && len(b) >= 1+2*(16+2):
		size = 16
	default:
		return Tuple{}, false
	}
	src, dst := b[1:1+size+2], b[1+size+2:1+2*(size+2)]
	return Tuple{Src: endpoint(src, size), Dst: endpoint(dst, size)}, true
}

func endpoint(b []byte, size int) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(b[:size]) // size is 4 or 16
	return netip.AddrPortFrom(addr.Unmap(), binary.NativeEndian.Uint16(b[size:]))
}

// NewIO makes an event as the shim does, for the tests of what follows. head is cut to HeadSize.
func NewIO(ts uint64, tid int64, num, numBytes uint64, fd, fd2 int32, op schema.Op, head []byte) IO {
	io := IO{TS: ts, TID: tid, Num: num, NumBytes: numBytes, FD: fd, FD2: fd2, Op: op}
	io.headLen = uint8(copy(io.head[:], head))
	return io
}
