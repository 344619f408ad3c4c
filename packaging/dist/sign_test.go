package main

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"aead.dev/minisign"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A key with or without a password signs the sums and the program, twice the same; minisign itself, where it is
// installed, takes the signatures.
func TestSign(t *testing.T) {
	public, secret, err := minisign.GenerateKey(rand.Reader)
	testutil.Must(t, err)
	plain, err := secret.MarshalText()
	testutil.Must(t, err)
	locked, err := minisign.EncryptKey("open sesame", secret)
	testutil.Must(t, err)
	var signatures [][]byte
	for name, c := range map[string]struct {
		text               []byte
		password, wantsErr string
	}{
		"plain": {plain, "", ""}, "with a password": {locked, "open sesame", ""},
		"with another password": {locked, "open", "MINISIGN_PASSWORD"}, "no key": {[]byte("hello"), "", "-key"},
	} {
		r := of(t)
		r.parts = parts
		r.key = filepath.Join(t.TempDir(), "secret.key")
		testutil.Must(t, os.WriteFile(r.key, c.text, 0o600))
		t.Setenv("MINISIGN_PASSWORD", c.password)
		err := r.readKey()
		if c.wantsErr != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantsErr) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		testutil.Must(t, err)
		testutil.Must(t, writeSums(r.out))
		testutil.Must(t, r.sign())
		b := linkedBy(t)
		content, err := r.content("edge", runtime.GOARCH, b)
		testutil.Must(t, err)
		testutil.Must(t, write(filepath.Join(r.out, "edge.minisig"), content["edge.minisig"].text))
		for signature, of := range map[string]string{
			"SHA256SUMS.minisig": filepath.Join(r.out, sumsName), "edge.minisig": b[runtime.GOARCH]["edge"],
		} {
			text := read(t, filepath.Join(r.out, signature))
			if !minisign.Verify(public, read(t, of), text) || !strings.Contains(string(text), "comment: edge 1.2.3 ") {
				t.Errorf("%s: %s is no signature of %s:\n%s", name, signature, of, text)
			}
			signatures = append(signatures, text)
			if _, err := exec.LookPath("minisign"); err != nil {
				continue
			}
			out, err := exec.Command("minisign", "-V", "-P", public.String(), "-m", of, "-x",
				filepath.Join(r.out, signature)).CombinedOutput()
			if err != nil {
				t.Errorf("%s: minisign: %v\n%s", name, err, out)
			}
		}
	}
	distinct := map[string]bool{}
	for _, text := range signatures {
		distinct[string(text)] = true
	}
	if len(signatures) != 4 || len(distinct) != 2 {
		t.Errorf("%d different signatures of %d", len(distinct), len(signatures))
	}
	r := of(t)
	testutil.Must(t, r.readKey())
	testutil.Must(t, r.sign()) // without a key
	content, err := r.content("edge", runtime.GOARCH, linkedBy(t))
	if _, signed := content["edge.minisig"]; err != nil || signed {
		t.Errorf("signed without a key: %v", err)
	}
}
