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

	"github.com/edge-proxy/edge/internal/testutil"
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

// migrated is the example of docs/migrating.md: the text before "becomes", and the one after it.
func migrated(t *testing.T) (from, to string) {
	page, err := os.ReadFile(filepath.Join(testutil.Root(t), "docs", "migrating.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```ini\n(.*?)```\n\nbecomes\n\n```toml\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("the page has no example")
	}
	return string(m[1]), string(m[2])
}

func TestImport_doesWhatThePageSays(t *testing.T) {
	from, to := migrated(t)
	file := filepath.Join(t.TempDir(), "site.conf")
	if err := os.WriteFile(file, []byte(from), 0o600); err != nil {
		t.Fatal(err)
	}
	result := filepath.Join(t.TempDir(), "edge.toml")
	code, out := command(t, importer, "nginx", file, "-o", result)
	text, err := os.ReadFile(result)
	if err != nil || code != 0 || string(text) != to {
		t.Errorf("exit %d, %v:\n%s%s", code, err, out, text)
	}
	if at, err := os.Stat(result); err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("%v %v: others may read what may hold passwords", at.Mode(), err)
	}
	for _, args := range [][]string{{"check", "--strict", result}, {"fmt", "--check", result}} {
		if code, out := command(t, edge, args...); code != 0 {
			t.Errorf("edge %s: exit %d:\n%s", args[0], code, out)
		}
	}
	code, out = command(t, importer, "nginx", file, "-o", result)
	if code != exitError || !strings.Contains(out, "exists") {
		t.Errorf("a file that is there: exit %d:\n%s", code, out)
	}
}

func TestImport_listsWhatIsLost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nginx.conf")
	text := "user nobody-here;\nhttp {\n  server {\n    listen 443 ssl;\n    ssl_certificate no.pem;\n" +
		"    ssl_certificate_key no.key;\n    sub_filter a b;\n    include missing.conf;\n" +
		"    return 301 https://a.test/;\n  }\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := command(t, importer, "nginx", file, "--json")
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
	file := filepath.Join(t.TempDir(), "nginx.conf")
	text := "http {\n  server {\n    listen 8080;\n    root /no/such/folder;\n  }\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := command(t, importer, "nginx", file)
	if code != exitLost || !strings.Contains(out, "\ndest = \"static:/no/such/folder\"") ||
		strings.Contains(out, "status:403") ||
		!strings.Contains(out, `:4: not carried: dest = "static:/no/such/folder"`) {
		t.Errorf("exit %d:\n%s", code, out)
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
		file := filepath.Join(dir, "Caddyfile")
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := command(t, importer, "caddy", file)
		if code != test.code || !strings.Contains(out, test.has) {
			t.Errorf("%q: exit %d:\n%s", test.text, code, out)
		}
	}
}

func TestImport_usage(t *testing.T) {
	for _, args := range [][]string{{}, {"nginx"}, {"apache", "f"}, {"nginx", "a", "b"}} {
		if code, out := command(t, importer, args...); code != exitLost {
			t.Errorf("%q: exit %d:\n%s", args, code, out)
		}
	}
	for _, file := range []string{"/no/such/file", t.TempDir()} {
		code, out := command(t, importer, "nginx", file)
		if code != exitError || !strings.Contains(out, file) {
			t.Errorf("exit %d:\n%s", code, out)
		}
	}
}

// What the result names of files beside the one that is imported is found from any folder. edge fmt has nothing to do.
func TestImport_pathsHoldInAnyFolder(t *testing.T) {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("p"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"users": "u:" + string(hash) + "\n", "nginx.conf": "http { server { " +
		"listen 8080; allow 127.0.0.1; deny all; auth_basic x; auth_basic_user_file users; " +
		"location / { proxy_pass http://127.0.0.1:1; } } }"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(testutil.Binary(t, importer), "nginx", "nginx.conf", "-o", "edge.toml")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, args := range [][]string{{"check"}, {"fmt", "--check"}} {
		if code, out := command(t, edge, append(args, filepath.Join(dir, "edge.toml"))...); code != 0 {
			t.Errorf("edge %s: exit %d:\n%s", args[0], code, out)
		}
	}
}

// Files of Traefik that do not name each other are one configuration.
func TestImport_severalFiles(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for name, text := range map[string]string{
		"traefik.yml": "entryPoints:\n  web:\n    address: \":8081\"\n",
		"routes.toml": "[http.routers.a]\nrule = \"Host(`a.test`)\"\nservice = \"a\"\n" +
			"[[http.services.a.loadBalancer.servers]]\nurl = \"http://127.0.0.1:3000\"\n",
	} {
		files = append(files, filepath.Join(dir, name))
		if err := os.WriteFile(files[len(files)-1], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	result := filepath.Join(dir, "edge.toml")
	code, out := command(t, importer, append([]string{"traefik", "-o", result}, files...)...)
	text, err := os.ReadFile(result)
	got := string(text)
	if err != nil || code != 0 || !strings.Contains(got, "a.test") || !strings.Contains(got, ":8081") {
		t.Errorf("exit %d, %v:\n%s%s", code, err, out, text)
	}
	if code, out := command(t, edge, "check", result); code != 0 {
		t.Errorf("edge check: exit %d:\n%s", code, out)
	}
}
