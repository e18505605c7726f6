package capture

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	machine := Machine{Hostname: "node-1", CPUs: 4, MemoryBytes: 8 << 30, Boot: time.Unix(1700000000, 0).UTC()}
	w.Machine(machine)
	w.Interfaces([]Interface{{"eth0", netip.MustParsePrefix("fd00::7/64")}, {"lo", netip.MustParsePrefix("127.0.0.1/8")}})
	w.Users([]User{{Name: "root", Home: "/root", Shell: "/bin/sh"}})
	w.Processes([]Thread{{TID: 7, PID: 7, Comm: "sh", Exe: "sh", ExePath: "/bin/sh", Args: []string{"-c", "x"}, Cgroups: []string{"cpu=/"}}})
	w.Descriptors(7, []Descriptor{
		{FD: 3, Type: DescriptorFile, Name: "/etc/passwd", Ino: 12},
		{FD: 4, Type: DescriptorIPv6, Local: netip.MustParseAddrPort("[fd00::7]:1"), Remote: netip.MustParseAddrPort("[fd00::8]:2"), Transport: TCP},
		{FD: 5, Type: DescriptorIPv4Server, Local: netip.MustParseAddrPort("0.0.0.0:80"), Transport: TCP},
	})
	w.Event(&Event{CPU: 1, Time: 1000, TID: 7, Type: 5, Lens: []int{8, 8}, Data: make([]byte, 16)})
	w.Event(&Event{Time: 3000, Type: 402, Large: true, Lens: []int{70_000}, Data: make([]byte, 70_000)})
	w.Event(&Event{Time: 2000, TID: 7, Type: eventDrop, Lens: []int{4}, Data: make([]byte, 4)})
	require.NoError(t, w.Err())
	assert.EqualValues(t, buf.Len(), w.Size())

	got, err := Read(bytes.NewReader(buf.Bytes()), libs023)
	require.NoError(t, err)
	assert.Equal(t, Summary{
		Events: 3, First: time.Unix(0, 1000).UTC(), Last: time.Unix(0, 3000).UTC(), Drops: 1, Machine: machine,
	}, got)
}

// scap_ifinfo_ipv4 of userspace/libscap/scap.h.
func TestInterfacesAreLaidOutAsLibsHasThem(t *testing.T) {
	var buf bytes.Buffer
	NewWriter(&buf).Interfaces([]Interface{{"lo", netip.MustParsePrefix("127.0.0.1/8")}})
	assert.Equal(t, []byte("\x19\x02\x00\x00"+"\x2c\x00\x00\x00"+ // type and length of the block
		"\x1a\x00\x00\x00"+"\x01\x00"+"\x02\x00"+ // length of the entry, IPv4, length of the name
		"\x7f\x00\x00\x01"+"\xff\x00\x00\x00"+"\x7f\xff\xff\xff"+ // address, mask, broadcast
		"\x00\x00\x00\x00\x00\x00\x00\x00"+"lo"+"\x00\x00"+ // link speed, name, padding
		"\x2c\x00\x00\x00"), buf.Bytes()[28:])
}

func TestAParameterThatDoesNotFitIsAnError(t *testing.T) {
	w := NewWriter(&bytes.Buffer{})
	w.Event(&Event{Type: 7, Lens: []int{70_000}, Data: make([]byte, 70_000)})
	require.EqualError(t, w.Err(), "write an event of type 7: a parameter of 70000 bytes, and 65535 fit")
}

type brokenStream struct{ left int }

func (b *brokenStream) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestTheFirstErrorOfTheStreamStays(t *testing.T) {
	w := NewWriter(&brokenStream{left: 2})
	for range 5 {
		w.Event(&Event{Type: 5, Lens: []int{8, 8}, Data: make([]byte, 16)})
	}
	require.EqualError(t, w.Err(), "disk full")
}
