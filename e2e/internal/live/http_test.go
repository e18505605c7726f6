package live

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func listen(t *testing.T, config *tls.Config) (*HTTP, running) {
	t.Helper()
	h, err := ListenHTTP("127.0.0.1:0", config)
	require.NoError(t, err)
	return h, start(t, h)
}

// answer is what a request got.
type answer struct {
	status int
	text   string
	err    error
}

// request sends a request and does not wait for its answer, which comes when somebody took the alert.
func request(t *testing.T, client *http.Client, method, url, content string, body io.Reader) <-chan answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	if content != "" {
		req.Header.Set("Content-Type", content)
	}
	answers := make(chan answer, 1)
	go func() {
		resp, err := client.Do(req)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		answers <- answer{resp.StatusCode, strings.TrimSpace(string(text)), err}
	}()
	return answers
}

func post(t *testing.T, h *HTTP, body string) <-chan answer {
	t.Helper()
	return request(t, http.DefaultClient, http.MethodPost, h.URL()+"/", "application/json", strings.NewReader(body))
}

func TestAnAlertThatFalcoPostsIsReceived(t *testing.T) {
	h, r := listen(t, nil)
	assert.True(t, strings.HasPrefix(h.URL(), "http://127.0.0.1:"), h.URL())
	assert.False(t, h.Exposed())
	answered := post(t, h, staged)
	assert.Equal(t, "Staged", r.rule())
	assert.Equal(t, answer{status: http.StatusNoContent}, <-answered)

	answered = request(t, http.DefaultClient, http.MethodPost, h.URL()+"/any/path?q", "application/json; charset=utf-8", strings.NewReader(egress+"\n"))
	assert.Equal(t, "Egress", r.rule())
	assert.Equal(t, http.StatusNoContent, (<-answered).status)

	r.stop()
	require.NoError(t, r.end())
	_, err := net.Dial("tcp", strings.TrimPrefix(h.URL(), "http://"))
	require.Error(t, err, "nobody listens after the end")
}

func TestALongAlertIsNotCut(t *testing.T) {
	h, r := listen(t, nil)
	long := strings.Replace(staged, `"o"`, `"`+strings.Repeat("o", 2<<20)+`"`, 1)
	answered := post(t, h, long) // Falco's client sends Expect: 100-continue for such a one
	assert.Len(t, r.next().Alert.Output, 2<<20)
	assert.Equal(t, http.StatusNoContent, (<-answered).status)
}

func TestWhatIsNoAlertIsRefusedAndTold(t *testing.T) {
	h, r := listen(t, nil)
	for _, tc := range []struct {
		name, content string
		body          io.Reader
		status        int
		want          string
	}{
		{"plain text, which Falco sends without json_output", "text/plain", strings.NewReader("17:02: Notice"),
			http.StatusUnsupportedMediaType, "plain text: set json_output: true in Falco's configuration"},
		{"another kind of content", "application/x-www-form-urlencoded", strings.NewReader(staged),
			http.StatusUnsupportedMediaType, `content of type "application/x-www-form-urlencoded": send application/json`},
		{"no kind of content", "", strings.NewReader(staged), http.StatusUnsupportedMediaType, `content of type "": send application/json`},
		{"broken JSON", "application/json", strings.NewReader(staged[:50]), http.StatusBadRequest, "not an alert: unexpected end of JSON input"},
		{"two alerts", "application/json", strings.NewReader(staged + "\n" + egress), http.StatusBadRequest,
			"not an alert: invalid character '{' after top-level value"},
		{"nothing", "application/json", strings.NewReader(""), http.StatusBadRequest,
			"not an alert in JSON: set json_output: true in Falco's configuration"},
		{"a body that is too long, of known length", "application/json", bytes.NewReader(make([]byte, maxBody+1)),
			http.StatusRequestEntityTooLarge, fmt.Sprintf("more than %d bytes: not an alert", maxBody)},
		{"a body that is too long, in chunks", "application/json", io.MultiReader(bytes.NewReader(make([]byte, maxBody+1))),
			http.StatusRequestEntityTooLarge, fmt.Sprintf("more than %d bytes: not an alert", maxBody)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answered := request(t, http.DefaultClient, http.MethodPost, h.URL(), tc.content, tc.body)
			bad := r.next().Bad
			require.ErrorContains(t, bad, tc.want)
			assert.True(t, strings.HasPrefix(bad.Error(), "POST from 127.0.0.1:"), bad.Error())
			assert.Equal(t, answer{status: tc.status, text: tc.want}, <-answered)
		})
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	h, _ := listen(t, nil)
	got := <-request(t, http.DefaultClient, http.MethodGet, h.URL(), "", nil)
	assert.Equal(t, answer{status: http.StatusMethodNotAllowed, text: "send alerts with POST"}, got)
}

func TestEncodedContentIsRefused(t *testing.T) {
	h, r := listen(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL(), strings.NewReader(staged))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	require.ErrorContains(t, r.next().Bad, `content encoded as "gzip": send it as it is`)
}

func TestASenderWaitsUntilItsAlertIsTaken(t *testing.T) {
	h, r := listen(t, nil)
	const senders = 3 * maxBodies
	var waiting []<-chan answer
	for range senders {
		waiting = append(waiting, post(t, h, staged))
	}
	time.Sleep(50 * time.Millisecond)
	for _, answered := range waiting {
		assert.Empty(t, answered, "nobody has taken an alert yet")
	}
	for range senders {
		assert.Equal(t, "Staged", r.rule())
	}
	for _, answered := range waiting {
		assert.Equal(t, http.StatusNoContent, (<-answered).status)
	}
}

func TestASenderIsToldThatTheWatchIsOver(t *testing.T) {
	h, r := listen(t, nil)
	answered := post(t, h, staged)
	time.Sleep(50 * time.Millisecond) // its alert waits to be taken
	r.stop()
	require.NoError(t, r.end())
	assert.Equal(t, answer{status: http.StatusServiceUnavailable, text: "the watch is over"}, <-answered)
}

func TestTLSAsksForACertificateWhereACAIsGiven(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("server")
	config, err := ServerTLS(cert, key, ca.file)
	require.NoError(t, err)
	h, r := listen(t, config)
	assert.True(t, strings.HasPrefix(h.URL(), "https://127.0.0.1:"), h.URL())

	trusted := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.client("falco")}}
	answered := request(t, trusted, http.MethodPost, h.URL(), "application/json", strings.NewReader(staged))
	assert.Equal(t, "Staged", r.rule())
	assert.Equal(t, http.StatusNoContent, (<-answered).status)

	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.client("")}}
	answered = request(t, stranger, http.MethodPost, h.URL(), "application/json", strings.NewReader(staged))
	assert.Contains(t, r.next().Note, "client didn't provide a certificate: set mtls, client_cert and client_key of http_output")
	require.ErrorContains(t, (<-answered).err, "certificate required")
}

func TestAHandshakeThatFailsIsToldOnceWithWhatHelps(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.issue("server")
	config, err := ServerTLS(cert, key, "")
	require.NoError(t, err)
	h, r := listen(t, config)

	for range 3 { // as Falco does with each alert
		distrusting := &http.Client{Transport: &http.Transport{TLSClientConfig: other.client("")}}
		answered := request(t, distrusting, http.MethodPost, h.URL(), "application/json", strings.NewReader(staged))
		require.ErrorContains(t, (<-answered).err, "unknown authority")
	}
	assert.Regexp(t, `^http: TLS handshake error from 127\.0\.0\.1:\d+: .*: does http_output trust this certificate\? set its ca_cert`, r.next().Note)

	plain := request(t, http.DefaultClient, http.MethodPost, "http"+strings.TrimPrefix(h.URL(), "https"), "application/json", strings.NewReader(staged))
	assert.Contains(t, r.next().Note, "client sent an HTTP request to an HTTPS server: http_output.url must begin with https")
	assert.Equal(t, http.StatusBadRequest, (<-plain).status)
}

func TestTLSWithoutACATakesAnybody(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("server")
	config, err := ServerTLS(cert, key, "")
	require.NoError(t, err)
	h, r := listen(t, config)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.client("")}}
	answered := request(t, client, http.MethodPost, h.URL(), "application/json", strings.NewReader(egress))
	assert.Equal(t, "Egress", r.rule())
	assert.Equal(t, http.StatusNoContent, (<-answered).status)
}

func TestCertificatesThatCannotBeReadAreNamed(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("server")
	_, err := ServerTLS(cert, filepath.Join(t.TempDir(), "no.key"), "")
	require.ErrorContains(t, err, "no.key: no such file")
	_, err = ServerTLS(cert, key, key)
	require.EqualError(t, err, "read the CA's certificate: no certificate in "+key+": want PEM")
}

func TestAnAddressWithoutAHostIsLoopback(t *testing.T) {
	for _, address := range []string{":0", "0"} {
		h, err := ListenHTTP(address, nil)
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(h.URL(), "http://127.0.0.1:"), h.URL())
		require.NoError(t, h.listener.Close())
	}
	h, err := ListenHTTP("0.0.0.0:0", nil)
	require.NoError(t, err)
	assert.True(t, h.Exposed(), "other machines reach it")
	_, err = ListenHTTP(strings.TrimPrefix(h.URL(), "http://"), nil)
	require.ErrorContains(t, err, "listen for alerts: ")
	require.NoError(t, h.listener.Close())
	_, err = ListenHTTP("1:2:3", nil)
	require.ErrorContains(t, err, "write an address such as 127.0.0.1:2801")
}
