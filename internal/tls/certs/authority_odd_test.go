package certs

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Processes that make an authority in the same moment have the same one afterwards.
func TestOpenAuthority_atOnce(t *testing.T) {
	for range 50 {
		dir := filepath.Join(t.TempDir(), "internal")
		var made [4]*Authority
		var wg sync.WaitGroup
		for i := range made {
			wg.Go(func() { made[i], _ = OpenAuthority(dir, -1, -1) })
		}
		wg.Wait()
		for _, a := range made {
			if a == nil || a.id != made[0].id {
				t.Fatal("two processes have two authorities, or one has none")
			}
		}
		testutil.Must(t, verify(t, made[0], made[0].Find("a.test"), "a.test"))
		if got, err := os.ReadDir(dir); err != nil || len(got) != 2 {
			t.Fatalf("%v %v", got, err)
		}
	}
}

// A machine without a clock of its own starts in the past. The authority that clients trust stays, and certificates
// that were made in the future are made anew.
func TestAuthority_clockSetBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "internal")
	a := authority(t, dir)
	later := a.Find("a.test")
	testutil.Bubble(t, func(t *testing.T) { // it is the year 2000
		if again := authority(t, dir); again.Made || again.id != a.id {
			t.Error("another one was made")
		}
		if c := a.Find("a.test"); c == later || c.State(time.Now()) != Valid {
			t.Errorf("it begins at %v", c.Leaf.NotBefore)
		}
		if s := authority(t, filepath.Join(t.TempDir(), "internal")); s.signer.NotBefore.Year() > 2000 {
			t.Error("the clock of the test is not set back")
		}
	})
	s := newSet(t, nil, []Files{{Authority: a, Hosts: []string{"localhost"}}})
	if c := s.Look(later.Leaf.NotBefore.Add(-time.Hour)); len(c) != 1 {
		t.Errorf("%+v", c)
	}
}

// In the last days of an authority a certificate ends when the authority does: another one would be no better.
func TestAuthority_lastDays(t *testing.T) {
	a := authority(t, filepath.Join(t.TempDir(), "internal"))
	signer := *a.signer
	signer.NotAfter = time.Now().Add(leafLife / 4).Truncate(time.Second)
	a.signer = &signer
	s := newSet(t, nil, []Files{{Authority: a, Hosts: []string{"localhost"}}})
	if c := s.Look(time.Now()); len(c) != 0 || a.Find("a.test") != a.Find("a.test") {
		t.Errorf("made anew each time: %+v", c)
	}
}

// A client that asks for an address by name changes nothing for those that ask for no name.
func TestChooser_addressAsName(t *testing.T) {
	a := authority(t, filepath.Join(t.TempDir(), "internal"))
	s := newSet(t, nil, []Files{{Authority: a, Hosts: []string{"localhost"}}})
	c := s.Chooser("", 0)
	for _, name := range []string{"127.0.0.1", ""} {
		got, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: name, Conn: at{ip: "127.0.0.1"}})
		if err != nil || got.Leaf.VerifyHostname("127.0.0.1") != nil ||
			name == "" && got.Leaf.VerifyHostname("localhost") != nil {
			t.Errorf("%q: %v %v %v", name, got.Leaf.DNSNames, got.Leaf.IPAddresses, err)
		}
	}
}

// Reading an authority makes none: nobody knows the hosts that it would be for.
func TestReadAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "internal")
	a := authority(t, dir, "shop.example.org")
	if got, err := ReadAuthority(dir, -1, -1); err != nil || got.id != a.id || !got.May("shop.example.org") {
		t.Errorf("%+v %v", got, err)
	}
	testutil.Must(t, os.Remove(filepath.Join(dir, signed)))
	if got, err := ReadAuthority(dir, -1, -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%+v %v", got, err)
	}
}

// The files of an older version that nobody reads any more are no reason to refuse its authority, as in a folder that
// can only be read.
func TestOpenAuthority_olderStaysWithItsLeaf(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "internal")
	a := authority(t, dir)
	in := func(name string) string { return filepath.Join(dir, name) }
	key, err := os.ReadFile(in(signed))
	testutil.Must(t, err, os.WriteFile(in(caKey), key, 0o600), os.WriteFile(in(caCert), key, 0o600),
		os.Remove(in(signed)), os.MkdirAll(filepath.Join(in(leafCert), "held"), 0o700))
	if again, err := OpenAuthority(dir, -1, -1); err != nil || again.Made || again.id != a.id {
		t.Errorf("%+v %v", again, err)
	}
}
