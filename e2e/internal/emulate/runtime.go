package emulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

// Runtime makes plans for one way to run containers.
type Runtime interface {
	// Plan returns the commands of a scene. Run names what is made, so that runs do not meet.
	Plan(s Scene, run string) Plan
	// Workload is what the alerts of a container name as its baseline.workload; empty where that is not known before.
	Workload(s Scene, container string) string
	// Audited tells whether it acts through an API server, whose audit log may be Falco's other source.
	Audited() bool
}

// Config says where containers run.
type Config struct {
	Image     string
	Namespace string   // of pods, and in the labels of containers
	Context   string   // of kubectl; empty for its current one
	RunArgs   []string // more arguments of podman run or docker run
	Limit     time.Duration
	Dir       string // where processes keep what is not in memory
}

// Kinds of runtimes.
const (
	Auto    = "auto"
	Podman  = "podman"
	Docker  = "docker"
	Kubectl = "kubectl"
	Process = "process"
)

// Choose returns the name of a runtime: for auto the first that this machine has.
func Choose(kind string) (string, error) {
	if kind != Auto {
		if kind == Process {
			return kind, processPossible()
		}
		if _, err := exec.LookPath(kind); err != nil {
			return "", fmt.Errorf("find the runtime: %w", err)
		}
		return kind, nil
	}
	for _, name := range []string{Podman, Docker, Kubectl} {
		if _, err := exec.LookPath(name); err == nil {
			return name, nil
		}
	}
	if err := processPossible(); err != nil {
		return "", errors.Join(errors.New("no podman, docker or kubectl on the PATH"), err)
	}
	return Process, nil
}

// Open returns a runtime by its name.
func Open(name string, cfg Config) Runtime {
	switch name {
	case Kubectl:
		return kubectl{cfg}
	case Process:
		return process{cfg}
	default:
		return engine{name, cfg}
	}
}

// engine is podman or docker.
type engine struct {
	program string
	cfg     Config
}

func (e engine) Workload(s Scene, container string) string {
	return e.cfg.Namespace + "/" + s.Name + "/" + container
}

func (engine) Audited() bool { return false }

// Plan starts the sink without a network and the others in the sink's. Falco knows containers with these labels as those of a pod.
func (e engine) Plan(s Scene, run string) Plan {
	name := func(container string) string { return "stagectl-" + run + "-" + s.Name + "-" + container }
	volume := "stagectl-" + run + "-" + s.Name
	start := func(container string, args, command []string) []string {
		argv := []string{
			e.program, "run", "--detach", "--rm", "--pull", "never", "--name", name(container), "--user", "0",
			"--label", "io.kubernetes.pod.namespace=" + e.cfg.Namespace,
			"--label", "io.kubernetes.pod.name=" + s.Name + "-0",
			"--label", "io.kubernetes.container.name=" + container,
		}
		argv = append(argv, e.cfg.RunArgs...)
		argv = append(argv, args...)
		return append(append(argv, e.cfg.Image), command...)
	}
	limit := strconv.Itoa(int(e.cfg.Limit.Seconds()) + 60)
	p := Plan{
		Fetch: []Command{{
			Does: "fetch the image",
			Argv: []string{"sh", "-c", `"$1" image inspect "$2" >/dev/null 2>&1 || "$1" pull "$2"`, "sh", e.program, e.cfg.Image},
		}},
		SetUp: []Command{{
			Does: "start the sink, without a way out", Script: sinkScript,
			Argv: start(sinkName, []string{"--network", "none", "--cap-add", "NET_ADMIN"}, []string{"timeout", limit, "sh", "-c"}),
		}},
	}
	remove := []string{name(sinkName)}
	shares, onHost := false, false
	for _, c := range s.Containers {
		args := []string{"--network", "container:" + name(sinkName)}
		if c.Volume {
			shares = true
			args = append(args, "--volume", volume+":"+volumeDir)
		}
		if c.Privileged {
			onHost = true
			args = append(args, "--privileged", "--volume", e.hostDir(s, run)+":"+hostDir)
		}
		p.SetUp = append(p.SetUp, Command{Does: "start " + c.Name, Argv: start(c.Name, args, []string{"sleep", limit})})
		remove = append([]string{name(c.Name)}, remove...)
	}
	for _, step := range s.Steps {
		p.Act = append(p.Act, Command{
			Does: step.In + ": " + step.Does, Script: step.Script,
			Argv: []string{e.program, "exec", name(step.In), "sh", "-c"},
		})
	}
	kill := []string{"rm", "--force"}
	if e.program == Podman {
		kill = append(kill, "--time", "0") // it would wait ten seconds for each
	}
	for _, c := range remove {
		p.Clear = append(p.Clear, Command{Argv: ifThere(e.program, "container", c, append(kill[:len(kill):len(kill)], c)...)})
	}
	if shares {
		p.SetUp = append([]Command{{Argv: []string{e.program, "volume", "create", volume}}}, p.SetUp...)
		p.Clear = append(p.Clear, Command{Argv: ifThere(e.program, "volume", volume, "volume", "rm", "--force", volume)})
	}
	if onHost {
		dir := e.hostDir(s, run)
		p.SetUp = append([]Command{{Argv: []string{"mkdir", "-p", dir}}}, p.SetUp...)
		p.Clear = append(p.Clear, Command{Argv: []string{"rm", "-rf", dir}})
	}
	return p
}

// hostDir is the directory of the node that a privileged container gets.
func (e engine) hostDir(s Scene, run string) string {
	return e.cfg.Dir + "/stagectl-" + run + "-" + s.Name
}

// ifThere runs a command of an engine on something where it is there. What is being removed already is waited for.
func ifThere(program, kind, name string, args ...string) []string {
	script := `p=$1 k=$2 n=$3; shift 3
"$p" "$k" inspect "$n" >/dev/null 2>&1 || exit 0
"$p" "$@" >/dev/null 2>&1
for i in 1 2 3 4 5 6 7 8 9 10; do "$p" "$k" inspect "$n" >/dev/null 2>&1 || exit 0; sleep 1; "$p" "$@" 2>&1; done
exit 1`
	return append([]string{"sh", "-c", script, "sh", program, kind, name}, args...)
}

// kubectl runs a scene as one pod, whose containers share its network.
type kubectl struct{ cfg Config }

func (k kubectl) Workload(s Scene, container string) string {
	return k.namespace(s) + "/" + s.Name + "/" + container
}

func (kubectl) Audited() bool { return true }

// namespace is one for each scene: deleting it deletes all.
func (k kubectl) namespace(s Scene) string { return k.cfg.Namespace + "-" + s.Name }

func (k kubectl) command(args ...string) []string {
	argv := []string{"kubectl"}
	if k.cfg.Context != "" {
		argv = append(argv, "--context", k.cfg.Context)
	}
	return append(argv, args...)
}

// Plan makes a namespace of the scene's own. One that is there already is another run's, or is not ours: it stays.
func (k kubectl) Plan(s Scene, run string) Plan {
	namespace, pod := k.namespace(s), s.Name+"-0"
	type object = map[string]any
	var volumes []object
	containers := []object{{
		"name": sinkName, "image": k.cfg.Image, "command": []string{"sh", "-c", complete(sinkScript)},
		"securityContext": object{"runAsUser": 0, "capabilities": object{"add": []string{"NET_ADMIN"}}},
	}}
	shares, onHost := false, false
	for _, c := range s.Containers {
		var mounts []object
		security := object{"runAsUser": 0}
		if c.Volume {
			shares = true
			mounts = append(mounts, object{"name": "exchange", "mountPath": volumeDir})
		}
		if c.Privileged {
			onHost = true
			security["privileged"] = true
			mounts = append(mounts, object{"name": "host", "mountPath": hostDir})
		}
		containers = append(containers, object{
			"name": c.Name, "image": k.cfg.Image, "command": []string{"sleep", strconv.Itoa(int(k.cfg.Limit.Seconds()) + 60)},
			"securityContext": security, "volumeMounts": mounts,
		})
	}
	if shares {
		volumes = append(volumes, object{"name": "exchange", "emptyDir": object{}})
	}
	if onHost {
		dir := "/var/tmp/stagectl-" + run + "-" + s.Name
		volumes = append(volumes, object{"name": "host", "hostPath": object{"path": dir, "type": "DirectoryOrCreate"}})
	}
	label := object{managed: program, "stagectl/run": run}
	manifest, err := json.MarshalIndent(object{"apiVersion": "v1", "kind": "List", "items": []object{
		{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": namespace, "labels": label}},
		{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": pod, "namespace": namespace, "labels": label}, "spec": object{
			"restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": 0,
			"activeDeadlineSeconds": int(k.cfg.Limit.Seconds()) + 60, "containers": containers, "volumes": volumes,
		}},
	}}, "", "  ")
	if err != nil {
		panic(err) // strings, numbers and lists of them
	}
	ready := Command{Argv: k.command("wait", "--namespace", namespace, "--for", "condition=Ready", "--timeout", k.cfg.Limit.String(), "pod/"+pod)}
	why := Command{Argv: k.command("get", "--namespace", namespace, "pod/"+pod, "--output",
		`jsonpath={range .status.conditions[?(@.status=="False")]}{.type} is false: {.reason} {.message}{"\n"}{end}`+
			`{range .status.containerStatuses[*]}{.name}: {.state.waiting.reason} {.state.waiting.message}{.state.terminated.reason}{"\n"}{end}`)}
	p := Plan{
		Fetch: []Command{{
			Does: "wait until the namespace of an earlier run is gone",
			Argv: k.command("wait", "namespace", "--for", "delete", "--timeout", "1m",
				"--selector", managed+"="+program, "--field-selector", "metadata.name="+namespace),
		}},
		SetUp: []Command{{Does: "make a namespace and a pod", Argv: k.command("create", "--filename", "-"), Stdin: string(manifest)}},
		Act: []Command{{
			Does: "wait for the pod",
			Argv: []string{"sh", "-c", ready.String() + " || { " + why.String() + " >&2; exit 1; }"},
		}},
		Clear: []Command{{
			Does: "delete the namespace",
			Argv: k.command("delete", "namespace", "--selector", "stagectl/run="+run, "--field-selector", "metadata.name="+namespace,
				"--ignore-not-found", "--wait=false"),
		}},
	}
	for _, step := range s.Steps {
		p.Act = append(p.Act, Command{
			Does: step.In + ": " + step.Does, Script: step.Script,
			Argv: k.command("exec", "--namespace", namespace, pod, "--container", step.In, "--", "sh", "-c"),
		})
	}
	if onHost { // the node keeps the directory when the pod goes, so what is in it goes first
		container := s.Containers[0].Name
		started := Command{Argv: k.command("get", "--namespace", namespace, "pod/"+pod, "--ignore-not-found", "--output",
			`jsonpath={.status.containerStatuses[?(@.name=="`+container+`")].state.running.startedAt}`)}
		empty := k.command("exec", "--namespace", namespace, pod, "--container", container, "--", "sh", "-c", "rm -rf "+hostDir+"/*")
		p.Clear = append([]Command{{
			Does: "empty the directory on the node, which stays",
			Argv: append([]string{"sh", "-c", `[ -n "$(` + started.String() + `)" ] || exit 0; exec "$@"`, "sh"}, empty...),
		}}, p.Clear...)
	}
	return p
}

// The label of what is made in a cluster.
const (
	managed = "app.kubernetes.io/managed-by"
	program = "stagectl"
)
