package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// authority opens the authority in a folder of the test.
func authority(t testing.TB, dir string, names ...string) *Authority {
	t.Helper()
	a, err := OpenAuthority(dir, -1, -1, names...)
	testutil.Must(t, err)
	return a
}

// trusting returns what a client that trusts the root of a needs.
func trusting(t testing.TB, a *Authority) *x509.CertPool {
	t.Helper()
	pool, err := Authorities(a.Path)
	testutil.Must(t, err)
	return pool
}

// verify is what a client that trusts the root of a finds about a certificate of c's chain for a name.
func verify(t testing.TB, a *Authority, c *Certificate, name string) error {
	t.Helper()
	between := x509.NewCertPool()
	for _, der := range c.TLS.Certificate[1:] {
		next, err := x509.ParseCertificate(der)
		testutil.Must(t, err)
		between.AddCert(next)
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: trusting(t, a), Intermediates: between, DNSName: name})
	return err
}

func TestAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "internal")
	a := authority(t, dir, "shop.example.org", "*.corp.example", "203.0.113.9", "2001:db8::7", "not a name")
	if !a.Made {
		t.Error("it was there")
	}
	for _, name := range []string{
		"localhost", "a.b.localhost", "x.internal", "nas.home.arpa", "a_b.test", "shop.example.org",
		"x.shop.example.org", "corp.example", "x.corp.example", "127.0.0.1", "127.9.9.9", "::1", "10.1.2.3",
		"172.31.0.1", "192.168.7.7", "fd00::1", "203.0.113.9", "2001:db8::7",
	} {
		c := a.Find(name)
		if c == nil {
			t.Errorf("none for %s", name)
			continue
		}
		if err := verify(t, a, c, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if a.Find(name) != c {
			t.Errorf("%s: another one each time", name)
		}
		if left := time.Until(c.Leaf.NotAfter); left < leafLife-time.Minute || left > leafLife {
			t.Errorf("%s: %v", name, left)
		}
	}
	for _, name := range []string{
		"", ".", "example.org", "notlocalhost", "xinternal", "a..test", "*.test", "localhost.", "LOCALHOST", "a b.test",
		"a\x00.test", strings.Repeat("a.", 130) + "test", strings.Repeat("a", 64) + ".test", "8.8.8.8", "172.32.0.1",
		"203.0.113.8", "2001:db8::8", "::ffff:8.8.8.8", "fe80::1",
	} {
		if c := a.Find(name); c != nil {
			t.Errorf("%q has a certificate for %s", name, c.Subject())
		}
	}
	again := authority(t, dir)
	if again.Made || again.id != a.id || !again.May("shop.example.org") || again.May("other.example") {
		t.Errorf("made a second time, or for other names: %v", again.permitted)
	}
	for _, name := range []string{caCert, signed} {
		if at, err := os.Stat(filepath.Join(dir, name)); err != nil || at.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := os.ReadDir(dir); err != nil || len(got) != 2 {
		t.Errorf("%v %v", got, err)
	}
}

// A file that was cut, or that is another one's, is an error and is not replaced: clients may trust what it held.
func TestOpenAuthority_damaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "internal")
	authority(t, dir)
	file := filepath.Join(dir, signed)
	whole, err := os.ReadFile(file)
	testutil.Must(t, err)
	for n := range whole[:len(whole)-1] {
		testutil.Must(t, os.WriteFile(file, whole[:n], 0o600))
		if a, err := OpenAuthority(dir, -1, -1); err == nil {
			t.Fatalf("cut at %d: made %v", n, a.Made)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != string(whole[:n]) {
			t.Fatalf("cut at %d: it was written, %v", n, err)
		}
	}
	testutil.Must(t, os.WriteFile(file, whole, 0o600), os.Remove(filepath.Join(dir, caCert)))
	if a := authority(t, dir); a.Made || trusting(t, a) == nil {
		t.Error("made again")
	}
}

// An authority of an older version stays: clients trust it.
func TestOpenAuthority_older(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "internal")
	testutil.Must(t, os.Mkdir(dir, 0o700))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testutil.Must(t, err)
	old := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "older"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(authorityLife), IsCA: true,
		BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, old, old, key.Public(), key)
	testutil.Must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	testutil.Must(t, err)
	in := func(name string) string { return filepath.Join(dir, name) }
	testutil.Must(t, os.WriteFile(in(caCert), pemOf(certificateBlock, der), 0o600),
		os.WriteFile(in(caKey), pemOf("PRIVATE KEY", keyDER), 0o600),
		os.WriteFile(in(leafCert), nil, 0o600), os.WriteFile(in(leafKey), nil, 0o600))
	a := authority(t, dir, "shop.example.org")
	if a.Made || !a.May("shop.example.org") || a.May("other.example") {
		t.Errorf("%+v", a)
	}
	if err := verify(t, a, a.Find("x.shop.example.org"), "x.shop.example.org"); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadDir(dir); err != nil || len(got) != 2 {
		t.Errorf("%v %v", got, err)
	}
	testutil.Must(t, os.Remove(in(caCert)))
	if a := authority(t, dir); !a.Made || a.Find("localhost") == nil {
		t.Error("no new one")
	}
	if _, err := os.Stat(in(caKey)); !errors.Is(err, os.ErrNotExist) {
		t.Error("the key of the older one is there still")
	}
}

// A thief of the key of an authority has no power over names beyond its constraints.
func TestAuthority_beyond(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	testutil.Must(t, err)
	dir := filepath.Join(t.TempDir(), "internal")
	a := authority(t, dir)
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		testutil.Must(t, os.WriteFile(path, text, 0o600))
		return path
	}
	between := file("between.pem", pemOf(certificateBlock, a.signer.Raw))
	for name, want := range map[string]bool{
		"example.org": false, "8.8.8.8": false, "2001:db8::1": false, "xlocalhost": false,
		"a.test": true, "*.a.test": true, "10.0.0.1": true, "::1": true,
	} {
		c, err := a.Leaf(name) // which asks for no May
		testutil.Must(t, err)
		asked := strings.Replace(name, "*", "x", 1)
		var wrong x509.CertificateInvalidError
		if err := verify(t, a, c, asked); (err == nil) != want ||
			!want && (!errors.As(err, &wrong) || wrong.Reason != x509.CANotAuthorizedForThisName) {
			t.Errorf("Go about %s: %v", name, err)
		}
		flag := "-verify_hostname"
		if net.ParseIP(name) != nil {
			flag = "-verify_ip"
		}
		leaf := file("leaf", pemOf(certificateBlock, c.Leaf.Raw))
		out, err := exec.Command(openssl, "verify", "-CAfile", a.Path, "-untrusted", between, flag, asked,
			leaf).CombinedOutput()
		if (err == nil) != want || !want && !strings.Contains(string(out), "permitted subtree violation") {
			t.Errorf("OpenSSL about %s: %v %s", name, err, out)
		}
	}
}

// A flood of names keeps no more than a bound, and many handshakes for one name make one certificate.
func TestAuthority_findIsBounded(t *testing.T) {
	a := authority(t, filepath.Join(t.TempDir(), "internal"))
	var wg sync.WaitGroup
	got := make([]*Certificate, 8)
	for i := range got {
		wg.Go(func() { got[i] = a.Find("one.test") })
	}
	wg.Wait()
	if n := len(slices.Compact(got)); n != 1 {
		t.Errorf("%d certificates for one name", n)
	}
	for i := range leavesMax {
		a.leaves[0][fmt.Sprint(i)] = got[0]
	}
	if a.Find("two.test") == nil || a.Find("one.test") != got[0] || len(a.leaves[0]) != 1 {
		t.Errorf("%d and %d are kept", len(a.leaves[0]), len(a.leaves[1]))
	}
	a.leaves[0]["two.test"].Leaf.NotAfter = time.Now().Add(leafLife/3 - time.Minute)
	if c := a.Find("two.test"); time.Until(c.Leaf.NotAfter) < leafLife/2 {
		t.Error("it is not renewed")
	}
}

// at is a connection that has come to an address of this machine.
type at struct {
	net.Conn
	ip string
}

func (a at) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(a.ip)} }

// A client gets the first of: what is for its name, what the authority makes for it, the first pair. One without a name
// gets a certificate for the address that it has reached.
func TestChooser_makes(t *testing.T) {
	a := authority(t, filepath.Join(t.TempDir(), "internal"))
	made := Files{Authority: a, Hosts: []string{"localhost", "127.0.0.1"}}
	s := newSet(t, nil, []Files{made})
	c := s.Chooser("", 0)
	first := s.Certificates()[0]
	for _, one := range []struct{ name, local, want string }{
		{"localhost", "", "localhost"}, {"app.test", "", "app.test"}, {"APP.test.", "", "app.test"},
		{"example.org", "", "localhost"}, {"", "192.168.1.5", "192.168.1.5"}, {"", "127.0.0.1", "127.0.0.1"},
		{"", "8.8.8.8", "localhost"}, {"", "", "localhost"},
	} {
		hello := &tls.ClientHelloInfo{ServerName: one.name}
		if one.local != "" {
			hello.Conn = at{ip: one.local}
		}
		got, err := c.GetCertificate(hello)
		if err != nil || got.Leaf.VerifyHostname(one.want) != nil {
			t.Errorf("%+v: %v %v %v", one, got.Leaf.DNSNames, got.Leaf.IPAddresses, err)
		}
		if one.name == "" && got.Leaf.VerifyHostname("localhost") != nil {
			t.Errorf("%+v: not for localhost", one)
		}
	}
	next := newSet(t, s, []Files{made})
	if next.Certificates()[0] != first {
		t.Error("a reload makes another one")
	}
}

// A process that runs for longer than the certificate of its own authority lives presents a new one in time.
func TestSet_renews(t *testing.T) {
	a := authority(t, filepath.Join(t.TempDir(), "internal"))
	s := newSet(t, nil, []Files{{Authority: a, Hosts: []string{"localhost", "127.0.0.1"}}})
	first := s.Certificates()[0].Leaf
	due := first.NotAfter.Add(-leafLife / 3)
	if c := s.Look(due.Add(-time.Minute)); len(c) != 0 {
		t.Fatalf("too early: %+v", c)
	}
	if c := s.Look(due); len(c) != 1 || c[0].Err != nil || c[0].Now.Leaf.Equal(first) {
		t.Fatalf("%+v", c)
	}
	got, err := s.Chooser("", 0).GetCertificate(&tls.ClientHelloInfo{ServerName: "localhost"})
	if err != nil || got.Leaf.Equal(first) || got.Leaf.CheckSignatureFrom(a.signer) != nil {
		t.Fatal(err)
	}
}

func TestAuthority_Pair(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "internal")
	a := authority(t, dir)
	for _, client := range []bool{false, true} {
		text, err := a.Pair(90*24*time.Hour, client, "b.internal", "10.0.0.2")
		testutil.Must(t, err)
		file := filepath.Join(dir, "pair")
		testutil.Must(t, os.WriteFile(file, text, 0o600))
		c, err := Load(&Files{Cert: file}, time.Now())
		testutil.Must(t, err)
		use := x509.ExtKeyUsageServerAuth
		if client {
			use = x509.ExtKeyUsageClientAuth
		}
		between := x509.NewCertPool()
		between.AddCert(a.signer)
		_, err = c.Leaf.Verify(x509.VerifyOptions{Roots: trusting(t, a), Intermediates: between, DNSName: "10.0.0.2",
			KeyUsages: []x509.ExtKeyUsage{use}})
		if err != nil || c.Leaf.ExtKeyUsage[0] != use || time.Until(c.Leaf.NotAfter) < 89*24*time.Hour {
			t.Errorf("client %v: %v", client, err)
		}
	}
}
