package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
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
	testutil.Bubble(t, func(t *testing.T) {
		v, c := &values{all: make(map[string]string)}, &issue.Challenges{}
		i, err := New(Options{Directory: "https://ca.test/dir", Storage: v, Challenges: c, Settle: time.Second})
		testutil.Must(t, err)
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
	testutil.Bubble(t, func(t *testing.T) {
		v, challenges := &values{all: make(map[string]string)}, &issue.Challenges{}
		for _, settle := range []time.Duration{0, 2 * time.Second} {
			i, err := New(Options{Directory: "https://ca.test/dir", Storage: v, Challenges: challenges, Settle: settle})
			testutil.Must(t, err)
			c, begun := i.at.begin(dialing), time.Now()
			proof := acmez.Challenge{Type: "http-01", Token: "one", KeyAuthorization: "one.x",
				Identifier: acmez.Identifier{Type: "dns", Value: "*.A.test"}}
			testutil.Must(t, errors.Join(c.Present(t.Context(), proof), c.Wait(t.Context(), proof)))
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

// sharer is an Issuer whose proofs are shared over a Storage.
func sharer(t *testing.T, s issue.Storage, c *issue.Challenges) *Issuer {
	t.Helper()
	i, err := New(Options{Directory: "https://ca.test/dir", Storage: s, Challenges: c, Settle: 2 * time.Second})
	testutil.Must(t, err)
	return i
}

// A reload that ends Share, or has another one begin, leaves the proofs of an order that goes on.
func TestShare_endsBesideAnOrder(t *testing.T) {
	for kind, answered := range map[string]func(c *issue.Challenges) bool{
		"http-01": func(c *issue.Challenges) bool {
			_, found := c.Answer([]byte(issue.TokenPath + "one"))
			return found
		},
		"tls-alpn-01": func(c *issue.Challenges) bool { return c.Certificate("a.test") != nil },
	} {
		testutil.Bubble(t, func(t *testing.T) {
			c := &issue.Challenges{}
			i := sharer(t, &values{all: make(map[string]string)}, c)
			order := i.at.begin(dialing)
			if err := order.Present(t.Context(), acmez.Challenge{Type: kind, Token: "one", KeyAuthorization: "one.x",
				Identifier: acmez.Identifier{Type: "dns", Value: "a.test"}}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var work sync.WaitGroup
			work.Go(func() { i.Share(ctx) })
			time.Sleep(1100 * time.Millisecond) // of the clock of the test
			cancel()
			work.Wait()
			if !answered(c) {
				t.Errorf("%s: the order is not answered for", kind)
			}
			if order.end(t.Context()); answered(c) {
				t.Errorf("%s: it is answered for after the order", kind)
			}
		})
	}
}

// A List that also has keys of others, as storages with prefixes for folders do, costs nobody a value.
func TestShare_leavesOtherKeys(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		keys := []string{proofs + "more/a.test.json", "certificates/ca.test-dir/a.test/a.test.key"}
		v, c := &listing{values{all: make(map[string]string)}}, &issue.Challenges{}
		for _, key := range keys {
			v.set(key, proofOf("http-01", "dns", "a.test", "one"), nil)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() { sharer(t, v, c).Share(ctx) })
		time.Sleep(shareLife + time.Minute) // of the clock of the test
		if _, found := c.Answer([]byte(issue.TokenPath + "one")); found || len(v.keys()) != len(keys) {
			t.Errorf("%q are left, answered: %v", v.keys(), found)
		}
		cancel()
		work.Wait()
	})
}

// listing lists all keys whatever it is asked.
type listing struct{ values }

func (l *listing) List(context.Context, string, bool) ([]string, error) { return l.keys(), nil }

// slow is a Storage whose Load and Store take a time, or until their context ends.
type slow struct {
	values
	load, store time.Duration
}

func (s *slow) Load(ctx context.Context, key string) ([]byte, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(s.load):
		return s.values.Load(ctx, key)
	}
}

func (s *slow) Store(ctx context.Context, key string, value []byte) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.store):
		return s.values.Store(ctx, key, value)
	}
}

func (s *slow) List(ctx context.Context, at string, all bool) ([]string, error) {
	keys, err := s.values.List(ctx, at, all)
	slices.Sort(keys) // as most have it
	return keys, err
}

// With a Storage of which a look reads a part alone, each proof has its turn.
func TestShare_slowStorage(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		v, c := &slow{values: values{all: make(map[string]string)}, load: 2 * time.Second}, &issue.Challenges{}
		tokens := []string{"a", "b", "c", "d", "e", "f"}
		for _, token := range tokens {
			v.set(proofs+token+".test.json", proofOf("http-01", "dns", token+".test", token), nil)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() { sharer(t, v, c).Share(ctx) })
		time.Sleep(5 * time.Minute)
		for _, token := range tokens {
			if _, found := c.Answer([]byte(issue.TokenPath + token)); !found {
				t.Errorf("%s is not answered", token)
			}
		}
		cancel()
		work.Wait()
	})
}

// A Storage that hangs does not hold an order up: this process answers alone, and removes what may have come there.
func TestPresent_hangingStorage(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		v := &slow{values: values{all: make(map[string]string)}, store: time.Hour}
		c, begun := sharer(t, v, &issue.Challenges{}).at.begin(dialing), time.Now()
		proof := acmez.Challenge{Type: "http-01", Token: "one", KeyAuthorization: "one.x",
			Identifier: acmez.Identifier{Type: "dns", Value: "a.test"}}
		testutil.Must(t, errors.Join(c.Present(t.Context(), proof), c.Wait(t.Context(), proof)))
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("it takes %v", took)
		}
		v.set(proofs+"a.test.json", "late", nil)
		if c.end(t.Context()); len(v.keys()) > 0 {
			t.Errorf("%q is left", v.keys())
		}
	})
}

// However many proofs somebody writes, a number of them is answered, and no more are kept.
func TestLook_manyProofs(t *testing.T) {
	v, c, seen := &values{all: make(map[string]string)}, &issue.Challenges{}, make(map[string]*sharedProof)
	for n := range shareMost + 200 {
		name := fmt.Sprintf("a%d.test", n)
		v.set(proofs+name+".json", proofOf("http-01", "dns", name, name), nil)
	}
	i := sharer(t, v, c)
	for range 3 {
		i.at.look(t.Context(), seen)
	}
	if len(seen) != shareMost {
		t.Errorf("%d are kept", len(seen))
	}
}
