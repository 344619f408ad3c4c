//go:build apps

package apps

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// nginxConf is one process that serves what a server block says. It needs no folder but its own.
const nginxConf = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	types { text/html html; text/css css; }
	client_body_temp_path body;
	fastcgi_temp_path fastcgi;
	proxy_temp_path proxy;
	scgi_temp_path scgi;
	uwsgi_temp_path uwsgi;
	client_max_body_size 0;
	server {
		listen %s;
		%s
	}
}
`

// startNginx runs nginx with a server block and returns its address.
func (a *app) startNginx(block string) string {
	a.Helper()
	address, dir := testutil.FreeAddr(a), a.TempDir()
	a.write(filepath.Join(dir, "nginx.conf"), fmt.Sprintf(nginxConf, address, block))
	a.start(testutil.Command{
		Path: a.need("nginx", "nginx-light"), Args: []string{"-p", dir, "-c", "nginx.conf", "-e", "stderr"}, Dir: dir,
	}).WaitPort(address)
	return address
}

func TestNginx(t *testing.T) {
	a := begin(t, "nginx, static files")
	a.versionOf(a.need("nginx", "nginx-light"), "-v")
	root := t.TempDir()
	a.write(filepath.Join(root, "index.html"), "<h1>hello</h1>\n")
	a.write(filepath.Join(root, "style.css"), strings.Repeat("p { margin: 0; }\n", 10_000))
	a.write(filepath.Join(root, "large.bin"), string(noise(30e6, 4)))
	a.write(filepath.Join(root, "list", "a file.html"), "a")
	a.write(filepath.Join(root, "list", "grüße", "index.html"), "b")
	address := a.startNginx(fmt.Sprintf("root %s; gzip on; gzip_types text/css; gzip_vary on;\n"+
		"location /list/ { autoindex on; }\n", root))
	a.front(address, `
[upstreams.files]
backends = [{ address = %[1]q }]
via = false

[upstreams.told]
backends = [{ address = %[1]q }]

[[routes]]
pattern = "/"
dest = "files"
rewrite_location = true

[[routes]]
pattern = "/"
dest = "told"
header = { X-Told = "yes" }
`, address)

	for question, ask := range map[string]request{
		"a page":              {path: "/"},
		"30 MB":               {path: "/large.bin"},
		"HEAD":                {path: "/large.bin", method: "HEAD"},
		"a missing page":      {path: "/nothing"},
		"a method it has not": {path: "/index.html", method: "POST", body: strings.NewReader("x")},
		"a range":             {path: "/large.bin", fields: []string{"Range", "bytes=1000000-20000000"}},
		"the end":             {path: "/large.bin", fields: []string{"Range", "bytes=-100"}},
		"a range beyond it":   {path: "/large.bin", fields: []string{"Range", "bytes=40000000-"}},
		"gzip":                {path: "/style.css", fields: []string{"Accept-Encoding", "br, gzip"}},
		"no gzip":             {path: "/style.css", fields: []string{"Accept-Encoding", "identity"}},
		"a listing":           {path: "/list/"},
		"a space in a name":   {path: "/list/a%20file.html"},
		"a name in UTF-8":     {path: "/list/gr%C3%BC%C3%9Fe/"},
		"changed":             {path: "/", fields: []string{"If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"}},
	} {
		a.ask(question, all, func(t *testing.T, w *way) string { return w.do(t, ask).tell(w) })
	}
	a.ask("ETag", all, conditional("/large.bin", "ETag", "If-None-Match"))
	a.ask("Last-Modified", all, conditional("/large.bin", "Last-Modified", "If-Modified-Since"))
	a.ask("If-Range", all, conditional("/large.bin", "ETag", "If-Range", "Range", "bytes=5-9"))
	a.ask("several ranges", all, func(t *testing.T, w *way) string {
		r := w.do(t, request{path: "/large.bin", fields: []string{"Range", "bytes=0-9,100-199,-5"}})
		_, boundary, _ := strings.Cut(r.header.Get("Content-Type"), "boundary=")
		return fmt.Sprint(r.status, sum([]byte(strings.ReplaceAll(string(r.body), boundary, "boundary"))))
	})
	// nginx does not compress for a proxy unless gzip_proxied says so: via = false is what the docs tell.
	a.want("gzip for a proxy", "200 ", all, func(t *testing.T, w *way) string {
		r := w.do(t, request{path: "/style.css", fields: []string{"Accept-Encoding", "gzip", "X-Told", "yes"}})
		return fmt.Sprint(r.status, " ", r.header.Get("Content-Encoding"))
	})
	for _, host := range []string{"", "files.test", "files.test:8443", address} {
		a.want(strings.TrimSpace("a redirect "+host), "301 /list/?a=b", all, func(t *testing.T, w *way) string {
			var fields []string
			if host != "" {
				fields = []string{"Host", host}
			}
			r := w.do(t, request{path: "/list?a=b", fields: fields})
			return fmt.Sprint(r.status, " ", r.header.Get("Location"))
		})
	}
}

// conditional asks again with what the field of a first answer says.
func conditional(path, field, condition string, more ...string) func(t *testing.T, w *way) string {
	return func(t *testing.T, w *way) string {
		value := w.do(t, request{method: "HEAD", path: path}).header.Get(field)
		if value == "" {
			t.Fatalf("%s has no %s", path, field)
		}
		return w.do(t, request{path: path, fields: append([]string{condition, value}, more...)}).tell(w)
	}
}
