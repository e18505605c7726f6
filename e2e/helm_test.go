package e2e_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const helmDir = "../examples/helm"

// dropIn is a file that is merged into Falco's configuration.
type dropIn struct {
	Plugins []struct {
		Name        string         `yaml:"name"`
		LibraryPath string         `yaml:"library_path"`
		InitConfig  map[string]any `yaml:"init_config"`
	} `yaml:"plugins"`
	LoadPlugins  []string       `yaml:"load_plugins"`
	RulesFiles   []string       `yaml:"rules_files"`
	BaseSyscalls map[string]any `yaml:"base_syscalls"`
}

// helmValues are those of Falco's chart that the example sets.
type helmValues struct {
	Extra struct {
		InitContainers []struct {
			Command      []string      `yaml:"command"`
			VolumeMounts []volumeMount `yaml:"volumeMounts"`
		} `yaml:"initContainers"`
	} `yaml:"extra"`
	Mounts struct {
		Volumes      []volume      `yaml:"volumes"`
		VolumeMounts []volumeMount `yaml:"volumeMounts"`
	} `yaml:"mounts"`
	Falco struct {
		ConfigFiles []string `yaml:"config_files"`
	} `yaml:"falco"`
}

type volume struct {
	Name string `yaml:"name"`
}

type volumeMount struct {
	Name      string `yaml:"name"`
	MountPath string `yaml:"mountPath"`
	ReadOnly  bool   `yaml:"readOnly"`
}

func readYAML(t *testing.T, name string, to any) {
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(data, to), name)
}

// TestHelmDropInIsTheOtherWithPathsOfThePod holds the two drop-ins together.
func TestHelmDropInIsTheOtherWithPathsOfThePod(t *testing.T) {
	var node, pod dropIn
	readYAML(t, "../examples/falco/config.d/falco.datastaging.yaml", &node)
	readYAML(t, filepath.Join(helmDir, "falco.datastaging.yaml"), &pod)
	require.Len(t, pod.Plugins, 1)
	assert.Equal(t, node.Plugins[0].Name, pod.Plugins[0].Name)
	assert.Equal(t, path.Base(node.Plugins[0].LibraryPath), path.Base(pod.Plugins[0].LibraryPath))
	delete(pod.Plugins[0].InitConfig, "baseline")
	assert.Equal(t, node.Plugins[0].InitConfig, pod.Plugins[0].InitConfig, "save where the baseline is")
	assert.Equal(t, node.LoadPlugins, pod.LoadPlugins)
	assert.Equal(t, node.BaseSyscalls, pod.BaseSyscalls)
	require.Len(t, pod.RulesFiles, len(node.RulesFiles))
	assert.Equal(t, path.Base(node.RulesFiles[0]), path.Base(pod.RulesFiles[0]))
}

// TestHelmValuesBringWhatTheDropInNames follows each path from the Dockerfile over the init container's volume to Falco.
func TestHelmValuesBringWhatTheDropInNames(t *testing.T) {
	var values helmValues
	readYAML(t, filepath.Join(helmDir, "values.yaml"), &values)
	var pod dropIn
	readYAML(t, filepath.Join(helmDir, "falco.datastaging.yaml"), &pod)

	require.Len(t, values.Extra.InitContainers, 1)
	init := values.Extra.InitContainers[0]
	require.Len(t, init.Command, 4)
	from, to := path.Clean(init.Command[2]), path.Clean(init.Command[3])
	brought := map[string]bool{} // paths in Falco's container
	dockerfile, err := os.ReadFile(filepath.Join(helmDir, "Dockerfile"))
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^COPY (.+) (\S+)/$`).FindAllStringSubmatch(string(dockerfile), -1) {
		for source := range strings.FieldsSeq(m[1]) {
			brought[path.Join(to, strings.TrimPrefix(m[2], from), path.Base(source))] = true
			if !strings.HasPrefix(source, "bin/") { // which make build makes
				assert.FileExists(t, filepath.Join("..", source))
			}
		}
	}
	mounted := func(p string) (volumeMount, bool) {
		i := slices.IndexFunc(values.Mounts.VolumeMounts, func(m volumeMount) bool { return p == m.MountPath || strings.HasPrefix(p, m.MountPath+"/") })
		if i < 0 {
			return volumeMount{}, false
		}
		return values.Mounts.VolumeMounts[i], true
	}
	require.Len(t, init.VolumeMounts, 1)
	assert.Equal(t, to, init.VolumeMounts[0].MountPath)
	falco, ok := mounted(to)
	require.True(t, ok)
	assert.Equal(t, init.VolumeMounts[0].Name, falco.Name, "what the init container fills is what Falco sees")

	assert.True(t, brought[pod.Plugins[0].LibraryPath], "%s is brought", pod.Plugins[0].LibraryPath)
	assert.True(t, brought[pod.RulesFiles[0]], "%s is brought", pod.RulesFiles[0])
	tuning, ok := mounted(pod.RulesFiles[1])
	assert.True(t, ok, "%s is mounted", pod.RulesFiles[1])
	assert.NotEqual(t, falco.Name, tuning.Name, "a mount within a read-only one has no place")
	assert.Contains(t, values.Falco.ConfigFiles, path.Join(to, "config.d"))
	assert.True(t, brought[path.Join(to, "config.d", "falco.datastaging.yaml")])

	file, ok := pod.Plugins[0].InitConfig["baseline"].(map[string]any)["file"].(string)
	require.True(t, ok)
	baseline, ok := mounted(file)
	assert.True(t, ok, "%s is mounted", file)
	assert.False(t, baseline.ReadOnly, "it is written")
	for _, m := range append(slices.Clone(values.Mounts.VolumeMounts), init.VolumeMounts...) {
		assert.Contains(t, values.Mounts.Volumes, volume{m.Name})
	}
}
