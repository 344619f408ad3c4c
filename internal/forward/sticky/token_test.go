package sticky

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const (
	secret = "a secret of 26 characters."
	other  = "another secret, long enough"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func mustKeys(t testing.TB, service string, secrets ...string) *Keys {
	t.Helper()
	k, err := NewKeys(service, secrets...)
	testutil.Must(t, err)
	return k
}

// A token holds until the end of its minute, for the service and the secrets that it was made with.
func TestKeys_tokens(t *testing.T) {
	keys := mustKeys(t, "api", secret)
	tag := keys.Tags("10.0.0.1:80")[0]
	ends := noon.Add(time.Hour + time.Second)
	token := keys.Append(nil, tag, ends)
	if len(token) != TokenLen {
		t.Fatalf("%q has %d characters", token, len(token))
	}
	for _, c := range []struct {
		name string
		keys *Keys
		at   time.Time
		left time.Duration // 0: it is refused
	}{
		{"at once", keys, noon, time.Hour + time.Minute},
		{"in the last second", keys, noon.Add(time.Hour + 59*time.Second), time.Second},
		{"at the end", keys, noon.Add(time.Hour + time.Minute), 0},
		{"later", keys, noon.AddDate(1, 0, 0), 0},
		{"a process with the same secret", mustKeys(t, "api", secret), noon, time.Hour + time.Minute},
		{"another service", mustKeys(t, "web", secret), noon, 0},
		{"another secret", mustKeys(t, "api", other), noon, 0},
		{"the new secret first", mustKeys(t, "api", other, secret), noon, time.Hour + time.Minute},
		{"the new secret second", mustKeys(t, "api", secret, other), noon, time.Hour + time.Minute},
	} {
		got, left, ok := c.keys.Verify(token, c.at)
		if ok != (c.left > 0) || ok && (got != tag || left != c.left) {
			t.Errorf("%s: %x, %v, %v; want %x, %v", c.name, got, left, ok, tag, c.left)
		}
	}
}

// No token but the one that was signed is believed: each bit counts, and so does each way to write them.
func TestKeys_forged(t *testing.T) {
	keys := mustKeys(t, "api", secret)
	token := keys.Append(nil, 1<<63|7, noon.Add(time.Hour))
	raw, err := base64.RawURLEncoding.DecodeString(string(token))
	if err != nil || len(raw) != rawLen {
		t.Fatal(len(raw), err)
	}
	for bit := range 8 * rawLen {
		raw[bit/8] ^= 1 << (bit % 8)
		if _, _, ok := keys.Verify(base64.RawURLEncoding.AppendEncode(nil, raw), noon); ok {
			t.Errorf("bit %d may be anything", bit)
		}
		raw[bit/8] ^= 1 << (bit % 8)
	}
	for i := range token {
		for b := range 256 {
			if byte(b) == token[i] {
				continue
			}
			mutant := bytes.Clone(token)
			mutant[i] = byte(b)
			if _, _, ok := keys.Verify(mutant, noon); ok {
				t.Errorf("character %d may be %q", i, byte(b))
			}
		}
	}
	for _, text := range []string{
		"", "x", string(token[:29]), string(token) + "A", string(token) + "=", string(token[:28]) + "\r\n",
		strings.Repeat("A", TokenLen), strings.Repeat("\x00", TokenLen), string(token) + string(token),
	} {
		if _, _, ok := keys.Verify([]byte(text), noon); ok {
			t.Errorf("%q is believed", text)
		}
	}
}

// The MAC is HMAC-SHA256, as the standard library has it.
func TestKeys_macIsHMAC(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		k := &mustKeys(t, "api", secret+string(rune('a'+rng.IntN(26)))).list[0]
		var said [macAt]byte
		for i := range said {
			said[i] = byte(rng.Uint32())
		}
		key := k.inner
		for i := range key {
			key[i] ^= 0x36
		}
		want := hmac.New(sha256.New, key[:])
		want.Write(said[:])
		if got := k.mac(said); !bytes.Equal(got[:], want.Sum(nil)[:len(got)]) {
			t.Fatalf("%x of %x", got, said)
		}
	}
}

// Two secrets may have the same number in a token: both are tried.
func TestKeys_sameNumber(t *testing.T) {
	id := mustKeys(t, "api", secret).list[0].id
	twin := secret
	for i := 0; twin == secret || mustKeys(t, "api", twin).list[0].id != id; i++ {
		twin = secret + strings.Repeat("x", i+1)
	}
	both := mustKeys(t, "api", secret, twin)
	token := mustKeys(t, "api", twin).Append(nil, 5, noon.Add(time.Hour))
	if tag, _, ok := both.Verify(token, noon); !ok || tag != 5 {
		t.Error("the token of the second secret is refused")
	}
}

func TestNewKeys_refuses(t *testing.T) {
	for _, secrets := range [][]string{nil, {"short"}, {secret, ""}, {secret, other, secret + other}} {
		if _, err := NewKeys("api", secrets...); err == nil {
			t.Errorf("%q are keys", secrets)
		}
	}
}

// FuzzVerify looks for a token that is believed without having been signed here.
func FuzzVerify(f *testing.F) {
	keys, err := NewKeys("api", secret, other)
	testutil.Must(f, err)
	f.Add(keys.Append(nil, 7, noon.Add(time.Hour)))
	f.Add(keys.Append(nil, 7, noon.Add(-time.Hour)))
	f.Add([]byte(strings.Repeat("A", TokenLen)))
	f.Add([]byte("edge_sid"))
	f.Fuzz(func(t *testing.T, token []byte) {
		before := bytes.Clone(token)
		tag, left, ok := keys.Verify(token, noon)
		if !bytes.Equal(before, token) {
			t.Fatal("the token was written to")
		}
		if !ok {
			return
		}
		signers := [][]byte{
			keys.Append(nil, tag, noon.Add(left)), mustKeys(t, "api", other).Append(nil, tag, noon.Add(left)),
		}
		if left <= 0 || !bytes.Equal(signers[0], token) && !bytes.Equal(signers[1], token) {
			t.Fatalf("%q is believed: tag %x, left %v", token, tag, left)
		}
	})
}
