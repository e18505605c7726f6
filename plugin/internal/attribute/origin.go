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

// ledger is what a process holds or a file or pipe contains: bytes by origin, each forgotten once none came for a
// whole window.
type ledger struct {
	amounts Amounts
	at      [numOrigins]uint64 // ns since the epoch of the last addition
}

func (l *ledger) add(o Origin, n, ts uint64, window time.Duration) {
	if n == 0 {
		return
	}
	if l.stale(o, ts, window) {
		l.amounts[o] = 0
	}
	l.amounts[o] += n
	l.at[o] = ts
}

func (l *ledger) addAll(amounts *Amounts, ts uint64, window time.Duration) {
	for o := range numOrigins {
		if amounts[o] > 0 {
			l.add(o, amounts[o], ts, window)
		}
	}
}

func (l *ledger) get(o Origin, ts uint64, window time.Duration) uint64 {
	if l.stale(o, ts, window) {
		return 0
	}
	return l.amounts[o]
}

func (l *ledger) stale(o Origin, ts uint64, window time.Duration) bool {
	return ts > l.at[o] && ts-l.at[o] > uint64(window)
}

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
