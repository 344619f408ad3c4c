package importer_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	importer "github.com/edge-proxy/edge/cmd/edge-import/internal/importer"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// shops are files as people have them, by their programs.
var shops = map[string]string{
	"nginx": "26-shop.conf", "haproxy": "10-shop.cfg", "caddy": "19-shop.caddy", "traefik": "14-shop/traefik.yml",
}

// The result of a file that a person wrote is one that a person goes on with: not twice as long.
func TestImport_filesStaySmall(t *testing.T) {
	for program, name := range shops {
		path := filepath.Join("testdata", program, name)
		files := []string{path}
		if program == "traefik" {
			files = append(files, filepath.Join(filepath.Dir(path), "dynamic.yml"))
		}
		source := 0
		for _, file := range files {
			source += strings.Count(read(t, file), "\n")
		}
		p := planOfFile(t, program, path)
		if lines := strings.Count(string(p.Text(plan.TextOnly)), "\n"); lines > 2*source {
			t.Errorf("%s: %d lines become %d", program, source, lines)
		}
	}
}

// servers returns a file with n servers, each with some routes.
func servers(program string, n int) string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	switch program {
	case "nginx":
		add("http {\n")
		for i := range n {
			add("server { listen 80; server_name h%d.test *.w%[1]d.test;\n"+
				"location / { proxy_pass http://127.0.0.1:3000; }\n"+
				"location /api/ { proxy_pass http://10.0.0.1:%d/; }\nlocation ~ \\.php$ { deny all; } }\n", i, 1000+i)
		}
		add("}\n")
	case "haproxy":
		add("defaults\nmode http\ntimeout connect 1s\ntimeout client 1s\ntimeout server 1s\nfrontend f\nbind :80\n")
		for i := range n {
			add("use_backend b%d if { hdr(host) h%[1]d.test } { path_beg /a }\n", i)
		}
		for i := range n {
			add("backend b%d\nserver s 127.0.0.1:3000\nhttp-request deny if { method POST }\n", i)
		}
	case "caddy":
		for i := range n {
			add("http://h%d.test {\nhandle /api/* {\nreverse_proxy 127.0.0.1:3000\n}\nhandle {\n"+
				"reverse_proxy 10.0.0.1:%d\n}\n}\n", i, 1000+i)
		}
	case "traefik":
		add("http:\n  services:\n    s:\n      loadBalancer:\n        servers:\n" +
			"          - url: http://127.0.0.1:3000\n  routers:\n")
		for i := range n {
			add("    r%d:\n      rule: Host(`h%[1]d.test`) && PathPrefix(`/a`)\n      service: s\n", i)
		}
	case "pingora":
		add("version: 1\nthreads: 2\n%s", strings.Repeat("# none\n", n))
	}
	return b.String()
}

// A file four times as large takes about four times the memory, and what is made of it too.
func TestImport_largeFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of servers")
	}
	for _, program := range importer.Programs() {
		taken := func(n int) (bytes uint64) {
			files := fstest.MapFS{"f.yml": &fstest.MapFile{Data: []byte(servers(program, n))}}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p, err := importer.Import(program, "f.yml", &plan.Reader{Files: files})
			if err != nil {
				t.Fatal(program, err)
			}
			text := p.Text(plan.TextOnly)
			runtime.ReadMemStats(&after)
			if program != "pingora" && strings.Count(string(text), "h"+fmt.Sprint(n-1)+".test") == 0 {
				t.Errorf("%s: the last server is not there", program)
			}
			return after.TotalAlloc - before.TotalAlloc
		}
		few := taken(500)
		if many := taken(2000); many > 8*few {
			t.Errorf("%s: 500 servers take %d bytes, 2000 take %d", program, few, many)
		}
	}
}

// Files that nobody can read as they are say where they are wrong.
func TestImport_filesThatAreWrong(t *testing.T) {
	deep := func(open, end string) string { return strings.Repeat(open, 1000) + strings.Repeat(end, 1000) }
	for _, test := range []struct{ program, text string }{
		{"nginx", "http { include f.yml; include missing.conf; server { listen 80; } }"},
		{"nginx", "http {\n server {\n" + deep("location /a {\n", "}\n") + "}\n}\n"},
		{"nginx", "\x7fELF\x02\x01\x01\x00\x00"}, {"nginx", "frontend f\n  bind :80\n"},
		{"haproxy", "server {\n listen 80;\n}\n"}, {"haproxy", "\x7fELF\x02\x01\x01\x00\x00\n"},
		{"haproxy", "frontend f\nbind :80\nacl a " + strings.Repeat("( ", 1000) + "\nhttp-request deny if a\n"},
		{"caddy", "import f.yml\nimport missing.caddy\n:80\n"},
		{"caddy", ":80 {\n" + deep("handle {\n", "}\n") + "}\n"},
		{"caddy", "(a) {\nb\n}\n(b) {\n" + strings.Repeat("import a\n", 1000) + "}\n:80 {\n" +
			strings.Repeat("import b\n", 300) + "}\n"},
		{"caddy", "\x7fELF\x02\x01\x01\x00\x00"}, {"caddy", "http {\n  server {\n    listen 80;\n  }\n}\n"},
		{"traefik", "http:\n  routers:\n    a:\n      service: b\n      rule: " +
			strings.Repeat("(", 1000) + "Host(`a`)\n"},
		{"traefik", "\x7fELF\x02\x01\x01\x00\x00"}, {"traefik", "server { listen 80; }"},
		{"traefik", deep("- ", "")}, {"pingora", "\x7fELF\x02\x01\x01\x00\x00"}, {"pingora", "server { listen 80; }"},
	} {
		files := fstest.MapFS{"f.yml": &fstest.MapFile{Data: []byte(test.text)}}
		p, err := importer.Import(test.program, "f.yml", &plan.Reader{Files: files})
		if err != nil {
			if !strings.Contains(err.Error(), "f.yml") {
				t.Errorf("%s %.40q: %v names no file", test.program, test.text, err)
			}
			continue
		}
		p.Text(plan.TextOnly)
		if p.Losses() == 0 || p.Findings()[0].File == "" {
			t.Errorf("%s %.40q: %v", test.program, test.text, p.Findings())
		}
	}
}
