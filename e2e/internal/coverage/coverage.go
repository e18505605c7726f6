package coverage

import "slices"

// Progress is which conditions of terms have been seen. Conditions that several terms share are asked for once.
type Progress struct {
	owners []*Owner
}

// Measure begins to measure.
func Measure(owners []*Owner) *Progress { return &Progress{owners} }

// Open are the filters of events of a source that would show something that was not seen yet, each once.
func (p *Progress) Open(source string) []string {
	var open []string
	seen := map[string]bool{}
	add := func(conditions []Condition) {
		for _, c := range conditions {
			if c.Source == source && !seen[c.Filter] {
				seen[c.Filter] = true
				open = append(open, c.Filter)
			}
		}
	}
	for _, o := range p.owners {
		for _, t := range o.Terms {
			if !t.SawTrue {
				add(t.True)
			}
			if !t.SawFalse {
				add(t.False)
			}
		}
	}
	return open
}

// Saw notes that an event of a source met a filter.
func (p *Progress) Saw(source, filter string) {
	condition := Condition{source, filter}
	for _, o := range p.owners {
		for _, t := range o.Terms {
			t.SawTrue = t.SawTrue || slices.Contains(t.True, condition)
			t.SawFalse = t.SawFalse || slices.Contains(t.False, condition)
		}
	}
}
