package attribute

import (
	"path"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/plugin/internal/place"
)

// Posture is what a container may do beyond its own walls, as far as its metadata and its processes have told.
type Posture struct {
	Privileged                    bool
	HostPID, HostIPC, HostNetwork bool
	HostPaths                     []string // sensitive directories and files of the node that it has mounted
	Sockets                       []string // of the container runtime, by which it can start and enter other containers
	Devices                       []string // of the node, that it has mounted
	NodeFiles, NodeDevices        bool     // it read such without having them mounted
	Capabilities                  uint64   // that lead out of the container, effective in some process of it; PPM_CAP_* bits
	Root                          bool     // a process ran as the node's user 0
}

// capabilities that lead out of a container or reach other processes' data; container runtimes give none of them by default.
// Bits as in driver/ppm_events_public.h (PPM_CAP_*), which are the kernel's.
var capabilities = []struct {
	bit  uint
	name string
}{
	{2, "DAC_READ_SEARCH"}, {12, "NET_ADMIN"}, {16, "SYS_MODULE"}, {17, "SYS_RAWIO"}, {19, "SYS_PTRACE"}, {21, "SYS_ADMIN"},
	{33, "MAC_ADMIN"}, {38, "PERFMON"}, {39, "BPF"},
}

// leadOut are the bits of capabilities.
var leadOut = func() (bits uint64) {
	for _, c := range capabilities {
		bits |= 1 << c.bit
	}
	return bits
}()

// allCapabilities is what root has in a user namespace of its own, where it means nothing outside of it.
const allCapabilities = 1<<41 - 1

// Sensitive reports whether the container can reach the node, its data or other containers. A host network alone is how ingress
// and node agents are built and does not count; IPC neither.
func (p *Posture) Sensitive() bool {
	return p.Privileged || p.HostPID || p.NodeFiles || p.NodeDevices || len(p.HostPaths) > 0 || len(p.Sockets) > 0 || len(p.Devices) > 0 ||
		p.Capabilities != 0
}

// Reasons says in words what there is, "privileged, host path /etc, capability SYS_ADMIN"; empty for nothing.
func (p *Posture) Reasons() string {
	var reasons []string
	for _, r := range [...]struct {
		is   bool
		text string
	}{
		{p.Privileged, "privileged"}, {p.HostPID, "host PID"}, {p.HostIPC, "host IPC"}, {p.HostNetwork, "host network"},
		{p.NodeFiles, "files of the node"}, {p.NodeDevices, "devices of the node"},
	} {
		if r.is {
			reasons = append(reasons, r.text)
		}
	}
	for _, r := range [...]struct {
		kind  string
		names []string
	}{{"runtime socket ", p.Sockets}, {"host path ", p.HostPaths}, {"device ", p.Devices}} {
		for _, name := range r.names {
			reasons = append(reasons, r.kind+place.Shorten(name))
		}
	}
	switch {
	case p.Privileged: // which has them all
	case p.Capabilities == leadOut:
		reasons = append(reasons, "all capabilities")
	default:
		for _, c := range capabilities {
			if p.Capabilities&(1<<c.bit) != 0 {
				reasons = append(reasons, "capability "+c.name)
			}
		}
	}
	return strings.Join(reasons, ", ")
}

// Granted is Reasons without the use that was made of them.
func (p *Posture) Granted() string {
	granted := *p
	granted.NodeFiles, granted.NodeDevices = false, false
	return granted.Reasons()
}

// ran notes what a process that a container runs may do.
func (p *Posture) ran(uid uint32, effective uint64) {
	p.Root = p.Root || uid == 0
	if uid != 0 && effective == allCapabilities {
		return
	}
	p.Capabilities |= effective & leadOut
}

// Add notes a capability by its name, with or without CAP_ before it; ALL is every one.
func (p *Posture) Add(name string) {
	name = strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	for _, c := range capabilities {
		if c.name == name || name == "ALL" {
			p.Capabilities |= 1 << c.bit
		}
	}
}

// Mounted notes what a container has mounted of the node.
func (p *Posture) Mounted(mounts []Mount, sensitive []string) {
	for _, m := range mounts {
		source := path.Clean(m.Source)
		switch {
		case m.volume() || ofRuntime(source):
		case slices.ContainsFunc(sockets, func(socket string) bool { return below(socket, source) && source != "/" }):
			p.Sockets = append(p.Sockets, source)
		case below(source, "/dev"):
			if !under(source, ordinaryDevices) {
				p.Devices = append(p.Devices, source)
			}
		case reaches(source, sensitive):
			p.HostPaths = append(p.HostPaths, source)
		}
	}
	for _, paths := range [][]string{p.Sockets, p.HostPaths, p.Devices} { // the same access in the same words
		slices.Sort(paths)
	}
}

// reaches reports whether a path is, lies below or holds one of the directories.
func reaches(source string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return dir != "/" && below(source, dir) || below(dir, source) })
}

// sockets of container runtimes.
var sockets = []string{
	"/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock",
	"/run/crio/crio.sock", "/var/run/crio/crio.sock", "/run/podman/podman.sock", "/var/run/podman/podman.sock",
	"/run/cri-dockerd.sock", "/var/run/cri-dockerd.sock", "/run/k3s/containerd/containerd.sock",
}

// ordinaryDevices are those that every container has.
var ordinaryDevices = []string{
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console", "/dev/ptmx", "/dev/pts",
	"/dev/shm", "/dev/mqueue", "/dev/termination-log",
}

// ofRuntime reports whether a path is a file that a runtime or the kubelet keeps for one container: its hosts file,
// termination log and the like.
func ofRuntime(source string) bool {
	return slices.ContainsFunc([]string{
		"/var/lib/kubelet/pods", "/var/lib/docker/containers", "/var/lib/docker/volumes",
		"/var/lib/containers/storage/overlay-containers", "/run/containers/storage/overlay-containers",
		"/run/containerd/io.containerd.grpc.v1.cri", "/var/lib/containerd/io.containerd.grpc.v1.cri",
		"/run/k3s/containerd/io.containerd.grpc.v1.cri", "/var/lib/rancher/k3s/agent/containerd",
	}, func(dir string) bool { return source != dir && below(source, dir) })
}
