package kernel

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
)

// Program is what a process runs.
type Program struct {
	Path string   // absolute
	Args []string // the command line, program first
}

// comm is the name that the kernel gives a process: the program's, cut.
func (p Program) comm() string {
	const limit = 15 // TASK_COMM_LEN - 1
	name := path.Base(p.Path)
	return name[:min(len(name), limit)]
}

// Start is how a process is started. What is zero is as the parent's.
type Start struct {
	Name    string
	UID     *uint32
	CWD     string
	CPU     *uint16
	PID     int64  // the next free one where 0
	Service string // of the host: the systemd service that it belongs to
}

// Thread is a thread that lives; its tid is its process's pid where it is the first one.
type Thread struct {
	name    string
	tid     int64
	vtid    int64
	cpu     uint16
	process *process
}

type process struct {
	pid, vpid int64
	parent    *process
	program   Program
	uid       uint32
	cwd       string
	container *Container // nil on the host
	cgroups   []string
	threads   []*Thread
	table     table
}

// Thread finds a thread that lives by its name.
func (k *Kernel) Thread(name string) (*Thread, error) {
	if t := k.threads[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("no process %s runs: write `start %s in CONTAINER runs PROGRAM` or `process %s runs PROGRAM` above",
		name, name, name)
}

// Name is what the script calls the thread.
func (t *Thread) Name() string { return t.name }

// hostService is where the host's processes belong that name no service.
const hostService = "init"

// Place puts a process on the machine that ran before the recording. A nil parent is the init process, or for a
// container's process the runtime.
func (k *Kernel) Place(s Start, p Program, c *Container, parent *Thread) (*Thread, error) {
	if k.out != nil {
		return nil, fmt.Errorf("place %s: the recording has begun", s.Name)
	}
	if err := k.free(s.Name); err != nil {
		return nil, err
	}
	if parent == nil {
		if parent = k.shim; c == nil {
			parent = k.before[0]
		}
	}
	t := k.place(s.Name, p, c, parent, s.PID)
	if s.Service != "" {
		t.process.cgroups = serviceGroups(s.Service)
	}
	s.apply(t)
	k.threads[s.Name] = t
	k.before = append(k.before, t)
	return t, nil
}

func (s *Start) apply(t *Thread) {
	if s.UID != nil {
		t.process.uid = *s.UID
	}
	if s.CWD != "" {
		t.process.cwd = s.CWD
	}
	if s.CPU != nil {
		t.cpu = *s.CPU
	}
}

func serviceGroups(service string) []string {
	if service == hostService {
		return cgroups("/init.scope")
	}
	return cgroups("/system.slice/" + service + ".service")
}

func (k *Kernel) place(name string, p Program, c *Container, parent *Thread, pid int64) *Thread {
	proc := &process{program: p, cwd: "/", container: c, cgroups: serviceGroups(hostService)}
	if c != nil {
		proc.cgroups = c.cgroups
	}
	if parent != nil {
		proc.parent = parent.process
	}
	proc.pid, proc.vpid = k.number(c, pid)
	t := &Thread{name: name, tid: proc.pid, vtid: proc.vpid, process: proc}
	proc.threads = []*Thread{t}
	return t
}

// number gives the next pid, or the one that is asked for, and that within the container.
func (k *Kernel) number(c *Container, pid int64) (outside, inside int64) {
	if outside = pid; pid == 0 {
		outside = k.nextPID
		k.nextPID++
	}
	if c == nil || c.HostPID {
		return outside, outside
	}
	c.nextVPID++
	return outside, c.nextVPID
}

func (k *Kernel) free(name string) error {
	if k.threads[name] != nil {
		return fmt.Errorf("%s runs already: write another name, or let it end first: %s exit", name, name)
	}
	return nil
}

// entry is a thread in the process list.
func (k *Kernel) entry(t *Thread) capture.Thread {
	p := t.process
	flags := k.exeFlags(p)
	ptid := int64(0)
	if p.parent != nil {
		ptid = p.parent.pid
	}
	return capture.Thread{
		TID: t.tid, PID: p.pid, PTID: ptid, VTID: t.vtid, VPID: p.vpid,
		Comm: p.program.comm(), Exe: p.program.Args[0], ExePath: p.program.Path, Args: p.program.Args[1:],
		CWD: p.cwd, UID: p.uid, GID: p.uid, Cgroups: p.cgroups,
		PIDNamespace: time.Unix(0, int64(p.namespaceStart()+uint64(k.cfg.Boot.UnixNano()))), Capabilities: p.capabilities(),
		ExeWritable: flags&exeWritable != 0, ExeUpper: flags&exeUpperLayer != 0, ExeLower: flags&exeLowerLayer != 0,
		ExeIno: k.inode(p.container, p.program.Path).ino, DescriptorLimit: fdLimit,
	}
}

// namespaceStart is when the process's PID namespace began, in nanoseconds since the boot.
func (p *process) namespaceStart() uint64 {
	if p.container == nil || p.container.HostPID {
		return 0
	}
	return uint64(time.Second) * uint64(1+p.container.number)
}

// Sets of capabilities: those of root in a container, as runtimes give them, and all.
const (
	containerCapabilities = 0xa80425fb
	allCapabilities       = 1<<41 - 1
)

// capabilityNames by their bits, as in include/uapi/linux/capability.h.
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// Capability is the bit of a capability by its name, without CAP_ before it; 0 where there is none of the name.
func Capability(name string) uint64 {
	if bit := slices.Index(capabilityNames[:], name); bit >= 0 {
		return 1 << bit
	}
	return 0
}

func (p *process) capabilities() uint64 {
	switch {
	case p.uid != 0:
		return 0
	case p.container != nil && !p.container.Privileged:
		return containerCapabilities | p.container.Capabilities
	default:
		return allCapabilities
	}
}

func (k *Kernel) exeFlags(p *process) uint32 {
	flags := uint32(0)
	if p.uid == 0 {
		flags |= exeWritable
	}
	if p.container != nil {
		if k.inode(p.container, p.program.Path).made {
			flags |= exeUpperLayer
		} else {
			flags |= exeLowerLayer
		}
	}
	return flags
}

// Enter starts the first process of a container, or one that is put into it from outside: its parent is the runtime.
func (k *Kernel) Enter(c *Container, s Start, p Program) (*Thread, error) {
	t, err := k.child(k.shim, s, c)
	if err != nil {
		return nil, err
	}
	t.process.cgroups = c.cgroups
	k.cloned(t, k.shim, 0)
	k.Exec(t, p)
	return t, nil
}

// Fork makes a copy of a process, which runs on as the same program.
func (k *Kernel) Fork(parent *Thread, s Start) (*Thread, error) {
	t, err := k.child(parent, s, parent.process.container)
	if err != nil {
		return nil, err
	}
	t.process.table = parent.process.table.clone()
	k.cloned(parent, parent, t.vtid)
	k.cloned(t, parent, 0)
	s.apply(t)
	return t, nil
}

func (k *Kernel) child(parent *Thread, s Start, c *Container) (*Thread, error) {
	if err := k.free(s.Name); err != nil {
		return nil, err
	}
	p := parent.process
	proc := &process{parent: p, program: p.program, uid: p.uid, cwd: p.cwd, container: c, cgroups: p.cgroups}
	if s.Service != "" && c == nil {
		proc.cgroups = serviceGroups(s.Service)
	}
	proc.pid, proc.vpid = k.number(c, s.PID)
	t := &Thread{name: s.Name, tid: proc.pid, vtid: proc.vpid, cpu: parent.cpu, process: proc}
	proc.threads = []*Thread{t}
	if c != p.container {
		proc.cwd = "/"
		s.apply(t)
	}
	k.threads[s.Name] = t
	return t, nil
}

// Exec has a process run another program.
func (k *Kernel) Exec(t *Thread, p Program) {
	proc := t.process
	proc.program = p
	for _, other := range slices.Clone(proc.threads) {
		if other != t {
			k.gone(other)
		}
	}
	e := k.event(typeExecve)
	e.i64(0)
	e.text(p.Args[0])
	e.list(p.Args[1:])
	e.i64(t.tid)
	e.i64(proc.pid)
	e.i64(proc.parentPID())
	e.text(proc.cwd)
	e.u64(fdLimit)
	e.u64(0) // major and
	e.u64(0) // minor page faults
	for range 3 {
		e.u32(0) // virtual, resident and swapped memory
	}
	e.text(p.comm())
	e.list(proc.cgroups)
	e.empty() // environment
	e.u32(0)  // terminal
	e.i64(proc.vpid)
	e.u32(noLoginUID)
	e.u32(k.exeFlags(proc))
	e.u64(0) // inheritable capabilities
	e.u64(proc.capabilities())
	e.u64(proc.capabilities())
	e.u64(k.inode(proc.container, p.Path).ino)
	e.u64(uint64(k.cfg.Boot.UnixNano())) // change and
	e.u64(uint64(k.cfg.Boot.UnixNano())) // modification time of the program
	e.u32(proc.uid)
	e.text(p.Path)
	e.i64(proc.pid) // process group
	e.u32(proc.uid) // group
	e.text(p.Path)
	k.emit(t)
}

func (p *process) parentPID() int64 {
	if p.parent == nil {
		return 0
	}
	return p.parent.pid
}

// cloned writes the return of the call that made a process, in the parent or in the child. res is the child's number
// as the parent sees it, 0 in the child.
func (k *Kernel) cloned(t, image *Thread, res int64) {
	k.clone(typeClone, t, image, res, cloneChildClear|cloneChildSet)
}

func (k *Kernel) clone(typ uint16, t, image *Thread, res int64, flags uint32) {
	p := t.process
	if c := p.container; c != nil && !c.HostPID {
		flags |= cloneInPIDNS
	}
	e := k.event(typ)
	e.i64(res)
	e.text(image.process.program.Args[0])
	e.list(image.process.program.Args[1:])
	e.i64(t.tid)
	e.i64(p.pid)
	e.i64(p.parentPID())
	e.text(p.cwd)
	e.u64(fdLimit)
	e.u64(0)
	e.u64(0)
	for range 3 {
		e.u32(0)
	}
	e.text(image.process.program.comm())
	e.list(p.cgroups)
	e.u32(flags)
	e.u32(p.uid)
	e.u32(p.uid)
	e.i64(t.vtid)
	e.i64(p.vpid)
	e.u64(p.namespaceStart())
	k.emit(t)
}

// NewThread adds a thread to a process.
func (k *Kernel) NewThread(of *Thread, s Start) (*Thread, error) {
	if err := k.free(s.Name); err != nil {
		return nil, err
	}
	p := of.process
	t := &Thread{name: s.Name, cpu: of.cpu, process: p}
	t.tid, t.vtid = k.number(p.container, s.PID)
	s.apply(t)
	p.threads = append(p.threads, t)
	k.threads[s.Name] = t
	if k.out == nil {
		k.before = append(k.before, t)
		return t, nil
	}
	const flags = cloneThread | cloneFiles | cloneFS | cloneSignals | cloneSysV | cloneMemory
	k.clone(typeClone3, of, of, t.vtid, flags)
	k.clone(typeClone3, t, of, 0, flags)
	return t, nil
}

// Exit ends a thread; the first one of a process ends it whole.
func (k *Kernel) Exit(t *Thread, code int) {
	p := t.process
	if t.tid != p.pid {
		k.exited(t, code)
		k.gone(t)
		return
	}
	for _, other := range slices.Backward(slices.Clone(p.threads)) {
		k.exited(other, code)
		k.gone(other)
	}
	k.closeAll(p)
}

func (k *Kernel) exited(t *Thread, code int) {
	e := k.event(typeProcExit)
	e.i64(int64(code) << 8) // status, as wait gives it
	e.i64(int64(code))
	e.zero8() // signal
	e.zero8() // core
	e.i64(0)  // the process that takes over its children, which the engine finds out
	k.emit(t)
}

func (k *Kernel) gone(t *Thread) {
	delete(k.threads, t.name)
	t.process.threads = slices.DeleteFunc(t.process.threads, func(o *Thread) bool { return o == t })
}

// absolute refuses a path that depends on the working directory, which a capture's reader cannot always know.
func absolute(p string) error {
	if !strings.HasPrefix(p, "/") {
		return fmt.Errorf("the path %q is relative: write it from / on", p)
	}
	return nil
}
