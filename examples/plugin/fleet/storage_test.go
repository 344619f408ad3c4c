package fleet

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-proxy/edge"
)

// A value comes back as it was, is not to be read without the key, and cannot stand in another one's place.
func TestSealed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificates")
	key := edge.Secret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32)))
	s, err := NewSealed(&SealedConfig{Folder: dir, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("a private key")
	if err := s.Store(t.Context(), "a/key", secret); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(t.Context(), "a/key"); !bytes.Equal(got, secret) {
		t.Errorf("%q, %v", got, err)
	}
	file := filepath.Join(dir, "a", "key")
	text, err := os.ReadFile(file)
	if err != nil || bytes.Contains(text, secret) {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.Rename(file, filepath.Join(dir, "a", "other")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(t.Context(), "a/other"); err == nil {
		t.Errorf("%q", got)
	}
	for _, key := range []edge.Secret{"c2hvcnQ=", "no base64"} {
		if _, err := NewSealed(&SealedConfig{Folder: dir, Key: key}, nil); err == nil {
			t.Errorf("%s: no error", key)
		}
	}
}
