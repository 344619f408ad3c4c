package tlsconn_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

func TestDigest_groupName(t *testing.T) {
	for group, want := range map[tls.CurveID]string{
		0: "", tls.CurveP256: "P-256", tls.CurveP521: "P-521", tls.X25519: "X25519",
		tls.X25519MLKEM768:    "X25519MLKEM768",
		tls.SecP256r1MLKEM768: "SecP256r1MLKEM768",
	} {
		if got := (&tlsconn.Digest{Group: group}).GroupName(); got != want {
			t.Errorf("%d: %q, want %q", group, got, want)
		}
	}
}

// A name counts as the kind that its text tells, or not at all: an authority that lets anything pass as a DNS name must
// not vouch for addresses and URIs by it.
func TestCertificate_namesOfOneKind(t *testing.T) {
	f := tlsconn.CertificateFacts(&x509.Certificate{
		DNSNames:       []string{"a.test", "*.b.test", "x@corp.test", "spiffe://corp/x", "10.0.0.1", "::1"},
		EmailAddresses: []string{"y@corp.test", "spiffe://y@corp", "c.test"},
		IPAddresses:    []net.IP{net.ParseIP("10.0.0.2"), net.ParseIP("fe80::2")},
		URIs: []*url.URL{
			{Scheme: "spiffe", Host: "corp", Path: "/z"}, {Scheme: "urn", Opaque: "z@corp.test"},
			{Scheme: "fe80", Opaque: ":3"}, {Path: "d.test"},
		},
	})
	want := []string{"a.test", "*.b.test", "10.0.0.2", "fe80::2", "y@corp.test", "spiffe://corp/z", "urn:z@corp.test"}
	if !slices.Equal(f.Names, want) {
		t.Errorf("%q, want %q", f.Names, want)
	}
	if len(f.SANs) != 15 {
		t.Errorf("%d names in all: %q", len(f.SANs), f.SANs)
	}
}
