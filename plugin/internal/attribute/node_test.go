package attribute_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

// Devices of file systems, as new_encode_dev() gives them.
const (
	overlay = 41
	tmpfs   = 43
	disk    = 254 << 8
	loop    = 7 << 8
)

func (n *node) told(container byte, rest string) {
	id := cgroup(container)[len("/docker/"):][:12]
	n.state(decode.State{Kind: decode.KindAsync, Name: []byte("container"), Data: []byte(`{"container":{"id":"` + id + `",` + rest + `}}`)})
}

// reads lets a process read 100 kB of a file on a device, which it opened as 3.
func (n *node) reads(pid int64, path string, dev uint32) attribute.Transfer {
	n.open(pid, 3, path, false)
	fd := n.table.fds[pid][3]
	fd.Dev = dev
	n.table.fds[pid][3] = fd
	read := n.read(pid, 3, 100_000)
	require.Len(n, read, 1)
	return read[0]
}

func TestFilesOfTheNodeAreToldWhateverWayLeadsToThem(t *testing.T) {
	for _, test := range []struct {
		name, metadata, path string
		dev                  uint32
		ofHost, collected    bool
		reasons              string
	}{
		{"a file of the image", `"Mounts":[]`, "/srv/a.csv", overlay, false, true, ""},
		{"a host path", `"Mounts":[{"Source":"/srv","Destination":"/host"}]`, "/host/a.csv", disk, true, true, ""},
		{"a volume", `"Mounts":[{"Source":"/var/lib/docker/volumes/d/_data","Destination":"/data"}]`, "/data/a.csv", disk, false, true, ""},
		{"after chroot or in the node's mount namespace", `"Mounts":[]`, "/srv/a.csv", disk, true, true, "files of the node"},
		{"programs of the node", `"Mounts":[]`, "/usr/lib/libc.so.6", disk, true, false, ""},
		{"a disk that it mounted", `"Mounts":[]`, "/mnt/n/srv/a.csv", disk, true, true, "files of the node"},
		{"an image that it mounted", `"Mounts":[]`, "/mnt/n/srv/a.csv", loop, false, true, ""},
		{"what runtimes put into every container", `"Mounts":[]`, "/etc/hostname", disk, false, true, ""},
		{"where the mounts are not told", `"Mounts":null`, "/srv/a.csv", disk, false, true, ""},
		{"another process's root", `"Mounts":[],"host_pid":true`, "/proc/1/root/srv/a.csv", overlay, true, true, "host PID, files of the node"},
		{"another process's directory", `"Mounts":[],"host_pid":true`, "/proc/1/task/1/cwd/a.csv", overlay, true, true, "host PID, files of the node"},
		{"another process's programs", `"Mounts":[],"host_pid":true`, "/proc/1/root/usr/lib/libc.so.6", overlay, true, false, "host PID"},
		{"its own root", `"Mounts":[],"host_pid":true`, "/proc/10/root/srv/a.csv", overlay, false, true, "host PID"},
		{"its own root by name", `"Mounts":[],"host_pid":true`, "/proc/self/root/srv/a.csv", overlay, false, true, "host PID"},
		{"a number of its own PID namespace", `"Mounts":[]`, "/proc/1/root/srv/a.csv", overlay, false, true, ""},
		{"another process's memory", `"Mounts":[]`, "/proc/1/mem", tmpfs, false, true, ""},
		{"its own memory", `"Mounts":[]`, "/proc/self/mem", tmpfs, false, false, ""},
		{"what the kernel tells of a process", `"Mounts":[]`, "/proc/1/maps", tmpfs, false, false, ""},
		{"what the kernel tells", `"Mounts":[]`, "/proc/meminfo", tmpfs, false, false, ""},
		{"a disk as a device", `"Mounts":[]`, "/dev/vda", tmpfs, true, true, "devices of the node"},
		{"a disk of a mounted node", `"Mounts":[{"Source":"/","Destination":"/host"}]`, "/host/dev/mapper/root", tmpfs, true, true,
			"devices of the node, host path /"},
		{"an image as a device", `"Mounts":[]`, "/dev/loop0", tmpfs, false, false, ""},
		{"a device that every container has", `"Mounts":[]`, "/dev/urandom", tmpfs, false, false, ""},
		{"a device that carries what programs send", `"Mounts":[]`, "/dev/net/tun", tmpfs, false, false, ""},
		{"a file hidden among the devices", `"Mounts":[]`, "/dev/.x/a", tmpfs, false, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			n.told('a', test.metadata)
			n.reads(10, "/usr/lib/x86_64-linux-gnu/libz.so.1", overlay)
			read := n.reads(10, test.path, test.dev)
			f := read.Resource.File
			assert.Equal(t, test.ofHost, f.OfHost)
			assert.Equal(t, test.collected, !f.Runtime)
			assert.Equal(t, test.reasons, read.Container.Posture.Reasons())
		})
	}
}

func TestAContainerWhoseOwnFilesLieOnADiskIsNotSaidToReachTheNode(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.told('a', `"Mounts":[]`)
	n.reads(10, "/usr/lib/x86_64-linux-gnu/libz.so.1", disk)
	n.reads(10, "/proc/meminfo", tmpfs)
	assert.False(t, n.reads(10, "/srv/a.csv", disk).Resource.File.OfHost)
}

func TestWhatARuntimeReadsOfTheNodeInAContainersNameIsLittle(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.told('a', `"Mounts":[]`)
	n.reads(10, "/usr/lib/x86_64-linux-gnu/libz.so.1", overlay)
	posture := &n.a.Process(10).Container.Posture
	for range 20 { // as a probe does that runs a program in the container
		n.open(10, 3, "/var/lib/runtime/state.json", false)
		n.table.fds[10][3] = attribute.FD{Type: schema.FDFileV2, Name: "/var/lib/runtime/state.json", Dev: disk, Ino: 99}
		n.read(10, 3, 20_000)
		n.now += 300 * second
	}
	assert.Empty(t, posture.Reasons())
	n.reads(10, "/etc/shadow", disk)
	assert.Equal(t, "files of the node", posture.Reasons())
	n.told('a', `"Mounts":[]`)
	assert.Equal(t, "files of the node", posture.Reasons(), "metadata that is told again does not take it back")
}

func TestADeviceThatIsAFileOfItsOwnIsNone(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.told('a', `"Mounts":[]`)
	n.open(10, 4, "/dev/stash", true)
	n.write(10, 4, mb, "data")
	assert.False(t, n.reads(10, "/dev/stash", 1).Resource.File.OfHost)
	assert.Empty(t, n.a.Process(10).Container.Posture.Reasons())
}

func TestAFileKeepsItsNameWhenItIsOpenedThroughALink(t *testing.T) {
	for _, link := range []string{"/proc/self/fd/9", "/proc/10/fd/9", "/dev/fd/9", "/dev/stdout"} {
		t.Run(link, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			n.open(10, 9, "/tmp/.x/archive", true)
			n.inos[link] = n.inos["/tmp/.x/archive"]
			n.open(10, 4, link, true)
			written := n.write(10, 4, mb, "\x1f\x8b")
			assert.Equal(t, "/tmp/.x/archive", written.Resource.File.Path)
			assert.Equal(t, attribute.Hidden, written.Resource.File.Location)
		})
	}
}
