// Package parity holds what two engines gave for the same replay against each other: sysdig stands in for Falco only as far
// as both give the same alerts, event by event and field by field.
package parity

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/verdict"
)

// Comparison is what came of one case.
type Comparison struct {
	Alerts     int       // pairs that are the same but for what is known
	Known      []Known   // in the order of the list, those that were met
	Difference *Mismatch // the first that nothing explains; nil where there is none
}

// Known is a way in which the engines differ by their nature.
type Known struct {
	Fields []string // that differ so, in alphabetical order
	Why    string
	Alerts int
}

// Mismatch is the first place at which the engines differ. One alert is nil where an engine gave fewer.
type Mismatch struct {
	Falco, Sysdig *verdict.Alert
	Fields        []Field // where both gave an alert of the same rule and event: what differs in it
	NumFalco      int     // alerts that each gave in all
	NumSysdig     int
}

// Field is one field of which the engines say different things.
type Field struct {
	Name          string // an output field, or one of output, priority, source, tags, hostname, time
	Falco, Sysdig any    // nil where the alert does not have it, and where it has no value
}

// A divergence is a difference between the engines that has a reason. It is no failure, and reports count it.
type divergence struct {
	fields []string
	why    string
	// holds tells whether the values differ in this way and in no other.
	holds func(falco, sysdig value) bool
}

// value is a field's value; there is false where the alert does not have the field.
type value struct {
	any
	there bool
}

// unknown tells whether the engine found none.
func (v value) unknown() bool { return v.any == nil || v.any == "<NA>" || v.any == "" }

// divergences are all that are known. Each was seen between Falco 0.44 and sysdig 0.41.
var divergences = []divergence{
	{
		fields: []string{"container.name", "container.image.repository", "k8s.ns.name", "k8s.pod.name"},
		why:    "Falco's container plugin adds them to every alert; sysdig has no such plugin",
		holds:  func(falco, sysdig value) bool { return falco.there && !sysdig.there },
	},
	{
		fields: []string{"container.id"},
		why:    "stagectl reads it from the cgroups for sysdig; this Falco runs without its container plugin",
		holds:  func(falco, sysdig value) bool { return !falco.there && sysdig.there },
	},
	{
		fields: []string{"user.name", "user.homedir", "user.shell", "user.loginname", "group.name"},
		why: "Falco looks for a container's users in the container alone, which a capture does not hold; sysdig does not know " +
			"the container and takes the recorded host's",
		holds: func(falco, sysdig value) bool { return falco.there && sysdig.there && falco.unknown() },
	},
}

// Compare holds the alerts of a case against each other, both in event order.
func Compare(falco, sysdig []verdict.Alert) Comparison {
	c := Comparison{}
	known := make([]Known, len(divergences))
	for i := range max(len(falco), len(sysdig)) {
		m := &Mismatch{NumFalco: len(falco), NumSysdig: len(sysdig)}
		if i < len(falco) {
			m.Falco = &falco[i]
		}
		if i < len(sysdig) {
			m.Sysdig = &sysdig[i]
		}
		if m.Falco == nil || m.Sysdig == nil || place(*m.Falco) != place(*m.Sysdig) {
			c.Difference = m
			break
		}
		var explained [][]string
		if explained, m.Fields = differences(*m.Falco, *m.Sysdig); len(m.Fields) > 0 {
			c.Difference = m
			break
		}
		for d, fields := range explained {
			if len(fields) > 0 {
				known[d].Alerts++
				known[d].Fields = append(known[d].Fields, fields...)
			}
		}
		c.Alerts++
	}
	for d, k := range known {
		if k.Alerts > 0 {
			slices.Sort(k.Fields)
			c.Known = append(c.Known, Known{slices.Compact(k.Fields), divergences[d].why, k.Alerts})
		}
	}
	return c
}

// where is what makes two alerts the same one.
type where struct {
	rule    string
	capture int
	event   uint64
}

func place(a verdict.Alert) where {
	event, _ := a.EventNumber()
	return where{a.Rule, a.Capture, event}
}

// differences lists the fields that differ, and by divergence those that it explains. Where one explains two values, the text
// differs, too, by the same values, and is not compared: all that it says is in the fields.
func differences(falco, sysdig verdict.Alert) (explained [][]string, fields []Field) {
	explained = make([][]string, len(divergences))
	inText := false
	names := map[string]bool{}
	for name := range falco.OutputFields {
		names[name] = true
	}
	for name := range sysdig.OutputFields {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		var f, s value
		f.any, f.there = falco.OutputFields[name]
		s.any, s.there = sysdig.OutputFields[name]
		if f.there == s.there && reflect.DeepEqual(f.any, s.any) {
			continue
		}
		d := slices.IndexFunc(divergences, func(d divergence) bool { return slices.Contains(d.fields, name) && d.holds(f, s) })
		if d < 0 {
			fields = append(fields, Field{name, f.any, s.any})
			continue
		}
		explained[d] = append(explained[d], name)
		inText = inText || f.there && s.there
	}
	other := func(name string, f, s any) {
		if f != s {
			fields = append(fields, Field{name, f, s})
		}
	}
	if !inText {
		other("output", falco.Output, sysdig.Output)
	}
	other("priority", falco.Priority, sysdig.Priority)
	other("source", falco.Source, sysdig.Source)
	other("tags", strings.Join(falco.Tags, " "), strings.Join(sysdig.Tags, " "))
	other("hostname", falco.Hostname, sysdig.Hostname)
	other("time", falco.Time.UTC(), sysdig.Time.UTC())
	return explained, fields
}

// Line is an alert as its engine's JSON line; "no alert" where it gave none.
func Line(a *verdict.Alert) string {
	if a == nil {
		return "no alert"
	}
	line, err := a.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	return string(line)
}
