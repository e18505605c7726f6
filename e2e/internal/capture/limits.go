package capture

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits is what an engine's libs (falcosecurity/libs) can read.
type Limits struct {
	Libs string // version, such as "0.23.2"
	// Events is one more than the highest event type that it knows (PPM_EVENT_MAX); 0 for no limit.
	Events uint16
	// Params is the number of parameters of the event types that later libs gave more. libscap aborts where an event has
	// more parameters than its own table says.
	Params map[uint16]uint32
}

// eventTables are the libs whose table of events grew, oldest first (driver/ppm_events_public.h and event_table.c). The
// parameters are only those of event types that existed before.
var eventTables = []struct {
	libs   minor
	schema string // driver/SCHEMA_VERSION
	events uint16 // PPM_EVENT_MAX
	params map[uint16]uint32
}{
	{minor{0, 22}, "4.0", 430, map[uint16]uint32{19: 4, 151: 3, 293: 30}}, // socket, fcntl, execve exit
	{minor{0, 23}, "4.1", 430, map[uint16]uint32{293: 31}},
	{minor{0, 24}, "4.3", 450, nil},
	{minor{0, 25}, "4.5", 454, map[uint16]uint32{19: 5, 151: 4}},
}

// LimitsOf gives the limits of a version of libs. A version later than every known one has no limits.
func LimitsOf(libs string) Limits {
	l := Limits{Libs: libs, Params: map[uint16]uint32{}}
	v, err := parseMinor(libs)
	if err != nil || eventTables[len(eventTables)-1].libs.before(v) {
		return Limits{Libs: libs}
	}
	for i, t := range eventTables {
		if i > 0 && v.before(t.libs) {
			break
		}
		l.Events = t.events
		for typ, n := range t.params {
			l.Params[typ] = n
		}
	}
	return l
}

// refuse says why an event is too new, naming both versions; empty when it is not.
func (l Limits) refuse(typ uint16, nparams uint32) string {
	known, limited := l.Params[typ]
	switch {
	case l.Events != 0 && typ >= l.Events:
		return fmt.Sprintf("event type %d, recorded %s; this engine's libs %s knows event types up to %d",
			typ, recorder(typ, nparams), l.Libs, l.Events-1)
	case limited && nparams > known:
		return fmt.Sprintf("event type %d with %d parameters, recorded %s; this engine's libs %s knows %d of them",
			typ, nparams, recorder(typ, nparams), l.Libs, known)
	}
	return ""
}

// recorder names the first libs that write such an event.
func recorder(typ uint16, nparams uint32) string {
	for _, t := range eventTables {
		if typ < t.events && (nparams == 0 || t.params[typ] >= nparams || typ >= eventTables[0].events) {
			return fmt.Sprintf("with libs %s or later (event schema %s)", t.libs, t.schema)
		}
	}
	last := eventTables[len(eventTables)-1]
	return fmt.Sprintf("with libs later than %s (event schema after %s)", last.libs, last.schema)
}

// minor is a version's first two numbers: libs change the event table only with them.
type minor [2]int

func parseMinor(version string) (minor, error) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return minor{}, fmt.Errorf("read the version %q: want MAJOR.MINOR", version)
	}
	var m minor
	for i := range m {
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return minor{}, fmt.Errorf("read the version %q: %w", version, err)
		}
		m[i] = n
	}
	return m, nil
}

func (m minor) before(o minor) bool { return m[0] < o[0] || m[0] == o[0] && m[1] < o[1] }
func (m minor) String() string      { return fmt.Sprintf("%d.%d", m[0], m[1]) }
