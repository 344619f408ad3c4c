package proxybench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// keyPair are the files of the certificate that all peers show, signed by itself. Immutable.
type keyPair struct {
	cert string
	key  string
	both string // the two in one file, for HAProxy
}

const validFor = 24 * time.Hour

// cheapKey is what the ordinary server has.
func cheapKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// dearKey costs the server some 4 ms for each handshake, and its clients next to nothing.
func dearKey() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 4096) }

// writeKeys makes a key and its certificate, in dir.
func writeKeys(dir string, generate func() (crypto.Signer, error)) (keyPair, error) {
	k := keyPair{
		cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), both: filepath.Join(dir, "both.pem"),
	}
	key, err := generate()
	if err != nil {
		return k, fmt.Errorf("key: %w", err)
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validFor),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return k, fmt.Errorf("certificate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return k, fmt.Errorf("key: %w", err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for path, text := range map[string][]byte{
		k.cert: certPEM, k.key: keyPEM, k.both: append(append([]byte{}, certPEM...), keyPEM...),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return k, fmt.Errorf("certificate: %w", err)
		}
	}
	return k, nil
}

// full is of a client that resumes no session and does not know X25519MLKEM768.
func full() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // what the client thinks of the certificate is not measured
		CurvePreferences:   []tls.CurveID{tls.X25519},
	}
}
