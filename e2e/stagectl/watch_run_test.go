package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/falcosecurity/client-go/pkg/api/outputs"
	"github.com/falcosecurity/client-go/pkg/api/schema"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// watchCommands are what the scripts of stagectl watch need beside it.
var watchCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"post":    postCommand,
	"refuses": refusesCommand,
}

// postCommand posts a file as Falco does, as soon as somebody listens, and wants a status: post URL FILE STATUS.
func postCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: post URL FILE STATUS")
	}
	body := ts.ReadFile(args[1])
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Post(args[0], "application/json", strings.NewReader(body))
		if err != nil && time.Now().Before(deadline) {
			continue
		}
		ts.Check(err)
		ts.Check(resp.Body.Close())
		if got := strconv.Itoa(resp.StatusCode); got != args[2] {
			ts.Fatalf("POST of %s: got status %s, want %s", args[1], got, args[2])
		}
		return
	}
}

// refusesCommand wants stagectl watch to end with status 2, a text on stderr and nothing on stdout: refuses TEXT ARG...
func refusesCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: refuses TEXT ARG...")
	}
	script := `out=$(stagectl watch "$@" </dev/null 2>err.txt); status=$?; test -z "$out" || { echo "$out" >&2; exit 9; }; test $status = 2`
	err := ts.Exec("sh", append([]string{"-c", script, "sh"}, args[1:]...)...)
	said := ts.ReadFile("err.txt")
	if err != nil || !strings.Contains(said, "stagectl: ") || !strings.Contains(said, args[0]) {
		ts.Fatalf("stagectl watch %s: %v: it says\n%swant status 2 and\n%s", strings.Join(args[1:], " "), err, said, args[0])
	}
}

// freeAddress is an address of loopback that nobody uses.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// onceFalco hands one alert to whoever asks.
type onceFalco struct {
	outputs.UnimplementedServiceServer
	once sync.Once
}

func (f *onceFalco) Sub(stream outputs.Service_SubServer) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		var err error
		f.once.Do(func() {
			err = stream.Send(&outputs.Response{
				Time: timestamppb.New(time.Date(2026, 11, 23, 17, 2, 23, 0, time.UTC)), Priority: schema.Priority_NOTICE, Rule: "Staged",
				OutputFields: map[string]string{"staging.bytes": "18446744073709551615"},
			})
		})
		if err != nil {
			return err
		}
	}
}

// serveOnce serves a onceFalco and returns its target, and a folder for more.
func serveOnce(t *testing.T) (target, dir string, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "watch-") // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "falco.sock"))
	require.NoError(t, err)
	server := grpc.NewServer()
	outputs.RegisterServiceServer(server, &onceFalco{})
	go func() { _ = server.Serve(l) }() // it ends with Stop
	t.Cleanup(server.Stop)
	return "unix://" + l.Addr().String(), dir, server.Stop
}

func TestAlertsOfGRPCAreHeldAgainstWhatIsExpected(t *testing.T) {
	target, dir, _ := serveOnce(t)
	expect := filepath.Join(dir, "expect.yaml")
	require.NoError(t, os.WriteFile(expect, []byte("expect: [{rule: Staged, fields: {staging.bytes: 18446744073709551615}}]"), 0o600))
	status, stdout, stderr := stagectl(t.Context(), "watch", "--grpc", target, "--expect", expect, "--timeout", "20s", "--settle", "0s")
	assert.Equal(t, exitOK, status, stderr)
	assert.Contains(t, stdout, "staged 16 EiB")
	assert.Contains(t, stdout, "passed: 1 alert, 0 missing, 0 unexpected\n")
}

func TestAConnectionThatIsLostLeavesNoVerdict(t *testing.T) {
	target, dir, stop := serveOnce(t)
	expect := filepath.Join(dir, "expect.yaml")
	require.NoError(t, os.WriteFile(expect, []byte("expect: [{rule: Staged}]"), 0o600))
	var stderr bytes.Buffer
	out := &actingWriter{act: stop}
	status := run(t.Context(), []string{"watch", "--grpc", target, "--expect", expect, "--timeout", "20s"}, console{stdout: out, stderr: &stderr})
	assert.Equal(t, exitError, status, "an alert that must not come can be lost with the connection")
	assert.Contains(t, stderr.String(), "stagectl: receive alerts from "+target+": the connection was lost: ")
	assert.NotContains(t, out.String(), "passed")
}

func TestAnInterruptEndsAWatchAndLeavesNoVerdict(t *testing.T) {
	dir := t.TempDir()
	alerts, expect := filepath.Join(dir, "alerts.json"), filepath.Join(dir, "expect.yaml")
	require.NoError(t, os.WriteFile(alerts, []byte(`{"rule":"Staged","priority":"Notice","time":"2026-11-23T17:02:23Z"}`+"\n"), 0o600))
	require.NoError(t, os.WriteFile(expect, []byte("expect: [{rule: Staged}]"), 0o600))
	for _, tc := range []struct {
		name string
		args []string
		want int
	}{
		{"the end of looking on is no error", nil, exitOK},
		{"a verdict cannot be given before the time is over", []string{"--expect", expect, "--timeout", "1h"}, exitError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			out := &actingWriter{act: interrupt}
			var stderr bytes.Buffer
			status := run(ctx, append([]string{"watch", "--follow", "--summary", alerts}, tc.args...), console{stdout: out, stderr: &stderr})
			assert.Equal(t, tc.want, status)
			assert.Contains(t, out.String(), "1  Notice    Staged\n", "the summary is of what came")
			assert.NotContains(t, out.String(), "passed")
			if tc.want == exitError {
				assert.Equal(t, "stagectl: interrupted\n", stderr.String())
			}
		})
	}
}

// actingWriter does something when something is written.
type actingWriter struct {
	bytes.Buffer
	act func()
}

func (w *actingWriter) Write(p []byte) (int, error) {
	w.act()
	return w.Buffer.Write(p)
}

func TestAColumnStaysWhereALongNameHasMovedIt(t *testing.T) {
	var out bytes.Buffer
	s := newAlertStream(console{stdout: &out, stdoutTerminal: true})
	a := anAlert()
	a.Rule = strings.Repeat("r", 50)
	require.NoError(t, s.show(a))
	require.NoError(t, s.show(anAlert()))
	a.Rule = strings.Repeat("r", 500)
	require.NoError(t, s.show(a))
	require.NoError(t, s.show(anAlert()))
	lines := strings.Split(out.String(), "\n")
	require.Len(t, lines, 6, "one header")
	column := func(line string) int { return strings.Index(line, "shop/web/web") }
	assert.Equal(t, column(lines[1]), column(lines[2]))
	assert.Equal(t, column(lines[2])+14, column(lines[4]), "a name that is far too long moves it no further than 64")
	assert.Regexp(t, `\x1b\[[0-9;]+mWarning\x1b\[0m`, lines[1])
}

func TestAnAlertWithoutVolumesShowsItsText(t *testing.T) {
	a := anAlert()
	a.OutputFields = nil
	a.Output = "2026-11-23T17:02:26.000537304+0000: Warning data left (file=a: Warning b)"
	assert.Equal(t, "data left (file=a: Warning b)", message(a))
	a.Output = strings.Repeat("é", 1000)
	assert.Len(t, []rune(message(a)), maxAlertMessage)
}
