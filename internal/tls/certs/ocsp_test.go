package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// responder makes OCSP responses with openssl, which knows the protocol better than a test would.
type responder struct {
	dir string
	ca  *testutil.Authority
}

func newResponder(t *testing.T) *responder {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("there is no openssl")
	}
	r := &responder{dir: t.TempDir(), ca: testutil.NewAuthority(t)}
	testutil.WritePair(t, filepath.Join(r.dir, "ca"), r.ca.Cert, r.ca.Key)
	return r
}

func (r *responder) openssl(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = r.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %q: %v %s", args, err, out)
	}
}

// respond writes NAME.ocsp about the certificate in NAME.pem, signed by the pair SIGNER.
func (r *responder) respond(t *testing.T, name, status, signer string, cert *x509.Certificate, more ...string) string {
	t.Helper()
	revoked := ""
	if status == "R" {
		revoked = time.Now().UTC().Add(-time.Hour).Format("060102150405Z")
	}
	line := fmt.Sprintf("%s\t%s\t%s\t%X\tunknown\t/CN=x\n", status,
		cert.NotAfter.UTC().Format("060102150405Z"), revoked, cert.SerialNumber)
	testutil.Must(t, os.WriteFile(filepath.Join(r.dir, "index"), []byte(line), 0o600))
	r.openssl(t, "ocsp", "-issuer", "ca.pem", "-cert", name+".pem", "-reqout", "req", "-no_nonce")
	r.openssl(t, append([]string{"ocsp", "-index", "index", "-CA", "ca.pem", "-rsigner", signer + ".pem",
		"-rkey", signer + ".key", "-reqin", "req", "-respout", name + ".ocsp"}, more...)...)
	return filepath.Join(r.dir, name+".ocsp")
}

// chain appends the authority's certificate to NAME.pem.
func (r *responder) chain(t *testing.T, name string) Files {
	t.Helper()
	base := filepath.Join(r.dir, name)
	leaf, err := os.ReadFile(base + ".pem")
	testutil.Must(t, err)
	ca, err := os.ReadFile(filepath.Join(r.dir, "ca.pem"))
	testutil.Must(t, err)
	testutil.Must(t, os.WriteFile(base+".chain", append(leaf, ca...), 0o600))
	return Files{Cert: base + ".chain", Key: base + ".key", OCSP: base + ".ocsp"}
}

func TestStaple(t *testing.T) {
	r := newResponder(t)
	now := time.Now()
	forOthers := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }
	r.ca.IssueTo(t, r.dir, "delegate", forOthers, "delegate")
	r.ca.IssueTo(t, r.dir, "usurper", nil, "usurper")
	for _, c := range []struct {
		name, status, signer string
		more                 []string
		at                   time.Time
		want                 error
	}{
		{"good", "V", "ca", []string{"-ndays", "7"}, now, nil},
		{"no-end", "V", "ca", nil, now, nil},
		{"delegated", "V", "delegate", []string{"-ndays", "7"}, now, nil},
		{"old", "V", "ca", []string{"-ndays", "7"}, now.AddDate(0, 0, 8), ErrOCSPOld},
		{"early", "V", "ca", []string{"-ndays", "7"}, now.Add(-time.Hour), ErrOCSPEarly},
		{"revoked", "R", "ca", []string{"-ndays", "7"}, now, ErrOCSPRevoked},
		{"usurped", "V", "usurper", []string{"-ndays", "7"}, now, ErrOCSPSignature},
	} {
		cert := r.ca.IssueTo(t, r.dir, c.name, nil, c.name+".example.org")
		path := r.respond(t, c.name, c.status, c.signer, cert, c.more...)
		f := r.chain(t, c.name)
		got, err := Load(&f, c.at)
		testutil.Must(t, err)
		der, err := os.ReadFile(path)
		testutil.Must(t, err)
		if !errors.Is(got.StapleErr, c.want) || bytes.Equal(got.TLS.OCSPStaple, der) != (c.want == nil) {
			t.Errorf("%s: %v, %d bytes are stapled", c.name, got.StapleErr, len(got.TLS.OCSPStaple))
		}
	}
}

func TestStaple_ofAnother(t *testing.T) {
	r := newResponder(t)
	a := r.ca.IssueTo(t, r.dir, "a", nil, "a.example.org")
	r.ca.IssueTo(t, r.dir, "b", nil, "b.example.org")
	other := r.respond(t, "a", "V", "ca", a, "-ndays", "7")
	f := r.chain(t, "b")
	f.OCSP = other
	if c, err := Load(&f, time.Now()); err != nil || !errors.Is(c.StapleErr, ErrOCSPOther) {
		t.Error(err, c.StapleErr)
	}
	f.OCSP = f.Cert
	if c, err := Load(&f, time.Now()); err != nil || !errors.Is(c.StapleErr, ErrOCSPMalformed) {
		t.Error(err, c.StapleErr)
	}
	f.OCSP = "/none"
	if c, err := Load(&f, time.Now()); err != nil || !errors.Is(c.StapleErr, os.ErrNotExist) {
		t.Error(err, c.StapleErr)
	}
	// Without the authority in the chain the signer is unknown, but not the certificate that the response is about.
	f = Files{Cert: filepath.Join(r.dir, "a.pem"), Key: filepath.Join(r.dir, "a.key"), OCSP: other}
	if c, err := Load(&f, time.Now()); err != nil || c.StapleErr != nil || c.TLS.OCSPStaple == nil {
		t.Error(err, c.StapleErr)
	}
}

// A response that grows too old while the server runs is stapled no more.
func TestSet_dropsAStapleThatIsOld(t *testing.T) {
	r := newResponder(t)
	a := r.ca.IssueTo(t, r.dir, "a", nil, "a.example.org")
	r.respond(t, "a", "V", "ca", a, "-ndays", "7")
	s := newSet(t, nil, []Files{r.chain(t, "a")})
	if s.Certificates()[0].TLS.OCSPStaple == nil {
		t.Fatal("nothing is stapled")
	}
	late := time.Now().AddDate(0, 0, 8)
	if c := s.Look(late); len(c) != 1 || !errors.Is(c[0].Err, ErrOCSPOld) {
		t.Errorf("%+v", c)
	}
	if s.Certificates()[0].TLS.OCSPStaple != nil {
		t.Error("it is still stapled")
	}
	if c := s.Look(late); len(c) != 0 {
		t.Errorf("told twice: %+v", c)
	}
	r.respond(t, "a", "V", "ca", a, "-ndays", "30")
	if c := s.Look(late); len(c) != 1 || c[0].Err != nil || c[0].Now.TLS.OCSPStaple == nil {
		t.Errorf("the next response: %+v", c)
	}
}

func FuzzOCSP(f *testing.F) {
	f.Add([]byte{0x30, 3, 0x0a, 1, 0})
	f.Fuzz(func(_ *testing.T, der []byte) { _, _ = parseOCSP(der) })
}
