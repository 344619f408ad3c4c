package acme

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/certs/issue"
)

// values is a Storage in memory without locks. Safe for any goroutine.
type values struct {
	issue.Storage
	mu     sync.Mutex
	all    map[string]string // guarded by mu
	broken error             // of List; guarded by mu
}

func (v *values) Store(_ context.Context, key string, value []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all[key] = string(value)
	return nil
}

func (v *values) Load(_ context.Context, key string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return []byte(v.all[key]), nil
}

func (v *values) Delete(_ context.Context, key string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.all, key)
	return nil
}

func (v *values) List(_ context.Context, at string, _ bool) (keys []string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key := range v.all {
		if strings.HasPrefix(key, at+"/") {
			keys = append(keys, key)
		}
	}
	return keys, v.broken
}

func (v *values) set(key, value string, broken error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.broken = broken; value == "" {
		delete(v.all, key)
	} else {
		v.all[key] = value
	}
}

func (v *values) keys() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.all))
}

func proofOf(kind, of, name, token string) string {
	text, err := json.Marshal(acmez.Challenge{Type: kind, Token: token, KeyAuthorization: token + ".x",
		Identifier: acmez.Identifier{Type: of, Value: name}})
	if err != nil {
		panic(err)
	}
	return string(text)
}

const proofs = "acme/ca.test-dir/challenge_tokens/"

// What another process presents is answered here a second later, as long as it is there.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, c := &values{all: make(map[string]string)}, &issue.Challenges{}
		i, err := New(Options{Directory: "https://ca.test/dir", Storage: v, Challenges: c, Settle: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() { i.Share(ctx) })
		answered := func(want string) {
			t.Helper()
			time.Sleep(1100 * time.Millisecond) // of the clock of the test
			var got []string
			for _, token := range []string{"one", "two"} {
				if _, found := c.Answer([]byte(issue.TokenPath + token)); found {
					got = append(got, token)
				}
			}
			for _, name := range []string{"a.test", "1.2.0.192.in-addr.arpa"} {
				if c.Certificate(name) != nil {
					got = append(got, name)
				}
			}
			if text := strings.Join(got, " "); text != want {
				t.Errorf("%q is answered, want %q", text, want)
			}
		}
		answered("")
		v.set(proofs+"a.test.json", proofOf("http-01", "dns", "a.test", "one"), nil)
		answered("one")
		v.set(proofs+"a.test.json", proofOf("http-01", "dns", "a.test", "two"), nil)
		v.set(proofs+"b.test.json", "{", nil)
		v.set(proofs+"c.test.json", proofOf("dns-01", "dns", "c.test", "one"), nil)
		v.set("acme/other/challenge_tokens/a.test.json", proofOf("http-01", "dns", "a.test", "one"), nil)
		answered("two")
		v.set(proofs+"a.test.json", proofOf("tls-alpn-01", "dns", "A.test", "one"), nil)
		v.set(proofs+"192.0.2.1.json", proofOf("tls-alpn-01", "ip", "192.0.2.1", "one"), nil)
		answered("a.test 1.2.0.192.in-addr.arpa")
		v.set(proofs+"a.test.json", "", errors.New("broken"))
		answered("a.test 1.2.0.192.in-addr.arpa")
		v.set(proofs+"a.test.json", "", nil)
		answered("1.2.0.192.in-addr.arpa")
		time.Sleep(shareLife) // its process was killed
		answered("")
		if keys := v.keys(); len(keys) != 1 {
			t.Errorf("%q is left", keys)
		}
		v.set(proofs+"a.test.json", proofOf("http-01", "dns", "a.test", "one"), nil)
		answered("one")
		cancel()
		work.Wait()
		answered("")
	})
}

// A proof is in the Storage until its order ends, and is told to the authority when the others have it.
func TestPresent_shares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, challenges := &values{all: make(map[string]string)}, &issue.Challenges{}
		for _, settle := range []time.Duration{0, 2 * time.Second} {
			i, err := New(Options{Directory: "https://ca.test/dir", Storage: v, Challenges: challenges, Settle: settle})
			if err != nil {
				t.Fatal(err)
			}
			c, begun := i.at.begin(dialing), time.Now()
			proof := acmez.Challenge{Type: "http-01", Token: "one", KeyAuthorization: "one.x",
				Identifier: acmez.Identifier{Type: "dns", Value: "*.A.test"}}
			if err := errors.Join(c.Present(t.Context(), proof), c.Wait(t.Context(), proof)); err != nil {
				t.Fatal(err)
			}
			var want []string
			if settle > 0 {
				want = []string{proofs + "wildcard_.a.test.json"}
			}
			if keys := v.keys(); time.Since(begun) != settle || !slices.Equal(keys, want) {
				t.Errorf("%v later: %q", time.Since(begun), keys)
			}
			if c.end(t.Context()); len(v.keys()) > 0 {
				t.Errorf("%q is left", v.keys())
			}
		}
	})
}
