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

// Peer is the remote end of a socket. The zero value is none.
type Peer struct {
	Addr      netip.AddrPort
	Class     PeerClass
	Container *Container // of this node that has the address, nil where none is known
}

// Name says who the peer is: the workload of a container of this node, or a service that the node offers its containers;
// empty where that is not known.
func (p Peer) Name() string {
	if p.Container != nil {
		return p.Container.Workload
	}
	return nodeServices[p.Addr.Addr()]
}

// Remote reports whether the peer is beyond the container.
func (p Peer) Remote() bool { return p.Class != NoPeer && p.Class != Loopback }

// Internal reports whether the peer is another container or a system of the cluster.
func (p Peer) Internal() bool { return p.Class == ContainerPeer || p.Class == Cluster }

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

// home is the container that an address belongs to.
type home struct {
	container *Container
	told      bool // by the container's metadata; else seen at one of its sockets
}

// lives notes that a socket of a container has an address. One that is not in the cluster's networks is not believed: who
// may configure a network in a container could make any peer's address look like a neighbour's.
func (a *Attributor) lives(c *Container, local netip.AddrPort) {
	addr := local.Addr()
	if !c.ownNetwork || !addr.IsValid() || addr.IsUnspecified() || !contains(a.cfg.Networks.Cluster, addr) {
		return
	}
	a.endpoints.Add(local, c)
	if h, ok := a.addresses.Get(addr); !ok || !h.told {
		a.addresses.Add(addr, home{container: c})
	}
}

// peerAt tells who has an address.
func (a *Attributor) peerAt(addr netip.AddrPort) Peer {
	p := Peer{Addr: addr}
	if c, ok := a.endpoints.Get(addr); ok {
		p.Class, p.Container = ContainerPeer, c
	} else if h, ok := a.addresses.Get(addr.Addr()); ok {
		p.Class, p.Container = ContainerPeer, h.container
	} else if _, ok := nodeServices[addr.Addr()]; ok {
		p.Class = HostPeer
	} else {
		p.Class = a.cfg.Networks.class(addr.Addr())
	}
	return p
}

// nodeServices are addresses that answer on the node itself or in its hypervisor, whatever the cluster's networks are.
var nodeServices = map[netip.Addr]string{
	netip.MustParseAddr("169.254.169.254"): "metadata-service",   // AWS, Azure, Google Cloud, OpenStack, Oracle, DigitalOcean
	netip.MustParseAddr("fd00:ec2::254"):   "metadata-service",   // AWS
	netip.MustParseAddr("fd20:ce::254"):    "metadata-service",   // Google Cloud
	netip.MustParseAddr("100.100.100.200"): "metadata-service",   // Alibaba Cloud
	netip.MustParseAddr("168.63.129.16"):   "metadata-service",   // Azure's wire server
	netip.MustParseAddr("169.254.170.2"):   "credential-service", // AWS ECS
	netip.MustParseAddr("169.254.170.23"):  "credential-service", // AWS EKS Pod Identity
	netip.MustParseAddr("fd00:ec2::23"):    "credential-service",
	netip.MustParseAddr("169.254.20.10"):   "node-local-dns", // Kubernetes NodeLocal DNSCache
}
