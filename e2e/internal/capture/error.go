package capture

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

// Problem is what is wrong with a capture.
type Problem int

// What can be wrong with a capture.
const (
	Missing   Problem = iota + 1 // there is no such file
	Directory                    // it is a directory
	Empty                        // no bytes, or no events
	Foreign                      // it is something else than a capture
	Truncated                    // it ends in the middle; the events before the end are good
	Corrupt                      // its blocks make no sense from some place on
	TooNew                       // it holds what the engine does not know
)

// Error is a capture that an engine cannot read to its end.
type Error struct {
	Path    string
	Problem Problem
	Offset  int64  // byte of the file where the problem is; of the unpacked stream for Corrupt and TooNew
	Events  uint64 // complete events before it
	Detail  string // what was seen
	Err     error  // what the system said; may be nil

	good int64 // bytes of the unpacked stream up to the end of its last complete block
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	return fmt.Sprintf("read the capture %s: %s", e.Path, e.text())
}

func (e *Error) text() string {
	switch e.Problem {
	case Missing:
		return "no such file"
	case Directory:
		return "it is a directory: name a .scap file in it"
	case Empty:
		if e.Offset == 0 {
			return "the file is empty"
		}
		return "it holds no events"
	case Foreign:
		return "it is no syscall capture (.scap) but " + e.Detail
	case Truncated:
		detail := ""
		if e.Detail != "" {
			detail = " (" + e.Detail + ")"
		}
		return fmt.Sprintf("it is cut off at byte %d%s, after %d events: the end of the recording is missing; copy it again, "+
			"or stop the recorder before copying", e.Offset, detail, e.Events)
	case Corrupt:
		return fmt.Sprintf("it is damaged at byte %d, after %d events: %s", e.Offset, e.Events, e.Detail)
	case TooNew:
		return fmt.Sprintf("it is too new for this engine: after %d events it has %s", e.Events, e.Detail)
	}
	return "unknown problem"
}

// Salvage writes the good part of a capture that is Truncated, unpacked: what an engine reads to its end.
func (e *Error) Salvage(w io.Writer) error {
	f, err := os.Open(e.Path)
	if err != nil {
		return fmt.Errorf("salvage the capture: %w", err)
	}
	defer f.Close()
	r, _, err := unpack(bufio.NewReader(f))
	if err != nil {
		return fmt.Errorf("salvage the capture %s: %w", e.Path, err)
	}
	if _, err := io.CopyN(w, r, e.good); err != nil {
		return fmt.Errorf("salvage the capture %s: %w", e.Path, err)
	}
	return nil
}

// signatures are the first bytes of files that people take for captures.
var signatures = []struct {
	magic string
	what  string
}{
	{"\xD4\xC3\xB2\xA1", "a network capture (pcap)"},
	{"\xA1\xB2\xC3\xD4", "a network capture (pcap)"},
	{"\x4D\x3C\xB2\xA1", "a network capture (pcap)"},
	{"\xA1\xB2\x3C\x4D", "a network capture (pcap)"},
	{"\x1F\x8B", "gzip"},
	{"\x28\xB5\x2F\xFD", "zstd data: unpack it, engines read only gzip"},
	{"\xFD7zXZ\x00", "xz data: unpack it, engines read only gzip"},
	{"BZh", "bzip2 data: unpack it, engines read only gzip"},
	{"PK\x03\x04", "a zip archive: unpack it"},
	{"\x7FELF", "a program (ELF)"},
	{"version https://git-lfs", "a Git LFS pointer: fetch the file itself with git lfs pull"},
	{"{", "JSON text without audit events (audit.k8s.io/v1)"},
	{"[", "JSON text without audit events (audit.k8s.io/v1)"},
	{"#!", "a script"},
}

// looksLike names what a file is by its first bytes, after unpacking if it was gzip.
func looksLike(first []byte, unpacked bool) string {
	what := "data of an unknown format"
	switch {
	case len(first) > 262 && bytes.Equal(first[257:262], []byte("ustar")):
		what = "a tar archive: unpack it"
	case isText(first):
		what = "text"
	}
	for _, s := range signatures {
		if bytes.HasPrefix(first, []byte(s.magic)) {
			what = s.what
			break
		}
	}
	if unpacked {
		what = "gzip of " + what
	}
	return what
}

// isText says whether all of it is printable UTF-8; the last character may be cut off.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return !utf8.FullRune(b)
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		b = b[n:]
	}
	return true
}
