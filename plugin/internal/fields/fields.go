// Package fields is the catalogue of the fields that rules can use: the product's API.
package fields

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/falcosecurity/plugin-sdk-go/pkg/sdk"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/audit"
	"github.com/falco-datastaging/datastaging/plugin/internal/measure"
	"github.com/falco-datastaging/datastaging/plugin/internal/window"
)

// View is what a field can see of an event.
type View struct {
	Now       uint64 // ns since the epoch: the event's time
	Window    time.Duration
	Container *attribute.Container
	Process   *attribute.Process
	Account   *measure.Account
	Accounts  *measure.Registry // that it is one of
	Baseline  baseline.View
	Posture   *attribute.Posture // of the container, or of what an audit event deploys
	Known     bool               // the container's metadata has come, or will not any more
	Unmanaged bool
	Entries   func() []measure.Entry // who reached into the container through the orchestrator
	Audit     *audit.Event           // nil on events of system calls; then Container and Account are those of who acted
	Everybody baseline.View          // on audit events: what was learned of all users together
	Resource  *attribute.Resource    // what the event's descriptor names, at the end of a process its last file; nil for none
	Socket    *attribute.Resource    // the same of sockets; Resource where that is one
	Peer      attribute.Peer         // the remote end of the event's transfer
}

// ArgKind says what argument a field takes.
type ArgKind uint8

const (
	NoArg        ArgKind = iota
	WindowArg            // optional: a window such as 5m
	KeyArg               // required: a key, and after slashes an interval and whom it is kept for
	MetricArg            // required: a metric that a baseline has, such as egress_bytes
	DimensionArg         // required: a dimension that a baseline has, such as peer
)

// Required reports whether a field cannot do without the argument.
func (k ArgKind) Required() bool { return k != NoArg && k != WindowArg }

// Field is one field.
type Field struct {
	Name string
	Type string // as the plugin API names it: uint64, string, bool, reltime
	Arg  ArgKind
	Desc string
	// Audit says that the field has values on audit events.
	Audit bool

	summed func(*View, time.Duration) any // of a field that takes a window
	value  func(v *View) any              // of a field without an argument; nil for no value
	keyed  func(*View, key) any           // of a field with a key

	compared func(*View, baseline.Metric) (uint64, bool) // of a field with a metric; false for no value
}

// onAudit are the fields that have values on audit events beside those of their own class.
var onAudit = []string{
	"staging.sources", "staging.once", "posture.sensitive", "posture.reasons", "posture.root",
	"baseline.workload", "baseline.status", "baseline.age", "baseline.windows", "baseline.confidence", "baseline.new",
}

// Catalogue returns every field; a field's index in it is its id.
func Catalogue() []Field {
	fields := catalogue()
	for i := range fields {
		fields[i].Audit = fields[i].Audit || slices.Contains(onAudit, fields[i].Name)
	}
	return fields
}

func catalogue() []Field {
	return []Field{
		sum("staging.bytes", measure.StagedBytes, "Bytes written to files in staging locations (see staging.location) in the window"),
		{
			Name: "staging.location_bytes", Type: "uint64", Arg: WindowArg, summed: locationBytes,
			Desc: "Of those, bytes written to locations of the class that the event's file lies in",
		},
		sum("staging.files", measure.StagedFiles, "Distinct files written in staging locations in the window"),
		text("staging.dir", "Staging directory with the most bytes written in the default window", stagingDir),
		text("staging.location", "Class of the place that the event's file lies in: none, tmp, shm, volume, hostpath, hidden, webroot, run or memfd", location),
		sum("staging.sources", measure.Sources, "Distinct files read as data, libraries and other files of the runtime left out, in the window; on audit events, distinct secrets and config maps read by the user"),
		sum("staging.source_bytes", measure.SourceBytes, "Bytes read from files as data in the window"),
		sum("staging.host_bytes", measure.HostBytes, "Of those, bytes of the node: on its own file system, however the container reached it, or of its devices"),
		sum("staging.egress_bytes", measure.EgressBytes, "Bytes sent over the network, loopback left out, in the window"),
		sum("staging.external_bytes", measure.ExternalBytes, "Bytes sent to addresses outside the cluster in the window"),
		sum("staging.internal_egress_bytes", measure.InternalEgressBytes, "Bytes sent to containers and other systems of the cluster in the window"),
		sum("staging.internal_ingress_bytes", measure.InternalIngressBytes, "Bytes received from them in the window"),
		sum("staging.exfiltrated_bytes", measure.ExfiltratedBytes, "Bytes sent to addresses outside the cluster that were staged, packed or piped from program to program before"),
		sum("staging.archive_bytes", measure.ArchiveBytes, "Bytes written to archives, compressed or encrypted files, told by their content, in the window"),
		sum("staging.remote_peers", measure.RemotePeers, "Distinct remote peers, containers of this node and other addresses, that each sent in at least `peer_bytes` in the window"),
		sum("staging.remote_bytes", measure.RemoteBytes, "Bytes received over the network, loopback left out, in the window"),
		sum("staging.remote_staged_bytes", measure.RemoteStagedBytes, "Of those, bytes written to staging locations or into archives"),
		sum("staging.handoff_bytes", measure.HandoffBytes, "Bytes that another container wrote, read from files or over a local socket, in the window"),
		sum("staging.handed_bytes", measure.HandedBytes, "Of those, bytes that had been staged, packed or piped from program to program"),
		text("staging.handoff_peer", "Workload of the container that wrote them", handoffPeer),
		text("staging.peer", "Remote address and port of the event's socket", peer),
		text("staging.peer_name", "Who that is where it is known: the workload of a container of this node, metadata-service, credential-service or node-local-dns", peerName),
		text("staging.peer_class", "Class of the event's remote end: loopback, container, cluster, host or external", peerClass),
		{
			Name: "staging.in_container", Type: "bool", Desc: "Whether the event's process belongs to a container",
			value: func(v *View) any { return !v.Container.OnHost() },
		},
		text("staging.phase", "Furthest step reached in the default window: none, collect, stage, archive or exfiltrate", phase),
		text("staging.story", "What happened to the data along the chain, in the order it began: collected, received, took over, staged, packed, sent, each with its places and bytes", story),
		text("staging.top_sources", "Directories that most of the data was read from, with its bytes", topSources),
		text("staging.top_senders", "Peers that most of the data was received from, with its bytes", topSenders),
		text("staging.top_archives", "Archives that most of the data was packed into, with its bytes", topArchives),
		text("staging.top_destinations", "External peers that most of the data was sent to, with its bytes", topDestinations),
		{
			Name: "staging.once", Type: "bool", Arg: KeyArg,
			Desc:  "True the first time it is asked in an interval, `once_interval` or one of its own as in [key/6h], per container and key; with [key/6h/workload], per workload, image and access to the node. Last in a condition, it makes one alert of many",
			keyed: once,
		},
		{
			Name: "posture.sensitive", Type: "bool",
			Desc:  "Whether the container can reach the node, its data or other containers: privileged, host PID, runtime socket, sensitive host path, device or capability, or seen to read files or devices of the node that it has no mount of",
			value: func(v *View) any { return v.Posture.Sensitive() },
		},
		text("posture.reasons", "By what: privileged, host PID, host network, files of the node, devices of the node, runtime socket PATH, host path PATH, device PATH, capability NAME", reasons),
		{
			Name: "posture.root", Type: "bool", Desc: "Whether a process of the container ran as the node's user 0",
			value: func(v *View) any { return v.Posture.Root },
		},
		{
			Name: "posture.known", Type: "bool", Desc: "Whether the container's metadata has come, or `metadata_grace` is over",
			value: func(v *View) any { return v.Known },
		},
		{
			Name: "posture.unmanaged", Type: "bool",
			Desc:  "Whether the container was started beside the orchestrator: it has no pod on a node where containers have",
			value: func(v *View) any { return v.Unmanaged },
		},
		audited("audit.action", "What an audit event did: deploy, exec, copy, attach, port-forward, read-secret, list-secrets, request-token or other; other for what was refused", func(e *audit.Event) string { return e.Action.String() }),
		audited("audit.user", "Who did it, the user that was impersonated where one was", func(e *audit.Event) string { return e.User }),
		audited("audit.target", "The object that it was done to: namespace/name, and the container where one is named", (*audit.Event).Target),
		audited("audit.command", "The command that was run in the container", func(e *audit.Event) string { return e.Command }),
		audited("audit.images", "Repositories of the images that were deployed", func(e *audit.Event) string { return strings.Join(e.Images, ", ") }),
		text("baseline.workload", "What the container is learned under: namespace/owner/container, image repository, container id, host/service, or host; on audit events user/NAME", workload),
		text("baseline.status", "learning, active (learned and compared), maintenance or disabled", status),
		{
			Name: "baseline.age", Type: "reltime", Desc: "Event time that the workload was learned for",
			value: func(v *View) any { return v.Baseline.Age() },
		},
		{
			Name: "baseline.windows", Type: "uint64", Desc: "Minutes that the workload was learned for",
			value: func(v *View) any { return v.Baseline.Windows() },
		},
		{
			Name: "baseline.confidence", Type: "uint64",
			Desc:  "0 to 100: how far the comparison can be trusted; lowered by few minutes, lost events and missing I/O system calls",
			value: func(v *View) any { return v.Baseline.Confidence() },
		},
		compare("baseline.deviation", "Robust standard deviations that the last minute lies above the workload's median, on a log2 scale, rounded down", deviation),
		compare("baseline.ratio", "The last minute in percent of the learned 99th percentile", ratio),
		compare("baseline.typical", "Learned 99th percentile of a minute", typical),
		compare("baseline.observed", "The last minute", observed),
		{
			Name: "baseline.new", Type: "bool", Arg: DimensionArg,
			Desc: "True when the event's value was never learned: " + dimensions,
		},
	}
}

// dimensions are what is learned; user, namespace and verb are of audit events.
const dimensions = "exe, dir, peer, port, listen, mount, image, privilege, user, namespace or verb"

// audited is a field of audit events alone.
func audited(name, desc string, value func(*audit.Event) string) Field {
	f := text(name, desc, func(v *View) any {
		if v.Audit == nil {
			return nil
		}
		return orNone(value(v.Audit))
	})
	f.Audit = true
	return f
}

func compare(name, desc string, value func(*View, baseline.Metric) (uint64, bool)) Field {
	return Field{Name: name, Type: "uint64", Arg: MetricArg, Desc: desc, compared: value}
}

func status(v *View) any { return v.Baseline.Status().String() }

func deviation(v *View, m baseline.Metric) (uint64, bool) {
	return v.Baseline.Deviation(m, v.Account.LastMinute(m, v.Now))
}

func ratio(v *View, m baseline.Metric) (uint64, bool) {
	return v.Baseline.Ratio(m, v.Account.LastMinute(m, v.Now))
}

func typical(v *View, m baseline.Metric) (uint64, bool) { return v.Baseline.Typical(m) }

func observed(v *View, m baseline.Metric) (uint64, bool) { return v.Account.LastMinute(m, v.Now), true }

// Seen returns the event's value of a dimension, empty when it has none. A peer is known by its name where it has one, for
// containers change their addresses.
func Seen(d baseline.Dimension, c *attribute.Container, p *attribute.Process, r *attribute.Resource, peer attribute.Peer) string {
	isFile := r != nil && r.Kind == attribute.FileKind
	isSocket := r != nil && r.Kind == attribute.SocketKind
	switch {
	case d == baseline.Exe && p != nil:
		return p.Exe
	case d == baseline.Dir && isFile:
		return r.File.Dir()
	case d == baseline.Mount && isFile:
		return r.File.Mount
	case d == baseline.Peer && isSocket && peer.Addr.IsValid():
		return cmp.Or(peer.Name(), peer.Addr.Addr().String())
	case d == baseline.Port && isSocket && !r.Inbound && peer.Addr.IsValid():
		return strconv.Itoa(int(peer.Addr.Port()))
	case d == baseline.Listen && isSocket && r.Inbound && r.Local.IsValid():
		return strconv.Itoa(int(r.Local.Port()))
	case d == baseline.Image:
		return c.Image
	case d == baseline.Privilege && c.Posture.Sensitive():
		return c.Posture.Reasons()
	default:
		return ""
	}
}

// Audited returns an audit event's values of a dimension.
func Audited(d baseline.Dimension, e *audit.Event) []string {
	switch d {
	case baseline.Namespace:
		return notEmpty(e.Namespace)
	case baseline.Verb:
		return notEmpty(e.Verb)
	case baseline.Privilege:
		if !e.Posture.Sensitive() {
			return nil
		}
		return notEmpty(e.Posture.Reasons())
	case baseline.Image:
		return e.Images
	default:
		return nil
	}
}

func notEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// isNewAudited is true when any of an audit event's values was never learned. Of the user everybody's baseline knows.
func isNewAudited(v *View, d baseline.Dimension) any {
	view, values := v.Baseline, Audited(d, v.Audit)
	if d == baseline.User {
		if v.Everybody.Status() != baseline.Active {
			return nil
		}
		view, values = v.Everybody, []string{v.Audit.User}
	}
	var answer any
	for _, value := range values {
		if fresh, known := view.New(d, value); known {
			answer = fresh || answer == true
		}
	}
	return answer
}

func isNew(v *View, d baseline.Dimension) any {
	if v.Audit != nil {
		return isNewAudited(v, d)
	}
	r := v.Resource
	if d == baseline.Peer || d == baseline.Port || d == baseline.Listen {
		r = v.Socket
	}
	seen := Seen(d, v.Container, v.Process, r, v.Peer)
	if seen == "" {
		return nil
	}
	if fresh, known := v.Baseline.New(d, seen); known {
		return fresh
	}
	return nil
}

func sum(name string, m measure.Metric, desc string) Field {
	return Field{Name: name, Type: "uint64", Arg: WindowArg, Desc: desc, summed: func(v *View, w time.Duration) any {
		return v.Account.Sum(m, v.Now, w)
	}}
}

// text is a field of text that may hold names that anybody chose; what is no text in them is shown as '?'.
func text(name, desc string, value func(*View) any) Field {
	return Field{Name: name, Type: "string", Desc: desc, value: func(v *View) any {
		if s, ok := value(v).(string); ok {
			return legible(s)
		}
		return nil
	}}
}

func legible(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func stagingDir(v *View) any { return orNone(v.Account.Dir(v.Now)) }

func location(v *View) any {
	if v.Resource == nil || v.Resource.Kind != attribute.FileKind {
		return nil
	}
	return v.Resource.File.Location.String()
}

func locationBytes(v *View, w time.Duration) any {
	if v.Resource == nil || v.Resource.Kind != attribute.FileKind {
		return nil
	}
	return v.Account.Located(v.Resource.File.Location, v.Now, w)
}

func peer(v *View) any {
	if v.Peer.Class == attribute.NoPeer {
		return nil
	}
	return v.Peer.Addr.String()
}

func peerName(v *View) any { return orNone(v.Peer.Name()) }

func peerClass(v *View) any { return orNone(v.Peer.Class.String()) }

func handoffPeer(v *View) any {
	if giver := v.Account.Giver(); giver != nil {
		return giver.Workload
	}
	return nil
}

func reasons(v *View) any {
	if !v.Posture.Sensitive() {
		return nil
	}
	return v.Posture.Reasons()
}

func phase(v *View) any { return v.Account.Phase(v.Now).String() }

func story(v *View) any { return orNone(v.Account.Story(v.Now, v.Entries())) }

func topSources(v *View) any { return orNone(v.Account.TopSources(v.Now)) }

func topSenders(v *View) any { return orNone(v.Account.TopSenders(v.Now)) }

func topArchives(v *View) any { return orNone(v.Account.TopArchives(v.Now)) }

func topDestinations(v *View) any { return orNone(v.Account.TopDestinations(v.Now)) }

// key is the argument of staging.once.
type key struct {
	name     string
	interval time.Duration // 0 for the configured one
	shared   bool          // by the containers of a workload that have the same image and were given the same access
}

// perWorkload ends a key that is kept for a workload.
const perWorkload = "workload"

// parseKey reads NAME, NAME/INTERVAL, NAME/workload or NAME/INTERVAL/workload.
func parseKey(arg string) (k key, ok bool) {
	k.name, arg, ok = strings.Cut(arg, "/")
	if k.name == "" || !ok {
		return k, k.name != ""
	}
	interval, scope, hasScope := strings.Cut(arg, "/")
	if interval == perWorkload && !hasScope {
		k.shared = true
		return k, true
	}
	k.shared = hasScope
	k.interval, ok = parseWindow(interval)
	return k, ok && (!hasScope || scope == perWorkload)
}

func once(v *View, k key) any {
	if k.shared {
		kept := strings.Join([]string{k.name, v.Container.Workload, v.Container.Image, v.Posture.Granted()}, "\x00")
		return v.Accounts.Once(kept, v.Now, k.interval)
	}
	return v.Account.Once(k.name, v.Now, k.interval)
}

func workload(v *View) any { return v.Container.Workload }

func orNone(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Value returns the field's value on an event, nil when it has none. It reports false when the argument is not one the
// field takes.
func (f *Field) Value(v *View, arg string, hasArg bool) (any, bool) {
	if v.Audit != nil && !f.Audit {
		return nil, true
	}
	switch f.Arg {
	case WindowArg:
		w := v.Window
		if hasArg {
			var ok bool
			if w, ok = parseWindow(arg); !ok {
				return nil, false
			}
		}
		return f.summed(v, w), true
	case KeyArg:
		k, ok := parseKey(arg)
		if !hasArg || !ok {
			return nil, false
		}
		return f.keyed(v, k), true
	case MetricArg:
		m, err := baseline.MetricByName(arg)
		if err != nil {
			return nil, false
		}
		if value, known := f.compared(v, m); known {
			return value, true
		}
		return nil, true
	case DimensionArg:
		d, err := baseline.DimensionByName(arg)
		if err != nil {
			return nil, false
		}
		return isNew(v, d), true
	default:
		return f.value(v), true
	}
}

// Accepts says what argument the field takes, for people.
func (f *Field) Accepts() string {
	switch f.Arg {
	case WindowArg:
		return "an optional window from 1s to 24h, such as 30s, 5m or 1h"
	case KeyArg:
		return "a key of your choice, after a slash an interval from 1s to 24h if not the configured one, and /workload where the containers of a workload share it, such as mine/1h or mine/1h/workload"
	case MetricArg:
		names := make([]string, baseline.NumMetrics)
		for m := range names {
			names[m] = baseline.Metric(m).String()
		}
		return "a metric: " + strings.Join(names, ", ")
	case DimensionArg:
		return "a dimension: " + dimensions
	default:
		return "no argument"
	}
}

func parseWindow(s string) (time.Duration, bool) {
	w, err := time.ParseDuration(s)
	return w, err == nil && w >= time.Second && w <= window.Max
}

// Entries returns the catalogue as the plugin API describes fields.
func Entries(catalogue []Field) []sdk.FieldEntry {
	entries := make([]sdk.FieldEntry, 0, len(catalogue))
	for _, f := range catalogue {
		entries = append(entries, sdk.FieldEntry{
			Name: f.Name, Type: f.Type, Desc: f.Desc, Display: f.Name,
			Arg: sdk.FieldEntryArg{IsKey: f.Arg != NoArg, IsRequired: f.Arg.Required()},
		})
	}
	return entries
}
