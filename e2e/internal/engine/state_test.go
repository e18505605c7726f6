package engine

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEachProcessHasACopyOfTheStateAndTheFirstWholeOneIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline")
	write(t, file, "before")
	s, err := openState(Request{State: file})
	require.NoError(t, err)
	defer s.clean()
	var copies []string
	for range 3 {
		config, path, err := s.give(json.RawMessage(`{"max_files":12345678901234567,"baseline":{"node":"n","file":"/elsewhere"}}`))
		require.NoError(t, err)
		assert.JSONEq(t, `{"max_files":12345678901234567,"baseline":{"node":"n","file":"`+path+`","audit_file":"`+path+`"}}`, string(config))
		assert.Contains(t, string(config), "12345678901234567", "numbers keep their digits")
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, "before", string(content))
		copies = append(copies, path)
	}
	write(t, copies[0], "killed in the middle")
	write(t, copies[1], "first")
	write(t, copies[2], "second")
	s.keep(copies[1])
	s.keep(copies[2])
	require.NoError(t, s.commit())
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "first", string(content))
	s.clean()
	assert.NoDirExists(t, s.dir)
}

func TestAReplayWithoutStateLeavesTheInitConfigAlone(t *testing.T) {
	s, err := openState(Request{})
	require.NoError(t, err)
	config, path, err := s.give(json.RawMessage(`{"a": 1}`))
	require.NoError(t, err)
	assert.Equal(t, `{"a": 1}`, string(config))
	assert.Empty(t, path)
	s.keep(path)
	require.NoError(t, s.commit())
}

func TestAPluginThatLearnsNothingLeavesNoState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline")
	s, err := openState(Request{State: file})
	require.NoError(t, err)
	defer s.clean()
	_, path, err := s.give(nil)
	require.NoError(t, err)
	assert.NoFileExists(t, path)
	s.keep(path)
	require.NoError(t, s.commit())
	assert.NoFileExists(t, file)

	_, _, err = s.give(json.RawMessage(`{"baseline": 3}`))
	assert.ErrorContains(t, err, "baseline: want a mapping of option: value")
}

func TestAWordOfAShellIsWhatTheShellReads(t *testing.T) {
	for _, word := range []string{"plain/word-1.0", "", "a b", "it's", `{"a": "$HOME \n"}`, "*", "a\nb", "ü", "-x", "~"} {
		out, err := exec.Command("sh", "-c", "printf %s "+ShellWord(word)).Output()
		require.NoError(t, err)
		assert.Equal(t, word, string(out))
	}
	assert.Equal(t, "A=1 B='x y' run 'a b'", shellLine([]string{"A=1", "B=x y"}, "run", "a b"))
}

// The command that people paste gives the alerts of the replay.
func TestACommandCanBePasted(t *testing.T) {
	for name, eng := range map[string]func(*testing.T) Engine{
		"sysdig": func(t *testing.T) Engine { return realSysdig(t) },
		"falco":  func(t *testing.T) Engine { return realFalco(t, "") },
	} {
		t.Run(name, func(t *testing.T) {
			eng := eng(t)
			t.Setenv("TMPDIR", t.TempDir())
			req := Request{Capture: staging, Rules: []string{coreRules}, InitConfig: json.RawMessage(`{"window":"5m"}`)}
			alerts, err := eng.Replay(t.Context(), req)
			require.NoError(t, err)
			line, err := eng.Command(req, "Staging Write")
			require.NoError(t, err)
			cmd := exec.Command("sh", "-c", line)
			cmd.Dir = t.TempDir()
			out, err := cmd.Output()
			require.NoError(t, err)
			for _, a := range alerts {
				if a.Rule == "Staging Write" {
					assert.Contains(t, string(out), a.Output[:60])
				}
			}

			line, err = eng.Command(req, "")
			require.NoError(t, err)
			out, err = exec.Command("sh", "-c", line).Output()
			require.NoError(t, err)
			assert.Empty(t, string(out))
		})
	}
}

func TestRulesOfAnotherEngineVersionAreRefusedBeforeFalcoRuns(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	write(t, rules, "- required_engine_version: 0.99.0\n"+oneRule)
	f := &Falco{path: "/no/falco", version: "0.44.1", engine: "0.62.0"}
	_, err := f.Replay(t.Context(), Request{Capture: staging, Rules: []string{rules}})
	require.EqualError(t, err, "run Falco 0.44.1: "+rules+
		":1:3: the rules require engine version 0.99.0, this engine has 0.62.0: use a Falco with the required one")
	f.engine = ""
	assert.NoError(t, f.checkEngine([]string{rules}), "an engine that does not tell is not held against it")
}
