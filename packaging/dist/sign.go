package main

import (
	"fmt"
	"os"
	"path/filepath"

	"aead.dev/minisign"
)

// signer signs with a secret key of minisign, or not at all when there is none.
type signer struct{ key *minisign.PrivateKey }

// signer reads the key before anything is made.
func (r *release) signer() (signer, error) {
	if r.key == "" {
		return signer{}, nil
	}
	text, err := os.ReadFile(r.key)
	if err != nil {
		return signer{}, err
	}
	var key minisign.PrivateKey
	if minisign.IsEncrypted(text) {
		key, err = minisign.DecryptKey(os.Getenv("MINISIGN_PASSWORD"), text)
	} else {
		err = key.UnmarshalText(text)
	}
	if err != nil {
		return signer{}, fmt.Errorf("-key %s: %w (MINISIGN_PASSWORD has its password)", r.key, err)
	}
	return signer{&key}, nil
}

// sign makes the signature of SHA256SUMS, which stands for all files.
func (s signer) sign(r *release) error {
	if s.key == nil {
		fmt.Fprintln(r.told, "dist: nothing is signed, for want of a key")
		return nil
	}
	text, err := os.ReadFile(filepath.Join(r.out, sumsName))
	if err != nil {
		return err
	}
	return write(filepath.Join(r.out, sumsName+signature), s.signature(r, sumsName, text))
}

// signature returns the signature of a text, nil without a key. Its comment names what is signed, and the version. The
// same bytes and the same key make the same signature: its comments have no time.
func (s signer) signature(r *release, name string, text []byte) []byte {
	if s.key == nil {
		return nil
	}
	return minisign.SignWithComments(*s.key, text, "edge "+r.version+" "+name, "signature of "+name)
}
