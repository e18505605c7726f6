package attribute

import "bytes"

// signature is the magic number that a packed or encrypted format starts with.
type signature struct {
	magic  string
	format string
}

// signatures of archives, compressed and encrypted files. A plain tar is not among them: its magic lies 257 bytes in,
// beyond what the default snaplen shows.
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

// packed reports whether the first bytes of a file are those of an archive, a compressed or an encrypted file.
func packed(head []byte) bool {
	for _, s := range signatures {
		if len(head) >= len(s.magic) && string(head[:len(s.magic)]) == s.magic {
			return true
		}
	}
	return false
}

// program reports whether the first bytes read of a file are those of a program or library.
func program(head []byte) bool { return bytes.HasPrefix(head, []byte("\x7fELF")) }
