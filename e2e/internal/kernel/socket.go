package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/capture"
)

// socket is one end of a connection, or what waits for connections.
type socket struct {
	transport     capture.Transport // of an internet socket
	listens       bool
	server        bool // the peer connected to us
	local, remote netip.AddrPort

	unix     bool
	path     string // of a Unix socket
	src, dst uint64 // of a Unix socket: our address in the kernel and the peer's

	peer     *socket       // the other end, where it is on this machine
	talk     *conversation // of a client that nobody has accepted yet
	in, out  stream
	received uint64
}

// conversation is a connection from its connect on.
type conversation struct {
	where  string // key of Kernel.waiting
	client *socket
	name   string // container of the client, or its address
}

// unixPrefix begins the address of a Unix socket.
const unixPrefix = "unix:"

// resolve reads an address as scripts have it: HOST:PORT, where HOST is an IP address or the name of a container, [IPv6]:PORT.
func (k *Kernel) resolve(text string) (netip.AddrPort, error) {
	host, port, err := splitPort(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr, err := k.host(host)
	return netip.AddrPortFrom(addr, port), err
}

func splitPort(text string) (host string, port uint16, err error) {
	i := strings.LastIndexByte(text, ':')
	if i >= 0 {
		n, err := strconv.ParseUint(text[i+1:], 10, 16)
		if err == nil {
			return strings.TrimSuffix(strings.TrimPrefix(text[:i], "["), "]"), uint16(n), nil
		}
	}
	return "", 0, fmt.Errorf("%q is no address: write 198.51.100.7:443, [2001:db8::7]:443, CONTAINER:443 or unix:/run/app.sock", text)
}

func (k *Kernel) host(name string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.Unmap(), nil
	}
	c, err := k.Container(name)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(c.Addrs) == 0 {
		return k.cfg.Addrs[0], nil
	}
	return c.Addrs[0], nil
}

// own is the address that a process has towards a peer.
func (k *Kernel) own(p *process, peer netip.Addr) (netip.Addr, error) {
	if peer.IsLoopback() {
		return peer, nil
	}
	addrs, who := k.cfg.Addrs, "machine"
	if c := p.container; c != nil && len(c.Addrs) > 0 {
		addrs, who = c.Addrs, "container "+c.Name
	}
	for _, a := range addrs {
		if a.Is4() == peer.Is4() {
			return a, nil
		}
	}
	if peer.Is4() {
		return netip.Addr{}, fmt.Errorf("there is no IPv4 address: write one on the line of the %s, such as ip 10.1.0.7", who)
	}
	return netip.Addr{}, fmt.Errorf("there is no IPv6 address: write one on the line of the %s, such as ip fd00::7", who)
}

func (k *Kernel) port() uint16 {
	p := k.nextPort
	if k.nextPort++; k.nextPort > lastPort {
		k.nextPort = firstPort
	}
	return p
}

// address gives a Unix socket one.
func (k *Kernel) address() uint64 {
	k.nextSock += 0x480
	return k.nextSock
}

// meeting is where a connection to an address is waited for. Loopback means something in one network namespace only.
func (k *Kernel) meeting(p *process, addr netip.AddrPort) string {
	if addr.Addr().IsLoopback() && p.container != nil && !p.container.HostNetwork {
		return p.container.ID + " " + addr.String()
	}
	return addr.String()
}

// Connecting is how a connection is made.
type Connecting struct {
	Handle      string
	UDP         bool
	NonBlocking bool // returns at once, with EINPROGRESS
	Errno       int64
}

const (
	errInProgress     = 115
	socketNonBlocking = 0x800
)

// Connect makes a socket and connects it.
func (k *Kernel) Connect(t *Thread, to string, how Connecting) error {
	p := t.process
	s := &socket{transport: capture.TCP}
	var where string
	if path, ok := strings.CutPrefix(to, unixPrefix); ok {
		if err := absolute(path); err != nil {
			return err
		}
		place, _ := locate(p.container, path)
		s.unix, s.path, s.src, s.dst, where = true, path, k.address(), k.address(), unixPrefix+place
	} else {
		remote, err := k.resolve(to)
		if err != nil {
			return err
		}
		addr, err := k.own(p, remote.Addr())
		if err != nil {
			return err
		}
		s.local, s.remote = netip.AddrPortFrom(addr, k.port()), remote
		where = k.meeting(p, remote)
	}
	if how.UDP {
		s.transport = capture.UDP
	}
	fd := k.socket(t, s, to, how.Handle, how.NonBlocking)
	e := k.event(typeConnect)
	switch {
	case how.Errno != 0:
		e.i64(-how.Errno)
	case how.NonBlocking:
		e.i64(-errInProgress)
	default:
		e.i64(0)
	}
	switch {
	case how.Errno != 0:
		e.empty()
	case s.unix:
		e.unixTuple(s.src, s.dst, s.path)
	default:
		e.tuple(s.local, s.remote)
	}
	e.i64(int64(fd))
	if s.unix {
		e.unixAddr(s.path)
	} else {
		e.addr(s.remote)
	}
	k.emit(t)
	if how.Errno == 0 && !how.UDP {
		s.talk = &conversation{where: where, client: s, name: s.local.Addr().String()}
		if p.container != nil {
			s.talk.name = p.container.Name
		}
		k.waiting[where] = append(k.waiting[where], s.talk)
	}
	return nil
}

// socket writes the socket call and gives a descriptor.
func (k *Kernel) socket(t *Thread, s *socket, name, handle string, nonBlocking bool) int {
	fd := t.process.table.add(&descriptor{kind: socketDescriptor, name: name, sock: s}, handle)
	domain := uint32(familyUnix)
	if !s.unix {
		domain = uint32(family(s.local.Addr()))
	}
	typ := uint32(socketStream)
	if s.transport == capture.UDP {
		typ = socketDatagram
	}
	if nonBlocking {
		typ |= socketNonBlocking
	}
	e := k.event(typeSocket)
	e.i64(int64(fd))
	e.u32(domain)
	e.u32(typ)
	e.u32(0)
	k.emit(t)
	return fd
}

// Datagram makes an unconnected UDP socket.
func (k *Kernel) Datagram(t *Thread, handle string, v6 bool) error {
	peer := netip.IPv4Unspecified()
	if v6 {
		peer = netip.IPv6Unspecified()
	}
	addr, err := k.own(t.process, peer)
	if err != nil {
		return err
	}
	s := &socket{transport: capture.UDP, local: netip.AddrPortFrom(addr, k.port())}
	k.socket(t, s, handle, handle, false)
	return nil
}

// Listen makes a socket that waits for connections, at :PORT for any address, at ADDRESS:PORT or unix:PATH.
func (k *Kernel) Listen(t *Thread, at, handle string) error {
	p := t.process
	s := &socket{transport: capture.TCP, listens: true}
	if path, ok := strings.CutPrefix(at, unixPrefix); ok {
		if err := absolute(path); err != nil {
			return err
		}
		s.unix, s.path = true, path
	} else {
		host, port, err := splitPort(at)
		if err != nil {
			return err
		}
		addr := netip.IPv4Unspecified()
		if host != "" {
			if addr, err = k.host(host); err != nil {
				return err
			}
		}
		s.local = netip.AddrPortFrom(addr, port)
	}
	for _, e := range p.table.open {
		if e.d.name == at && e.d.sock != nil && e.d.sock.listens {
			return fmt.Errorf("%s listens on %s already", t.name, at)
		}
	}
	fd := k.socket(t, s, at, handle, false)
	e := k.event(typeBind)
	e.i64(0)
	if s.unix {
		e.unixAddr(s.path)
	} else {
		e.addr(s.local)
	}
	e.i64(int64(fd))
	k.emit(t)
	e = k.event(typeListen)
	e.i64(0)
	e.i64(int64(fd))
	e.u32(511)
	k.emit(t)
	return nil
}

// Accept takes a connection: of somebody on this machine who has connected, from the one that is named if one is, or else
// of a peer elsewhere at the address from, with or without a port.
func (k *Kernel) Accept(t *Thread, at, from, handle string) error {
	p := t.process
	listener, err := p.table.listener(at)
	if err != nil {
		return fmt.Errorf("%w: write `%s listen %s` or `%s had listen %s` above", err, t.name, at, t.name, at)
	}
	s := &socket{transport: capture.TCP, server: true, unix: listener.unix, path: listener.path}
	name := from
	if talk := k.take(p, listener, from); talk != nil {
		c := talk.client
		s.peer, c.peer, c.talk = c, s, nil
		s.local, s.remote, s.src, s.dst = c.remote, c.local, c.dst, c.src
		if name == "" {
			name = talk.name
		}
	} else {
		if from == "" || s.unix {
			return fmt.Errorf("nobody has connected to %s: write `connect` of a process above, or `from ADDRESS` for a peer elsewhere", at)
		}
		if s.remote, err = k.peer(from); err != nil {
			return err
		}
		addr := listener.local.Addr()
		if addr.IsUnspecified() {
			if addr, err = k.own(p, s.remote.Addr()); err != nil {
				return err
			}
		}
		s.local = netip.AddrPortFrom(addr, listener.local.Port())
	}
	fd := p.table.add(&descriptor{kind: socketDescriptor, name: name, sock: s}, handle)
	e := k.event(typeAccept4)
	e.i64(int64(fd))
	if s.unix {
		e.unixTuple(s.dst, s.src, s.path)
	} else {
		e.tuple(s.remote, s.local)
	}
	e.zero8()  // the queue in percent,
	e.u32(0)   // its length
	e.u32(511) // and most
	e.u32(0)
	k.emit(t)
	return nil
}

// peer is somebody elsewhere who connects, from a port of their own.
func (k *Kernel) peer(from string) (netip.AddrPort, error) {
	if addr, err := k.host(from); err == nil {
		return netip.AddrPortFrom(addr, k.port()), nil
	}
	return k.resolve(from)
}

// listener finds a socket that waits for connections by its address or name.
func (t *table) listener(at string) (*socket, error) {
	for _, e := range slices.Backward(t.open) {
		if e.d.sock != nil && e.d.sock.listens && (e.d.name == at || e.handle == at) {
			return e.d.sock, nil
		}
	}
	return nil, fmt.Errorf("nothing listens on %s", at)
}

// take takes the first connection that waits at a listener's address, of the client that is named if one is.
func (k *Kernel) take(p *process, l *socket, from string) *conversation {
	var places []string
	switch {
	case l.unix:
		place, _ := locate(p.container, l.path)
		places = []string{unixPrefix + place}
	case !l.local.Addr().IsUnspecified():
		places = []string{k.meeting(p, l.local)}
	default:
		addrs := k.cfg.Addrs
		if c := p.container; c != nil && len(c.Addrs) > 0 {
			addrs = c.Addrs
		}
		for _, a := range slices.Concat(addrs, []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}) {
			places = append(places, k.meeting(p, netip.AddrPortFrom(a, l.local.Port())))
		}
	}
	for _, where := range places {
		for i, talk := range k.waiting[where] {
			if from == "" || from == talk.name || !l.unix && from == talk.client.local.Addr().String() {
				if k.waiting[where] = slices.Delete(k.waiting[where], i, i+1); len(k.waiting[where]) == 0 {
					delete(k.waiting, where)
				}
				return talk
			}
		}
	}
	return nil
}

// SocketPair makes two connected sockets, which are called handle.1 and handle.2.
func (k *Kernel) SocketPair(t *Thread, handle string) {
	one := &socket{unix: true, src: k.address(), dst: k.address()}
	two := &socket{unix: true, src: one.dst, dst: one.src, peer: one}
	one.peer = two
	fd1 := t.process.table.add(&descriptor{kind: socketDescriptor, name: "socketpair", sock: one, end: '1'}, handle)
	fd2 := t.process.table.add(&descriptor{kind: socketDescriptor, name: "socketpair", sock: two, end: '2'}, handle)
	e := k.event(typeSocketPair)
	e.i64(0)
	e.i64(int64(fd1))
	e.i64(int64(fd2))
	e.u64(one.src)
	e.u64(one.dst)
	e.u32(familyUnix)
	e.u32(socketStream)
	e.u32(0)
	k.emit(t)
}

// describe is a socket in a descriptor list: ours is the local end, whoever connected to whom.
func (s *socket) describe(d *capture.Descriptor) {
	d.Transport = s.transport
	switch {
	case s.unix:
		d.Type, d.Name, d.UnixSrc, d.UnixDst = capture.DescriptorUnix, s.path, s.src, s.dst
		if s.server {
			d.UnixSrc, d.UnixDst = s.dst, s.src
		}
	case s.listens:
		d.Type, d.Local = capture.DescriptorIPv6Server, s.local
		if s.local.Addr().Is4() {
			d.Type = capture.DescriptorIPv4Server
		}
	default:
		d.Type, d.Local, d.Remote = capture.DescriptorIPv6, s.local, s.remote
		if !s.remote.IsValid() {
			d.Remote = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
		}
		if s.local.Addr().Is4() {
			d.Type = capture.DescriptorIPv4
			if !s.remote.IsValid() {
				d.Remote = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
			}
		}
	}
}
