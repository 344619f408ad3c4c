package testutil

import (
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// verdict is a testing.TB that records its failure instead of failing.
type verdict struct {
	testing.TB
	said     string
	cleanups []func()
}

func (v *verdict) Helper()                      {}
func (v *verdict) Failed() bool                 { return v.said != "" }
func (v *verdict) Cleanup(f func())             { v.cleanups = append(v.cleanups, f) }
func (v *verdict) Fatal(args ...any)            { v.said = fmt.Sprint(args...); panic(v) }
func (v *verdict) Errorf(f string, args ...any) { v.said += fmt.Sprintf(f, args...) }
func (v *verdict) Fatalf(f string, args ...any) {
	v.said = fmt.Sprintf(f, args...)
	panic(v)
}

// verdictOf runs f and returns what it failed with, or "".
func verdictOf(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	v := &verdict{TB: t}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(v) {
				panic(r)
			}
		}()
		f(v)
	}()
	for _, c := range slices.Backward(v.cleanups) {
		c()
	}
	return v.said
}

// A handler that waits for the test keeps a test that has failed from nothing.
func TestCloseServer_afterAFailure(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	defer close(end)
	said := verdictOf(t, func(tb testing.TB) {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			close(begun)
			<-end
		}))
		CloseServer(tb, s)
		go http.Get(s.URL) //nolint:errcheck,bodyclose // it gets no answer
		<-begun
		tb.Fatal("on purpose")
	})
	if said != "on purpose" {
		t.Error(said)
	}
}

func TestEventually_returnsWhenItHolds(t *testing.T) {
	looks := 0
	Eventually(t, Patience, func() bool { looks++; return looks == 3 })
	if looks != 3 {
		t.Fatalf("looked %d times, want 3", looks)
	}
}

func TestEventually_failsAfterTheDeadline(t *testing.T) {
	said := verdictOf(t, func(t testing.TB) {
		Eventually(t, 5*time.Millisecond, func() bool { return false }, "a %s", "unicorn")
	})
	if !strings.Contains(said, "a unicorn") {
		t.Fatalf("said %q", said)
	}
}

func TestWire_dialogue(t *testing.T) {
	for name, l := range map[string]net.Listener{"tcp": Listen(t), "unix": ListenUnix(t)} {
		t.Run(name, func(t *testing.T) {
			client := Dial(t, l.Addr().String())
			origin := Accept(t, l)
			client.Send("GET / HTTP/1.1\r\n", "Host: a\r\n\r\n")
			if head := origin.ReadHead(); head != "GET / HTTP/1.1\r\nHost: a\r\n\r\n" {
				t.Fatalf("head %q", head)
			}
			client.CloseWrite()
			origin.WantEnd()
			origin.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "tail")
			resp, body := client.ReadResponse("GET")
			if resp.StatusCode != 200 || body != "hi" {
				t.Fatalf("%d %q", resp.StatusCode, body)
			}
			client.Want("tail")
			origin.Close()
			client.WantEnd()
		})
	}
}

func TestWire_tellsWhatDiffers(t *testing.T) {
	l := Listen(t)
	client := Dial(t, l.Addr().String())
	origin := Accept(t, l)
	client.Send("hullo")
	said := verdictOf(t, func(tb testing.TB) {
		origin.t = tb
		origin.Want("hello")
	})
	if !strings.Contains(said, `"hullo"`) || !strings.Contains(said, `"hello"`) {
		t.Fatalf("said %q", said)
	}
}

func TestWire_reset(t *testing.T) {
	l := Listen(t)
	client := Dial(t, l.Addr().String())
	origin := Accept(t, l)
	client.Reset()
	origin.WantReset()
}

func TestEventLog_untilTheTestEnds(t *testing.T) {
	var outer, inner Output
	EventLog(t, slog.NewTextHandler(&outer, nil))
	verdictOf(t, func(t testing.TB) {
		EventLog(t, slog.NewTextHandler(&inner, nil))
		slog.Info("one")
		log.Print("two")
	})
	slog.Info("three")
	log.Print("four")
	for _, c := range []struct {
		log  *Output
		want []string
	}{{&inner, []string{"one", "two"}}, {&outer, []string{"three", "four"}}} {
		said := c.log.String()
		if strings.Count(said, "\n") != 2 || !strings.Contains(said, c.want[0]) || !strings.Contains(said, c.want[1]) {
			t.Errorf("%q, want %q", said, c.want)
		}
	}
}

func TestFreeAddr_givesNoneTwice(t *testing.T) {
	given := make(map[string]bool)
	for range 500 {
		given[FreeAddr(t)] = true
	}
	if len(given) != 500 {
		t.Errorf("%d addresses among 500", len(given))
	}
}

func TestFreeAddr_refuses(t *testing.T) {
	if _, err := net.Dial("tcp", FreeAddr(t)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial: %v, want connection refused", err)
	}
}

func TestFDs_countsWhatIsOpen(t *testing.T) {
	before := FDs(t)
	r, w, err := os.Pipe()
	Must(t, err)
	if got := FDs(t) - before; got != 2 {
		t.Errorf("%d more with a pipe open, want 2", got)
	}
	r.Close()
	w.Close()
	if got := FDs(t) - before; got != 0 {
		t.Errorf("%d more after it was closed, want 0", got)
	}
}

func TestCheckLeaks_passesWhatIsClosed(t *testing.T) {
	CheckLeaks(t)
	l := Listen(t)
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	client := Dial(t, l.Addr().String())
	conn, err := l.Accept()
	Must(t, err)
	go func() {
		io.Copy(io.Discard, conn)
		conn.Close()
		close(done)
	}()
	client.Close()
}

func TestCheckLeaks_tellsWhatIsLeft(t *testing.T) {
	// More of them than there are goroutines of earlier tests that may end meanwhile and make up for one.
	const left = 16
	stop := make(chan struct{})
	var ended sync.WaitGroup
	var r, w *os.File
	said := verdictOf(t, func(t testing.TB) {
		checkLeaks(t, 10*time.Millisecond)
		var err error
		if r, w, err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
		for range left {
			ended.Go(func() { <-stop })
		}
	})
	close(stop)
	ended.Wait()
	r.Close()
	w.Close()
	for _, part := range []string{"goroutines", "file descriptors", "TestCheckLeaks_tellsWhatIsLeft", "pipe:"} {
		if !strings.Contains(said, part) {
			t.Errorf("no %q in the report:\n%s", part, said)
		}
	}
}

func TestProcess_startsAndStops(t *testing.T) {
	CheckLeaks(t)
	bin := Binary(t, "./internal/test/testutil/testdata/parrot")
	if again := Binary(t, "./internal/test/testutil/testdata/parrot"); again != bin {
		t.Fatalf("built twice: %s and %s", bin, again)
	}
	p := Start(t, Command{Path: bin, Env: []string{"GREETING=hello"}})
	addr := p.WaitLine(`^hello listening on (\S+)$`)[1]
	p.WaitPort(addr)
	if code := p.Stop(); code != 3 {
		t.Fatalf("exit code %d, want 3", code)
	}
	if !strings.HasSuffix(p.Output(), "goodbye\n") {
		t.Fatalf("printed %q", p.Output())
	}
}

func TestProcess_killed(t *testing.T) {
	p := Start(t, Command{Path: Binary(t, "./internal/test/testutil/testdata/parrot")})
	p.WaitLine(`listening`)
	p.Signal(syscall.SIGKILL)
	if code := p.Wait(Minutes); code != 128+int(syscall.SIGKILL) {
		t.Fatalf("exit code %d, want 137", code)
	}
	if p.Running() {
		t.Fatal("still running")
	}
}

func TestProcess_endsBeforeItsLine(t *testing.T) {
	p := Start(t, Command{Path: "/bin/sh", Args: []string{"-c", "echo no such file; exit 1"}})
	said := verdictOf(t, func(tb testing.TB) {
		p.t = tb
		p.WaitLine(`listening`)
	})
	p.t = t
	if !strings.Contains(said, "running: false") {
		t.Fatalf("said %q", said)
	}
}
