package balance

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// ask starts an nginx that balances by a method over the backends of v, some of which are down. A request goes to so
// many, one after the other.
func ask(t *testing.T, method string, v *View, tries int) *testutil.NginxOracle {
	t.Helper()
	block, index := method, map[string]int{}
	for i := range v.Len() {
		flag := ""
		if !v.Open(i) {
			flag = "down"
		}
		block += fmt.Sprintf("\t\tserver %s weight=%d max_fails=0 %s;\n", v.Name(i), v.Weight(i), flag)
		index[v.Name(i)] = i
	}
	return testutil.AskNginx(t, "\tset_real_ip_from unix:;\n\treal_ip_header X-Real-IP;\n", block, tries, index)
}

// asking is a request with a key, from an address.
func asking(key, address string) string {
	return fmt.Sprintf("/?k=%s HTTP/1.1\r\nX-Real-IP: %s", url.QueryEscape(key), address)
}

// nowhere is n backends of random weights that no connection can be made to.
func nowhere(rng *rand.Rand, n int) []Backend {
	backends := make([]Backend, n)
	for i := range backends {
		backends[i].Name = fmt.Sprintf("239.1.%d.%d:%d", rng.IntN(256), i, 1+rng.IntN(60000))
		backends[i].Weight = 1 + rng.IntN(1+rng.IntN(9))
	}
	return backends
}

// many is how many requests nginx is asked for: EDGE_SOAK_NGINX=1 asks for more.
func many(few int) int {
	if os.Getenv("EDGE_SOAK_NGINX") != "" {
		return 20 * few
	}
	return few
}

// follows compares the first backends of requests with those that nginx tries: first of a key that its arguments give.
func follows(t *testing.T, method string, m *Method, request func(rng *rand.Rand) (key []byte, arg, address string)) {
	for _, c := range []struct{ backends, down, tries int }{{2, 0, 1}, {5, 1, 1}, {12, 3, 1}, {30, 1, 3}} {
		t.Run(fmt.Sprintf("%d backends, %d down, %d tries", c.backends, c.down, c.tries), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(c.backends), 14))
			v := NewView(nowhere(rng, c.backends), nil)
			for range c.down {
				v = v.With(rng.IntN(c.backends), false)
			}
			o, p := ask(t, method, v, c.tries), m.New(0, 1)
			for range many(500) {
				key, arg, address := request(rng)
				q := Request{Key: m.Hash(key), Keyed: true}
				var got []int
				for range c.tries {
					i := p.Pick(v, nil, &q)
					q.Tried.Add(i)
					got = append(got, i)
				}
				if want := o.Tried(asking(arg, address))[0]; !slices.Equal(got, want) {
					t.Fatalf("%q from %s goes to %v, with nginx to %v", arg, address, got, want)
				}
			}
		})
	}
}

func TestNginx_ketama(t *testing.T) {
	follows(t, "hash $arg_k consistent;\n", Ketama, func(rng *rand.Rand) ([]byte, string, string) {
		key := fmt.Sprintf("k%x", rng.Uint64()>>rng.IntN(60))
		return []byte(key), key, "192.0.2.1"
	})
}

func TestNginx_ipHash(t *testing.T) {
	follows(t, "ip_hash;\n", IPHash, func(rng *rand.Rand) ([]byte, string, string) {
		address := randomAddress(rng)
		return address.AsSlice(), "", address.String()
	})
}

func TestNginx_roundRobin(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 15))
		v := NewView(nowhere(rng, 3+rng.IntN(10)), nil).With(1, false)
		o, p := ask(t, "", v, 1), RoundRobin.New(0, 1)
		for k := range many(200) {
			if got, want := p.Pick(v, nil, &Request{}), o.Tried(asking("", "192.0.2.1"))[0]; got != want[0] {
				t.Fatalf("seed %d: turn %d is that of %d, with nginx of %d", seed, k, got, want[0])
			}
		}
	}
}
