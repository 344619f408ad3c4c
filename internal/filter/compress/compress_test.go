package compress_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/compress"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
	"github.com/edge-proxy/edge/session"
)

// page is a body of n bytes that can be compressed.
func page(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "<tr><td>%d</td><td>%s</td></tr>\n", i*i%977, strings.Repeat("cell ", i%7))
	}
	return b.String()[:n]
}

// origin answers by its path.
func origin(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("ETag", `"v1"`)
	switch r.URL.Path {
	case "/large":
		io.WriteString(w, page(3<<20))
	case "/known":
		h.Set("Content-Length", "5000")
		io.WriteString(w, page(5000))
	case "/pieces":
		for rest := page(200_000); rest != ""; {
			n := min(len(rest), 7777)
			io.WriteString(w, rest[:n])
			w.(http.Flusher).Flush()
			rest = rest[n:]
		}
	case "/trailers":
		h.Set("Trailer", "X-Sum")
		io.WriteString(w, page(100_000))
		h.Set("X-Sum", "1")
	case "/image":
		h.Set("Content-Type", "image/png")
		io.WriteString(w, page(5000))
	case "/cut":
		h.Set("Content-Length", "100000")
		io.WriteString(w, page(50_000))
		panic(http.ErrAbortHandler)
	case "/events":
		h.Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		for {
			select {
			case <-r.Context().Done():
				return
			case word := <-events:
				if word == "" {
					return
				}
				io.WriteString(w, word)
				w.(http.Flusher).Flush()
			}
		}
	}
}

var events = make(chan string)

// serve starts a proxy with a filter before origin.
func serve(t *testing.T, c *compress.Config) string {
	t.Helper()
	back := httptest.NewServer(http.HandlerFunc(origin))
	t.Cleanup(back.Close)
	f, err := filterrig.Made(compress.New, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return filterrig.Start(t, &edge.Server{
		Addr: "127.0.0.1:0", Filters: []*proxy.Filter{f}, Session: session.ServerOptions{H2C: true},
		Routes: []proxy.Route{
			{Path: "/own", To: proxy.Answer(200, "text/css", page(5000))},
			{Path: "/handler/", Rewrite: &proxy.Rewrite{StripPrefix: "/handler"},
				To: handler.FromHTTP(http.HandlerFunc(origin))},
			{To: edge.Backends(back.Listener.Addr().String())},
		},
	})
}

// clients are clients of HTTP/1 and HTTP/2 that leave the coding to the test.
func clients(t *testing.T) map[string]*http.Client {
	both := filterrig.Clients(t)
	for _, c := range both {
		c.Transport.(*http.Transport).DisableCompression = true
	}
	return both
}

func get(t *testing.T, c *http.Client, url, accept string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", accept)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// Bodies arrive whole, by both versions and codings, and their heads say what they are.
func TestCompress(t *testing.T) {
	url := serve(t, &compress.Config{})
	for name, c := range clients(t) {
		for _, coding := range []string{"gzip", "zstd"} {
			for path, want := range map[string]string{
				"/large": page(3 << 20), "/known": page(5000), "/pieces": page(200_000), "/trailers": page(100_000),
				"/own": page(5000), "/handler/large": page(3 << 20), "/handler/pieces": page(200_000),
			} {
				resp := get(t, c, url+path, coding)
				h := resp.Header
				raw, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(name, path, err)
				}
				got, err := io.ReadAll(testutil.Decoder(t, h.Get("Content-Encoding"), bytes.NewReader(raw)))
				if err != nil || string(got) != want || h.Get("Content-Encoding") != coding {
					t.Fatalf("%s %s %s: %d of %d bytes, %v, %v", name, coding, path, len(got), len(want), err, h)
				}
				if h.Get("Vary") != "Accept-Encoding" || len(raw) > len(want)/3 || h.Get("Content-Length") != "" {
					t.Errorf("%s %s %s: %d bytes, %v", name, coding, path, len(raw), h)
				}
				if tag := h.Get("ETag"); tag != `W/"v1"` && path != "/own" {
					t.Errorf("%s: %s", path, tag)
				}
				if path == "/trailers" && resp.Trailer.Get("X-Sum") != "1" {
					t.Errorf("%s: trailers %v", name, resp.Trailer)
				}
			}
		}
		for path, accept := range map[string]string{"/known": "br", "/image": "gzip", "/own": ""} {
			resp := get(t, c, url+path, accept)
			varies := resp.Header.Get("Vary") != ""
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != page(5000) ||
				resp.Header.Get("Content-Encoding") != "" || varies == (path == "/image") {
				t.Errorf("%s %s: %d bytes, %v, %v", name, path, len(got), err, resp.Header)
			}
		}
		resp := get(t, c, url+"/cut", "gzip")
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: an answer that was cut off looks whole", name)
		}
	}
}

// Events and their head come at once, each of them.
func TestCompress_events(t *testing.T) {
	url := serve(t, &compress.Config{})
	for name, c := range clients(t) {
		for _, accept := range []string{"zstd, gzip", "zstd"} { // what zstd alone is accepted for is not compressed
			resp := get(t, c, url+"/events", accept) // the head came: nothing was sent yet
			coding := resp.Header.Get("Content-Encoding")
			if (coding == "gzip") != strings.Contains(accept, "gzip") {
				t.Fatal(name, accept, resp.Header)
			}
			var lines *bufio.Reader
			for i := range 50 {
				word := fmt.Sprintf("data: %d %s\n", i, strings.Repeat("x", i*i))
				events <- word
				if lines == nil {
					lines = bufio.NewReaderSize(testutil.Decoder(t, coding, resp.Body), 1<<16)
				}
				if got, err := lines.ReadString('\n'); got != word {
					t.Fatalf("%s: %q, %v", name, got, err)
				}
			}
			events <- ""
			if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
				t.Errorf("%s: %q, %v", name, rest, err)
			}
		}
	}
}

// curl decodes it, too.
func TestCompress_curl(t *testing.T) {
	testutil.OnlyPlain(t)
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	url := serve(t, &compress.Config{Encodings: []string{"gzip"}, Level: "best"})
	out, err := exec.CommandContext(t.Context(), curl, "-s", "--compressed", url+"/large").Output()
	if err != nil || string(out) != page(3<<20) {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestConfig_Check(t *testing.T) {
	for _, c := range []struct {
		config compress.Config
		want   string // in the error
	}{
		{compress.Config{Encodings: []string{"br"}}, "brotli"},
		{compress.Config{Encodings: []string{"deflate"}}, "no coding"},
		{compress.Config{Encodings: []string{"gzip", "gzip"}}, "twice"},
		{compress.Config{Types: []string{"html"}}, "no content type"},
		{compress.Config{Level: "12"}, "level"},
		{compress.Config{MinSize: -1}, "min_size"},
	} {
		_, err := filterrig.Made(compress.New, &c.config, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.config, err)
		}
	}
}

// Types that take in images and archives are a warning.
func TestNew_warns(t *testing.T) {
	for pattern, warns := range map[string]bool{
		"*": true, "*/*": true, "image/*": true, "usual": false, "text/*": false,
	} {
		var log bytes.Buffer
		b := &plugin.Build{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		_, err := filterrig.Made(compress.New, &compress.Config{Types: []string{pattern}}, b)
		if err != nil || (log.Len() > 0) != warns {
			t.Errorf("%s: %v, logged %q", pattern, err, log.String())
		}
	}
}
