package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"aead.dev/minisign"

	"github.com/edge-proxy/edge/internal/base/printable"
)

// verify returns an error unless the file PROGRAM.minisig is the signature of a program. key is a public key of
// minisign, or names a file that has one. The signed comment is told: it names the version, so that an operator notices
// an older program, whose signature is good, too.
func verify(program, key string, step func(string)) error {
	var public minisign.PublicKey
	if public.UnmarshalText([]byte(key)) != nil {
		var err error
		if public, err = minisign.PublicKeyFromFile(key); err != nil {
			return fmt.Errorf("--verify %q is neither a public key of minisign, such as RWQ…, nor the file of one: %w",
				key, err)
		}
	}
	signature, err := os.ReadFile(program + ".minisig")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no signature beside it: put that of the release into %[1]s.minisig", program)
	}
	if err != nil {
		return err
	}
	var s minisign.Signature
	if err := s.UnmarshalText(signature); err != nil {
		return fmt.Errorf("%s.minisig: %w", program, err)
	}
	if s.KeyID != public.ID() {
		return fmt.Errorf("%s.minisig is by key %X, and --verify asks for key %X", program, s.KeyID, public.ID())
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if !minisign.Verify(public, text, signature) {
		return fmt.Errorf("%s is not what was signed, or its signature was changed: nothing is started of it",
			program)
	}
	step("signed: " + printable.Word(s.TrustedComment))
	return nil
}
