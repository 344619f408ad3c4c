package main

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func signedBy(t *testing.T, key minisign.PrivateKey, program, comment string) []byte {
	t.Helper()
	return minisign.SignWithComments(key, []byte(textOf(t, program)), comment, "")
}

// A program is started when it is signed by the key that the operator names, and the old process serves on otherwise.
func TestUpgrade_verify(t *testing.T) {
	t.Parallel()
	s := serve(t, 1, "")
	public, ours, err := minisign.GenerateKey(rand.Reader)
	testutil.Must(t, err)
	_, others, err := minisign.GenerateKey(rand.Reader)
	testutil.Must(t, err)
	good := signedBy(t, ours, s.bin, "edge 9.9.9 edge-9.9.9")
	program := filepath.Join(s.dir, "new")
	whole := []byte(textOf(t, s.bin))
	changed := append(whole[:len(whole):len(whole)], 0)
	for _, c := range []struct {
		name            string
		text, signature []byte
		key, want       string
	}{
		{"no signature", whole, nil, public.String(), "has no signature beside it"},
		{"empty", whole, []byte{}, public.String(), "invalid signature"},
		{"not a signature", whole, []byte("hello\n"), public.String(), "invalid signature"},
		{"by another key", whole, signedBy(t, others, s.bin, ""), public.String(), "and --verify asks for key"},
		{"another program", changed, good, public.String(), "is not what was signed"},
		{"another comment", whole, []byte(strings.Replace(string(good), "edge 9.9.9", "edge 9.9.8", 1)),
			public.String(), "is not what was signed"},
		{"no key", whole, good, "RWQ", "neither a public key of minisign"},
		{"a file that is no key", whole, good, filepath.Join(s.dir, "edge.toml"), "nor the file of one"},
		{"no file of a key", whole, good, filepath.Join(s.dir, "edge.pub"), "no such file"},
	} {
		putAs(t, program, 0o700, c.text)
		_ = os.Remove(program + ".minisig")
		if c.signature != nil {
			putAs(t, program+".minisig", 0o600, c.signature)
		}
		before := s.serving()
		code, out := s.upgrade(program, "--verify", c.key)
		if code != 1 || !strings.Contains(out, c.want) || !strings.Contains(out, "the old process serves on") {
			t.Errorf("%s: %d %s", c.name, code, out)
		}
		if s.serving() != before {
			t.Errorf("%s: process %d serves", c.name, s.serving())
		}
	}
	for _, args := range [][]string{{"--verify", public.String()}, {program, "--verify", ""}, {program, "--verify="}} {
		if code, out := s.upgrade(args...); code != exitUsage || !strings.Contains(out, "BIN") {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
	if strings.Contains(s.Output(), "upgrade") {
		t.Errorf("the process was asked:\n%s", s.Output())
	}
	putAs(t, program, 0o700, whole)
	putAs(t, program+".minisig", 0o600, good)
	key, err := public.MarshalText()
	testutil.Must(t, err)
	putAs(t, filepath.Join(s.dir, "edge.pub"), 0o600, key)
	for _, key := range []string{public.String(), filepath.Join(s.dir, "edge.pub")} {
		before := s.serving()
		code, out := s.upgrade(program, "--verify", key)
		if code != 0 || !strings.Contains(out, "signed: edge 9.9.9 edge-9.9.9\n") || s.serving() == before {
			t.Fatalf("%d %s", code, out)
		}
	}
}
