package cases

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The SHA-256 of "abc", from FIPS 180-2, appendix B.1.
const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

func TestACaptureIsHeldAgainstTheChecksumsBesideIt(t *testing.T) {
	for _, tc := range []struct{ name, content, sums, want string }{
		{"the recorded capture passes", "abc", abc + "  a.scap\n", ""},
		{"the binary mark of sha256sum is understood", "abc", abc + " *a.scap\n", ""},
		{"another content is named with both sums", "abd", abc + "  a.scap\n",
			"capture DIR/a.scap has changed: its SHA-256 is a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9, " +
				"DIR/SHA256SUMS has " + abc + ": restore it, or correct that line if it was recorded anew"},
		{"a capture that is not listed is refused", "abc", abc + "  b.scap\n",
			"capture DIR/a.scap is not listed in DIR/SHA256SUMS: add the line of `sha256sum a.scap`"},
		{"a line that is no checksum is refused", "abc", abc + "  a.scap\nhello\n",
			"DIR/SHA256SUMS:2:1: not a checksum: write the line that sha256sum prints"},
		{"a sum of another length is refused", "abc", "ba78  a.scap\n",
			"DIR/SHA256SUMS:1:1: not a checksum: write the line that sha256sum prints"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "a.scap"), []byte(tc.content), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, SumsFile), []byte(tc.sums), 0o600))
			err := VerifyCapture(filepath.Join(dir, "a.scap"))
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Equal(t, tc.want, replaceAll(err.Error(), dir, "DIR"))
		})
	}
}

func TestAFolderWithoutChecksumsPromisesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.scap")
	require.NoError(t, os.WriteFile(file, []byte("abc"), 0o600))
	require.NoError(t, VerifyCapture(file))
}

func TestTheShippedCapturesAreTheRecordedOnesAndAllListed(t *testing.T) {
	const dir = "../../captures"
	sums, err := ReadSums(filepath.Join(dir, SumsFile))
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(dir, "*.scap"))
	require.NoError(t, err)
	assert.Len(t, files, len(sums), "every line of SHA256SUMS is a capture beside it")
	for _, f := range files {
		assert.NoError(t, VerifyCapture(f))
	}
}

func TestTheShippedCasesAreWellFormed(t *testing.T) {
	t.Chdir("../../..")
	found, err := Find()
	require.NoError(t, err)
	assert.NotEmpty(t, found)
}
