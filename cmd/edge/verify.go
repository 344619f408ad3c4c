package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"aead.dev/minisign"

	"github.com/edge-proxy/edge/internal/base/printable"
)

// verify returns an error unless BIN.minisig is the signature of a program by a public key of minisign, which key is,
// or the name of whose file it is. It tells the comment that was signed too: it names the version, so that an older
// program with a good signature is seen.
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
