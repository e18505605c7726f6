package kernel

import (
	"math/rand/v2"
	"slices"
)

// Content is what is in a file or goes through a pipe or socket: a head, then filler without end. Only what a capture
// shows of it is ever made.
type Content struct {
	Head   []byte
	Filler Filler
	Kind   bool   // Head is that of a file of this kind: it comes at the file's start only, wherever it is written
	source uint64 // tells filler of one source from that of another
}

// Filler is what follows the head.
type Filler uint8

// Kinds of filler. All are the same for the same seed, source and offset.
const (
	Text   Filler = iota // lines of words
	Random               // looks packed or encrypted
	Zero
)

// words of the text filler.
var words = [...]string{
	"account", "amount", "balance", "batch", "card", "city", "credit", "customer", "date", "debit", "email", "invoice",
	"item", "name", "note", "order", "phone", "price", "region", "status", "stock", "street", "total", "value",
}

// stream is a content and how far it has been passed.
type stream struct {
	content Content
	off     uint64
}

// head appends the first n bytes of what comes at an offset of c, made from seed.
func (c *Content) head(b []byte, rng *rand.PCG, seed, off uint64, n int) []byte {
	b = slices.Grow(b, n)
	end := len(b) + n
	if off < uint64(len(c.Head)) {
		rest := c.Head[off:]
		b = append(b, rest[:min(len(rest), n)]...)
	}
	rng.Seed(seed^c.source, off)
	switch c.Filler {
	case Zero:
		for len(b) < end {
			b = append(b, 0)
		}
	case Random:
		for len(b) < end {
			v := rng.Uint64()
			for i := 0; i < 8 && len(b) < end; i++ {
				b = append(b, byte(v>>(8*i)))
			}
		}
	default:
		for separator := byte(' '); len(b) < end; {
			v := rng.Uint64()
			b = append(append(b, words[v%uint64(len(words))]...), separator)
			if separator = ' '; v>>60 == 0 {
				separator = '\n'
			}
		}
	}
	return b[:end]
}
