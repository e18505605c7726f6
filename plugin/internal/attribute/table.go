package attribute

import (
	"net/netip"

	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// Table is the engine's own view of threads and descriptors: libs' "threads" state table and its subtables. It is asked
// only for what no event has told. Strings it returns are valid until the next call.
type Table interface {
	// Thread looks up a thread; false when the engine does not know it.
	Thread(tid int64) (Thread, bool)
	// Cgroup returns the path of the thread's i-th control group; false past the last one.
	Cgroup(tid int64, i int) (string, bool)
	// FD looks up a descriptor of the thread's process; false when the engine does not know it.
	FD(tid int64, fd int32) (FD, bool)
}

// Thread is one entry of the threads table.
type Thread struct {
	PID         int64
	VPID        int64  // as the process sees itself: in its own PID namespace
	Exe         string // absolute path of the program
	ContainerID string // the container plugin's own field; empty without that plugin
}

// FD is one entry of a file_descriptors table.
type FD struct {
	Type  schema.FDType
	Flags uint32         // schema.FDRoleServer ...
	Name  string         // absolute path of a file
	Dev   uint32         // of a file
	Ino   uint64         // of a file or pipe
	Src   netip.AddrPort // of an internet socket: the client's end
	Dst   netip.AddrPort // of an internet socket: the server's end

	UnixSrc, UnixDst uint64 // of a Unix socket: what tells its two ends from all others
}
