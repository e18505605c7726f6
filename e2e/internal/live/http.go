package live

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/alert"
)

// HTTP receives alerts from Falco's http_output, each the body of a POST to any path. An answer of 2xx means that the alert was
// taken: who sends waits for as long as nobody takes it. Falco does not look at answers, so what is refused is told here, too.
type HTTP struct {
	listener net.Listener
	scheme   string
}

const (
	// maxBody is far above what Falco makes of one event, whose parameters are 64 KiB each at most. A longer body is refused
	// as a whole.
	maxBody = 8 << 20
	// maxBodies are read at once; others wait. With maxBody it bounds the memory that senders can fill.
	maxBodies = 32
	// readTimeout ends a request of which nothing more comes.
	readTimeout = 30 * time.Second
	// shutdownTimeout is for answers that are under way in the end.
	shutdownTimeout = 2 * time.Second
)

// ListenHTTP listens at host:port, on loopback where the host is missing. With a TLS configuration it speaks TLS alone.
func ListenHTTP(address string, config *tls.Config) (*HTTP, error) {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen at %q: %w: write an address such as 127.0.0.1:2801", address, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("listen for alerts: %w", err)
	}
	h := &HTTP{listener: l, scheme: "http"}
	if config != nil {
		h.listener, h.scheme = tls.NewListener(l, config), "https"
	}
	return h, nil
}

// URL is what Falco's http_output.url must be, seen from this machine.
func (h *HTTP) URL() string { return h.scheme + "://" + h.listener.Addr().String() }

// Exposed tells whether alerts can be read on their way, and anybody can send some: other machines reach a listener without TLS.
func (h *HTTP) Exposed() bool {
	address, ok := h.listener.Addr().(*net.TCPAddr)
	return h.scheme == "http" && ok && !address.IP.IsLoopback()
}

// Run serves until ctx is done, which is no error. It closes the listener.
func (h *HTTP) Run(ctx context.Context, out chan<- Received) error {
	server := http.Server{
		Handler:           &receiver{out: out, bodies: make(chan struct{}, maxBodies)},
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       2 * readTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(&notes{ctx: ctx, out: out, told: map[string]bool{}}, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(h.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("receive alerts by HTTP: %w", err)
	case <-ctx.Done():
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			_ = server.Close() // whoever has not been answered by now is cut off
		}
		<-served
		return nil
	}
}

// notes passes on what the server logs: failed TLS handshakes. Falco tries anew with each alert, so each reason is told once for each
// machine. Several goroutines log at a time.
type notes struct {
	ctx context.Context
	out chan<- Received

	mu   sync.Mutex
	told map[string]bool
}

// maxTold bounds the reasons that are remembered: whoever reaches the port can make some.
const maxTold = 1024

// varying is what differs from one connection to the next: the sender's port, and the time at which a certificate had expired.
var varying = regexp.MustCompile(`:\d+: |current time \S+ `)

// remedies are what helps where a handshake failed, by parts of the reason.
var remedies = []struct{ reason, remedy string }{
	{"an HTTP request to an HTTPS server", "http_output.url must begin with https"},
	{"didn't provide a certificate", "set mtls, client_cert and client_key of http_output"},
	// An alert by which the sender refuses the certificate; the second is what is seen of OpenSSL's, which it encrypts too early.
	{"remote error", "does http_output trust this certificate? set its ca_cert, and a url with a name that the certificate has"},
	{"bad record MAC", "does http_output trust this certificate? set its ca_cert, and a url with a name that the certificate has"},
}

func (n *notes) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	reason := varying.ReplaceAllString(text, ": ")
	n.mu.Lock()
	known := n.told[reason]
	if !known && len(n.told) < maxTold {
		n.told[reason] = true
	}
	n.mu.Unlock()
	if known {
		return len(line), nil
	}
	for _, r := range remedies {
		if strings.Contains(text, r.reason) {
			text += ": " + r.remedy
			break
		}
	}
	send(n.ctx, n.out, Received{Note: text})
	return len(line), nil
}

// receiver answers requests.
type receiver struct {
	out    chan<- Received
	bodies chan struct{} // holds one for each body that is read or waits to be taken
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "send alerts with POST", http.StatusMethodNotAllowed)
		return
	}
	select {
	case v.bodies <- struct{}{}:
		defer func() { <-v.bodies }()
	case <-r.Context().Done():
		http.Error(w, "the watch is over", http.StatusServiceUnavailable)
		return
	}
	received := Received{}
	a, status, err := read(w, r)
	if err != nil {
		received.Bad = fmt.Errorf("POST from %s: %w", r.RemoteAddr, err)
	} else {
		received.Alert = a
	}
	switch taken := send(r.Context(), v.out, received); {
	case err != nil:
		http.Error(w, err.Error(), status)
	case !taken:
		http.Error(w, "the watch is over", http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// read reads the alert of a request. With an error comes the status that answers it.
func read(w http.ResponseWriter, r *http.Request) (a alert.Alert, status int, err error) {
	content := r.Header.Get("Content-Type")
	switch media, _, err := mime.ParseMediaType(content); {
	case media == "text/plain":
		return a, http.StatusUnsupportedMediaType, errors.New("plain text: set json_output: true in Falco's configuration")
	case err != nil || media != "application/json":
		return a, http.StatusUnsupportedMediaType, fmt.Errorf("content of type %q: send application/json", content)
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return a, http.StatusUnsupportedMediaType, fmt.Errorf("content encoded as %q: send it as it is", encoding)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return a, http.StatusRequestEntityTooLarge, fmt.Errorf("more than %d bytes: not an alert", tooLong.Limit)
	case err != nil:
		return a, http.StatusBadRequest, fmt.Errorf("read the alert: %w", err)
	}
	if a, err = parse(body); err != nil {
		return a, http.StatusBadRequest, err
	}
	return a, 0, nil
}
