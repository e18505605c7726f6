package live

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/falcosecurity/client-go/pkg/api/outputs"
	"github.com/falcosecurity/client-go/pkg/api/version"
	"github.com/falcosecurity/client-go/pkg/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// GRPC receives alerts from Falco's gRPC output, which Falco has up to 0.43. Falco keeps what nobody has fetched yet and hands
// each alert to one client alone.
type GRPC struct {
	// Reconnect has it connect anew where a connection is lost, as it is when Falco restarts, until ctx is done. Alerts may be
	// lost with the connection.
	Reconnect bool

	config    client.Config
	target    string
	socket    string // path of the Unix socket; empty for the network
	responses responses
}

// TLSFiles name PEM files.
type TLSFiles struct{ Cert, Key, CA string }

const (
	// pollInterval is how long Falco sends nothing before it is asked again: it answers each request with what it has.
	pollInterval = 200 * time.Millisecond
	// answerTimeout is how long Falco may take to tell its version.
	answerTimeout = 10 * time.Second
	// retryInterval is between two attempts to connect anew.
	retryInterval = time.Second
	// maxMessage is the most that is taken for one alert; gRPC's own bound would end the stream at 4 MiB.
	maxMessage = 64 << 20
)

// NewGRPC connects to a Unix socket (unix:///run/falco/falco.sock, or its path) without TLS, or to host:port with mTLS, as
// Falco demands it. Nothing is opened before Run.
func NewGRPC(target string, files TLSFiles) (*GRPC, error) {
	read, err := newResponses()
	if err != nil {
		return nil, err
	}
	g := &GRPC{target: target, responses: read}
	g.config.DialOptions = []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage))}
	path, isSocket := strings.CutPrefix(target, "unix:")
	if isSocket || strings.HasPrefix(target, "/") {
		if files != (TLSFiles{}) {
			return nil, fmt.Errorf("connect to %s: Falco's Unix socket has no TLS: leave out the certificates", target)
		}
		g.socket = strings.TrimPrefix(path, "//")
		g.config.UnixSocketPath = "unix:" + g.socket
		return g, nil
	}
	host, port, err := net.SplitHostPort(target)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err = errors.Join(err, portErr); err != nil || host == "" {
		return nil, fmt.Errorf("connect to %q: write unix:///run/falco/falco.sock or HOST:PORT", target)
	}
	if files.Cert == "" || files.Key == "" || files.CA == "" {
		return nil, fmt.Errorf("connect to %s: a certificate, its key and the CA are missing: over the network Falco demands mTLS", target)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]" // client-go joins it with the port
	}
	g.config.Hostname, g.config.Port = host, uint16(number)
	g.config.CertFile, g.config.KeyFile, g.config.CARootFile = files.Cert, files.Key, files.CA
	return g, nil
}

// Run sends what it receives until ctx is done, which is no error. It is an error where there is no Falco with a gRPC output,
// and, without Reconnect, where the connection is lost.
func (g *GRPC) Run(ctx context.Context, out chan<- Received) error {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		connected, err := g.receive(ctx, out)
		switch {
		case ctx.Err() != nil:
			continue
		case !connected && attempt == 0, status.Code(err) == codes.Unimplemented:
			return g.refusal(err)
		case !g.Reconnect:
			return fmt.Errorf("receive alerts from %s: the connection was lost: %w", g.target, err)
		case connected:
			send(ctx, out, Received{Note: fmt.Sprintf("%s: the connection was lost: %v: trying to connect anew", g.target, err)})
		}
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
		}
	}
	return nil
}

// receive connects once and receives until the connection ends. The error is never nil.
func (g *GRPC) receive(ctx context.Context, out chan<- Received) (connected bool, err error) {
	if g.socket != "" {
		if _, err := os.Stat(g.socket); err != nil {
			return false, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	falco, err := client.NewForConfig(ctx, &g.config)
	if err != nil {
		return false, err
	}
	defer func() { _ = falco.Close() }() // what was received has been handed over
	if err := greet(ctx, falco, g.target, out); err != nil {
		return false, err
	}
	service, err := falco.Outputs()
	if err != nil {
		return true, err
	}
	stream, err := service.Sub(ctx)
	if err != nil {
		return true, err
	}
	return true, g.pump(ctx, stream, out)
}

// greet asks Falco for its version, which tells whether somebody is there. One that has no such service may have the other.
func greet(ctx context.Context, falco *client.Client, target string, out chan<- Received) error {
	versions, err := falco.Version()
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	v, err := versions.Version(asking, &version.Request{})
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	if err != nil {
		return err
	}
	send(ctx, out, Received{Note: fmt.Sprintf("%s: connected to Falco %s", target, v.GetVersion())})
	return nil
}

// pump asks for alerts and hands them over until the stream ends. client-go's own loop can drop the last alert before an end.
func (g *GRPC) pump(ctx context.Context, stream outputs.Service_SubClient, out chan<- Received) error {
	responses := make(chan *outputs.Response)
	ended := make(chan error, 1)
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case responses <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := stream.Send(&outputs.Request{}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	idle := time.NewTicker(pollInterval)
	defer idle.Stop()
	for {
		select {
		case r := <-responses:
			received := Received{}
			a, err := g.responses.alert(r)
			if err != nil {
				received.Bad = fmt.Errorf("gRPC: %w", err)
			} else {
				received.Alert = a
			}
			if !send(ctx, out, received) {
				return ctx.Err()
			}
			idle.Reset(pollInterval)
		case <-idle.C:
			// Recv tells why a stream has ended; Send only that it has.
			if err := stream.Send(&outputs.Request{}); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return errors.New("the server ended it")
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// refusal says why there are no alerts to be had by gRPC, and what to use instead.
func (g *GRPC) refusal(err error) error {
	const instead = "Falco 0.44 and later have no gRPC output: use its http_output with stagectl watch --http"
	code, msg := status.Code(err), status.Convert(err).Message()
	switch {
	case code == codes.Unimplemented:
		return fmt.Errorf("connect to %s: the server has no service for Falco's alerts; %s", g.target, instead)
	case errors.Is(err, fs.ErrNotExist) && g.socket != "":
		return fmt.Errorf("connect to %s: there is no such socket: Falco up to 0.43 opens it when grpc and grpc_output are enabled; %s", g.target, instead)
	case code == codes.Unavailable && strings.Contains(msg, "authentication handshake failed"):
		return fmt.Errorf("connect to %s: %s: the certificate in Falco's grpc.cert_chain must be signed by %s and name the host that is connected to",
			g.target, msg, g.config.CARootFile)
	case code == codes.Unavailable && g.socket == "" && !strings.Contains(msg, "while dialing"):
		// TLS 1.3 lets a client begin before the server has looked at its certificate.
		return fmt.Errorf("connect to %s: the server ended the connection (%s): %s", g.target, msg, g.clientCertificate())
	case code == codes.Unavailable, code == codes.DeadlineExceeded:
		return fmt.Errorf("connect to %s: %s: is a Falco up to 0.43 there with grpc and grpc_output enabled? %s", g.target, msg, instead)
	default:
		return fmt.Errorf("connect to %s: %w", g.target, err)
	}
}

// clientCertificate says what Falco may not like about the client's certificate.
func (g *GRPC) clientCertificate() string {
	pair, err := tls.LoadX509KeyPair(g.config.CertFile, g.config.KeyFile)
	if err == nil && time.Now().After(pair.Leaf.NotAfter) {
		return fmt.Sprintf("the certificate in %s has expired at %s: renew it", g.config.CertFile, pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	return fmt.Sprintf("the certificate in %s must be signed by the CA in Falco's grpc.root_certs", g.config.CertFile)
}
