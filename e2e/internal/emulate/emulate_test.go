package emulate

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

func TestWhatMustComeIsWhatTheRulesSay(t *testing.T) {
	set, err := ruleset.Load("../../../macros", "../../../rules")
	require.NoError(t, err)
	for _, interval := range []time.Duration{time.Second, time.Minute} {
		for _, technique := range Catalogue(Options{Interval: interval}) {
			assert.NotEmpty(t, technique.Adversary.Expect, technique.Name)
			for _, s := range technique.Scenes() {
				for _, e := range s.Expect {
					r, ok := set.Rule(e.Rule)
					if assert.True(t, ok, "%s expects %q, which is no rule", s.Name, e.Rule) {
						assert.Equal(t, r.Priority, e.Priority, "%s: %s", s.Name, e.Rule)
					}
				}
			}
			// What a twin may cause is told of what it is, never of what it does.
			for _, e := range technique.Twin.Expect {
				assert.Equal(t, sensitive, e.Rule)
				assert.True(t, technique.Privileged)
			}
		}
	}
}

func TestWhatTheAuditLogTellsMayComeWhereThereIsOne(t *testing.T) {
	set, err := ruleset.Load("../../../macros", "../../../rules")
	require.NoError(t, err)
	for _, name := range []string{sensitivePod, entered} {
		r, ok := set.Rule(name)
		require.True(t, ok, name)
		assert.Equal(t, ruleset.PriorityNotice, r.Priority)
	}
	stream, err := Find(Catalogue(Options{}), []string{"stream"})
	require.NoError(t, err)
	for name, want := range map[string]bool{Kubectl: true, Podman: false, Process: false} {
		var b bytes.Buffer
		require.NoError(t, WriteExpect(&b, stream, Open(name, Config{Namespace: "n"})))
		assert.Equal(t, want, strings.Contains(b.String(), "rule: "+sensitivePod+"\n    priority: NOTICE\n    count: {min: 0, max: 2}\n"), name)
		assert.Equal(t, want, strings.Contains(b.String(), "rule: "+entered+"\n    priority: NOTICE\n    count: {min: 0, max: 4}\n"), name)
	}
}

// A runtime of pods ends a command when the last of its standard output is closed.
func TestWhatGoesOnInTheBackgroundHoldsNoStep(t *testing.T) {
	steps := 0
	for _, technique := range Catalogue(Options{Interval: time.Second}) {
		for _, s := range technique.Scenes() {
			for _, step := range s.Steps {
				if !strings.HasSuffix(step.Script, "&") {
					continue
				}
				steps++
				dir := t.TempDir()
				script := strings.NewReplacer("/srv/", dir+"/", "/var/tmp/", dir+"/").Replace(step.Script)
				cmd := exec.Command("sh", "-c", "receive() { sleep 60; }\nserve() { sleep 60; }\n"+script)
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				out, err := cmd.StdoutPipe()
				require.NoError(t, err)
				require.NoError(t, cmd.Start())
				closed := make(chan error, 1)
				go func() {
					_, err := io.Copy(io.Discard, out)
					closed <- err
				}()
				select {
				case err := <-closed:
					assert.NoError(t, err)
				case <-time.After(10 * time.Second):
					assert.Fail(t, "still open", "%s: %s", s.Name, step.Script)
				}
				require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
				require.NoError(t, cmd.Wait())
			}
		}
	}
	assert.NotZero(t, steps)
}

func TestScenesAreWhole(t *testing.T) {
	scenes := map[string]bool{}
	for _, technique := range Catalogue(Options{Interval: time.Second}) {
		assert.NotEmpty(t, technique.Attack)
		for _, s := range technique.Scenes() {
			assert.Regexp(t, `^[a-z]+(-[a-z]+)*$`, s.Name)
			assert.False(t, scenes[s.Name], "two scenes are called %s", s.Name)
			scenes[s.Name] = true
			names := []string{sinkName, ""}
			for _, c := range s.Containers {
				assert.NotContains(t, names, c.Name)
				names = append(names, c.Name)
				assert.True(t, !c.Privileged || technique.Privileged, "%s starts a privileged container without saying so", s.Name)
			}
			for _, step := range s.Steps {
				assert.Contains(t, names, step.In, s.Name)
				assert.NotEmpty(t, step.In)
			}
			for _, e := range s.Expect {
				assert.Contains(t, names, e.Container, s.Name)
			}
		}
	}
}

// TestNoScriptConnectsElsewhere: a connection begins at an address that only the scene's loopback interface has, so it cannot be
// made where that was not set up, and ends at one of the sink's or the scene's.
func TestNoScriptConnectsElsewhere(t *testing.T) {
	own := strings.Fields(sinkScript)[2:]
	begins := regexp.MustCompile(`\b(send|fetch) (\S+) (\S+) `)
	for _, technique := range Catalogue(Options{Interval: time.Second}) {
		for _, s := range technique.Scenes() {
			for _, step := range s.Steps {
				assert.NotContains(t, step.Script, "/dev/tcp")
				for _, m := range begins.FindAllStringSubmatch(step.Script, -1) {
					assert.Contains(t, own, m[2], step.Script)
					assert.Contains(t, own, m[3], step.Script)
					assert.NotEqual(t, m[2], m[3], "for the rules that is loopback")
				}
			}
		}
	}
	assert.True(t, netip.MustParsePrefix("203.0.113.0/24").Contains(netip.MustParseAddr(outside)), "a documentation range")
	for _, addr := range own[1:] {
		assert.True(t, netip.MustParseAddr(addr).IsPrivate(), addr)
	}
}

func TestFunctionsAndScriptsAreShellAndPerl(t *testing.T) {
	check := func(script string) {
		out, err := exec.Command("sh", "-n", "-c", script).CombinedOutput()
		assert.NoError(t, err, "%s\n%s", out, script)
	}
	check(Functions())
	check(complete(sinkScript))
	for _, technique := range Catalogue(Options{Interval: time.Second}) {
		for _, s := range technique.Scenes() {
			for _, step := range s.Steps {
				check(complete(step.Script))
			}
		}
	}
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("there is no perl")
	}
	for _, m := range regexp.MustCompile(`(?s)perl -MIO::Socket::INET -e '(.*?)'`).FindAllStringSubmatch(Functions(), -1) {
		out, err := exec.Command("perl", "-MIO::Socket::INET", "-Mstrict", "-c", "-e", m[1]).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}

func TestAScriptGetsTheFunctionsThatItCalls(t *testing.T) {
	got := complete("make_data /srv 1; tar c /srv | send a b 1")
	assert.Contains(t, got, "\nmake_data() {")
	assert.Contains(t, got, "\nsend() {")
	assert.NotContains(t, got, "receive()")
	assert.True(t, strings.HasPrefix(got, "set -e\n"))
}

func TestPiecesAreSlowWhenAWindowHasLessThanTheRuleOnEgressAsksFor(t *testing.T) {
	for interval, want := range map[time.Duration]bool{
		0: false, time.Second: false, 37 * time.Second: false, 40 * time.Second: true, time.Hour: true,
	} {
		assert.Equal(t, want, slowly(interval), interval)
	}
	assert.Equal(t, 40*time.Minute, PiecesTime(time.Minute))
	assert.GreaterOrEqual(t, numPieces*pieceBytes, 2*egressFrom, "enough to tell")
}

func TestACommandIsPrintedAsOneWouldTypeIt(t *testing.T) {
	argv := []string{"printf", "%s\n", "a b", "", "it's", "$HOME", "x=1", "*", "line\nline"}
	out, err := exec.Command("sh", "-c", Command{Argv: argv}.String()).Output()
	require.NoError(t, err)
	assert.Equal(t, "a b\n\nit's\n$HOME\nx=1\n*\nline\nline\n", string(out))

	out, err = exec.Command("sh", "-c", Command{Argv: []string{"cat"}, Stdin: "$HOME `x`\n"}.String()).Output()
	require.NoError(t, err)
	assert.Equal(t, "$HOME `x`\n", string(out))
}

func shell(script string, args ...string) Command {
	return Command{Argv: append([]string{"sh", "-c", script, "sh"}, args...)}
}

func TestWhatWasSetUpIsClearedUp(t *testing.T) {
	for _, tc := range []struct {
		name           string
		setUp, act     string
		interrupt      bool // while it acts
		want           string
		acted, cleared bool
	}{
		{name: "when all went well", setUp: "true", act: ": >$1/acted", acted: true, cleared: true},
		{name: "when setting up fails", setUp: "echo no room; exit 3", act: ": >$1/acted", want: "sh: exit status 3: no room", cleared: true},
		{name: "when a step fails", setUp: "true", act: "exit 4", want: "exit status 4", cleared: true},
		{
			name: "when it is interrupted", setUp: "true", act: ": >$1/acted; sleep 60 & echo $! >$1/pid; wait", interrupt: true,
			want: "context canceled", acted: true, cleared: true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			exists := func(name string) bool {
				_, err := os.Stat(filepath.Join(dir, name))
				return err == nil
			}
			p := Plan{
				SetUp: []Command{shell(": >$1/set; "+tc.setUp, dir)},
				Act:   []Command{shell(tc.act, dir)},
				Clear: []Command{shell("rm $1/set", dir), shell(": >$1/cleared", dir)},
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.interrupt {
				go func() {
					for !exists("pid") {
						time.Sleep(5 * time.Millisecond)
					}
					cancel()
				}()
			}
			var log bytes.Buffer
			start := time.Now()
			err := p.Run(ctx, &log)
			if tc.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.want)
			}
			assert.Less(t, time.Since(start), 20*time.Second)
			assert.Equal(t, tc.acted, exists("acted"))
			assert.Equal(t, tc.cleared, exists("cleared"))
			assert.False(t, exists("set"))
			if tc.interrupt {
				pid, err := os.ReadFile(filepath.Join(dir, "pid"))
				require.NoError(t, err)
				require.Eventually(t, func() bool { return !running(strings.TrimSpace(string(pid))) }, 5*time.Second, 10*time.Millisecond,
					"what the step started ends with it")
			}
		})
	}
}

// running tells whether a process is there and no zombie.
func running(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestWhatCouldNotBeClearedUpIsToldWithTheCommand(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	err := Plan{Clear: []Command{shell("exit 5", "a b"), shell(": >$1/second", dir)}}.Run(t.Context(), &log)
	require.EqualError(t, err, "clear up: 1 of 2 commands failed, see above")
	assert.Equal(t, "  clear up: sh: exit status 5: ; by hand:\nsh -c 'exit 5' sh 'a b'\n", log.String())
	assert.FileExists(t, filepath.Join(dir, "second"))
}

func TestSettingUpIsNotCutShort(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	p := Plan{
		SetUp: []Command{shell(": >$1/begun; sleep 0.3; : >$1/made", dir), shell(": >$1/next", dir)},
		Clear: []Command{shell("rm $1/made", dir)},
	}
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
				cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	require.ErrorIs(t, p.Run(ctx, &bytes.Buffer{}), context.Canceled)
	assert.NoFileExists(t, filepath.Join(dir, "made"), "it was made whole, and removed")
	assert.NoFileExists(t, filepath.Join(dir, "next"), "and nothing was made after the interrupt")
}

func TestEveryThingThatIsMadeIsRemoved(t *testing.T) {
	for _, technique := range Catalogue(Options{Interval: time.Second}) {
		for _, s := range technique.Scenes() {
			p := Open(Podman, Config{Image: "i", Namespace: "n", Limit: time.Minute, Dir: "/tmp"}).Plan(s, "abc")
			var b strings.Builder
			for _, c := range p.Clear {
				b.WriteString(c.String() + "\n")
			}
			removed := b.String()
			for _, c := range p.SetUp {
				switch {
				case slices.Contains(c.Argv, "run"):
					name := c.Argv[slices.Index(c.Argv, "--name")+1]
					assert.Contains(t, removed, " container "+name+" rm --force --time 0 "+name+"\n")
				case slices.Contains(c.Argv, "volume"):
					assert.Contains(t, removed, " volume rm --force "+c.Argv[len(c.Argv)-1]+"\n")
				default:
					require.Equal(t, "mkdir", c.Argv[0])
					assert.Contains(t, removed, "rm -rf "+c.Argv[2]+"\n")
				}
			}
		}
	}
}

func TestAPodIsPrivilegedOnlyWhereItsTechniqueIs(t *testing.T) {
	for _, technique := range Catalogue(Options{Interval: time.Second}) {
		for _, s := range technique.Scenes() {
			p := Open(Kubectl, Config{Image: "i", Namespace: "n", Limit: time.Minute}).Plan(s, "abc")
			require.True(t, json.Valid([]byte(p.SetUp[0].Stdin)))
			assert.Equal(t, technique.Privileged, strings.Contains(p.SetUp[0].Stdin, `"privileged": true`), s.Name)
			assert.Equal(t, technique.Privileged, strings.Contains(p.SetUp[0].Stdin, `"hostPath"`), s.Name)
			assert.Contains(t, p.SetUp[0].Stdin, `"automountServiceAccountToken": false`)
		}
	}
}
