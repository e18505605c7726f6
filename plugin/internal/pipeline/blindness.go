package pipeline

import (
	"time"

	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
)

// blindness notices that an engine shows files being opened but never being read or written: Falco leaves such system
// calls out unless base_syscalls.all is set.
type blindness struct {
	sees  bool // a read or write of a file was seen, or the absence was told: nothing more to find out
	opens int
	since uint64 // ns since the epoch of the first open
}

// A node opens this many files in seconds, and most of them to read.
const (
	blindOpens = 2000
	blindTime  = uint64(30 * time.Second)
)

// opened counts an open and reports once that enough of them came without a read or write.
func (b *blindness) opened(s *decode.State) bool {
	if b.sees || s.Kind != decode.KindOpen {
		return false
	}
	if b.opens++; b.opens == 1 {
		b.since = s.TS
	}
	if b.opens < blindOpens || s.TS < b.since+blindTime {
		return false
	}
	b.sees = true
	return true
}
