package main

import (
	"fmt"
	"os"
	"path/filepath"

	"aead.dev/minisign"
)

// readKey reads the secret key, if there is to be one, before anything is made.
func (r *release) readKey() error {
	if r.key == "" {
		return nil
	}
	text, err := os.ReadFile(r.key)
	if err != nil {
		return err
	}
	var key minisign.PrivateKey
	if minisign.IsEncrypted(text) {
		key, err = minisign.DecryptKey(os.Getenv("MINISIGN_PASSWORD"), text)
	} else {
		err = key.UnmarshalText(text)
	}
	if err != nil {
		return fmt.Errorf("-key %s: %w (MINISIGN_PASSWORD has its password)", r.key, err)
	}
	r.secret = &key
	return nil
}

// sign makes the signature of SHA256SUMS, which stands for all files.
func (r *release) sign() error {
	if r.secret == nil {
		fmt.Fprintln(r.told, "dist: nothing is signed, for want of a key")
		return nil
	}
	text, err := os.ReadFile(filepath.Join(r.out, sumsName))
	if err != nil {
		return err
	}
	return write(filepath.Join(r.out, sumsName+signature), r.signature(sumsName, text))
}

// signature returns the signature of a text, nil without a key. Its comment names what is signed, and the version. The
// same bytes and the same key make the same signature: its comments have no time.
func (r *release) signature(name string, text []byte) []byte {
	if r.secret == nil {
		return nil
	}
	return minisign.SignWithComments(*r.secret, text, "edge "+r.version+" "+name, "signature of "+name)
}
