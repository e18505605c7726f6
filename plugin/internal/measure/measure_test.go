package measure_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/measure"
)

const (
	start  = uint64(1_795_453_342_000_000_000) // ns since the epoch
	minute = uint64(time.Minute)
	window = 10 * time.Minute
	step   = uint64(1000) // PhaseBytes
)

func newRegistry(t testing.TB) *measure.Registry {
	r, err := measure.New(measure.Config{Window: window, Memory: 24 * time.Hour, OnceInterval: time.Minute, PhaseBytes: step, PeerBytes: 100, MaxContainers: 16})
	require.NoError(t, err)
	return r
}

var web = &attribute.Container{ID: "web"}

func file(path string, location attribute.Location) *attribute.Resource {
	return &attribute.Resource{Kind: attribute.FileKind, File: &attribute.File{Path: path, Location: location}}
}

func archive(path string, location attribute.Location) *attribute.Resource {
	r := file(path, location)
	r.File.Packed = true
	return r
}

func read(ts, n uint64, r *attribute.Resource) *attribute.Transfer {
	return &attribute.Transfer{TS: ts, Container: web, Process: &attribute.Process{}, Resource: r, NumBytes: n}
}

func write(ts, n uint64, r *attribute.Resource, from attribute.Amounts) *attribute.Transfer {
	return &attribute.Transfer{TS: ts, Container: web, Process: &attribute.Process{}, Resource: r, Write: true, NumBytes: n, From: from}
}

func send(ts, n uint64, class attribute.PeerClass, inbound bool, from attribute.Amounts) *attribute.Transfer {
	t := write(ts, n, &attribute.Resource{Kind: attribute.SocketKind, Inbound: inbound}, from)
	t.Peer = attribute.Peer{Addr: netip.MustParseAddrPort("203.0.113.10:443"), Class: class}
	return t
}

func local(n uint64) attribute.Amounts { return attribute.Amounts{attribute.Local: n} }

func TestVolumes(t *testing.T) {
	r := newRegistry(t)
	r.Add(read(start, 500, file("/srv/a", attribute.NoLocation)))
	r.Add(read(start, 500, file("/srv/b", attribute.NoLocation)))
	r.Add(write(start, 300, file("/srv/out", attribute.NoLocation), local(300)))
	r.Add(write(start, 200, file("/tmp/out", attribute.Tmp), attribute.Amounts{}))
	r.Add(write(start, 100, archive("/dev/shm/out", attribute.Shm), local(100)))
	r.Add(send(start, 10, attribute.Loopback, false, attribute.Amounts{}))
	r.Add(send(start, 20, attribute.Cluster, false, attribute.Amounts{}))
	r.Add(send(start, 30, attribute.External, true, attribute.Amounts{}))
	r.Add(send(start, 40, attribute.NoPeer, false, attribute.Amounts{}))

	a := r.Account(web)
	assert.EqualValues(t, 200, a.Located(attribute.Tmp, start, window))
	assert.EqualValues(t, 100, a.Located(attribute.Shm, start, window))
	assert.Zero(t, a.Located(attribute.Hidden, start, window))
	assert.Zero(t, a.Located(attribute.Tmp, start+20*minute, window))
	for m, want := range map[measure.Metric]uint64{
		measure.Sources: 2, measure.SourceBytes: 1000,
		measure.StagedBytes: 300, measure.StagedFiles: 2, measure.ArchiveBytes: 100,
		measure.EgressBytes: 50, measure.ExternalBytes: 30,
	} {
		assert.Equal(t, want, a.Sum(m, start, window), "metric %d", m)
		assert.Zero(t, a.Sum(m, start+20*minute, window), "metric %d after the window", m)
		assert.Equal(t, want, a.Sum(m, start+20*minute, time.Hour), "metric %d in a longer window", m)
	}
}

func TestFilesAreCountedOnceHoweverOftenTheyAreTouched(t *testing.T) {
	r := newRegistry(t)
	f := file("/tmp/one", attribute.Tmp)
	for i := range uint64(100) {
		r.Add(write(start+i*minute/10, 10, f, attribute.Amounts{}))
	}
	assert.EqualValues(t, 1, r.Account(web).Sum(measure.StagedFiles, start+10*minute, window))
}

func TestReadingBackWhatWasGatheredAddsNoSource(t *testing.T) {
	r := newRegistry(t)
	back := read(start, 500, file("/tmp/out", attribute.Tmp))
	back.Staged = true
	r.Add(back)
	library := file("/usr/lib/libc.so", attribute.NoLocation)
	library.File.Runtime = true
	r.Add(read(start, 500, library))
	assert.Zero(t, r.Account(web).Sum(measure.SourceBytes, start, window))
}

func receive(ts, n uint64, from string, class attribute.PeerClass) *attribute.Transfer {
	t := read(ts, n, &attribute.Resource{Kind: attribute.SocketKind})
	t.Peer = attribute.Peer{Addr: netip.MustParseAddrPort(from), Class: class}
	return t
}

func TestWhatEnteredAFileUnseenIsStagedWhenItIsRead(t *testing.T) {
	r := newRegistry(t)
	found := read(start, 2*step, file("/dev/shm/.m/blob", attribute.Hidden))
	found.Staged, found.Found = true, 2*step
	r.Add(found)
	a := r.Account(web)
	assert.Equal(t, 2*step, a.Sum(measure.StagedBytes, start, window))
	assert.Equal(t, measure.Stage, a.Phase(start))
	assert.Equal(t, "/dev/shm/.m", a.Dir(start))
	assert.Zero(t, a.Sum(measure.SourceBytes, start, window))
}

func TestFanIn(t *testing.T) {
	r := newRegistry(t)
	a := r.Account(web)
	r.Add(receive(start, 99, "10.0.0.1:1000", attribute.Cluster))
	assert.Zero(t, a.Sum(measure.RemotePeers, start, window), "too little to count")
	r.Add(receive(start, 1, "10.0.0.1:2000", attribute.Cluster))
	assert.EqualValues(t, 1, a.Sum(measure.RemotePeers, start, window), "enough over two connections")
	r.Add(receive(start, 500, "127.0.0.1:1000", attribute.Loopback))
	for i := range uint64(5) {
		r.Add(receive(start+i*minute, 500, "203.0.113.7:443", attribute.External))
	}
	now := start + 5*minute
	assert.EqualValues(t, 2, a.Sum(measure.RemotePeers, now, window))
	assert.EqualValues(t, 2600, a.Sum(measure.RemoteBytes, now, window))
	assert.EqualValues(t, 1, a.Sum(measure.RemotePeers, now, 2*time.Minute), "who sent lately")
	assert.Zero(t, a.Sum(measure.RemotePeers, now+20*minute, window), "after the window")

	for i := range 5000 { // more than are told apart
		addr := netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
		r.Add(receive(now, 500, netip.AddrPortFrom(addr, 1).String(), attribute.Cluster))
	}
	assert.EqualValues(t, 5002, a.Sum(measure.RemotePeers, now, window))
}

func TestAContainerIsOnePeerWhateverItsAddress(t *testing.T) {
	r := newRegistry(t)
	a := r.Account(web)
	db := &attribute.Container{ID: "db"}
	r.Add(receive(start, 500, "10.0.0.1:1000", attribute.Cluster)) // not known yet
	for _, addr := range []string{"10.0.0.1:1000", "[fd00::1]:1000"} {
		named := receive(start, 500, addr, attribute.ContainerPeer)
		named.Peer.Container = db
		r.Add(named)
	}
	assert.EqualValues(t, 1, a.Sum(measure.RemotePeers, start, window))
	r.Add(receive(start, 500, "203.0.113.10:443", attribute.External))
	r.Add(send(start, 7, attribute.Cluster, false, attribute.Amounts{}))
	assert.EqualValues(t, 1500, a.Sum(measure.InternalIngressBytes, start, window))
	assert.EqualValues(t, 7, a.Sum(measure.InternalEgressBytes, start, window))
}

func TestWhatAnotherContainerWroteIsHandedOver(t *testing.T) {
	r := newRegistry(t)
	api := &attribute.Container{ID: "api"}
	got := read(start, 500, file("/mnt/in/batch", attribute.Volume))
	got.HandedOver = api
	r.Add(got)
	a := r.Account(web)
	assert.EqualValues(t, 500, a.Sum(measure.HandoffBytes, start, window))
	assert.Same(t, api, a.Giver())
}

func TestPhase(t *testing.T) {
	outbound, inbound := false, true
	for name, test := range map[string]struct {
		moved []*attribute.Transfer
		want  measure.Phase
	}{
		"nothing": {nil, measure.None},
		"too little to make a step": {[]*attribute.Transfer{
			read(start, step-1, file("/srv/a", attribute.NoLocation))}, measure.None},
		"files were read": {[]*attribute.Transfer{
			read(start, step, file("/srv/a", attribute.NoLocation))}, measure.Collect},
		"what was read was put in a scratch place": {[]*attribute.Transfer{
			write(start, step, file("/tmp/a", attribute.Tmp), local(step))}, measure.Stage},
		"an upload was put in a scratch place": {[]*attribute.Transfer{
			write(start, step, file("/tmp/a", attribute.Tmp), attribute.Amounts{attribute.Received: step})}, measure.None},
		"a service rewrote its own volume": {[]*attribute.Transfer{
			write(start, step, file("/data/a", attribute.Volume), local(step))}, measure.None},
		"what was read was packed": {[]*attribute.Transfer{
			write(start, step, archive("/opt/a", attribute.NoLocation), local(step))}, measure.Archive},
		"what was staged left": {[]*attribute.Transfer{
			send(start, step, attribute.External, outbound, attribute.Amounts{attribute.Staged: step})}, measure.Exfiltrate},
		"what was piped left": {[]*attribute.Transfer{
			send(start, step, attribute.External, outbound, attribute.Amounts{attribute.Piped: step})}, measure.Exfiltrate},
		"what was staged went to a peer inside": {[]*attribute.Transfer{
			send(start, step, attribute.Cluster, outbound, attribute.Amounts{attribute.Staged: step})}, measure.None},
		"a server answered with its own files": {[]*attribute.Transfer{
			send(start, step, attribute.External, inbound, attribute.Amounts{attribute.Local: step, attribute.Staged: step})}, measure.None},
		"a server answered with an archive packed here": {[]*attribute.Transfer{
			send(start, step, attribute.External, inbound, attribute.Amounts{attribute.Packed: step})}, measure.Exfiltrate},
		"a client sent files it read itself": {[]*attribute.Transfer{
			send(start, step, attribute.External, outbound, local(step))}, measure.None},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			for _, moved := range test.moved {
				r.Add(moved)
			}
			assert.Equal(t, test.want, r.Account(web).Phase(start))
			assert.Equal(t, measure.None, r.Account(web).Phase(start+11*minute), "after the window")
		})
	}
}

func TestDirIsTheOneWithTheMostBytes(t *testing.T) {
	r := newRegistry(t)
	a := r.Account(web)
	assert.Empty(t, a.Dir(start))
	for i := range 1000 { // more than are kept
		r.Add(write(start, 10, file(fmt.Sprintf("/tmp/%d/f", i), attribute.Tmp), attribute.Amounts{}))
		if i%10 == 0 {
			r.Add(write(start, 1000, file("/tmp/.x/f", attribute.Hidden), attribute.Amounts{}))
		}
	}
	assert.Equal(t, "/tmp/.x", a.Dir(start))
	assert.Empty(t, a.Dir(start+11*minute), "after the window")
	r.Add(write(start+11*minute, 1, file("/tmp/new/f", attribute.Tmp), attribute.Amounts{}))
	assert.Equal(t, "/tmp/new", a.Dir(start+11*minute), "old bytes weigh nothing")
}

func TestOnce(t *testing.T) {
	a := newRegistry(t).Account(web)
	assert.True(t, a.Once("a", start, 0))
	assert.False(t, a.Once("a", start+minute-1, 0))
	assert.True(t, a.Once("b", start, 0))
	assert.True(t, a.Once("a", start+minute, 0))
	assert.True(t, a.Once("c", start, time.Hour))
	assert.False(t, a.Once("c", start+59*minute, time.Hour), "an interval of its own")
	for i := range 10_000 {
		a.Once(strconv.Itoa(i), start, 0)
	}
	assert.True(t, a.Once("fresh", start, 0), "a flood of keys stops no alert")
}

func TestMinutesAreClosedWithTheirTotals(t *testing.T) {
	r := newRegistry(t)
	var minutes []measure.Minute
	advance := func(ts uint64) { r.Advance(ts, func(m *measure.Minute) { minutes = append(minutes, *m) }) }
	f := file("/tmp/one", attribute.Tmp)
	begin := start / minute * minute

	advance(begin)
	for i := range uint64(30) {
		r.Add(write(begin+i*uint64(time.Second), 10, f, attribute.Amounts{}))
		advance(begin + i*uint64(time.Second))
	}
	assert.Empty(t, minutes, "the minute runs")

	advance(begin + minute)
	require.Len(t, minutes, 1)
	assert.Equal(t, measure.Minute{
		Container: web, Start: begin,
		Totals: baseline.Totals{baseline.StagedBytes: 300, baseline.StagedFiles: 1},
	}, minutes[0])

	r.Add(write(begin+minute, 7, f, attribute.Amounts{}))
	advance(begin + 2*minute)
	require.Len(t, minutes, 2)
	assert.Equal(t, baseline.Totals{baseline.StagedBytes: 7, baseline.StagedFiles: 1}, minutes[1].Totals, "the file counts again")

	advance(begin + 9*minute)
	require.Len(t, minutes, 3, "minutes without any event are passed over")
	assert.Equal(t, baseline.Totals{}, minutes[2].Totals, "a silent minute")
	advance(begin) // a clock that goes back
	assert.Len(t, minutes, 3)

	for i := range uint64(200) {
		advance(begin + (10+i)*minute)
	}
	assert.Len(t, minutes, 1+60, "a container that is silent for an hour is gone")
}

func TestAccountsAreBounded(t *testing.T) {
	r := newRegistry(t)
	for i := range 100 {
		r.Account(&attribute.Container{ID: strconv.Itoa(i)})
	}
	assert.EqualValues(t, 100-16, r.AccountsEvicted.Load())
}

func TestCountingAllocatesNothing(t *testing.T) {
	r := newRegistry(t)
	w, s := write(start, 10, archive("/tmp/a", attribute.Tmp), local(10)), send(start, 10, attribute.External, false, local(10))
	r.Add(w)
	r.Add(s)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		w.TS += minute / 60
		r.Add(w)
		r.Add(s)
	}))
}
