// Package audit reads the audit events of a Kubernetes API server: who did what to which object, as far as it has to do with
// staging data. The format is audit.k8s.io/v1 of k8s.io/apiserver.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
)

// Action is what an event did.
type Action uint8

const (
	Other       Action = iota
	Deploy             // made or changed a pod or what makes pods, save what a controller of Kubernetes made of another one
	Exec               // ran a command in a container
	Copy               // moved files into or out of a container, as kubectl cp does: a tar on standard input or output
	Attach             // attached to a process of a container
	PortForward        // reached a port of a pod through the API server, by port-forward or its proxy
	ReadSecret         // read one secret or config map
	ListSecrets        // read them by the list or watch
	Token              // asked for a token of a service account
)

func (a Action) String() string {
	return [...]string{"other", "deploy", "exec", "copy", "attach", "port-forward", "read-secret", "list-secrets", "request-token"}[a]
}

// Entry reports whether the action reaches into a running container.
func (a Action) Entry() bool { return a == Exec || a == Copy || a == Attach || a == PortForward }

// Event is one audit event. Strings are its own.
type Event struct {
	ID        string // of the request: its stages have the same
	User      string // who acted; the one that was impersonated where one was
	Verb      string // of the API, and the resource: "create pods/exec"
	Action    Action // Other for what was not allowed or has not been answered yet
	Wrote     bool   // made or changed a secret or config map
	Namespace string
	Name      string
	Container string
	Command   string // Exec and Copy
	Images    []string
	Posture   attribute.Posture // Deploy: of its containers together
}

// Target is the object that was acted on: namespace/name, and /container where one is named.
func (e *Event) Target() string {
	var parts []string
	for _, part := range []string{e.Namespace, e.Name, e.Container} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/")
}

// Object names what was acted on among all of the cluster: the resource and namespace/name.
func (e *Event) Object() string {
	_, resource, _ := strings.Cut(e.Verb, " ")
	return resource + " " + e.Namespace + "/" + e.Name
}

// Errors that Parse wraps.
var (
	ErrMalformed = errors.New("not an audit event")
	ErrVersion   = errors.New("unknown version of audit event")
)

const version = "audit.k8s.io/v1"

type user struct {
	Username string `json:"username"`
}

// document is the part of an event that is read.
type document struct {
	Kind        string `json:"kind"`
	APIVersion  string `json:"apiVersion"`
	AuditID     string `json:"auditID"`
	Stage       string `json:"stage"`
	RequestURI  string `json:"requestURI"`
	Verb        string `json:"verb"`
	User        user   `json:"user"`
	Impersonate *user  `json:"impersonatedUser"`
	ObjectRef   *struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus *struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	RequestObject  json.RawMessage `json:"requestObject"`
	ResponseObject json.RawMessage `json:"responseObject"`
}

// Parse reads one event. sensitive are the directories of a node that make a container sensitive which mounts them.
func Parse(data []byte, sensitive []string) (*Event, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("parse audit event: %w: %w", ErrMalformed, err)
	}
	switch {
	case d.APIVersion != version && d.APIVersion != "": // items of a list have none
		return nil, fmt.Errorf("parse audit event: %w %q; want %s", ErrVersion, d.APIVersion, version)
	case d.Kind != "Event" && d.Kind != "" || d.User.Username == "":
		return nil, fmt.Errorf("parse audit event: %w: kind %q, user %q", ErrMalformed, d.Kind, d.User.Username)
	}
	e := &Event{ID: d.AuditID, User: d.User.Username, Verb: d.Verb}
	if d.Impersonate != nil && d.Impersonate.Username != "" {
		e.User = d.Impersonate.Username
	}
	if d.ObjectRef == nil {
		return e, nil
	}
	e.Namespace, e.Name = d.ObjectRef.Namespace, d.ObjectRef.Name
	resource := d.ObjectRef.Resource
	if d.ObjectRef.Subresource != "" {
		resource += "/" + d.ObjectRef.Subresource
	}
	e.Verb += " " + resource
	if !d.answered() || d.tried() {
		return e, nil
	}
	e.act(&d, resource, sensitive)
	return e, nil
}

// answered reports whether the event tells of something that was done: a request that was allowed, at its end or, for
// connections and watches that stay, at its start.
func (d *document) answered() bool {
	if d.Stage != "ResponseComplete" && d.Stage != "ResponseStarted" {
		return false
	}
	return d.ResponseStatus != nil && d.ResponseStatus.Code < 400
}

// tried reports whether the request was to change nothing (dryRun).
func (d *document) tried() bool {
	_, query, _ := strings.Cut(d.RequestURI, "?")
	return readQuery(query).Get("dryRun") != ""
}

func (e *Event) act(d *document, resource string, sensitive []string) {
	switch resource {
	case "pods/exec", "pods/attach", "pods/portforward", "pods/proxy":
		_, text, _ := strings.Cut(d.RequestURI, "?")
		e.enter(resource, readQuery(text))
	case "nodes/proxy":
		e.enterByNode(d.RequestURI)
	case "secrets", "configmaps":
		switch d.Verb {
		case "get":
			e.Action = ReadSecret
		case "list", "watch":
			e.Action = ListSecrets
		case "create", "update", "patch":
			e.Wrote = true
		}
	case "serviceaccounts/token":
		if d.Verb == "create" {
			e.Action = Token
		}
	case "pods", "pods/ephemeralcontainers", "deployments", "daemonsets", "statefulsets", "replicasets", "jobs", "cronjobs", "replicationcontrollers":
		if d.Verb == "create" || d.Verb == "update" || d.Verb == "patch" {
			if d.Verb == "patch" && !changesSpec(d.RequestObject) {
				break
			}
			e.Action = Deploy
			object := d.ResponseObject // what came of a patch is only there
			if len(object) == 0 {
				object = d.RequestObject
			}
			e.deploy(object, sensitive)
		}
	}
}

// enterByNode reads what a request was for that the API server passed on to a kubelet, which enters pods as well:
// run, exec or attach/NAMESPACE/POD[/UID]/CONTAINER and portForward/NAMESPACE/POD (pkg/kubelet/server/server.go).
func (e *Event) enterByNode(uri string) {
	path, text, _ := strings.Cut(uri, "?")
	_, path, _ = strings.Cut(path, "/proxy/")
	parts := strings.Split(path, "/")
	resource, ok := map[string]string{"run": "pods/exec", "exec": "pods/exec", "attach": "pods/attach", "portForward": "pods/portforward"}[parts[0]]
	if !ok || len(parts) < 3 {
		return
	}
	e.Namespace, e.Name = parts[1], parts[2]
	query := readQuery(text)
	if cmd := query["cmd"]; len(cmd) > 0 {
		query["command"] = cmd // of run
	}
	if len(parts) > 3 {
		query.Set("container", parts[len(parts)-1])
	}
	e.enter(resource, query)
}

// readQuery reads a query. What could be read of a broken one is all there is.
func readQuery(text string) url.Values {
	query, _ := url.ParseQuery(text)
	return query
}

// enter reads what a connection into a pod was for. Its parameters are in the query of the request.
func (e *Event) enter(resource string, query url.Values) {
	e.Container = query.Get("container")
	switch resource {
	case "pods/attach":
		e.Action = Attach
	case "pods/portforward", "pods/proxy":
		e.Action = PortForward
	default:
		command := query["command"]
		e.Command = strings.Join(command, " ")
		if e.Action = Exec; streamsTar(command) {
			e.Action = Copy
		}
	}
}

// streamsTar reports whether a command is the one by which kubectl cp moves files (k8s.io/kubectl/pkg/cmd/cp): tar with "-" for its
// archive.
func streamsTar(command []string) bool {
	if len(command) < 3 || command[0] != "tar" && !strings.HasSuffix(command[0], "/tar") {
		return false
	}
	return strings.HasSuffix(command[1], "f") && command[2] == "-"
}

// changesSpec reports whether a patch may change more than labels, annotations and the like. It is an object, or a list of
// operations (RFC 6902); at level Metadata nobody knows.
func changesSpec(patch json.RawMessage) bool {
	var object map[string]json.RawMessage
	if json.Unmarshal(patch, &object) == nil && len(object) > 0 {
		_, ok := object["spec"]
		return ok
	}
	var operations []struct {
		Path string `json:"path"`
	}
	if json.Unmarshal(patch, &operations) != nil || len(operations) == 0 {
		return true
	}
	for _, o := range operations {
		if !strings.HasPrefix(o.Path, "/metadata/") {
			return true
		}
	}
	return false
}

// controller reports whether a user is one of the controllers of Kubernetes itself, which make pods of what others deployed. They
// share one name where the controller manager has no credentials for each.
func controller(user string) bool {
	name, ok := strings.CutPrefix(user, "system:serviceaccount:kube-system:")
	return ok && strings.HasSuffix(name, "-controller") || user == "system:kube-controller-manager"
}

// object is a pod, or one that makes pods, as deep as they nest them.
type object struct {
	Metadata struct {
		Name            string `json:"name"`
		OwnerReferences []struct {
			Controller bool `json:"controller"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Spec *spec `json:"spec"`
}

type spec struct {
	podSpec
	Template    *template `json:"template"` // Deployment, DaemonSet, StatefulSet, ReplicaSet, Job
	JobTemplate *struct { // CronJob
		Spec *struct {
			Template *template `json:"template"`
		} `json:"spec"`
	} `json:"jobTemplate"`
}

type template struct {
	Spec *podSpec `json:"spec"`
}

type podSpec struct {
	HostPID             bool        `json:"hostPID"`
	HostIPC             bool        `json:"hostIPC"`
	HostNetwork         bool        `json:"hostNetwork"`
	Containers          []container `json:"containers"`
	InitContainers      []container `json:"initContainers"`
	EphemeralContainers []container `json:"ephemeralContainers"`
	SecurityContext     *security   `json:"securityContext"`
	Volumes             []struct {
		HostPath *struct {
			Path string `json:"path"`
		} `json:"hostPath"`
	} `json:"volumes"`
}

type container struct {
	Image           string    `json:"image"`
	SecurityContext *security `json:"securityContext"`
}

type security struct {
	Privileged   bool   `json:"privileged"`
	RunAsUser    *int64 `json:"runAsUser"`
	Capabilities *struct {
		Add []string `json:"add"`
	} `json:"capabilities"`
}

func (e *Event) deploy(raw json.RawMessage, sensitive []string) {
	var o object
	if json.Unmarshal(raw, &o) != nil || o.Spec == nil {
		return // at level Metadata there is no object
	}
	if e.Name == "" {
		e.Name = o.Metadata.Name // one that was generated
	}
	for _, owner := range o.Metadata.OwnerReferences {
		if owner.Controller && controller(e.User) {
			e.Action = Other // it was told of who deployed the owner
			return
		}
	}
	pod := &o.Spec.podSpec
	switch {
	case o.Spec.Template != nil && o.Spec.Template.Spec != nil:
		pod = o.Spec.Template.Spec
	case o.Spec.JobTemplate != nil && o.Spec.JobTemplate.Spec != nil && o.Spec.JobTemplate.Spec.Template != nil && o.Spec.JobTemplate.Spec.Template.Spec != nil:
		pod = o.Spec.JobTemplate.Spec.Template.Spec
	}
	p := &e.Posture
	p.HostPID, p.HostIPC, p.HostNetwork = pod.HostPID, pod.HostIPC, pod.HostNetwork
	p.Root = pod.SecurityContext.root()
	var mounts []attribute.Mount
	for _, v := range pod.Volumes {
		if v.HostPath != nil {
			mounts = append(mounts, attribute.Mount{Source: v.HostPath.Path})
		}
	}
	p.Mounted(mounts, sensitive)
	for _, containers := range [][]container{pod.InitContainers, pod.Containers, pod.EphemeralContainers} {
		for _, c := range containers {
			if repository := repository(c.Image); repository != "" {
				e.Images = append(e.Images, repository)
			}
			if c.SecurityContext == nil {
				continue
			}
			p.Privileged = p.Privileged || c.SecurityContext.Privileged
			p.Root = p.Root || c.SecurityContext.root()
			if c.SecurityContext.Capabilities != nil {
				for _, name := range c.SecurityContext.Capabilities.Add {
					p.Add(name)
				}
			}
		}
	}
}

func (s *security) root() bool { return s != nil && s.RunAsUser != nil && *s.RunAsUser == 0 }

// repository is an image without tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	return image
}
