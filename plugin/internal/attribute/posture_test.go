package attribute

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPostureSaysByWhatAContainerReachesOut(t *testing.T) {
	const sysAdmin, docker = uint64(1 << 21), uint64(0xa80425fb) // what Docker gives by default
	sensitive := []string{"/etc", "/root", "/var/lib/kubelet"}
	for name, test := range map[string]struct {
		posture   Posture
		mounts    []Mount
		uid       uint32
		caps      uint64
		sensitive bool
		reasons   string
	}{
		"an ordinary container":                {Posture{}, nil, 0, docker, false, ""},
		"a privileged one":                     {Posture{Privileged: true}, nil, 0, allCapabilities, true, "privileged"},
		"node agents share its network":        {Posture{HostNetwork: true}, nil, 0, docker, false, "host network"},
		"the node's processes":                 {Posture{HostPID: true, HostNetwork: true}, nil, 0, docker, true, "host PID, host network"},
		"a capability":                         {Posture{}, nil, 0, docker | sysAdmin, true, "capability SYS_ADMIN"},
		"a capability of another user":         {Posture{}, nil, 1000, sysAdmin, true, "capability SYS_ADMIN"},
		"all capabilities":                     {Posture{}, nil, 0, allCapabilities, true, "all capabilities"},
		"all capabilities in a user namespace": {Posture{}, nil, 100000, allCapabilities, false, ""},
		"the node's root directory":            {Posture{}, []Mount{{"/", "/host"}}, 1000, 0, true, "host path /"},
		"a sensitive directory":                {Posture{}, []Mount{{"/etc/kubernetes", "/k"}}, 1000, 0, true, "host path /etc/kubernetes"},
		"what holds one":                       {Posture{}, []Mount{{"/var/lib/", "/v"}}, 1000, 0, true, "host path /var/lib"},
		"another directory":                    {Posture{}, []Mount{{"/var/log", "/v"}, {"/srv", "/s"}}, 1000, 0, false, ""},
		"all pods' directories":                {Posture{}, []Mount{{"/var/lib/kubelet/pods", "/p"}, {"/etc", "/e"}}, 1000, 0, true, "host path /etc, host path /var/lib/kubelet/pods"},
		"a runtime's socket":                   {Posture{}, []Mount{{"/var/run/docker.sock", "/d.sock"}}, 1000, 0, true, "runtime socket /var/run/docker.sock"},
		"a directory with it":                  {Posture{}, []Mount{{"/run", "/host/run"}}, 1000, 0, true, "runtime socket /run"},
		"a device":                             {Posture{}, []Mount{{"/dev/sda", "/dev/sda"}}, 1000, 0, true, "device /dev/sda"},
		"what the kubelet and runtimes mount into every container": {Posture{}, []Mount{
			{"/var/lib/kubelet/pods/8f1c/etc-hosts", "/etc/hosts"},
			{"/var/lib/kubelet/pods/8f1c/volumes/kubernetes.io~projected/kube-api-access-x", "/var/run/secrets/kubernetes.io/serviceaccount"},
			{"/var/lib/docker/volumes/data/_data", "/data"}, {"data", "/data2"}, {"/dev/shm", "/dev/shm"},
		}, 1000, 0, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := test.posture
			p.Mounted(test.mounts, sensitive)
			p.ran(test.uid, test.caps)
			assert.Equal(t, test.sensitive, p.Sensitive())
			assert.Equal(t, test.reasons, p.Reasons())
			assert.Equal(t, test.uid == 0, p.Root)
		})
	}
}
