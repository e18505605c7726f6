package measure

import (
	"net/netip"
	"time"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
)

// sender tells remote peers apart: by container where it is known, which may have several addresses, else by address.
type sender struct {
	container *attribute.Container
	addr      netip.Addr
}

// peer is what one sender sent.
type peer struct {
	numBytes uint64
	ts       uint64 // ns since the epoch of the last byte
	counted  uint64 // ns since the epoch: when it was last counted as distinct; 0 for not
}

// maxPeers bounds the senders that are told apart. Of more than that the count goes on, but one that comes back may count
// again.
const maxPeers = 1024

func (a *Account) received(t *attribute.Transfer) {
	if !t.Peer.Remote() {
		return
	}
	a.add(RemoteBytes, t.TS, t.NumBytes)
	if t.Peer.Internal() {
		a.add(InternalIngressBytes, t.TS, t.NumBytes)
	}
	p := a.sender(t)
	if t.TS > p.ts+uint64(a.cfg.Window) {
		*p = peer{}
	}
	before := p.ts
	p.numBytes, p.ts = p.numBytes+t.NumBytes, max(p.ts, t.TS)
	switch {
	case p.numBytes < a.cfg.PeerBytes:
	case p.counted == 0:
		a.counter(RemotePeers).Add(t.TS, 1)
		a.tally(RemotePeers, 1)
		p.counted = t.TS
	case t.TS >= p.counted+uint64(time.Second):
		a.counter(RemotePeers).Move(p.counted, t.TS)
		if before/uint64(baseline.WindowLength) != t.TS/uint64(baseline.WindowLength) {
			a.tally(RemotePeers, 1)
		}
		p.counted = t.TS
	}
}

// sender returns what the sender of a transfer sent. One whose container was not known at first keeps its count.
func (a *Account) sender(t *attribute.Transfer) *peer {
	unnamed := sender{addr: t.Peer.Addr.Addr()}
	key := unnamed
	if t.Peer.Container != nil {
		key = sender{container: t.Peer.Container}
	}
	p, ok := a.peers[key]
	if ok {
		return p
	}
	if p, ok = a.peers[unnamed]; ok {
		delete(a.peers, unnamed)
	} else {
		p = &peer{}
	}
	if a.peers == nil {
		a.peers = map[sender]*peer{}
	}
	if len(a.peers) >= maxPeers {
		a.forgetPeers(t.TS)
	}
	a.peers[key] = p
	return p
}

// forgetPeers makes room: those that sent nothing for a window go, and if that is none, all do.
func (a *Account) forgetPeers(now uint64) {
	for key, p := range a.peers {
		if now > p.ts+uint64(a.cfg.Window) {
			delete(a.peers, key)
		}
	}
	if len(a.peers) >= maxPeers {
		clear(a.peers)
	}
}
