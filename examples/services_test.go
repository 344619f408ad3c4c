package examples_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// startService runs an example whose service an operator has put at an address of the test.
func startService(t *testing.T, name, more string) (p *testutil.Process, dir, addr string) {
	t.Helper()
	dir, addr = t.TempDir(), testutil.FreeAddr(t)
	conf := fmt.Sprintf("%s\n[services.%s]\nlisten = %q\n", more, name, addr)
	if err := os.WriteFile(filepath.Join(dir, "conf.toml"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	p = testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./examples/"+name), Dir: dir,
		Args: []string{"-c", "conf.toml"}, Env: []string{"STATE_DIRECTORY=" + dir}})
	testutil.Eventually(t, testutil.Patience, func() bool {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return strings.Contains(p.Output()+string(log), `"msg":"listening"`)
	}, "the service")
	return p, dir, addr
}

// run runs a command of others and returns what it prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// redis-cli and redis-benchmark, with pipelines, are served.
func TestRESP(t *testing.T) {
	p, _, addr := startService(t, "resp", "")
	host, port, _ := net.SplitHostPort(addr)
	cli := func(args ...string) string {
		return strings.TrimSpace(run(t, "redis-cli", append([]string{"-h", host, "-p", port}, args...)...))
	}
	for _, c := range [][2]string{{"PING", "PONG"}, {"SET a b", "OK"}, {"get a", "b"}, {"GET none", ""},
		{"DEL a", "ERR unknown command"}, {"SET large " + strings.Repeat("x", 100_000), "OK"}} {
		if got := cli(strings.Fields(c[0])...); got != c[1] {
			t.Errorf("%.20s: %.40q, want %q", c[0], got, c[1])
		}
	}
	if got := cli("GET", "large"); len(got) != 100_000 {
		t.Errorf("%d bytes of a large value", len(got))
	}
	out := run(t, "redis-benchmark", "-h", host, "-p", port, "-t", "set,get", "-c", "50", "-P", "16", "-n", "50000",
		"-q")
	if strings.Count(out, "requests per second") < 2 || strings.Contains(out, "rror") {
		t.Error(out)
	}
	w := testutil.Dial(t, addr)
	w.Send("*1\r\n$x\r\n")
	if got := w.ReadAll(); got != "-ERR Protocol error\r\n" {
		t.Errorf("%q", got)
	}
	stop(t, p)
}

// chatter is a client of lines that speaks by the program of OpenSSL.
type chatter struct {
	in  io.Writer
	out testutil.Output
	end func()
}

func startChatter(t *testing.T, ca, addr string) *chatter {
	t.Helper()
	c := &chatter{}
	cmd := exec.Command("openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", ca, "-connect", addr)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, cmd.Stdout, cmd.Stderr = in, &c.out, &c.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.end = sync.OnceFunc(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // it was killed
	})
	t.Cleanup(c.end)
	c.hears(t, "welcome\n")
	return c
}

func (c *chatter) hears(t *testing.T, text string) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool { return strings.Contains(c.out.String(), text) }, &c.out)
}

// dialChat is a client by crypto/tls.
func dialChat(t *testing.T, ca, addr string) (*tls.Conn, *bufio.Reader) {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck // a test waits no longer
	r := bufio.NewReader(c)
	if got, err := r.ReadString('\n'); got != "welcome\n" {
		t.Fatalf("%q, %v", got, err)
	}
	return c, r
}

// Clients of OpenSSL and of crypto/tls talk to each other. A reload leaves their connections alone, an upgrade leaves
// them with the process before, and a drain waits for them.
func TestLines(t *testing.T) {
	p, dir, addr := startService(t, "lines", "upgrade_sock = \"lines.sock\"\ngrace_period = \"20s\"\n[admin]\n"+
		"listen = \"unix:admin.sock\"\n")
	ca := filepath.Join(dir, "internal", "ca.pem")
	one, lines := dialChat(t, ca, addr)
	two := startChatter(t, ca, addr)
	talk := func(text string) {
		t.Helper()
		fmt.Fprintf(two.in, "%s\n", text)
		if got, err := lines.ReadString('\n'); got != text+"\n" {
			t.Fatalf("%q, %v", got, err)
		}
		fmt.Fprintf(one, "answer to %s\n", text)
		two.hears(t, "answer to "+text+"\n")
	}
	talk("hello")
	shows := func(word string, wants ...string) {
		t.Helper()
		out := run(t, testutil.Binary(t, "./cmd/edge"), word, "--admin", "unix:"+filepath.Join(dir, "admin.sock"))
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("edge %s: no %q in\n%s", word, want, out)
			}
		}
	}
	shows("status", "service        lines at "+addr+", tls, 2 open")
	shows("conns", "lines", "service", "TLS 1.3")
	p.Signal(syscall.SIGHUP)
	p.WaitLine(`"msg":"configuration reloaded`)
	talk("after a reload")
	next := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./examples/lines"), Dir: dir,
		Args: []string{"-u", "-c", "conf.toml"}, Env: []string{"STATE_DIRECTORY=" + dir}})
	p.WaitLine(`"msg":"upgraded: the new process serves`)
	talk("after an upgrade")
	other, _ := dialChat(t, ca, addr) // in the room of the new process
	one.Close()
	two.end()
	ends(t, p)
	next.Signal(syscall.SIGTERM)
	next.WaitLine(`"msg":"draining".*"left":"1 of services"`)
	other.Close()
	ends(t, next)
}

// OpenSSH speaks to a server that blocks.
func TestSSH(t *testing.T) {
	p, dir, addr := startService(t, "ssh", "")
	host, port, _ := net.SplitHostPort(addr)
	for range 3 {
		out := run(t, "ssh", "-F", "none", "-p", port, "-l", "alice", "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile="+filepath.Join(dir, "known"), "-o", "LogLevel=ERROR", host, "who", "is", "there")
		if out != "hello alice: who is there\n" {
			t.Errorf("%q", out)
		}
	}
	stop(t, p)
}

// No connection is refused or lost over reloads and upgrades, where the client speaks first and where the server does.
func TestServices_loseNoConnection(t *testing.T) {
	for name, talk := range map[string]func(c net.Conn) error{
		"resp": func(c net.Conn) error {
			_, err := io.WriteString(c, "*1\r\n$4\r\nPING\r\n")
			return errors.Join(err, expect(c, "+PONG\r\n"))
		},
		"lines": func(c net.Conn) error {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			return errors.Join(expect(c, "welcome\n"), c.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, dir, addr := startService(t, name, "upgrade_sock = \"up.sock\"\nerror_log = \"log\"\n")
			var done atomic.Bool
			var asked atomic.Int64
			var clients sync.WaitGroup
			defer clients.Wait() // also where the test ends early
			defer done.Store(true)
			for range 8 {
				clients.Go(func() {
					for !done.Load() {
						if err := connect(addr, talk); err != nil {
							t.Error(err)
						}
						asked.Add(1)
					}
				})
			}
			l := operated{dir: dir, bin: testutil.Binary(t, "./examples/"+name), conf: "conf.toml", events: "log"}
			running := []*testutil.Process{p}
			for i := range testutil.Rounds(20) {
				running[i].Signal(syscall.SIGHUP)
				l.log(t, i+1, `"msg":"configuration reloaded`)
				running = append(running, l.start(t, "-u"))
				l.log(t, i+1, `"msg":"upgraded`)
			}
			done.Store(true)
			clients.Wait()
			last := len(running) - 1
			for _, p := range running[:last] {
				ends(t, p)
			}
			stop(t, running[last])
			t.Logf("%d connections over %d upgrades", asked.Load(), last)
		})
	}
}

// connect talks on a connection of its own.
func connect(addr string, talk func(c net.Conn) error) error {
	c, err := net.DialTimeout("tcp", addr, testutil.Patience)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck // a test waits no longer
	return talk(c)
}

func expect(c net.Conn, text string) error {
	got := make([]byte, len(text))
	n, err := io.ReadFull(c, got)
	if err == nil && string(got) != text {
		err = errors.New("another text")
	}
	if err != nil {
		return fmt.Errorf("got %q, want %q: %w", got[:n], text, err)
	}
	return nil
}
