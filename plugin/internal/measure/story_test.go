package measure_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/measure"
)

const (
	second = uint64(1_000_000_000)
	mb     = uint64(1 << 20)
)

// by makes a transfer one of a process that has its data from some directories.
func by(t *attribute.Transfer, sources map[string]uint64) *attribute.Transfer {
	t.Process = &attribute.Process{}
	for dir, n := range sources {
		t.Process.Sources.Add(dir, n)
	}
	return t
}

func TestTheStoryTellsTheChainInItsOrder(t *testing.T) {
	r := newRegistry(t)
	a := r.Account(web)
	assert.Empty(t, a.Story(start, nil))
	assert.Empty(t, a.TopDestinations(start))

	r.Add(by(write(start, 22*mb, file("/tmp/.x/customers.csv", attribute.Hidden), local(22*mb)),
		map[string]uint64{"/srv/customers": 21 * mb, "/etc": mb}))
	r.Add(by(write(start+2*second, 19*mb, archive("/tmp/.x/a.tgz", attribute.Hidden), local(19*mb)), map[string]uint64{"/etc": 100}))
	r.Add(send(start+250*second, 19*mb, attribute.External, false, attribute.Amounts{attribute.Packed: 19 * mb}))
	assert.Equal(t, "collected 21 MiB /srv/customers, 1.0 MiB /etc; +0.0s staged 22 MiB /tmp/.x; +2.0s packed 19 MiB /tmp/.x/a.tgz; "+
		"+4m10s sent 19 MiB 203.0.113.10:443", a.Story(start+300*second, nil))
	assert.Equal(t, "21 MiB /srv/customers, 1.0 MiB /etc", a.TopSources(start))
	assert.Equal(t, "19 MiB /tmp/.x/a.tgz", a.TopArchives(start))
	assert.Equal(t, "19 MiB 203.0.113.10:443", a.TopDestinations(start))
	assert.Empty(t, a.TopSenders(start))
}

func TestTheStoryTellsWhoReachedIn(t *testing.T) {
	r := newRegistry(t)
	r.Add(by(write(start, mb, file("/tmp/.x/f", attribute.Hidden), local(mb)), map[string]uint64{"/srv": mb}))
	entries := []measure.Entry{{TS: start - 5*second, By: "oidc:alice@shop.example", How: "exec sh"}}
	assert.Equal(t, "entered by oidc:alice@shop.example (exec sh); +5.0s collected 1.0 MiB /srv; +5.0s staged 1.0 MiB /tmp/.x", r.Account(web).Story(start, entries))
}

func TestTheStoryNamesWhoSentAndWhoHandedOver(t *testing.T) {
	r := newRegistry(t)
	w := write(start, 30*mb, file("/var/tmp/.in/part", attribute.Hidden), attribute.Amounts{attribute.Received: 30 * mb})
	w.Process.Senders.Add(attribute.Sender{Addr: netip.MustParseAddr("10.77.0.12"), Container: &attribute.Container{Workload: "shop/db/db"}}, 20*mb)
	w.Process.Senders.Add(attribute.Sender{Addr: netip.MustParseAddr("10.77.0.99")}, 10*mb)
	r.Add(w)
	taken := read(start+second, 5*mb, file("/mnt/x", attribute.Volume))
	taken.HandedOver = &attribute.Container{Workload: "shop/api/api"}
	r.Add(taken)
	assert.Equal(t, "received 20 MiB shop/db/db, 10 MiB 10.77.0.99; +0.0s staged 30 MiB /var/tmp/.in; +1.0s took over 5.0 MiB shop/api/api",
		r.Account(web).Story(start+second, nil))
	assert.Equal(t, 30*mb, r.Account(web).Sum(measure.RemoteStagedBytes, start+second, window))
}

func TestTheStoryLeavesOutWhatIsNegligible(t *testing.T) {
	r := newRegistry(t)
	r.Add(by(write(start, 100, file("/run/pid", attribute.Run), local(100)), map[string]uint64{"/etc": 100}))
	sources := map[string]uint64{}
	for i := range 200 {
		sources[fmt.Sprintf("/srv/customers/%d/orders", i)] = mb
	}
	r.Add(by(write(start+second, 100*mb, archive("/tmp/"+strings.Repeat("long/", 40)+"end.tgz", attribute.Tmp), local(100*mb)), sources))
	told := r.Account(web).Story(start+second, nil)
	assert.Equal(t, "collected 200 MiB /srv/customers; +1.0s packed 100 MiB /tmp/long/long/long/long/long/long/lon.../long/long/long/long/long/long/end.tgz", told)
}

func TestTheStoryIsForgottenAfterItsTime(t *testing.T) {
	r := newRegistry(t)
	a := r.Account(web)
	w := func() *attribute.Transfer {
		return by(write(start, mb, file("/tmp/.x/f", attribute.Hidden), local(mb)), map[string]uint64{"/srv": mb})
	}
	r.Add(w())
	late := w()
	late.TS = start + 13*60*minute
	r.Add(late)
	assert.Equal(t, "collected 2.0 MiB /srv; +0.0s staged 2.0 MiB /tmp/.x", a.Story(late.TS, nil), "the half before is kept")
	assert.Equal(t, "collected 1.0 MiB /srv; +0.0s staged 1.0 MiB /tmp/.x", a.Story(late.TS+12*60*minute, nil))
	assert.Empty(t, a.Story(late.TS+48*60*minute, nil))
}
