package debian

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// apt runs apt-get on a state of its own. The machine's configuration stays in force for what belongs to the machine
// (proxies, certificates, passwords); where state, sources and packages lie is private.
type apt struct {
	dir      string // holds everything apt reads and writes here
	conf     string // apt.conf, read after the machine's
	progress Progress
}

// deb is one downloaded package.
type deb struct {
	path    string
	name    string
	version string
	sha256  string // hex, from the signed index
}

// newApt lays out dir. What an interrupted run left in it is kept: apt goes on from its partial files.
func newApt(dir, arch string, from archive, progress Progress) (*apt, error) {
	a := &apt{dir: dir, conf: filepath.Join(dir, "apt.conf"), progress: progress}
	for _, sub := range []string{
		"sources.list.d", "preferences.d", "none/partial", "state/lists/partial", "cache/archives/partial", "log",
	} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("make apt's folders: %w", err)
		}
	}
	files := map[string]string{
		a.conf: a.config(arch),
		filepath.Join(dir, "sources.list.d", "debian.sources"): from.deb822(arch),
		// No package is installed, so that every library comes along, libc first of all.
		filepath.Join(dir, "state", "status"): "",
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("write apt's configuration: %w", err)
		}
	}
	return a, nil
}

// config is the private apt.conf. The checks are named though they are apt's defaults: a machine's own configuration
// may have switched them off.
func (a *apt) config(arch string) string {
	return strings.NewReplacer("@DIR@", a.dir, "@ARCH@", arch).Replace(`
#clear APT::Architectures;
APT::Architecture "@ARCH@";
APT::Architectures { "@ARCH@"; };
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "@DIR@/sources.list.d";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "@DIR@/preferences.d";
Dir::State "@DIR@/state";
Dir::State::lists "lists";
Dir::State::status "@DIR@/state/status";
Dir::Cache "@DIR@/cache";
Dir::Cache::archives "archives";
Dir::Log "@DIR@/log";

APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";

APT::Install-Recommends "false";
APT::Install-Suggests "false";
#clear APT::Default-Release;
APT::Update::Error-Mode "any";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear AptCli::Hooks;
`)
}

// download brings the package and its dependencies and gives the files with the digests of the signed index.
func (a *apt) download(ctx context.Context, pkg string) ([]deb, error) {
	if _, err := a.run(ctx, "reading the package index", "update"); err != nil {
		return nil, err
	}
	// With an empty archive folder apt names every package, also those that an interrupted run already brought.
	plan, err := a.run(ctx, "", "install", "--print-uris", "-qq", "-o", "Acquire::ForceHash=SHA256",
		"-o", "Dir::Cache::archives="+filepath.Join(a.dir, "none"), pkg)
	if err != nil {
		return nil, err
	}
	debs, size, err := parsePlan(plan, filepath.Join(a.dir, "cache", "archives"))
	if err != nil {
		return nil, err
	}
	step := fmt.Sprintf("downloading %s and %d libraries (%.0f MB)", pkg, len(debs)-1, float64(size)/1e6)
	if _, err := a.run(ctx, step, "install", "--yes", "--download-only", pkg); err != nil {
		return nil, err
	}
	return debs, nil
}

// run runs apt-get and gives its standard output. A step with a name shows its progress.
func (a *apt) run(ctx context.Context, step string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-c", a.conf, "-o", "APT::Status-Fd=3"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	// On Ctrl-C apt ends by itself and keeps its partial files.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	statusRead, statusWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer statusRead.Close()
	cmd.ExtraFiles = []*os.File{statusWrite} // file descriptor 3
	err = cmd.Start()
	statusWrite.Close()
	if err != nil {
		return nil, fmt.Errorf("start apt-get: %w", err)
	}
	if step != "" {
		a.progress.Start(step)
	}
	lines := bufio.NewScanner(statusRead)
	for lines.Scan() {
		if percent, ok := parseStatus(lines.Text()); ok && step != "" {
			a.progress.Percent(percent)
		}
	}
	if step != "" {
		a.progress.Done()
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("apt-get %s: %w%s", args[0], err, complaints(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// complaints are apt's error lines, or its warnings where it names no error, one a line.
func complaints(stderr string) string {
	for _, kind := range []string{"E: ", "W: "} {
		var b strings.Builder
		for line := range strings.Lines(stderr) {
			if strings.HasPrefix(line, kind) {
				b.WriteString("\n  " + strings.TrimSpace(line))
			}
		}
		if b.Len() > 0 {
			return b.String()
		}
	}
	return ""
}

// parseStatus reads a line of apt's status descriptor: dlstatus:ITEM:PERCENT:TEXT.
func parseStatus(line string) (percent float64, ok bool) {
	fields := strings.SplitN(line, ":", 4)
	if len(fields) < 4 || fields[0] != "dlstatus" {
		return 0, false
	}
	percent, err := strconv.ParseFloat(fields[2], 64)
	return min(max(percent, 0), 100), err == nil
}

// parsePlan reads the lines of apt-get install --print-uris, 'URI' FILE SIZE SHA256:DIGEST, into packages that will lie in
// dir, and their total size in bytes.
func parsePlan(plan []byte, dir string) (debs []deb, size int64, err error) {
	for line := range strings.Lines(string(plan)) {
		if !strings.HasPrefix(line, "'") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 4 {
			return nil, 0, fmt.Errorf("read apt's plan: want 'URI' FILE SIZE DIGEST, got %q", line)
		}
		file := fields[1]
		n, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return nil, 0, fmt.Errorf("read apt's plan: size of %s: %w", file, err)
		}
		digest, ok := strings.CutPrefix(fields[3], "SHA256:")
		if !ok {
			return nil, 0, fmt.Errorf("read apt's plan: %s has no SHA-256 digest but %s", file, fields[3])
		}
		parts := strings.Split(strings.TrimSuffix(file, ".deb"), "_") // name_version_arch
		if len(parts) != 3 || file != filepath.Base(file) {
			return nil, 0, fmt.Errorf("read apt's plan: %q is no name of a package file", file)
		}
		version, err := url.PathUnescape(parts[1]) // an epoch's colon is written %3a
		if err != nil {
			return nil, 0, fmt.Errorf("read apt's plan: version of %s: %w", file, err)
		}
		debs = append(debs, deb{path: filepath.Join(dir, file), name: parts[0], version: version, sha256: digest})
		size += n
	}
	if len(debs) == 0 {
		return nil, 0, errors.New("read apt's plan: it names no package")
	}
	return debs, size, nil
}
