package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

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

// sign makes the signatures of SHA256SUMS, which stands for all files, and of edge for each architecture, which edge
// upgrade --verify asks for. The same bytes and the same key make the same signature: its comments have no time.
func (s signer) sign(r *release, b binaries) error {
	if s.key == nil {
		fmt.Fprintln(r.told, "dist: nothing is signed, for want of a key")
		return nil
	}
	files := map[string]string{sumsName: filepath.Join(r.out, sumsName)}
	for arch, linked := range b {
		if r.has("archives") && slices.Contains(r.archs, arch) {
			files[r.nameOf("edge", arch)] = linked["edge"]
		}
	}
	for name, from := range files {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		signed := minisign.SignWithComments(*s.key, text, "edge "+r.version+" "+name, "signature of "+name)
		if err := write(filepath.Join(r.out, name+signature), signed); err != nil {
			return err
		}
	}
	return nil
}
