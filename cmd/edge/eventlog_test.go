package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// stalled is an edge whose stderr is a small pipe that the test reads when it likes, and whose configuration is a pipe,
// so that the test sees when it is read.
type stalled struct {
	*testutil.Process
	t      *testing.T
	conf   string
	pipe   *os.File
	log    *bufio.Reader
	secure string // address with TLS
	plain  string
	pair   string // lines for the certificate
}

// smallPipe makes a pipe that is full soon.
func smallPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	testutil.Must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	return r, w
}

const stalledText = `grace_period = "1s"
log.output = []
[[listeners]]
name = "secure"
listen = "127.0.0.1:0"
%s[[listeners]]
name = "plain"
listen = "127.0.0.1:0"
[[routes]]
pattern = "/%s"
dest = "status:204"
`

func startStalled(t *testing.T) *stalled {
	t.Helper()
	dir := t.TempDir()
	testutil.NewAuthority(t).IssueTo(t, dir, "site", nil, "127.0.0.1")
	const pair = "tls = true\ncert = \"site.pem\"\nkey = \"site.key\"\n"
	s := &stalled{t: t, conf: filepath.Join(dir, "edge.toml"), pair: pair}
	testutil.Must(t, syscall.Mkfifo(s.conf, 0o600))
	r, w := smallPipe(t)
	s.pipe, s.log = r, bufio.NewReader(r)
	s.Process = testutil.Start(t, testutil.Command{
		Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run", "--stats", "-c", s.conf}, Dir: dir, Stderr: w,
	})
	_ = w.Close()
	s.configure("first")
	s.secure = s.readTo(`"listening","listener":"secure","address":"([^"]+)"`)[1]
	s.plain = s.readTo(`"listening","listener":"plain","address":"([^"]+)"`)[1]
	return s
}

// configure writes the configuration for the process that is about to read it.
func (s *stalled) configure(route string) { s.write(fmt.Sprintf(stalledText, s.pair, route)) }

// write writes what the process reads next, and returns when it has.
func (s *stalled) write(text string) {
	s.t.Helper()
	w, err := os.OpenFile(s.conf, os.O_WRONLY, 0) // returns when somebody reads
	testutil.Must(s.t, err)
	_, err = io.WriteString(w, text)
	_ = w.Close()
	testutil.Must(s.t, err)
	testutil.Eventually(s.t, testutil.Minutes, func() bool {
		w, err := os.OpenFile(s.conf, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			_ = w.Close()
		}
		return errors.Is(err, syscall.ENXIO)
	}, "the configuration is read")
}

// readTo reads the log up to a line that matches.
func (s *stalled) readTo(pattern string) []string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	_ = s.pipe.SetReadDeadline(time.Now().Add(testutil.Patience))
	for last := ""; ; {
		line, err := s.log.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the log ends without %s: %v; last %.300s", pattern, err, last)
		}
		last = line
		if found := re.FindStringSubmatch(line); found != nil {
			return found
		}
	}
}

// failHandshakes makes n clients that speak plain HTTP to the port with TLS, as long as they are answered.
func (s *stalled) failHandshakes(n int) {
	s.t.Helper()
	for range n {
		c := dial(s.t, "tcp", s.secure)
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		_, err := io.ReadAll(c)
		_ = c.Close()
		if err, ok := err.(net.Error); ok && err.Timeout() {
			return
		}
	}
}

// answered counts how many of n requests on connections of their own are answered.
func (s *stalled) answered(n int, path string) (good int) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for range n {
		if resp, err := c.Get("http://" + s.plain + path); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == 204 {
				good++
			}
		}
	}
	return good
}

// A log that nobody reads loses lines of the log, and nothing else.
func TestRun_logThatNobodyReads(t *testing.T) {
	t.Parallel()
	s := startStalled(t)
	s.failHandshakes(900)
	if n := s.answered(10, "/first"); n != 10 {
		t.Fatalf("%d of 10 requests answered while nobody reads the log", n)
	}
	s.Signal(syscall.SIGHUP)
	var many strings.Builder // the line that tells of them is longer than all that may wait
	for i := range 3000 {
		fmt.Fprintf(&many, "[[routes]]\npattern = \"/%d/%s\"\ndest = \"status:204\"\n", i, strings.Repeat("x", 100))
	}
	s.write(fmt.Sprintf(stalledText, s.pair, "many") + many.String())
	for _, route := range []string{"second", "third"} { // which are read when the one before is told
		s.Signal(syscall.SIGHUP)
		s.configure(route)
	}
	testutil.Eventually(t, testutil.Minutes, func() bool { return s.answered(1, "/third") == 1 }, "SIGHUP is obeyed")
	if n := s.answered(10, "/third"); n != 10 {
		t.Errorf("%d of 10 requests answered while lines are dropped", n)
	}
	s.readTo(`"TLS handshake failed: `)
	s.readTo(`"level":"ERROR","msg":"lines of the error log are missing".*"dropped":[1-9]`)
	s.Signal(syscall.SIGUSR1)
	s.readTo(`"msg":"log files opened again"`)
	s.Signal(syscall.SIGTERM)
	s.readTo(`"msg":"stopped".*"error_log_dropped_total":[1-9]`)
	endsWell(t, s)
}

// A process whose log nobody reads ends when it is asked to.
func TestRun_endsThoughNobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	s := startStalled(t)
	s.failHandshakes(100)
	s.Signal(syscall.SIGTERM)
	endsWell(t, s)
}

// A fault at the start is printed, but a pipe that nobody reads does not keep the process from ending.
func TestRun_failsThoughNobodyReadsWhy(t *testing.T) {
	t.Parallel()
	taken := testutil.Listen(t).Addr().String()
	for name, text := range map[string]string{
		"file": "htp.listen = 1\n", "address": fmt.Sprintf("http.listen = %q\n", taken),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for some seconds
			_, w := smallPipe(t)
			fill(t, w)
			p := testutil.Start(t, testutil.Command{
				Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run", "-c", write(t, "%s", text)}, Stderr: w,
			})
			_ = w.Close()
			if code := p.Wait(testutil.Minutes); code != 1 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// fill writes to w until it would wait.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd())
	testutil.Must(t, syscall.SetNonblock(fd, true))
	var err error
	for err == nil {
		_, err = syscall.Write(fd, make([]byte, 4096))
	}
	if err != syscall.EAGAIN {
		t.Fatal(err)
	}
	testutil.Must(t, syscall.SetNonblock(fd, false))
}

// The reason of an end at the start comes after the events before it.
func TestRun_startErrorComesLast(t *testing.T) {
	t.Parallel()
	taken := testutil.Listen(t).Addr().String()
	p := testutil.Start(t, testutil.Command{
		Path: testutil.Binary(t, "./cmd/edge"), Env: []string{"STATE_DIRECTORY=" + t.TempDir()},
		Args: []string{"run", "-c", write(t, "https = { listen = %q, cert = \"internal\" }\n", taken)},
	})
	if code := p.Wait(testutil.Minutes); code != 1 {
		t.Errorf("exit code %d", code)
	}
	out := p.Output()
	warning, event := strings.Index(out, "[no-route]"), strings.Index(out, `"msg":"internal authority made`)
	if why := strings.LastIndex(out, ": listener 127.0.0.1:"); warning < 0 || event < warning || why < event {
		t.Errorf("warning at %d, event at %d, reason at %d", warning, event, why)
	}
}

// A process that crashes shows its stacks, after the events before it.
func TestRun_crashShowsItsStacks(t *testing.T) {
	e := start(t, "http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/\"\ndest = \"status:204\"\n")
	e.Signal(syscall.SIGABRT)
	if code := e.Wait(testutil.Minutes); code != 2 {
		t.Errorf("exit code %d", code)
	}
	if out := e.Output(); !strings.Contains(out, "\nSIGABRT: abort") || !strings.Contains(out, "\ngoroutine ") {
		t.Error("no stack")
	}
}

// error_log = "stdout" is the standard output of the process, as in [log] output, and no file of that name.
func TestRun_errorLogOnStdout(t *testing.T) {
	file := write(t, "[global]\nerror_log = \"stdout\"\n[http]\nlisten = \"127.0.0.1:0\"\n")
	p := testutil.Start(t, testutil.Command{Path: "/bin/sh", Dir: filepath.Dir(file), Args: []string{
		"-c", `exec "$0" run -c "$1" 2>"$1.stderr"`, testutil.Binary(t, "./cmd/edge"), file}})
	p.WaitLine(`"msg":"listening"`)
	p.Signal(syscall.SIGUSR1)
	stopsWell(t, p)
	p.WaitLine(`"msg":"stopped"`)
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "stdout")); err == nil {
		t.Error("there is a file named stdout")
	}
}
