package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

const (
	asksForEcho = "GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
	echoBegins  = "HTTP/1.1 101 Switching Protocols\r\n"
)

// hijackRig serves h where an upgrade to "echo", and CONNECT, are allowed.
func hijackRig(t *testing.T, h http.HandlerFunc, filters ...*proxy.Filter) *rig {
	return newRig(t, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{{
			To: handler.FromHTTP(h), Tunnels: proxy.Tunnels{Protocols: []string{"echo"}},
			Methods: []string{"GET", "POST", "CONNECT"},
		}}
	}, filters...)
}

func (r *rig) wire(t *testing.T) *testutil.Wire {
	t.Helper()
	return testutil.Dial(t, r.addr())
}

// hijack takes the connection over and fails the test where it cannot.
func hijack(t *testing.T, w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		panic(http.ErrAbortHandler)
	}
	return c, rw
}

// echoLines answers each line with itself until the client's end.
func echoLines(c net.Conn, rw *bufio.ReadWriter) {
	defer c.Close() //nolint:errcheck // the client looks at what came
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		io.WriteString(rw, line)
		rw.Flush()
	}
}

// The head comes from WriteHeader, as coder/websocket has it, or is the first that is written, as with gorilla.
func TestHijack_upgrades(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"WriteHeader": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "echo")
			w.Header().Set("X-Own", "yes")
			w.WriteHeader(http.StatusSwitchingProtocols)
			echoLines(hijack(t, w))
		},
		"raw": func(w http.ResponseWriter, r *http.Request) {
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			for _, piece := range []string{"HTTP/1.1 101 Switching", " Protocols\r\nConnection: Upgrade\r\nUpgr",
				"ade: echo\r\nX-Own: yes\r\n\r", "\n"} {
				io.WriteString(c, piece)
			}
			echoLines(c, rw)
		},
		"after it has returned": func(w http.ResponseWriter, r *http.Request) {
			c, rw := hijack(t, w)
			go func() {
				io.WriteString(rw, "HTTP/1.1 101 \r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Own: yes\r\n\r\n")
				rw.Flush()
				echoLines(c, rw)
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := hijackRig(t, h)
			w := r.wire(t)
			w.Send(asksForEcho, "early\n") // the client does not wait
			head := w.ReadHead()
			if !strings.HasPrefix(head, echoBegins) || strings.Count(head, "Upgrade: echo\r\n") != 1 ||
				!strings.Contains(head, "X-Own: yes\r\n") {
				t.Fatal(head)
			}
			w.Want("early\n")
			for i := range 3 {
				line := fmt.Sprint("line ", i, strings.Repeat("x", i*40_000), "\n")
				w.Send(line)
				w.Want(line)
			}
			w.CloseWrite()
			w.WantEnd()
			testutil.Eventually(t, testutil.Patience, func() bool { return r.stats().Active == 0 }, "the exchange ends")
		})
	}
}

func TestHijack_connect(t *testing.T) {
	r := hijackRig(t, func(w http.ResponseWriter, r *http.Request) {
		c, rw := hijack(t, w)
		fmt.Fprintf(rw, "HTTP/1.1 200 Connection established\r\n\r\nto %s\n", r.Host)
		rw.Flush()
		echoLines(c, rw)
	})
	w := r.wire(t)
	w.Send("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n")
	if head := w.ReadHead(); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Fatal(head)
	}
	w.Want("to b.test:443\n")
	w.Send("hello\n")
	w.Want("hello\n")
	w.Close()
	testutil.Eventually(t, testutil.Patience, func() bool { return r.stats().Active == 0 }, "the exchange ends")
}

// A handler that hijacks may still refuse.
func TestHijack_answersWithoutATunnel(t *testing.T) {
	r := hijackRig(t, func(w http.ResponseWriter, r *http.Request) {
		c, _ := hijack(t, w)
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n")
		c.Close()
	})
	w := r.wire(t)
	w.Send(asksForEcho)
	if resp, body := w.ReadResponse("GET"); resp.StatusCode != 403 || body != "no\n" {
		t.Fatal(resp.Status, body)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return r.stats().Active == 0 }, "the exchange ends")
}

// What is no answer ends the connection, and so does none at all.
func TestHijack_closedWithoutAnAnswer(t *testing.T) {
	for _, text := range []string{"", "HTTP/1.1 101 Swi", "hello\r\n\r\n"} {
		r := hijackRig(t, func(w http.ResponseWriter, r *http.Request) {
			c, _ := hijack(t, w)
			if _, err := io.WriteString(c, text); (err != nil) != strings.HasPrefix(text, "hello") {
				t.Errorf("%q: %v", text, err)
			}
			c.Close()
			if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a write after Close: %v", err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a read after Close: %v", err)
			}
		})
		w := r.wire(t)
		w.Send(asksForEcho)
		w.WantEnd()
		testutil.Eventually(t, testutil.Patience, func() bool { return r.stats().Active == 0 }, "the exchange ends")
	}
}

// switched begins the tunnel.
func switched(t *testing.T, w http.ResponseWriter) net.Conn {
	c, _ := hijack(t, w)
	io.WriteString(c, echoBegins+"Connection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	return c
}

// A deadline ends a Read and a Write that wait already; another one takes it back.
func TestHijack_deadlines(t *testing.T) {
	done := make(chan struct{})
	r := hijackRig(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		c := switched(t, w)
		defer c.Close()
		p := make([]byte, 5)
		c.SetReadDeadline(time.Now().Add(-time.Second))
		if _, err := c.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read whose time was over: %v", err)
		}
		c.SetReadDeadline(time.Time{})
		timer := time.AfterFunc(20*time.Millisecond, func() { c.SetReadDeadline(time.Now()) })
		defer timer.Stop()
		_, err := c.Read(p)
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("a read that waited: %v", err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Millisecond))
		for err = nil; err == nil; {
			_, err = c.Write(make([]byte, 1<<20)) // the client reads nothing
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write: %v", err)
		}
	})
	w := r.wire(t)
	w.Send(asksForEcho)
	<-done
}

// Close wakes those who wait, and the client's end is told.
func TestHijack_ends(t *testing.T) {
	errs := make(chan error, 2)
	conns := make(chan net.Conn, 1)
	r := hijackRig(t, func(w http.ResponseWriter, r *http.Request) {
		c := switched(t, w)
		conns <- c
		_, err := c.Read(make([]byte, 1))
		errs <- err
		<-r.Context().Done()
		_, err = c.Write([]byte("x"))
		errs <- err
	})
	w := r.wire(t)
	w.Send(asksForEcho)
	w.ReadHead()
	w.Reset()
	c := <-conns
	if err := <-errs; err == nil {
		t.Error("nobody was told that the client has gone")
	}
	if err := <-errs; err == nil {
		t.Error("a write to a client that has gone")
	}
	c.Close()

	w = r.wire(t)
	w.Send(asksForEcho)
	w.ReadHead()
	(<-conns).Close()
	if err := <-errs; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	w.WantEnd() // although the client has not ended
}

// Elsewhere there is nothing to hijack.
func TestHijack_isRefused(t *testing.T) {
	says := func(w http.ResponseWriter, r *http.Request) {
		_, offered := w.(http.Hijacker)
		_, _, err := http.NewResponseController(w).Hijack()
		fmt.Fprint(w, offered, errors.Is(err, http.ErrNotSupported))
	}
	r := hijackRig(t, says)
	for name, request := range map[string]string{
		"no upgrade":       get,
		"another protocol": strings.Replace(asksForEcho, "echo", "other", 1),
		"a body": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: Upgrade\r\nUpgrade: echo\r\n" +
			"\r\nhi",
	} {
		w := r.wire(t)
		w.Send(request)
		if _, body := w.ReadResponse("GET"); body != "false true" {
			t.Errorf("%s: %s", name, body)
		}
	}
	if resp, body := testutil.Get(t, clientOf(t, "h2c"), r.url); body != "false true" || resp.ProtoMajor != 2 {
		t.Errorf("over HTTP/2: %s %s", resp.Proto, body)
	}
}

// A handler cannot take over a stream, so that an extended CONNECT is a plain GET to it.
func TestHijack_seesNoUpgradeOfHTTP2(t *testing.T) {
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400 + len(r.Header.Values("Upgrade")) + len(r.Header.Values("Connection")))
	}))
	c := dialFramed(t, r.addr())
	err := writeHead(c.Framer, 1, true, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http",
		":path", "/", ":authority", "a")
	if err != nil {
		t.Fatal(err)
	}
	if status := c.head(1)[":status"]; status != "400" {
		t.Error(status)
	}
}

// A 101 that no Hijack follows is a failure of the handler.
func TestHijack_switchingWithoutItIs500(t *testing.T) {
	r := hijackRig(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusSwitchingProtocols)
	})
	w := r.wire(t)
	w.Send(asksForEcho)
	if resp, _ := w.ReadResponse("GET"); resp.StatusCode != 500 {
		t.Fatal(resp.Status)
	}
}

// Where the answer was no tunnel nothing follows: a handler that reads on is told, though it never closes.
func TestHijack_readsAfterAnAnswer(t *testing.T) {
	read := make(chan error, 1)
	r := hijackRig(t, func(w http.ResponseWriter, r *http.Request) {
		c, _ := hijack(t, w)
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		_, err := c.Read(make([]byte, 1))
		read <- err
	})
	w := r.wire(t)
	w.Send(asksForEcho)
	if head := w.ReadHead(); !strings.HasPrefix(head, "HTTP/1.1 403 ") {
		t.Error(head)
	}
	select {
	case err := <-read:
		if err == nil {
			t.Error("something was read")
		}
	case <-time.After(testutil.Patience):
		t.Error("it reads for ever")
	}
}
