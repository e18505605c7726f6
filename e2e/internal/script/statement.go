package script

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/kernel"
)

// statements are the steps that begin with a word of their own instead of a process, and what they look like.
var statements = map[string]string{
	"container": "container NAME [image REPOSITORY:TAG] [pod NAMESPACE/POD] [name NAME] [ip ADDRESS]... [mount SOURCE:DESTINATION[:ro]]... " +
		"[label KEY=VALUE]... [podlabel KEY=VALUE]... [env KEY=VALUE]... [user USER] [sandbox ID] [runtime NAME] [id HEX] " +
		"[privileged] [hostnetwork] [hostpid] [capability NAME]... [told DURATION|never]",
	"gone":    "gone CONTAINER",
	"process": usageProcess,
	"start":   usageEnter,
}

// readStatement reads the words after the keyword of a statement.
func readStatement(r *reader, keyword word) op {
	switch keyword.text {
	case "container":
		return readContainer(r, keyword)
	case "gone":
		return readGone(r, keyword)
	case "process":
		return readPlacing(r, keyword)
	default:
		return readEnter(r, keyword)
	}
}

const (
	startOptions = "[uid NUMBER] [cwd DIRECTORY] [cpu NUMBER] [pid NUMBER]"
	usageProcess = "process NAME [in CONTAINER] [by PARENT] [service NAME] " + startOptions + " [exe PATH] runs PROGRAM [ARGUMENT]..."
	usageEnter   = "start NAME in CONTAINER " + startOptions + " [exe PATH] runs PROGRAM [ARGUMENT]..."
)

// readOp reads the words of a step, variables replaced.
func readOp(words line) (op, error) {
	keyword := words[0]
	if keyword.quoted {
		return nil, failAt(keyword.pos, "a step begins with a quoted word: write a process, or a statement such as `start`")
	}
	if usage, ok := statements[keyword.text]; ok {
		r := &reader{words: words[1:], usage: usage, at: keyword.pos}
		o := readStatement(r, keyword)
		r.done()
		return o, r.err
	}
	if _, ok := settings[keyword.text]; ok {
		return nil, failAt(keyword.pos, "%s holds for the whole script: move it above everything else, without a time", keyword.text)
	}
	if _, ok := blocks[keyword.text]; ok {
		return nil, failAt(keyword.pos, "%s takes no time before it: write the time on a line of its own above", keyword.text)
	}
	if len(words) == 1 {
		return nil, failAt(keyword.pos, "unknown statement %q%s: write one of %s, or `PROCESS VERB ...`", keyword.text,
			meant(keyword.text, keywords()), strings.Join(keywords(), ", "))
	}
	return readVerb(words)
}

// declaring makes a container.
type declaring struct {
	keyword   word
	container kernel.Container
	told      time.Duration
	never     bool // told
}

func readContainer(r *reader, keyword word) op {
	d := &declaring{keyword: keyword}
	c := &d.container
	c.Name = r.name("a name")
	for r.more() {
		switch r.option("image", "pod", "name", "ip", "mount", "label", "podlabel", "env", "user", "sandbox", "runtime", "id",
			"privileged", "hostnetwork", "hostpid", "capability", "told") {
		case "image":
			c.Image = r.take("an image")
		case "pod":
			text := r.take("a pod")
			var ok bool
			if c.Namespace, c.Pod, ok = strings.Cut(text, "/"); r.err == nil && (!ok || c.Namespace == "" || c.Pod == "") {
				r.fail("the pod %q has no namespace: write NAMESPACE/POD", text)
			}
		case "name":
			c.ContainerName = r.take("a name")
		case "ip":
			c.Addrs = append(c.Addrs, r.address())
		case "mount":
			c.Mounts = append(c.Mounts, readMount(r))
		case "label":
			key, value := r.pair()
			c.Labels = put(c.Labels, key, value)
		case "podlabel":
			key, value := r.pair()
			c.PodLabels = put(c.PodLabels, key, value)
		case "env":
			key, value := r.pair()
			c.Env = append(c.Env, key+"="+value)
		case "user":
			c.User = r.take("a user")
		case "sandbox":
			c.Sandbox = r.take("an id")
		case "runtime":
			runtimes := []string{string(kernel.Docker), string(kernel.Podman), string(kernel.Containerd), string(kernel.CRIO)}
			name := r.take("a runtime")
			if r.err == nil && !slices.Contains(runtimes, name) {
				r.fail("the runtime %q is not known: write one of %s", name, strings.Join(runtimes, ", "))
			}
			c.Runtime = kernel.Runtime(name)
		case "id":
			c.ID = r.take("an id")
			if r.err == nil && (len(c.ID) != 64 || strings.Trim(c.ID, "0123456789abcdef") != "") {
				r.fail("the id %q: write 64 hexadecimal digits, or leave it out", c.ID)
			}
		case "privileged":
			c.Privileged = true
		case "hostnetwork":
			c.HostNetwork = true
		case "hostpid":
			c.HostPID = true
		case "capability":
			name := r.take("a capability")
			bit := kernel.Capability(name)
			if r.err == nil && bit == 0 {
				r.fail("the capability %q is not known: write one of capabilities(7) without CAP_, such as NET_ADMIN", name)
			}
			c.Capabilities |= bit
		case "told":
			if d.never = r.next("never"); !d.never {
				d.told = r.span("how much later it is told")
			}
		}
	}
	return d
}

func put(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

func readMount(r *reader) kernel.Mount {
	text := r.take("a mount")
	parts := strings.Split(text, ":")
	m := kernel.Mount{Source: parts[0]}
	if n := len(parts); n > 1 {
		m.Destination = parts[1]
		m.ReadOnly = n == 3 && parts[2] == "ro"
		if n > 3 || n == 3 && !m.ReadOnly {
			m.Destination = ""
		}
	}
	if r.err == nil && (m.Source == "" || !strings.HasPrefix(m.Destination, "/")) {
		r.fail("the mount %q: write /on/the/host:/in/the/container, with :ro at the end if it is read-only", text)
	}
	return m
}

func (d *declaring) cost() uint64 {
	if d.never {
		return 0
	}
	return 1
}

func (d *declaring) play(t *track) bool {
	c, err := t.kernel.AddContainer(d.container)
	if err != nil {
		return t.fail(failAt(d.keyword.pos, "%v", err))
	}
	if !d.never {
		t.later(t.at+uint64(d.told), func() error { return t.kernel.TellContainer(c) })
	}
	return true
}

// removing lets a container go.
type removing struct {
	keyword word
	name    string
}

func readGone(r *reader, keyword word) op { return &removing{keyword, r.name("a container")} }

func (g *removing) cost() uint64 { return 1 }

func (g *removing) play(t *track) bool {
	if !t.tick() {
		return false
	}
	c, err := t.kernel.Container(g.name)
	if err == nil {
		err = t.kernel.RemoveContainer(c)
	}
	if err != nil {
		return t.fail(failAt(g.keyword.pos, "%v", err))
	}
	return true
}

// newcomer is a process or thread that begins, as the options before `runs` say.
type newcomer struct {
	start     kernel.Start
	container string
	parent    string
	program   kernel.Program
}

// readNewcomer reads the options, of the common ones and more, and with runs the program.
func readNewcomer(r *reader, runs bool, more ...string) newcomer {
	n := newcomer{start: kernel.Start{Name: r.name("a name")}}
	if r.err == nil && isKeyword(n.start.Name) {
		r.fail("%s begins statements of its own: write another name", n.start.Name)
	}
	options := append([]string{"uid", "cwd", "cpu", "pid"}, more...)
	if runs {
		options = append(options, "exe", "runs")
	}
	exe := ""
	for r.more() {
		switch r.option(options...) {
		case "in":
			n.container = r.name("a container")
		case "by":
			n.parent = r.name("a process")
		case "service":
			n.start.Service = r.take("a service")
		case "uid":
			uid := uint32(r.number("the uid", 0, math.MaxUint32-1))
			n.start.UID = &uid
		case "cwd":
			n.start.CWD = r.take("a directory")
		case "cpu":
			cpu := uint16(r.number("the CPU", 0, 1023))
			n.start.CPU = &cpu
		case "pid":
			n.start.PID = r.number("the pid", 2, 1<<22)
		case "exe":
			exe = r.take("a path")
		case "runs":
			n.program = r.program(exe)
			return n
		}
	}
	if runs {
		r.expect("runs")
	}
	return n
}

// placing puts a process on the machine that was there before the recording.
type placing struct {
	keyword word
	newcomer
}

func readPlacing(r *reader, keyword word) op {
	return &placing{keyword, readNewcomer(r, true, "in", "by", "service")}
}

func (p *placing) cost() uint64 { return 0 }

func (p *placing) play(t *track) bool {
	var c *kernel.Container
	var parent *kernel.Thread
	var err error
	if p.container != "" {
		c, err = t.kernel.Container(p.container)
	}
	if err == nil && p.parent != "" {
		parent, err = t.kernel.Thread(p.parent)
	}
	if err == nil {
		_, err = t.kernel.Place(p.start, p.program, c, parent)
	}
	if err != nil {
		return t.fail(failAt(p.keyword.pos, "%v", err))
	}
	return true
}

// entering starts a process in a container from outside of it.
type entering struct {
	keyword word
	newcomer
}

func readEnter(r *reader, keyword word) op {
	n := readNewcomer(r, true, "in")
	if r.err == nil && n.container == "" {
		r.at = keyword.pos
		r.fail("who starts %s, or in which container, is missing: write `%s`, or `PROCESS start NAME runs PROGRAM`",
			n.start.Name, usageEnter)
	}
	return &entering{keyword, n}
}

func (e *entering) cost() uint64 { return 2 }

func (e *entering) play(t *track) bool {
	if !t.tick() {
		return false
	}
	c, err := t.kernel.Container(e.container)
	if err == nil {
		_, err = t.kernel.Enter(c, e.start, e.program)
	}
	if err != nil {
		return t.fail(failAt(e.keyword.pos, "%v", err))
	}
	return true
}
