package live

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority is a CA that signs certificates in a folder of a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // the CA's certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	ca := authority{t: t, dir: t.TempDir()}
	template := certificate("ca")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	ca.cert, ca.key = template, nil
	ca.file, _, ca.key = ca.write("ca", template)
	return ca
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// issue signs a certificate for this machine's loopback and returns its files.
func (ca authority) issue(name string) (certFile, keyFile string) {
	ca.t.Helper()
	certFile, keyFile, _ = ca.write(name, certificate(name))
	return certFile, keyFile
}

// write makes the key of a certificate, signs it, by itself where the CA has no key yet, and writes both as PEM.
func (ca authority) write(name string, template *x509.Certificate) (certFile, keyFile string, key *ecdsa.PrivateKey) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(ca.t, err)
	signer := ca.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), signer)
	require.NoError(ca.t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(ca.t, err)
	certFile, keyFile = filepath.Join(ca.dir, name+".crt"), filepath.Join(ca.dir, name+".key")
	require.NoError(ca.t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(ca.t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return certFile, keyFile, key
}

// client is the TLS of a client that trusts the CA, with a certificate unless name is empty.
func (ca authority) client(name string) *tls.Config {
	ca.t.Helper()
	text, err := os.ReadFile(ca.file)
	require.NoError(ca.t, err)
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	require.True(ca.t, config.RootCAs.AppendCertsFromPEM(text))
	if name != "" {
		pair, err := tls.LoadX509KeyPair(ca.issue(name))
		require.NoError(ca.t, err)
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}
