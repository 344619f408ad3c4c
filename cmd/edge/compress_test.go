package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

const compressedFile = `
[admin]
listen = "unix:%s"
[http]
listen = "127.0.0.1:0"
[log]
output = ["%s"]
[filters.small]
type = "compress"
[defaults]
filters = ["small"]
[[rules]]
when = 'query.raw == "1"'
filters = ["!small"]
[[routes]]
pattern = "/*"
dest = "%[3]s"
[[routes]]
pattern = "/kept/*"
dest = "%[3]s"
cache = { ttl = "10m" }
[[routes]]
pattern = "/plain/*"
dest = "%[3]s"
filters = ["!small"]
`

// letters is a body of n bytes that can be compressed.
func letters(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "{\"id\":%d,\"name\":\"item %d\"},\n", i, i*i%1009)
	}
	return b.Bytes()[:n]
}

// startCompressed starts an edge that compresses, before an origin whose paths end with the size of the answer.
func startCompressed(t *testing.T) (p *running, socket, log string) {
	t.Helper()
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("ETag", `"1"`)
		if r.URL.Query().Get("chunked") == "" {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		}
		w.Write(letters(n))
	}))
	t.Cleanup(o.Close)
	socket, log = testutil.SocketPath(t), filepath.Join(t.TempDir(), "access.log")
	p = start(t, compressedFile, socket, log, o.Listener.Addr().String())
	p.WaitLine(`"section":"admin"`)
	return p, socket, log
}

// fetch asks for a path, and returns the coding, the bytes that came, and what they stand for.
func fetch(t *testing.T, c *http.Client, url, accept string) (coding string, raw, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", accept)
	resp, text := testutil.Do(t, c, req)
	if resp.StatusCode != 200 {
		t.Fatal(url, resp.Status)
	}
	coding = resp.Header.Get("Content-Encoding")
	return coding, []byte(text), testutil.Decoded(t, coding, strings.NewReader(text))
}

// Answers are compressed as clients like it, from backends and from the cache, of all sizes, at the same time; rules
// and routes take the filter out.
func TestCompress_answers(t *testing.T) {
	p, socket, log := startCompressed(t)
	c := client(t)
	c.Transport.(*http.Transport).DisableCompression = true
	url := "http://" + p.addr
	var all sync.WaitGroup
	for _, path := range []string{"/", "/kept/"} {
		for _, n := range []int{300, 5_000, 40_000, 200_000, 3_000_000} {
			all.Go(func() {
				for i, accept := range strings.Split("gzip;zstd;identity;gzip;zstd;identity;br;gzip, zstd", ";") {
					ask := fmt.Sprintf("%s%s%d", url, path, n)
					if i%3 == 1 {
						ask += "?chunked=1"
					}
					coding, raw, body := fetch(t, c, ask, accept)
					want := map[string]string{"gzip, zstd": "zstd", "gzip": "gzip", "zstd": "zstd"}[accept]
					if !bytes.Equal(body, letters(n)) || coding != want || coding != "" && len(raw) > n*2/3 {
						t.Errorf("%s for %q: %s, %d bytes, %d", ask, accept, coding, len(raw), len(body))
					}
				}
			})
		}
	}
	all.Wait()
	for _, path := range []string{"/plain/5000", "/5000?raw=1", "/200"} {
		if coding, _, _ := fetch(t, c, url+path, "gzip, zstd"); coding != "" {
			t.Errorf("%s is compressed by %s", path, coding)
		}
	}
	part := curlWith(t, "-s", "-i", "-H", "Accept-Encoding: gzip", "-r", "0-99", url+"/kept/5000")
	if !strings.Contains(part, "HTTP/1.1 206") || strings.Contains(strings.ToLower(part), "content-encoding") {
		t.Errorf("a part of a stored answer: %.300s", part)
	}
	same := curlWith(t, "-s", "-i", "-H", "Accept-Encoding: gzip", "-H", `If-None-Match: W/"1"`, url+"/kept/5000")
	if !strings.Contains(same, "HTTP/1.1 304") {
		t.Errorf("an answer that the client has: %.300s", same)
	}
	page := curlWith(t, "-s", "--unix-socket", socket, "http://edge/metrics")
	for _, line := range []string{
		`edge_compress_total{encoding="gzip",filter="small",result="compressed"} 20`,
		`edge_compress_total{encoding="identity",filter="small",result="small"} 1`,
	} {
		if !strings.Contains(page, line) {
			t.Errorf("no %s in\n%s", line, linesWith(page, "edge_compress_total"))
		}
	}
	c.CloseIdleConnections()
	p.Stop()
	text, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(text), `,"encoding":"gzip","bytes_saved":`) {
		t.Errorf("no line has the coding: %v\n%.500s", err, text)
	}
}

func linesWith(text, part string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// explain says which coding an answer would have, or why it has none.
func TestCompress_explain(t *testing.T) {
	file := write(t, compressedFile, "/run/none.sock", "/dev/null", "127.0.0.1:1")
	for _, c := range []struct{ url, field, want string }{
		{"http://a.test/", "Accept-Encoding: gzip", "gzip where the answer is of types and of min_size"},
		{"http://a.test/", "Accept-Encoding: br", "no compression, the client accepts none of encodings"},
		{"http://a.test/?raw=1", "Accept-Encoding: gzip", "a rule takes it out"},
		{"http://a.test/plain/1", "Accept-Encoding: gzip", "the route takes it out"},
	} {
		code, out := edge(t, "explain", "-c", file, "-H", c.field, c.url)
		if code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("%s, %s: %d\n%s", c.url, c.field, code, out)
		}
	}
}
