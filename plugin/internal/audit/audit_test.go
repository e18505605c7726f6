package audit_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/audit"
)

var sensitive = []string{"/etc", "/var/lib/kubelet"}

// event is the frame of an audit event around what a test is about.
func event(verb, uri, ref, more string) string {
	return `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","stage":"ResponseComplete","requestURI":"` + uri +
		`","verb":"` + verb + `","user":{"username":"oidc:alice@shop.example"},"objectRef":{` + ref + `},"responseStatus":{"code":201}` + more + `}`
}

func parse(t *testing.T, text string) *audit.Event {
	e, err := audit.Parse([]byte(text), sensitive)
	require.NoError(t, err)
	return e
}

func TestActions(t *testing.T) {
	const (
		pod  = `"resource":"pods","namespace":"shop","name":"db-0"`
		node = `"resource":"nodes","subresource":"proxy","name":"node-1"`
	)
	for _, test := range []struct {
		name, verb, uri, ref string
		action               audit.Action
		target, command      string
	}{
		{"a command", "create", "/api/v1/namespaces/shop/pods/db-0/exec?command=sh&command=-c&command=id&container=db&stdout=true", pod + `,"subresource":"exec"`, audit.Exec, "shop/db-0/db", "sh -c id"},
		{"kubectl cp out of a pod", "get", "/x?command=tar&command=cf&command=-&command=%2Fdata&container=db", pod + `,"subresource":"exec"`, audit.Copy, "shop/db-0/db", "tar cf - /data"},
		{"kubectl cp into a pod", "create", "/x?command=tar&command=-xmf&command=-&command=-C&command=%2Ftmp", pod + `,"subresource":"exec"`, audit.Copy, "shop/db-0", "tar -xmf - -C /tmp"},
		{"a tar to a file", "create", "/x?command=tar&command=cf&command=%2Ftmp%2Fx", pod + `,"subresource":"exec"`, audit.Exec, "shop/db-0", "tar cf /tmp/x"},
		{"a broken query", "create", "/x?command=%zz&command=id", pod + `,"subresource":"exec"`, audit.Exec, "shop/db-0", "id"},
		{"attaching", "create", "/x?container=db", pod + `,"subresource":"attach"`, audit.Attach, "shop/db-0/db", ""},
		{"a forwarded port", "create", "/x", pod + `,"subresource":"portforward"`, audit.PortForward, "shop/db-0", ""},
		{"the proxy of a pod", "get", "/api/v1/namespaces/shop/pods/db-0/proxy/dump", pod + `,"subresource":"proxy"`, audit.PortForward, "shop/db-0", ""},
		{"a command through the node's proxy", "create", "/api/v1/nodes/node-1/proxy/run/shop/db-0/db?cmd=cat%20/etc/passwd", node, audit.Exec, "shop/db-0/db", "cat /etc/passwd"},
		{"kubectl cp through it", "get", "/api/v1/nodes/node-1/proxy/exec/shop/db-0/0b1c/db?command=tar&command=cf&command=-&command=/data", node, audit.Copy, "shop/db-0/db", "tar cf - /data"},
		{"a port through it", "create", "/api/v1/nodes/node-1/proxy/portForward/shop/db-0", node, audit.PortForward, "shop/db-0", ""},
		{"figures of a node", "get", "/api/v1/nodes/node-1/proxy/stats/summary", node, audit.Other, "node-1", ""},
		{"a path that is none", "get", "/api/v1/nodes/node-1/proxy/run", node, audit.Other, "node-1", ""},
		{"a deployment that is only tried", "create", "/x?dryRun=All", pod, audit.Other, "shop/db-0", ""},
		{"one secret", "get", "/x", `"resource":"secrets","namespace":"shop","name":"tls"`, audit.ReadSecret, "shop/tls", ""},
		{"all secrets", "list", "/x", `"resource":"secrets"`, audit.ListSecrets, "", ""},
		{"a token", "create", "/x", `"resource":"serviceaccounts","subresource":"token","namespace":"shop","name":"web"`, audit.Token, "shop/web", ""},
		{"a secret that is made", "create", "/x", `"resource":"secrets","namespace":"shop","name":"tls"`, audit.Other, "shop/tls", ""},
		{"a log", "get", "/x", pod + `,"subresource":"log"`, audit.Other, "shop/db-0", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := parse(t, event(test.verb, test.uri, test.ref, ""))
			assert.Equal(t, test.action, e.Action)
			assert.Equal(t, test.target, e.Target())
			assert.Equal(t, test.command, e.Command)
			assert.Equal(t, "oidc:alice@shop.example", e.User)
		})
	}
}

func TestDeployments(t *testing.T) {
	const spec = `"containers":[{"image":"registry:5000/shop/web:1.2@sha256:0011"},{"image":"busybox","securityContext":{%s}}]`
	for _, test := range []struct {
		name, resource, object string
		reasons                string
		root                   bool
	}{
		{"an ordinary pod", "pods", `{"spec":{` + spec + `}}`, "", false},
		{"a privileged one", "pods", `{"spec":{"hostPID":true,` + strings.Replace(spec, "%s", `"privileged":true,"runAsUser":0`, 1) + `}}`, "privileged, host PID", true},
		{"a template with host paths", "deployments", `{"spec":{"template":{"spec":{"volumes":[{"hostPath":{"path":"/"}},{"hostPath":{"path":"/run/containerd/containerd.sock"}},{"emptyDir":{}}],` + spec + `}}}}`,
			"runtime socket /run/containerd/containerd.sock, host path /", false},
		{"a capability in a cron job", "cronjobs", `{"spec":{"jobTemplate":{"spec":{"template":{"spec":{` + strings.Replace(spec, "%s", `"capabilities":{"add":["CAP_SYS_ADMIN"]}`, 1) + `}}}}}}`,
			"capability SYS_ADMIN", false},
		{"an init container with all capabilities", "daemonsets", `{"spec":{"template":{"spec":{"initContainers":[{"securityContext":{"capabilities":{"add":["all"]}}}],` + spec + `}}}}`,
			"all capabilities", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			object := strings.Replace(test.object, "%s", "", 1)
			e := parse(t, event("create", "/x", `"resource":"`+test.resource+`","namespace":"shop"`, `,"requestObject":`+object))
			assert.Equal(t, audit.Deploy, e.Action)
			assert.Equal(t, test.reasons, e.Posture.Reasons())
			assert.Equal(t, test.root, e.Posture.Root)
			assert.Equal(t, []string{"registry:5000/shop/web", "busybox"}, e.Images)
		})
	}
	t.Run("a generated name is in the answer", func(t *testing.T) {
		e := parse(t, event("create", "/x", `"resource":"pods","namespace":"shop"`, `,"responseObject":{"metadata":{"name":"web-x7k2p"},"spec":{}}`))
		assert.Equal(t, "shop/web-x7k2p", e.Target())
	})
	t.Run("without the object it is a deployment of nothing known", func(t *testing.T) {
		e := parse(t, event("create", "/x", `"resource":"pods","namespace":"shop","name":"web"`, ""))
		assert.Equal(t, audit.Deploy, e.Action)
		assert.False(t, e.Posture.Sensitive())
	})
}

func TestAPatchIsADeploymentWhereItMayChangeWhatRuns(t *testing.T) {
	for patch, want := range map[string]audit.Action{
		`{"spec":{"template":{"spec":{"hostPID":true}}}}`:                                                           audit.Deploy,
		`{"metadata":{"labels":{"a":"b"}}}`:                                                                         audit.Other,
		`{"metadata":{"$deleteFromPrimitiveList/finalizers":["batch.kubernetes.io/job-tracking"]}}`:                 audit.Other,
		`[{"op":"replace","path":"/spec/hostPID","value":true}]`:                                                    audit.Deploy,
		`[{"op":"add","path":"/metadata/labels/a","value":"b"},{"op":"replace","path":"/spec/replicas","value":3}]`: audit.Deploy,
		`[{"op":"add","path":"/metadata/annotations/a","value":"b"}]`:                                               audit.Other,
		`[{"op":"replace","path":"","value":{}}]`:                                                                   audit.Deploy,
		`null`: audit.Deploy, // unknown
	} {
		e := parse(t, event("patch", "/x", `"resource":"daemonsets","namespace":"shop","name":"agent"`, `,"requestObject":`+patch+`,"responseObject":{"spec":{}}`))
		assert.Equal(t, want, e.Action, patch)
	}
}

func TestWhatAControllerMakesOfADeploymentIsTheDeployersDoing(t *testing.T) {
	const pod = `,"responseObject":{"metadata":{"name":"agent-x7k2p"%s},"spec":{"hostPID":true,"containers":[]}}`
	const owned = `,"ownerReferences":[{"kind":"DaemonSet","name":"agent","controller":true}]`
	for _, test := range []struct {
		name, user, owner string
		want              audit.Action
	}{
		{"a controller's pod", "system:serviceaccount:kube-system:daemon-set-controller", owned, audit.Other},
		{"a pod of controllers that share a name", "system:kube-controller-manager", owned, audit.Other},
		{"a controller's name on a pod of its own", "system:serviceaccount:kube-system:daemon-set-controller", "", audit.Deploy},
		{"an owner that does not control it", "system:serviceaccount:kube-system:job-controller", strings.Replace(owned, "true", "false", 1), audit.Deploy},
		{"somebody who names an owner", "oidc:mallory@shop.example", owned, audit.Deploy},
		{"another account of the system's namespace", "system:serviceaccount:kube-system:node-agent", owned, audit.Deploy},
		{"a controller of somebody else's", "system:serviceaccount:ci:rollout-controller", owned, audit.Deploy},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := event("create", "/x", `"resource":"pods","namespace":"monitoring"`, strings.Replace(pod, "%s", test.owner, 1))
			e := parse(t, strings.Replace(text, "oidc:alice@shop.example", test.user, 1))
			assert.Equal(t, test.want, e.Action)
			assert.Equal(t, "monitoring/agent-x7k2p", e.Target())
		})
	}
}

func TestWhatWasNotDoneIsNoAction(t *testing.T) {
	secret := `"resource":"secrets","namespace":"shop","name":"tls"`
	refused := strings.Replace(event("get", "/x", secret, ""), `"code":201`, `"code":403`, 1)
	received := strings.Replace(event("get", "/x", secret, ""), "ResponseComplete", "RequestReceived", 1)
	for _, text := range []string{refused, received, strings.Replace(refused, `"responseStatus":{"code":403}`, `"responseStatus":null`, 1)} {
		assert.Equal(t, audit.Other, parse(t, text).Action)
	}
}

func TestTheImpersonatedUserActs(t *testing.T) {
	e := parse(t, event("get", "/x", "", `,"impersonatedUser":{"username":"system:admin"}`))
	assert.Equal(t, "system:admin", e.User)
}

func TestBadEventsAreRefused(t *testing.T) {
	for _, text := range []string{"", "x", "null", "[]", "{}", `"text"`, `{"kind":"Pod"}`, `{"kind":"Event","apiVersion":"audit.k8s.io/v1","user":7}`} {
		_, err := audit.Parse([]byte(text), nil)
		assert.ErrorIs(t, err, audit.ErrMalformed, text)
	}
	_, err := audit.Parse([]byte(`{"kind":"Event","apiVersion":"audit.k8s.io/v2","user":{"username":"a"}}`), nil)
	assert.ErrorIs(t, err, audit.ErrVersion)
	e, err := audit.Parse([]byte(`{"stage":"ResponseComplete","user":{"username":"a"},"objectRef":null}`), nil)
	require.NoError(t, err, "items of a list have no kind and version")
	assert.Equal(t, "a", e.User)
}

func FuzzParse(f *testing.F) {
	logs, err := filepath.Glob("../../../e2e/captures/audit/*.jsonl")
	require.NoError(f, err)
	require.NotEmpty(f, logs)
	for _, name := range logs {
		file, err := os.Open(name)
		require.NoError(f, err)
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for n := 0; n < 20 && lines.Scan(); n++ {
			f.Add(lines.Bytes())
		}
		require.NoError(f, file.Close())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := audit.Parse(data, sensitive)
		if err != nil {
			assert.Nil(t, e)
			return
		}
		assert.NotEmpty(t, e.User)
		_ = e.Target()
		_ = e.Posture.Reasons()
	})
}
