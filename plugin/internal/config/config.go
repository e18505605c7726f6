// Package config is the plugin's init_config: what can be set, the defaults, the JSON schema that the engine checks it
// against, and the checks that a schema cannot make.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
	"github.com/falco-datastaging/datastaging/plugin/internal/attribute"
	"github.com/falco-datastaging/datastaging/plugin/internal/measure"
	"github.com/falco-datastaging/datastaging/plugin/internal/window"
)

// Config is the init_config. Keys that are left out have the values of Default.
type Config struct {
	Window          string    `json:"window,omitempty" jsonschema:"example=10m" jsonschema_description:"Default window of the staging fields, the reach of staging.phase, and how long a process remembers where it has data from. A duration from 10s to 24h."`
	Memory          string    `json:"memory,omitempty" jsonschema:"example=24h" jsonschema_description:"How long it is remembered where the data in a file came from: how long staged data may lie before it is sent, and how far staging.story goes back. A duration from 10s to 168h."`
	OnceInterval    string    `json:"once_interval,omitempty" jsonschema:"example=10m" jsonschema_description:"How long staging.once stays false for a container and key after it was true. A duration from 1s to 24h."`
	PhaseBytes      uint64    `json:"phase_bytes,omitempty" jsonschema:"minimum=1" jsonschema_description:"Bytes in the default window that make a step of staging.phase."`
	PeerBytes       uint64    `json:"peer_bytes,omitempty" jsonschema:"minimum=1" jsonschema_description:"Bytes that a remote peer must send in the default window to count as one of staging.remote_peers."`
	ClusterNetworks []string  `json:"cluster_networks,omitempty" jsonschema_description:"Networks inside the cluster as CIDR prefixes or addresses: pods and services and nodes and whatever else is not external."`
	HostNetworks    []string  `json:"host_networks,omitempty" jsonschema_description:"This node's own addresses as CIDR prefixes or addresses."`
	Locations       Locations `json:"locations,omitempty" jsonschema_description:"Directories of each staging location."`
	RuntimePaths    []string  `json:"runtime_paths,omitempty" jsonschema_description:"Directories and files that programs read to run. Reading there is not collecting data."`
	SensitivePaths  []string  `json:"sensitive_paths,omitempty" jsonschema_description:"Directories of the node that make a container sensitive which has them or what holds them mounted."`
	Orchestrator    string    `json:"orchestrator,omitempty" jsonschema:"enum=auto,enum=expected,enum=none" jsonschema_description:"Whether the containers of this node are pods: auto (once one of them is) or expected or none. A container that is none on a node where they are is unmanaged."`
	MetadataGrace   string    `json:"metadata_grace,omitempty" jsonschema:"example=1m" jsonschema_description:"How long the metadata of a container may take to come before it counts as unmanaged. A duration from 0s to 1h."`
	HomeDirs        []string  `json:"home_dirs,omitempty" jsonschema_description:"Home directories; /home/* means every directory in /home. A dot directory right below a home is not a hidden place."`
	ProjectDirs     []string  `json:"project_dirs,omitempty" jsonschema_description:"Names of dot directories that tools keep in a project: version control and build caches and environments. They are not hidden places."`
	Baseline        Baseline  `json:"baseline,omitempty" jsonschema_description:"What is learned as normal for each workload."`
	MaxContainers   int       `json:"max_containers,omitempty" jsonschema:"minimum=16,maximum=65536" jsonschema_description:"Containers watched at a time."`
	MaxFiles        int       `json:"max_files,omitempty" jsonschema:"minimum=1024,maximum=4194304" jsonschema_description:"Files watched at a time on the whole node."`
	MaxThreads      int       `json:"max_threads,omitempty" jsonschema:"minimum=1024,maximum=4194304" jsonschema_description:"Threads watched at a time on the whole node."`
}

// Locations are the directories of the location classes that are told by path.
type Locations struct {
	Tmp     []string `json:"tmp,omitempty" jsonschema_description:"Temporary directories."`
	Shm     []string `json:"shm,omitempty" jsonschema_description:"Directories in shared memory."`
	Run     []string `json:"run,omitempty" jsonschema_description:"Runtime state directories."`
	WebRoot []string `json:"webroot,omitempty" jsonschema_description:"Directories that web servers serve."`
}

// Default returns the values that apply where nothing is set.
func Default() Config {
	return Config{
		Window:       "10m",
		Memory:       "24h",
		OnceInterval: "10m",
		PhaseBytes:   1 << 20,
		PeerBytes:    64 << 10,
		ClusterNetworks: []string{
			"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
			"100.64.0.0/10",               // RFC 6598, used for pods by some clouds
			"169.254.0.0/16", "fe80::/10", // link-local: metadata services, node-local DNS
			"fc00::/7", // RFC 4193
		},
		Locations: Locations{
			Tmp: []string{"/tmp", "/var/tmp", "/usr/tmp"},
			Shm: []string{"/dev/shm", "/run/shm", "/dev/mqueue"},
			Run: []string{"/run", "/var/run", "/var/lock"},
			WebRoot: []string{
				"/var/www", "/srv/www", "/srv/http", "/usr/share/nginx/html", "/usr/local/apache2/htdocs",
				"/usr/share/caddy", "/usr/local/tomcat/webapps", "/var/lib/tomcat/webapps", "/inetpub",
			},
		},
		RuntimePaths: []string{
			"/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/proc", "/sys", "/dev",
			"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
			"/etc/nsswitch.conf", "/etc/host.conf", "/etc/hosts", "/etc/resolv.conf", "/etc/gai.conf",
			"/etc/localtime", "/etc/locale.alias", "/etc/locale.conf", "/etc/mime.types",
			"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/pki/tls/certs", "/etc/pki/ca-trust",
			"/etc/terminfo", "/etc/fonts", "/etc/alternatives",
		},
		SensitivePaths: []string{
			"/etc", "/root", "/home", "/boot", "/proc", "/sys", "/var/lib/kubelet", "/var/lib/etcd", "/var/lib/docker",
			"/var/lib/containerd", "/var/lib/containers", "/var/lib/rancher",
		},
		Orchestrator:  "auto",
		MetadataGrace: "1m",
		HomeDirs:      []string{"/root", "/home/*"},
		ProjectDirs: []string{
			".git", ".hg", ".svn", ".bzr", ".jj",
			".next", ".nuxt", ".svelte-kit", ".turbo", ".pnpm", ".yarn", ".venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache",
			".ruff_cache", ".gradle", ".terraform", ".idea", ".vscode",
		},
		Baseline:      defaultBaseline(),
		MaxContainers: 4096,
		MaxFiles:      65536,
		MaxThreads:    65536,
	}
}

// Schema returns the JSON schema of the init_config.
func Schema() string {
	r := jsonschema.Reflector{Anonymous: true, DoNotReference: true, ExpandedStruct: true}
	schema := r.Reflect(&Config{})
	schema.Version = "http://json-schema.org/draft-07/schema#" // the newest draft that libs' validator knows
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		panic(err) // a struct of ours that cannot be marshalled
	}
	return string(out)
}

// Parse reads an init_config; an empty one gives the defaults. An error names every key that is wrong, its value and
// what is accepted.
func Parse(text string) (Config, error) {
	cfg := Default()
	if strings.TrimSpace(text) == "" {
		return cfg, nil
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&cfg); err != nil {
		return Config{}, fmt.Errorf("init_config: %w", explain(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("init_config: want one JSON object, but more follows it at byte %d", d.InputOffset())
	}
	if _, err := cfg.Settings(); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// explain says in the terms of the config what the JSON decoder says in those of Go.
func explain(err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) && typ.Field != "" {
		return fmt.Errorf("%s: want %s, got a JSON %s", typ.Field, typ.Type, typ.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("unknown key %s; see the plugin's README for the keys", name)
	}
	return err
}

// Settings are the checked values in the types that the stages take.
type Settings struct {
	Window    time.Duration
	Attribute attribute.Config
	Measure   measure.Config
	Baseline  baseline.Config
	File      string        // that the baseline is kept in; empty for none
	AuditFile string        // that the baseline of audit events is kept in; empty for none
	Save      time.Duration // how often it is saved
}

// Settings checks the config and converts it.
func (c Config) Settings() (Settings, error) {
	var v check
	w := v.duration("window", c.Window, 10*time.Second, window.Max)
	if c.PhaseBytes == 0 {
		v.bad("phase_bytes", "0", "a number of bytes above 0")
	}
	if c.PeerBytes == 0 {
		v.bad("peer_bytes", "0", "a number of bytes above 0")
	}
	v.within("max_containers", c.MaxContainers, 16, 1<<16)
	v.within("max_files", c.MaxFiles, 1<<10, 1<<22)
	v.within("max_threads", c.MaxThreads, 1<<10, 1<<22)
	for _, name := range c.ProjectDirs {
		if !strings.HasPrefix(name, ".") || strings.Contains(name, "/") {
			v.bad("project_dirs", name, `a name that starts with "." and has no "/"`)
		}
	}
	memory := v.duration("memory", c.Memory, 10*time.Second, 7*24*time.Hour)
	s := Settings{
		Window: w,
		Attribute: attribute.Config{
			Window:       w,
			Memory:       memory,
			Grace:        v.duration("metadata_grace", c.MetadataGrace, 0, time.Hour),
			Orchestrator: v.orchestrator(c.Orchestrator),
			PeerBytes:    c.PeerBytes,
			Paths: attribute.Paths{
				Tmp:       v.paths("locations.tmp", c.Locations.Tmp),
				Shm:       v.paths("locations.shm", c.Locations.Shm),
				Run:       v.paths("locations.run", c.Locations.Run),
				WebRoot:   v.paths("locations.webroot", c.Locations.WebRoot),
				Runtime:   v.paths("runtime_paths", c.RuntimePaths),
				Sensitive: v.paths("sensitive_paths", c.SensitivePaths),
				Homes:     v.homes("home_dirs", c.HomeDirs),
				Projects:  c.ProjectDirs,
			},
			Networks: attribute.Networks{
				Cluster: v.networks("cluster_networks", c.ClusterNetworks),
				Host:    v.networks("host_networks", c.HostNetworks),
			},
			MaxThreads:    c.MaxThreads,
			MaxFiles:      c.MaxFiles,
			MaxContainers: c.MaxContainers,
		},
		Measure: measure.Config{
			Window:        w,
			Memory:        memory,
			OnceInterval:  v.duration("once_interval", c.OnceInterval, time.Second, window.Max),
			PhaseBytes:    c.PhaseBytes,
			PeerBytes:     c.PeerBytes,
			MaxContainers: c.MaxContainers,
		},
		Baseline: c.Baseline.settings(&v),
		File:     c.Baseline.File, AuditFile: c.Baseline.auditFile(),
		Save: v.duration("baseline.save_interval", c.Baseline.SaveInterval, time.Minute, window.Max),
	}
	return s, v.err()
}

// check collects what is wrong.
type check struct{ problems []error }

func (v *check) bad(key, value, want string) {
	v.problems = append(v.problems, fmt.Errorf("init_config: %s: %q is not accepted; want %s", key, value, want))
}

func (v *check) err() error { return errors.Join(v.problems...) }

func (v *check) duration(key, value string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(value)
	if err != nil || d < least || d > most {
		v.bad(key, value, fmt.Sprintf("a duration from %v to %v such as 90s, 10m or 1h30m", least, most))
	}
	return d
}

func (v *check) orchestrator(value string) attribute.Orchestrator {
	switch value {
	case "auto":
		return attribute.OrchestratorAuto
	case "expected":
		return attribute.OrchestratorExpected
	case "none":
		return attribute.OrchestratorNone
	default:
		v.bad("orchestrator", value, "auto, expected or none")
		return attribute.OrchestratorAuto
	}
}

func (v *check) within(key string, value, least, most int) {
	if value < least || value > most {
		v.bad(key, strconv.Itoa(value), fmt.Sprintf("a number from %d to %d", least, most))
	}
}

func (v *check) paths(key string, values []string) []string {
	for _, p := range values {
		if !path.IsAbs(p) || path.Clean(p) != p {
			v.bad(key, p, "an absolute path without a trailing slash, \".\" or \"..\"")
		}
	}
	return values
}

func (v *check) homes(key string, values []string) []string {
	for _, p := range values {
		if dir := strings.TrimSuffix(p, "/*"); !path.IsAbs(dir) || path.Clean(dir) != dir || strings.Contains(dir, "*") {
			v.bad(key, p, "an absolute path, with /* at its end for every directory in it")
		}
	}
	return values
}

func (v *check) networks(key string, values []string) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(values))
	for _, value := range values {
		if addr, err := netip.ParseAddr(value); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(value)
		if err != nil {
			v.bad(key, value, "a CIDR prefix such as 10.0.0.0/8 or fd00::/8, or an address")
			continue
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes
}
