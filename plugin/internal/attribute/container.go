package attribute

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// Host is the id of the pseudo-containers that everything outside containers belongs to, one for each of systemd's services
// and one for the rest.
const Host = "host"

// Container is a container as far as it is known: the id from the first event on, the rest once the container plugin
// has told it, which live is a moment later.
type Container struct {
	ID       string // the first 12 digits, "host", or the runtime's own name for it
	Name     string
	Image    string // repository without tag and digest
	Workload string // what a baseline is learned under: namespace/owner/container, image repository, ID, host/service or host
	Mounts   []Mount
	Posture  Posture
	Pod      string // namespace/name of the pod that an orchestrator started it in, empty for none
	// PodContainer is its name in the pod.
	PodContainer string

	sandbox    string   // id of the container that holds its pod's namespaces, empty where it is not known or itself
	told       bool     // its metadata has come
	guessed    bool     // by the group of a process that may not have run its program yet: the group may still be its runtime's
	since      uint64   // ns since the epoch: when it was first seen
	serves     bool     // somebody connected to it
	ownNetwork bool     // has addresses of its own, not the node's
	mountsTold bool     // Mounts are all there are
	layered    bool     // its own file system lies on no block device
	uploads    []upload // the latest, of different peers
	// What it read of the node's files without a mount for them, in bytes, and since when, in ns since the epoch.
	beyond, beyondSince uint64
}

// upload is what a peer that is not external sent over connections of its own making.
type upload struct {
	sender Sender
	lately
}

// many is how many peers make data that is sent to a container data of several systems: fewer may be the replicas of a proxy.
const many = 3

// uploaded notes what a peer sent.
func (c *Container) uploaded(s Sender, n, ts uint64, window time.Duration) {
	oldest := 0
	for i := range c.uploads {
		u := &c.uploads[i]
		if u.sender == s {
			u.add(n, ts, window)
			return
		}
		if u.at < c.uploads[oldest].at {
			oldest = i
		}
	}
	if len(c.uploads) < 2*many {
		oldest = len(c.uploads)
		c.uploads = append(c.uploads, upload{})
	}
	c.uploads[oldest] = upload{s, lately{n, ts}}
}

// manySent reports whether so many peers sent as much within a window.
func (c *Container) manySent(atLeast, ts uint64, window time.Duration) bool {
	n := 0
	for i := range c.uploads {
		if c.uploads[i].get(ts, window) >= atLeast {
			n++
		}
	}
	return n >= many
}

// from returns the other container that something comes from, nil where that is c itself or the host, which gives every
// container its configuration.
func (c *Container) from(giver *Container) *Container {
	if giver == c || giver.OnHost() {
		return nil
	}
	return giver
}

// OnHost reports whether this is a pseudo-container of what runs outside of containers.
func (c *Container) OnHost() bool { return c.ID == Host }

// metadata is the part of the container plugin's event that is read here.
type metadata struct {
	Container struct {
		ID         string            `json:"id"`
		Name       string            `json:"name"`
		ImageRepo  string            `json:"imagerepo"`
		IP         string            `json:"ip"`
		HostNet    bool              `json:"host_network"`
		HostPID    bool              `json:"host_pid"`
		HostIPC    bool              `json:"host_ipc"`
		Privileged bool              `json:"privileged"`
		Labels     map[string]string `json:"labels"`
		PodLabels  map[string]string `json:"pod_sandbox_labels"`
		SandboxID  string            `json:"pod_sandbox_id"` // the full id
		Mounts     []struct {
			Source      string `json:"Source"`
			Destination string `json:"Destination"`
		} `json:"Mounts"`
	} `json:"container"`
}

// parseMetadata reads the payload of a container event into a container and its address.
func parseMetadata(payload []byte) (*Container, netip.Addr, error) {
	var m metadata
	if err := json.Unmarshal(bytes.TrimRight(payload, "\x00"), &m); err != nil {
		return nil, netip.Addr{}, fmt.Errorf("parse container metadata: %w", err)
	}
	c := &Container{
		ID: m.Container.ID, Name: m.Container.Name, Image: m.Container.ImageRepo, ownNetwork: !m.Container.HostNet,
		Posture: Posture{
			Privileged: m.Container.Privileged,
			HostPID:    m.Container.HostPID, HostIPC: m.Container.HostIPC, HostNetwork: m.Container.HostNet,
		},
	}
	if c.ID == "" {
		return nil, netip.Addr{}, errors.New("parse container metadata: no container.id")
	}
	c.mountsTold = m.Container.Mounts != nil
	for _, mount := range m.Container.Mounts {
		if mount.Destination != "" {
			c.Mounts = append(c.Mounts, Mount{mount.Source, mount.Destination})
		}
	}
	if namespace, pod := m.Container.Labels["io.kubernetes.pod.namespace"], m.Container.Labels["io.kubernetes.pod.name"]; namespace != "" && pod != "" {
		c.Pod, c.PodContainer = namespace+"/"+pod, m.Container.Labels["io.kubernetes.container.name"]
		if c.sandbox = m.Container.SandboxID[:min(len(m.Container.SandboxID), 12)]; c.sandbox == c.ID {
			c.sandbox = ""
		}
	}
	c.Workload = workload(c, m.Container.Labels, m.Container.PodLabels)
	addr, _ := netip.ParseAddr(m.Container.IP) // no address is no error
	return c, addr.Unmap(), nil
}

func workload(c *Container, labels, podLabels map[string]string) string {
	namespace, pod := labels["io.kubernetes.pod.namespace"], labels["io.kubernetes.pod.name"]
	switch {
	case namespace != "" && pod != "":
		name := labels["io.kubernetes.container.name"]
		if name == "" {
			name = c.Name
		}
		if isStatic(labels["io.kubernetes.pod.uid"]) && strings.HasPrefix(pod, name+"-") {
			return namespace + "/" + name + "/" + name
		}
		return namespace + "/" + owner(pod, podLabels) + "/" + name
	case c.Image != "":
		return c.Image
	default:
		return c.ID
	}
}

// isStatic reports whether a pod is one that the kubelet reads from a file of the node. Its id is a hash in hexadecimal digits and no
// UUID, and its name ends in the node's, which would make each node's another workload: the control plane's pods are called after their
// containers.
func isStatic(uid string) bool { return isHex(uid, 32) }

// Controllers name pods after themselves: Deployments add the ReplicaSet's hash and five random characters, DaemonSets
// and Jobs the five characters, CronJobs the scheduled minute before those, StatefulSets an ordinal. The alphabet is that
// of k8s.io/apimachinery/pkg/util/rand.
var (
	randomSuffix  = regexp.MustCompile(`^(.+)-[bcdfghjklmnpqrstvwxz2456789]{5}$`)
	hashSuffix    = regexp.MustCompile(`^(.+)-[bcdfghjklmnpqrstvwxz2456789]{6,10}$`)
	minuteSuffix  = regexp.MustCompile(`^(.+)-[0-9]{8,10}$`)
	ordinalSuffix = regexp.MustCompile(`^(.+)-[0-9]+$`)
)

// owner returns the name of the controller that made a pod, or the pod's own name. The labels that controllers set say
// what the name is made of; without them it is told by its shape.
func owner(pod string, labels map[string]string) string {
	if hash := labels["pod-template-hash"]; hash != "" {
		if name, _, ok := strings.Cut(pod, "-"+hash+"-"); ok {
			return name
		}
	}
	for _, key := range []string{"batch.kubernetes.io/job-name", "job-name"} {
		if job := labels[key]; job != "" {
			return strip(minuteSuffix, job)
		}
	}
	if labels["statefulset.kubernetes.io/pod-name"] != "" {
		return strip(ordinalSuffix, pod)
	}
	if name := strip(randomSuffix, pod); name != pod {
		if labels["controller-revision-hash"] != "" { // a DaemonSet, whose own name may look like anything
			return name
		}
		if owner := strip(hashSuffix, name); owner != name {
			return owner
		}
		return strip(minuteSuffix, name)
	}
	return strip(ordinalSuffix, pod)
}

func strip(suffix *regexp.Regexp, name string) string {
	if m := suffix.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return name
}

// containerID finds a container's id in a control group's path; empty when the path is not a container's. Runtimes name
// the group after the full id, with or without a prefix and a unit suffix: docker/ID, docker-ID.scope, crio-ID,
// cri-containerd-ID.scope, libpod-ID, kubepods/.../ID. The innermost container counts.
func containerID(path string) string {
	id := ""
	for segment := range strings.SplitSeq(path, "/") {
		name := strings.TrimSuffix(strings.TrimSuffix(segment, ".scope"), ".service")
		if strings.Contains(name, "conmon-") {
			continue // the monitor beside a container, not in it
		}
		// systemd and containerd escape or join with ':' (kubepods-burstable-podX.slice:cri-containerd:ID).
		name = name[strings.LastIndexByte(name, ':')+1:]
		switch {
		case strings.HasPrefix(name, "lxc.payload."):
			if id = name[len("lxc.payload."):]; id == Host { // a name of the user's choice
				id = name
			}
		case isHex(name[strings.LastIndexByte(name, '-')+1:], 64):
			id = name[strings.LastIndexByte(name, '-')+1:][:12]
		case len(name) > 33 && name[32] == '-' && isHex(name[:32], 32) && digits(name[33:]):
			id = name // AWS Fargate: the task's id and a number
		}
	}
	return id
}

func isHex(s string, size int) bool {
	return len(s) == size && strings.Trim(s, "0123456789abcdef") == ""
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// serviceUnit finds the systemd service that a control group's path belongs to, an instance (NAME@INSTANCE.service) under
// its template's name; empty when there is none. The outermost counts, because users name the services of their own.
func serviceUnit(path string) string {
	for segment := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutSuffix(segment, ".service"); ok && name != "" {
			if template, _, instance := strings.Cut(name, "@"); instance {
				name = template + "@"
			}
			return name + ".service"
		}
	}
	return ""
}

// groupName is the last name of a control group that lies in none of systemd's units: what containerd's own client and runc name a
// container, which is free to choose (/NAMESPACE/NAME and /NAME). Of a long name the first 12 bytes count, as for the container
// plugin. It is never taken for the host or for another container's id.
func groupName(path string) string {
	name := ""
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if strings.HasSuffix(segment, ".slice") || strings.HasSuffix(segment, ".scope") || strings.HasSuffix(segment, ".service") {
			return ""
		}
		name = segment
	}
	if name = name[:min(len(name), 12)]; name == Host || isHex(name, 12) {
		return strings.ReplaceAll(strings.TrimLeft(path, "/"), "/", ".") + "."
	}
	return name
}

// groups is what the control groups of a thread say about where it belongs.
type groups struct{ container, service, name string }

func (g *groups) read(path string) {
	if g.container == "" {
		g.container = containerID(path)
	}
	if g.service == "" {
		g.service = serviceUnit(path)
	}
	if g.name == "" {
		g.name = groupName(path)
	}
}

// none reports whether the groups told nothing yet of where a thread belongs.
func (g *groups) none() bool { return g.container == "" && g.service == "" }

// readAll takes the cgroups parameter of an event: "subsystem=path", each ended by a NUL.
func (g *groups) readAll(cgroups []byte) {
	for entry := range bytes.SplitSeq(cgroups, []byte{0}) {
		if _, path, ok := strings.Cut(string(entry), "="); ok {
			g.read(path)
		}
	}
}

// key is what a container is kept under. A group of any name makes a container of a process that is in a PID namespace of its own.
func (g *groups) key(inside bool) string {
	switch {
	case g.container != "":
		return g.container
	case inside && g.name != "":
		return g.name
	case g.service != "":
		return Host + "/" + g.service
	default:
		return Host
	}
}
