package cases

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SumsFile lists the SHA-256 of the captures in its folder, in the format of sha256sum(1).
const SumsFile = "SHA256SUMS"

// VerifyCapture tells whether a capture is still the one that was recorded, by the SHA256SUMS beside it. A folder without
// one promises nothing; in a folder with one, every capture that is replayed must be listed.
func VerifyCapture(capture string) error {
	sumsFile := filepath.Join(filepath.Dir(capture), SumsFile)
	sums, err := ReadSums(sumsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	want, ok := sums[filepath.Base(capture)]
	if !ok {
		return fmt.Errorf("capture %s is not listed in %s: add the line of `sha256sum %s`", capture, sumsFile, filepath.Base(capture))
	}
	f, err := os.Open(capture)
	if err != nil {
		return fmt.Errorf("open capture: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("read capture %s: %w", capture, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("capture %s has changed: its SHA-256 is %s, %s has %s: restore it, or correct that line if it was recorded anew",
			capture, got, sumsFile, want)
	}
	return nil
}

// ReadSums reads the lines of sha256sum(1): file name to SHA-256 in hexadecimal.
func ReadSums(file string) (map[string]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read checksums: %w", err)
	}
	sums := map[string]string{}
	for i, line := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		sum, name, ok := strings.Cut(line, " ")
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("%s:%d:1: not a checksum: write the line that sha256sum prints", file, i+1)
		}
		sums[strings.TrimLeft(name, " *")] = sum
	}
	return sums, nil
}
