package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Runtime is what runs a container; it decides how its control group is named.
type Runtime string

// Runtimes, as a script names them.
const (
	Docker     Runtime = "docker"
	Podman     Runtime = "podman"
	Containerd Runtime = "containerd"
	CRIO       Runtime = "cri-o"
)

// runtimeTypes are the container plugin's numbers.
var runtimeTypes = map[Runtime]int{Docker: 0, Containerd: 7, CRIO: 8, Podman: 11}

// Container is how a container is made.
type Container struct {
	Name           string // as the script calls it
	ID             string // 64 hexadecimal digits; made from the name where empty
	Runtime        Runtime
	Image          string // repository and tag
	Namespace, Pod string // of Kubernetes; empty outside
	ContainerName  string // in its pod
	Sandbox        string // id of the pod's sandbox
	Labels         map[string]string
	PodLabels      map[string]string
	Addrs          []netip.Addr
	Mounts         []Mount
	Env            []string
	User           string
	Privileged     bool
	Capabilities   uint64 // that its root has besides the usual ones, as Capability gives them
	HostNetwork    bool
	HostPID        bool

	number   int // of the containers in order
	created  uint64
	nextVPID int64
	cgroups  []string
}

// Mount is one mount of a container.
type Mount struct {
	Source, Destination string
	ReadOnly            bool
}

// AddContainer makes a container. Nothing is written: TellContainer does.
func (k *Kernel) AddContainer(c Container) (*Container, error) {
	if old := k.containers[c.Name]; old != nil {
		return nil, fmt.Errorf("there is a container %s already: write another name, or let it go first: gone %s", c.Name, c.Name)
	}
	c.number = k.numContainers
	k.numContainers++
	if c.ID == "" {
		c.ID = k.digits("container " + c.Name + " " + strconv.Itoa(c.number))
	}
	if c.Pod != "" && c.ContainerName == "" {
		c.ContainerName = c.Name
	}
	if c.Runtime == "" {
		c.Runtime = Docker
		if c.Pod != "" {
			c.Runtime = Containerd
		}
	}
	if len(c.Addrs) == 0 && !c.HostNetwork {
		c.Addrs = []netip.Addr{netip.AddrFrom4([4]byte{10, 244, byte(c.number >> 8), byte(c.number)}).Next().Next()}
	}
	c.created = k.now
	c.cgroups = cgroups(k.cgroup(&c))
	k.containers[c.Name] = &c
	return &c, nil
}

// digits are the 64 of the hash of a text and the seed.
func (k *Kernel) digits(text string) string {
	sum := sha256.Sum256([]byte(strconv.FormatUint(k.cfg.Seed, 10) + " " + text))
	return hex.EncodeToString(sum[:])
}

// cgroup is the path of a container's control group, as its runtime names it.
func (k *Kernel) cgroup(c *Container) string {
	leaf := map[Runtime]string{Docker: "docker-", Podman: "libpod-", Containerd: "cri-containerd-", CRIO: "crio-"}[c.Runtime] + c.ID + ".scope"
	switch {
	case c.Pod != "":
		uid := k.digits("pod " + c.Namespace + "/" + c.Pod)
		uid = uid[:8] + "_" + uid[8:12] + "_" + uid[12:16] + "_" + uid[16:20] + "_" + uid[20:32]
		return "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid + ".slice/" + leaf
	case c.Runtime == Podman:
		return "/machine.slice/" + leaf
	default:
		return "/system.slice/" + leaf
	}
}

// cgroups are the control groups of a process, as the driver shows them.
func cgroups(path string) []string {
	list := make([]string, 0, 5)
	for _, subsystem := range []string{"cpuset", "cpu", "cpuacct", "io", "memory"} {
		list = append(list, subsystem+"="+path)
	}
	return list
}

// metadata is what Falco's container plugin tells about a container, in its order.
type metadata struct {
	Container struct {
		Type        int               `json:"type"`
		ID          string            `json:"id"`
		Name        string            `json:"name"`
		Image       string            `json:"image"`
		ImageDigest string            `json:"imagedigest"`
		ImageID     string            `json:"imageid"`
		ImageRepo   string            `json:"imagerepo"`
		ImageTag    string            `json:"imagetag"`
		User        string            `json:"User"`
		CNI         string            `json:"cni_json"`
		CPUPeriod   int               `json:"cpu_period"`
		CPUQuota    int               `json:"cpu_quota"`
		CPUShares   int               `json:"cpu_shares"`
		CPUSet      int               `json:"cpuset_cpu_count"`
		Created     int64             `json:"created_time"`
		Env         []string          `json:"env"`
		FullID      string            `json:"full_id"`
		HostIPC     bool              `json:"host_ipc"`
		HostNetwork bool              `json:"host_network"`
		HostPID     bool              `json:"host_pid"`
		IP          string            `json:"ip"`
		Size        int               `json:"size"`
		IsSandbox   bool              `json:"is_pod_sandbox"`
		Labels      map[string]string `json:"labels"`
		MemoryLimit int               `json:"memory_limit"`
		SwapLimit   int               `json:"swap_limit"`
		SandboxID   string            `json:"pod_sandbox_id"`
		Privileged  bool              `json:"privileged"`
		PodLabels   map[string]string `json:"pod_sandbox_labels"`
		Ports       []string          `json:"port_mappings"`
		Mounts      []mountMetadata   `json:"Mounts"`
	} `json:"container"`
}

type mountMetadata struct {
	Destination string
	Mode        string
	Propagation string
	RW          bool
	Source      string
}

// Names of the container plugin's events.
const (
	containerEvent        = "container"
	containerRemovedEvent = "container_removed"
)

// TellContainer writes the event with which the container plugin tells about a container.
func (k *Kernel) TellContainer(c *Container) error { return k.tell(containerEvent, c) }

// RemoveContainer forgets a container whose processes have ended, and writes the event that tells it.
func (k *Kernel) RemoveContainer(c *Container) error {
	var running []string
	for name, t := range k.threads {
		if t.process.container == c {
			running = append(running, name)
		}
	}
	if len(running) > 0 {
		name := slices.Min(running) // of a map, which has no order
		return fmt.Errorf("%s runs in the container %s: write `%s exit` first", name, c.Name, name)
	}
	delete(k.containers, c.Name)
	return k.tell(containerRemovedEvent, c)
}

func (k *Kernel) tell(name string, c *Container) error {
	var m metadata
	t := &m.Container
	t.Type, t.ID, t.FullID, t.Name = runtimeTypes[c.Runtime], c.ID[:12], c.ID, c.Name
	t.Image, t.ImageRepo, t.ImageTag = c.Image, c.Image, ""
	if i := strings.LastIndexByte(c.Image, ':'); i > strings.LastIndexByte(c.Image, '/') {
		t.ImageRepo, t.ImageTag = c.Image[:i], c.Image[i+1:]
	}
	if c.Image != "" {
		t.ImageID = k.digits("image " + c.Image)
		t.ImageDigest = "sha256:" + k.digits("digest "+c.Image)
	}
	t.User, t.CPUPeriod, t.CPUShares, t.Size = c.User, 100000, 1024, -1
	t.Created = int64(c.created / uint64(time.Second))
	t.Env, t.Ports, t.Mounts = append([]string{}, c.Env...), []string{}, []mountMetadata{}
	t.HostNetwork, t.HostPID, t.Privileged, t.SandboxID = c.HostNetwork, c.HostPID, c.Privileged, c.Sandbox
	if len(c.Addrs) > 0 {
		t.IP = c.Addrs[0].String()
	}
	t.Labels, t.PodLabels = map[string]string{}, c.PodLabels
	for key, value := range c.Labels {
		t.Labels[key] = value
	}
	if c.Pod != "" {
		t.Labels["io.kubernetes.pod.namespace"] = c.Namespace
		t.Labels["io.kubernetes.pod.name"] = c.Pod
		t.Labels["io.kubernetes.container.name"] = c.ContainerName
	}
	for _, mount := range c.Mounts {
		t.Mounts = append(t.Mounts, mountMetadata{
			Destination: mount.Destination, Propagation: "rprivate", RW: !mount.ReadOnly, Source: mount.Source,
		})
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("tell the container %s: %w", c.Name, err)
	}
	e := k.event(typeAsync)
	e.u32(0) // the plugin's number
	e.text(name)
	e.bytes(append(payload, 0))
	k.write(0, 0)
	return nil
}

// Container finds a container by its name.
func (k *Kernel) Container(name string) (*Container, error) {
	if c := k.containers[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no container %s: write `container %s ...` above", name, name)
}

// locate says where on the machine a path of a container lies: in one of its mounts, or in its own file system, which is
// named after it. c is nil for the host.
func locate(c *Container, p string) (place string, mounted bool) {
	p = path.Clean(p)
	if c == nil {
		return p, true
	}
	var best *Mount
	for i := range c.Mounts {
		m := &c.Mounts[i]
		if below(p, m.Destination) && (best == nil || len(m.Destination) > len(best.Destination)) {
			best = m
		}
	}
	if best == nil {
		return c.ID + ":" + p, false
	}
	return path.Join(best.Source, p[len(best.Destination):]), true
}

// below reports whether a path is dir or lies below it.
func below(p, dir string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return strings.HasPrefix(p, dir) && (len(p) == len(dir) || p[len(dir)] == '/')
}
