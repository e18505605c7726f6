package cases

import "strings"

// Priority is a Falco rule's priority; the greater is the more urgent. The zero value is Unset.
type Priority uint8

// The priorities of Falco's rules.
const (
	Unset Priority = iota
	Debug
	Informational
	Notice
	Warning
	Error
	Critical
	Alert
	Emergency
)

var priorityNames = [...]string{"", "Debug", "Informational", "Notice", "Warning", "Error", "Critical", "Alert", "Emergency"}

// ParsePriority reads a priority as rules files and alerts write it, in any case; INFO is Informational there too.
func ParsePriority(s string) (Priority, bool) {
	if strings.EqualFold(s, "info") {
		return Informational, true
	}
	for p := Debug; p <= Emergency; p++ {
		if strings.EqualFold(s, priorityNames[p]) {
			return p, true
		}
	}
	return Unset, false
}

// String is the name as rules files write it: WARNING.
func (p Priority) String() string { return strings.ToUpper(priorityNames[p]) }
