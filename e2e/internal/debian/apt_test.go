package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPlanIsReadWithVersionsDigestsAndTotalSize(t *testing.T) {
	debs, size, err := parsePlan([]byte(
		"'http://mirror.example/pool/z/zlib1g_1.3_amd64.deb' zlib1g_1%3a1.3-1+b1_amd64.deb 1000 SHA256:aa\n"+
			"'http://mirror.example/pool/s/sysdig_0.41_amd64.deb' sysdig_0.41-4_amd64.deb 24 SHA256:bb\n"), "/archives")
	require.NoError(t, err)
	assert.Equal(t, []deb{
		{path: "/archives/zlib1g_1%3a1.3-1+b1_amd64.deb", name: "zlib1g", version: "1:1.3-1+b1", sha256: "aa"},
		{path: "/archives/sysdig_0.41-4_amd64.deb", name: "sysdig", version: "0.41-4", sha256: "bb"},
	}, debs)
	assert.Equal(t, int64(1024), size)
}

func TestPlansThatPromiseTooLittleAreRefused(t *testing.T) {
	for _, tc := range []struct{ name, plan, text string }{
		{"no package", "NOTE: this is only a simulation\n", "names no package"},
		{"a weak digest", "'http://x/a_1_amd64.deb' a_1_amd64.deb 1 MD5Sum:aa\n", "no SHA-256 digest"},
		{"no digest", "'http://x/a_1_amd64.deb' a_1_amd64.deb 1\n", "want 'URI' FILE SIZE DIGEST"},
		{"a size that is no number", "'http://x/a_1_amd64.deb' a_1_amd64.deb big SHA256:aa\n", "size of"},
		{"a file in another folder", "'http://x/a' ../a_1_amd64.deb 1 SHA256:aa\n", "no name of a package file"},
		{"a file that is no package", "'http://x/a' a.deb 1 SHA256:aa\n", "no name of a package file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := parsePlan([]byte(tc.plan), "/archives")
			assert.ErrorContains(t, err, tc.text)
		})
	}
}

func TestStatusLinesOfDownloadsHaveAPercentage(t *testing.T) {
	percent, ok := parseStatus("dlstatus:3:45.5455:Retrieving file 3 of 22 (1s remaining)")
	assert.True(t, ok)
	assert.InDelta(t, 45.5455, percent, 1e-9)
	for _, line := range []string{"", "pmstatus:a:50:Installing", "dlstatus:1:x:y", "dlstatus:1"} {
		_, ok := parseStatus(line)
		assert.False(t, ok, line)
	}
}

func TestComplaintsAreAptsErrorsOrElseItsWarnings(t *testing.T) {
	assert.Equal(t, "\n  E: one\n  E: two", complaints("W: careful\nE: one\nReading lists\nE: two\n"))
	assert.Equal(t, "\n  W: careful", complaints("Reading lists\nW: careful\n"))
	assert.Empty(t, complaints("Reading lists\n"))
}

// The machine's own configuration may have switched apt's checks off; ours is read after it.
func TestPrivateConfigurationSwitchesChecksOn(t *testing.T) {
	if _, err := exec.LookPath("apt-config"); err != nil {
		t.Skip("this machine has no apt-config")
	}
	machine := filepath.Join(t.TempDir(), "machine.conf")
	require.NoError(t, os.WriteFile(machine, []byte(`
APT::Get::AllowUnauthenticated "true";
Acquire::AllowInsecureRepositories "true";
Acquire::AllowWeakRepositories "true";
Acquire::AllowDowngradeToInsecureRepositories "true";
APT::Install-Recommends "true";
APT::Default-Release "bookworm";
APT::Update::Post-Invoke { "touch /tmp/never"; };
Acquire::http::Proxy "http://proxy.example:3128";
`), 0o644))
	t.Setenv("APT_CONFIG", machine)
	a, err := newApt(filepath.Join(t.TempDir(), "apt"), "amd64", archive{URI: "http://mirror.example/debian", Suite: "testing"}, nil)
	require.NoError(t, err)
	out, err := exec.Command("apt-config", "-c", a.conf, "dump").Output()
	require.NoError(t, err)
	dump := string(out)
	for _, want := range []string{
		`APT::Get::AllowUnauthenticated "false";`,
		`Acquire::AllowInsecureRepositories "false";`,
		`Acquire::AllowWeakRepositories "false";`,
		`Acquire::AllowDowngradeToInsecureRepositories "false";`,
		`APT::Install-Recommends "false";`,
		`Dir::Etc::sourcelist "/dev/null";`,
		`Dir::State "` + a.dir + `/state";`,
		`Dir::Cache "` + a.dir + `/cache";`,
		`Acquire::http::Proxy "http://proxy.example:3128";`, // the machine's way to the network stays
	} {
		assert.Contains(t, dump, want)
	}
	assert.NotContains(t, dump, "touch /tmp/never")
	assert.NotContains(t, dump, `APT::Default-Release "bookworm"`)
}

func TestPackageThatDiffersFromTheIndexIsRefusedAndRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a_1_amd64.deb")
	require.NoError(t, os.WriteFile(path, []byte("data"), 0o644))
	sum := sha256.Sum256([]byte("data"))
	d := deb{path: path, sha256: hex.EncodeToString(sum[:])}
	require.NoError(t, d.verify())

	require.NoError(t, os.WriteFile(path, []byte("other"), 0o644))
	assert.ErrorContains(t, d.verify(), "the signed index says "+d.sha256)
	assert.NoFileExists(t, path)
}

func TestTreeIsCompleteOnlyWithItsManifest(t *testing.T) {
	root := t.TempDir()
	_, err := readTree(root)
	require.Error(t, err)

	require.NoError(t, os.WriteFile(filepath.Join(root, marker), []byte(
		`{"package": "sysdig", "suite": "testing", "arch": "amd64", "packages": [{"name": "sysdig", "version": "0.41.4-4"}]}`), 0o644))
	tree, err := readTree(root)
	require.NoError(t, err)
	assert.Equal(t, root, tree.Root)
	assert.Equal(t, "0.41.4-4", tree.Version("sysdig"))
	assert.Empty(t, tree.Version("libc6"))

	require.NoError(t, os.WriteFile(filepath.Join(root, marker), []byte(`{"package": `), 0o644))
	_, err = readTree(root)
	assert.ErrorContains(t, err, marker)
}

func TestSecondProcessWaitsForTheLockAndEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(context.Background(), path, nil)
	require.NoError(t, err)

	var said bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = lock(ctx, path, NewProgress(&said, false))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, "engine: waiting for another process that is downloading\n", said.String())

	got := make(chan error)
	go func() {
		unlock, err := lock(context.Background(), path, NewProgress(new(strings.Builder), false))
		if err == nil {
			unlock()
		}
		got <- err
	}()
	unlock()
	select {
	case err := <-got:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the lock was given back and nobody got it")
	}
}

func TestLockFallsWithItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	require.NoError(t, f.Close()) // what the end of a process does
	unlock, err := lock(context.Background(), path, nil)
	require.NoError(t, err)
	unlock()
}

func TestProgressOnNoTerminalIsALineAStep(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, false)
	p.Start("downloading")
	p.Percent(50)
	p.Done()
	assert.Equal(t, "engine: downloading\n", out.String())
}

func TestProgressOnATerminalIsABarThatIsClearedAtTheEnd(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, true)
	p.Start("downloading")
	p.Percent(50)
	p.Done()
	assert.Contains(t, out.String(), "engine: downloading")
	assert.Contains(t, out.String(), "50%")
	last := out.String()[strings.LastIndex(strings.TrimRight(out.String(), "\r"), "\r")+1:]
	assert.Empty(t, strings.TrimSpace(last))
}
