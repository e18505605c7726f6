package debian

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDebianArchiveIsFoundAmongOthers(t *testing.T) {
	const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	for _, tc := range []struct {
		name string
		file string // .sources or .list
		text string
		want archive
		none bool
	}{
		{
			name: "the .sources file of a Debian image",
			file: "debian.sources",
			text: "Types: deb\n# a comment within\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n" +
				"Components: main\nSigned-By: " + keyring + "\n\n" +
				"Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n",
			want: archive{URI: "http://mirror.example/debian", SignedBy: keyring},
		},
		{
			name: "a security archive before the archive itself",
			file: "debian.sources",
			text: "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: trixie-security\nComponents: main\nSigned-By: " +
				keyring + "\n\nTypes: deb deb-src\nURIs: https://mirror.example/debian/\nSuites: trixie\nComponents: main contrib\n",
			want: archive{URI: "https://mirror.example/debian/"},
		},
		{
			name: "a key within the file, fields in lower case, values on lines of their own",
			file: "debian.sources",
			text: "types: deb\nuris:\n http://mirror.example/debian\nsuites: sid\ncomponents: main\nsigned-by:\n" +
				" -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc=\n -----END PGP PUBLIC KEY BLOCK-----\n",
			want: archive{
				URI:      "http://mirror.example/debian",
				SignedBy: "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc=\n -----END PGP PUBLIC KEY BLOCK-----",
			},
		},
		{
			name: "a paragraph that is switched off",
			file: "debian.sources",
			text: "Enabled: no\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main\n",
			none: true,
		},
		{
			name: "sources of source packages only",
			file: "debian.sources",
			text: "Types: deb-src\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main\n",
			none: true,
		},
		{
			name: "a snapshot of the archive, known by its keys",
			file: "debian.sources",
			text: "Types: deb\nURIs: http://snapshot.example/20250520\nSuites: bookworm\nComponents: main\nSigned-By: " + keyring + "\n",
			want: archive{URI: "http://snapshot.example/20250520", SignedBy: keyring},
		},
		{
			name: "the .list file of older Debian",
			file: "sources.list",
			text: "# deb http://off.example/debian bookworm main\n" +
				"deb-src http://mirror.example/debian bookworm main\n" +
				"deb cdrom:[Debian GNU/Linux 12]/ bookworm main\n" +
				"deb http://mirror.example/debian-security bookworm-security main\n" +
				"deb  http://mirror.example/debian   bookworm main non-free # ours\n",
			want: archive{URI: "http://mirror.example/debian"},
		},
		{
			name: "options of a .list entry: the keys are kept, what switches checks off is not",
			file: "sources.list",
			text: "deb [ arch=amd64 Signed-By=/a.gpg,/b.gpg trusted=yes allow-insecure=yes ] http://mirror.example/debian sid main\n",
			want: archive{URI: "http://mirror.example/debian", SignedBy: "/a.gpg /b.gpg"},
		},
		{
			name: "a copy on a disk",
			file: "sources.list",
			text: "deb file:/srv/debian sid main\n",
			want: archive{URI: "file:/srv/debian"},
		},
		{
			name: "vendors with Debian's suite names",
			file: "sources.list",
			text: "deb [signed-by=/usr/share/keyrings/vendor.gpg] https://apt.vendor.example bookworm main\n" +
				"deb https://download.vendor.example/linux/debian bookworm stable\n" +
				"deb https://packages.vendor.example/apt cloud-sdk-bookworm main\n",
			none: true,
		},
		{
			name: "Ubuntu",
			file: "ubuntu.sources",
			text: "Types: deb\nURIs: http://archive.example/ubuntu/\nSuites: noble noble-updates\nComponents: main universe\n" +
				"Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n",
			none: true,
		},
		{name: "an empty file", file: "sources.list", none: true},
		{name: "lines that are no entries", file: "sources.list", text: "deb\ndebug http://x/debian sid main\ndeb http://x/debian\n", none: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			parse := parseList
			if filepath.Ext(tc.file) == ".sources" {
				parse = parseDeb822
			}
			got, ok := pickArchive(parse([]byte(tc.text)))
			assert.Equal(t, !tc.none, ok)
			assert.Equal(t, tc.want, got)
		})
	}
}

// useSources points apt-config at a machine with these sources files.
func useSources(t *testing.T, files map[string]string) {
	t.Helper()
	if _, err := os.Stat("/usr/bin/apt-config"); err != nil {
		t.Skip("this machine has no apt-config")
	}
	dir := t.TempDir()
	parts := filepath.Join(dir, "sources.list.d")
	require.NoError(t, os.Mkdir(parts, 0o755))
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	conf := filepath.Join(dir, "apt.conf")
	require.NoError(t, os.WriteFile(conf, []byte(
		`Dir::Etc::sourcelist "`+filepath.Join(dir, "sources.list")+`"; Dir::Etc::sourceparts "`+parts+`";`), 0o644))
	t.Setenv("APT_CONFIG", conf)
}

func TestMachinesOwnArchiveIsReadFromItsAptConfiguration(t *testing.T) {
	useSources(t, map[string]string{
		"sources.list":                  "deb http://archive.example/ubuntu noble main\n",
		"sources.list.d/a.list.off":     "deb http://off.example/debian sid main\n",
		"sources.list.d/b.list":         "deb [signed-by=/keys.gpg] http://mirror.example/debian sid main\n",
		"sources.list.d/debian.sources": "Types: deb\nURIs: http://later.example/debian\nSuites: sid\nComponents: main\n",
	})
	got, err := findArchive("")
	require.NoError(t, err)
	assert.Equal(t, archive{URI: "http://mirror.example/debian", SignedBy: "/keys.gpg"}, got)

	got, err = findArchive("https://other.example/debian")
	require.NoError(t, err)
	assert.Equal(t, archive{URI: "https://other.example/debian", SignedBy: "/keys.gpg"}, got, "a mirror has the archive's keys")
}

func TestMachineWithoutADebianArchiveIsToldWhatToDo(t *testing.T) {
	useSources(t, map[string]string{"sources.list": "deb http://archive.example/ubuntu noble main\n"})
	_, err := findArchive("")
	assert.ErrorContains(t, err, "--mirror URL or DATASTAGING_MIRROR")
}

func TestMirrorsThatAreNoURLAreRefused(t *testing.T) {
	useSources(t, nil)
	for _, mirror := range []string{"mirror.example/debian", "ftp://mirror.example/debian", "http://x/debian\nTrusted: yes", "http://x y"} {
		_, err := findArchive(mirror)
		assert.ErrorContains(t, err, "want an http, https or file URL", "%q", mirror)
	}
}

func TestPrivateSourcesHaveOneSuiteAndNoMoreThanThePackageIndex(t *testing.T) {
	a := archive{URI: "http://mirror.example/debian", Suite: "testing", SignedBy: "/keys.gpg"}
	assert.Equal(t, `Types: deb
URIs: http://mirror.example/debian
Suites: testing
Components: main
Architectures: amd64
Targets: Packages
Languages: none
PDiffs: no
Signed-By: /keys.gpg
`, a.deb822("amd64"))

	a.SignedBy = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc="
	entries := parseDeb822([]byte(a.deb822("amd64")))
	require.Len(t, entries, 1)
	assert.Equal(t, a.SignedBy, entries[0].SignedBy, "a key within the file survives")

	a.SignedBy = ""
	assert.NotContains(t, a.deb822("amd64"), "Signed-By")
}
