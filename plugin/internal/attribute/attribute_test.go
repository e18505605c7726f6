package attribute_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/config"
	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
	"github.com/falco-datastaging/datastaging/plugin/internal/schema"
)

const (
	start  = uint64(1_795_453_342_000_000_000) // ns since the epoch
	second = uint64(time.Second)
	mb     = uint64(1 << 20)
)

// table is an engine's tables, filled by the test.
type table struct {
	threads map[int64]attribute.Thread
	cgroups map[int64]string
	fds     map[int64]map[int32]attribute.FD
	lent    [][]byte // what the last call returned
}

func (t *table) Thread(tid int64) (attribute.Thread, bool) {
	t.takeBack()
	thread, ok := t.threads[tid]
	thread.Exe, thread.ContainerID = t.lend(thread.Exe), t.lend(thread.ContainerID)
	return thread, ok
}

func (t *table) Cgroup(tid int64, i int) (string, bool) {
	t.takeBack()
	path, ok := t.cgroups[tid]
	return t.lend(path), ok && i == 0
}

func (t *table) FD(tid int64, fd int32) (attribute.FD, bool) {
	t.takeBack()
	f, ok := t.fds[tid][fd]
	f.Name = t.lend(f.Name)
	return f, ok
}

// lend returns a string that is good until the next call only, as those of an engine are.
func (t *table) lend(s string) string {
	b := []byte(s)
	t.lent = append(t.lent, b)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (t *table) takeBack() {
	for _, b := range t.lent {
		for i := range b {
			b[i] = '?'
		}
	}
	t.lent = t.lent[:0]
}

// node is a machine under test: what happens on it is told in the order it happens.
type node struct {
	*testing.T
	table *table
	a     *attribute.Attributor
	now   uint64
	inos  map[string]uint64
}

func newNode(t *testing.T) *node {
	settings, err := config.Default().Settings()
	require.NoError(t, err)
	n := &node{
		T: t, now: start, inos: map[string]uint64{},
		table: &table{threads: map[int64]attribute.Thread{}, cgroups: map[int64]string{}, fds: map[int64]map[int32]attribute.FD{}},
	}
	n.a, err = attribute.New(settings.Attribute, n.table)
	require.NoError(t, err)
	return n
}

func cgroup(container byte) string {
	id := make([]byte, 64)
	for i := range id {
		id[i] = container
	}
	return "/docker/" + string(id)
}

// process starts a process of a container that was running before anything was watched.
func (n *node) process(pid int64, container byte) {
	n.table.threads[pid] = attribute.Thread{PID: pid, VPID: 1}
	n.table.cgroups[pid] = cgroup(container)
	n.table.fds[pid] = map[int32]attribute.FD{}
}

func (n *node) state(s decode.State) {
	s.TS = n.now
	n.a.State(&s)
}

// fork makes a child as a kernel in a PID namespace tells it: the parent knows the child by another number.
func (n *node) fork(parent, child, vtid int64, container byte) {
	n.state(decode.State{Kind: decode.KindClone, TID: parent, PID: parent, Ret: vtid})
	n.born(parent, child, vtid, container)
}

func (n *node) born(parent, child, vtid int64, container byte) {
	n.table.threads[child] = attribute.Thread{PID: child, VPID: vtid}
	n.table.fds[child] = map[int32]attribute.FD{}
	n.state(decode.State{
		Kind: decode.KindClone, TID: child, PID: child, PTID: parent, VTID: vtid,
		Cgroups: []byte("cpuset=" + cgroup(container) + "\x00"),
	})
}

func (n *node) exec(pid int64, container byte) {
	n.state(decode.State{Kind: decode.KindExec, TID: pid, PID: pid, Cgroups: []byte("cpuset=" + cgroup(container) + "\x00")})
}

// open makes a file known to the engine and tells the open.
func (n *node) open(pid int64, fd int32, path string, fresh bool) {
	ino, ok := n.inos[path]
	if !ok {
		ino = uint64(len(n.inos)) + 1
		n.inos[path] = ino
	}
	n.table.fds[pid][fd] = attribute.FD{Type: schema.FDFileV2, Name: path, Dev: 1, Ino: ino}
	n.state(decode.State{Kind: decode.KindOpen, TID: pid, FD: fd, Fresh: fresh})
}

func (n *node) socket(pid int64, fd int32, remote string, inbound bool) {
	f := attribute.FD{Type: schema.FDIPv4, Src: netip.MustParseAddrPort("10.77.0.11:41000"), Dst: netip.MustParseAddrPort(remote)}
	if inbound {
		f.Flags, f.Src, f.Dst = schema.FDRoleServer, f.Dst, f.Src
	}
	n.table.fds[pid][fd] = f
	n.state(decode.State{Kind: decode.KindSocket, TID: pid, FD: fd})
}

func (n *node) io(op schema.Op, pid int64, fd, fd2 int32, numBytes uint64, head string) []attribute.Transfer {
	n.now += second / 100
	io := decode.NewIO(n.now, pid, 1, numBytes, fd, fd2, op, []byte(head))
	var out [2]attribute.Transfer
	return out[:n.a.Transfers(&io, &out)]
}

func (n *node) read(pid int64, fd int32, numBytes uint64) []attribute.Transfer {
	return n.io(schema.OpRead, pid, fd, -1, numBytes, "data")
}

func (n *node) write(pid int64, fd int32, numBytes uint64, head string) attribute.Transfer {
	moved := n.io(schema.OpWrite, pid, fd, -1, numBytes, head)
	require.Len(n, moved, 1)
	return moved[0]
}

// copy lets a process read a file and write what it read to a new one, which stay open as 3 and 4.
func (n *node) copy(pid int64, from, to string, numBytes uint64, head string) attribute.Transfer {
	n.open(pid, 3, from, false)
	n.open(pid, 4, to, true)
	n.read(pid, 3, numBytes)
	return n.write(pid, 4, numBytes, head)
}

func TestAChainIsFollowedFromTheSourcesToThePeer(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	copied := n.copy(10, "/srv/customers.csv", "/tmp/work/copy", 8*mb, "name,address")
	assert.Equal(t, 8*mb, copied.From[attribute.Local])
	assert.Equal(t, attribute.Tmp, copied.Resource.File.Location)

	n.process(11, 'a') // packs
	n.open(11, 3, "/tmp/work/copy", false)
	n.open(11, 4, "/opt/x.bin", true)
	n.read(11, 3, 8*mb)
	archive := n.write(11, 4, 3*mb, "\x1f\x8b\x08")
	assert.True(t, archive.Resource.File.Packed)
	assert.Equal(t, 3*mb, archive.From[attribute.Staged])

	n.process(12, 'a') // sends
	n.open(12, 3, "/opt/x.bin", false)
	n.socket(12, 5, "203.0.113.10:443", false)
	n.read(12, 3, 3*mb)
	sent := n.write(12, 5, 3*mb, "\x16\x03\x01")
	assert.Equal(t, attribute.External, sent.Peer.Class)
	assert.Equal(t, 3*mb, sent.From[attribute.Packed])
	assert.False(t, sent.Resource.Inbound)
}

func TestOriginsAreAmountsNotMarks(t *testing.T) {
	t.Run("a service that reads a little and stores a large upload gathered only the little", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.open(10, 3, "/app/template.html", false)
		n.socket(10, 5, "198.51.100.7:50000", true)
		n.open(10, 4, "/tmp/upload", true)
		n.read(10, 3, 1000)
		n.read(10, 5, 50*mb)
		stored := n.write(10, 4, 50*mb, "\x1f\x8b")
		assert.EqualValues(t, 1000, stored.From[attribute.Local])
		assert.Equal(t, 50*mb, stored.From[attribute.Fetched])
	})
	t.Run("uploads that are passed on were not staged", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.socket(10, 6, "203.0.113.10:443", false)
		for i := range 3 { // what one left behind must not colour the next
			n.socket(10, 5, "198.51.100.7:50000", true)
			n.open(10, 4, fmt.Sprintf("/tmp/upload%d", i), true)
			n.read(10, 5, 50*mb)
			stored := n.write(10, 4, 50*mb, "PK\x03\x04")
			assert.Zero(t, stored.From[attribute.Local])
			n.read(10, 4, 50*mb)
			sent := n.write(10, 6, 50*mb, "")
			assert.Zero(t, sent.From[attribute.Staged])
			assert.Zero(t, sent.From[attribute.Packed])
		}
	})
	t.Run("what others sent in is collected by another program that takes it", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.socket(10, 5, "10.77.0.12:50000", true)
		n.open(10, 4, "/var/tmp/.in/part", true)
		n.read(10, 5, 50*mb)
		n.write(10, 4, 50*mb, "data")
		n.process(11, 'a')
		n.open(11, 3, "/var/tmp/.in/part", false)
		n.open(11, 4, "/var/tmp/.in/all", true)
		n.read(11, 3, 50*mb)
		assert.Equal(t, 40*mb, n.write(11, 4, 40*mb, "\x28\xb5\x2f\xfd").From[attribute.Local])
	})
	t.Run("a dump that one program receives, packs and stores is staged for the one that sends it", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.socket(10, 5, "10.77.0.12:5432", false)
		n.open(10, 4, "/tmp/.x/dump", true)
		n.read(10, 5, 50*mb)
		n.write(10, 4, 20*mb, "\x1f\x8b")
		n.process(11, 'a')
		n.open(11, 3, "/tmp/.x/dump", false)
		n.socket(11, 6, "203.0.113.10:443", false)
		n.read(11, 3, 20*mb)
		sent := n.write(11, 6, 20*mb, "")
		assert.Equal(t, 20*mb, sent.From[attribute.Staged])
		assert.Equal(t, 20*mb, sent.From[attribute.Packed])
	})
	t.Run("a dump that is piped to the program that sends it is piped", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.state(decode.State{Kind: decode.KindPipe, TID: 10, FD: 3, FD2: 4})
		n.fork(10, 11, 2, 'a')
		n.socket(10, 5, "10.77.0.12:5432", false)
		n.read(10, 5, 50*mb)
		n.write(10, 4, 50*mb, "")
		n.read(11, 3, 50*mb)
		n.socket(11, 6, "203.0.113.10:443", false)
		assert.Equal(t, 50*mb, n.write(11, 6, 50*mb, "").From[attribute.Piped])
	})
	t.Run("what was fetched from outside is not collected, whoever unpacks it", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.socket(10, 5, "203.0.113.10:443", false)
		n.open(10, 4, "/tmp/dist.tgz", true)
		n.read(10, 5, 50*mb)
		n.write(10, 4, 50*mb, "\x1f\x8b")
		n.process(11, 'a')
		n.open(11, 3, "/tmp/dist.tgz", false)
		n.open(11, 4, "/tmp/dist/lib", true)
		n.read(11, 3, 50*mb)
		unpacked := n.write(11, 4, 40*mb, "")
		assert.Zero(t, unpacked.From[attribute.Local])
		assert.Equal(t, 40*mb, unpacked.From[attribute.Fetched])
	})
	t.Run("the same file again and again is no more data", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.copy(10, "/srv/report", "/tmp/report", 9000, "")
		sent := uint64(0)
		for i := range int64(200) {
			n.process(100+i, 'a')
			n.open(100+i, 3, "/tmp/report", false)
			n.socket(100+i, 5, "203.0.113.10:443", false)
			n.read(100+i, 3, 9000)
			sent += n.write(100+i, 5, 9000, "").From[attribute.Staged]
		}
		assert.EqualValues(t, 2*9000, sent)
	})
	t.Run("the same data over many connections is no more data", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.copy(10, "/srv/report", "/tmp/report", 9000, "")
		sent := uint64(0)
		for range 200 {
			n.read(10, 4, 9000)
			n.socket(10, 5, "203.0.113.10:443", false)
			sent += n.write(10, 5, 9000, "").From[attribute.Staged]
		}
		assert.EqualValues(t, 2*9000, sent)
	})
	t.Run("each place gets up to what was read, as with tee", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.open(10, 3, "/srv/data", false)
		n.open(10, 4, "/tmp/one", true)
		n.open(10, 5, "/tmp/two", true)
		n.read(10, 3, mb)
		assert.Equal(t, mb, n.write(10, 4, mb, "").From[attribute.Local])
		assert.Equal(t, mb, n.write(10, 5, mb, "").From[attribute.Local])
		assert.Zero(t, n.write(10, 5, mb, "").From[attribute.Local], "more than was read")
	})
	t.Run("what was read is forgotten after a window", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.open(10, 3, "/srv/data", false)
		n.open(10, 4, "/tmp/one", true)
		n.read(10, 3, mb)
		n.now += 11 * 60 * second
		assert.Zero(t, n.write(10, 4, mb, "").From[attribute.Local])
	})
	t.Run("a new program starts with nothing, a forked child with its parent's memory", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.open(10, 3, "/srv/data", false)
		n.read(10, 3, mb)
		n.fork(10, 11, 2, 'a')
		n.open(11, 4, "/tmp/one", true)
		assert.Equal(t, mb, n.write(11, 4, mb, "").From[attribute.Local])
		n.exec(11, 'a')
		n.open(11, 5, "/tmp/two", true)
		assert.Zero(t, n.write(11, 5, mb, "").From[attribute.Local])
	})
}

// The shell starts "producer | consumer" and closes its own ends before the children's first events come.
func TestAPipelineIsFollowedThoughTheShellClosesItsPipeFirst(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.open(10, 0, "/dev/null", false)
	n.state(decode.State{Kind: decode.KindPipe, TID: 10, FD: 3, FD2: 4, Ino: 77})
	n.state(decode.State{Kind: decode.KindClone, TID: 10, PID: 10, Ret: 8})
	n.state(decode.State{Kind: decode.KindClose, TID: 10, FD: 4})
	n.state(decode.State{Kind: decode.KindClone, TID: 10, PID: 10, Ret: 9})
	n.state(decode.State{Kind: decode.KindClose, TID: 10, FD: 3})
	n.born(10, 101, 9, 'a') // the consumer comes first
	n.born(10, 100, 8, 'a')

	n.table.fds[101][0] = attribute.FD{Type: schema.FDFileV2, Name: "/dev/null", Ino: 5} // what libs shows
	n.state(decode.State{Kind: decode.KindDup, TID: 101, FD: 3, FD2: 0})
	n.state(decode.State{Kind: decode.KindDup, TID: 100, FD: 4, FD2: 1})
	n.exec(100, 'a')
	n.exec(101, 'a')

	n.open(100, 5, "/srv/data", false)
	n.read(100, 5, mb)
	piped := n.write(100, 1, mb, "")
	assert.Equal(t, attribute.PipeKind, piped.Resource.Kind)
	got := n.read(101, 0, mb)
	require.Len(t, got, 1)
	assert.Same(t, piped.Resource, got[0].Resource)

	n.socket(101, 6, "203.0.113.10:9001", false)
	sent := n.write(101, 6, mb, "")
	assert.Equal(t, mb, sent.From[attribute.Piped])
	assert.Equal(t, mb, sent.From[attribute.Local])
}

// A server accepts a connection, forks and closes its own end before the child's first event comes.
func TestAConnectionIsInheritedThoughTheServerClosesItFirst(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.table.fds[10][8] = attribute.FD{
		Type: schema.FDIPv4, Flags: schema.FDRoleServer,
		Src: netip.MustParseAddrPort("10.77.0.12:42000"), Dst: netip.MustParseAddrPort("10.77.0.11:5432"),
	}
	n.state(decode.State{Kind: decode.KindSocket, Type: schema.Accept4, TID: 10, FD: 8})
	n.state(decode.State{Kind: decode.KindClone, TID: 10, PID: 10, Ret: 2})
	n.state(decode.State{Kind: decode.KindClose, TID: 10, FD: 8})
	delete(n.table.fds[10], 8)
	n.born(10, 11, 2, 'a')
	sent := n.write(11, 8, mb, "")
	assert.True(t, sent.Resource.Inbound)
	assert.Equal(t, netip.MustParseAddrPort("10.77.0.12:42000"), sent.Peer.Addr)
}

func TestBytesAreFollowedThroughConnectionsWithinTheMachine(t *testing.T) {
	unix := attribute.FD{Type: schema.FDUnix, UnixSrc: 0xffff8881025e5f80, UnixDst: 0xffff8881025e7600}
	loopback := attribute.FD{
		Type: schema.FDIPv4, Src: netip.MustParseAddrPort("127.0.0.1:40000"), Dst: netip.MustParseAddrPort("127.0.0.1:9000"),
	}
	for _, test := range []struct {
		name      string
		fd        attribute.FD
		container byte // of the receiver
		want      uint64
	}{
		{"a Unix socket", unix, 'a', mb},
		{"a Unix socket in a volume of two containers", unix, 'b', mb},
		{"a loopback connection", loopback, 'a', mb},
		{"a loopback connection of two containers of a pod", loopback, 'b', mb},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			n.process(20, test.container)
			n.copy(10, "/srv/data", "/dev/shm/x", mb, "\x1f\x8b")
			n.read(10, 4, mb)
			accepted := test.fd
			accepted.Flags = schema.FDRoleServer
			n.table.fds[10][5], n.table.fds[20][5] = test.fd, accepted
			n.write(10, 5, mb, "")
			read := n.read(20, 5, mb)
			if test.container == 'a' {
				assert.Nil(t, read[0].HandedOver)
			} else {
				assert.Equal(t, "aaaaaaaaaaaa", read[0].HandedOver.ID)
				assert.Equal(t, mb, read[0].Handed)
			}
			n.write(20, 5, 100, "")
			answer := n.read(10, 5, 100)
			assert.Equal(t, read[0].HandedOver == nil, answer[0].HandedOver == nil, "each way has its own giver")
			n.socket(20, 6, "203.0.113.10:443", false)
			sent := n.write(20, 6, mb, "")
			assert.Equal(t, test.want, sent.From[attribute.OwnPacked])
			assert.Zero(t, sent.From[attribute.Piped], "servers that talk to each other are no pipeline")
		})
	}
}

func TestConnectionsOfTwoNetworkNamespacesAreNotMixedUp(t *testing.T) {
	n := newNode(t)
	client := attribute.FD{
		Type: schema.FDIPv4, Src: netip.MustParseAddrPort("127.0.0.1:40000"), Dst: netip.MustParseAddrPort("127.0.0.1:9000"),
	}
	server := client
	server.Flags = schema.FDRoleServer
	n.process(10, 'a')
	n.process(11, 'a')
	n.process(20, 'b') // uses the same ports in a network namespace of its own
	n.process(21, 'b')
	n.copy(10, "/srv/data", "/dev/shm/x", mb, "\x1f\x8b")
	n.read(10, 4, mb)
	n.table.fds[10][5], n.table.fds[11][5] = client, server
	n.table.fds[20][5], n.table.fds[21][5] = client, server
	n.write(10, 5, mb, "")
	n.read(11, 5, mb)
	n.write(20, 5, mb, "")
	assert.Nil(t, n.read(21, 5, mb)[0].HandedOver)
	n.socket(21, 6, "203.0.113.10:443", false)
	assert.Zero(t, n.write(21, 6, mb, "").From[attribute.OwnPacked])
	n.socket(11, 6, "203.0.113.10:443", false)
	assert.Equal(t, mb, n.write(11, 6, mb, "").From[attribute.OwnPacked])
}

func TestPeersAreKnownByTheirSockets(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.process(20, 'b')
	server := netip.MustParseAddrPort("10.77.0.12:5432")
	client := netip.MustParseAddrPort("10.77.0.11:41000")
	n.table.fds[20][8] = attribute.FD{Type: schema.FDIPv4, Flags: schema.FDRoleServer, Src: client, Dst: server}
	assert.Empty(t, n.read(20, 8, mb)[0].Peer.Name(), "nothing is known of the other end yet")
	n.socket(10, 5, server.String(), false)
	sent := n.write(10, 5, mb, "")
	assert.Equal(t, attribute.ContainerPeer, sent.Peer.Class)
	assert.Equal(t, "bbbbbbbbbbbb", sent.Peer.Name())
	assert.Equal(t, "aaaaaaaaaaaa", n.read(20, 8, mb)[0].Peer.Name(), "found when it shows itself")
	for fd, test := range []struct {
		remote string
		class  attribute.PeerClass
		name   string
	}{
		{"10.77.0.12:9999", attribute.ContainerPeer, "bbbbbbbbbbbb"}, // another port of the same address
		{"169.254.169.254:80", attribute.HostPeer, "metadata-service"},
		{"10.77.0.99:80", attribute.Cluster, ""},
		{"203.0.113.10:443", attribute.External, ""},
	} {
		n.socket(10, int32(20+fd), test.remote, false)
		peer := n.write(10, int32(20+fd), 1, "").Peer
		assert.Equal(t, test.class, peer.Class, test.remote)
		assert.Equal(t, test.name, peer.Name(), test.remote)
	}

	// A container that gives itself an outside address hides nobody.
	n.process(30, 'c')
	n.table.fds[30][8] = attribute.FD{
		Type: schema.FDIPv4, Flags: schema.FDRoleServer,
		Src: netip.MustParseAddrPort("203.0.113.10:41000"), Dst: netip.MustParseAddrPort("203.0.113.10:443"),
	}
	n.read(30, 8, mb)
	n.socket(10, 6, "203.0.113.10:443", false)
	assert.Equal(t, attribute.External, n.write(10, 6, mb, "").Peer.Class)

	// What a container sends to its own address does not leave it.
	n.socket(10, 7, "10.77.0.11:8080", false)
	assert.Equal(t, attribute.Loopback, n.write(10, 7, mb, "").Peer.Class)
}

func TestStagedFilesAreRememberedLongerThanWhatWasRead(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.copy(10, "/srv/data", "/var/tmp/.x/part", mb, "\x1f\x8b")
	for _, test := range []struct {
		after uint64 // seconds
		want  uint64
	}{{6 * 3600, mb}, {25 * 3600, 0}} {
		n.now += test.after * second
		pid := int64(100 + test.after)
		n.process(pid, 'a')
		n.open(pid, 3, "/var/tmp/.x/part", false)
		n.socket(pid, 5, "203.0.113.10:443", false)
		n.read(pid, 3, mb)
		assert.Equal(t, test.want, n.write(pid, 5, mb, "").From[attribute.Packed], "after %d s", test.after)
	}
}

func TestDataThatEnteredAFileUnseenIsFoundWhenItIsRead(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.open(10, 4, "/dev/shm/mapped", true) // filled through a mapping, or by io_uring
	n.process(11, 'a')
	n.socket(11, 5, "203.0.113.10:443", false)
	staged := uint64(0)
	for range 3 { // the same bytes again are no more data
		n.open(11, 3, "/dev/shm/mapped", false)
		for range 4 {
			require.True(t, n.io(schema.OpRead, 11, 3, -1, mb, "\x1f\x8b\x08")[0].Staged)
			staged += n.write(11, 5, mb, "").From[attribute.Packed]
		}
	}
	assert.Equal(t, 2*4*mb, staged)

	n.process(12, 'a')
	n.socket(12, 5, "203.0.113.10:443", false)
	n.open(12, 3, "/dev/shm/mapped", true) // emptied and written as usual
	n.write(12, 3, 100, "plain")
	n.open(12, 3, "/dev/shm/mapped", false)
	n.read(12, 3, 4096)
	assert.Zero(t, n.write(12, 5, 4096, "").From[attribute.Staged])
}

func TestEncryptedFilesWithoutAHeaderAreToldByTheirBytes(t *testing.T) {
	seed := rand.NewChaCha8([32]byte{1})
	random := make([]byte, 64)
	for _, test := range []struct {
		name, path string
		head       func() []byte
		want       bool
	}{
		{"random bytes in a temporary directory", "/tmp/x", func() []byte { seed.Read(random); return random }, true},
		{"random bytes in a hidden directory", "/srv/.x/f", func() []byte { seed.Read(random); return random }, true},
		{"random bytes where a service may have formats of its own", "/srv/db/f", func() []byte { seed.Read(random); return random }, false},
		{"objects of a repository", "/tmp/build/.git/objects/aa/bb", func() []byte { seed.Read(random); return random }, false},
		{"too few to tell", "/tmp/x", func() []byte { seed.Read(random); return random[:63] }, false},
		{"a document", "/tmp/x", func() []byte { seed.Read(random); return append([]byte("%PDF-1.7"), random...) }, false},
		{"base64", "/tmp/x", func() []byte { seed.Read(random); return []byte(base64.StdEncoding.EncodeToString(random)) }, false},
		{"text", "/tmp/x", func() []byte { return []byte("The quick brown fox jumps over the lazy dog, 0123456789 times; OK!?") }, false},
		{"a program", "/tmp/x", func() []byte {
			return []byte("\x55\x48\x89\xe5\x41\x57\x41\x56\x41\x55\x41\x54\x53\x48\x83\xec\x48\x48\x89\x7d\xb8\x48\x89\x75\xb0\x48\x8b\x07\x48\x89" +
				"\x45\xc8\x31\xc0\x48\x8d\x3d\x00\x00\x00\x00\xe8\x00\x00\x00\x00\x48\x8b\x5d\xc8\x48\x8b\x4b\x18\x48\x8b\x53\x10\x48\x8b\x43\x08\xff\xd0")
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			right := 0
			for i := range 100 { // a single sample may err
				n.open(10, 4, fmt.Sprintf("%s%d", test.path, i), true)
				if n.write(10, 4, mb, string(test.head())).Resource.File.Packed == test.want {
					right++
				}
			}
			assert.GreaterOrEqual(t, right, 90)
		})
	}
}

func TestAFileWithoutANameIsAFile(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.open(10, 3, "/srv/data", false)
	n.read(10, 3, mb)
	n.table.fds[10][4] = attribute.FD{Type: schema.FDDir, Name: "/var/tmp", Dev: 1, Ino: 99} // O_TMPFILE, as libs shows it
	n.state(decode.State{Kind: decode.KindOpen, TID: 10, FD: 4, Fresh: true})
	f := n.write(10, 4, mb, "").Resource.File
	assert.Equal(t, attribute.Tmp, f.Location)
	assert.Equal(t, "/var/tmp", f.Dir())
}

func TestDotDirectoriesOfAHomeAreNoOddPlaceButStage(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	kept := n.copy(10, "/srv/data", "/root/.cache/x/f", mb, "")
	assert.Equal(t, attribute.NoLocation, kept.Resource.File.Location, "programs keep caches there")
	n.process(11, 'a')
	n.open(11, 5, "/root/.cache/x/f", false)
	n.read(11, 5, mb)
	n.socket(11, 6, "203.0.113.10:443", false)
	assert.Equal(t, mb, n.write(11, 6, mb, "").From[attribute.Staged])
}

func TestPagesMadeOfADatabasesAnswersAreNotGatheredAndDumpsAre(t *testing.T) {
	for _, test := range []struct {
		name, path   string
		size, packed uint64
	}{
		{"a page", "/var/www/html/cache/1.html.gz", 20_000, 0},
		{"a dump", "/var/www/html/cache/dump.sql.gz", 2 * mb, 2 * mb},
		{"a small one elsewhere", "/tmp/dump.sql.gz", 20_000, 20_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			n.socket(10, 5, "10.77.0.60:3306", false)
			n.open(10, 4, test.path, true)
			n.read(10, 5, 5*mb)
			n.write(10, 4, test.size, "\x1f\x8b\x08")
			n.process(11, 'a')
			n.open(11, 3, test.path, false)
			n.socket(11, 5, "198.51.100.7:40000", true)
			n.read(11, 3, test.size)
			assert.Equal(t, test.packed, n.write(11, 5, test.size, "").From[attribute.Packed])
		})
	}
}

func TestServedContentThatIsPackedAheadOfRequestsIsNotCollected(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a') // deploys
	n.copy(10, "/srv/site/app.js", "/var/www/html/app.js", mb, "")
	n.process(11, 'a') // compresses
	assert.Zero(t, n.copy(11, "/var/www/html/app.js", "/var/www/html/app.js.gz", mb, "\x1f\x8b").From[attribute.Local])

	n.state(decode.State{Kind: decode.KindListen, TID: 11, FD: 8}) // from now on it serves
	n.process(14, 'a')
	n.copy(14, "/srv/customers.csv", "/var/www/html/c", mb, "")
	n.process(15, 'a')
	assert.Equal(t, mb, n.copy(15, "/var/www/html/c", "/var/www/html/c.gz", mb, "\x1f\x8b").From[attribute.Local], "put there while it serves")

	n.process(12, 'a') // drops an archive of something else
	n.copy(12, "/srv/customers.csv", "/var/www/html/logo.png", mb, "\x1f\x8b")
	n.process(13, 'a') // serves
	n.open(13, 3, "/var/www/html/logo.png", false)
	n.socket(13, 5, "203.0.113.10:50000", true)
	n.read(13, 3, mb)
	assert.Equal(t, mb, n.write(13, 5, mb, "").From[attribute.Packed])
}

func TestBytesMovedInsideTheKernelAreReadAndWritten(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.open(10, 3, "/srv/data", false)
	n.open(10, 4, "/dev/shm/copy", true)
	moved := n.io(schema.OpMove, 10, 3, 4, mb, "")
	require.Len(t, moved, 2)
	assert.False(t, moved[0].Write)
	assert.True(t, moved[1].Write)
	assert.Equal(t, mb, moved[1].From[attribute.Local])
	assert.Equal(t, attribute.Shm, moved[1].Resource.File.Location)
}

func TestPartsOfWhatAPipeCarriesAreArchivesWhereverTheyLie(t *testing.T) {
	const line = "Y3VzdG9tZXIsbmFtZSxzdHJlZXQsY2l0eSxpYmFuCjEsQW5uYSBCZXJnZXIsSGF1cHRzdHIuIDEsQmVybGlu"
	random := make([]byte, 80)
	rand.NewChaCha8([32]byte{1}).Read(random)
	for _, test := range []struct {
		name, first, part string
		packed            bool
	}{
		{"parts of an archive", "\x1f\x8b\x08" + string(random), string(random), true},
		{"parts of one that is written as text", line, line, true},
		{"text", "name,street,city\n" + line, "name,street,city\n" + line, false},
		{"a list of identifiers", strings.Repeat("0b7e2f4c-9d1a\n", 6), strings.Repeat("0b7e2f4c-9d1a\n", 6), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			n.process(11, 'a')
			for pid := range int64(2) {
				n.table.fds[10+pid][7] = attribute.FD{Type: schema.FDFifo, Ino: 77}
			}
			n.open(10, 3, "/srv/customers.csv", false)
			n.read(10, 3, 4*mb)
			n.write(10, 7, mb, test.first)
			n.write(10, 7, mb, test.part)
			n.read(11, 7, 2*mb)
			n.open(11, 4, "/opt/app/part.aa", true)
			assert.Equal(t, test.packed, n.write(11, 4, mb, test.first).Resource.File.Packed)
			n.open(11, 4, "/opt/app/part.ab", true)
			assert.Equal(t, test.packed, n.write(11, 4, mb, test.part).Resource.File.Packed)
		})
	}
}

func TestWhatSomebodyHidToBeFetchedIsConcealed(t *testing.T) {
	for _, test := range []struct {
		path      string
		concealed uint64
	}{
		{"/var/tmp/.srv/customers.csv", mb},
		{"/run/.x", mb},
		{"/tmp/export/customers.csv", 0},
		{"/app/.cache/thumbs", 0},
		{"/var/www/.well-known/list", 0},
		{"/root/.cache/list", 0},
	} {
		t.Run(test.path, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			n.copy(10, "/srv/customers.csv", test.path, mb, "name,street")
			n.process(11, 'a')
			n.open(11, 3, test.path, false)
			n.read(11, 3, mb)
			n.socket(11, 5, "203.0.113.10:40000", true)
			assert.Equal(t, test.concealed, n.write(11, 5, mb, "").From[attribute.Concealed])
			n.open(10, 3, test.path, false)
			n.read(10, 3, mb)
			n.socket(10, 5, "203.0.113.10:40001", true)
			assert.Zero(t, n.write(10, 5, mb, "").From[attribute.Concealed], "by whom it was written")
		})
	}
}

func TestPartsAndCopiesOfAnArchiveAreArchivesAndWhatComesOutOfOneIsNot(t *testing.T) {
	random := make([]byte, 64)
	rand.NewChaCha8([32]byte{}).Read(random)
	for _, test := range []struct {
		name string
		op   schema.Op
		head string
		want bool
	}{
		{"a part", schema.OpWrite, string(random), true},
		{"base64 of it", schema.OpWrite, base64.StdEncoding.EncodeToString(random)[:64], true},
		{"a copy inside the kernel", schema.OpMove, "", true},
		{"a document from it", schema.OpWrite, "%PDF-1.7" + string(random), false},
		{"a table from it", schema.OpWrite, strings.Repeat("id,name,address\n", 4), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			n.copy(10, "/srv/data", "/tmp/all", 4*mb, "\x28\xb5\x2f\xfd")
			n.process(11, 'a')
			n.open(11, 3, "/tmp/all", false)
			for _, name := range []string{"/srv/aa", "/srv/ab", "/srv/ac"} {
				n.open(11, 4, name, true)
				if test.op == schema.OpWrite {
					n.read(11, 3, mb)
				}
				moved := n.io(test.op, 11, map[schema.Op]int32{schema.OpWrite: 4, schema.OpMove: 3}[test.op], 4, mb, test.head)
				assert.Equal(t, test.want, moved[len(moved)-1].Resource.File.Packed, name)
			}
		})
	}
}

func TestAServiceThatReadsBackItsOwnVolumeStagesNothing(t *testing.T) {
	for _, test := range []struct {
		name   string
		head   string
		reader int64
		want   uint64
	}{
		{"the writer reads it back", "", 10, 0},
		{"the writer reads back what it packed", "\x1f\x8b", 10, 0},
		{"another program takes it", "", 11, mb},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.state(decode.State{Kind: decode.KindAsync, Name: []byte("container"), Data: []byte(
				`{"container":{"id":"aaaaaaaaaaaa","Mounts":[{"Source":"/var/lib/docker/volumes/db/_data","Destination":"/data"}]}}`)})
			n.process(10, 'a')
			n.process(11, 'a')
			buffered := n.copy(10, "/srv/log", "/data/buffer", mb, test.head)
			require.Equal(t, attribute.Volume, buffered.Resource.File.Location)
			n.open(test.reader, 5, "/data/buffer", false)
			n.read(test.reader, 5, mb)
			n.socket(test.reader, 6, "203.0.113.10:443", false)
			sent := n.write(test.reader, 6, mb, "")
			assert.Equal(t, test.want, sent.From[attribute.Staged])
			assert.Zero(t, sent.From[attribute.Packed])
		})
	}
}

func TestWhatARuntimeReadsOnTheWayInIsNotTheContainers(t *testing.T) {
	group := []byte("cpuset=" + cgroup('a') + "\x00")
	n := newNode(t)
	n.table.threads[5] = attribute.Thread{PID: 5, VPID: 5, Exe: "/usr/sbin/runc"}
	n.table.cgroups[5] = "/system.slice/containerd.service"
	n.table.fds[5] = map[int32]attribute.FD{}
	n.a.Process(5)
	fork := func(parent, child, vtid int64, group []byte) {
		n.table.threads[child] = attribute.Thread{PID: child, VPID: vtid}
		n.table.fds[child] = map[int32]attribute.FD{}
		n.state(decode.State{Kind: decode.KindClone, TID: child, PID: child, PTID: parent, VTID: vtid, Cgroups: group})
	}
	reads := func(pid int64) int {
		n.open(pid, 3, "/run/containerd/config.json", false)
		return len(n.read(pid, 3, mb))
	}
	exec := func(pid int64, exe string) {
		n.state(decode.State{Kind: decode.KindExec, TID: pid, PID: pid, Exe: []byte(exe), Cgroups: group})
	}
	fork(5, 6, 6, []byte("cpuset=/system.slice/containerd.service\x00"))
	assert.Equal(t, 1, reads(6), "it is a process of the host still")
	exec(6, "runc") // moved into the group and run anew, from a copy
	assert.Zero(t, reads(6))
	fork(6, 7, 7, group)
	fork(7, 8, 1, group)
	assert.Zero(t, reads(7))
	assert.Zero(t, reads(8))
	exec(8, "/usr/sbin/runc")
	assert.Equal(t, 1, reads(8), "the container's first program, whatever it is called")
	fork(8, 9, 2, group)
	assert.Equal(t, 1, reads(9))

	fork(5, 10, 10, group)
	assert.Zero(t, reads(10), "a runtime that moves its child before it forks")
	n.now += 10 * second
	assert.Equal(t, 1, reads(10), "no set-up takes as long")
}

func TestWorkersOfOneServerPassOnWhatAnotherStored(t *testing.T) {
	upload := func(n *node, pid int64) {
		n.socket(pid, 5, "10.77.0.70:5432", false)
		n.open(pid, 4, "/tmp/spool/1", true)
		n.read(pid, 5, mb)
		n.write(pid, 4, mb, "data")
	}
	send := func(n *node, pid int64) uint64 {
		n.open(pid, 3, "/tmp/spool/1", false)
		n.socket(pid, 6, "203.0.113.10:443", false)
		n.read(pid, 3, mb)
		return n.write(pid, 6, mb, "").From[attribute.Staged]
	}
	program := func(n *node, pid int64, exe string) {
		n.state(decode.State{
			Kind: decode.KindExec, TID: pid, PID: pid, Exe: []byte(exe), Cgroups: []byte("cpuset=" + cgroup('a') + "\x00"),
		})
	}
	t.Run("workers that were forked by one master", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		program(n, 10, "/usr/bin/python3")
		n.fork(10, 11, 2, 'a')
		n.fork(10, 12, 3, 'a')
		upload(n, 11)
		assert.Zero(t, send(n, 12))
	})
	t.Run("two runs of one interpreter", func(t *testing.T) {
		n := newNode(t)
		for pid := int64(11); pid <= 12; pid++ {
			n.process(pid, 'a')
			program(n, pid, "/usr/bin/python3")
		}
		upload(n, 11)
		assert.Equal(t, mb, send(n, 12))
	})
	t.Run("servers that were there before", func(t *testing.T) {
		n := newNode(t)
		for pid, exe := range map[int64]string{11: "/usr/sbin/apache2", 12: "/usr/sbin/apache2", 13: "/usr/bin/curl"} {
			n.process(pid, 'a')
			n.table.threads[pid] = attribute.Thread{PID: pid, VPID: 1, Exe: exe}
		}
		upload(n, 11)
		assert.Zero(t, send(n, 12))
		assert.Equal(t, mb, send(n, 13), "another program")
	})
}

func TestUploadsAreGatheredWhereTheyArePackedHiddenOrOfMany(t *testing.T) {
	const many = 3
	for _, test := range []struct {
		name, path, head string
		peers            int
		apart            uint64 // ns between peers
		staged           uint64 // of what another program sends outside
	}{
		{"one peer's are converted and sent away", "/tmp/up", "data", 1, 0, 0},
		{"two replicas of a proxy pass on what is", "/tmp/up", "data", many - 1, 0, 0},
		{"many peers'", "/tmp/up", "data", many, 0, many * mb},
		{"many peers', one after the other", "/tmp/up", "data", many, 6 * 60 * second, 0},
		{"one that came packed", "/tmp/up", "\x1f\x8b\x08", 1, 0, mb},
		{"a document, which is a zip by its format", "/tmp/up", "PK\x03\x04" + strings.Repeat("\x00", 26) + "[Content_Types].xml", 1, 0, 0},
		{"hidden", "/tmp/.up/1", "data", 1, 0, mb},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			n.process(20, 'a')
			n.open(10, 4, test.path, true)
			for i := range test.peers {
				n.now += test.apart
				n.socket(10, 5, fmt.Sprintf("10.77.0.%d:40000", 70+i), true)
				n.read(10, 5, mb)
				moved := n.write(10, 4, mb, test.head)
				assert.Equal(t, mb, moved.From[attribute.Uploaded])
				assert.Zero(t, moved.From[attribute.Received])
			}
			n.open(20, 3, test.path, false)
			n.open(20, 7, "/tmp/out", true)
			n.socket(20, 6, "203.0.113.10:443", false)
			size := mb * uint64(test.peers)
			n.read(20, 3, size)
			assert.Equal(t, test.staged, n.write(20, 6, size, "").From[attribute.Staged])
			collected := n.write(20, 7, size, "data").From[attribute.Local]
			if test.path != "/tmp/up" {
				assert.Equal(t, test.staged, collected, "what is hidden was collected by whoever takes it")
			} else {
				assert.Zero(t, collected, "what is made of it is an upload still")
			}
		})
	}
}

func TestUploadsThatArePackedHereAreGathered(t *testing.T) {
	n := newNode(t)
	for _, pid := range []int64{10, 20, 30} {
		n.process(pid, 'a')
		n.exec(pid, 'a')
	}
	n.socket(10, 5, "10.77.0.70:40000", true)
	n.open(10, 4, "/tmp/up", true)
	n.read(10, 5, mb)
	n.write(10, 4, mb, "data")
	n.open(20, 3, "/tmp/up", false)
	n.open(20, 4, "/tmp/up.gz", true)
	n.read(20, 3, mb)
	n.write(20, 4, mb, "\x1f\x8b\x08")
	n.open(30, 3, "/tmp/up.gz", false)
	n.socket(30, 6, "203.0.113.10:443", false)
	n.read(30, 3, mb)
	assert.Equal(t, mb, n.write(30, 6, mb, "").From[attribute.Staged])
}

func TestWhatAProgramHasConvertedIsItsOwn(t *testing.T) {
	for _, test := range []struct {
		name, head string
		sender     int64  // 10 stored what was converted, 30 is another program
		beside     uint64 // what the converter reads of the container's own data
		staged     uint64
	}{
		{"taken back by the program that ordered it", "data", 10, 100 << 10, 0},
		{"sent by another program", "data", 30, 0, mb},
		{"mixed with as much of the container's own", "data", 10, mb, mb},
		{"packed", "\x1f\x8b\x08", 10, 0, mb},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			for _, pid := range []int64{10, 20, 30} {
				n.process(pid, 'a')
				n.exec(pid, 'a')
			}
			n.socket(10, 5, "10.77.0.70:5432", false)
			n.open(10, 4, "/tmp/in", true)
			n.read(10, 5, mb)
			n.write(10, 4, mb, "data")
			n.open(20, 3, "/tmp/in", false)
			n.open(20, 4, "/tmp/out", true)
			n.open(20, 5, "/srv/fonts", false)
			n.read(20, 5, test.beside)
			n.read(20, 3, mb)
			n.write(20, 4, mb, test.head)
			n.open(test.sender, 7, "/tmp/out", false)
			n.socket(test.sender, 6, "203.0.113.10:443", false)
			n.read(test.sender, 7, mb)
			assert.Equal(t, test.staged, n.write(test.sender, 6, mb, "").From[attribute.Staged])
		})
	}
}

// A write that blocks ends after what it wrote was read, and perhaps sent.
func TestABlockedWriteIsToldLate(t *testing.T) {
	const big = 8 * mb
	for _, test := range []struct {
		name   string
		told   uint64 // of the write
		before uint64 // taken before it was told
		sent   uint64 // of that, to an external peer
		found  uint64 // to be staged data then
	}{
		{"all was taken and sent", big, big, big, big},
		{"all was taken and half sent", big, big, big / 2, big / 2},
		{"half was taken and sent", big, big / 2, big / 2, big / 2},
		{"nothing was sent yet", big, big, 0, 0},
		{"a write that the pipe has room for", 4096, 4096, 4096, 0},
		{"more was taken than written: the beginning was not seen", big, 3 * big, 3 * big, big},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			n.process(20, 'a')
			n.state(decode.State{Kind: decode.KindPipe, TID: 10, FD: 8, FD2: 9, Ino: 77})
			n.table.fds[20][8] = attribute.FD{Type: schema.FDFifo, Ino: 77}
			n.socket(20, 6, "203.0.113.10:443", false)
			n.open(10, 3, "/srv/data", false)
			n.read(10, 3, test.told)
			n.read(20, 8, test.before)
			if test.sent > 0 {
				assert.Zero(t, n.write(20, 6, test.sent, "").From[attribute.Piped])
			}
			moved := n.io(schema.OpWrite, 10, 9, -1, test.told, "\x1f\x8b\x08")
			last := moved[len(moved)-1]
			assert.Equal(t, test.told, last.NumBytes, "the write itself")
			if test.found == 0 {
				require.Len(t, moved, 1)
			} else {
				require.Len(t, moved, 2)
				assert.Equal(t, "203.0.113.10:443", moved[0].Peer.Addr.String())
				assert.Zero(t, moved[0].NumBytes, "they were counted when they were sent")
				assert.Equal(t, test.found, moved[0].From[attribute.Piped])
				assert.Equal(t, test.found, moved[0].From[attribute.Packed])
			}
			if test.told < mb {
				return
			}
			// What is left is told as usual, and nothing twice.
			n.read(20, 8, test.told-min(test.told, test.before))
			assert.Equal(t, test.told-test.found, n.write(20, 6, 4*big, "").From[attribute.Piped])
		})
	}
}

func TestAServerMayAnswerWithWhatItPacks(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.process(40, 'a')
	n.open(10, 3, "/srv/data", false)
	n.open(10, 4, "/tmp/report.zip", true)
	n.read(10, 3, mb)
	n.write(10, 4, mb, "PK\x03\x04")
	n.open(10, 5, "/tmp/report.zip", false)
	n.read(10, 5, mb)
	n.socket(10, 6, "203.0.113.10:40000", true)
	from := n.write(10, 6, mb, "").From
	assert.Equal(t, mb, from[attribute.OwnPacked])
	assert.Zero(t, from[attribute.Packed])

	n.open(40, 5, "/tmp/report.zip", false)
	n.socket(40, 6, "203.0.113.10:40000", true)
	n.read(40, 5, mb)
	assert.Equal(t, mb, n.write(40, 6, mb, "").From[attribute.Packed], "another program has dropped it there")
}

func TestDescriptorsWithoutADeviceAreMatchedByInodeAndName(t *testing.T) {
	for _, test := range []struct {
		name, path string
		want       uint64
	}{
		{"sent over a socket", "/shared/.b", mb},
		{"under another mount", "/mnt/other/.b", mb},
		{"another file with the same inode number", "/tmp/unrelated", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.process(10, 'a')
			n.process(20, 'b')
			n.copy(10, "/srv/data", "/shared/.b", mb, "\x1f\x8b")
			n.table.fds[20][5] = attribute.FD{Type: schema.FDFileV2, Name: test.path, Ino: n.inos["/shared/.b"]} // as read from /proc
			n.socket(20, 6, "203.0.113.10:443", false)
			n.read(20, 5, mb)
			assert.Equal(t, test.want, n.write(20, 6, mb, "").From[attribute.Packed])
		})
	}
	t.Run("open before the engine started", func(t *testing.T) {
		n := newNode(t)
		n.process(10, 'a')
		n.open(10, 3, "/srv/data", false)
		n.inos["/var/tmp/.b"] = 77
		n.table.fds[10][4] = attribute.FD{Type: schema.FDFileV2, Name: "/var/tmp/.b", Ino: 77}
		n.read(10, 3, mb)
		n.write(10, 4, mb, "\x1f\x8b")
		n.process(11, 'a')
		n.open(11, 5, "/var/tmp/.b", false)
		n.socket(11, 6, "203.0.113.10:443", false)
		n.read(11, 5, mb)
		assert.Equal(t, mb, n.write(11, 6, mb, "").From[attribute.Packed])
	})
}

func TestAFileHandedFromOneContainerToAnotherKeepsItsOrigin(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.process(20, 'b')
	n.copy(10, "/srv/data", "/mnt/exchange/out", mb, "Salted__")
	n.inos["/mnt/in/out"] = n.inos["/mnt/exchange/out"] // the same file under another name
	n.open(20, 3, "/mnt/in/out", false)
	got := n.read(20, 3, mb)
	require.NotNil(t, got[0].HandedOver)
	assert.Equal(t, "aaaaaaaaaaaa", got[0].HandedOver.ID)
	assert.Equal(t, mb, got[0].Handed)
	n.process(11, 'a') // a log that was not collected anywhere
	n.open(11, 4, "/mnt/exchange/log", true)
	n.write(11, 4, mb, "")
	n.inos["/mnt/in/log"] = n.inos["/mnt/exchange/log"]
	n.open(20, 4, "/mnt/in/log", false)
	assert.Zero(t, n.read(20, 4, mb)[0].Handed)
	n.socket(20, 5, "203.0.113.10:443", false)
	sent := n.write(20, 5, mb, "")
	assert.Equal(t, "bbbbbbbbbbbb", sent.Container.ID)
	assert.Equal(t, mb, sent.From[attribute.Packed])
}

func TestWhatProgramsNeedToRunIsNotCollected(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.open(10, 4, "/tmp/out", true)
	read := func(path, head string) bool {
		n.open(10, 3, path, false)
		moved := n.io(schema.OpRead, 10, 3, -1, mb, head)
		return moved[0].Resource.File.Runtime
	}
	assert.True(t, read("/usr/lib/x86_64-linux-gnu/libc.so.6", "\x7fELF"))
	assert.True(t, read("/opt/app/plugin.so", "\x7fELF"), "a library anywhere")
	assert.False(t, read("/etc/shadow", "root:"))
	assert.Equal(t, mb, n.write(10, 4, 9*mb, "").From[attribute.Local], "of /etc/shadow alone")

	n.open(10, 5, "/usr/lib/hidden.so", true) // data put among libraries, made to look like one
	n.write(10, 5, mb, "\x7fELF")
	assert.False(t, read("/usr/lib/hidden.so", "\x7fELF"), "it was written a moment ago")
}

func TestAnInodeThatIsUsedAgainStartsAnew(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.copy(10, "/srv/data", "/tmp/first", mb, "\x1f\x8b")
	n.process(11, 'a')
	n.inos["/tmp/second"] = n.inos["/tmp/first"]
	n.open(11, 4, "/tmp/second", true)
	second := n.write(11, 4, 10, "plain").Resource.File
	assert.False(t, second.Packed)
	assert.EqualValues(t, 10, second.Size)
	assert.Equal(t, "/tmp/second", second.Path)
}

func TestTheTableFillsInWhatNoEventTold(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.table.threads[12] = attribute.Thread{PID: 10, VPID: 1} // a worker thread
	n.table.fds[10][7] = attribute.FD{Type: schema.FDFileV2, Name: "/var/tmp/.x/f", Dev: 1, Ino: 9}
	n.table.fds[12] = n.table.fds[10]
	n.table.cgroups[12] = n.table.cgroups[10]
	moved := n.io(schema.OpWrite, 12, 7, -1, mb, "")
	require.Len(t, moved, 1)
	assert.Equal(t, attribute.Hidden, moved[0].Resource.File.Location)
	assert.Equal(t, "aaaaaaaaaaaa", moved[0].Container.ID)

	assert.Empty(t, n.io(schema.OpWrite, 99, 7, -1, mb, ""), "a thread that nobody knows")
	assert.Empty(t, n.io(schema.OpWrite, 10, 99, -1, mb, ""), "a descriptor that nobody knows")
	assert.EqualValues(t, 1, n.a.Stats.UnknownThreads.Load())
	assert.EqualValues(t, 1, n.a.Stats.UnknownFDs.Load())
}

func TestTheContainerPluginsFieldIsTheLastResort(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.table.cgroups[10] = "/user.slice/odd"
	n.table.threads[10] = attribute.Thread{PID: 10, ContainerID: "0123456789ab"}
	n.table.fds[10][7] = attribute.FD{Type: schema.FDFileV2, Name: "/tmp/f", Ino: 9}
	assert.Equal(t, "0123456789ab", n.write(10, 7, 1, "").Container.ID)
}

func TestContainersAreToldFromTheHostByTheirPIDNamespace(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.table.cgroups[10] = "/user.slice/user-0.slice/session-1.scope"
	n.table.threads[10] = attribute.Thread{PID: 10, VPID: 10}
	// A runtime makes a process with a PID namespace, moves it into the container's group and runs the program.
	n.state(decode.State{Kind: decode.KindClone, TID: 20, PID: 20, PTID: 10, VTID: 1, Cgroups: []byte("=/openrc\x00")})
	assert.Equal(t, "host", n.a.Process(20).Container.ID)
	n.state(decode.State{Kind: decode.KindExec, TID: 20, PID: 20, Cgroups: []byte("=/default/debug\x00")})
	assert.Equal(t, "debug", n.a.Process(20).Container.ID)
	n.state(decode.State{Kind: decode.KindClone, TID: 21, PID: 21, PTID: 20, VTID: 2, Cgroups: []byte("=/default/debug\x00")})
	assert.Equal(t, "debug", n.a.Process(21).Container.ID)
	n.table.threads[22] = attribute.Thread{PID: 22, VPID: 3} // it was there before
	n.table.cgroups[22] = "/default/debug"
	assert.Equal(t, "debug", n.a.Process(22).Container.ID)
	// What the runtime runs in its own group, outside, is the host's.
	n.state(decode.State{Kind: decode.KindClone, TID: 23, PID: 23, PTID: 10, VTID: 23, Cgroups: []byte("=/default/debug\x00")})
	assert.Equal(t, "host", n.a.Process(23).Container.ID)
}

func TestTheSandboxOfAPodIsThePods(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a') // the sandbox, started before and told by no event
	n.exec(10, 'a')
	n.process(11, 'b')
	n.exec(11, 'b')
	n.state(decode.State{Kind: decode.KindAsync, Name: []byte("container"), Data: []byte(`{"container":{"id":"bbbbbbbbbbbb",
		"pod_sandbox_id":"` + strings.Repeat("a", 64) + `","labels":{"io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.name":"web-0"}}}`)})
	n.process(12, 'c')
	n.exec(12, 'c')
	later := n.now + 61*second
	assert.False(t, n.a.Unmanaged(n.a.Process(10).Container, later))
	assert.False(t, n.a.Unmanaged(n.a.Process(11).Container, later))
	assert.True(t, n.a.Unmanaged(n.a.Process(12).Container, later), "one beside them")
}

func TestARuntimeThatIsAboutToStartAContainerIsNone(t *testing.T) {
	settings, err := config.Default().Settings()
	require.NoError(t, err)
	settings.Attribute.Orchestrator = attribute.OrchestratorExpected
	n := newNode(t)
	n.a, err = attribute.New(settings.Attribute, n.table)
	require.NoError(t, err)
	n.table.threads[20] = attribute.Thread{PID: 20, VPID: 1}
	n.table.cgroups[20] = "/podruntime/runtime" // of the runtime itself, on a node without systemd
	c := n.a.Process(20).Container
	assert.False(t, n.a.Unmanaged(c, n.now))
	assert.False(t, n.a.Unmanaged(c, n.now+61*second))
	n.state(decode.State{Kind: decode.KindExec, TID: 20, PID: 20, Cgroups: []byte("=/default/debug\x00")})
	assert.False(t, n.a.Unmanaged(c, n.now+61*second))
	assert.True(t, n.a.Unmanaged(n.a.Process(20).Container, n.now+61*second))

	// Another one that it sends into the container.
	n.state(decode.State{Kind: decode.KindClone, TID: 21, PID: 21, PTID: 2, VTID: 7, Cgroups: []byte("=/conmon\x00")})
	assert.True(t, n.a.Process(21).Container.OnHost())
	n.state(decode.State{Kind: decode.KindExec, TID: 21, PID: 21, Cgroups: []byte("=/default/debug\x00")})
	assert.Same(t, n.a.Process(20).Container, n.a.Process(21).Container)

	n.table.threads[30] = attribute.Thread{PID: 30, VPID: 1}
	n.table.cgroups[30] = "/default/tool" // one that was there before
	c = n.a.Process(30).Container
	assert.Equal(t, "tool", c.ID)
	assert.False(t, n.a.Unmanaged(c, n.now))
	n.state(decode.State{Kind: decode.KindExec, TID: 30, PID: 30, Cgroups: []byte("=/default/tool\x00")})
	assert.True(t, n.a.Unmanaged(c, n.now+61*second))
}

func TestServicesOfTheHostHandNothingToEachOther(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.process(11, 'a')
	n.table.cgroups[10], n.table.cgroups[11] = "/system.slice/db.service", "/system.slice/backup.service"
	n.open(10, 3, "/var/tmp/dump", true)
	assert.Equal(t, "host/db.service", n.write(10, 3, mb, "").Container.Workload)
	n.open(11, 3, "/var/tmp/dump", false)
	read := n.read(11, 3, mb)[0]
	assert.Equal(t, "host/backup.service", read.Container.Workload)
	assert.True(t, read.Container.OnHost())
	assert.Nil(t, read.HandedOver)

	// Systemd forks, moves the child and runs the service in it.
	n.process(1, 'a')
	n.table.cgroups[1] = "/init.scope"
	n.state(decode.State{Kind: decode.KindClone, TID: 20, PID: 20, PTID: 1, Cgroups: []byte("=/init.scope\x00")})
	n.state(decode.State{Kind: decode.KindExec, TID: 20, PID: 20, Cgroups: []byte("=/system.slice/cron.service\x00")})
	assert.Equal(t, "host/cron.service", n.a.Process(20).Container.Workload)
}

func TestWhatARuntimeMayDoIsNotWhatTheContainerMay(t *testing.T) {
	const all = uint64(1<<41 - 1)
	n := newNode(t)
	exec := func(pid int64, caps uint64) bool {
		n.state(decode.State{Kind: decode.KindExec, TID: pid, PID: pid, Capabilities: caps, Cgroups: []byte("=" + cgroup('a') + "\x00")})
		return n.a.Process(pid).Container.Posture.Sensitive()
	}
	n.born(1, 20, 20, 'a') // the runtime, in the container's control group and outside of its PID namespace
	assert.False(t, exec(20, all))
	n.born(20, 21, 1, 'a')
	assert.False(t, exec(21, 0xa80425fb))
	n.born(20, 22, 2, 'a')
	assert.True(t, exec(22, all), "a program in it")
}

func TestContainersWithoutAPodAreUnmanagedWhereOthersHaveOne(t *testing.T) {
	metadata := func(n *node, id, labels string) {
		n.state(decode.State{Kind: decode.KindAsync, Name: []byte("container"), Data: []byte(`{"container":{"id":"` + id + `","labels":{` + labels + `}}}`)})
	}
	const pod = `"io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.name":"web-0"`
	for _, test := range []struct {
		name         string
		orchestrator attribute.Orchestrator
		pods         bool
		want         bool
	}{
		{"a node with pods", attribute.OrchestratorAuto, true, true},
		{"a plain host", attribute.OrchestratorAuto, false, false},
		{"a node that is to have pods", attribute.OrchestratorExpected, false, true},
		{"a node that is not", attribute.OrchestratorNone, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			settings, err := config.Default().Settings()
			require.NoError(t, err)
			settings.Attribute.Orchestrator = test.orchestrator
			n := newNode(t)
			n.a, err = attribute.New(settings.Attribute, n.table)
			require.NoError(t, err)
			if test.pods {
				metadata(n, "aaaaaaaaaaaa", pod)
			}
			n.process(20, 'b')
			n.exec(20, 'b')
			b := n.a.Process(20).Container
			assert.False(t, n.a.Unmanaged(b, n.now+59*second), "its metadata may come yet")
			assert.False(t, n.a.Known(b, n.now+59*second))
			assert.True(t, n.a.Known(b, n.now+61*second))
			assert.Equal(t, test.want, n.a.Unmanaged(b, n.now+61*second))
			metadata(n, "bbbbbbbbbbbb", "")
			assert.True(t, n.a.Known(b, n.now))
			assert.Equal(t, test.want, n.a.Unmanaged(b, n.now+61*second), "it came, without a pod")
			metadata(n, "bbbbbbbbbbbb", pod)
			assert.False(t, n.a.Unmanaged(b, n.now+61*second))
		})
	}
}

func TestMemoryStaysBounded(t *testing.T) {
	settings, err := config.Default().Settings()
	require.NoError(t, err)
	cfg := settings.Attribute
	cfg.MaxThreads, cfg.MaxFiles, cfg.MaxContainers = 64, 64, 16
	n := newNode(t)
	n.a, err = attribute.New(cfg, n.table)
	require.NoError(t, err)
	for i := range int64(1000) {
		n.process(i, byte('a'+i%6))
		n.table.cgroups[i] = fmt.Sprintf("/docker/%012x%052d", i, 0)
		n.open(i, 3, fmt.Sprintf("/tmp/%d", i), true)
		n.write(i, 3, 1, "")
	}
	assert.EqualValues(t, 1000-64, n.a.Stats.ThreadsEvicted.Load())
	assert.EqualValues(t, 1000-64, n.a.Stats.FilesEvicted.Load())
	assert.EqualValues(t, 1000-16, n.a.Stats.ContainersEvicted.Load())
}

func TestAttributingAllocatesNothing(t *testing.T) {
	n := newNode(t)
	n.process(10, 'a')
	n.copy(10, "/srv/data", "/tmp/out", 1, "")
	move := decode.NewIO(n.now, 10, 1, 4096, 3, 4, schema.OpMove, nil)
	var out [2]attribute.Transfer
	assert.Zero(t, testing.AllocsPerRun(1000, func() { n.a.Transfers(&move, &out) }))
}
