package examples_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// guided runs a configuration of the guide with addresses of the test, and returns what a request gets.
func guided(t *testing.T, name string) func(path string, fields ...string) (status int, body string, h http.Header) {
	t.Helper()
	b, err := os.ReadFile("guide/" + name)
	if err != nil {
		t.Fatal(err)
	}
	addr, text := testutil.FreeAddr(t), string(b)
	for port, to := range map[string]string{"6188": addr, "6191": addr, "6193": addr, "6192": testutil.FreeAddr(t),
		"3000": origin(t, "one"), "3001": origin(t, "two")} {
		text = strings.ReplaceAll(text, "127.0.0.1:"+port, to)
	}
	conf := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run", "-c", conf}})
	p.WaitLine(`"msg":"listening"`)
	t.Cleanup(func() { stop(t, p) })
	return func(path string, fields ...string) (int, string, http.Header) {
		req, _ := http.NewRequest("GET", "http://"+addr+path, nil)
		for i := 0; i < len(fields); i += 2 {
			req.Header.Set(fields[i], fields[i+1])
		}
		req.Close = true
		resp, body := testutil.Do(t, http.DefaultClient, req)
		return resp.StatusCode, body, resp.Header
	}
}

// The page counts lines as they are: without blank ones and comments.
func TestGuide_lines(t *testing.T) {
	page, err := os.ReadFile("../docs/framework.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`\| (\d+|–) \| \[\S+\]\(\.\./examples/(\S+)\) \| (\d+) \|`)
	skipped := regexp.MustCompile(`(?m)^\s*(#.*|//.*)?\n`)
	rows := row.FindAllStringSubmatch(string(page), -1)
	for _, r := range rows {
		b, err := os.ReadFile(r[2])
		if err != nil {
			t.Fatal(err)
		}
		n := strings.Count(skipped.ReplaceAllString(string(b), ""), "\n")
		if r[3] != fmt.Sprint(n) {
			t.Errorf("%s: the page says %s lines, it has %d", r[2], r[3], n)
		}
		if theirs, err := strconv.Atoi(r[1]); err == nil && n > theirs {
			t.Errorf("%s: %d lines, more than the %d of the other", r[2], n, theirs)
		}
	}
	if len(rows) != 6 {
		t.Errorf("%d examples", len(rows))
	}
}

func TestGuide_rateLimiter(t *testing.T) {
	get := guided(t, "rate_limiter.toml")
	limited := 0
	for range 5 {
		if status, _, _ := get("/", "appid", "a"); status == 429 {
			limited++
		}
		if status, _, _ := get("/"); status != 200 {
			t.Errorf("without a field: %d", status)
		}
	}
	if status, _, _ := get("/", "appid", "b"); limited == 0 || status != 200 {
		t.Errorf("%d of 5 were limited; another application got %d", limited, status)
	}
}

func TestGuide_gateway(t *testing.T) {
	get := guided(t, "gateway.toml")
	for _, c := range []struct{ path, password, want string }{
		{"/", "", "200 one / MyGateway"},
		{"/family/x", "", "200 two /family/x MyGateway"},
		{"/login/", "password", "200 one /login/ MyGateway"},
		{"/login/", "bad", "403 no way! "},
	} {
		status, body, h := get(c.path, "Authorization", c.password)
		if got := fmt.Sprint(status, " ", body, " ", h.Get("Server")); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
}

func TestGuide_access(t *testing.T) {
	get := guided(t, "access.toml")
	for credential, want := range map[string]int{"": 403, "basic wrong": 403, "basic testcode": 200} {
		if status, _, _ := get("/", "Authorization", credential); status != want {
			t.Errorf("%q: %d, want %d", credential, status, want)
		}
	}
}

// own runs a program of the guide with a configuration over the one that it has.
func own(t *testing.T, name, conf string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "conf.toml"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./examples/guide/"+name), Dir: dir,
		Args: []string{"-c", "conf.toml"}, Env: []string{"STATE_DIRECTORY=" + dir}})
	p.WaitLine(`"msg":"listening"`)
	t.Cleanup(func() { stop(t, p) })
}

func TestGuide_modify(t *testing.T) {
	addr, file := testutil.FreeAddr(t), testutil.Listen(t)
	go http.Serve(file, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:errcheck // it ends
		if io.WriteString(w, `{"ip":"192.0.2.1",`); r.URL.Path == "/" {
			w.(http.Flusher).Flush()
			io.WriteString(w, `"port":80}`)
		}
	}))
	const route = "http.listen = %q\n[[routes]]\npattern = \"/*\"\nfilters = [\"yaml\"]\ndest = %q\n"
	own(t, "modify", fmt.Sprintf(route, addr, file.Addr()))
	for path, want := range map[string]string{"/": "ip: 192.0.2.1\n", "/cut": `{"ip":"192.0.2.1",`} {
		if _, body := ask(t, "GET", "http://"+addr+path, ""); body != want {
			t.Errorf("%s: %q", path, body)
		}
	}
}

func TestGuide_multi(t *testing.T) {
	at := map[string]string{}
	conf := fmt.Sprintf("admin.listen = %q\n", testutil.FreeAddr(t))
	for _, name := range []string{"http", "https", "proxy", "proxy-tls"} {
		at[name] = testutil.FreeAddr(t)
		conf += fmt.Sprintf("[[listeners]]\nname = %q\nlisten = %q\n", name, at[name])
	}
	for _, name := range []string{"echo", "echo-over-tls"} {
		at[name] = testutil.FreeAddr(t)
		conf += fmt.Sprintf("[services.%s]\nlisten = %q\n", name, at[name])
	}
	for _, name := range []string{"proxy", "proxy-tls"} {
		conf += fmt.Sprintf("[[routes]]\nlistener = %q\ndest = %q\n", name, origin(t, name))
	}
	own(t, "multi", conf)
	insecure := &tls.Config{InsecureSkipVerify: true}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: insecure}}
	t.Cleanup(client.CloseIdleConnections)
	for url, want := range map[string]string{"http://" + at["http"]: "hello", "https://" + at["https"]: "hello",
		"http://" + at["proxy"]: "proxy /", "https://" + at["proxy-tls"]: "proxy-tls /"} {
		resp, err := client.Post(url, "", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != want {
			t.Errorf("%s: %s, want %s", url, body, want)
		}
		resp.Body.Close()
	}
	plain, err := net.Dial("tcp", at["echo"])
	if err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Dial("tcp", at["echo-over-tls"], insecure)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{plain, secure} {
		fmt.Fprint(c, "hello")
		buf := make([]byte, 5)
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
			t.Errorf("%s, %v", buf, err)
		}
		c.Close()
	}
}
