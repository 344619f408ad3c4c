package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func write(t *testing.T, path string, blocks ...*pem.Block) {
	t.Helper()
	var text []byte
	for _, b := range blocks {
		text = append(text, pem.EncodeToMemory(b)...)
	}
	testutil.Must(t, os.WriteFile(path, text, 0o600))
}

func certBlock(c *x509.Certificate) *pem.Block { return &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw} }

func keyBlock(t *testing.T, kind string, key any) *pem.Block {
	t.Helper()
	var der []byte
	var err error
	switch kind {
	case "EC PRIVATE KEY":
		der, err = x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	case "RSA PRIVATE KEY":
		der = x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))
	default:
		der, err = x509.MarshalPKCS8PrivateKey(key)
	}
	testutil.Must(t, err)
	return &pem.Block{Type: kind, Bytes: der}
}

func TestLoad_formsOfAPair(t *testing.T) {
	ca := testutil.NewAuthority(t)
	dir := t.TempDir()
	cert, key := ca.Issue(t, nil, "a.example.org", "*.b.example.org")
	file := filepath.Join(dir, "f")
	for name, blocks := range map[string][]*pem.Block{
		"PKCS8":      {certBlock(cert), keyBlock(t, "PRIVATE KEY", key)},
		"SEC1":       {certBlock(cert), keyBlock(t, "EC PRIVATE KEY", key)},
		"with chain": {certBlock(cert), certBlock(ca.Cert), keyBlock(t, "PRIVATE KEY", key)},
		"key first":  {keyBlock(t, "PRIVATE KEY", key), certBlock(cert)},
		"with parameters": {
			{Type: "EC PARAMETERS", Bytes: []byte{6, 0}}, keyBlock(t, "EC PRIVATE KEY", key), certBlock(cert)},
	} {
		write(t, file, blocks...)
		c, err := Load(&Files{Cert: file}, time.Now())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(c.Hosts) != 2 || c.Hosts[1] != "*.b.example.org" || c.Subject() != "CN=a.example.org" {
			t.Errorf("%s: hosts %q, subject %s", name, c.Hosts, c.Subject())
		}
	}
}

// RFC 7468 §3: white space may follow the text of a line, as in what was copied out of a page.
func TestLoad_blanksAfterLines(t *testing.T) {
	ca := testutil.NewAuthority(t)
	cert, key := ca.Issue(t, nil, "a.example.org")
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, certBlock(cert), keyBlock(t, "PRIVATE KEY", key))
	text, err := os.ReadFile(file)
	testutil.Must(t, err)
	if err = os.WriteFile(file, bytes.ReplaceAll(text, []byte("\n"), []byte("  \n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(&Files{Cert: file}, time.Now()); err != nil || len(c.Hosts) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestLoad_RSA(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	testutil.Must(t, err)
	ca := testutil.NewAuthority(t)
	template := &x509.Certificate{SerialNumber: ca.Cert.SerialNumber, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"r.example.org"}}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, key.Public(), ca.Key)
	testutil.Must(t, err)
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, &pem.Block{Type: "CERTIFICATE", Bytes: der}, keyBlock(t, "RSA PRIVATE KEY", key))
	if _, err := Load(&Files{Cert: file}, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestLoad_whatIsWrong(t *testing.T) {
	ca := testutil.NewAuthority(t)
	dir := t.TempDir()
	cert, key := ca.Issue(t, nil, "a.example.org")
	other, otherKey := ca.Issue(t, nil, "b.example.org")
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("cert"), certBlock(cert))
	write(t, path("key"), keyBlock(t, "PRIVATE KEY", key))
	write(t, path("other-key"), keyBlock(t, "PRIVATE KEY", otherKey))
	write(t, path("both"), certBlock(other), certBlock(cert))
	write(t, path("encrypted"), &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
	write(t, path("encrypted-old"), &pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte{1},
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "DES-EDE3-CBC,00"}})
	write(t, path("garbage"), &pem.Block{Type: "PRIVATE KEY", Bytes: []byte("garbage")})
	write(t, path("bad-cert"), &pem.Block{Type: "CERTIFICATE", Bytes: []byte("garbage")})
	testutil.Must(t, os.WriteFile(path("large"), make([]byte, 1<<20+1), 0o600))
	whole, err := os.ReadFile(path("both"))
	testutil.Must(t, err)
	cut := bytes.LastIndexByte(whole[:len(whole)-1], '\n') // all of the second but its last line
	for name, text := range map[string]string{
		"cut": string(whole[:cut]), "torn": strings.Replace(string(whole), "M", "*", 1),
	} {
		testutil.Must(t, os.WriteFile(path(name), []byte(text), 0o600))
	}
	for _, c := range []struct {
		cert, key string
		part      Part
		want      string
	}{
		{"none", "key", PartCert, "no such file"},
		{"cert", "none", PartKey, "no such file"},
		{".", "key", PartCert, "no regular file"},
		{"large", "key", PartCert, "larger than 1 MiB"},
		{"key", "key", PartCert, "holds no certificate"},
		{"bad-cert", "key", PartCert, "x509"},
		{"cut", "other-key", PartCert, "damaged or not whole"},
		{"torn", "key", PartCert, "damaged or not whole"},
		{"cert", "", PartCert, "holds no private key"},
		{"cert", "cert", PartKey, "holds no private key"},
		{"cert", "encrypted", PartKey, "encrypted"},
		{"cert", "encrypted-old", PartKey, "encrypted"},
		{"cert", "garbage", PartKey, "cannot be read"},
		{"cert", "other-key", PartCert, "do not belong together (cert CN=a.example.org)"},
		{"both", "key", PartCert, "has to come first"},
	} {
		f := &Files{Cert: path(c.cert)}
		if c.key != "" {
			f.Key = path(c.key)
		}
		_, err := Load(f, time.Now())
		var wrong *Error
		if !errors.As(err, &wrong) || wrong.Part != c.part || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v, want %q", c.cert, c.key, err, c.want)
		}
	}
	if _, err := Load(&Files{Cert: path("none")}, time.Now()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not ErrNotExist", err)
	}
}

func TestCertificate_state(t *testing.T) {
	now := time.Now()
	at := func(days int) time.Time { return now.Add(time.Duration(days) * 24 * time.Hour) }
	for _, c := range []struct {
		from, to int
		want     State
	}{
		{-30, 60, Valid}, {-80, 10, Expiring}, {-4, 2, Valid}, {-6, 1, Expiring}, {-90, 0, Expired},
		{1, 90, NotYetValid},
	} {
		crt := &Certificate{Leaf: &x509.Certificate{NotBefore: at(c.from), NotAfter: at(c.to)}}
		if got := crt.State(now); got != c.want {
			t.Errorf("from day %d to day %d: %d, want %d", c.from, c.to, got, c.want)
		}
	}
}

// chosen returns the name of the certificate that a handshake for a name gets.
func chosen(t *testing.T, c *Chooser, name string) string {
	t.Helper()
	got, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	testutil.Must(t, err)
	return got.Leaf.Subject.CommonName
}

func issue(t *testing.T, ca *testutil.Authority, dir, name string, hosts ...string) Files {
	t.Helper()
	ca.IssueTo(t, dir, name, nil, hosts...)
	base := filepath.Join(dir, name)
	return Files{Cert: base + ".pem", Key: base + ".key"}
}

func newSet(t *testing.T, old *Set, groups ...[]Files) *Set {
	t.Helper()
	s, err := NewSet(old, groups...)
	testutil.Must(t, err)
	return s
}

func TestChooser(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	shared := []Files{
		issue(t, ca, dir, "first", "first.example.org"),
		issue(t, ca, dir, "wild", "*.example.org"),
		issue(t, ca, dir, "exact", "www.example.org", "WWW2.example.org"),
	}
	forced := issue(t, ca, dir, "forced", "other.name")
	forced.Hosts = []string{"forced.example.org"}
	own := []Files{issue(t, ca, dir, "own", "own.example.org")}
	s := newSet(t, nil, append(shared, forced), own)
	all, mine := s.Chooser("", 0), s.Chooser("", 1, 0)
	for _, c := range []struct {
		by   *Chooser
		name string
		want string
	}{
		{all, "www.example.org", "www.example.org"}, {all, "WWW.Example.Org", "www.example.org"},
		{all, "www2.example.org", "www.example.org"}, {all, "x.example.org", "*.example.org"},
		{all, "a.b.example.org", "first.example.org"}, {all, "example.org", "first.example.org"},
		{all, "", "first.example.org"}, {all, "unknown", "first.example.org"},
		{all, "forced.example.org", "other.name"}, {all, "other.name", "first.example.org"},
		{mine, "own.example.org", "own.example.org"}, {mine, "www.example.org", "www.example.org"},
		{mine, "", "own.example.org"}, {mine, "unknown", "own.example.org"},
	} {
		if got := chosen(t, c.by, c.name); got != c.want {
			t.Errorf("%q gets %s, want %s", c.name, got, c.want)
		}
	}
	if _, err := (&Chooser{}).GetCertificate(&tls.ClientHelloInfo{}); err == nil {
		t.Error("a certificate out of nothing")
	}
}

// Those whose When holds come before all others for a name, those for the name itself before those with a star.
func TestChooser_when(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	holds := map[string]bool{}
	pair := func(file, when string, names ...string) Files {
		f := issue(t, ca, dir, file, append([]string{file}, names...)...)
		if when != "" {
			f.When = func(_ *tls.ClientHelloInfo, listener string) bool { return holds[when+"@"+listener] }
		}
		return f
	}
	s := newSet(t, nil, []Files{
		pair("plain", "", "www.test"), pair("wild", "a", "*.test"), pair("exact", "a", "www.test"),
		pair("second", "b", "www.test"),
	}, []Files{pair("own", "", "www.test")}, []Files{pair("alone", "a", "www.test")})
	for _, c := range []struct {
		name, holds, want string
		groups            []int
	}{
		{"www.test", "", "plain", []int{0}}, {"www.test", "a@l", "exact", []int{0}},
		{"x.test", "a@l", "wild", []int{0}},
		{"WWW.test", "b@l", "second", []int{0}}, {"www.test", "a@other", "plain", []int{0}},
		{"x.test", "", "plain", []int{0}}, {"", "", "plain", []int{0}}, {"", "b@l", "second", []int{0}},
		{"www.test", "", "own", []int{1, 0}}, {"www.test", "b@l", "second", []int{1, 0}},
		{"", "b@l", "own", []int{1, 0}},
		{"www.test", "a@l", "alone", []int{2}}, {"www.test", "", "", []int{2}}, {"", "", "", []int{2}},
	} {
		clear(holds)
		holds[c.holds] = true
		got := ""
		cert, err := s.Chooser("l", c.groups...).GetCertificate(&tls.ClientHelloInfo{ServerName: c.name})
		testutil.Must(t, err)
		if cert != nil {
			got = cert.Leaf.Subject.CommonName
		}
		if got != c.want {
			t.Errorf("%q gets %q where %q holds, want %q", c.name, got, c.holds, c.want)
		}
	}
}

func TestChooser_doesNotAllocate(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	s := newSet(t, nil, []Files{issue(t, ca, dir, "a", "*.example.org")})
	c, hello := s.Chooser("", 0), &tls.ClientHelloInfo{ServerName: "www.example.org"}
	if n := testutil.Allocs(100, func() { _, _ = c.GetCertificate(hello) }); n != 0 {
		t.Errorf("%v allocations a choice", n)
	}
}

// Of several for one name, the first that the client can verify.
func TestChooser_byWhatTheClientVerifies(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ecdsaPair := issue(t, ca, dir, "ecdsa", "a.example.org")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	testutil.Must(t, err)
	template := &x509.Certificate{SerialNumber: ca.Cert.SerialNumber, DNSNames: []string{"a.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, key.Public(), ca.Key)
	testutil.Must(t, err)
	file := filepath.Join(dir, "rsa")
	write(t, file, &pem.Block{Type: "CERTIFICATE", Bytes: der}, keyBlock(t, "PRIVATE KEY", key))
	s := newSet(t, nil, []Files{ecdsaPair, {Cert: file}})
	for scheme, name := range map[tls.SignatureScheme]string{
		tls.ECDSAWithP256AndSHA256: "*ecdsa.PublicKey", tls.PSSWithSHA256: "*rsa.PublicKey",
	} {
		for _, server := range []string{"a.example.org", ""} {
			got, err := s.Chooser("", 0).GetCertificate(&tls.ClientHelloInfo{ServerName: server,
				SignatureSchemes: []tls.SignatureScheme{scheme}, SupportedVersions: []uint16{tls.VersionTLS13},
				SupportedCurves: []tls.CurveID{tls.X25519}})
			testutil.Must(t, err)
			if kind := typeName(got.Leaf.PublicKey); kind != name {
				t.Errorf("%v for %q gets %s, want %s", scheme, server, kind, name)
			}
		}
	}
}

func typeName(v any) string {
	switch v.(type) {
	case *rsa.PublicKey:
		return "*rsa.PublicKey"
	case *ecdsa.PublicKey:
		return "*ecdsa.PublicKey"
	}
	return "?"
}

func TestSet_thousands(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	one := issue(t, ca, dir, "one", "one.example.org")
	var list []Files
	for i := range 1000 {
		f := one
		f.Hosts = []string{"h" + string(rune('a'+i%26)) + "-" + time.Duration(i).String() + ".example.org"}
		list = append(list, f)
	}
	s := newSet(t, nil, list)
	if got := len(s.Certificates()); got != 1000 {
		t.Errorf("%d certificates", got)
	}
}

// handshake makes a connection in memory and returns what the client saw.
func handshake(t *testing.T, server, client *tls.Config) tls.ConnectionState {
	t.Helper()
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x")) // the tickets of TLS 1.3 come with what follows
		}
		done <- err
	}()
	c := tls.Client(b, client)
	_, err := c.Read(make([]byte, 1))
	testutil.Must(t, err)
	testutil.Must(t, <-done)
	state := c.ConnectionState()
	a.Close()
	b.Close()
	return state
}

func TestTickets_outliveConfigsAndRotations(t *testing.T) {
	ca := testutil.NewAuthority(t)
	cert, key := ca.Issue(t, nil, "a.example.org")
	newServer := func() *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	}
	rotations := 0
	tickets := NewTickets(nil, func() { rotations++ })
	client := &tls.Config{RootCAs: ca.Pool, ServerName: "a.example.org"}
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	resumed := func(server *tls.Config) bool { return handshake(t, server, client).DidResume }
	first, second := newServer(), newServer()
	tickets.Use([]TicketUser{{Config: first}})
	if resumed(first) {
		t.Error("the first handshake resumes")
	}
	tickets.Use([]TicketUser{{Config: first}, {Config: second}})
	if !resumed(second) {
		t.Error("not resumed by another configuration with the same keys")
	}
	tickets.Rotate()
	if !resumed(second) {
		t.Error("not resumed after a rotation")
	}
	other := newServer()
	NewTickets(tickets.Keys(), nil).Use([]TicketUser{{Config: other}})
	if !resumed(other) {
		t.Error("not resumed by keys that were handed on")
	}
	bound, same, changed := newServer(), newServer(), newServer()
	tickets.Use([]TicketUser{{first, ""}, {bound, "a"}, {same, "a"}, {changed, "b"}})
	if resumed(bound) {
		t.Error("resumed by one that is bound to words, which the session has not")
	}
	if tickets.Rotate(); !resumed(same) {
		t.Error("not resumed by another one that is bound to the same words")
	}
	if resumed(changed) {
		t.Error("resumed by one that is bound to other words")
	}
	if resumed(first) {
		t.Error("resumed by one that is not bound, where the session is")
	}
	late := newServer()
	if tickets.Begin(TicketUser{late, ""}); !resumed(late) {
		t.Error("not resumed by one that begins before it is used")
	}
	for range ticketKeys {
		tickets.Rotate()
	}
	if resumed(second) {
		t.Error("resumed with a key that has rotated away")
	}
	if n := len(tickets.Keys()); n != ticketKeys || rotations != ticketKeys+2 {
		t.Errorf("%d keys, %d rotations", n, rotations)
	}
}

// issueFor is issue for a certificate that is valid from a time to another, as its distance from now.
func issueFor(t *testing.T, ca *testutil.Authority, dir, file string, from, until time.Duration, name string) Files {
	t.Helper()
	now := time.Now()
	ca.IssueTo(t, dir, file, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = now.Add(from), now.Add(until)
		c.Subject.CommonName = file
	}, name)
	return Files{Cert: filepath.Join(dir, file+".pem"), Key: filepath.Join(dir, file+".key")}
}

// oneFound is a Source that has a certificate.
type oneFound struct{ *Certificate }

func (s oneFound) Find(string) *Certificate                       { return s.Certificate }
func (s oneFound) Wait(*tls.ClientHelloInfo, string) *Certificate { return s.Certificate }

// Among certificates for a name, a valid certificate comes first, then the name itself before a star, then the
// certificate that ends last, wherever they are.
func TestChooser_byDates(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	const day = 24 * time.Hour
	pair := func(file string, from, until time.Duration, name string) Files {
		return issueFor(t, ca, dir, file, from*day, until*day, name)
	}
	s := newSet(t, nil, []Files{
		pair("expired", -60, -1, "a.test"), pair("valid", -1, 60, "a.test"),
		pair("exact-expired", -60, -1, "x.w.test"), pair("wild", -1, 90, "*.w.test"), pair("exact", -1, 9, "y.w.test"),
		pair("not-yet", 5, 60, "b.test"), pair("now", -1, 60, "b.test"),
		pair("soon", -1, 60, "c.test"), pair("last", -1, 90, "c.test"), pair("middle", -1, 70, "c.test"),
		pair("old", -60, -2, "d.test"), pair("older", -60, -3, "d.test"),
	}, []Files{
		pair("own-expired", -60, -1, "a.test"), pair("own-old", -60, -1, "acme.test"),
		pair("own", -1, 9, "c.test"), pair("own-older", -60, -3, "d.test"),
	})
	both := s.Chooser("", 1, 0)
	both.Source = oneFound{s.Chooser("", 0).groups[0].pairs[1].present.Load()}
	for _, c := range []struct {
		by         *Chooser
		name, want string
	}{
		{s.Chooser("", 0), "a.test", "valid"}, {s.Chooser("", 0), "x.w.test", "wild"},
		{s.Chooser("", 0), "y.w.test", "exact"}, {s.Chooser("", 0), "b.test", "now"},
		{s.Chooser("", 0), "c.test", "last"}, {s.Chooser("", 0), "d.test", "old"},
		{s.Chooser("", 0), "", "valid"}, // the first pair is for a.test
		{s.Chooser("", 1, 0), "a.test", "valid"}, {s.Chooser("", 1, 0), "c.test", "own"},
		{s.Chooser("", 1, 0), "d.test", "own-older"}, {s.Chooser("", 1, 0), "acme.test", "own-old"},
		{both, "acme.test", "valid"}, {both, "c.test", "own"},
	} {
		if got := chosen(t, c.by, c.name); got != c.want {
			t.Errorf("%q gets %s, want %s", c.name, got, c.want)
		}
	}
}

// A certificate that expires while the process runs gives way to another one for the name, without a reload.
func TestChooser_atTheMomentOfExpiry(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	s := newSet(t, nil, []Files{
		issueFor(t, ca, dir, "ends", -time.Hour, 2*time.Second, "a.w.test"),
		issueFor(t, ca, dir, "wild", -time.Hour, time.Hour, "*.w.test"),
	})
	by := s.Chooser("", 0)
	end := s.Certificates()[0].Leaf.NotAfter
	if got := chosen(t, by, "a.w.test"); got != "ends" && time.Now().Before(end) {
		t.Errorf("before the end: %s", got)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return chosen(t, by, "a.w.test") == "wild" },
		"an expired certificate is shown")
}
