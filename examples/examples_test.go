package examples_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

// edge.toml names its sections at its beginning, and says where all keys are.
func TestConfiguration_namesItsSections(t *testing.T) {
	text, err := os.ReadFile("edge.toml")
	if err != nil {
		t.Fatal(err)
	}
	about, rest, _ := strings.Cut(string(text), "\n\n")
	var has []string
	for _, header := range regexp.MustCompile(`(?m)^\[.*\]$`).FindAllString(rest, -1) {
		has = append(has, strings.ReplaceAll(header, "upstreams.api", "upstreams.NAME"))
	}
	named := regexp.MustCompile(`\[+[\w.]+\]+`).FindAllString(about, -1)
	if slices.Sort(named); !slices.Equal(named, slices.Compact(slices.Sorted(slices.Values(has)))) ||
		!strings.Contains(about, "docs/configuration.md leads to them all") {
		t.Errorf("the file has %q, and says of itself\n%s", has, about)
	}
}

// start builds and runs an example and returns where it listens.
func start(t *testing.T, name string, args ...string) (p *testutil.Process, url string) {
	t.Helper()
	p = testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./examples/"+name), Args: args})
	return p, "http://" + p.WaitLine(`(?:address=|listening on )(\S+)`)[1]
}

// ask sends one request on a connection of its own.
func ask(t *testing.T, method, url, agent string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", agent)
	req.Close = true
	return testutil.Do(t, http.DefaultClient, req)
}

func want(t *testing.T, resp *http.Response, body string, status int, text string) {
	t.Helper()
	if resp.StatusCode != status || body != text {
		t.Fatalf("got %s %q, want %d %q", resp.Status, body, status, text)
	}
}

func stop(t *testing.T, p *testutil.Process) {
	t.Helper()
	if code := p.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
}

// ends waits for the end of p, which was told to end.
func ends(t *testing.T, p *testutil.Process) {
	t.Helper()
	if code := p.Wait(testutil.Minutes); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func origin(t *testing.T, name string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, name, " ", r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestHello(t *testing.T) {
	p, url := start(t, "hello", "-listen", "127.0.0.1:0")
	resp, body := ask(t, "GET", url, "me")
	want(t, resp, body, 200, "hello, world\n")
	resp, body = ask(t, "HEAD", url, "me")
	want(t, resp, body, 200, "")
	if resp.ContentLength != 13 {
		t.Fatal(resp.Header)
	}
	stop(t, p)
}

// An answer is kept for each kind of client, unless it is a draft.
func TestCache(t *testing.T) {
	var asked atomic.Int64
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/draft" {
			w.Header().Set("X-Draft", "1")
		}
		fmt.Fprint(w, asked.Add(1))
	}))
	t.Cleanup(o.Close)
	p, url := start(t, "cache", "-listen", "127.0.0.1:0", o.Listener.Addr().String())
	for _, c := range []struct{ path, agent, body, status string }{
		{"/", "desktop", "1", "edge; fwd=uri-miss; fwd-status=200; stored"},
		{"/", "desktop", "1", "edge; hit; ttl="},
		{"/", "a Mobile", "2", "edge; fwd=uri-miss; fwd-status=200; stored"},
		{"/", "another Mobile", "2", "edge; hit; ttl="},
		{"/", "another", "1", "edge; hit; ttl="},
		{"/draft", "desktop", "3", "edge; fwd=uri-miss; fwd-status=200; detail=program"},
		{"/draft", "desktop", "4", "edge; fwd=bypass; fwd-status=200; detail=uncacheable"},
		{"/draft", "desktop", "5", "edge; fwd=bypass; fwd-status=200; detail=uncacheable"},
	} {
		resp, body := ask(t, "GET", url+c.path, c.agent)
		want(t, resp, body, 200, c.body)
		if got := resp.Header.Get("Cache-Status"); !strings.HasPrefix(got, c.status) {
			t.Errorf("%s, %s: %s, want %s", c.path, c.agent, got, c.status)
		}
	}
	stop(t, p)
}

func TestHTTPS(t *testing.T) {
	a := testutil.NewAuthority(t)
	dir := t.TempDir()
	a.IssueTo(t, dir, "pair", nil, "localhost", "127.0.0.1")
	cert, key := filepath.Join(dir, "pair.pem"), filepath.Join(dir, "pair.key")
	p, url := start(t, "https", "-listen", "127.0.0.1:0", "-cert", cert, "-key", key, origin(t, "one"))
	for _, protocol := range []string{"h2", "http/1.1"} {
		c := &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: protocol == "h2",
			TLSClientConfig:   &tls.Config{RootCAs: a.Pool, NextProtos: []string{protocol}},
		}}
		resp, err := c.Get("https" + strings.TrimPrefix(url, "http") + "/x")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != "one /x" {
			t.Fatalf("%s: got %s %q, %v", protocol, resp.Status, body, err)
		}
		if got := resp.Header.Get("X-Secured-By"); got != "TLS 1.3 X25519MLKEM768 "+protocol {
			t.Errorf("secured by %q", got)
		}
		resp.Body.Close()
		c.CloseIdleConnections()
	}
	stop(t, p)
}

// A client of HTTP/3 that has nothing of ours or of Go, and a client of HTTP/2 that is told of the UDP port.
func TestHTTP3(t *testing.T) {
	client, err := exec.LookPath("gtlsclient")
	if err != nil {
		t.Fatal(err, "make deps installs it")
	}
	a, dir := testutil.NewAuthority(t), t.TempDir()
	a.IssueTo(t, dir, "pair", nil, "localhost", "127.0.0.1")
	p, plain := start(t, "http3", "-listen", "127.0.0.1:0", "-cert", filepath.Join(dir, "pair.pem"),
		"-key", filepath.Join(dir, "pair.key"), origin(t, "one"))
	url := "https" + strings.TrimPrefix(plain, "http")
	host, port, err := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), client, "--quiet", "--exit-on-all-streams-close", "--timeout=10s",
		"--download="+dir, host, port, url+"/x").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if body, err := os.ReadFile(filepath.Join(dir, "x")); err != nil || string(body) != "one /x" {
		t.Errorf("%q, %v\n%s", body, err, out)
	}
	c := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: a.Pool},
	}}
	resp, body := testutil.Get(t, c, url+"/y")
	want(t, resp, body, 200, "one /y")
	if got := resp.Header.Get("Alt-Svc"); resp.ProtoMajor != 2 || got != `h3=":`+port+`"; ma=86400` {
		t.Errorf("%s, Alt-Svc %q", resp.Proto, got)
	}
	c.CloseIdleConnections()
	stop(t, p)
}

func TestFilter(t *testing.T) {
	p, url := start(t, "filter", "-listen", "127.0.0.1:0", origin(t, "one"))
	resp, body := ask(t, "GET", url+"/tea", "me")
	want(t, resp, body, 403, "say please\n")
	req, err := http.NewRequest("GET", url+"/tea", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Please", "yes")
	req.Close = true
	resp, body = testutil.Do(t, http.DefaultClient, req)
	want(t, resp, body, 200, "one /tea")
	stop(t, p)
}

// An address that is taken is an error, and says so.
func TestExamples_addressTaken(t *testing.T) {
	l := testutil.Listen(t)
	for _, name := range []string{"echo", "hello", "filter", "nethttp"} {
		args := []string{"-listen", l.Addr().String()}
		if name == "filter" {
			args = append(args, "127.0.0.1:1")
		}
		p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./examples/"+name), Args: args})
		if code := p.Wait(testutil.Minutes); code != 1 || !strings.Contains(p.Output(), "address already in use") {
			t.Errorf("%s: exit code %d\n%s", name, code, p.Output())
		}
	}
}

// Two listeners, TLS, a redirect, an access log and a filter are a file and a page of code.
func TestConfigured(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile("configured/edge.toml")
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.NewReplacer(":8080", "127.0.0.1:0", ":8443", "127.0.0.1:0", "localhost:3000", origin(t, "one"),
		"access.log", filepath.Join(dir, "access.log")).Replace(string(text))
	path := filepath.Join(dir, "edge.toml")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	p := testutil.Start(t, testutil.Command{
		Path: testutil.Binary(t, "./examples/configured"), Dir: dir,
		Env: []string{"STATE_DIRECTORY=" + dir},
	})
	var listening [][]string
	testutil.Eventually(t, testutil.Patience, func() bool {
		listening = regexp.MustCompile(`"address":"([^"]+)"`).FindAllStringSubmatch(p.Output(), -1)
		return len(listening) == 2
	}, "two addresses")
	plain, secure := listening[0][1], listening[1][1]
	c := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for url, want := range map[string]string{
		"http://" + plain + "/coffee":      "308 ",
		"https://" + secure + "/coffee":    "200 one /coffee",
		"https://" + secure + "/%74ea?x=y": "418 short and stout\n",
	} {
		resp, body := testutil.Get(t, c, url)
		if got := fmt.Sprint(resp.StatusCode, " ", body); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	p.Signal(os.Interrupt)
	ends(t, p)
	if lines, _ := os.ReadFile(filepath.Join(dir, "access.log")); strings.Count(string(lines), "\n") != 3 {
		t.Errorf("%s", lines)
	}
}

// A program with a filter prints warnings, and reads the same files again from another folder.
func TestConfigured_inAnotherFolder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"edge.toml": `working_directory = "/"
[http]
listen = "127.0.0.1:0"
[[routes]]
pattern = "/*"
dest = "status:204"
filters = ["teapot"]
headers = { response = { X-A = "$1", X-B = "${file:word}" } }
`,
		"word": "hello",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := testutil.Start(t, testutil.Command{
		Path: testutil.Binary(t, "./examples/configured"), Args: []string{"edge.toml"}, Dir: dir,
	})
	p.WaitLine(`\[foreign-variable\]`)
	p.WaitLine(`"msg":"starting",.*"configuration":"[^"]*/edge.toml"`)
	p.WaitLine(`"msg":"listening"`)
	p.Signal(syscall.SIGHUP)
	p.WaitLine(`"msg":"configuration reloaded`)
	p.Signal(os.Interrupt)
	ends(t, p)
}

// Sockets that appear in the folder become backends, and go with their files.
func TestDiscover(t *testing.T) {
	dir := t.TempDir()
	conf := "[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"sockets://" + dir + "/run\"\n"
	if err := os.WriteFile(filepath.Join(dir, "edge.toml"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./examples/discover"), Dir: dir})
	url := "http://" + p.WaitLine(`"msg":"listening".*"address":"([^"]+)"`)[1]
	p.WaitLine(`"msg":"discovery failed"`)
	if resp, _ := ask(t, "GET", url, "me"); resp.StatusCode != 503 {
		t.Errorf("%s without a folder", resp.Status)
	}
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "run", "app"))
	if err != nil {
		t.Fatal(err)
	}
	app := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "app")
	})}
	go app.Serve(l) //nolint:errcheck // it ends with the listener
	defer app.Close()
	p.WaitLine(`"msg":"discovery changed"`)
	resp, body := ask(t, "GET", url, "me")
	want(t, resp, body, 200, "app")
	p.Signal(os.Interrupt)
	ends(t, p)
}

func TestNetHTTP(t *testing.T) {
	p, url := start(t, "nethttp", "-listen", "127.0.0.1:0")
	resp, body := ask(t, "GET", url+"/hello/you", "me")
	want(t, resp, body, 200, "hello, you\n")
	resp, _ = ask(t, "POST", url+"/hello/you", "me")
	if resp.StatusCode != 405 {
		t.Fatal(resp.Status)
	}
	stop(t, p)
}

func TestUpgrade(t *testing.T) {
	p, url := start(t, "upgrade", "127.0.0.1:0")
	w := testutil.Dial(t, strings.TrimPrefix(url, "http://"))
	w.Send("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", "hello")
	if head := w.ReadHead(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatal(head)
	}
	w.Want("hello")
	w.CloseWrite()
	w.WantEnd()
	resp, _ := ask(t, "GET", url+"/echo", "me")
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Error(resp.Status)
	}
	w = testutil.Dial(t, strings.TrimPrefix(url, "http://"))
	w.Send("GET /ticks/ HTTP/1.1\r\nHost: a\r\nX-Shown: yes\r\n\r\n")
	w.ReadUntil("data: ")
	p.WaitLine(`X-Shown: (yes)`)
	w.Close()
	stop(t, p)
}

// Three services register themselves and find each other through edge. An instance is killed, one is stopped and one is
// added while clients ask, and no request fails.
func TestServices(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		runServices(t, "file://"+t.TempDir())
	})
	t.Run("etcd", func(t *testing.T) {
		t.Parallel()
		etcd, err := exec.LookPath("etcd")
		if err != nil {
			t.Skip("etcd is not installed")
		}
		client, peer := "http://"+testutil.FreeAddr(t), "http://"+testutil.FreeAddr(t)
		p := testutil.Start(t, testutil.Command{Path: etcd, Args: []string{
			"--data-dir", t.TempDir(), "--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
		}})
		at := strings.TrimPrefix(client, "http://")
		p.WaitPort(at)
		runServices(t, "etcd://"+at+"/demo")
	})
}

func runServices(t *testing.T, registry string) {
	edge := testutil.Start(t, testutil.Command{
		Path: testutil.Binary(t, "./cmd/edge"), Dir: filepath.Join(testutil.Root(t), "examples", "services"),
		Args: []string{"run", "--set", "log.output=[]", "-c", "edge.toml"},
		Env:  []string{"LISTEN=127.0.0.1:0", "REGISTRY=" + registry},
	})
	url := "http://" + edge.WaitLine(`"msg":"listening".*"address":"([^"]+)"`)[1]
	begin := func(name string) *testutil.Process {
		t.Helper()
		p := testutil.Start(t, testutil.Command{
			Path: testutil.Binary(t, "./examples/services"),
			Args: []string{"-name", name, "-registry", registry, "-edge", url, "-linger", "300ms",
				"-listen", testutil.FreeAddr(t)}, // others do not get the address of an instance that is killed
		})
		at := p.WaitLine(`listening on (\S+)`)[1]
		edge.WaitLine(`discovery changed.*"added":\[[^]]*"` + regexp.QuoteMeta(at) + `"`)
		return p
	}
	shop, prices := begin("shop"), begin("prices")
	begin("prices")
	begin("shop")
	stock := begin("stock")
	var asked, failed atomic.Int64
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Get(url + "/shop/tea")
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				asked.Add(1)
				if err != nil || resp.StatusCode != 200 || string(body) != "tea costs 3 €, 3 left" {
					failed.Add(1)
					t.Errorf("%s %q, %v", resp.Status, body, err)
					return
				}
			}
		})
	}
	more := func() {
		t.Helper()
		before := asked.Load()
		testutil.Eventually(t, testutil.Patience, func() bool { return failed.Load() > 0 || asked.Load() > before+50 })
	}
	more()
	prices.Signal(os.Kill)
	more()
	shop.Signal(os.Kill)
	more()
	begin("stock")
	if code := stock.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	begin("shop")
	more()
	close(stop)
	clients.Wait()
	t.Logf("%d requests, %d failed", asked.Load(), failed.Load())
}
