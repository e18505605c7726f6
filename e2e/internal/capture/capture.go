// Package capture checks capture files before an engine reads them. An engine that meets a capture it cannot read aborts,
// or worse, ends early without a word; Check says beforehand what is wrong and how far the capture is good.
//
// A capture (.scap) is a sequence of blocks in the layout of pcapng, possibly compressed with gzip as a whole:
//
//	| type u32 | total length u32 | body, padded to 4 bytes | total length u32 |
//
// First a section header, then what the machine looked like (machine, processes, file descriptors, interfaces, users),
// then one block an event. Integers are little-endian. See userspace/libscap/scap_savefile.h of falcosecurity/libs.
package capture

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Summary is what a capture holds.
type Summary struct {
	Events      uint64    // event blocks
	First, Last time.Time // of the earliest and the latest event
	Drops       uint64    // places where the driver says that it dropped events (PPME_DROP_E)
	Machine     Machine   // zero where the capture does not say
	Compressed  bool
}

// Machine is the machine that the capture was recorded on (scap_machine_info). A capture does not say which
// architecture it had.
type Machine struct {
	Hostname    string
	CPUs        uint32
	MemoryBytes uint64
	Boot        time.Time // zero where the recorder did not know
}

// Block types of scap_savefile.h. Each came in versions, and the first ones had unofficial numbers before that.
const (
	blockSection      = 0x0A0D0D0A
	blockMachine      = 0x201
	blockMachineOld   = 0x8002ABCD
	blockEvent        = 0x204
	blockEventOld     = 0x8010ABCD
	blockFlags        = 0x208 // an event with flags
	blockEventV2      = 0x216 // its header counts the parameters
	blockFlagsV2      = 0x217
	blockEventV2Large = 0x221 // parameter lengths of 32 bits
	blockFlagsV2Large = 0x222
	blockFirst        = 0x201 // the range that libscap numbers its blocks in
	blockLast         = 0x222 // the last one that every supported engine knows
	blockReserved     = 0x2FF
	blockOld          = 0x8000ABCD // the unofficial numbers: 0x80nnABCD
	blockOldMask      = 0xFF00FFFF
)

const (
	sectionMagic        = 0x1A2B3C4D
	sectionMagicSwapped = 0x4D3C2B1A
	formatMajor         = 1 // CURRENT_MAJOR_VERSION
)

// Sizes in bytes.
const (
	sizeHeader  = 8  // block type, total length
	sizeTrailer = 4  // total length again
	sizeSection = 16 // magic u32, major u16, minor u16, section length u64
	sizeMachine = 4 + 8 + 8 + 128 + 4*8
	sizeEventV1 = 8 + 8 + 4 + 2   // ts, tid, len, type
	sizeEventV2 = sizeEventV1 + 4 // nparams
	sizeCPU     = 2               // before every event
	sizeFlags   = 4               // after it, in blocks with flags
)

// eventDrop is PPME_DROP_E.
const eventDrop = 148

// Check reads the whole capture at path, as a stream, and says what it holds. What keeps an engine of these limits from
// reading it to its end is an *Error; then the summary covers what comes before.
func Check(ctx context.Context, path string, limits Limits) (Summary, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Summary{}, &Error{Path: path, Problem: Missing, Err: err}
	}
	if err != nil {
		return Summary{}, fmt.Errorf("open the capture: %w", err)
	}
	if info.IsDir() {
		return Summary{}, &Error{Path: path, Problem: Directory}
	}
	f, err := os.Open(path)
	if err != nil {
		return Summary{}, fmt.Errorf("open the capture: %w", err)
	}
	defer f.Close()
	sum, err := Read(&ctxReader{ctx: ctx, r: f}, limits)
	var problem *Error
	if errors.As(err, &problem) {
		problem.Path = path
	} else if err != nil {
		err = fmt.Errorf("read the capture %s: %w", path, err)
	}
	return sum, err
}

// ctxReader ends with the context's error.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Read is Check on a stream. An *Error that it gives has no path.
func Read(r io.Reader, limits Limits) (Summary, error) {
	file := &counter{r: r}
	raw := bufio.NewReader(file)
	if _, err := raw.Peek(1); err == io.EOF {
		return Summary{}, &Error{Problem: Empty}
	} else if err != nil {
		return Summary{}, err
	}
	stream, compressed, err := unpack(raw)
	if err != nil {
		return Summary{}, &Error{Problem: Truncated, Offset: file.n, Detail: "within the gzip header"}
	}
	s := scanner{r: bufio.NewReaderSize(stream, 64<<10), limits: limits, sum: Summary{Compressed: compressed}}
	err = s.scan()
	var problem *Error
	if errors.As(err, &problem) && problem.Problem == Truncated && compressed {
		problem.Detail = fmt.Sprintf("byte %d when unpacked", problem.Offset)
		problem.Offset = file.n
	}
	return s.sum, err
}

// unpack reads a stream that may be gzip. An error is a damaged gzip header.
func unpack(r *bufio.Reader) (stream io.Reader, compressed bool, err error) {
	if !startsGzip(r) {
		return r, false, nil
	}
	zr, err := gzip.NewReader(r)
	if err != nil {
		return nil, true, err
	}
	zr.Multistream(false)
	return &unzipper{r: r, zr: zr}, true, nil
}

func startsGzip(r *bufio.Reader) bool {
	magic, _ := r.Peek(2)
	return bytes.Equal(magic, []byte{0x1F, 0x8B})
}

// unzipper reads gzip as zlib, and with it libscap, does: member after member, passing over what follows the last one and is
// no gzip.
type unzipper struct {
	r  *bufio.Reader
	zr *gzip.Reader
}

func (u *unzipper) Read(p []byte) (int, error) {
	for {
		n, err := u.zr.Read(p)
		if n > 0 && errors.Is(err, io.EOF) {
			return n, nil // the end comes with the next call
		}
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if !startsGzip(u.r) {
			return 0, io.EOF
		}
		if err := u.zr.Reset(u.r); err != nil {
			return 0, err
		}
		u.zr.Multistream(false)
	}
}

// counter counts the bytes read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// scanner walks the blocks.
type scanner struct {
	r      *bufio.Reader
	off    int64 // of the next byte of the unpacked stream
	good   int64 // end of the last complete block
	scap   bool  // a block was seen that no other format has
	limits Limits
	sum    Summary
}

// scan reads blocks to the end of the stream.
func (s *scanner) scan() error {
	for {
		start := s.off
		head, err := s.r.Peek(sizeHeader)
		if len(head) == 0 && err == io.EOF {
			if s.sum.Events == 0 {
				return &Error{Problem: Empty, Offset: start}
			}
			return nil
		}
		if err == nil || err == io.EOF {
			// The first bytes decide before their number does: a short text is foreign, not cut off.
			if start == 0 && !isPrefix(head, blockSection) {
				first, _ := s.r.Peek(512)
				return &Error{Problem: Foreign, Detail: looksLike(first, s.sum.Compressed)}
			}
		}
		if err != nil {
			return s.short(err)
		}
		kind := binary.LittleEndian.Uint32(head)
		total := binary.LittleEndian.Uint32(head[4:])
		if total < sizeHeader+sizeTrailer {
			return s.corrupt(start, "a block of %d bytes, less than its own header", total)
		}
		if err := s.skip(sizeHeader); err != nil {
			return err
		}
		if err := s.block(kind, int64(total)-sizeHeader-sizeTrailer, start); err != nil {
			return err
		}
		if err := s.skip(start + int64(total) - sizeTrailer - s.off); err != nil {
			return err
		}
		trailer, err := s.r.Peek(sizeTrailer)
		if err != nil {
			return s.short(err)
		}
		if got := binary.LittleEndian.Uint32(trailer); got != total {
			return s.corrupt(start, "a block that says %d bytes at its start and %d at its end", total, got)
		}
		if err := s.skip(sizeTrailer); err != nil {
			return err
		}
		s.good = s.off
		if isEvent(kind) {
			s.sum.Events++
		}
	}
}

// isPrefix says whether head holds the first bytes of kind, as many as there are.
func isPrefix(head []byte, kind uint32) bool {
	want := binary.LittleEndian.AppendUint32(nil, kind)
	n := min(len(head), len(want))
	return bytes.Equal(head[:n], want[:n])
}

func isEvent(kind uint32) bool {
	switch kind {
	case blockEvent, blockEventOld, blockFlags, blockEventV2, blockFlagsV2, blockEventV2Large, blockFlagsV2Large:
		return true
	}
	return false
}

// block looks at the body of a block of size bytes; start is where the block begins. It need not read the body whole.
func (s *scanner) block(kind uint32, size, start int64) error {
	switch {
	case kind == blockSection:
		return s.section(size, start)
	case kind == blockMachine || kind == blockMachineOld:
		return s.machine(size, start)
	case isEvent(kind):
		return s.event(kind, size, start)
	case kind >= blockFirst && kind <= blockLast || kind&blockOldMask == blockOld:
		s.scap = true // processes, file descriptors, interfaces, users
		return nil
	case kind > blockLast && kind <= blockReserved:
		return s.tooNew(start, "block type 0x%x, and this engine's libs %s knows block types up to 0x%x", kind, s.limits.Libs, blockLast)
	case !s.scap && kind < blockFirst:
		return &Error{Problem: Foreign, Detail: "a network capture (pcapng)"} // pcapng's section header is the same
	}
	return s.corrupt(start, "a block of the unknown type 0x%x", kind)
}

func (s *scanner) section(size, start int64) error {
	if size < sizeSection {
		return s.corrupt(start, "a section header of %d bytes, want %d or more", size, sizeSection)
	}
	b, err := s.r.Peek(sizeSection)
	if err != nil {
		return s.short(err)
	}
	switch magic := binary.LittleEndian.Uint32(b); magic {
	case sectionMagic:
	case sectionMagicSwapped:
		return &Error{Problem: Foreign, Detail: "a capture of a big-endian machine"}
	default:
		return s.corrupt(start, "the magic number 0x%08x, want 0x%08x", magic, sectionMagic)
	}
	if major := binary.LittleEndian.Uint16(b[4:]); major > formatMajor {
		return s.tooNew(start, "version %d.%d of the capture format, and this engine knows versions up to %d",
			major, binary.LittleEndian.Uint16(b[6:]), formatMajor)
	}
	return nil
}

// machine reads scap_machine_info:
//
//	| num_cpus u32 | memory u64 | max_pid u64 | hostname [128]byte | boot_ts u64 | flags u64 | reserved 2 x u64 |
func (s *scanner) machine(size, start int64) error {
	if size < sizeMachine {
		return s.corrupt(start, "a machine block of %d bytes, want %d", size, sizeMachine)
	}
	s.scap = true
	b, err := s.r.Peek(sizeMachine)
	if err != nil {
		return s.short(err)
	}
	name, _, _ := bytes.Cut(b[20:148], []byte{0})
	s.sum.Machine = Machine{
		Hostname:    string(name),
		CPUs:        binary.LittleEndian.Uint32(b),
		MemoryBytes: binary.LittleEndian.Uint64(b[4:]),
	}
	if boot := binary.LittleEndian.Uint64(b[148:]); boot != 0 {
		s.sum.Machine.Boot = timeOf(boot)
	}
	return nil
}

// event reads the header of an event:
//
//	| cpu u16 | flags u32, in blocks with flags | ts u64 | tid u64 | len u32 | type u16 | nparams u32, since v2 | ...
func (s *scanner) event(kind uint32, size, start int64) error {
	at, want := sizeCPU, sizeEventV1
	if kind == blockFlags || kind == blockFlagsV2 || kind == blockFlagsV2Large {
		at += sizeFlags
	}
	counted := kind != blockEvent && kind != blockEventOld && kind != blockFlags
	if counted {
		want = sizeEventV2
	}
	if size < int64(at+want) {
		return s.corrupt(start, "an event block of %d bytes, too short for an event", size)
	}
	b, err := s.r.Peek(at + want)
	if err != nil {
		return s.short(err)
	}
	b = b[at:]
	ts, length, typ := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[16:]), binary.LittleEndian.Uint16(b[20:])
	if int64(length) > size-int64(at) {
		return s.corrupt(start, "an event of %d bytes in a block that has %d for it", length, size-int64(at))
	}
	nparams := uint32(0) // of an old event; it has no more than a new one
	if counted {
		nparams = binary.LittleEndian.Uint32(b[22:])
	}
	if detail := s.limits.refuse(typ, nparams); detail != "" {
		return s.tooNew(start, "%s", detail)
	}
	s.scap = true
	t := timeOf(ts)
	if s.sum.First.IsZero() || t.Before(s.sum.First) {
		s.sum.First = t
	}
	if t.After(s.sum.Last) {
		s.sum.Last = t
	}
	if typ == eventDrop {
		s.sum.Drops++
	}
	return nil
}

// timeOf converts nanoseconds since the epoch.
func timeOf(ns uint64) time.Time {
	return time.Unix(int64(ns/1e9), int64(ns%1e9)).UTC()
}

// skip passes over n bytes.
func (s *scanner) skip(n int64) error {
	for n > 0 {
		got, err := s.r.Discard(int(min(n, 1<<30)))
		s.off += int64(got)
		n -= int64(got)
		if err != nil {
			return s.short(err)
		}
	}
	return nil
}

// short turns the end of the stream within a block into its error.
func (s *scanner) short(err error) error {
	var damaged flate.CorruptInputError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Problem: Truncated, Offset: s.off + int64(s.r.Buffered()), Events: s.sum.Events, good: s.good}
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.As(err, &damaged):
		return s.corrupt(s.off, "damaged gzip data (%v)", err)
	}
	return err
}

func (s *scanner) corrupt(offset int64, format string, args ...any) error {
	return &Error{Problem: Corrupt, Offset: offset, Events: s.sum.Events, Detail: fmt.Sprintf(format, args...)}
}

func (s *scanner) tooNew(offset int64, format string, args ...any) error {
	return &Error{Problem: TooNew, Offset: offset, Events: s.sum.Events, Detail: fmt.Sprintf(format, args...)}
}
