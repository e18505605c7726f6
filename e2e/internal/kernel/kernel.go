// Package kernel pretends to be a kernel, its containers and the driver that watches them: it keeps the processes,
// descriptors, files and sockets of a made-up machine and writes the events that a real one would give. Whoever plays a
// part on the machine calls it in the order of time. Everything is deterministic.
package kernel

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
)

// Config is what the machine is like.
type Config struct {
	Hostname string
	CPUs     int
	Addrs    []netip.Addr // of the host
	Boot     time.Time
	Users    []capture.User
	Snaplen  int // bytes shown of each buffer
	Seed     uint64
	// Skew is how far each CPU's clock is ahead of the time that events happen at.
	Skew map[uint16]time.Duration
}

// Kernel is the machine. It has a single owner.
type Kernel struct {
	cfg   Config
	out   *capture.Writer // nil until the recording begins
	now   uint64          // ns since the epoch
	sub   uint64          // events so far of the call that is made now
	mute  bool
	count uint64
	ev    event
	rng   rand.PCG
	shown []byte

	containers    map[string]*Container
	numContainers int
	threads       map[string]*Thread // that live, by name
	before        []*Thread          // that lived before the recording, in order
	nextPID       int64
	shim          *Thread // that starts containers

	files    map[string]*inode // by place
	nextIno  uint64
	nextPort uint16
	nextSock uint64                     // address of a Unix socket in the kernel
	waiting  map[string][]*conversation // connections that nobody has accepted yet, by where they lead
}

// Numbers that a new machine begins with.
const (
	firstPID  = 1000
	firstIno  = 100_000
	firstPort = 32768
	lastPort  = 60999
	firstSock = 0xffff888100000000
	hostDev   = 0xfe00
)

// New makes a machine on which an init process and a container runtime run.
func New(cfg Config) *Kernel {
	k := &Kernel{
		cfg:        cfg,
		now:        uint64(cfg.Boot.UnixNano()),
		containers: map[string]*Container{},
		threads:    map[string]*Thread{},
		nextPID:    firstPID,
		files:      map[string]*inode{},
		nextIno:    firstIno,
		nextPort:   firstPort,
		nextSock:   firstSock,
		waiting:    map[string][]*conversation{},
	}
	k.before = append(k.before, k.place("", Program{Path: "/usr/lib/systemd/systemd", Args: []string{"/sbin/init"}}, nil, nil, 1))
	k.shim = k.place("", Program{
		Path: "/usr/bin/containerd-shim-runc-v2", Args: []string{"/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io"},
	}, nil, k.before[0], 0)
	k.before = append(k.before, k.shim)
	return k
}

// Record begins the recording: it writes what the machine looks like now, and from here on the events.
func (k *Kernel) Record(out *capture.Writer) {
	out.Machine(capture.Machine{
		Hostname: k.cfg.Hostname, CPUs: uint32(k.cfg.CPUs), MemoryBytes: 16 << 30, Boot: k.cfg.Boot,
	})
	interfaces := []capture.Interface{{Name: "lo", Addr: netip.MustParsePrefix("127.0.0.1/8")}}
	for _, a := range k.cfg.Addrs {
		interfaces = append(interfaces, capture.Interface{Name: "eth0", Addr: netip.PrefixFrom(a, a.BitLen()-8)})
	}
	out.Interfaces(interfaces)
	out.Users(k.cfg.Users)
	list := make([]capture.Thread, len(k.before))
	for i, t := range k.before {
		list[i] = k.entry(t)
	}
	out.Processes(list)
	for _, t := range k.before {
		if open := t.process.entries(); len(open) > 0 && t.tid == t.process.pid {
			out.Descriptors(t.tid, open)
		}
	}
	k.out = out
}

// At sets the time of what happens next, in nanoseconds since the epoch.
func (k *Kernel) At(ts uint64) { k.now, k.sub = ts, 0 }

// Mute has what happens go unrecorded, or not.
func (k *Kernel) Mute(mute bool) { k.mute = mute }

// Count is the number of events written.
func (k *Kernel) Count() uint64 { return k.count }

// Drop writes that the driver begins or ends to drop all but one of ratio events.
func (k *Kernel) Drop(ends bool, ratio uint32) {
	typ := uint16(typeDropE)
	if ends {
		typ = typeDropX
	}
	k.event(typ).u32(ratio)
	k.write(0, 0)
}

// event begins an event.
func (k *Kernel) event(typ uint16) *event {
	k.ev.begin(typ)
	return &k.ev
}

// gap is the time between the events of one call.
const gap = uint64(time.Microsecond)

// emit ends an event of a thread.
func (k *Kernel) emit(t *Thread) { k.write(t.tid, t.cpu) }

func (k *Kernel) write(tid int64, cpu uint16) {
	ts := k.now + k.sub*gap + uint64(k.cfg.Skew[cpu])
	k.sub++
	if k.out == nil || k.mute {
		return
	}
	k.count++
	k.ev.Time, k.ev.TID, k.ev.CPU = ts, tid, cpu
	k.out.Event(&k.ev.Event)
}
