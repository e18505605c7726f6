package emulate

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// process runs a scene as plain processes of this machine, in a network of their own, with file systems in memory over the
// directories that they write to. They are in control groups that are named as Docker's are, so Falco takes each for a container
// that nobody tells it about. They give up their capabilities before they enter, or it would be a sensitive container.
type process struct{ cfg Config }

// Workload is the container's id, which is another one in each run: Falco's memory of alerts is by it.
func (process) Workload(Scene, string) string { return "" }

func (process) Audited() bool { return false }

// covered are the directories that a container has for itself.
var covered = []string{"/srv", "/tmp", "/var/tmp"}

func (r process) Plan(s Scene, run string) Plan {
	dir := r.cfg.Dir + "/stagectl-" + run + "-" + s.Name
	groups, err := groupsRoot()
	if err != nil {
		groups = "/sys/fs/cgroup" // for a plan to print: Choose refuses to run it
	}
	group := func(container string) string {
		id := sha256.Sum256([]byte(run + "/" + s.Name + "/" + container))
		return fmt.Sprintf("%s/docker-%x.scope", groups, id)
	}
	limit := strconv.Itoa(int(r.cfg.Limit.Seconds()) + 60)
	p := Plan{SetUp: []Command{
		{Does: "make a network without a way out", Argv: []string{"sh", "-ec",
			`mkdir -p "$1/exchange"; : >"$1/net"; unshare --net="$1/net" true`, "sh", dir}},
		{Does: "start the sink", Script: sinkScript, Argv: []string{"sh", "-ec",
			`mkdir "$2"
setsid nsenter --net="$1/net" setpriv --bounding-set=-all,+net_admin --inh-caps=-all sh -ec 'echo $$ >"$1/cgroup.procs"; exec timeout "$2" sh -c "$3"' \
  sh "$2" "$3" "$4" >/dev/null 2>"$1/sink.log" </dev/null & echo $! >"$1/sink.pid"`, "sh", dir, group(sinkName), limit}},
	}}
	all := []string{group(sinkName)}
	mounts := fmt.Sprintf(`mount -t tmpfs tmpfs /mnt; mkdir %[1]s; mount --bind "$1/exchange" %[1]s; : >"$1/$4.ready"
for d in %[2]s; do mount -t tmpfs tmpfs $d; done
exec setpriv --bounding-set=-all --inh-caps=-all sh -ec 'echo $$ >"$1/cgroup.procs"; exec sleep "$2"' sh "$2" "$3"`, volumeDir, strings.Join(covered, " "))
	for _, c := range s.Containers {
		p.SetUp = append(p.SetUp, Command{Does: "start " + c.Name, Argv: []string{"sh", "-ec",
			`mkdir "$2"
setsid nsenter --net="$1/net" unshare --mount sh -ec "$5" sh "$1" "$2" "$3" "$4" >/dev/null 2>"$1/$4.log" </dev/null & echo $! >"$1/$4.pid"
for i in 1 2 3 4 5 6 7 8 9 10; do test -e "$1/$4.ready" && grep -q . "$2/cgroup.procs" && exit 0; sleep 0.2; done; cat "$1/$4.log"; exit 1`,
			"sh", dir, group(c.Name), limit, c.Name, mounts}})
		all = append(all, group(c.Name))
	}
	for _, step := range s.Steps {
		view := "--net --mount"
		if step.In == sinkName {
			view = "--net"
		}
		p.Act = append(p.Act, Command{Does: step.In + ": " + step.Does, Script: step.Script, Argv: []string{"sh", "-ec",
			`exec nsenter --target "$(cat "$1/$3.pid")" ` + view + ` setpriv --bounding-set=-all --inh-caps=-all \
  sh -ec 'echo $$ >"$1/cgroup.procs"; exec sh -c "$2"' sh "$2" "$4"`,
			"sh", dir, group(step.In), step.In}})
	}
	p.Clear = []Command{{Does: "end the processes", Argv: append([]string{"sh", "-c",
		`dir=$1; shift
for g; do
  test -d "$g" || continue
  for i in 1 2 3 4 5 6 7 8 9 10; do
    for p in $(cat "$g/cgroup.procs"); do kill -9 "$p" 2>/dev/null; done
    rmdir "$g" 2>/dev/null && break; sleep 0.2
  done
done
umount "$dir/net" 2>/dev/null; rm -rf "$dir"
for g; do test -d "$g" && exit 1; done; test ! -e "$dir"`, "sh", dir}, all...)}}
	return p
}

// processPossible tells why scenes cannot run as processes here.
func processPossible() error {
	if os.Geteuid() != 0 {
		return errors.New("run as plain processes: only root can make networks and control groups")
	}
	for _, name := range []string{"unshare", "nsenter", "setpriv", "setsid", "mount", "perl"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("run as plain processes: %w", err)
		}
	}
	groups, err := groupsRoot()
	if err != nil {
		return err
	}
	probe, err := os.MkdirTemp(groups, "stagectl-")
	if err != nil {
		return fmt.Errorf("run as plain processes: make a control group: %w", err)
	}
	os.Remove(probe)
	if out, err := exec.Command("unshare", "--net", "--mount", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("run as plain processes: make a network: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// groupsRoot finds the hierarchy of control groups that Falco tells containers by: that of version 2, unless controllers
// are still in version 1.
func groupsRoot() (string, error) {
	const root = "/sys/fs/cgroup"
	for _, name := range []string{"memory", "cpu", "."} {
		dir := filepath.Join(root, name)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("run as plain processes: there are no control groups in " + root)
}
