// Package script turns a written-down scene into a syscall capture: who runs where, which files and sockets they use, and
// when. Scripts are for what no machine can stage: thousands of containers, hours of small pieces, odd orders, lost events.
// The language is described in e2e/scripts/README.md.
package script

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
	"github.com/falco-datastaging/datastaging/e2e/internal/kernel"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// Extension is how the names of scripts end.
const Extension = ".script"

// Is reports whether a file is a script by its name.
func Is(path string) bool { return filepath.Ext(path) == Extension }

// MaxEvents is how many events a script may write; as a capture they take some 700 MB.
const MaxEvents = 5_000_000

// eventSize is what an event takes in a capture on average, in bytes, for figures in errors.
const eventSize = 140

// Script is a script that was read and checked.
type Script struct {
	file   string
	begin  time.Time
	step   time.Duration
	config kernel.Config
	before []node // what is there when the recording begins
	after  []node // what happens then
	events uint64 // at most
}

// Events is how many events the script writes, or a few more: calls that open what is not open yet count as if they had to.
func (s *Script) Events() uint64 { return s.events }

// Load reads a script from a file.
func Load(path string) (*Script, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read script: %w", err)
	}
	return Parse(path, source)
}

// Parse reads a script. The error joins all that is wrong with it, by file:line:column, in the order of the lines.
func Parse(file string, source []byte) (*Script, error) {
	s := &Script{
		file:  file,
		begin: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		step:  time.Millisecond,
		config: kernel.Config{
			Hostname: "node-1", CPUs: 2, Snaplen: 80, Seed: 1,
			Skew:  map[uint16]time.Duration{},
			Users: []capture.User{{Name: "root", Home: "/root", Shell: "/bin/sh"}},
		},
	}
	lines, errs := split(file, string(source))
	p := parser{script: s, lines: lines}
	p.parse()
	if errs = append(errs, p.errs...); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(s.config.Addrs) == 0 {
		s.config.Addrs = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, 1})}
	}
	s.config.Boot = s.begin.Add(-24 * time.Hour)
	var c counting
	told, err := c.all(s.before, nil)
	if err != nil {
		return nil, err
	}
	happens, err := c.all(s.after, nil)
	if err != nil {
		return nil, err
	}
	if s.events = add(told, happens); s.events > MaxEvents {
		return nil, s.tooMany(figure(s.events))
	}
	if happens == 0 {
		return nil, failAt(s.position(), "nothing happens in the script: write a step such as `start app in web runs /usr/bin/app`")
	}
	return s, nil
}

// position is that of the script as a whole.
func (s *Script) position() ruleset.Position {
	return ruleset.Position{File: s.file, Line: 1, Column: 1}
}

func (s *Script) tooMany(figure string) error {
	return failAt(s.position(), "the script writes %s, and %s are the most: repeat less often, or move more at a time",
		figure, humanize.Comma(MaxEvents))
}

// figure is a number of events for people.
func figure(events uint64) string {
	if events == math.MaxUint64 {
		return "more events than can be counted"
	}
	size := events * eventSize
	if events > math.MaxUint64/eventSize {
		size = math.MaxUint64
	}
	return fmt.Sprintf("%s events, about %s", humanize.Comma(int64(min(events, math.MaxInt64))), humanize.Bytes(size))
}

// Write plays the script and writes the capture, unpacked. The same script gives the same bytes.
func (s *Script) Write(w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 256<<10)
	out := capture.NewWriter(buffered)
	if err := s.play(out); err != nil {
		return err
	}
	err := out.Err()
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return fmt.Errorf("write the capture of %s: %w", s.file, err)
	}
	return nil
}
