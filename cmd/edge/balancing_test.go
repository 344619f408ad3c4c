package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// nginxFile is an nginx of one worker in front of an upstream.
const nginxFile = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr emerg;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
	keepalive_requests 1000000;
	set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;
	upstream u { %s }
	server { listen %s; location / { proxy_pass http://u; } }
}
`

// pool is some origins that answer with their number, in front of which an nginx and an edge stand with the same
// weights.
type pool struct {
	t           *testing.T
	origins     []*httptest.Server
	nginx, edge string
	client      *http.Client
	weights     []int
}

// newPool starts both with a method, as each of them spells it.
func newPool(t *testing.T, weights []int, nginxMethod, edgeMethod string) *pool {
	t.Helper()
	path := testutil.Nginx(t)
	p := &pool{t: t, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}, weights: weights}
	t.Cleanup(p.client.CloseIdleConnections)
	var servers, backends strings.Builder
	for i, weight := range weights {
		o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
		t.Cleanup(o.Close)
		p.origins = append(p.origins, o)
		address := o.Listener.Addr().String()
		fmt.Fprintf(&servers, "server %s weight=%d fail_timeout=1h; ", address, weight)
		fmt.Fprintf(&backends, "{ address = %q, weight = %d }, ", address, weight)
	}
	dir, p2 := t.TempDir(), testutil.FreeAddr(t)
	text := fmt.Sprintf(nginxFile, nginxMethod+" "+servers.String(), p2)
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx := testutil.Start(t, testutil.Command{Path: path, Args: []string{"-p", dir, "-c", config, "-e", "stderr"}})
	nginx.WaitPort(p2)
	e := runIn(t, folder(t, map[string]string{"edge.toml": fmt.Sprintf(
		"[http]\nlisten = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n[upstreams.u]\n%s\n"+
			"backends = [%s]\n[[routes]]\npattern = \"/*\"\ndest = \"u\"\n", edgeMethod, backends.String())}),
		"run", "--set", "threads=1", "--set", "log.output=[]")
	p.nginx, p.edge = "http://"+p2+"/?k=", "http://"+e.addr+"/?k="
	return p
}

// ask returns the number of the origin that answers request k of a client that is another one for each k.
func (p *pool) ask(url string, k int) string {
	p.t.Helper()
	req, err := http.NewRequest("GET", fmt.Sprint(url, k), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if req.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.7", k/250, k%250)); k%7 == 0 {
		req.Header.Set("X-Forwarded-For", fmt.Sprintf("2001:db8::%x:7", k))
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		p.t.Fatal(resp.Status, err)
	}
	return string(body)
}

// same has both asked for some keys, and compares which origins answer.
func (p *pool) same(keys int, what string) {
	p.t.Helper()
	differ := 0
	for k := range keys {
		if a, b := p.ask(p.nginx, k), p.ask(p.edge, k); a != b {
			if differ++; differ < 4 {
				p.t.Errorf("%s: key %d: nginx %s, edge %s", what, k, a, b)
			}
		}
	}
	if p.t.Logf("%s: %d keys, %d differ", what, keys, differ); differ > 0 {
		p.t.Errorf("%s: %d of %d keys go elsewhere", what, differ, keys)
	}
}

// Each key goes to the backend that nginx chooses for it, also when one of them is down. EDGE_SOAK_NGINX=1 asks for ten
// thousand keys.
func TestBalancing_keysGoWhereNginxSendsThem(t *testing.T) {
	keys := 600
	if os.Getenv("EDGE_SOAK_NGINX") != "" {
		keys = 10_000
	}
	p := newPool(t, []int{1, 2, 1, 5, 3},
		"hash $arg_k consistent;", "load_balancing = \"ketama\"\nhash_key = \"query:k\"")
	p.same(keys, "all up")
	p.origins[3].Close()
	p.same(keys, "one down")
}

// Each client goes to the backend that nginx chooses for it: by the network of an IPv4 address, by all of an IPv6 one.
func TestBalancing_clientsGoWhereNginxSendsThem(t *testing.T) {
	p := newPool(t, []int{1, 2, 1, 5, 3}, "ip_hash;", `load_balancing = "ip_hash"`)
	p.same(400, "all up")
	p.origins[1].Close()
	p.same(400, "one down")
}

// Backends take turns in the order in which nginx has them do so.
func TestBalancing_turnsAreThoseOfNginx(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1}, {5, 1, 1}, {3, 7, 2, 11}} {
		p := newPool(t, weights, "", `load_balancing = "round_robin"`)
		p.same(200, fmt.Sprint("weights ", weights))
	}
}

// The backend that stands by gets requests only while no other one can.
func TestBalancing_backup(t *testing.T) {
	main, spare := named(t, "main"), named(t, "spare")
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	e := runIn(t, folder(t, map[string]string{"edge.toml": fmt.Sprintf("http.listen = \"127.0.0.1:0\"\n"+
		"[upstreams]\nup.backends = [{ address = %q }, { address = %q, backup = true }]\n"+
		"down.backends = [{ address = %q }, { address = %q, backup = true }]\n"+
		"[[routes]]\npattern = \"/up/*\"\ndest = \"up\"\n[[routes]]\npattern = \"/down/*\"\ndest = \"down\"\n",
		main, spare, gone.Addr(), spare)}), "run", "--set", "log.output=[]")
	for range 10 {
		if got := curlWith(t, "http://"+e.addr+"/up/"); got != "main" {
			t.Errorf("/up is answered by %s", got)
		}
		if got := curlWith(t, "http://"+e.addr+"/down/"); got != "spare" {
			t.Errorf("/down is answered by %s", got)
		}
	}
}
