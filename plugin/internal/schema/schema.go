// Package schema names the event types and parameter positions of Falco's event schema that the plugin reads.
//
// Source: driver/ppm_events_public.h and driver/event_table.c of falcosecurity/libs 0.23.2, schema 4.1.0. From schema 4
// on, exit events carry everything, so no enter event appears here; libs converts older captures while it reads them.
package schema

import "fmt"

// Version is the lowest event schema the plugin can read, as plugin_get_required_event_schema_version returns it.
const Version = "4.0.0"

// Type is an event type number, PPME_* in the header.
type Type uint16

const (
	Open           Type = 3
	Close          Type = 5
	Read           Type = 7
	Write          Type = 9
	Socket         Type = 19
	Connect        Type = 23
	Listen         Type = 25
	Send           Type = 29
	SendTo         Type = 31
	Recv           Type = 33
	RecvFrom       Type = 35
	SocketPair     Type = 43
	SendMsg        Type = 49
	SendMMsg       Type = 51
	RecvMsg        Type = 53
	RecvMMsg       Type = 55
	Creat          Type = 59
	Pipe           Type = 61
	PRead          Type = 113
	PWrite         Type = 115
	ReadV          Type = 117
	WriteV         Type = 119
	PReadV         Type = 121
	PWriteV        Type = 123
	Fcntl          Type = 151
	Splice         Type = 167
	ProcExit       Type = 186 // an enter event by number only: the kernel reports an exit once
	SendFile       Type = 189
	Clone          Type = 223
	Fork           Type = 225
	VFork          Type = 227
	Accept         Type = 247
	Execve         Type = 293
	OpenAt         Type = 307
	OpenAt2        Type = 327
	ExecveAt       Type = 331
	CopyFileRange  Type = 333
	PluginEvent    Type = 322 // an enter event by number only
	Clone3         Type = 335
	OpenByHandleAt Type = 337
	Dup2           Type = 363
	Dup3           Type = 365
	Dup            Type = 367
	Accept4        Type = 389
	Pipe2          Type = 393
	Async          Type = 402
	MemfdCreate    Type = 405
	PidfdGetfd     Type = 407
)

// names of the event types, as evt.type shows them.
var names = map[Type]string{
	Open:           "open",
	Close:          "close",
	Read:           "read",
	Write:          "write",
	Socket:         "socket",
	Connect:        "connect",
	Listen:         "listen",
	Send:           "send",
	SendTo:         "sendto",
	Recv:           "recv",
	RecvFrom:       "recvfrom",
	SocketPair:     "socketpair",
	SendMsg:        "sendmsg",
	SendMMsg:       "sendmmsg",
	RecvMsg:        "recvmsg",
	RecvMMsg:       "recvmmsg",
	Creat:          "creat",
	Pipe:           "pipe",
	PRead:          "pread",
	PWrite:         "pwrite",
	ReadV:          "readv",
	WriteV:         "writev",
	PReadV:         "preadv",
	PWriteV:        "pwritev",
	Fcntl:          "fcntl",
	Splice:         "splice",
	ProcExit:       "procexit",
	SendFile:       "sendfile",
	Clone:          "clone",
	Fork:           "fork",
	VFork:          "vfork",
	Accept:         "accept",
	Execve:         "execve",
	OpenAt:         "openat",
	OpenAt2:        "openat2",
	ExecveAt:       "execveat",
	CopyFileRange:  "copy_file_range",
	PluginEvent:    "pluginevent",
	Clone3:         "clone3",
	OpenByHandleAt: "open_by_handle_at",
	Dup2:           "dup2",
	Dup3:           "dup3",
	Dup:            "dup",
	Accept4:        "accept4",
	Pipe2:          "pipe2",
	Async:          "asyncevent",
	MemfdCreate:    "memfd_create",
	PidfdGetfd:     "pidfd_getfd",
}

func (t Type) String() string {
	if name, ok := names[t]; ok {
		return name
	}
	return fmt.Sprintf("type %d", uint16(t))
}

// Op says which way an I/O event moves bytes.
type Op uint8

const (
	OpRead  Op = iota + 1 // from FD into the process
	OpWrite               // from the process to FD
	OpMove                // from FD to FD2, inside the kernel
)

// None marks a parameter that an event type does not have.
const None = 0xff

// IO is where an I/O event keeps what the plugin counts. Parameter 0 is always the result: the number of bytes moved,
// or a negative errno.
type IO struct {
	Type  Type
	Op    Op
	FD    uint8 // parameter with the descriptor; for OpMove the one that is read
	FD2   uint8 // OpMove only: the one that is written
	Data  uint8 // parameter with the first bytes moved, as many as the snaplen allows
	Tuple uint8 // parameter with the socket tuple
}

// IOEvents are the event types that move bytes, every one of the schema that says how many.
var IOEvents = []IO{
	{Read, OpRead, 2, None, 1, None},
	{PRead, OpRead, 2, None, 1, None},
	{ReadV, OpRead, 3, None, 2, None},
	{PReadV, OpRead, 3, None, 2, None},
	{Recv, OpRead, 2, None, 1, 4},
	{RecvFrom, OpRead, 3, None, 1, 2},
	{RecvMsg, OpRead, 5, None, 2, 3},
	{RecvMMsg, OpRead, 1, None, 3, 4},
	{Write, OpWrite, 2, None, 1, None},
	{PWrite, OpWrite, 2, None, 1, None},
	{WriteV, OpWrite, 2, None, 1, None},
	{PWriteV, OpWrite, 2, None, 1, None},
	{Send, OpWrite, 2, None, 1, 4},
	{SendTo, OpWrite, 2, None, 1, 4},
	{SendMsg, OpWrite, 2, None, 1, 4},
	{SendMMsg, OpWrite, 1, None, 3, 4},
	{SendFile, OpMove, 3, 2, None, None},
	{Splice, OpMove, 1, 2, None, None},
	{CopyFileRange, OpMove, 3, 1, None, None},
}

// StateEvents are the event types that change who a thread is or what a descriptor names.
var StateEvents = []Type{
	Open, OpenAt, OpenAt2, OpenByHandleAt, Creat, Close, Dup, Dup2, Dup3, Fcntl, Pipe, Pipe2, MemfdCreate, PidfdGetfd,
	Socket, SocketPair, Connect, Listen, Accept, Accept4,
	Clone, Clone3, Fork, VFork, Execve, ExecveAt, ProcExit, Async, PluginEvent,
}

// Values of parameters, as the header numbers them (not as the kernel does).
const (
	FcntlDupFD        = 1  // PPM_FCNTL_F_DUPFD
	FcntlDupFDCloexec = 26 // PPM_FCNTL_F_DUPFD_CLOEXEC

	// OpenFresh is set in the flags of an open that emptied or made the file: PPM_O_TRUNC, PPM_O_TMPFILE, PPM_O_F_CREATED.
	OpenFresh = 1<<8 | 1<<13 | 1<<14

	CloneThread = 1 << 13 // PPM_CL_CLONE_THREAD

	FamilyInet  = 2
	FamilyInet6 = 10
)

// FDType is the kind of a descriptor, scap_fd_type in userspace/libscap/scap.h.
type FDType uint8

const (
	FDFile   FDType = 1
	FDDir    FDType = 2
	FDIPv4   FDType = 3
	FDIPv6   FDType = 4
	FDFifo   FDType = 7
	FDUnix   FDType = 8
	FDFileV2 FDType = 16
	FDMemfd  FDType = 20
)

// FDRoleServer is set in the flags of a socket whose peer connected to us, sinsp_fdinfo::flags in
// userspace/libsinsp/fdinfo.h.
const FDRoleServer = 1 << 3
