package attribute

import (
	"bytes"
	"math/bits"

	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
)

// signature is the magic number that a packed or encrypted format starts with.
type signature struct {
	magic  string
	format string
}

// signatures of archives, compressed and encrypted files; tar has none within reach, see tarred.
var signatures = []signature{
	{"\x1f\x8b", "gzip"},
	{"\x1f\x9d", "compress"},
	{"\xfd7zXZ\x00", "xz"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"BZh", "bzip2"},
	{"\x04\x22\x4d\x18", "lz4"},
	{"LZIP", "lzip"},
	{"\x89LZO\x00\r\n\x1a\n", "lzop"},
	{"PK\x03\x04", "zip"},
	{"PK\x05\x06", "zip"},
	{"7z\xbc\xaf\x27\x1c", "7z"},
	{"Rar!\x1a\x07", "rar"},
	{"070701", "cpio"},
	{"070707", "cpio"},
	{"hsqs", "squashfs"},
	{"Salted__", "openssl"},
	{"age-encryption.org/", "age"},
	{"-----BEGIN PGP MESSAGE", "pgp"},
	{"-----BEGIN AGE ENCRYPTED", "age"},
	{"\x85\x01", "pgp"}, // public-key encrypted session key, old packet format, two-byte length
	{"\x85\x02", "pgp"},
	{"\x8c\x0d\x04", "pgp"}, // symmetric-key encrypted session key, version 4
	{"LUKS\xba\xbe", "luks"},
}

// packed reports whether the first bytes of a file, numBytes that were moved at once, are those of an archive, a compressed
// or an encrypted file.
func packed(head []byte, numBytes uint64) bool {
	for _, s := range signatures {
		if len(head) >= len(s.magic) && string(head[:len(s.magic)]) == s.magic {
			return true
		}
	}
	return tarred(head, numBytes)
}

// document reports whether a zip begins as office documents do, with a member that says what it is: [Content_Types].xml in OOXML
// (ISO/IEC 29500-2), mimetype in OpenDocument and EPUB.
func document(head []byte) bool {
	const name = 30 // of the first member, PKWARE's APPNOTE 4.3.7
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) && len(head) > name &&
		(bytes.HasPrefix(head[name:], []byte("[Content_Types].xml")) || bytes.HasPrefix(head[name:], []byte("mimetype")))
}

// tarBlock is what a tar is made of: headers and padded contents.
const tarBlock = 512

// tarred reports whether a file starts like a tar. Its magic lies 257 bytes in, beyond what the default snaplen shows, but
// it starts with a name in a field of 100 bytes that is filled up with NULs (struct posix_header, POSIX.1-1988), and is
// written in whole blocks.
func tarred(head []byte, numBytes uint64) bool {
	end := bytes.IndexByte(head, 0)
	return end > 0 && len(head) == decode.HeadSize && numBytes%tarBlock == 0 && printable(head[:end]) &&
		len(bytes.Trim(head[end:], "\x00")) == 0
}

// noise is how many of 64 bytes must differ to be taken for encrypted or compressed: of random bytes 56.7 do, give or take
// 2.4, of base64 40.6, of text and of programs' own formats fewer.
const noise = 50

// noisy reports whether the first bytes written to a file have the look of random ones, which only encrypted and
// compressed data has; false for fewer bytes than that can be told from, and for those that begin with a name, as documents
// and media do whose contents are compressed.
func noisy(head []byte) bool {
	if len(head) < decode.HeadSize || printable(bytes.ReplaceAll(head[:4], []byte("\n"), nil)) {
		return false
	}
	var values, steps [4]uint64 // a ramp has as many values as random bytes, and a few steps between them
	last := byte(0)
	for _, b := range head {
		step := b - last
		values[b>>6] |= 1 << (b & 63)
		steps[step>>6] |= 1 << (step & 63)
		last = b
	}
	return members(&values) >= noise && members(&steps) >= noise
}

// members counts the bits of a set of bytes.
func members(set *[4]uint64) (n int) {
	for _, word := range set {
		n += bits.OnesCount64(word)
	}
	return n
}

// encoded reports whether bytes are of the alphabets that binary data is written as text in: base64 in both variants, base32
// and hexadecimal, in lines or not. Text has spaces and punctuation.
func encoded(head []byte) bool {
	for _, c := range head {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '+' || c == '/' || c == '-' || c == '_' || c == '=' || c == '\r' || c == '\n':
		default:
			return false
		}
	}
	return len(head) == decode.HeadSize
}

// line is as long as the shortest that encoders write binary data in; lists of identifiers have shorter ones.
const line = 60

// written reports whether bytes are binary data that an encoder has begun to write as text.
func written(head []byte) bool {
	return encoded(head) && bytes.IndexByte(head[:line], '\n') < 0
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// program reports whether the first bytes read of a file are those of a program or library.
func program(head []byte) bool { return bytes.HasPrefix(head, []byte("\x7fELF")) }
