package baseline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// The layout of a file. Integers are unsigned varints (encoding/binary) unless their size is given; those are little
// endian. A string is its length and its bytes. Minutes are counted since the epoch.
//
//	+---------+-----------+----------+-----------+----------+     +----------+------------+
//	| magic 8 | version 2 |  schema  | n digests | digest 1 | ... | digest n | checksum 8 |
//	+---------+-----------+----------+-----------+----------+     +----------+------------+
//	  "dsbaseln"            string                                             XXH64 of all before, in every version
//
//	digest   node string | generation 8 | n included | (node string | generation 8)... |
//	         n records | size of records | size compressed | records, one zstd frame
//	record   size | workload string | image string | first minute | last - first | age | age later, in minutes |
//	         n quarantined by 4 reasons | history | hours: bitmap | history of each hour | sets | seen
//	history  series of the reference | series of later
//	series   windows | bitmap of metrics | sketch of each
//	sketch   n bins | (index - index of the bin before | count)...
//	sets     bitmap of dimensions | set of each
//	set      form 1 | n | strings, if listed, or 8-byte hashes | n | (string | first minute | last - first)...
//	seen     n runs | (from - end of the run before | length)...
//
// A format of our own, because every count that is read is bounded by the bytes that remain, which the sketch library's
// decoders do not do, and because it makes a bin two to three bytes. Digests are compressed each on its own, so merging
// files copies them unread.
const (
	magic       = "dsbaseln"
	version     = 1
	checksumLen = 8

	maxRecords = 256 << 20 // bytes of a digest's records
)

// schema names what the numbers in a file mean.
var schema = fmt.Sprintf("minutes; ddsketch %v; metrics %s; dimensions %s", accuracy,
	strings.Join(metricNames[:], " "), strings.Join(dimensionNames[:], " "))

// Errors that a caller may want to tell apart.
var (
	ErrDamaged = errors.New("the baseline is damaged")
	ErrVersion = errors.New("the baseline is of another version")
	ErrSchema  = errors.New("the baseline is of another schema")
	ErrOverlap = errors.New("the baselines count a node twice")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// node says whose a digest is and of when.
type node struct {
	id         string
	generation uint64 // ns since the epoch of the save, by the wall clock
}

// digest is what one node learned, or several of them folded into one.
type digest struct {
	node
	includes   []node // of a folded one, sorted by id
	numRecords int
	size       int    // of the records before compression
	compressed []byte // records sorted by workload
}

// writer appends to buf.
type writer struct{ buf []byte }

func (w *writer) uint(n uint64) { w.buf = binary.AppendUvarint(w.buf, n) }

func (w *writer) fixed(n uint64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, n) }

func (w *writer) text(s string) {
	w.uint(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

// reader reads buf. After the first error it reads zeros.
type reader struct {
	buf []byte
	end int // where buf ends in the whole, for errors
	err error
}

func (r *reader) at() int { return r.end - len(r.buf) }

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = damaged("%s at byte %d", what, r.at())
		r.buf = nil
	}
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.buf)
	if size <= 0 {
		r.fail("not a number")
		return 0
	}
	r.buf = r.buf[size:]
	return n
}

// upTo reads a number that may not exceed a limit.
func (r *reader) upTo(limit uint64) uint64 {
	n := r.uint()
	if n > limit {
		r.fail("a number too large")
		return 0
	}
	return n
}

// count reads how many things follow, each of which takes at least size bytes.
func (r *reader) count(size int) int { return int(r.upTo(uint64(len(r.buf) / size))) }

// few reads a count that has a limit of its own as well.
func (r *reader) few(size, limit int) int {
	return int(r.upTo(uint64(min(len(r.buf)/size, limit))))
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.buf) {
		r.fail("an end too early")
		return nil
	}
	b := r.buf[:n]
	r.buf = r.buf[n:]
	return b
}

func (r *reader) fixed() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) text() string { return string(r.bytes(r.count(1))) }

func (r *reader) minute() minute { return minute(r.upTo(math.MaxUint32)) }

// Encode returns the file's bytes, the same for equal files.
func (f *File) Encode() []byte {
	w := writer{buf: make([]byte, 0, f.encodedSize())}
	w.buf = append(w.buf, magic...)
	w.buf = binary.LittleEndian.AppendUint16(w.buf, version)
	w.text(schema)
	w.uint(uint64(len(f.digests)))
	for i := range f.digests {
		f.digests[i].encode(&w)
	}
	w.fixed(xxhash.Sum64(w.buf))
	return w.buf
}

func (f *File) encodedSize() int {
	size := len(magic) + len(schema) + 32
	for i := range f.digests {
		size += len(f.digests[i].compressed) + 128 + 64*len(f.digests[i].includes)
	}
	return size
}

// Decode reads a file's bytes. Its errors are ErrDamaged, ErrVersion or ErrSchema with what is wrong.
func Decode(buf []byte) (*File, error) {
	switch {
	case len(buf) == 0:
		return nil, damaged("it is empty")
	case !bytes.HasPrefix(buf, []byte(magic)):
		return nil, damaged("not a baseline file, for it begins with %q and not with %q", buf[:min(len(buf), len(magic))], magic)
	case len(buf) < len(magic)+2+checksumLen:
		return nil, damaged("it ends after %d bytes", len(buf))
	}
	body := buf[:len(buf)-checksumLen]
	if sum := binary.LittleEndian.Uint64(buf[len(body):]); sum != xxhash.Sum64(body) {
		return nil, damaged("its checksum is wrong%s", suspect(body))
	}
	if v := binary.LittleEndian.Uint16(body[len(magic):]); v != version {
		return nil, fmt.Errorf("%w: it has version %d, this program reads version %d; use the program that wrote it or a newer one", ErrVersion, v, version)
	}
	r := reader{buf: body[len(magic)+2:], end: len(body)}
	if got := r.text(); r.err == nil && got != schema {
		return nil, fmt.Errorf("%w: it holds %q, this program reads %q; learn it anew", ErrSchema, got, schema)
	}
	f := &File{digests: make([]digest, r.count(16))}
	for i := range f.digests {
		f.digests[i].decode(&r)
		if i > 0 && f.digests[i-1].id >= f.digests[i].id {
			r.fail("nodes out of order")
		}
	}
	if r.err == nil && len(r.buf) > 0 {
		r.fail("more than was announced")
	}
	if r.err != nil {
		return nil, r.err
	}
	return f, nil
}

// suspect says where a file whose checksum is wrong is damaged, as far as that shows.
func suspect(body []byte) string {
	r := reader{buf: body[len(magic)+2:], end: len(body)}
	if binary.LittleEndian.Uint16(body[len(magic):]) != version || r.text() != schema && r.err == nil {
		return ""
	}
	for range r.count(16) {
		var d digest
		d.decode(&r)
		if r.err != nil {
			break
		}
		if _, err := d.records(); err != nil {
			return fmt.Sprintf("; the damage is in bytes %d to %d, what node %q learned", r.at()-len(d.compressed), r.at(), d.id)
		}
	}
	if r.err != nil {
		return ";" + strings.TrimPrefix(r.err.Error(), ErrDamaged.Error()+":") + " of " + strconv.Itoa(len(body)+checksumLen)
	}
	return ""
}

func (d *digest) encode(w *writer) {
	w.text(d.id)
	w.fixed(d.generation)
	w.uint(uint64(len(d.includes)))
	for _, n := range d.includes {
		w.text(n.id)
		w.fixed(n.generation)
	}
	w.uint(uint64(d.numRecords))
	w.uint(uint64(d.size))
	w.uint(uint64(len(d.compressed)))
	w.buf = append(w.buf, d.compressed...)
}

func (d *digest) decode(r *reader) {
	d.id, d.generation = r.text(), r.fixed()
	if n := r.count(9); n > 0 {
		d.includes = make([]node, n)
	}
	for i := range d.includes {
		d.includes[i] = node{r.text(), r.fixed()}
	}
	d.numRecords = int(r.upTo(maxRecords))
	d.size = int(r.upTo(maxRecords))
	d.compressed = slices.Clone(r.bytes(r.count(1)))
}

// newDigest makes a digest of encoded records, which are sorted by workload.
func newDigest(n node, includes []node, numRecords int, records []byte) (digest, error) {
	if len(records) > maxRecords {
		return digest{}, fmt.Errorf("encode baseline: %d workloads take %d bytes; a node's may take %d", numRecords, len(records), maxRecords)
	}
	// Saves are minutes apart, so the encoder is not kept; its window is kept small for the same reason.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(256<<10))
	if err != nil {
		return digest{}, fmt.Errorf("encode baseline: %w", err)
	}
	return digest{node: n, includes: includes, numRecords: numRecords, size: len(records), compressed: e.EncodeAll(records, nil)}, nil
}

// newDigestOf makes a digest of records sorted by workload.
func newDigestOf(n node, includes []node, records []*record) (digest, error) {
	var w writer
	for _, r := range records {
		r.encode(&w)
	}
	return newDigest(n, includes, len(records), w.buf)
}

// records decodes a digest's records.
func (d *digest) records() ([]*record, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRecords))
	if err != nil {
		return nil, fmt.Errorf("decode baseline: %w", err)
	}
	defer z.Close()
	buf, err := z.DecodeAll(d.compressed, nil)
	if err != nil {
		return nil, damaged("node %s: %v", d.id, err)
	}
	if len(buf) != d.size {
		return nil, damaged("node %s: %d bytes of records, not %d", d.id, len(buf), d.size)
	}
	r := reader{buf: buf, end: len(buf)}
	var records []*record
	for range min(d.numRecords, len(buf)) {
		record := decodeRecord(&r)
		if n := len(records); n > 0 && records[n-1].workload >= record.workload {
			r.fail("workloads out of order")
		}
		if r.err != nil {
			return nil, fmt.Errorf("records of node %s: %w", d.id, r.err)
		}
		records = append(records, record)
	}
	if len(r.buf) > 0 || len(records) != d.numRecords {
		return nil, damaged("node %s: %d records, not %d", d.id, len(records), d.numRecords)
	}
	return records, nil
}

func (r *record) encode(w *writer) {
	// The size goes before the record; one of four bytes fits every record, so it is written last and in place.
	start := len(w.buf)
	w.buf = append(w.buf, 0, 0, 0, 0)
	w.text(r.workload)
	w.text(r.image)
	w.uint(uint64(r.first))
	w.uint(uint64(r.last - r.first))
	w.uint(uint64(r.age))
	w.uint(uint64(r.laterAge))
	for _, n := range r.quarantined {
		w.uint(n)
	}
	r.day.encode(w)
	var hours uint64
	for h, history := range r.hours {
		if history != nil {
			hours |= 1 << h
		}
	}
	w.uint(hours)
	for _, h := range r.hours {
		if h != nil {
			h.encode(w)
		}
	}
	var dimensions uint64
	for d := range r.sets {
		if !r.sets[d].empty() {
			dimensions |= 1 << d
		}
	}
	w.uint(dimensions)
	for d := range r.sets {
		if !r.sets[d].empty() {
			r.sets[d].encode(w)
		}
	}
	runs := r.seen.closed()
	w.uint(uint64(len(runs)))
	end := minute(0)
	for _, run := range runs {
		w.uint(uint64(run.from - end))
		w.uint(uint64(run.to - run.from))
		end = run.to
	}
	binary.LittleEndian.PutUint32(w.buf[start:], uint32(len(w.buf)-start-4))
}

func decodeRecord(r *reader) *record {
	out := &record{}
	size := 0
	if b := r.bytes(4); b != nil {
		size = int(binary.LittleEndian.Uint32(b))
	}
	in := reader{buf: r.bytes(size)}
	in.end, in.err = r.at(), r.err
	out.workload, out.image = in.text(), in.text()
	out.first = in.minute()
	out.last = out.first + minute(in.upTo(uint64(math.MaxUint32-out.first)))
	out.age, out.laterAge = in.minute(), in.minute()
	for i := range out.quarantined {
		out.quarantined[i] = in.uint()
	}
	out.day.decode(&in)
	for h, hours := 0, in.upTo(1<<hoursPerDay-1); hours > 0; h, hours = h+1, hours>>1 {
		if hours&1 != 0 {
			out.hour(h).decode(&in)
		}
	}
	for d, dimensions := 0, in.upTo(1<<NumDimensions-1); dimensions > 0; d, dimensions = d+1, dimensions>>1 {
		if dimensions&1 != 0 {
			out.sets[d].decode(&in)
		}
	}
	end := uint64(0)
	for i := range in.few(2, maxRuns) {
		from := end + in.upTo(math.MaxUint32-end)
		end = from + in.upTo(math.MaxUint32-from)
		if in.err != nil {
			break
		}
		if end == from || i > 0 && from == uint64(out.seen.runs[i-1].to) {
			in.fail("runs that are empty or touch")
			break
		}
		out.seen.runs = append(out.seen.runs, run{minute(from), minute(end)})
	}
	if in.err == nil && len(in.buf) > 0 {
		in.fail("a record longer than what it holds")
	}
	if r.err == nil {
		r.err = in.err
	}
	return out
}

func (h *history) encode(w *writer) {
	h.reference.encode(w)
	h.later.encode(w)
}

func (h *history) decode(r *reader) {
	h.reference.decode(r)
	h.later.decode(r)
}

func (s *series) encode(w *writer) {
	w.uint(s.windows)
	var metrics uint64
	for m := range s.sketches {
		if s.sketches[m] != nil {
			metrics |= 1 << m
		}
	}
	w.uint(metrics)
	for _, sketch := range s.sketches {
		if sketch == nil {
			continue
		}
		w.uint(uint64(len(sketch.bins)))
		before := uint16(0)
		for _, b := range sketch.bins {
			w.uint(uint64(b.index - before))
			w.uint(uint64(b.count))
			before = b.index
		}
	}
}

func (s *series) decode(r *reader) {
	s.windows = r.uint()
	for m, metrics := 0, r.upTo(1<<NumMetrics-1); metrics > 0; m, metrics = m+1, metrics>>1 {
		if metrics&1 != 0 {
			s.sketch(m).decode(r)
		}
	}
}

func (s *sketch) decode(r *reader) {
	n := r.count(2)
	if n == 0 {
		return
	}
	s.bins = make([]bin, n)
	before := uint64(0)
	for i := range s.bins {
		index := before + r.upTo(maxIndex-before)
		count := r.upTo(math.MaxUint32)
		if i > 0 && index == before || count == 0 {
			r.fail("a bin that is empty or out of order")
		}
		if r.err != nil {
			return
		}
		s.bins[i] = bin{uint16(index), uint32(count)}
		s.count += count
		before = index
	}
}

func (s *set) empty() bool { return s.form == listed && len(s.values) == 0 && len(s.trial) == 0 }

func (s *set) encode(w *writer) {
	w.buf = append(w.buf, byte(s.form))
	w.uint(uint64(len(s.values) + len(s.hashes)))
	for _, v := range s.values {
		w.text(v)
	}
	for _, h := range s.hashes {
		w.fixed(h)
	}
	w.uint(uint64(len(s.trial)))
	for _, c := range s.trial {
		w.text(c.value)
		w.uint(uint64(c.first))
		w.uint(uint64(c.last - c.first))
	}
}

func (s *set) decode(r *reader) {
	if b := r.bytes(1); b != nil {
		s.form = form(b[0])
	}
	switch s.form {
	case listed:
		for range r.few(1, maxListed) {
			s.values = append(s.values, r.text())
		}
		if !ascending(s.values) {
			r.fail("values out of order")
		}
	case hashed:
		for range r.few(8, maxHashed) {
			s.hashes = append(s.hashes, r.fixed())
		}
		if !ascending(s.hashes) {
			r.fail("hashes out of order")
		}
	case full:
		r.upTo(0)
	default:
		r.fail("an unknown form of set")
	}
	for range r.few(3, maxTrial) {
		c := candidate{value: r.text(), first: r.minute()}
		c.last = c.first + minute(r.upTo(uint64(math.MaxUint32-c.first)))
		if k := len(s.trial); k > 0 && s.trial[k-1].value >= c.value {
			r.fail("candidates out of order")
		}
		s.trial = append(s.trial, c)
	}
}

func ascending[T string | uint64](values []T) bool {
	for i := 1; i < len(values); i++ {
		if values[i-1] >= values[i] {
			return false
		}
	}
	return true
}

// equal reports whether two digests are of the same save.
func (d *digest) equal(o *digest) bool {
	return d.node == o.node && bytes.Equal(d.compressed, o.compressed) && slices.Equal(d.includes, o.includes)
}
