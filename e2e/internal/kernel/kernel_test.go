package kernel

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
)

func machine() *Kernel {
	return New(Config{
		Hostname: "n", CPUs: 1, Snaplen: 80, Boot: time.Unix(1_700_000_000, 0), Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
	})
}

func place(t *testing.T, k *Kernel, name string, c *Container) *Thread {
	t.Helper()
	thread, err := k.Place(Start{Name: name}, Program{Path: "/bin/" + name, Args: []string{name}}, c, nil)
	require.NoError(t, err)
	return thread
}

func TestDescriptorsGetTheLowestFreeNumber(t *testing.T) {
	var fds table
	d := &descriptor{kind: fileDescriptor, name: "/a", flags: ForReading}
	assert.Equal(t, []int{3, 4, 5}, []int{fds.add(d, ""), fds.add(d, "b"), fds.add(d, "c")})
	fds.remove(4)
	copied := fds.clone()
	assert.Equal(t, 4, fds.add(d, ""))
	assert.Equal(t, 4, copied.add(d, ""), "a child's descriptors are its own")
	fds.set(1, d, "out")
	fd, _, err := fds.find("stdout", forAny)
	require.NoError(t, err)
	assert.Equal(t, 1, fd)
	fd, found, err := fds.find("2", forWrite)
	require.NoError(t, err)
	assert.Equal(t, 2, fd)
	assert.Equal(t, unknownDescriptor, found.kind, "what was there from the start is not known")
}

func TestOfSeveralDescriptorsOfOneNameTheLatestThatCanIsMeant(t *testing.T) {
	var fds table
	fds.add(&descriptor{kind: fileDescriptor, name: "/a", flags: ForWriting}, "")
	fds.add(&descriptor{kind: fileDescriptor, name: "/a", flags: ForReading}, "")
	fds.add(&descriptor{kind: fileDescriptor, name: "/a", flags: ForReading}, "")
	for want, fd := range map[direction]int{forWrite: 3, forRead: 5, forAny: 5} {
		got, _, err := fds.find("/a", want)
		require.NoError(t, err)
		assert.Equal(t, fd, got)
	}
}

func TestAPathLiesInTheInnermostMount(t *testing.T) {
	c := &Container{ID: "ID", Mounts: []Mount{{Source: "/vol", Destination: "/data"}, {Source: "/deep", Destination: "/data/x/"}}}
	for path, want := range map[string]string{
		"/data":      "/vol",
		"/data/f":    "/vol/f",
		"/data/x/f":  "/deep/f",
		"/data/xy":   "/vol/xy",
		"/database":  "ID:/database",
		"/a/../data": "/vol",
	} {
		got, mounted := locate(c, path)
		assert.Equal(t, want, got, path)
		assert.Equal(t, want[0] == '/', mounted, path)
	}
	got, mounted := locate(nil, "/etc//passwd")
	assert.Equal(t, "/etc/passwd", got)
	assert.True(t, mounted)
}

func TestFillerIsTheSameForTheSamePlaceAndOtherwiseNot(t *testing.T) {
	k := machine()
	head := func(c Content, seed, off uint64) string { return string(c.head(nil, &k.rng, seed, off, 80)) }
	for _, filler := range []Filler{Text, Random} {
		one := Content{Filler: filler, source: 1}
		assert.Equal(t, head(one, 1, 0), head(one, 1, 0))
		assert.NotEqual(t, head(one, 1, 0), head(one, 1, 80))
		assert.NotEqual(t, head(one, 1, 0), head(one, 2, 0))
		assert.NotEqual(t, head(one, 1, 0), head(Content{Filler: filler, source: 2}, 1, 0))
	}
	assert.Equal(t, make([]byte, 80), []byte(head(Content{Filler: Zero}, 1, 5)))
	assert.Equal(t, "lo", head(Content{Head: []byte("hello")}, 1, 3)[:2], "the head is shown from the offset on")
}

func TestLoopbackLeadsToTheSameContainerOnly(t *testing.T) {
	k := machine()
	a, err := k.AddContainer(Container{Name: "a"})
	require.NoError(t, err)
	b, err := k.AddContainer(Container{Name: "b"})
	require.NoError(t, err)
	p, q := place(t, k, "p", a), place(t, k, "q", b)
	require.NoError(t, k.Listen(p, ":80", ""))
	require.NoError(t, k.Listen(q, ":80", ""))
	require.NoError(t, k.Connect(p, "127.0.0.1:80", Connecting{}))
	require.ErrorContains(t, k.Accept(q, ":80", "", ""), "nobody has connected to :80")
	require.NoError(t, k.Accept(p, ":80", "", ""))

	require.NoError(t, k.Connect(p, "b:80", Connecting{}))
	require.NoError(t, k.Close(p, "b:80"))
	require.ErrorContains(t, k.Accept(q, ":80", "", ""), "nobody has connected", "who connected has gone")
	require.NoError(t, k.Connect(p, "b:80", Connecting{}))
	require.NoError(t, k.Accept(q, ":80", "a", ""))
	assert.Empty(t, k.waiting)
}

func TestAConnectionWaitsAsLongAsSomebodyHasItOpen(t *testing.T) {
	k := machine()
	p, q := place(t, k, "p", nil), place(t, k, "q", nil)
	require.NoError(t, k.Listen(q, ":80", ""))
	require.NoError(t, k.Connect(p, "10.0.0.1:80", Connecting{}))
	child, err := k.Fork(p, Start{Name: "child"})
	require.NoError(t, err)
	k.Exit(p, 0)
	assert.Len(t, k.waiting, 1)
	k.Exit(child, 0)
	assert.Empty(t, k.waiting)
}

func TestTheDescriptorListHasOurEndAsTheLocalOne(t *testing.T) {
	k := machine()
	p := place(t, k, "p", nil)
	require.NoError(t, k.Listen(p, ":80", ""))
	require.NoError(t, k.Accept(p, ":80", "192.0.2.1:999", ""))
	list := p.process.entries()
	require.Len(t, list, 2)
	assert.Equal(t, capture.DescriptorIPv4Server, list[0].Type)
	assert.Equal(t, netip.MustParseAddrPort("10.0.0.1:80"), list[1].Local)
	assert.Equal(t, netip.MustParseAddrPort("192.0.2.1:999"), list[1].Remote)
}
