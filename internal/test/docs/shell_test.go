package docs

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The commands of each page run, in a shell of the page.
func TestShell(t *testing.T) {
	for page, list := range pages(t) {
		if page == recipes || len(of(list, "sh", "console", "toml")) == 0 {
			continue
		}
		t.Run(strings.ReplaceAll(page, "/", "."), func(t *testing.T) {
			t.Parallel()
			if err := runPage(t, of(list, "sh", "console", "toml")); err != nil {
				t.Error(err)
			}
		})
	}
}

// runPage runs blocks in turn, and returns what the first failure says.
func runPage(t *testing.T, list []*block) error {
	t.Helper()
	prelude := testutil.ReadFile(t, "testdata/prelude.bash")
	dir := t.TempDir()
	stage := newStage(t, dir)
	script := stage.place(string(prelude))
	for i, b := range list {
		script += stage.command(b, i)
	}
	script += "where=end\nstop\n"
	binary := testutil.Binary(t, "./cmd/edge") // which the first page has to build
	programs := t.TempDir()
	testutil.Must(t, os.Symlink(testutil.Binary(t, "./cmd/edge-import"), filepath.Join(programs, "edge-import")))
	env := []string{"PATH=" + os.Getenv("PATH") + ":" + programs, "EDGE=" + binary,
		"BALANCER=" + testutil.Binary(t, "./examples/loadbalancer"), "ROOT=" + testutil.Root(t),
		"DIR=" + dir, "HOME=" + dir, "STATE_DIRECTORY=" + filepath.Join(dir, ".local/state/edge")}
	if out, err := testutil.Bash(t, dir, env, "-c", script); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	for i, b := range list {
		if b.lang != "console" {
			continue
		}
		out := testutil.ReadFile(t, filepath.Join(dir, fmt.Sprint("output", i)))
		_, samples := console(b)
		if line, ok := shows(string(out), stage.place(samples)); !ok {
			return fmt.Errorf("%v: no line %q in\n%s", b, line, out)
		}
	}
	return nil
}

// A page with a command that fails, a wrong configuration or an output that does not come is noticed.
func TestShell_fires(t *testing.T) {
	for page, want := range map[string]string{
		"```sh\nfalse\n```": "a.md:2: exit code 1",
		"```sh\ncurl -f http://localhost:8080/status/404\n```":      "a.md:2: exit code 22",
		"```sh\ncurl http://localhost:8080/ | grep serve-demo\n```": "",
		"```toml\nlisten = 1\n```":                                  "a.md:2: exit code 1",
		"```toml\n[http]\nlisten = \":3000\"\n```":                  "a.md:2: exit code 1", // which another has
		"```console\n$ echo b; false\nb\n```":                       "",
		"```console\n$ echo \\\n    a\nb\n```":                      `a.md:2: no line "b"`,
		"```toml\n[[routes]]\npattern = \"/\"\ndest = \"status:204\"\n```\n" + // served for the command
			"```console\n$ curl -i http://localhost:8080/\nHTTP/1.1 204…\n```": "",
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			err := runPage(t, blocks("a.md", page+"\n"))
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s\n%v, want %q", page, err, want)
			}
		})
	}
}

// listens finds what makes a listener, or a service.
var listens = regexp.MustCompile(`(?m)^[ \t]*(\[\[?)?(http|https|listeners|services)\b`)

// command returns what the shell does for a block.
func (s *stage) command(b *block, i int) string {
	text := fmt.Sprintf("where=%v output=$DIR/output%d\n", b, i)
	commands := b.text()
	switch b.lang {
	case "toml":
		if !listens.MatchString(commands) {
			commands += "[http]\nlisten = \":8080\"\n" // as edge has it without one
		}
		text += "cat >edge.toml <<'END'\n" + s.place(commands) + "END\n"
		return text + "$EDGE check -c edge.toml >$output 2>&1\nserve\n"
	case "console":
		commands, _ = console(b)
	}
	return text + "{\n" + s.place(commands) + "} >$output 2>&1\n"
}

// console returns the commands of a console, whatever their exit code, and the other lines: the output, which is what
// counts.
func console(b *block) (commands, samples string) {
	more := false
	for _, line := range b.lines {
		line, begins := strings.CutPrefix(line, "$ ")
		switch {
		case !begins && !more:
			samples += line + "\n"
		case strings.HasSuffix(line, `\`):
			commands += line + "\n"
			more = true
		default:
			commands += line + " || true\n"
			more = false
		}
	}
	return commands, samples
}

// shows reports whether the lines of want stand in out in this order, or returns the first that does not.
func shows(out, want string) (missing string, ok bool) {
	lines := strings.Split(strings.ReplaceAll(out, "\r", ""), "\n")
	for w := range strings.Lines(want) {
		w = strings.TrimSpace(w)
		re := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(w), "…", ".*") + "$")
		for len(lines) > 0 && !re.MatchString(strings.TrimSpace(lines[0])) {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			return w, w == ""
		}
		lines = lines[1:]
	}
	return "", true
}

func TestShell_shows(t *testing.T) {
	out := "HTTP/1.1 200 OK\r\nDate: today\r\n\r\nhello\n"
	for want, ok := range map[string]bool{
		"HTTP/1.1 200 OK\nhello\n": true, "HTTP/…\n…: today\n": true, "hello\nDate: today\n": false, "hell\n": false,
		"hello\nhello\n": false, "": true,
	} {
		if missing, got := shows(out, want); got != ok {
			t.Errorf("%q: %v, %q", want, got, missing)
		}
	}
}

// stage is what stands for the printed ports and folders. immutable after newStage.
type stage struct {
	dir   string
	ports map[string]string
}

// printed are the ports that pages print.
var printed = []string{"80", "443", "3000", "3001", "3002", "4000", "5432", "5433", "6188", "6191", "6192", "6193",
	"6379", "7007", "8080", "8443", "9145", "9901", "50051"}

// port matches one of them as the end of an address, and the address where it is of another machine.
var port = regexp.MustCompile(`(\b10(?:\.\d+){3})?:(` + strings.Join(printed, "|") + `)\b`)

func newStage(t *testing.T, dir string) *stage {
	t.Helper()
	s := &stage{dir, map[string]string{}}
	for _, n := range printed {
		s.ports[n] = freePort(t)
	}
	a, keys, texts := testutil.NewAuthority(t), filepath.Join(dir, "etc", "tls"), filepath.Join(dir, "etc", "pages")
	testutil.Must(t, os.MkdirAll(keys, 0o700), os.Mkdir(texts, 0o700),
		os.MkdirAll(filepath.Join(dir, "run", "edge"), 0o700), os.Mkdir(filepath.Join(dir, "log"), 0o700),
		os.Mkdir(filepath.Join(dir, "lib"), 0o700),
		os.WriteFile(filepath.Join(dir, "etc", "dns-hook"), []byte("#!/bin/sh\n"), 0o700))
	for _, name := range []string{"404.html", "5xx.html", "5xx.json"} {
		testutil.Must(t, os.WriteFile(filepath.Join(texts, name), []byte("{}"), 0o600))
	}
	testutil.Must(t, os.MkdirAll(filepath.Join(dir, "www"), 0o700), os.Mkdir(filepath.Join(dir, "cache"), 0o700),
		os.WriteFile(filepath.Join(dir, "www", "index.html"), []byte("hello\n"), 0o600))
	for _, name := range []string{"example", "other"} {
		a.IssueTo(t, keys, name, nil, "localhost", "127.0.0.1")
	}
	a.Write(t, filepath.Join(keys, "clients.pem"))
	a.Write(t, filepath.Join(dir, "ca.pem"))
	a.IssueTo(t, dir, "alice", nil, "alice")
	for name, is := range map[string]string{
		"GeoLite2-Country.mmdb": "country.mmdb", "GeoLite2-City.mmdb": "city.mmdb", "GeoLite2-ASN.mmdb": "asn.mmdb",
	} {
		data, err := os.ReadFile(filepath.Join("..", "..", "match", "geo", "mmdb", "testdata", is))
		if err = cmp.Or(err, os.WriteFile(filepath.Join(dir, name), data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// lastPort follows the port that freePort gave last.
var lastPort atomic.Uint32

func init() { lastPort.Store(rand.Uint32N(portCount)) }

const (
	firstPort = 30000
	portCount = 2768 // the kernel gives those from 32768 on to connections
)

// freePort returns a port that nobody listens on. testutil.FreeAddr gives none of its range: edge listens at all
// addresses of the machine here, so also at those that FreeAddr gives other processes.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := fmt.Sprint(firstPort + lastPort.Add(1)%portCount)
		l, err := net.Listen("tcp", ":"+port)
		if err == nil {
			defer l.Close() //nolint:errcheck // nothing was accepted
			return port
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// place puts the ports and folders of the test in place of those that a page prints. Backends of other machines are
// addresses of this one where nobody listens.
func (s *stage) place(text string) string {
	text = strings.NewReplacer(
		"https://localhost/", "https://localhost:443/", "http://localhost/", "http://localhost:80/",
		"/etc/edge/", filepath.Join(s.dir, "etc")+"/", "/run/", filepath.Join(s.dir, "run")+"/",
		"/mnt/", filepath.Join(s.dir, "mnt")+"/",
		"/srv/www", filepath.Join(s.dir, "www"), "/var/cache/edge", filepath.Join(s.dir, "cache"),
		"/var/lib/edge", filepath.Join(s.dir, "lib"), "/var/log/edge", filepath.Join(s.dir, "log"),
		"10.0.0.1", "127.0.0.1", "//10.0.0.", "//127.0.0.", `"100g"`, `"1g"`, // the size of a disk
	).Replace(text)
	return port.ReplaceAllStringFunc(text, func(p string) string {
		if p[0] != ':' {
			return p
		}
		return ":" + s.ports[p[1:]]
	})
}
