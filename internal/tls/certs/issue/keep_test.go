package issue

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// pairOf returns a pair in PEM, with the chain that authorities send.
func pairOf(t *testing.T, a *testutil.Authority, change func(*x509.Certificate), names ...string) (chain, key []byte) {
	t.Helper()
	leaf, secret := a.Issue(t, change, names...)
	return pemOf(t, secret, leaf, a.Cert)
}

func pemOf(t *testing.T, secret *ecdsa.PrivateKey, certs ...*x509.Certificate) (chain, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(secret)
	testutil.Must(t, err)
	for _, c := range certs {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// filesIn returns the paths of the files below a folder, but for locks.
func filesIn(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasPrefix(path, "locks/") {
			list = append(list, path)
		}
		return err
	})
	testutil.Must(t, err)
	return list
}

// A start presents a pair that Keep has stored, and orders none, also under names that are written in another order.
func TestKeep_isFoundByStart(t *testing.T) {
	for _, names := range [][]string{{"a.test"}, {"b.test", "a.test", "a.test"}, {"*.a.test"}, {"192.0.2.1"}} {
		folder, ca := newFolder(t, filepath.Join(t.TempDir(), "acme")), newScripted(t, "ca.test-dir")
		chain, key := pairOf(t, testutil.NewAuthority(t), nil, names...)
		if err := Keep(t.Context(), folder, ca.Key(), names, chain, key); err != nil {
			t.Fatal(names, err)
		}
		plan := planOf(ca)
		plan.Storage, plan.Subjects = folder, []Subject{slices.Clone(names)}
		slices.Reverse(plan.Subjects[0])
		r := New(Options{Tell: func(e Event) { t.Error(e) }})
		set := r.Load(t.Context(), plan)
		got := set.Find(strings.TrimPrefix(names[0], "*"))
		if got == nil || got.Leaf.VerifyHostname(names[0]) != nil {
			t.Fatal(names, "is not found")
		}
		if e := set.entries[0]; nextOrder(e.held.Load(), &e.state).Before(time.Now().Add(24 * time.Hour)) {
			t.Error(names, "is ordered again")
		}
	}
}

// What is no pair for the names is an error, and nothing is stored.
func TestKeep_refuses(t *testing.T) {
	a := testutil.NewAuthority(t)
	chain, key := pairOf(t, a, nil, "a.test")
	_, other := pairOf(t, a, nil, "a.test")
	leaf, secret := a.Issue(t, nil, "a.test")
	strange, strangeKey := pemOf(t, secret, leaf, testutil.NewAuthority(t).Cert)
	old, oldKey := pairOf(t, a, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	}, "a.test")
	dir := filepath.Join(t.TempDir(), "acme")
	folder := newFolder(t, dir)
	for _, c := range []struct {
		why        string
		names      []string
		chain, key []byte
	}{
		{"another key", []string{"a.test"}, chain, other},
		{"another name", []string{"a.test", "b.test"}, chain, key},
		{"no name", nil, chain, key},
		{"an empty name", []string{"a.test", ""}, chain, key},
		{"a path", []string{"../../a.test"}, chain, key},
		{"a NUL", []string{"a.test\x00"}, chain, key},
		{"a long name", []string{strings.Repeat("a", 300) + ".test"}, chain, key},
		{"expired", []string{"a.test"}, old, oldKey},
		{"a strange chain", []string{"a.test"}, strange, strangeKey},
		{"nothing", []string{"a.test"}, nil, nil},
		{"in each other's place", []string{"a.test"}, key, chain},
	} {
		err := Keep(t.Context(), folder, "ca", c.names, c.chain, c.key)
		if err == nil || strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	for i := range len(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})) - 2 {
		if Keep(t.Context(), folder, "other", []string{"a.test"}, strange[:i], strangeKey) == nil {
			t.Fatalf("a chain of %d bytes is a pair", i)
		}
	}
	for i := range len(key) - len("-----END PRIVATE KEY-----\n") {
		if Keep(t.Context(), folder, "other", []string{"a.test"}, chain, key[:i]) == nil {
			t.Fatalf("a key of %d bytes is a pair", i)
		}
	}
	for _, path := range filesIn(t, dir) {
		if strings.Contains(path, "/other/") {
			t.Error(path)
		}
	}
}

// Names that are as hostile as their certificate stay in the folder of the authority.
func TestKeep_hostileNamesStayInside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "acme")
	folder, a := newFolder(t, dir), testutil.NewAuthority(t)
	long := strings.Repeat("a.", 150) + "test"
	for _, name := range []string{"../../../a.test", "a.test/../../b", long, "..", "a\x00b"} {
		chain, key := pairOf(t, a, nil, name)
		if err := Keep(t.Context(), folder, "ca", []string{name}, chain, key); err != nil {
			t.Errorf("%.40q: %v", name, err)
		}
	}
	for _, path := range filesIn(t, filepath.Dir(dir)) {
		if !strings.HasPrefix(path, "acme/certificates/ca/") && !strings.HasPrefix(path, "acme/locks/") {
			t.Error(path)
		}
	}
}

// A pair that is there stays if it is as new; an older or broken one does not.
func TestKeep_newestStays(t *testing.T) {
	folder, a, names := newFolder(t, filepath.Join(t.TempDir(), "acme")), testutil.NewAuthority(t), []string{"a.test"}
	of := func(hours int) (chain, key []byte) {
		return pairOf(t, a, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Duration(-hours) * time.Hour)
		}, names...)
	}
	at := siteOf("ca", "a.test")
	var newest []byte
	for _, hours := range []int{48, 24, 72, 12} {
		chain, key := of(hours)
		testutil.Must(t, Keep(t.Context(), folder, "ca", names, chain, key))
		if hours != 72 {
			newest = chain
		}
		if got, err := folder.Load(t.Context(), at.chain()); err != nil || string(got) != string(newest) {
			t.Errorf("after one of %d hours ago the newest is not there: %v", hours, err)
		}
	}
	testutil.Must(t, folder.Store(t.Context(), at.chain(), newest[:len(newest)/4]))
	chain, key := of(72)
	testutil.Must(t, Keep(t.Context(), folder, "ca", names, chain, key))
	if got, err := folder.Load(t.Context(), at.chain()); err != nil || string(got) != string(chain) {
		t.Errorf("a broken pair stays: %v", err)
	}
	if left := filesIn(t, folder.in.Path()); slices.ContainsFunc(left, func(p string) bool {
		return strings.HasSuffix(p, ".next")
	}) {
		t.Error(left)
	}
}
