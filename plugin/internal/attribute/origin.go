package attribute

import "time"

// Origin says where bytes came from. Bytes can have several: what was read from a staged archive and passed through a
// pipe is local, staged, packed and piped.
//
// Origins are tracked as amounts, not as marks. A process that read 2 MB of files can write at most 2 MB of local bytes
// to any one place, however much else it writes there. So a service that reads a small file and then stores a large
// upload has staged the small amount only.
type Origin uint8

const (
	Local     Origin = iota // read from files as data
	Received                // sent by a peer that is not external, to whom we connected
	Uploaded                // sent by one that connected to us: perhaps a proxy that passes on what comes from outside
	Fetched                 // sent by an external peer: what came from outside is not taken from here when it leaves
	Staged                  // read from a file that local or received bytes were gathered in
	Packed                  // read from an archive that such bytes were gathered in, or from a pipe that carried one
	OwnPacked               // likewise, from an archive that the program made itself
	Concealed               // read from a file that such bytes were gathered in where nobody looks, within a place where nothing stays
	Piped                   // such bytes that another process passed on through a pipe
	numOrigins
)

// Amounts is a number of bytes for each origin.
type Amounts [numOrigins]uint64

// Gathered is how many of the bytes belong to the chain: staged, packed, hidden or piped before.
func (a *Amounts) Gathered() uint64 {
	return max(a[Staged], a[Packed], a[OwnPacked], a[Concealed], a[Piped])
}

// lately is a number of bytes that is forgotten once none came for a whole window.
type lately struct {
	numBytes uint64
	at       uint64 // ns since the epoch of the last addition
}

func (l *lately) add(n, ts uint64, window time.Duration) {
	if n == 0 {
		return
	}
	if l.stale(ts, window) {
		l.numBytes = 0
	}
	l.numBytes += n
	l.at = ts
}

func (l *lately) get(ts uint64, window time.Duration) uint64 {
	if l.stale(ts, window) {
		return 0
	}
	return l.numBytes
}

func (l *lately) stale(ts uint64, window time.Duration) bool {
	return ts > l.at && ts-l.at > uint64(window)
}

// ledger is what a process holds or a file or pipe contains: bytes by origin.
type ledger [numOrigins]lately

func (l *ledger) add(o Origin, n, ts uint64, window time.Duration) { l[o].add(n, ts, window) }

func (l *ledger) addAll(amounts *Amounts, ts uint64, window time.Duration) {
	for o := range numOrigins {
		l[o].add(amounts[o], ts, window)
	}
}

func (l *ledger) get(o Origin, ts uint64, window time.Duration) uint64 { return l[o].get(ts, window) }

// share scales part/whole to n; never more than n.
func share(n, part, whole uint64) uint64 {
	switch {
	case part == 0:
		return 0
	case part >= whole:
		return n
	}
	return uint64(float64(n) * (float64(part) / float64(whole)))
}
