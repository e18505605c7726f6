package page

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	_ "image/png" // what Chromium's screenshots are
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/sweep"
	"github.com/falco-datastaging/datastaging/e2e/internal/timeline"
)

// hostile is what somebody could call a file, a program or a container; it changes the page's title where it runs.
const hostile = `"'></title></svg><script>document.title="owned"</script><img src=x onerror="document.title='owned'">` +
	`<a href="javascript:document.title='owned'">{{.}}</a>` + "\u202e\x00"

var begin = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

func hostileReplay() *timeline.Replay {
	c := &timeline.Container{
		ID: "0123456789ab", Workload: hostile, Learned: true, Story: "collected 1 MiB " + hostile + "; +1s sent 1 MiB " + hostile,
		Senders: []timeline.Peer{{Name: hostile, Amount: hostile, Class: hostile}}, Givers: []timeline.Peer{{Name: hostile, Class: "container"}},
		Receives: []timeline.Peer{{Name: "203.0.113.10:8080", Class: "external", Amount: "22 MiB"}},
	}
	for i := range 20 {
		p := timeline.Point{At: begin.Add(time.Duration(i) * time.Second)}
		for v := range timeline.NumVolumes {
			p.Volumes[v] = uint64(i) << 20
			c.Typical[v] = 5 << 20
		}
		c.Points = append(c.Points, p)
	}
	r := &timeline.Replay{Capture: hostile, Begin: begin, End: begin.Add(20 * time.Second), Window: "1m", Containers: []*timeline.Container{c}}
	for i, priority := range []string{"Notice", "Warning", hostile} {
		r.Alerts = append(r.Alerts, alert.Alert{
			Rule: hostile, Priority: priority, Output: hostile, Time: begin.Add(time.Duration(10+i) * time.Millisecond * 1000),
			OutputFields: map[string]any{"container.id": "0123456789ab", "proc.cmdline": hostile},
		})
	}
	return r
}

func hostileLog() *timeline.Replay {
	who := &timeline.Identity{User: hostile, Left: 3}
	for lane := range timeline.NumLanes {
		who.Moments[lane] = []timeline.Moment{{At: begin, Count: 1}, {At: begin.Add(5 * time.Second), Count: 7}}
		who.Deeds = append(who.Deeds, timeline.Deed{Action: hostile, Target: hostile, Detail: hostile, First: begin, Last: begin.Add(time.Second), Count: 2})
	}
	r := &timeline.Replay{Capture: hostile, Begin: begin, End: begin.Add(20 * time.Second), Identities: []*timeline.Identity{who}}
	r.Alerts = append(r.Alerts, alert.Alert{
		Rule: hostile, Priority: "Warning", Output: hostile, Time: begin.Add(time.Second),
		OutputFields: map[string]any{"audit.user": hostile, "audit.command": hostile},
	})
	return r
}

func TestWhatAnIdentityDidIsInItsLanes(t *testing.T) {
	var b bytes.Buffer
	r := &timeline.Replay{Capture: "a.jsonl", Begin: begin, End: begin.Add(10 * time.Second)}
	who := &timeline.Identity{User: "eve", Deeds: []timeline.Deed{
		{Action: "read-secret", Target: "shop/db", First: begin, Last: begin.Add(4 * time.Second), Count: 2},
		{Action: "exec", Target: "shop/web/web", Detail: "sh -c id", First: begin.Add(5 * time.Second), Last: begin.Add(5 * time.Second), Count: 1},
	}}
	who.Moments[timeline.Secrets] = []timeline.Moment{{At: begin, Count: 2}}
	who.Moments[timeline.Entries] = []timeline.Moment{{At: begin.Add(5 * time.Second), Count: 1}}
	r.Identities = []*timeline.Identity{who}
	r.Alerts = []alert.Alert{
		{Rule: "Entered", Priority: "Notice", Time: begin.Add(5 * time.Second), OutputFields: map[string]any{"audit.user": "eve"}},
		{Rule: "Other", Priority: "Notice", Time: begin.Add(5 * time.Second), OutputFields: map[string]any{"audit.user": "adam"}},
	}
	require.NoError(t, Replays(&b, []*timeline.Replay{r}))
	page := b.String()
	for _, want := range []string{
		"<p>2 reads of secrets or config maps, 1 entry into a pod. <a href=\"#r0-a1\">Alert 1: Entered</a>.</p>",
		"<desc id=\"r0-i0-lanes-d\">secrets: 2; tokens: 0; entries: 1; deployments: 0; alert 1 at &#43;5s</desc>",
		`<circle class="dot entries" cx="`, "<title>1 entry into a pod from &#43;5s on</title>",
		`<tr><th scope="row">&#43;0s</th><td>&#43;4s</td><td class="n">2</td><td class="keep">read-secret</td><td class="wrap">shop/db</td>`,
		"<code>sh -c id</code>", "<b>Other</b>",
	} {
		assert.Contains(t, page, want)
	}
}

func replayHTML(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Replays(&b, []*timeline.Replay{hostileReplay(), hostileReplay(), hostileLog()}))
	return b.Bytes()
}

// answering is an engine in whose replays one event after the other has the volumes.
type answering struct {
	engine.Engine
	volumes []string
}

func (a answering) Ask(_ context.Context, _ engine.Request, _ []engine.Query, each func(int, engine.Sample) error) error {
	for i, v := range a.volumes {
		s := engine.Sample{Event: uint64(i), Time: begin, Container: v, Values: map[string]any{"staging.bytes": json.Number(v), "staging.files": json.Number(v)}}
		if err := each(0, s); err != nil {
			return err
		}
	}
	return nil
}

func studyHTML(t *testing.T) []byte {
	t.Helper()
	rules := "- macro: m\n  condition: (staging.bytes >= 1000 and staging.files > 3)\n- rule: '" + strings.ReplaceAll(hostile[:len(hostile)-4], "'", "''") +
		"'\n  desc: d\n  condition: evt.type = close and m and staging.once[a] = true\n  output: o\n  priority: NOTICE\n"
	set, err := ruleset.Parse(ruleset.File{Name: "r.yaml", Data: []byte(rules)})
	require.NoError(t, err)
	g, err := sweep.NewGrid(set, 100)
	require.NoError(t, err)
	attack, benign := &sweep.Case{Attack: true, Interval: time.Minute}, &sweep.Case{Interval: time.Minute}
	span := sweep.Span{Begin: begin, End: begin, Hours: 1}
	require.NoError(t, g.Replay(t.Context(), answering{volumes: []string{"600", "5000"}}, engine.Request{}, attack, ruleset.SyscallSource, span))
	require.NoError(t, g.Replay(t.Context(), answering{volumes: []string{"300", "1500"}}, engine.Request{}, benign, ruleset.SyscallSource, span))
	captures := []*sweep.Case{attack, benign}
	var b bytes.Buffer
	require.NoError(t, Study(&b, sweep.NewStudy(g, captures, g.Choose(captures, 0))))
	return b.Bytes()
}

func pages(t *testing.T) map[string][]byte {
	return map[string][]byte{"replays": replayHTML(t), "study": studyHTML(t)}
}

// elements calls visit for every element of a page.
func elements(t *testing.T, page []byte, visit func(*html.Node)) {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	require.NoError(t, err)
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			visit(n)
		}
	}
}

func TestPagesRunNothingAndLoadNothingWhateverTheNames(t *testing.T) {
	for name, page := range pages(t) {
		t.Run(name, func(t *testing.T) {
			policy := false
			elements(t, page, func(n *html.Node) {
				assert.NotContains(t, []string{"script", "img", "iframe", "object", "embed", "link", "form", "base"}, n.Data)
				for _, a := range n.Attr {
					assert.False(t, strings.HasPrefix(a.Key, "on"), "%s %s", n.Data, a.Key)
					if a.Key == "src" || a.Key == "href" {
						assert.True(t, strings.HasPrefix(a.Val, "#"), "%s leads away: %s", n.Data, a.Val)
					}
					policy = policy || a.Key == "content" && strings.Contains(a.Val, "default-src 'none'")
				}
			})
			assert.True(t, policy, "a content security policy")
			assert.False(t, bytes.Contains(page, []byte("\u202e")), "nothing turns the direction of the text")
			assert.False(t, bytes.Contains(page, []byte("ZgotmplZ")), "nothing was replaced by the template engine's mark of unsafe content")
			assert.False(t, regexp.MustCompile(`NaN|[-+]Inf`).Match(page), "every place is a number")
		})
	}
}

func TestEveryPlotSaysInWordsWhatItShows(t *testing.T) {
	for name, page := range pages(t) {
		t.Run(name, func(t *testing.T) {
			ids := map[string]bool{}
			var named []string
			plots := 0
			elements(t, page, func(n *html.Node) {
				for _, a := range n.Attr {
					switch a.Key {
					case "id":
						assert.False(t, ids[a.Val], "the id %s stands twice", a.Val)
						ids[a.Val] = true
					case "aria-labelledby", "aria-describedby":
						named = append(named, a.Val)
					case "href":
						named = append(named, strings.TrimPrefix(a.Val, "#"))
					}
				}
				if n.Data == "svg" {
					plots++
				}
				if n.Data == "desc" {
					require.NotNil(t, n.FirstChild)
					assert.NotEmpty(t, n.FirstChild.Data)
				}
			})
			assert.NotZero(t, plots)
			for _, id := range named {
				assert.True(t, ids[id], "nothing has the id %s", id)
			}
		})
	}
}

func TestMarksStayApartAndInsideTheirPlot(t *testing.T) {
	assert.Equal(t, []float64{10, 30, 50, 100}, spread([]float64{10, 11, 12, 100}, 200))
	assert.Equal(t, []float64{60, 80, 100}, spread([]float64{98, 99, 99}, 100))
	assert.Empty(t, spread(nil, 100))
}

func TestAxesEndAtRoundNumbers(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 0.3: 0.5, 1: 1, 126: 200, 501: 1000} {
		assert.InDelta(t, want, ceiling(v), 1e-9, "%v", v)
	}
	for v, want := range map[float64]float64{0: 1024, 1000: 1024, 1 << 20: 1 << 20, 72 << 20: 100 << 20, 600 << 20: 1 << 30} {
		assert.InDelta(t, want, byteCeiling(v), 1e-3, "%v", v)
	}
}

// TestPagesInABrowser opens the pages in Chromium: the hostile names must not run, and both colour schemes must be there.
func TestPagesInABrowser(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && browser == "" {
			browser = path
		}
	}
	if browser == "" {
		t.Skip("no Chromium on the PATH: install Debian's package chromium to see the pages in a browser")
	}
	for name, page := range pages(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "page.html")
			require.NoError(t, os.WriteFile(file, page, 0o600))
			run := func(args ...string) string {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + filepath.Join(dir, "profile")}, args...)
				out, err := exec.CommandContext(ctx, browser, append(args, "file://"+file)...).Output()
				require.NoError(t, err)
				return string(out)
			}
			dom := run("--dump-dom")
			title := regexp.MustCompile(`<title>([^<]*)`).FindStringSubmatch(dom)
			require.NotNil(t, title)
			assert.NotEqual(t, "owned", title[1], "a name ran as a script")
			assert.Contains(t, dom, "</main>")

			corner := func(scheme string) uint32 {
				shot := filepath.Join(dir, "shot.png")
				run("--hide-scrollbars", "--window-size=1000,1200", "--blink-settings=preferredColorScheme="+scheme, "--screenshot="+shot)
				f, err := os.Open(shot)
				require.NoError(t, err)
				defer f.Close()
				img, _, err := image.Decode(f)
				require.NoError(t, err)
				red, _, _, _ := img.At(2, 2).RGBA()
				return red >> 8
			}
			assert.Less(t, corner("0"), uint32(64), "dark")
			assert.Greater(t, corner("1"), uint32(192), "light")
		})
	}
}
