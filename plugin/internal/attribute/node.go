package attribute

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A container reaches files of its node past its mounts when it mounts a disk itself, enters the node's mount namespace, goes
// through another process's root in /proc, or opens a device. No metadata tells that, but the files that it opens do.

// find says where a file lies: in which class of place, in which mount, and whether on the node.
func (a *Attributor) find(c *Container, f *File) {
	seen, link, foreign := a.through(c, f.Path)
	var mount *Mount
	if !foreign {
		mount = mountOf(seen, c.Mounts)
	}
	if f.Location != Memfd {
		f.Location = a.cfg.Paths.locate(seen, mount)
	}
	f.settings = a.cfg.Paths.settings(seen)
	f.concealed = f.Location == Hidden && a.cfg.Paths.scratch(seen).temporary()
	f.Runtime = f.Size == 0 && f.Location != Memfd && !link && a.cfg.Paths.runtime(seen)
	f.device, f.beyond = false, foreign || mount == nil && c.stray(f, seen)
	f.Mount, f.OfHost = "", f.beyond
	if mount != nil {
		f.Mount, f.OfHost = mount.Destination, !mount.volume() && !ofRuntime(mount.Source)
	}
	if c.OnHost() || f.whole || f.Size > 0 {
		return
	}
	if f.OfHost && mount != nil {
		seen = path.Join(mount.Source, strings.TrimPrefix(seen, mount.Destination))
	}
	if f.device = device(seen); f.device {
		f.OfHost, f.Runtime = true, false
	}
}

// through takes apart a path through a process in /proc: the path as that process sees it, whether it leads to what the process has
// open or in memory, which are no files of the kernel's, and whether it is another container's or the node's.
func (a *Attributor) through(c *Container, path string) (seen string, link, foreign bool) {
	pid, kind, rest := procPath(path)
	switch kind {
	case "root", "cwd":
		if pid != 0 && c.Posture.HostPID { // else the number is one of its own PID namespace
			p, ok := a.threads.Get(pid)
			foreign = !ok || p.Container != c
		}
		return "/" + rest, false, foreign
	case "fd", "map_files", "mem":
		return path, pid != 0 || kind == "fd", false
	default:
		return path, false, false
	}
}

// procPath takes apart a path below a process's or thread's directory in /proc: the process, 0 for the reader itself, the entry, and
// what follows that. The entry is empty for other paths.
func procPath(path string) (pid int64, entry, rest string) {
	rest, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return 0, "", ""
	}
	name, rest, _ := strings.Cut(rest, "/")
	if task, ok := strings.CutPrefix(rest, "task/"); ok {
		_, rest, _ = strings.Cut(task, "/")
	}
	pid, err := strconv.ParseInt(name, 10, 64)
	if err != nil && name != "self" && name != "thread-self" {
		return 0, "", ""
	}
	entry, rest, _ = strings.Cut(rest, "/")
	return pid, entry, rest
}

// openedAgain reports whether a path leads to what some process has open, under whatever name that has.
func openedAgain(path string) bool {
	_, entry, _ := procPath(path)
	return entry == "fd" || strings.HasPrefix(path, "/dev/fd/") || path == "/dev/stdin" || path == "/dev/stdout" || path == "/dev/stderr"
}

// stray reports whether a file that lies in none of the container's mounts is one of the node. Files that a container has of
// its image are on an overlay or the like, which has no block device; the node's disks have one.
func (c *Container) stray(f *File, path string) bool {
	major := f.dev >> 8 & 0xfff // as new_encode_dev() in include/linux/kdev_t.h
	switch {
	case f.dev == 0 || !c.mountsTold || slices.Contains(injected, path):
		return false
	case major == 0:
		c.layered = c.layered || f.Runtime && !under(path, kernelFiles)
		return false
	default:
		return c.layered && major != loopMajor
	}
}

// loopMajor is the block device that a file is mounted through (Documentation/admin-guide/devices.txt): of an image that the
// container has, as far as anybody can tell.
const loopMajor = 7

// injected are the files that runtimes mount into every container, wherever they keep them, without telling.
var injected = []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}

// kernelFiles are mounted in every container and tell nothing about its own file system.
var kernelFiles = []string{"/proc", "/sys", "/dev"}

// device reports whether a path is that of a device of the node.
func device(path string) bool {
	return below(path, "/dev") && path != "/dev" && !strings.Contains(path, "/.") && !strings.HasPrefix(path, "/dev/loop") &&
		!under(path, ordinaryDevices) && !under(path, channelDevices)
}

// channelDevices carry what programs give each other or send, and nothing of the node.
var channelDevices = []string{
	"/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/hugepages", "/dev/fuse", "/dev/net/tun", "/dev/kvm", "/dev/log",
}

// maxInjected is how much a runtime may read of the node's files in a container's name, or put into it without telling.
const maxInjected = 64 << 10

// strayed notes bytes that a container read of the node without having a mount for them.
func (c *Container) strayed(f *File, numBytes, now uint64, window time.Duration) {
	if now > c.beyondSince+uint64(window) {
		c.beyond, c.beyondSince = 0, now
	}
	if c.beyond += numBytes; c.beyond > maxInjected {
		c.Posture.NodeFiles = c.Posture.NodeFiles || f.beyond
		c.Posture.NodeDevices = c.Posture.NodeDevices || f.device
	}
}
