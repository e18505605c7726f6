package ruleset

import "strings"

// text is a condition or an output, put together from values in rules files.
type text struct {
	value  string
	pieces []piece
}

// piece is a part of a text: from offset on, it is what scalar holds from skip on. Where fixed is set, all of it is there.
type piece struct {
	offset int
	scalar scalar
	skip   int
	fixed  Position
}

func textOf(s scalar) text {
	return text{s.value, []piece{{scalar: s}}}
}

// trimmed drops blanks at both ends.
func (t text) trimmed() text {
	left := strings.TrimLeft(t.value, blanks)
	t.pieces[0].skip = len(t.value) - len(left)
	t.value = strings.TrimRight(left, blanks)
	return t
}

const blanks = " \t\n\r\f\v"

// add appends a value, as an append does: after a blank.
func (t *text) add(s scalar) {
	t.value += " "
	t.pieces = append(t.pieces, piece{offset: len(t.value), scalar: s})
	t.value += s.value
}

// write appends what stands for the thing at a position.
func (t *text) write(value string, at Position) {
	t.pieces = append(t.pieces, piece{offset: len(t.value), fixed: at})
	t.value += value
}

// enclose puts parentheses around the text.
func (t *text) enclose() {
	t.value = "(" + t.value + ")"
	for i := range t.pieces {
		t.pieces[i].offset++
	}
}

// position is the place in the rules files of a byte of the text.
func (t text) position(offset int) Position {
	at := t.pieces[0]
	for _, p := range t.pieces {
		if p.offset <= offset {
			at = p
		}
	}
	if at.scalar.file == nil {
		return at.fixed
	}
	return at.scalar.position(max(0, offset-at.offset) + at.skip)
}

// clone keeps what is done to the copy from the original.
func (t text) clone() text {
	t.pieces = append([]piece(nil), t.pieces...)
	return t
}
