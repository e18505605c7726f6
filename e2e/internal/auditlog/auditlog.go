// Package auditlog reads logs of Kubernetes audit events (audit.k8s.io/v1), as kube-apiserver writes them to a file or posts
// them to a webhook: JSON lines, each an Event, an EventList or an array of these. What counts as an event is what counts as
// one for Falco's k8saudit plugin: an object with a stageTimestamp, of whatever version. Whatever else a line holds is told
// and passed over.
package auditlog

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Source is the event source of audit events in Falco.
const Source = "k8s_audit"

// Event is one audit event.
type Event struct {
	Line int       // of the log, from 1
	Time time.Time // stageTimestamp
	JSON []byte    // the event on one line, without a line end; an item of a list has no kind and apiVersion of its own
}

// LineError is a line, or an item of one, that holds no audit event.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// MaxLine is how long a line may be, in bytes. kube-apiserver takes requests of 3 MiB and posts batches of 10 MiB unless it is
// told otherwise.
const MaxLine = 64 << 20

// Reader reads the events of a log.
type Reader struct {
	in    *bufio.Reader
	line  int
	items []item // what is left of the line
}

type item struct {
	event Event
	err   error
}

// NewReader reads a log, which may be compressed with gzip. The error is a damaged gzip header.
func NewReader(r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1F, 0x8B}) {
		zr, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = bufio.NewReaderSize(zr, 64<<10)
	}
	return &Reader{in: in}, nil
}

// Next returns the next event, or io.EOF after the last. After a *LineError there may be more events, after any other error
// there are none.
func (r *Reader) Next() (Event, error) {
	for len(r.items) == 0 {
		line, err := r.readLine()
		if err != nil {
			return Event{}, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			r.items = r.appendItems(nil, line)
		}
	}
	next := r.items[0]
	r.items = r.items[1:]
	if next.err != nil {
		return Event{}, &LineError{r.line, next.err}
	}
	return next.event, nil
}

// readLine reads a line of at most MaxLine bytes. The last one may lack its line end.
func (r *Reader) readLine() ([]byte, error) {
	r.line++
	var line []byte
	tooLong := false
	for {
		part, err := r.in.ReadSlice('\n')
		if tooLong = tooLong || len(line)+len(part) > MaxLine; !tooLong {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(line) == 0 && !tooLong):
			return nil, err
		case tooLong:
			return nil, &LineError{r.line, fmt.Errorf("longer than %d bytes", MaxLine)}
		}
		return line, nil
	}
}

// appendItems appends what a JSON text holds. Every text gives an event or an error, or is an empty array or list.
func (r *Reader) appendItems(items []item, text []byte) []item {
	if text[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(text, &list); err != nil {
			return append(items, item{err: notJSON(err)})
		}
		for _, element := range list {
			items = r.appendItems(items, element)
		}
		return items
	}
	var object struct {
		Kind  string
		Items []json.RawMessage
	}
	var wrongType *json.UnmarshalTypeError
	switch err := json.Unmarshal(text, &object); {
	case errors.As(err, &wrongType):
		return append(items, item{err: errors.New("no audit event: want an Event or EventList of audit.k8s.io/v1")})
	case err != nil:
		return append(items, item{err: notJSON(err)})
	case object.Kind == "Event":
		return append(items, r.parse(text))
	case object.Kind == "EventList":
		for _, element := range object.Items {
			items = append(items, r.parse(element))
		}
		return items
	}
	return append(items, item{
		err: fmt.Errorf("no audit event but kind %q: want an Event or EventList of audit.k8s.io/v1", object.Kind),
	})
}

func notJSON(err error) error {
	return fmt.Errorf("no JSON: %w; write each event or list on one line", err)
}

// maxDepth is how deep the objects and arrays of an event may lie in each other. k8saudit parses 300 levels, and counts the
// list around an event and the value in its innermost object.
const maxDepth = 297

// depth is how deep objects and arrays lie in each other in a JSON text.
func depth(text []byte) int {
	deepest, level, quoted := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++ // only strings have it
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// parse reads one event, of a list or by itself.
func (r *Reader) parse(text []byte) item {
	var object struct {
		StageTimestamp *string
	}
	if err := json.Unmarshal(text, &object); err != nil || object.StageTimestamp == nil {
		return item{err: errors.New("an event without a stageTimestamp")}
	}
	at, err := time.Parse(time.RFC3339Nano, *object.StageTimestamp)
	if err != nil {
		return item{err: fmt.Errorf("an event whose stageTimestamp %q is no time as RFC 3339 writes it", *object.StageTimestamp)}
	}
	if levels := depth(text); levels > maxDepth {
		return item{err: fmt.Errorf("an event of %d levels, and k8saudit parses %d", levels, maxDepth)}
	}
	return item{event: Event{Line: r.line, Time: at.UTC(), JSON: text}}
}

// Span is the time of the earliest and of the latest event of the log at path. Lines that hold none are passed over.
func Span(path string) (first, last time.Time, err error) {
	f, err := os.Open(path)
	if err != nil {
		return first, last, fmt.Errorf("open the audit log: %w", err)
	}
	defer f.Close()
	r, err := NewReader(f)
	for err == nil {
		var e Event
		e, err = r.Next()
		var line *LineError
		switch {
		case errors.As(err, &line):
			err = nil
		case err != nil:
		case first.IsZero():
			first, last = e.Time, e.Time
		case e.Time.Before(first):
			first = e.Time
		case e.Time.After(last):
			last = e.Time
		}
	}
	if !errors.Is(err, io.EOF) {
		return first, last, fmt.Errorf("read the audit log %s: %w", path, err)
	}
	return first, last, nil
}

// headSize is how much of a file is looked at to tell whether it is a log. The first keys of an event are its kind and
// apiVersion.
const headSize = 64 << 10

// Is tells whether the file at path is a log of audit events, by its first bytes, unpacked where they are gzip: they name the
// API group, and do not begin a syscall capture, which may hold the name too. Its first lines may be damaged, as in a log that
// was rotated within a line.
func Is(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	r, err := NewReader(f)
	if err != nil {
		return false, nil // gzip that cannot be read is no log
	}
	head := make([]byte, headSize)
	n, err := io.ReadFull(r.in, head)
	if n == 0 && !errors.Is(err, io.EOF) {
		return false, err
	}
	head = head[:n]
	return bytes.Contains(head, []byte("audit.k8s.io/")) && !bytes.HasPrefix(head, []byte("\n\r\r\n")), nil
}
