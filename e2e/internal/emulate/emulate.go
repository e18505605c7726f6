// Package emulate does what the rules are to detect, and what looks like it but is harmless, so that a cluster can be tested.
//
// A technique has two scenes, the adversary's and a benign twin. A scene is some containers that share one network, and scripts
// that run in them. A runtime makes a Plan of a scene: the commands that set it up, act and clear up. A plan can be printed or run.
//
// No data leaves: a script binds to an address of the scene's own before it connects, and these addresses are on the scene's
// loopback interface alone. One of them is from a documentation range (RFC 5737), which no network calls its own: external for the
// rules. The sink answers there, and on an address that is inside the cluster for them.
package emulate

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// Technique is something an adversary does and what looks like it.
type Technique struct {
	Name       string
	Attack     []string // ids of MITRE ATT&CK
	Does       string
	Privileged bool // it starts a privileged container that has a directory of the node
	Adversary  Scene
	Twin       Scene
}

// Scene is containers and what is done in them, in order.
type Scene struct {
	Name       string // letters and hyphens, unique
	Does       string
	Containers []Container // beside the sink
	Steps      []Step
	Expect     []Expected
}

// Container is one of a scene's.
type Container struct {
	Name       string
	Volume     bool // has the directory that the scene's containers share at volumeDir
	Privileged bool // is privileged and has a directory of the node at hostDir
}

// Step is a shell script that runs to its end in a container.
type Step struct {
	In     string
	Does   string
	Script string
}

// Expected is an alert that must come of a scene.
type Expected struct {
	Rule      string
	Priority  ruleset.Priority
	Container string // empty where it comes before Falco knows the container's name
}

// Options change what is done.
type Options struct {
	Interval time.Duration // between the pieces of slow-pieces
}

// sinkName is the container that a scene's other containers send to.
const sinkName = "sink"

const (
	volumeDir = "/mnt/exchange"
	hostDir   = "/mnt/host"
)

// Find returns the techniques of these names, all where there is none.
func Find(all []Technique, names []string) ([]Technique, error) {
	if len(names) == 0 {
		return all, nil
	}
	var found []Technique
	for _, name := range names {
		i := slices.IndexFunc(all, func(t Technique) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no technique %q: stagectl emulate --list names them", name)
		}
		found = append(found, all[i])
	}
	return found, nil
}

// Scenes are a technique's, the twin first: what it does must not hide in the adversary's alerts.
func (t Technique) Scenes() []Scene { return []Scene{t.Twin, t.Adversary} }

// WriteExpect writes the alerts that must come of techniques as a file that stagectl watch --expect reads.
func WriteExpect(w io.Writer, techniques []Technique, r Runtime) error {
	var b strings.Builder
	notice := strings.ToUpper(ruleset.PriorityNotice.String())
	b.WriteString("expect:\n")
	known, sinks, steps := 0, 0, 0
	for _, t := range techniques {
		for _, s := range t.Scenes() {
			sinks++
			steps += len(s.Steps)
			for _, e := range s.Expect {
				if e.Container == "" {
					known++
					continue
				}
				fmt.Fprintf(&b, "  - rule: %s\n    priority: %s\n", e.Rule, strings.ToUpper(e.Priority.String()))
				if workload := r.Workload(s, e.Container); workload != "" {
					fmt.Fprintf(&b, "    fields: {baseline.workload: %s}\n", workload)
				}
			}
		}
	}
	fmt.Fprintf(&b, `  # Privileged containers; and sinks, which have NET_ADMIN to give themselves addresses, where Falco sees it.
  - rule: %s
    priority: %s
    count: {min: %d, max: %d}
`, sensitive, notice, known, known+sinks)
	if r.Audited() {
		fmt.Fprintf(&b, `  # Where Falco reads the audit log, too: who deploys the sinks, and runs the scripts.
  - rule: %s
    priority: %s
    count: {min: 0, max: %d}
  - rule: %s
    priority: %s
    count: {min: 0, max: %d}
`, sensitivePod, notice, sinks, entered, notice, steps)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
