package attribute

import "net/netip"

// PeerClass is the class of a socket's remote end.
type PeerClass uint8

const (
	NoPeer PeerClass = iota
	Loopback
	ContainerPeer
	Cluster
	HostPeer
	External
)

func (c PeerClass) String() string {
	return [...]string{"", "loopback", "container", "cluster", "host", "external"}[c]
}

// Networks says which addresses are not external.
type Networks struct {
	Cluster []netip.Prefix // pods, services, nodes and whatever else is inside
	Host    []netip.Prefix // this node's own addresses
}

func (n *Networks) class(addr netip.Addr) PeerClass {
	switch {
	case !addr.IsValid() || addr.IsUnspecified():
		return NoPeer
	case addr.IsLoopback():
		return Loopback
	case contains(n.Host, addr):
		return HostPeer
	case contains(n.Cluster, addr) || addr.IsMulticast() || addr == broadcast:
		return Cluster
	default:
		return External
	}
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
