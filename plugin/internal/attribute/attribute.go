// Package attribute turns decoded events into transfers: how many bytes moved between which process of which container
// and which file or peer, and where those bytes came from in the first place.
//
// Threads and descriptors are libs' to know, and its tables are asked about everything that has not been told by an
// event. One thing is tracked here as well: descriptors across fork. Libs copies them when the child's own event comes,
// and by then a shell has often closed the pipe between the two programs it starts, so the copy here is taken at the
// moment of the fork.
//
// A process remembers what it read and a file or pipe what was written to it, by origin (see Origin). That is how a
// chain is followed from the files that were read, over copies, pipes, packers and other containers, to the peer that
// the bytes are sent to, whatever the programs are called.
package attribute

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// Config is what an Attributor needs to know.
type Config struct {
	Window        time.Duration // how long a process remembers where it has data from
	Memory        time.Duration // how long a file does
	Grace         time.Duration // how long a container's metadata may take to come
	PeerBytes     uint64        // how much a peer must send within Window to be one of many
	Orchestrator  Orchestrator
	Paths         Paths
	Networks      Networks
	MaxThreads    int
	MaxFiles      int
	MaxContainers int
}

// Orchestrator says whether the node's containers are expected to be pods.
type Orchestrator uint8

const (
	OrchestratorAuto     Orchestrator = iota // once one of them is
	OrchestratorExpected                     // all of them
	OrchestratorNone                         // none
)

// Stats counts what could not be attributed. Safe to read from any thread.
type Stats struct {
	UnknownThreads    atomic.Uint64 // transfers of threads that nobody knows
	UnknownFDs        atomic.Uint64 // transfers through descriptors that nobody knows
	BadMetadata       atomic.Uint64 // container events that could not be read
	ThreadsEvicted    atomic.Uint64
	FilesEvicted      atomic.Uint64
	ContainersEvicted atomic.Uint64
}

// Lost is how many transfers could not be attributed.
func (s *Stats) Lost() uint64 { return s.UnknownThreads.Load() + s.UnknownFDs.Load() }

// Attributor attributes events. It has a single owner.
type Attributor struct {
	Stats Stats

	cfg          Config
	table        Table
	threads      latest[int64, *Process]
	files        latest[fileKey, *File]
	written      latest[uint64, *File] // by inode alone, see file
	containers   latest[string, *Container]
	channels     latest[channelKey, *channel]
	addresses    latest[netip.Addr, home]
	endpoints    latest[netip.AddrPort, *Container] // of this node's containers
	births       []birth                            // a ring
	orchestrated uint64                             // ns since the epoch: when the first pod was told; 0 for never
	nextBirth    int
	runs         uint64 // of programs that were started while it was watched

	lastTID     int64
	lastProcess *Process
}

// maxBirths bounds the forks whose child has not been seen; a child's event follows within milliseconds.
const (
	maxBirths       = 256
	maxBirthAge     = uint64(10 * time.Second)
	maxInheritedFDs = 1024

	// maxChannels bounds the pipes and the Unix and loopback connections; one that is forgotten starts anew at both ends.
	maxChannels = 8192
	// maxEndpoints bounds the sockets that a peer is recognised by.
	maxEndpoints = 16384
	// maxWritten bounds the written files that a descriptor without a device is recognised by.
	maxWritten = 16384
)

// New makes an Attributor that asks table about what events did not tell.
func New(cfg Config, table Table) (*Attributor, error) {
	a := &Attributor{cfg: cfg, table: table, births: make([]birth, maxBirths)}
	seed := maphash.MakeSeed()
	var err error
	if a.threads, err = newLatest[int64, *Process](seed, cfg.MaxThreads); err != nil {
		return nil, err
	}
	if a.files, err = newLatest[fileKey, *File](seed, cfg.MaxFiles); err != nil {
		return nil, err
	}
	if a.written, err = newLatest[uint64, *File](seed, maxWritten); err != nil {
		return nil, err
	}
	if a.containers, err = newLatest[string, *Container](seed, cfg.MaxContainers); err != nil {
		return nil, err
	}
	if a.channels, err = newLatest[channelKey, *channel](seed, maxChannels); err != nil {
		return nil, err
	}
	if a.addresses, err = newLatest[netip.Addr, home](seed, cfg.MaxContainers); err != nil {
		return nil, err
	}
	if a.endpoints, err = newLatest[netip.AddrPort, *Container](seed, maxEndpoints); err != nil {
		return nil, err
	}
	return a, nil
}
