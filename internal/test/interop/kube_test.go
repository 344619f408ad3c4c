package interop

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// cluster is the API server of Kubernetes, on Debian's etcd.
type cluster struct {
	t         *testing.T
	dir, path string
	authority *testutil.Authority
	at        string // of the API server
	client    *http.Client
	args      []string
	process   *testutil.Process
}

// theCluster runs the API server that make nightly has built.
func theCluster(t *testing.T) *cluster {
	t.Helper()
	path := os.Getenv("EDGE_KUBE")
	if path == "" {
		t.Skip("make nightly builds an API server, which takes minutes")
	}
	c := &cluster{t: t, dir: t.TempDir(), path: path, authority: testutil.NewAuthority(t)}
	c.at = freePort(t).String()
	c.authority.Write(t, c.file("ca.pem"))
	c.authority.IssueTo(t, c.dir, "server", nil, "127.0.0.1", "localhost")
	writeFile(t, c.dir, "tokens.csv", `root-token,root,1,"system:masters"`+"\n")
	c.client = &http.Client{Timeout: testutil.Patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: c.authority.Pool},
	}}
	host, port, _ := net.SplitHostPort(c.at)
	c.args = []string{
		"--etcd-servers=http://" + etcdAt(t), "--bind-address=" + host, "--secure-port=" + port,
		"--tls-cert-file=" + c.file("server.pem"), "--tls-private-key-file=" + c.file("server.key"),
		"--cert-dir=" + c.dir, "--token-auth-file=" + c.file("tokens.csv"), "--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.96.0.0/24", "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + c.file("server.key"),
		"--service-account-key-file=" + c.file("server.pem"), "--endpoint-reconciler-type=none",
	}
	c.start()
	return c
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

// start runs the API server, and waits until it is ready.
func (c *cluster) start() {
	c.t.Helper()
	c.process = testutil.Start(c.t, testutil.Command{Path: c.path, Args: c.args, Dir: c.dir})
	testutil.Eventually(c.t, testutil.Minutes, func() bool {
		status, _ := c.call("GET", "/readyz", "")
		return status == 200 || !c.process.Running()
	}, "the API server is ready")
}

// restart kills the API server, which ends all watches, and starts it again: what it had cached is forgotten.
func (c *cluster) restart() {
	c.t.Helper()
	c.process.Signal(os.Kill)
	c.process.Wait(testutil.Minutes)
	c.client.CloseIdleConnections()
	c.start()
}

// call asks as an administrator; status 0: there was no answer.
func (c *cluster) call(method, path, body string) (status int, answer []byte) {
	c.t.Helper()
	req, err := http.NewRequest(method, "https://"+c.at+path, strings.NewReader(body))
	testutil.Must(c.t, err)
	req.Header.Set("Authorization", "Bearer root-token")
	req.Header.Set("Content-Type", "application/json")
	if method == "PATCH" {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	answer, _ = io.ReadAll(resp.Body)
	return resp.StatusCode, answer
}

// do is call where it has to succeed.
func (c *cluster) do(method, path, body string) []byte {
	c.t.Helper()
	status, answer := c.call(method, path, body)
	if status/100 != 2 {
		c.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

const slicesPath = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"

// endpoint is the JSON of an endpoint with some conditions: "ready", "serving", "terminating".
func endpoint(at, conditions string) string {
	host, _, _ := net.SplitHostPort(at)
	has := func(one string) bool { return slices.Contains(strings.Fields(conditions), one) }
	return fmt.Sprintf(`"endpoints":[{"addresses":[%q],"conditions":{"ready":%v,"serving":%v,"terminating":%v}}]`,
		host, has("ready"), has("ready") || has("serving"), has("terminating"))
}

// addSlice makes an EndpointSlice of the service users with one endpoint.
func (c *cluster) addSlice(name, at string) {
	c.t.Helper()
	_, port, _ := net.SplitHostPort(at)
	c.do("POST", slicesPath, fmt.Sprintf(`{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",
		"metadata":{"name":%q,"labels":{"kubernetes.io/service-name":"users"}},"addressType":"IPv4",
		"ports":[{"name":"http","port":%s,"protocol":"TCP"}],%s}`, name, port, endpoint(at, "ready")))
}

func (c *cluster) changeSlice(name, at, conditions string) {
	c.t.Helper()
	c.do("PATCH", slicesPath+"/"+name, "{"+endpoint(at, conditions)+"}")
}

// account makes a service account and returns its token.
func (c *cluster) account() string {
	c.t.Helper()
	c.do("POST", "/api/v1/namespaces", `{"metadata":{"name":"shop"}}`)
	c.do("POST", "/api/v1/namespaces/shop/serviceaccounts", `{"metadata":{"name":"edge"}}`)
	var of struct{ Status struct{ Token string } }
	answer := c.do("POST", "/api/v1/namespaces/shop/serviceaccounts/edge/token",
		`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600}}`)
	if err := json.Unmarshal(answer, &of); err != nil || of.Status.Token == "" {
		c.t.Fatalf("%s, %v", answer, err)
	}
	return of.Status.Token
}

// permit gives the service account the rights that docs/discovery.md says.
func (c *cluster) permit() {
	c.t.Helper()
	const path = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop"
	c.do("POST", path+"/roles", `{"metadata":{"name":"edge"},"rules":[{"apiGroups":["discovery.k8s.io"],
		"resources":["endpointslices"],"verbs":["get","list","watch"]}]}`)
	c.do("POST", path+"/rolebindings", `{"metadata":{"name":"edge"},
		"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"edge"},
		"subjects":[{"kind":"ServiceAccount","name":"edge","namespace":"shop"}]}`)
}

// gate is a proxy in front of the API server, which can end watches as the server does, and hold back the next ones.
type gate struct {
	at     string
	server *cluster

	mu      sync.Mutex
	cut     chan struct{} // closed to end all watches
	open    chan struct{} // closed while watches may begin
	waiting int           // watches that are held back
	gone    int           // answers 410, and events of that code
}

func (c *cluster) gate() *gate {
	c.t.Helper()
	g := &gate{server: c, cut: make(chan struct{}), open: make(chan struct{})}
	close(g.open)
	pair, err := tls.LoadX509KeyPair(c.file("server.pem"), c.file("server.key"))
	testutil.Must(c.t, err)
	s := httptest.NewUnstartedServer(g)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	c.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	g.at = s.Listener.Addr().String()
	return g
}

func (g *gate) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	ended := make(chan struct{})
	defer close(ended)
	watch := q.URL.Query().Has("watch")
	if watch {
		g.pass(q)
	}
	g.mu.Lock()
	cut := g.cut
	g.mu.Unlock()
	req := q.Clone(q.Context())
	req.URL.Scheme, req.URL.Host, req.RequestURI = "https", g.server.at, ""
	resp, err := g.server.client.Transport.RoundTrip(req)
	if err != nil {
		http.Error(w, err.Error(), 502)
		return
	}
	defer resp.Body.Close()
	if watch {
		go func() {
			select {
			case <-cut:
				_ = resp.Body.Close()
			case <-ended:
			}
		}()
	}
	w.WriteHeader(resp.StatusCode)
	g.note(resp.StatusCode == http.StatusGone)
	buf := make([]byte, 1<<20)
	for {
		w.(http.Flusher).Flush()
		n, err := resp.Body.Read(buf)
		g.note(bytes.Contains(buf[:n], []byte(`"code":410`)))
		if _, failed := w.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}

// pass waits until watches may begin.
func (g *gate) pass(q *http.Request) {
	g.mu.Lock()
	open := g.open
	g.waiting++
	g.mu.Unlock()
	select {
	case <-open:
	case <-q.Context().Done():
	}
	g.mu.Lock()
	g.waiting--
	g.mu.Unlock()
}

func (g *gate) note(gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if gone {
		g.gone++
	}
}

// hold ends all watches and waits until edge wants another one.
func (g *gate) hold(t *testing.T) {
	t.Helper()
	g.mu.Lock()
	g.open = make(chan struct{})
	close(g.cut)
	g.cut = make(chan struct{})
	g.mu.Unlock()
	testutil.Eventually(t, testutil.Minutes, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.waiting > 0
	}, "a watch is begun again")
}

// release lets watches begin.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

// answering runs a server that answers with a name, at an address that an endpoint may have: none of the loopback.
func answering(t *testing.T, name string) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	testutil.Must(t, err)
	for _, one := range all {
		n, ok := one.(*net.IPNet)
		if !ok || n.IP.To4() == nil || !n.IP.IsGlobalUnicast() {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(n.IP.String(), "0"))
		testutil.Must(t, err)
		return testutil.ServeHTTP(t, l, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
	}
	t.Skip("the machine has no address but those of the loopback")
	return ""
}

// following is an edge that follows the service users, by the API server and by a gate in front of it.
type following struct {
	*testutil.Process
	url string
}

// follow runs edge with the rights of a service account.
func (c *cluster) follow(g *gate) *following {
	c.t.Helper()
	writeFile(c.t, c.dir, "token", c.account()+"\n")
	discover := func(at string) string {
		return fmt.Sprintf("k8s://shop/users:http?api=https://%s&ca=%s&token_file=%s", at, c.file("ca.pem"),
			c.file("token"))
	}
	conf := writeFile(c.t, c.t.TempDir(), "edge.toml", fmt.Sprintf(`log.output = []
http.listen = "127.0.0.1:0"
upstream_defaults = { load_balancing = "round_robin", empty_after = "1s" }
upstreams.direct.discover = %q
upstreams.gated.discover = %q
routes = [{ pattern = "/direct", dest = "direct" }, { pattern = "/gated", dest = "gated" }]
`, discover(c.at), discover(g.at)))
	p := testutil.StartEdge(c.t, conf)
	return &following{p, "http://" + p.WaitLine(`"msg":"listening".*"address":"([^"]+)"`)[1]}
}

// answers returns the names of the backends that answer for a path, or the statuses of edge's own answers.
func (f *following) answers(t *testing.T, path string) string {
	t.Helper()
	var all []string
	for range 8 {
		resp, body := testutil.Get(t, http.DefaultClient, f.url+path)
		if resp.StatusCode != 200 {
			body = resp.Status
		}
		all = append(all, body)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// become waits for answers.
func (f *following) become(t *testing.T, want string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		testutil.Eventually(t, testutil.Minutes, func() bool { return f.answers(t, path) == want }, path, want)
	}
}

// edge follows the EndpointSlices of a real API server: through missing rights, changes, a watch that is lost with the
// server, and one whose version the server no longer has.
func TestDiscovery_kubernetes(t *testing.T) {
	c := theCluster(t)
	g := c.gate()
	a, b, d := answering(t, "a"), answering(t, "b"), answering(t, "d")
	edge := c.follow(g)
	becomes := func(want string) {
		t.Helper()
		edge.become(t, want, "/direct", "/gated")
	}
	const none = "503 Service Unavailable"
	edge.WaitLine(`discovery failed.*"upstream":"direct".*403`)
	c.addSlice("users-a", a)
	becomes(none)
	c.permit()
	becomes("a")
	c.addSlice("users-b", b)
	becomes("a b")
	c.changeSlice("users-a", a, "")
	becomes("b")
	c.changeSlice("users-b", b, "serving terminating")
	becomes("b") // nothing else is there
	c.changeSlice("users-a", a, "ready")
	becomes("a")
	c.changeSlice("users-b", b, "ready")
	becomes("a b")

	g.hold(t)
	c.do("DELETE", slicesPath+"/users-b", "")
	edge.become(t, "a", "/direct")
	c.restart()
	if got := edge.answers(t, "/direct") + ", " + edge.answers(t, "/gated"); got != "a, a b" {
		t.Errorf("after the server has begun anew: %s", got)
	}
	g.release()
	edge.become(t, "a", "/gated")
	g.mu.Lock()
	if g.gone == 0 {
		t.Error("the server has not refused the version")
	}
	g.mu.Unlock()
	c.addSlice("users-d", d)
	becomes("a d")
	told := regexp.MustCompile(`discovery failed.*"upstream":"direct"`).FindAllString(edge.Output(), -1)
	if len(told) != 2 {
		t.Errorf("missing rights and a lost watch were told so: %q", told)
	}
	c.do("DELETE", slicesPath, "")
	becomes(none)
	if code := edge.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
