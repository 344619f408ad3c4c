package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const (
	importer = "./cmd/edge-import"
	edge     = "./cmd/edge"
)

// command runs a program of edge, and returns its exit code and all that it prints.
func command(t *testing.T, pkg string, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.Command(testutil.Binary(t, pkg), args...)
	cmd.Dir = t.TempDir()
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// expect runs a program of edge, which has to end with this exit code and print this text. It returns all it prints.
func expect(t *testing.T, code int, text, pkg string, args ...string) (out string) {
	t.Helper()
	got, out := command(t, pkg, args...)
	if got != code || !strings.Contains(out, text) {
		t.Errorf("%s %q: exit %d, want %d and %q:\n%s", pkg, args, got, code, text, out)
	}
	return out
}

// write writes a file in a folder, and returns its path.
func write[T string | []byte](t *testing.T, dir, name string, text T) string {
	t.Helper()
	path := filepath.Join(dir, name)
	testutil.Must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// migrated is the example of docs/migrating.md: the text before "becomes", and the one after it.
func migrated(t *testing.T) (from, to string) {
	page, err := os.ReadFile(filepath.Join(testutil.Root(t), "docs", "migrating.md"))
	testutil.Must(t, err)
	m := regexp.MustCompile("(?s)```ini\n(.*?)```\n\nbecomes\n\n```toml\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("the page has no example")
	}
	return string(m[1]), string(m[2])
}

func TestImport_doesWhatThePageSays(t *testing.T) {
	from, to := migrated(t)
	file := write(t, t.TempDir(), "site.conf", from)
	result := filepath.Join(t.TempDir(), "edge.toml")
	expect(t, 0, "", importer, "nginx", file, "-o", result)
	if text, err := os.ReadFile(result); err != nil || string(text) != to {
		t.Errorf("%v:\n%s", err, text)
	}
	if at, err := os.Stat(result); err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("%v %v: others may read what may hold passwords", at.Mode(), err)
	}
	expect(t, 0, "", edge, "check", "--strict", result)
	expect(t, 0, "", edge, "fmt", "--check", result)
	expect(t, exitError, "exists", importer, "nginx", file, "-o", result)
}

func TestImport_listsWhatIsLost(t *testing.T) {
	text := "user nobody-here;\nhttp {\n  server {\n    listen 443 ssl;\n    ssl_certificate no.pem;\n" +
		"    ssl_certificate_key no.key;\n    sub_filter a b;\n    include missing.conf;\n" +
		"    return 301 https://a.test/;\n  }\n}\n"
	code, out := command(t, importer, "nginx", write(t, t.TempDir(), "nginx.conf", text), "--json")
	var got imported
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitLost {
		t.Fatalf("exit %d, %v:\n%s", code, err, out)
	}
	lost := map[int]bool{}
	for _, f := range got.Findings {
		lost[f.Line] = lost[f.Line] || f.Lost
	}
	for _, line := range []int{1, 5, 7, 8} {
		if !lost[line] {
			t.Errorf("line %d is not among the losses: %s", line, out)
		}
	}
	if !strings.Contains(got.Config, `cert             = "no.pem"`) || strings.Contains(got.Config, "nobody-here") {
		t.Error(got.Config)
	}
}

// The result names folders and certificates as the file does, also those that the machine of the import lacks.
func TestImport_foldersThatAreMissing(t *testing.T) {
	file := write(t, t.TempDir(), "nginx.conf",
		"http {\n  server {\n    listen 8080;\n    root /no/such/folder;\n  }\n}\n")
	out := expect(t, exitLost, "\ndest = \"static:/no/such/folder\"", importer, "nginx", file)
	if strings.Contains(out, "status:403") ||
		!strings.Contains(out, `:4: not carried: dest = "static:/no/such/folder"`) {
		t.Error(out)
	}
}

func TestImport_caddy(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		text string
		code int
		has  string
	}{
		{":8080\nreverse_proxy {$NO_SUCH_BACKEND:localhost:3000}\n", 0, `dest = "http://localhost:3000"`},
		{":8080\ntracing\nreverse_proxy localhost:3000\n", exitLost, "Caddyfile:2: not carried: tracing"},
	} {
		expect(t, test.code, test.has, importer, "caddy", write(t, dir, "Caddyfile", test.text))
	}
}

func TestImport_usage(t *testing.T) {
	for _, args := range [][]string{{}, {"nginx"}, {"apache", "f"}, {"nginx", "a", "b"}} {
		expect(t, exitLost, "", importer, args...)
	}
	for _, file := range []string{"/no/such/file", t.TempDir()} {
		expect(t, exitError, file, importer, "nginx", file)
	}
}

// What the result names of files beside the one that is imported is found from any folder. edge fmt has nothing to do.
func TestImport_pathsHoldInAnyFolder(t *testing.T) {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("p"), bcrypt.MinCost)
	testutil.Must(t, err)
	write(t, dir, "users", "u:"+string(hash)+"\n")
	write(t, dir, "nginx.conf", "http { server { listen 8080; allow 127.0.0.1; deny all; auth_basic x; "+
		"auth_basic_user_file users; location / { proxy_pass http://127.0.0.1:1; } } }")
	cmd := exec.Command(testutil.Binary(t, importer), "nginx", "nginx.conf", "-o", "edge.toml")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	expect(t, 0, "", edge, "check", filepath.Join(dir, "edge.toml"))
	expect(t, 0, "", edge, "fmt", "--check", filepath.Join(dir, "edge.toml"))
}

// Files of Traefik that do not name each other are one configuration.
func TestImport_severalFiles(t *testing.T) {
	dir := t.TempDir()
	one := write(t, dir, "traefik.yml", "entryPoints:\n  web:\n    address: \":8081\"\n")
	two := write(t, dir, "routes.toml", "[http.routers.a]\nrule = \"Host(`a.test`)\"\nservice = \"a\"\n"+
		"[[http.services.a.loadBalancer.servers]]\nurl = \"http://127.0.0.1:3000\"\n")
	result := filepath.Join(dir, "edge.toml")
	expect(t, 0, "", importer, "traefik", "-o", result, one, two)
	text, err := os.ReadFile(result)
	if got := string(text); err != nil || !strings.Contains(got, "a.test") || !strings.Contains(got, ":8081") {
		t.Errorf("%v:\n%s", err, text)
	}
	expect(t, 0, "", edge, "check", result)
}

// The program knows [acme]: what it writes of certificates that are ordered is checked, and not taken away.
func TestImport_certificatesByACME(t *testing.T) {
	file := write(t, t.TempDir(), "Caddyfile", "a.com {\n\treverse_proxy 127.0.0.1:1\n}\n")
	out := expect(t, 0, "[acme]\nca    = \"letsencrypt\"\nhosts = \"a.com\"\n", importer, "caddy", file)
	if !strings.Contains(out, "= \"acme\"\n") {
		t.Error(out)
	}
}
