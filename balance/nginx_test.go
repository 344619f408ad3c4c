package balance

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// oracle is a running nginx that is asked which of its servers a request goes to. Each server is one that a connection
// fails at without a packet being sent, since no address of a multicast group takes a TCP connection. So nginx only
// says where it would go. Owned by the goroutine of its test.
type oracle struct {
	t      *testing.T
	client http.Client
	index  map[string]int
}

const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr emerg;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
	keepalive_requests 100000000;
	set_real_ip_from unix:;
	real_ip_header X-Real-IP;
	upstream u {
		%s;
%s	}
	server {
		listen unix:%s;
		location / {
			proxy_pass http://u;
			proxy_next_upstream %s;
			error_page 500 502 503 504 = @asked;
		}
		location @asked { return 200 "$upstream_addr"; }
	}
}
`

// ask starts an nginx that balances by a method over the backends of v, some of which are down. A request goes to so
// many, one after the other.
func ask(t *testing.T, method string, v *View, tries int) *oracle {
	t.Helper()
	path := testutil.Nginx(t)
	dir, err := os.MkdirTemp("", "balance") // that of the test may be too long for the path of a socket
	testutil.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	o := &oracle{t: t, index: map[string]int{}}
	var block strings.Builder
	for i := range v.Len() {
		flag := ""
		if !v.Open(i) {
			flag = "down"
		}
		fmt.Fprintf(&block, "\t\tserver %s weight=%d max_fails=0 %s;\n", v.Name(i), v.Weight(i), flag)
		o.index[v.Name(i)] = i
	}
	next := "off"
	if tries > 1 {
		next = fmt.Sprintf("error; proxy_next_upstream_tries %d", tries)
	}
	socket, config := filepath.Join(dir, "s"), filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, method, block.String(), socket, next)
	if method == "" {
		text = strings.Replace(text, "\t\t;\n", "", 1) // round robin has no directive
	}
	testutil.Must(t, os.WriteFile(config, []byte(text), 0o600))
	testutil.Start(t, testutil.Command{Path: path, Args: []string{"-p", dir, "-c", config, "-e", "stderr"}})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	o.client.Transport = transport
	t.Cleanup(transport.CloseIdleConnections)
	testutil.Eventually(t, testutil.Patience, func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, "nginx listens")
	return o
}

// tried returns the backends that nginx tries for a request with a key, from an address.
func (o *oracle) tried(key, address string) (list []int) {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), "GET", "http://a/?k="+url.QueryEscape(key), nil)
	testutil.Must(o.t, err)
	r.Header.Set("X-Real-IP", address)
	answer, err := o.client.Do(r)
	testutil.Must(o.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	testutil.Must(o.t, err)
	for name := range strings.SplitSeq(string(body), ", ") {
		i, known := o.index[name]
		if !known {
			o.t.Fatalf("nginx has tried %q", name)
		}
		list = append(list, i)
	}
	return list
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
				if want := o.tried(arg, address); !slices.Equal(got, want) {
					t.Fatalf("%q from %s goes to %v, with nginx to %v", arg, address, got, want)
				}
			}
		})
	}
}

func TestNginx_ketama(t *testing.T) {
	follows(t, "hash $arg_k consistent", Ketama, func(rng *rand.Rand) ([]byte, string, string) {
		key := fmt.Sprintf("k%x", rng.Uint64()>>rng.IntN(60))
		return []byte(key), key, "192.0.2.1"
	})
}

func TestNginx_ipHash(t *testing.T) {
	follows(t, "ip_hash", IPHash, func(rng *rand.Rand) ([]byte, string, string) {
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
			if got, want := p.Pick(v, nil, &Request{}), o.tried("", "192.0.2.1"); got != want[0] {
				t.Fatalf("seed %d: turn %d is that of %d, with nginx of %d", seed, k, got, want[0])
			}
		}
	}
}
