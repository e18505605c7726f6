package attribute

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestContainerIDsAreFoundInTheCgroupsOfEveryRuntime(t *testing.T) {
	id := strings.Repeat("367a841b0e49", 6)[:64]
	for path, want := range map[string]string{
		"/docker/" + id:                         "367a841b0e49",
		"/system.slice/docker-" + id + ".scope": "367a841b0e49",
		"/kubepods/burstable/pod731eaa9b-a441-4521-96dc-9238681f3940/" + id:                                           "367a841b0e49",
		"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podf09c.slice/cri-containerd-" + id + ".scope": "367a841b0e49",
		"/kubepods/besteffort/podf09c4d46/crio-" + id:                                                                 "367a841b0e49",
		"/kubepods-burstable-pod1.slice:cri-containerd:" + id:                                                         "367a841b0e49",
		"/k8s.io/" + id:                                         "367a841b0e49",
		"/libpod_parent/libpod-" + id:                           "367a841b0e49",
		"/machine.slice/libpod-" + id + ".scope/container":      "367a841b0e49",
		"/docker/" + strings.Repeat("ab", 32) + "/docker/" + id: "367a841b0e49", // a container in a container
		"/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567890": "0123456789abcdef0123456789abcdef-1234567890",
		"/lxc.payload.web01/init.scope":                      "web01",
		"/machine.slice/libpod-conmon-" + id + ".scope":      "",
		"/kubepods/besteffort/podf09c4d46/crio-conmon-" + id: "",
		"/user.slice/user-1000.slice/session-3.scope":        "",
		"/system.slice/nginx.service":                        "",
		"/":                                                  "",
		"":                                                   "",
	} {
		assert.Equal(t, want, containerID(path), path)
	}
}

func TestTheHostIsSplitIntoServices(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for cgroups, want := range map[string]string{
		"=/system.slice/sshd.service\x00":                                           "host/sshd.service",
		"=/system.slice/system-getty.slice/getty@tty1.service\x00":                  "host/getty@.service",
		"=/user.slice/user-1000.slice/user@1000.service/app.slice/sshd.service\x00": "host/user@.service", // named by a user
		"=/user.slice/user-1000.slice/session-3.scope\x00":                          "host",
		"=/.service\x00": "host",
		"cpuset=/\x00cpu=/\x00memory=/docker/" + id + "\x00":                                  "abababababab",
		"cpuset=/\x00name=systemd:/system.slice/docker.service\x00cpu=/docker/" + id + "\x00": "abababababab",
		"=/lxc.payload.host\x00": "lxc.payload.host", // not the host
		"cpuset\x00=":            "host",
	} {
		var in groups
		in.readAll([]byte(cgroups))
		assert.Equal(t, want, in.key(false), cgroups)
	}
}

func TestAProcessWithPIDsOfItsOwnIsInTheContainerThatItsControlGroupIsNamedAfter(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for cgroups, want := range map[string]string{
		"=/default/debug\x00":                           "debug", // ctr run
		"cpuset=/\x00cpu=/moby/tool.1\x00":              "tool.1",
		"=/k8s.io/a-name-of-more-than-12\x00":           "a-name-of-mo",
		"=/default/ababababababcd\x00":                  "default.ababababababcd.",
		"=/debug\x00":                                   "debug", // runc run
		"=/default/" + id + "\x00":                      "abababababab",
		"cpu=/other\x00memory=/docker/" + id + "\x00":   "abababababab",
		"=/default/host\x00":                            "default.host.", // not the host
		"=/host/host\x00":                               "host.host.",
		"=/default/abababababab\x00":                    "default.abababababab.", // nor another container
		"=/system.slice/sandbox.service\x00":            "host/sandbox.service",
		"=/user.slice/user-0.slice/session-1.scope\x00": "host",
		"=/\x00": "host",
	} {
		var in groups
		in.readAll([]byte(cgroups))
		assert.Equal(t, want, in.key(true), cgroups)
	}
}

func TestStaticPodsAreKnownWithoutTheirNode(t *testing.T) {
	of := func(pod, container, uid string) string {
		return workload(&Container{}, map[string]string{
			"io.kubernetes.pod.namespace": "kube-system", "io.kubernetes.pod.name": pod, "io.kubernetes.pod.uid": uid,
			"io.kubernetes.container.name": container,
		}, nil)
	}
	const static, ordinary = "6f7e1b3f5a2c4d0e9b8a7c6d5e4f3a2b", "6f7e1b3f-5a2c-4d0e-9b8a-7c6d5e4f3a2b"
	assert.Equal(t, "kube-system/kube-apiserver/kube-apiserver", of("kube-apiserver-cp-eu-west-1a", "kube-apiserver", static))
	assert.Equal(t, "kube-system/proxy-cp-a/envoy", of("proxy-cp-a", "envoy", static), "nothing tells where the node's name begins")
	assert.Equal(t, "kube-system/kube-apiserver-cp-a/kube-apiserver", of("kube-apiserver-cp-a", "kube-apiserver", ordinary), "somebody called a pod like that")
}

func TestPodsAreKnownByTheirOwner(t *testing.T) {
	for pod, want := range map[string]string{
		"web-7d9f8c6b5-x2x4z":           "web",
		"shop-web-5b8c9f7d6f-abcde":     "shop-web-5b8c9f7d6f-abcde", // vowels are never random
		"node-agent-x7k2p":              "node-agent",
		"nightly-backup-29384756-q8wzt": "nightly-backup",
		"db-0":                          "db",
		"db-12":                         "db",
		"redis-cache":                   "redis-cache",
		"standalone":                    "standalone",
	} {
		assert.Equal(t, want, owner(pod, nil), pod)
	}
	for name, test := range map[string]struct {
		pod, want string
		labels    map[string]string
	}{
		"a Deployment by its template's hash": {"web-bcdfg-5d7c-x2x4z", "web-bcdfg", map[string]string{"pod-template-hash": "5d7c"}},
		"a Job by its name":                   {"import-2026-x2x4z", "import-2026", map[string]string{"job-name": "import-2026"}},
		"a CronJob without the minute":        {"nightly-29384756-x2x4z", "nightly", map[string]string{"batch.kubernetes.io/job-name": "nightly-29384756"}},
		"a StatefulSet without the ordinal":   {"db-bcdfg-3", "db-bcdfg", map[string]string{"statefulset.kubernetes.io/pod-name": "db-bcdfg-3"}},
		"a DaemonSet that looks hashed":       {"agent-bcdfgh-x2x4z", "agent-bcdfgh", map[string]string{"controller-revision-hash": "7c5d"}},
	} {
		assert.Equal(t, test.want, owner(test.pod, test.labels), name)
	}
}

func TestMetadataNamesTheWorkload(t *testing.T) {
	pod := `{"container":{"id":"367a841b0e49","name":"k8s_web","imagerepo":"registry/web","ip":"10.77.0.14",
		"labels":{"io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.name":"web-7d9f8c6b5-x2x4z","io.kubernetes.container.name":"web"},
		"Mounts":[{"Source":"/srv","Destination":"/host"},{"Source":"","Destination":""}]}}`
	c, addr, err := parseMetadata([]byte(pod + "\x00"))
	require.NoError(t, err)
	assert.Equal(t, "shop/web/web", c.Workload)
	assert.Equal(t, []Mount{{"/srv", "/host"}}, c.Mounts)
	assert.Equal(t, netip.MustParseAddr("10.77.0.14"), addr)

	c, _, err = parseMetadata([]byte(`{"container":{"id":"1","imagerepo":"registry/web"}}`))
	require.NoError(t, err)
	assert.Equal(t, "registry/web", c.Workload, "without a pod the image's repository")

	c, _, err = parseMetadata([]byte(`{"container":{"id":"1"}}`))
	require.NoError(t, err)
	assert.Equal(t, "1", c.Workload, "without an image the id")

	for _, bad := range []string{"", "{", `{"container":{}}`, `{"container":{"id":7}}`, `[]`} {
		_, _, err := parseMetadata([]byte(bad))
		assert.ErrorContains(t, err, "parse container metadata", bad)
	}
}

func TestLocations(t *testing.T) {
	paths := Paths{
		Tmp: []string{"/tmp", "/var/tmp"}, Shm: []string{"/dev/shm"}, Run: []string{"/run"}, WebRoot: []string{"/var/www"},
		Homes: []string{"/root", "/home/*"}, Projects: []string{".git"},
	}
	mounts := []Mount{
		{"/var/lib/kubelet/pods/5f0c/volumes/kubernetes.io~nfs/exchange", "/mnt/in"},
		{"/srv/host-root", "/host"},
		{"named-volume", "/host/data"},
	}
	for path, want := range map[string]Location{
		"/tmp/f":                  Tmp,
		"/tmp":                    Tmp,
		"/tmpfiles/f":             NoLocation,
		"/var/tmp/.cache/f":       Hidden,
		"/tmp/...":                Hidden,
		"/tmp/.. /f":              Hidden,
		"/tmp/../etc/f":           Tmp,
		"/tmp/./f":                Tmp,
		"/dev/shm/f":              Shm,
		"/run/secrets/f":          Run,
		"/var/www/html/f":         WebRoot,
		"/mnt/in/f":               Volume,
		"/mnt/info/f":             NoLocation,
		"/host/etc/f":             HostPath,
		"/host/data/f":            Volume,
		"/srv/app/.git/objects/f": NoLocation,
		"/root/.npm/f":            NoLocation,
		"/home/dev/.cache/f":      NoLocation,
		"/home/dev/x/.cache/f":    Hidden,
		"/root/.npm/.x/f":         Hidden,
		"/opt/.x/f":               Hidden,
		"/vault/.dump.gz.ubGycV":  NoLocation, // rsync renames it when it is whole
		"/tmp/.dump.gz.ubGycV":    Hidden,
		"/vault/.b":               Hidden,
		"/vault/.dump.gz":         Hidden,
		"/vault/.ubGycV":          Hidden,
		"/vault/.x/.f.ubGycV":     Hidden,
		"relative":                NoLocation,
		"":                        NoLocation,
	} {
		assert.Equal(t, want, paths.locate(path, mountOf(path, mounts)), "%q", path)
	}
}

func TestPeerClasses(t *testing.T) {
	networks := Networks{
		Cluster: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fc00::/7")},
		Host:    []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32")},
	}
	for addr, want := range map[string]PeerClass{
		"127.0.0.1": Loopback, "127.9.9.9": Loopback, "::1": Loopback,
		"10.77.0.11": Cluster, "fd00::1": Cluster, "224.0.0.1": Cluster, "255.255.255.255": Cluster,
		"10.1.2.3": HostPeer,
		"0.0.0.0":  NoPeer, "::": NoPeer,
		"203.0.113.10": External, "2001:db8:5::10": External,
	} {
		assert.Equal(t, want, networks.class(netip.MustParseAddr(addr)), addr)
	}
}

func TestArchivesAreToldByContent(t *testing.T) {
	for _, head := range []string{
		"\x1f\x8b\x08\x00", "\xfd7zXZ\x00\x00", "\x28\xb5\x2f\xfd\x04", "BZh91AY", "PK\x03\x04\x14", "7z\xbc\xaf\x27\x1c", "Rar!\x1a\x07\x01",
		"Salted__\x01\x02", "age-encryption.org/v1\n", "-----BEGIN PGP MESSAGE-----",
	} {
		assert.True(t, packed([]byte(head), uint64(len(head))), "%q", head)
	}
	for _, head := range []string{"", "\x1f", "name,address\n", "\x7fELF", "%PDF-1.7", "SQLite format 3\x00", "\x89PNG\r\n", "BZ", "PK"} {
		assert.False(t, packed([]byte(head), uint64(len(head))), "%q", head)
	}
	header := func(name string) []byte { return append([]byte(name), make([]byte, 64-len(name))...) }
	assert.True(t, packed(header("srv/customers/"), 10240), "a tar")
	assert.True(t, packed(header("./"), 512), "a tar")
	assert.False(t, packed(header("srv/customers/"), 10000), "not in blocks")
	assert.False(t, packed(header(""), 10240), "nothing but NULs")
	assert.False(t, packed(header("a\x01b"), 10240), "no name")
	assert.False(t, packed(append(header("page")[:60], 1, 0, 0, 0), 4096), "a page of a database")
}
