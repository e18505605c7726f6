package debian

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// An entry is one "deb" entry of apt's sources: a paragraph of a .sources file or a line of a .list file. Options that
// switch checks off (trusted, allow-insecure) are never read.
type entry struct {
	URIs       []string
	Suites     []string
	Components []string
	// SignedBy is the value as written: paths of keyrings, fingerprints, or a whole key of several lines (deb822 only).
	SignedBy string
}

// An archive is a Debian archive and how its signature is checked.
type archive struct {
	URI      string
	Suite    string
	SignedBy string // as in entry; empty: every keyring apt trusts
}

// defaultKeyrings are where the package debian-archive-keyring puts Debian's keys, newest layout first.
var defaultKeyrings = []string{
	"/usr/share/keyrings/debian-archive-keyring.pgp",
	"/usr/share/keyrings/debian-archive-keyring.gpg",
}

// findArchive gives the Debian archive of the machine's own apt configuration, or the given mirror with that
// configuration's keys.
func findArchive(mirror string) (archive, error) {
	files, err := sourceFiles()
	if err != nil {
		return archive{}, err
	}
	var own archive
	found := false
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // apt itself passes over files that only root may read (they hold passwords)
		}
		parse := parseList
		if strings.HasSuffix(path, ".sources") {
			parse = parseDeb822
		}
		if own, found = pickArchive(parse(data)); found {
			break
		}
	}
	if mirror == "" {
		if !found {
			return archive{}, errors.New("download from Debian: apt on this machine has no Debian archive; " +
				"name one with --mirror URL or DATASTAGING_MIRROR, and install the package debian-archive-keyring")
		}
		return own, nil
	}
	u, err := url.Parse(mirror)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "file") || strings.ContainsAny(mirror, " \t\r\n") {
		return archive{}, fmt.Errorf("read the mirror %q: want an http, https or file URL of a Debian archive, "+
			"the folder that holds dists/", mirror)
	}
	if found {
		return archive{URI: mirror, SignedBy: own.SignedBy}, nil
	}
	for _, keyring := range defaultKeyrings {
		if _, err := os.Stat(keyring); err == nil {
			return archive{URI: mirror, SignedBy: keyring}, nil
		}
	}
	return archive{}, errors.New("download from Debian: this machine has no Debian keys to check the mirror with; " +
		"install the package debian-archive-keyring")
}

// sourceFiles lists the machine's sources files in the order in which apt reads them.
func sourceFiles() ([]string, error) {
	out, err := exec.Command("apt-config", "shell",
		"list", "Dir::Etc::sourcelist/f", "parts", "Dir::Etc::sourceparts/d").Output()
	if err != nil {
		return nil, fmt.Errorf("ask apt-config for the sources: %w", err)
	}
	// The answer is for a shell: list='/etc/apt/sources.list'.
	var list, parts string
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, "'")
		switch name {
		case "list":
			list = value
		case "parts":
			parts = value
		}
	}
	files := []string{list}
	entries, err := os.ReadDir(parts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read apt's sources: %w", err)
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == ".list" || ext == ".sources" {
			files = append(files, filepath.Join(parts, e.Name()))
		}
	}
	return files, nil
}

// pickArchive gives the first entry that is a Debian archive: of component main, not a suite of updates, and either
// signed with Debian's archive keyring or at a path that names Debian. The last test tells it from a vendor's
// repository that uses Debian's suite names.
func pickArchive(entries []entry) (archive, bool) {
	for _, e := range entries {
		if !slices.Contains(e.Components, "main") || !slices.ContainsFunc(e.Suites, isRelease) {
			continue
		}
		for _, uri := range e.URIs {
			u, err := url.Parse(uri)
			if err != nil || u.Scheme == "cdrom" {
				continue
			}
			path := u.Path
			if path == "" {
				path = u.Opaque // file:/srv/debian
			}
			if strings.Contains(e.SignedBy, "debian-archive") || slices.Contains(strings.Split(path, "/"), "debian") {
				return archive{URI: uri, SignedBy: e.SignedBy}, true
			}
		}
	}
	return archive{}, false
}

// isRelease says whether the suite is a release itself: bookworm, but not bookworm-updates, bookworm/updates or a flat
// repository's folder.
func isRelease(suite string) bool {
	return suite != "" && !strings.ContainsAny(suite, "-/")
}

// parseList reads one-line entries: deb [option=value ...] URI suite component ...
func parseList(data []byte) []entry {
	var entries []entry
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || (!strings.HasPrefix(rest, " ") && !strings.HasPrefix(rest, "\t") && !strings.HasPrefix(rest, "[")) {
			continue // a deb-src entry, or nothing
		}
		rest = strings.TrimSpace(rest)
		var e entry
		if options, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(rest, "[") {
			for _, option := range strings.Fields(options[1:]) {
				if value, ok := strings.CutPrefix(strings.ToLower(option), "signed-by="); ok {
					value = option[len(option)-len(value):]
					e.SignedBy = strings.ReplaceAll(value, ",", " ")
				}
			}
			rest = after
		}
		fields := strings.Fields(rest)
		if len(fields) < 3 {
			continue
		}
		e.URIs, e.Suites, e.Components = fields[:1], fields[1:2], fields[2:]
		entries = append(entries, e)
	}
	return entries
}

// parseDeb822 reads the paragraphs of a .sources file.
func parseDeb822(data []byte) []entry {
	var entries []entry
	paragraph := map[string]string{}
	last := "" // the field that a continuation line belongs to
	flush := func() {
		if slices.Contains(strings.Fields(paragraph["types"]), "deb") && strings.TrimSpace(paragraph["enabled"]) != "no" {
			entries = append(entries, entry{
				URIs:       strings.Fields(paragraph["uris"]),
				Suites:     strings.Fields(paragraph["suites"]),
				Components: strings.Fields(paragraph["components"]),
				SignedBy:   paragraph["signed-by"],
			})
		}
		paragraph, last = map[string]string{}, ""
	}
	sc := bufio.NewScanner(bytes.NewReader(data))
	for sc.Scan() {
		line := sc.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				paragraph[last] += "\n" + line
			}
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				continue
			}
			last = strings.ToLower(strings.TrimSpace(name))
			paragraph[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return entries
}

// deb822 writes the archive as the only paragraph of a .sources file: packages only, one architecture, checks on.
func (a archive) deb822(arch string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: %s\n", a.URI, a.Suite, arch)
	fmt.Fprintf(&b, "Targets: Packages\nLanguages: none\nPDiffs: no\n")
	if a.SignedBy != "" {
		sep := " "
		if strings.HasPrefix(a.SignedBy, "\n") {
			sep = ""
		}
		fmt.Fprintf(&b, "Signed-By:%s%s\n", sep, a.SignedBy)
	}
	return b.String()
}
