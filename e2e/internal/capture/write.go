package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/netip"
	"time"
)

// Blocks that only a writer tells apart, in the version that libs 0.23 writes.
const (
	blockProcesses   = 0x215 // PL_BLOCK_TYPE_V9
	blockDescriptors = 0x218 // FDL_BLOCK_TYPE_V2
	blockInterfaces  = 0x219 // IL_BLOCK_TYPE_V2
	blockUsers       = 0x220 // UL_BLOCK_TYPE_V2
)

const formatMinor = 2 // CURRENT_MINOR_VERSION

// Writer writes a capture, unpacked, in the layout of libs 0.23: first NewWriter's section header, then what the machine
// looked like, then the events. The first error of the stream ends it; Err tells it.
type Writer struct {
	w     io.Writer
	buf   []byte // the block that is being made
	start int    // of the entry that is being made, in buf
	size  int64
	err   error
}

// NewWriter begins a capture. Blocks are written one by one: w should be buffered.
func NewWriter(w io.Writer) *Writer {
	c := &Writer{w: w}
	c.begin(blockSection)
	c.u32(sectionMagic)
	c.u16(formatMajor)
	c.u16(formatMinor)
	c.u64(math.MaxUint64) // of unknown length
	c.end()
	return c
}

// Err is the first error of the stream.
func (c *Writer) Err() error { return c.err }

// Size is the number of bytes written.
func (c *Writer) Size() int64 { return c.size }

// maxPID is the highest process number of a 64-bit machine, PID_MAX_LIMIT.
const maxPID = 1 << 22

// Machine writes scap_machine_info, see scanner.machine.
func (c *Writer) Machine(m Machine) {
	c.begin(blockMachine)
	c.u32(m.CPUs)
	c.u64(m.MemoryBytes)
	c.u64(maxPID)
	name := make([]byte, 128)
	copy(name[:127], m.Hostname)
	c.buf = append(c.buf, name...)
	boot := uint64(0)
	if !m.Boot.IsZero() {
		boot = nanoseconds(m.Boot)
	}
	for _, v := range [...]uint64{boot, 0, 0, 0} { // flags, two reserved ones
		c.u64(v)
	}
	c.end()
}

// Interface is a network interface of the machine, with one address.
type Interface struct {
	Name string
	Addr netip.Prefix
}

// Kinds of interface addresses, SCAP_II_IPV4 and SCAP_II_IPV6.
const (
	interfaceIPv4 = 1
	interfaceIPv6 = 2
)

// Interfaces writes the interface list, IPv4 first as readers want it.
func (c *Writer) Interfaces(list []Interface) {
	c.begin(blockInterfaces)
	for _, v4 := range []bool{true, false} {
		for _, i := range list {
			if i.Addr.Addr().Is4() != v4 {
				continue
			}
			addr := i.Addr.Addr().AsSlice()
			mask := make([]byte, len(addr))
			broadcast := append([]byte(nil), addr...)
			for bit := range len(addr) * 8 {
				if bit < i.Addr.Bits() {
					mask[bit/8] |= 0x80 >> (bit % 8)
				} else {
					broadcast[bit/8] |= 0x80 >> (bit % 8)
				}
			}
			c.beginEntry()
			kind := uint16(interfaceIPv6)
			if v4 {
				kind = interfaceIPv4
			}
			c.u16(kind)
			c.u16(uint16(len(i.Name)))
			c.buf = append(c.buf, addr...)
			c.buf = append(c.buf, mask...)
			c.buf = append(c.buf, broadcast...)
			c.u64(0) // link speed
			c.buf = append(c.buf, i.Name...)
			c.endEntry(false)
		}
	}
	c.end()
}

// User is an account of the machine.
type User struct {
	Name     string
	UID, GID uint32
	Home     string
	Shell    string
}

const userBlockUser = 0 // USERBLOCK_TYPE_USER

// Users writes the user list. Groups are not told.
func (c *Writer) Users(list []User) {
	c.begin(blockUsers)
	for _, u := range list {
		c.beginEntry()
		c.buf = append(c.buf, userBlockUser)
		c.u32(u.UID)
		c.u32(u.GID)
		c.text(u.Name)
		c.text(u.Home)
		c.text(u.Shell)
		c.endEntry(true)
	}
	c.end()
}

// Thread is an entry of the process list.
type Thread struct {
	TID, PID, PTID  int64 // one whose TID is not its PID shares what the first thread of the process has
	VTID, VPID      int64 // in the process's own namespace
	Comm, Exe       string
	ExePath         string
	Args            []string // without the program
	CWD             string
	UID, GID        uint32
	Cgroups         []string // "subsystem=path"
	PIDNamespace    time.Time
	Capabilities    uint64
	ExeWritable     bool
	ExeUpper        bool // the program lies in the container's own layer
	ExeLower        bool // the program came with the image
	ExeIno          uint64
	DescriptorLimit uint64
}

const noLoginUID = math.MaxUint32

const sharesProcess = 1<<13 | 1<<0 // PPM_CL_CLONE_THREAD, PPM_CL_CLONE_FILES

func (t *Thread) flags() uint32 {
	if t.TID == t.PID {
		return 0
	}
	return sharesProcess
}

// Processes writes the process list.
func (c *Writer) Processes(list []Thread) {
	c.begin(blockProcesses)
	for i := range list {
		t := &list[i]
		c.beginEntry()
		for _, v := range [...]int64{t.TID, t.PID, t.PTID, t.PID, t.VPID} { // session and process group are its own
			c.u64(uint64(v))
		}
		c.text(t.Comm)
		c.text(t.Exe)
		c.text(t.ExePath)
		c.list(t.Args)
		c.text(t.CWD)
		c.u64(t.DescriptorLimit)
		c.u32(t.flags())
		c.u32(t.UID)
		c.u32(t.GID)
		for range 3 {
			c.u32(0) // virtual, resident and swapped memory
		}
		c.u64(0)    // major and
		c.u64(0)    // minor page faults
		c.list(nil) // environment
		c.u64(uint64(t.VTID))
		c.u64(uint64(t.VPID))
		c.list(t.Cgroups)
		c.text("/") // root
		c.u64(nanoseconds(t.PIDNamespace))
		c.u32(0) // terminal
		c.u32(noLoginUID)
		c.flag(t.ExeWritable)
		c.u64(0) // inheritable capabilities
		c.u64(t.Capabilities)
		c.u64(t.Capabilities)
		c.flag(t.ExeUpper)
		c.u64(t.ExeIno)
		c.u64(0)      // change and
		c.u64(0)      // modification time of the program
		c.flag(false) // from memory
		c.flag(t.ExeLower)
		c.u64(uint64(t.PID)) // process group
		c.endEntry(true)
	}
	c.end()
}

// DescriptorType is the kind of a descriptor, scap_fd_type of userspace/libscap/scap.h.
type DescriptorType uint8

// Kinds of descriptors that can be written.
const (
	DescriptorDirectory  DescriptorType = 2
	DescriptorIPv4       DescriptorType = 3
	DescriptorIPv6       DescriptorType = 4
	DescriptorIPv4Server DescriptorType = 5
	DescriptorIPv6Server DescriptorType = 6
	DescriptorFIFO       DescriptorType = 7
	DescriptorUnix       DescriptorType = 8
	DescriptorFile       DescriptorType = 16
	DescriptorIOUring    DescriptorType = 19
	DescriptorMemfd      DescriptorType = 20
)

// Transport is the protocol of an internet socket, scap_l4_proto.
type Transport uint8

// Protocols that can be written.
const (
	TCP Transport = 2
	UDP Transport = 3
)

// Descriptor is an entry of a process's descriptor list. Which fields count depends on its type.
type Descriptor struct {
	FD            int64
	Type          DescriptorType
	Ino           uint64
	Name          string         // path
	Flags         uint32         // of DescriptorFile: PPM_O_*
	Dev           uint32         // of DescriptorFile
	Local, Remote netip.AddrPort // of internet sockets; a server's has no remote end
	Transport     Transport
	UnixSrc       uint64 // of a Unix socket: what tells its two ends from all others
	UnixDst       uint64
}

// Descriptors writes what the process of a thread had open.
func (c *Writer) Descriptors(tid int64, list []Descriptor) {
	c.begin(blockDescriptors)
	c.u64(uint64(tid))
	for i := range list {
		d := &list[i]
		c.beginEntry()
		c.u64(uint64(d.FD))
		c.u64(d.Ino)
		c.buf = append(c.buf, byte(d.Type))
		switch d.Type {
		case DescriptorIPv4, DescriptorIPv6:
			c.buf = append(c.buf, d.Local.Addr().AsSlice()...)
			c.buf = append(c.buf, d.Remote.Addr().AsSlice()...)
			c.u16(d.Local.Port())
			c.u16(d.Remote.Port())
			c.buf = append(c.buf, byte(d.Transport))
		case DescriptorIPv4Server, DescriptorIPv6Server:
			c.buf = append(c.buf, d.Local.Addr().AsSlice()...)
			c.u16(d.Local.Port())
			c.buf = append(c.buf, byte(d.Transport))
		case DescriptorUnix:
			c.u64(d.UnixSrc)
			c.u64(d.UnixDst)
			c.text(d.Name)
		case DescriptorFile:
			c.u32(d.Flags)
			c.text(d.Name)
			c.u32(d.Dev)
		default:
			c.text(d.Name)
		}
		c.endEntry(true)
	}
	c.end()
}

// Event is one event. Data is the parameters one after another, Lens the length of each.
type Event struct {
	CPU   uint16
	Time  uint64 // ns since the epoch
	TID   int64
	Type  uint16
	Large bool // parameter lengths of 32 bits, EF_LARGE_PAYLOAD
	Lens  []int
	Data  []byte
}

// Event writes an event, see scanner.event.
func (c *Writer) Event(e *Event) {
	kind, width := uint32(blockEventV2), 2
	if e.Large {
		kind, width = blockEventV2Large, 4
	}
	c.begin(kind)
	c.u16(e.CPU)
	c.u64(e.Time)
	c.u64(uint64(e.TID))
	c.u32(uint32(sizeEventV2 + width*len(e.Lens) + len(e.Data)))
	c.u16(e.Type)
	c.u32(uint32(len(e.Lens)))
	for _, n := range e.Lens {
		if e.Large {
			c.u32(uint32(n))
			continue
		}
		if n > math.MaxUint16 && c.err == nil {
			c.err = fmt.Errorf("write an event of type %d: a parameter of %d bytes, and %d fit", e.Type, n, math.MaxUint16)
		}
		c.u16(uint16(n))
	}
	c.buf = append(c.buf, e.Data...)
	c.end()
}

func (c *Writer) begin(kind uint32) {
	c.buf = c.buf[:0]
	c.u32(kind)
	c.u32(0) // the length, once it is known
}

func (c *Writer) end() {
	for len(c.buf)%4 != 0 {
		c.buf = append(c.buf, 0)
	}
	total := uint32(len(c.buf) + sizeTrailer)
	binary.LittleEndian.PutUint32(c.buf[4:], total)
	c.u32(total)
	if c.err != nil {
		return
	}
	n, err := c.w.Write(c.buf)
	c.size += int64(n)
	c.err = err
}

// beginEntry begins an entry that starts with its own length.
func (c *Writer) beginEntry() {
	c.start = len(c.buf)
	c.u32(0)
}

// endEntry fills in the length, which counts itself in some lists.
func (c *Writer) endEntry(itself bool) {
	n := len(c.buf) - c.start
	if !itself {
		n -= 4
	}
	binary.LittleEndian.PutUint32(c.buf[c.start:], uint32(n))
}

func (c *Writer) u16(v uint16) { c.buf = binary.LittleEndian.AppendUint16(c.buf, v) }
func (c *Writer) u32(v uint32) { c.buf = binary.LittleEndian.AppendUint32(c.buf, v) }
func (c *Writer) u64(v uint64) { c.buf = binary.LittleEndian.AppendUint64(c.buf, v) }

func (c *Writer) flag(v bool) {
	b := byte(0)
	if v {
		b = 1
	}
	c.buf = append(c.buf, b)
}

func (c *Writer) text(s string) {
	c.u16(uint16(len(s)))
	c.buf = append(c.buf, s...)
}

// list writes strings that each end with a NUL.
func (c *Writer) list(all []string) {
	size := 0
	for _, s := range all {
		size += len(s) + 1
	}
	c.u16(uint16(size))
	for _, s := range all {
		c.buf = append(append(c.buf, s...), 0)
	}
}

func nanoseconds(t time.Time) uint64 { return uint64(t.UnixNano()) }
