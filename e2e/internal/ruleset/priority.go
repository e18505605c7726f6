package ruleset

import (
	"fmt"
	"strings"
)

// Priority is how severe an alert is. Less is more severe, as in syslog.
type Priority int

const (
	PriorityEmergency Priority = iota
	PriorityAlert
	PriorityCritical
	PriorityError
	PriorityWarning
	PriorityNotice
	PriorityInformational
	PriorityDebug
)

var priorityNames = [...]string{
	"Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug",
}

// ParsePriority reads a priority in any case; "info" is Informational.
func ParsePriority(text string) (Priority, error) {
	for i, name := range priorityNames {
		if strings.EqualFold(text, name) {
			return Priority(i), nil
		}
	}
	if strings.EqualFold(text, "info") {
		return PriorityInformational, nil
	}
	return 0, fmt.Errorf("%q is no priority: write one of %s", text, strings.ToUpper(strings.Join(priorityNames[:], ", ")))
}

// String is the priority as alerts spell it: "Informational", "Warning".
func (p Priority) String() string {
	if p < 0 || int(p) >= len(priorityNames) {
		return fmt.Sprintf("Priority(%d)", int(p))
	}
	return priorityNames[p]
}

// AtLeast reports whether p is as severe as minimum, or more: Falco's "priority" setting keeps the rules for which it is.
func (p Priority) AtLeast(minimum Priority) bool { return p <= minimum }

// MarshalText writes the priority as alerts spell it.
func (p Priority) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParsePriority.
func (p *Priority) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePriority(string(text))
	return err
}
