package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/falcosecurity/client-go/pkg/api/outputs"
	"github.com/falcosecurity/client-go/pkg/api/version"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// falco serves alerts as Falco 0.43 does: it answers each request with what it has, and then waits for the next one.
type falco struct {
	outputs.UnimplementedServiceServer
	queue chan *outputs.Response
	over  chan struct{} // closed when Falco stops
}

func (f *falco) Sub(stream outputs.Service_SubServer) error {
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-f.over:
				return nil
			case r := <-f.queue:
				if err := stream.Send(r); err != nil {
					return err
				}
			default:
				waiting = false
			}
		}
	}
}

type versions struct {
	version.UnimplementedServiceServer
}

func (versions) Version(context.Context, *version.Request) (*version.Response, error) {
	return &version.Response{Version: "0.43.0"}, nil
}

// serve runs a gRPC server until the test ends or stop is called.
func serve(t *testing.T, l net.Listener, register func(*grpc.Server), options ...grpc.ServerOption) (stop func()) {
	t.Helper()
	server := grpc.NewServer(options...)
	register(server)
	go func() { _ = server.Serve(l) }() // it ends with Stop
	t.Cleanup(server.Stop)
	return server.Stop
}

func (f *falco) register(s *grpc.Server) {
	outputs.RegisterServiceServer(s, f)
	version.RegisterServiceServer(s, versions{})
}

func newFalco() *falco {
	return &falco{queue: make(chan *outputs.Response, 10), over: make(chan struct{})}
}

// socket is a Unix socket's path, short enough to be one.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "live-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "falco.sock")
}

func listenUnix(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	return l
}

func startGRPC(t *testing.T, target string, files TLSFiles, reconnect bool) running {
	t.Helper()
	g, err := NewGRPC(target, files)
	require.NoError(t, err)
	g.Reconnect = reconnect
	return start(t, g)
}

func TestAlertsComeOverAUnixSocket(t *testing.T) {
	for _, scheme := range []string{"unix://", "unix:", ""} {
		t.Run("as "+scheme+"PATH", func(t *testing.T) {
			path := socket(t)
			f := newFalco()
			f.queue <- response() // Falco keeps what came before anybody asked
			serve(t, listenUnix(t, path), f.register)
			r := startGRPC(t, scheme+path, TLSFiles{}, false)
			assert.Equal(t, scheme+path+": connected to Falco 0.43.0", r.next().Note)
			assert.Equal(t, received(), r.next().Alert)
			for range 3 {
				f.queue <- response() // it must ask again, for Falco has nothing for its first request any more
				assert.Equal(t, received(), r.next().Alert)
			}
			r.stop()
			require.NoError(t, r.end())
		})
	}
}

func TestAResponseThatIsNoAlertIsToldAndPassedOver(t *testing.T) {
	path := socket(t)
	f := newFalco()
	f.queue <- &outputs.Response{}
	f.queue <- response()
	serve(t, listenUnix(t, path), f.register)
	r := startGRPC(t, path, TLSFiles{}, false)
	r.next()
	require.EqualError(t, r.next().Bad, "gRPC: not an alert: it names no rule")
	assert.Equal(t, "Egress", r.rule())
}

func TestALongAlertIsReceivedByGRPC(t *testing.T) {
	path := socket(t)
	f := newFalco()
	long := response()
	long.Output = strings.Repeat("o", 5<<20) // above gRPC's own bound of 4 MiB
	f.queue <- long
	serve(t, listenUnix(t, path), f.register)
	r := startGRPC(t, path, TLSFiles{}, false)
	r.next()
	assert.Len(t, r.next().Alert.Output, 5<<20)
}

// mutualTLS is a server's TLS as Falco sets it up: clients need a certificate.
func mutualTLS(t *testing.T, ca authority) grpc.ServerOption {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(ca.issue("falco"))
	require.NoError(t, err)
	text, err := os.ReadFile(ca.file)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(text))
	return grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12,
	}))
}

func TestAlertsComeOverMutualTLS(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "localhost", "::1"} {
		t.Run("of "+host, func(t *testing.T) {
			ca := newAuthority(t)
			l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if err != nil && host == "::1" {
				t.Skipf("no IPv6: %v", err)
			}
			require.NoError(t, err)
			_, port, err := net.SplitHostPort(l.Addr().String())
			require.NoError(t, err)
			f := newFalco()
			f.queue <- response()
			serve(t, l, f.register, mutualTLS(t, ca))
			cert, key := ca.issue("watch")
			target := net.JoinHostPort(host, port)
			r := startGRPC(t, target, TLSFiles{Cert: cert, Key: key, CA: ca.file}, false)
			assert.Equal(t, target+": connected to Falco 0.43.0", r.next().Note)
			assert.Equal(t, received(), r.next().Alert)
		})
	}
}

func TestACertificateThatIsNotTrustedIsRefusedWithWhatMustChange(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serve(t, l, newFalco().register, mutualTLS(t, ca))
	past := certificate("expired")
	past.NotBefore, past.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	expired, expiredKey, _ := ca.write("expired", past)
	cert, key := ca.issue("watch")
	foreign, foreignKey := other.issue("watch")
	for _, tc := range []struct {
		name  string
		files TLSFiles
		want  string
	}{
		{"the client's, of another CA", TLSFiles{Cert: foreign, Key: foreignKey, CA: ca.file},
			"the certificate in " + foreign + " must be signed by the CA in Falco's grpc.root_certs"},
		{"the client's, which has expired", TLSFiles{Cert: expired, Key: expiredKey, CA: ca.file},
			"the certificate in " + expired + " has expired at " + past.NotAfter.UTC().Format(time.RFC3339) + ": renew it"},
		{"the server's, of another CA", TLSFiles{Cert: cert, Key: key, CA: other.file},
			": the certificate in Falco's grpc.cert_chain must be signed by " + other.file + " and name the host"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := startGRPC(t, l.Addr().String(), tc.files, false).end()
			require.ErrorContains(t, err, "connect to "+l.Addr().String()+": ")
			require.ErrorContains(t, err, tc.want)
		})
	}
}

const instead = "Falco 0.44 and later have no gRPC output: use its http_output with stagectl watch --http"

func TestAFalcoWithoutGRPCIsRefusedWithWhatToUseInstead(t *testing.T) {
	missing := socket(t)
	err := startGRPC(t, "unix://"+missing, TLSFiles{}, true).end()
	require.EqualError(t, err, "connect to unix://"+missing+": there is no such socket: "+
		"Falco up to 0.43 opens it when grpc and grpc_output are enabled; "+instead)

	left := socket(t) // by a Falco that is gone
	l := listenUnix(t, left)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	err = startGRPC(t, left, TLSFiles{}, true).end()
	require.ErrorContains(t, err, "connection refused")
	require.ErrorContains(t, err, instead)

	empty := socket(t)
	serve(t, listenUnix(t, empty), func(*grpc.Server) {})
	err = startGRPC(t, empty, TLSFiles{}, true).end()
	require.EqualError(t, err, "connect to "+empty+": the server has no service for Falco's alerts; "+instead)

	half := socket(t) // a version, and no alerts
	serve(t, listenUnix(t, half), func(s *grpc.Server) { version.RegisterServiceServer(s, versions{}) })
	r := startGRPC(t, half, TLSFiles{}, true)
	r.next()
	require.ErrorContains(t, r.end(), "the server has no service for Falco's alerts")
}

func TestAConnectionThatIsLostIsMadeAnew(t *testing.T) {
	path := socket(t)
	f := newFalco()
	f.queue <- response()
	stop := serve(t, listenUnix(t, path), f.register)
	r := startGRPC(t, path, TLSFiles{}, true)
	r.next()
	assert.Equal(t, "Egress", r.rule())
	stop()
	assert.Contains(t, r.next().Note, path+": the connection was lost: ")

	again := newFalco()
	again.queue <- response()
	serve(t, listenUnix(t, path), again.register)
	assert.Contains(t, r.next().Note, "connected to Falco")
	assert.Equal(t, "Egress", r.rule())
}

func TestWithoutReconnectALostConnectionIsAnError(t *testing.T) {
	path := socket(t)
	f := newFalco()
	f.queue <- response()
	serve(t, listenUnix(t, path), f.register)
	r := startGRPC(t, path, TLSFiles{}, false)
	r.next()
	assert.Equal(t, "Egress", r.rule())
	close(f.over)
	require.EqualError(t, r.end(), "receive alerts from "+path+": the connection was lost: the server ended it")
}

func TestATargetThatCannotBeIsRefused(t *testing.T) {
	all := TLSFiles{Cert: "a", Key: "b", CA: "c"}
	for _, tc := range []struct {
		name, target string
		files        TLSFiles
		want         string
	}{
		{"a host without a port", "falco", all, `connect to "falco": write unix:///run/falco/falco.sock or HOST:PORT`},
		{"a port without a host", ":5060", all, `connect to ":5060": write unix:///run/falco/falco.sock or HOST:PORT`},
		{"a port that is none", "falco:http", all, `connect to "falco:http": write`},
		{"a network without certificates", "falco:5060", TLSFiles{Cert: "a"}, "connect to falco:5060: a certificate, its key and the CA are missing"},
		{"a socket with certificates", "unix:///run/falco.sock", all, "leave out the certificates"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := NewGRPC(tc.target, tc.files)
			require.ErrorContains(t, err, tc.want)
		})
	}
	g, err := NewGRPC("127.0.0.1:1", all)
	require.NoError(t, err)
	require.ErrorContains(t, start(t, g).end(), "connect to 127.0.0.1:1: error loading the X.509 key pair")
}
